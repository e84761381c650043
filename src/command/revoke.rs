//! `fantail revoke`: disconnects a subject, a channel's subscribers or a token on all nodes, by the control stream.

use super::print_id;
use crate::auth::control;
use crate::auth::revocation::Target;
use crate::backplane::BackplaneError;
use crate::backplane::redis::{Settings, once};
use crate::clock::Clock;
use crate::config::{self, ValueError};
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

/// Disconnects, and prints the id of the control stream's entry.
#[derive(Args, Clone, Debug)]
pub struct Revoke {
    /// What to disconnect: a subject, a channel's subscribers, or a token.
    #[arg(value_name = "KIND", value_parser = ["subject", "channel", "token"])]
    kind: String,
    /// The subject's name, the channel, or the token's id (jti).
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// How long to refuse the subject or token, up to 365days. Default for a token: 1day.
    #[arg(long = "for", value_name = "DURATION", value_parser = config::duration(config::SECOND..=365 * config::DAY))]
    time: Option<Duration>,
    /// The Redis of the nodes.
    #[arg(long, env = "FANTAIL_REDIS", value_name = "URL", value_parser = config::redis_url)]
    redis: config::RedisUrl,
    #[command(flatten)]
    redis_access: config::RedisAccess,
    /// Prefix of a channel's name in its stream's key.
    #[arg(long, env = "FANTAIL_KEY_PREFIX", default_value = "sse:", value_name = "TEXT")]
    #[arg(value_parser = config::key_prefix)]
    key_prefix: String,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
enum RevokeError {
    #[error("--for: a channel's subscribers are disconnected, not kept out")]
    ForChannel,
    #[error("{url}: {why}")]
    Redis {
        url: config::RedisUrl,
        #[source]
        why: BackplaneError,
    },
}

fn name(text: &str) -> Result<String, ValueError> {
    match text.len() {
        1..=256 => Ok(text.to_owned()),
        n => Err(ValueError::new(format!("{n} bytes; 1 to 256 are taken"))),
    }
}

/// Appends the entry; nodes carry it out within a second.
pub async fn revoke(settings: Revoke) -> ExitCode {
    print_id(append(&settings).await)
}

async fn append(settings: &Revoke) -> Result<String, RevokeError> {
    if settings.kind == Target::Channel.label() && settings.time.is_some() {
        return Err(RevokeError::ForChannel);
    }
    let until = settings.time.map(|time| (Clock::default().since_epoch() + time).as_secs());
    let order = control::disconnect(&settings.kind, &settings.name, until);
    let url = &settings.redis;
    let redis = Settings { key_prefix: settings.key_prefix.clone(), ..settings.redis_access.settings(url) };
    let id = once::append(&redis, order).await;
    id.map(|id| id.to_string()).map_err(|why| RevokeError::Redis { url: url.clone(), why })
}
