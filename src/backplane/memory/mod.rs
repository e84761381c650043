//! The in-process backplane: streams in this process's memory, with the ids, trimming and failures of Redis.
//!
//! For a node without Redis, and for tests. What one stream does is in `stream`; the map of all in `store`, their bounds in
//! `settings`; what tests do to it, as an operator or a failure does to Redis, in `faults`. Nothing here awaits.

#[cfg(feature = "testing")]
mod faults;
mod keys;
mod settings;
mod store;
mod stream;
#[cfg(test)]
mod tests;

pub use settings::Settings;

use super::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Link, Publication, Span, StreamState,
};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::frame;
use crate::position::Position;
use crate::watched as watch;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::Store;

/// Streams in this process's memory.
pub struct Memory {
    store: Store,
    max_entry_bytes: usize,
    link: watch::Sender<Link>,
    reconnects: AtomicU64,
}

impl Memory {
    /// An empty backplane within these bounds, by the system's time.
    #[cfg(feature = "testing")]
    pub fn new(settings: Settings) -> Arc<Memory> {
        Memory::by(settings, Clock::default())
    }

    /// An empty backplane within these bounds, whose entries `clock` dates.
    pub fn by(settings: Settings, clock: Clock) -> Arc<Memory> {
        Arc::new(Memory {
            store: Store::new(settings, clock),
            max_entry_bytes: settings.max_entry_bytes,
            link: watch::Sender::new(Link::Up),
            reconnects: AtomicU64::new(0),
        })
    }

    /// Entries removed so far because all streams together reached [`Settings::max_bytes`].
    #[cfg(test)]
    fn trimmed_for_room(&self) -> u64 {
        self.store.trimmed_for_room()
    }

    /// Entries that are too large lose their fields.
    fn weighed(&self, mut entries: Vec<Entry>) -> Vec<Entry> {
        for entry in &mut entries {
            if !frame::is_within(entry, self.max_entry_bytes) {
                entry.fields = Vec::new();
            }
        }
        entries
    }

    /// Answers each item of a batch, or nothing while the link is down.
    fn answer<'a, A: Send + 'a, T: Send + 'a>(
        &'a self,
        items: Vec<A>,
        each: impl Fn(&A) -> Result<T, BackplaneError> + Send + 'a,
    ) -> Answer<'a, Vec<Result<T, BackplaneError>>> {
        Box::pin(async move {
            match *self.link.borrow() {
                Link::Up => Ok(items.iter().map(each).collect()),
                Link::Down => Err(BackplaneError::down("the in-process backplane is cut off").unsent()),
            }
        })
    }
}

impl Backplane for Memory {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        self.answer(asks, |ask| {
            let read =
                |stream: Option<&_>| stream.map_or(Vec::new(), |s: &stream::Stream| s.read(ask.after, ask.count));
            self.store.watch(&ask.channel, read).map(|entries| self.weighed(entries))
        })
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        self.answer(channels, |channel| self.store.watch(channel, |stream| stream.map(|s| s.state())))
    }

    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        self.answer(asks, |ask| {
            self.store.watch(&ask.channel, |stream| match stream {
                Some(stream) => {
                    let entries = self.weighed(stream.read(ask.after, ask.count));
                    Examined { state: Some(stream.state()), entries }
                }
                None => Examined::default(),
            })
        })
    }

    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        self.answer(spans, |span| {
            let read = |stream: Option<&stream::Stream>| stream.map_or(Vec::new(), |s| s.history(span));
            Ok(self.weighed(self.store.look(&span.channel, read)))
        })
    }

    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        self.answer(publications, |p| self.store.append(&p.channel, None, &p.fields, &p.keeping))
    }

    fn followed(&self, channel: &Channel, position: Position) {
        if *self.link.borrow() == Link::Down {
            return;
        }
        // A full store has refused the read already, so there is nothing to watch and nobody to tell.
        let more = self.store.watch(channel, |stream| stream.is_some_and(|s| s.goes_on_after(position)));
        if more.unwrap_or(false) {
            self.changes().changed([channel.clone()]);
        }
    }

    fn unfollowed(&self, channel: &Channel) {
        self.store.unwatch(channel);
    }

    fn changes(&self) -> &Arc<Changes> {
        self.store.changes()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn facts(&self) -> Facts {
        Facts {
            name: "memory".into(),
            version: None,
            follow: Some("memory"),
            clock_offset_ms: 0,
            reconnects: self.reconnects.load(Ordering::Relaxed),
            ..Facts::default()
        }
    }
}
