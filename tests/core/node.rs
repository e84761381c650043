//! A whole node as its clients, producers and operators meet it: processes, sockets, signals.
//!
//! One file a theme. Events carry sequence numbers, and what is checked is which numbers came, in which order.

mod absent;
mod admin;
mod churn;
mod combinations;
mod compression;
pub mod conditions;
mod control;
mod cors;
mod deleted;
mod drain;
mod drain_begins;
mod exact;
mod fields;
mod filter_envelope;
mod finish;
mod finished_again;
mod first_blocks;
mod gaps;
mod heads;
mod hello_heartbeat;
mod history;
mod history_pages;
mod hostile;
mod hot;
mod large_broadcasts;
mod large_entries;
mod leftovers;
mod limits;
mod log_lines;
mod operators;
mod outage;
mod positions;
mod publish;
mod publish_once;
mod publish_outage;
mod publishing_room;
mod query;
mod rates;
mod reaping;
mod replaced;
mod replay;
mod resume;
mod several_channels;
mod shapes;
mod since;
mod slow;
mod subscribe;
mod terminal;

use crate::support::redis::Redis;

/// Adds numbered events to a channel's stream; their ids.
fn add(redis: &Redis, channel: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    let key = format!("sse:{channel}");
    let numbers: Vec<String> = numbers.into_iter().map(|number| number.to_string()).collect();
    let commands: Vec<[&str; 5]> = numbers.iter().map(|number| ["XADD", &key, "*", "data", number]).collect();
    let commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
    redis.pipeline(&commands).iter().map(|reply| reply.text().to_owned()).collect()
}

/// Adds one event under a chosen id.
fn add_at(redis: &Redis, channel: &str, id: &str, number: u64) {
    let reply = redis.command(&["XADD", &format!("sse:{channel}"), id, "data", &number.to_string()]);
    assert_eq!(reply.text(), id);
}
