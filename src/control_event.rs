//! Control events: what a node tells a subscriber in its stream beside events of channels, by names of its own. Pure.
//!
//! They have no id, so that a client which keeps the last one keeps its place; but where a bare `id:` would be sent, the event that a
//! client asked for carries it, or the one that tells of a change of its channels.

use crate::channel::Channel;
use crate::position::Position;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// One control event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// A stream has begun with these channels. It alone has an id, and comes where a bare one would.
    Opened(Vec<String>),
    /// Nothing else has been sent for a while; something is at least once in so many milliseconds.
    Heartbeat {
        every_ms: u64,
    },
    Gap(Gap),
    /// Channels that the stream began without.
    Held(Vec<String>),
    /// Channels that were held, or that an order added, and are there now.
    Joined(Vec<String>),
    /// Channels that an order took away.
    Left(Vec<String>),
    /// The grant ends soon, in Unix milliseconds and in milliseconds from now.
    Expiring {
        expires_at_ms: u64,
        left_ms: u64,
    },
    Expired,
    Revoked,
}

/// Names of control events, and when each is sent; the table of the documentation has the same.
#[cfg(feature = "testing")]
pub const NAMES: [(&str, &str); 9] = [
    (OPENED, "with `hello=1`: the stream has begun"),
    (HEARTBEAT, "with `heartbeatEvent=1`: at once, and after each `every_ms` without anything else"),
    (GAP, "events of a channel cannot be delivered"),
    (HELD, "channels wait for their shard"),
    (JOINED, "channels that waited, or that an order added, have come"),
    (LEFT, "an order took channels away"),
    (EXPIRING, "the grant ends soon"),
    (EXPIRED, "the grant has ended, and so does the stream"),
    (REVOKED, "the subscriber was told to go, and the stream ends"),
];

/// The name of an event about a gap.
pub const GAP: &str = "fantail.gap";
const OPENED: &str = "fantail.opened";
const HEARTBEAT: &str = "fantail.heartbeat";
const HELD: &str = "fantail.held";
const JOINED: &str = "fantail.joined";
const LEFT: &str = "fantail.left";
const EXPIRING: &str = "fantail.expiring";
const EXPIRED: &str = "fantail.expired";
const REVOKED: &str = "fantail.revoked";

#[derive(Serialize, Deserialize)]
struct Channels {
    channels: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Pace {
    every_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Expiry {
    expires_at_ms: u64,
    left_ms: u64,
}

impl ControlEvent {
    /// Channels with which a stream has begun.
    pub fn opened<'a>(channels: impl IntoIterator<Item = &'a Channel>) -> ControlEvent {
        ControlEvent::Opened(channels.into_iter().map(|channel| channel.to_string()).collect())
    }

    /// Held channels.
    pub fn held(channels: &[&Channel]) -> ControlEvent {
        ControlEvent::Held(channels.iter().map(|channel| channel.to_string()).collect())
    }

    /// Channels that have come.
    pub fn joined(channels: &[&Channel]) -> ControlEvent {
        ControlEvent::Joined(channels.iter().map(|channel| channel.to_string()).collect())
    }

    /// Channels that have gone.
    pub fn left(channels: &[Channel]) -> ControlEvent {
        ControlEvent::Left(channels.iter().map(|channel| channel.to_string()).collect())
    }

    /// The end of a grant, `now_ms` being the time.
    pub fn expiring(expires_at_ms: u64, now_ms: u64) -> ControlEvent {
        ControlEvent::Expiring { expires_at_ms, left_ms: expires_at_ms.saturating_sub(now_ms) }
    }

    /// The event's type.
    pub const fn name(&self) -> &'static str {
        match self {
            ControlEvent::Opened(_) => OPENED,
            ControlEvent::Heartbeat { .. } => HEARTBEAT,
            ControlEvent::Gap(_) => GAP,
            ControlEvent::Held(_) => HELD,
            ControlEvent::Joined(_) => JOINED,
            ControlEvent::Left(_) => LEFT,
            ControlEvent::Expiring { .. } => EXPIRING,
            ControlEvent::Expired => EXPIRED,
            ControlEvent::Revoked => REVOKED,
        }
    }

    /// The event's data as JSON, which is one line.
    pub fn data(&self) -> String {
        match self {
            ControlEvent::Gap(gap) => json(gap),
            ControlEvent::Heartbeat { every_ms } => json(&Pace { every_ms: *every_ms }),
            ControlEvent::Opened(channels)
            | ControlEvent::Held(channels)
            | ControlEvent::Joined(channels)
            | ControlEvent::Left(channels) => json(&Channels { channels: channels.clone() }),
            ControlEvent::Expiring { expires_at_ms, left_ms } => {
                json(&Expiry { expires_at_ms: *expires_at_ms, left_ms: *left_ms })
            }
            ControlEvent::Expired | ControlEvent::Revoked => "{}".into(),
        }
    }

    /// A comment of one line with the event's name and data, which no EventSource shows.
    pub fn comment(&self) -> String {
        format!(": {} {}\n", self.name(), self.data())
    }

