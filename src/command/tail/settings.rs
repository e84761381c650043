//! What `fantail tail` is told by its flags.

use crate::command::credentials::Credentials;
use crate::command::link::Link;
use crate::condition::Conditions;
use crate::config::{self, HOUR, ValueError};
use crate::subscription::Parameter;
use clap::Args;
use hyper::header::HeaderValue;
use std::time::Duration;

/// Prints the events of channels as they come; resumes by itself.
#[derive(Args, Clone, Debug)]
pub struct Tail {
    /// Channels, separated by commas.
    #[arg(value_name = "CHANNELS", required = true, value_delimiter = ',', value_parser = crate::command::channel)]
    pub(super) channels: Vec<crate::channel::Channel>,
    /// Nodes, tried in turn. Repeat the flag, or separate them by commas.
    #[arg(long, env = "FANTAIL_URL", value_name = "URL", value_delimiter = ',', value_parser = crate::config::node_url)]
    #[arg(default_value = "http://127.0.0.1:8080")]
    pub(super) url: Vec<String>,
    #[command(flatten)]
    pub(super) link: Link,
    #[command(flatten)]
    pub(super) credentials: Credentials,
    /// Where to begin: latest, earliest, an id, a time (Unix seconds or ms, RFC 3339), or a duration back such as 5m.
    #[arg(long, value_name = "WHERE")]
    pub(super) since: Option<String>,
    /// Begin with the last N events of each channel.
    #[arg(long, value_name = "N", value_parser = config::number(1..=10_000_000_u64))]
    pub(super) tail: Option<u64>,
    /// Only events of these types, separated by commas.
    #[arg(long, value_name = "TYPES")]
    pub(super) events: Option<String>,
    /// Only events whose fields meet these conditions, such as level>=5,team=red.
    #[arg(long = "where", value_name = "CONDITIONS", value_parser = conditions)]
    pub(super) conditions: Option<String>,
    /// For entries without data, print this field instead of all.
    #[arg(long, value_name = "NAME")]
    pub(super) field: Option<String>,
    /// Longest time for which the node may send nothing. Less than --stall-timeout.
    #[arg(long, value_name = "DURATION", value_parser = config::duration(config::SECOND..=HOUR))]
    pub(super) heartbeat: Option<Duration>,
    /// Resume after this id.
    #[arg(long, value_name = "ID", value_parser = header)]
    pub(super) last_event_id: Option<String>,
    /// Ask for each event's channel, and print it.
    #[arg(long)]
    pub(super) envelope: bool,
    /// Print one JSON object per line.
    #[arg(long)]
    pub(super) json: bool,
    /// Time without a byte after which a connection counts as dead, more than the node's heartbeat, 1s to 1h.
    /// 0s: never.
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = config::duration_or_never(config::SECOND..=HOUR))]
    pub(super) stall_timeout: Duration,
}

impl Tail {
    /// The query of what is asked for.
    pub(super) fn query(&self) -> String {
        let channels: Vec<&str> = self.channels.iter().map(|channel| channel.as_str()).collect();
        let asked = [
            (Parameter::Channels, Some(channels.join(","))),
            (Parameter::Since, self.since.clone()),
            (Parameter::Tail, self.tail.map(|n| n.to_string())),
            (Parameter::Events, self.events.clone()),
            (Parameter::Where, self.conditions.clone()),
            (Parameter::Data, self.field.as_ref().map(|_| "raw".to_owned())),
            (Parameter::Field, self.field.clone()),
            (Parameter::Heartbeat, self.heartbeat.map(|every| format!("{}ms", every.as_millis()))),
            (Parameter::Envelope, self.envelope.then(|| "1".to_owned())),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (parameter, value) in asked {
            if let Some(value) = value {
                query.append_pair(parameter.name(), &value);
            }
        }
        query.finish()
    }
}

fn conditions(text: &str) -> Result<String, ValueError> {
    Conditions::parse(text).map(|_| text.to_owned()).map_err(|why| ValueError::new(why.to_string()))
}

fn header(text: &str) -> Result<String, ValueError> {
    let unfit = |_| ValueError::new("not a value that a header can carry");
    HeaderValue::from_str(text).map(|_| text.to_owned()).map_err(unfit)
}
