//! Subscribers of this node, as JSON: a list, and one of them.
//!
//! A subscriber is named by its node, its courier and its place there, for as long as it is connected.

use super::Console;
use crate::courier::census::Extent;
use crate::courier::{Seen, SeenChannel, Sought, State, SubscriberName};
use crate::http::metrics::AdminRefusal;
use crate::problem::{Code, Problem};
use crate::subscription::parse_channel;
use serde_json::{Value, json};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

/// Subscribers of one answer.
const MOST: usize = 500;
const USUAL: usize = 50;
/// Channels that are told of each, in a list and of one alone.
const CHANNELS: usize = 5;
const ALL_CHANNELS: usize = 200;
/// Within this time couriers are asked; a list has by then what it has.
const TIME: Duration = Duration::from_secs(2);
/// Lists and pages of subscribers that are made at once.
pub const AT_ONCE: usize = 4;

/// A subscriber of the cluster: `NODE.COURIER.KEY.SERIAL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriberId {
    /// The id of its node.
    pub node: String,
    pub name: SubscriberName,
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.name)
    }
}

impl FromStr for SubscriberId {
    type Err = ();

    fn from_str(text: &str) -> Result<SubscriberId, ()> {
        let (node, name) = text.split_once('.').ok_or(())?;
        let is_id = node.len() == 16 && node.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let name = name.parse().map_err(|_| ())?;
        if is_id { Ok(SubscriberId { node: node.to_owned(), name }) } else { Err(()) }
    }
}

impl Console {
    /// Subscribers of this node by channel, address, subject and state.
    pub async fn subscribers(&self, query: &str) -> Result<Value, Problem> {
        let (sought, most) = wanted(query)?;
        let _place = self.asking()?;
        let extent = Extent { most, channels: CHANNELS, until: Instant::now() + TIME };
        let census = self.couriers.census(&sought, extent).await;
        if census.late {
            self.metrics.admin_refused.inc(AdminRefusal::Late);
        }
        let rows: Vec<Value> = census.found.iter().map(|(name, seen)| self.row(*name, seen)).collect();
        Ok(json!({
            "node": self.roster.id(),
            "name": self.roster.name(),
            "connections": self.couriers.load(),
            "subscribers": rows,
            "more": census.more,
        }))
    }

    /// One subscriber of this node.
    pub async fn subscriber(&self, id: &str) -> Result<Value, Problem> {
        let named: SubscriberId = id.parse().map_err(|()| not_an_id("the path", id))?;
        if named.node != self.roster.id() {
            let detail = format!("{id} is a subscriber of another node, {}: ask that one", named.node);
            return Err(Problem::new(Code::NotFound, detail));
        }
        let _place = self.asking()?;
        let extent = Extent { most: 1, channels: ALL_CHANNELS, until: Instant::now() + TIME };
        let seen = self.couriers.describe(named.name, extent).await.map_err(|_| {
            self.metrics.admin_refused.inc(AdminRefusal::Late);
            Problem::new(Code::NodeFull, "the delivery thread of this subscriber did not answer in time")
        })?;
        let seen = seen.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no subscriber {id} any more")))?;
        Ok(self.row(named.name, &seen))
    }

    /// A place among those who ask for subscribers.
    fn asking(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.asked.try_acquire().map_err(|_| {
            self.metrics.admin_refused.inc(AdminRefusal::Busy);
            Problem::new(Code::NodeFull, "this node is asked for subscribers by others: again in a moment")
        })
    }

    fn row(&self, name: SubscriberName, seen: &Seen) -> Value {
        json!({
            "id": SubscriberId { node: self.roster.id().to_owned(), name }.to_string(),
            "address": seen.address,
            "subject": seen.subject.as_deref(),
            "age_seconds": seconds(seen.age_ms),
            "silent_seconds": seconds(seen.silent_ms),
            "transport": seen.transport,
            "composed": seen.composed,
            "state": seen.state.label(),
            "leftover_bytes": seen.leftover_bytes,
            "behind": seen.behind,
            "channel_count": seen.count,
            "channels": seen.channels.iter().map(place).collect::<Vec<_>>(),
        })
    }
}

fn place(seen: &SeenChannel) -> Value {
    json!({
        "channel": seen.channel.as_str(),
        "state": seen.state.label(),
        "position": seen.position.map(|position| position.to_string()),
        "newest": seen.newest.map(|newest| newest.to_string()),
        "behind": seen.behind,
    })
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The refusal of what names no subscriber.
pub fn not_an_id(what: &str, text: &str) -> Problem {
    Problem::bad_parameter(what, text, "not the id of a subscriber, such as 0123456789abcdef.0.12.345")
}

/// Which subscribers a query wants, and how many.
fn wanted(query: &str) -> Result<(Sought, usize), Problem> {
    let (mut sought, mut most) = (Sought::default(), USUAL);
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        let bad = |why| Problem::bad_parameter(&name, &value, why);
        match &*name {
            "channel" => sought.channel = Some(parse_channel(&value)?),
            "address" => {
                let address: std::net::IpAddr = value.parse().map_err(|_| bad("not an address"))?;
                sought.address = Some(address.to_canonical());
            }
            "subject" => sought.subject = Some((&*value).into()),
            "state" => {
                let state = State::ALL.into_iter().find(|state| state.label() == value);
                sought.state = Some(state.ok_or_else(|| bad("neither live, blocked, history nor held"))?);
            }
            "limit" => {
                let number = value.parse().ok().filter(|number| (1..=MOST).contains(number));
                most = number.ok_or_else(|| bad("not a number from 1 to 500"))?;
            }
            _ => {}
        }
    }
    Ok((sought, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_whom_it_wants() {
        let (sought, most) = wanted("channel=a&address=::ffff:10.0.0.1&subject=ann&state=blocked&limit=7&x=y").unwrap();
        assert_eq!((sought.channel.unwrap().as_str(), sought.subject.as_deref(), most), ("a", Some("ann"), 7));
        assert_eq!((sought.address, sought.state), (Some([10, 0, 0, 1].into()), Some(State::Blocked)));
        let (sought, most) = wanted("channel=&address=&subject=&state=").unwrap();
        assert!(sought.channel.is_none() && sought.address.is_none() && sought.subject.is_none());
        assert_eq!((sought.state, most), (None, USUAL));
        for wrong in ["channel=~nodes", "address=here", "state=full", "limit=0", "limit=501"] {
            assert!(wanted(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_is_read_back_and_nothing_else_is_one() {
        let id: SubscriberId = "0123456789abcdef.1.2.3".parse().unwrap();
        assert_eq!(id.to_string(), "0123456789abcdef.1.2.3");
        for wrong in ["", "1.2.3", "0123456789abcde.1.2.3", "0123456789ABCDEF.1.2.3", "0123456789abcdef.1.2"] {
            assert_eq!(wrong.parse::<SubscriberId>(), Err(()), "{wrong}");
        }
    }
}