    /// Reads an event of this type and data; `None` where it is no control event, or none that this release knows.
    pub fn parse(name: &str, data: &str) -> Option<ControlEvent> {
        let channels = || serde_json::from_str::<Channels>(data).ok().map(|held| held.channels);
        match name {
            OPENED => channels().map(ControlEvent::Opened),
            HEARTBEAT => {
                let Pace { every_ms } = serde_json::from_str(data).ok()?;
                Some(ControlEvent::Heartbeat { every_ms })
            }
            GAP => serde_json::from_str(data).ok().map(ControlEvent::Gap),
            HELD => channels().map(ControlEvent::Held),
            JOINED => channels().map(ControlEvent::Joined),
            LEFT => channels().map(ControlEvent::Left),
            EXPIRING => {
                let Expiry { expires_at_ms, left_ms } = serde_json::from_str(data).ok()?;
                Some(ControlEvent::Expiring { expires_at_ms, left_ms })
            }
            EXPIRED => Some(ControlEvent::Expired),
            REVOKED => Some(ControlEvent::Revoked),
            _ => None,
        }
    }
}

impl fmt::Display for ControlEvent {
    /// The block of an event stream, with the blank line at its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event: {}\ndata: {}\n\n", self.name(), self.data())
    }
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("plain fields")
}

/// Why a subscriber cannot be given what it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// History between the position and what is left was trimmed.
    Trimmed,
    /// Entries behind the position were deleted by a producer (`XDEL`).
    Deleted,
    /// The stream does not exist (deleted, expired, never there).
    Missing,
    /// The stream's ids went back or elsewhere, or the position is no cursor of ours.
    Reset,
    /// An entry is there, but larger than is delivered, or than the backplane lets anybody read.
    #[serde(rename = "too_large")]
    TooLarge,
}

impl GapReason {
    pub const ALL: [GapReason; 5] =
        [GapReason::Trimmed, GapReason::Deleted, GapReason::Missing, GapReason::Reset, GapReason::TooLarge];

    /// As it stands in the event and in the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            GapReason::Trimmed => "trimmed",
            GapReason::Deleted => "deleted",
            GapReason::Missing => "missing",
            GapReason::Reset => "reset",
            GapReason::TooLarge => "too_large",
        }
    }
}

/// An announced gap in one channel.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Gap {
    pub channel: String,
    pub reason: GapReason,
    /// What the subscriber had; `null` where it was no position.
    #[serde(serialize_with = "position_text", deserialize_with = "position_of_text")]
    pub resume_from: Option<Position>,
    /// The id of the next event, or where there is none yet, the position that it will follow.
    #[serde(serialize_with = "position_text", deserialize_with = "position_of_text")]
    pub continues_at: Option<Position>,
    /// How many events were lost, where that is known.
    pub lost: Option<u64>,
}

fn position_text<S: Serializer>(position: &Option<Position>, to: S) -> Result<S::Ok, S::Error> {
    match position {
        Some(position) => to.collect_str(position),
        None => to.serialize_none(),
    }
}

fn position_of_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Position>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

impl Gap {
    /// The block of an event stream that tells it.
    pub fn block(&self) -> String {
        ControlEvent::Gap(self.clone()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_as_it_was_written() {
        let gap = Gap {
            channel: "orders".into(),
            reason: GapReason::TooLarge,
            resume_from: None,
            continues_at: Some(Position::new(5, 1)),
            lost: Some(1),
        };
        let channels = || vec!["a".to_owned(), "b.c".to_owned()];
        let events = [
            (ControlEvent::Opened(channels()), r#"{"channels":["a","b.c"]}"#),
            (ControlEvent::Heartbeat { every_ms: 4_000 }, r#"{"every_ms":4000}"#),
            (
                ControlEvent::Gap(gap),
                r#"{"channel":"orders","reason":"too_large","resume_from":null,"continues_at":"5-1","lost":1}"#,
            ),
            (ControlEvent::Held(channels()), r#"{"channels":["a","b.c"]}"#),
            (ControlEvent::Joined(channels()), r#"{"channels":["a","b.c"]}"#),
            (ControlEvent::Left(channels()), r#"{"channels":["a","b.c"]}"#),
            (ControlEvent::expiring(5_000, 3_500), r#"{"expires_at_ms":5000,"left_ms":1500}"#),
            (ControlEvent::Expired, "{}"),
            (ControlEvent::Revoked, "{}"),
        ];
        assert_eq!(NAMES.map(|(name, _)| name), events.each_ref().map(|(event, _)| event.name()));
        for (event, data) in events {
            assert_eq!(event.to_string(), format!("event: {}\ndata: {data}\n\n", event.name()));
            assert_eq!(ControlEvent::parse(event.name(), data), Some(event));
        }
        assert_eq!(ControlEvent::parse("fantail.other", "{}"), None);
        assert_eq!(ControlEvent::parse("fantail.gap", r#"{"reason":"eaten"}"#), None);
    }
}
