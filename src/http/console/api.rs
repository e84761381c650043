//! What the console shows, as JSON.

use super::Console;
use crate::backplane::{BackplaneError, StreamState};
use crate::channel::Channel;
use crate::http::history::Page;
use crate::problem::Problem;
use crate::roster::{Record, events_in, tenths};
use crate::subscription::{decode_segment, parse_channel};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Channels of one answer.
const MOST: usize = 500;
const USUAL: usize = 50;
/// Newest entries that a channel's page begins with.
const NEWEST: usize = 20;

impl Console {
    /// The nodes, and which of them answers.
    pub async fn nodes(&self) -> Value {
        let mut nodes = self.roster.nodes().await;
        let events_in = events_in(&nodes);
        // That number is all that there is in these.
        nodes.iter_mut().for_each(|node| node.read = None);
        json!({
            "own": self.roster.id(),
            "actions": self.actions.is_some(),
            "contents": self.contents,
            "events_in": events_in,
            "nodes": nodes,
        })
    }

    /// Channels by subscribers or by events per second: all of this node, and the busiest of the others. `search` is a
    /// part of the name.
    pub async fn channels(&self, query: &str) -> Result<Value, Problem> {
        let wanted = Wanted::parse(query)?;
        let nodes = self.roster.nodes().await;
        let own = self.hub.audience();
        Ok(json!({ "channels": merged(&nodes, own, &wanted) }))
    }

    /// One channel: who has subscribed where, what its stream holds, and, where contents are shown, its newest entries.
    pub async fn channel(&self, segment: &str) -> Result<Value, Problem> {
        let channel = parse_channel(&decode_segment(segment)?)?;
        let audience = self.roster.audience(&channel).await;
        let stream = self.stream(&channel).await.map_err(|error| Problem::from(&error))?;
        let (events, more) = match self.contents {
            true => {
                let turn = self.history.enter(Ipv4Addr::UNSPECIFIED.into())?;
                let newest = Page::newest(channel.clone(), NEWEST).read(self.hub.clone(), turn).await;
                newest.map_err(|error| Problem::from(&error))?
            }
            false => (Vec::new(), false),
        };
        Ok(json!({
            "channel": channel.as_str(),
            "audience": audience,
            "stream": stream.map(|stream| json!({
                "entries": stream.length,
                "added": stream.added,
                "first": stream.first.map(|first| first.to_string()),
                "last": stream.last.to_string(),
                "finished": stream.finished,
            })),
            "contents": self.contents,
            "events": events,
            "more": more,
        }))
    }

    async fn stream(&self, channel: &Channel) -> Result<Option<StreamState>, BackplaneError> {
        let mut answers = self.hub.backplane.inspect(vec![channel.clone()]).await?;
        answers.pop().unwrap_or(Ok(None))
    }
}

/// Which channels, and in what order.
struct Wanted {
    search: String,
    limit: usize,
    by_rate: bool,
}

impl Wanted {
    fn parse(query: &str) -> Result<Wanted, Problem> {
        let mut wanted = Wanted { search: String::new(), limit: USUAL, by_rate: false };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let bad = |why| Problem::bad_parameter(&name, &value, why);
            match &*name {
                "search" => wanted.search = value.to_ascii_lowercase(),
                "limit" => {
                    let number = value.parse().ok().filter(|number| (1..=MOST).contains(number));
                    wanted.limit = number.ok_or_else(|| bad("not a number from 1 to 500"))?;
                }
                "sort" => {
                    wanted.by_rate = match &*value {
                        "subscribers" => false,
                        "rate" => true,
                        _ => return Err(bad("neither subscribers nor rate")),
                    };
                }
                _ => {}
            }
        }
        Ok(wanted)
    }
}

/// One row per channel, the greatest first.
fn merged(nodes: &[Record], own: Vec<(Channel, u32, f32)>, wanted: &Wanted) -> Vec<Value> {
    #[derive(Default)]
    struct Row {
        subscribers: u64,
        nodes: u64,
        rate: f64,
        entries: Option<u64>,
        seconds: Option<f64>,
    }
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let fits = |name: &str| wanted.search.is_empty() || name.to_ascii_lowercase().contains(&wanted.search);
    for (channel, legs, rate) in own.iter().filter(|(channel, ..)| fits(channel.as_str())) {
        let row = Row { subscribers: u64::from(*legs), nodes: 1, rate: tenths(*rate), ..Row::default() };
        rows.insert(channel.as_str(), row);
    }
    for (number, node) in nodes.iter().enumerate() {
        for busy in node.top.iter().filter(|busy| fits(&busy.channel)) {
            let row = rows.entry(&busy.channel).or_default();
            // The first record is this node's, whose subscribers are counted already.
            if number > 0 {
                row.subscribers += busy.subscribers;
                row.nodes += 1;
            }
            row.rate = row.rate.max(busy.rate);
            row.entries = row.entries.or(busy.history_entries);
            row.seconds = row.seconds.or(busy.history_seconds);
        }
    }
    let mut rows: Vec<_> = rows.into_iter().filter(|(_, row)| row.subscribers > 0).collect();
    let rate = |row: &Row| if wanted.by_rate { row.rate } else { 0.0 };
    rows.sort_by(|(a, x), (b, y)| {
        rate(y).total_cmp(&rate(x)).then_with(|| y.subscribers.cmp(&x.subscribers)).then_with(|| a.cmp(b))
    });
    rows.truncate(wanted.limit);
    let row = |(channel, row): (&str, Row)| {
        json!({
            "channel": channel, "subscribers": row.subscribers, "nodes": row.nodes, "rate": row.rate,
            "history_entries": row.entries, "history_seconds": row.seconds,
        })
    };
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::record::Busy;

    #[test]
    fn channels_of_all_nodes_are_added_up() {
        let busy = |name: &str, subscribers, rate| Busy { channel: name.into(), subscribers, rate, ..Busy::default() };
        let own = Record { top: vec![busy("a", 3, 1.0)], ..Record::default() };
        let other = Record { top: vec![busy("a", 2, 5.0), busy("b", 9, 0.0)], ..Record::default() };
        let here = || vec![(Channel::new("a").unwrap(), 3, 1.0), (Channel::new("c").unwrap(), 1, 2.04)];
        let wanted = |query| Wanted::parse(query).unwrap();
        let nodes = [own, other];
        let rows = merged(&nodes, here(), &wanted(""));
        let names =
            |rows: &[Value]| rows.iter().map(|row| row["channel"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&rows), ["b", "a", "c"]);
        assert_eq!((&rows[1]["subscribers"], &rows[1]["rate"], &rows[1]["nodes"]), (&5.into(), &5.0.into(), &2.into()));
        assert_eq!(names(&merged(&nodes, here(), &wanted("search=C"))), ["c"]);
        assert_eq!(names(&merged(&nodes, here(), &wanted("limit=1&sort=subscribers"))), ["b"]);
        let rows = merged(&nodes, here(), &wanted("sort=rate"));
        assert_eq!(names(&rows), ["a", "c", "b"]);
        assert_eq!(rows[1]["rate"], 2.0);
        assert_eq!(names(&merged(&nodes, here(), &wanted("sort=rate&limit=1"))), ["a"]);
    }
}
