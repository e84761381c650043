//! A node's backplane in a simulation: the contract, answered by [`Redis`] over a line that may fail at any point of a call.

use super::played::Played;
use super::redis::{Line, Redis, SHARDS};
use super::streams::Stream;
use super::world::MOST_BYTES;
use bytes::Bytes;
use fantail::backplane::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Link, Publication, Relayed, Shard, Span,
    StreamState,
};
use fantail::channel::Channel;
use fantail::position::Position;
use fantail::watched as watch;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a read waits for a next entry.
const WAIT: Duration = Duration::from_secs(1);

/// See the module.
pub struct PlayedBackplane {
    redis: Arc<Redis>,
    line: Arc<Line>,
    number: usize,
    /// Whether next entries can be waited for.
    waits: bool,
    /// How far Redis' clock is ahead of the node's, in milliseconds.
    ahead_ms: i64,
}

impl PlayedBackplane {
    pub fn new(redis: Arc<Redis>, waits: bool, ahead_ms: i64) -> PlayedBackplane {
        let (number, line) = redis.connect();
        PlayedBackplane { redis, line, number, waits, ahead_ms }
    }

    /// The number of its connection.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The request goes there, is answered at one instant, and the answer comes back, unless the connection is lost.
    async fn call<T>(&self, what: &'static str, work: impl FnOnce(&Arc<Redis>) -> T) -> Result<T, BackplaneError> {
        let lost = || BackplaneError::down("the connection was lost");
        let generation = self.line.generation().ok_or_else(lost)?;
        if !self.line.pass(generation).await {
            return Err(lost());
        }
        tracing::debug!(number = self.number, what, "served");
        let done = work(&self.redis);
        if self.line.pass(generation).await { Ok(done) } else { Err(lost()) }
    }

    /// Looks at a stream, of whose next change the node is told then.
    fn watching<T>(
        &self,
        redis: &Arc<Redis>,
        channel: &Channel,
        look: impl FnOnce(Option<&Stream>) -> T,
    ) -> Result<T, BackplaneError> {
        reachable(redis, channel)?;
        let mut streams = redis.streams.lock();
        streams.watch(channel.as_str(), self.number);
        Ok(look(streams.get(channel.as_str())))
    }
}

/// Entries that are too large lose their fields.
fn weighed(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.iter_mut().filter(|entry| entry.size() > MOST_BYTES).for_each(|entry| entry.fields.clear());
    entries
}

impl Backplane for PlayedBackplane {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        Box::pin(self.call("read", move |redis| {
            let one = |ask: &Ask| {
                let look =
                    |stream: Option<&Stream>| stream.map_or(Vec::new(), |s| weighed(s.after(ask.after, ask.count)));
                self.watching(redis, &ask.channel, look)
            };
            asks.iter().map(one).collect()
        }))
    }

    fn waits(&self) -> bool {
        self.waits && *self.line.link.borrow() == Link::Up
    }

    fn read_next(&self, ask: Ask) -> Answer<'_, Vec<Entry>> {
        Box::pin(async move {
            let until = Instant::now() + WAIT;
            let name = ask.channel.as_str().to_owned();
            loop {
                let changed = self.redis.bell.notified();
                let found = self.call("read_next", |redis| -> Result<Vec<Entry>, BackplaneError> {
                    reachable(redis, &ask.channel)?;
                    let streams = redis.streams.lock();
                    Ok(streams.get(&name).map_or(Vec::new(), |stream| weighed(stream.after(ask.after, ask.count))))
                });
                let found = found.await??;
                if found.len() > 1 || timeout_at(until, changed).await.is_err() {
                    return Ok(if found.len() > 1 { found } else { Vec::new() });
                }
            }
        })
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        Box::pin(self.call("inspect", move |redis| {
            let one = |channel: &Channel| self.watching(redis, channel, |stream| stream.map(Stream::state));
            channels.iter().map(one).collect()
        }))
    }

    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        Box::pin(self.call("examine", move |redis| {
            let one = |ask: &Ask| {
                self.watching(redis, &ask.channel, |stream| match stream {
                    Some(stream) => {
                        Examined { state: Some(stream.state()), entries: weighed(stream.after(ask.after, ask.count)) }
                    }
                    None => Examined::default(),
                })
            };
            asks.iter().map(one).collect()
        }))
    }

    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        Box::pin(self.call("history", move |redis| {
            let streams = redis.streams.lock();
            let one = |span: &Span| {
                reachable(redis, &span.channel)?;
                Ok(streams.get(span.channel.as_str()).map_or(Vec::new(), |stream| weighed(stream.span(span))))
            };
            spans.iter().map(one).collect()
        }))
    }

    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        Box::pin(self.call("append", move |redis| {
            let now = redis.now_ms();
            let one = |publication: &Publication| {
                reachable(redis, &publication.channel)?;
                let fields: Vec<(Bytes, Bytes)> = publication.fields.clone();
                Ok(redis.change(publication.channel.as_str(), |stream| {
                    let id = stream.next_id(now);
                    stream.append(id, fields);
                    id
                }))
            };
            publications.iter().map(one).collect()
        }))
    }

    fn followed(&self, channel: &Channel, position: Position) {
        let behind = {
            let mut streams = self.redis.streams.lock();
            streams.watch(channel.as_str(), self.number);
            streams.get(channel.as_str()).is_some_and(|stream| !stream.after(position, 1).is_empty())
        };
        if behind {
            self.line.changes.changed([channel.clone()]);
        }
    }

    fn unfollowed(&self, _: &Channel) {}

    fn may_relay(&self) -> bool {
        self.redis.relaying.is_on()
    }

    fn busy(&self, channel: &Channel, is: bool) {
        self.redis.relaying.busy(self.number, channel, is);
    }

    fn relays(&self, channel: &Channel) -> bool {
        self.redis.relaying.relays(self.number, channel)
    }

    fn relay(&self, relayed: Relayed, doubts: u32) {
        self.redis.relay(&self.line, relayed, doubts);
    }

    fn changes(&self) -> &Arc<Changes> {
        &self.line.changes
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.line.link.subscribe()
    }

    fn facts(&self) -> Facts {
        let reconnects = self.line.state.lock().reconnects;
        let down = self.redis.shard_down();
        let shard = |number: usize| Shard { name: format!("shard {number}"), up: down != Some(number) };
        let shards = (0..SHARDS).map(shard).collect();
        let (follow, clock_offset_ms) = (Some("tracking"), self.ahead_ms);
        let clock_least_ms = clock_offset_ms;
        let name = "played".into();
        Facts { name, follow, reconnects, shards, clock_offset_ms, clock_least_ms, ..Facts::default() }
    }
}

/// Whether the shard of a stream is there.
pub fn reachable(redis: &Arc<Redis>, channel: &Channel) -> Result<(), BackplaneError> {
    match redis.is_down(channel.as_str()) {
        true => Err(BackplaneError::down("its shard is down")),
        false => Ok(()),
    }
}
