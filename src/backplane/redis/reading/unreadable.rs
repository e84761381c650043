//! Entries that the server lets nobody read: it closes the connection instead (`client-output-buffer-limit`).
//!
//! Their ids are found by asking for less and less: a read that begins behind one is answered, one that begins before it
//! is not.

use super::examine::state;
use super::{Answered, Pool, Reading, TOO_LARGE};
use crate::backplane::error::Outage;
use crate::backplane::redis::reader::reply::Taken;
use crate::backplane::redis::{decode, pipeline};
use crate::backplane::{Ask, BackplaneError, Entry, Span, StreamState, Toward};
use crate::channel::Channel;
use crate::event::closes;
use crate::planted::{self, Fault};
use crate::position::Position;

/// Entries of one answer that is put together one by one: the known one and a new one. Of history, what follows them is then tried
/// at once again.
const STEPS: usize = 2;
/// How often a connection must be closed before an entry is to blame.
const TRIES: usize = 2;

impl Reading<'_> {
    /// Whether the server closed a connection that was asked, though it works.
    pub(super) fn was_closed(&self, error: &BackplaneError) -> bool {
        let works = || self.server.live().is_some_and(|live| !live.is_lost());
        matches!(error, BackplaneError::Down { kind: Outage::HungUp, .. }) && works()
    }

    /// The first entries of a span, one by one; what cannot be read has no fields.
    pub(super) async fn step_by_step(&mut self, span: &Span) -> Answered<Vec<Entry>> {
        let (mut rest, mut entries) = (span.clone(), Vec::new());
        let count = span.count.max(1);
        loop {
            let most = count.min(entries.len() + STEPS);
            while entries.len() < most
                && rest.oldest <= rest.newest
                && let Some(entry) = self.next_of(&rest).await?
            {
                match span.toward {
                    Toward::Newest => rest.oldest = entry.position.after(),
                    Toward::Oldest => rest.newest = entry.position.before(),
                }
                entries.push(entry);
            }
            rest.count = count - entries.len();
            // Who reads history takes few entries for all that there are.
            if self.pool != Pool::History
                || planted::is(Fault::TwoAreAll)
                || entries.len() < most
                || rest.count == 0
                || self.others_of(&rest, &mut entries).await?
            {
                break;
            }
        }
        if span.toward == Toward::Oldest {
            entries.reverse();
        }
        if self.pool != Pool::History && !entries.is_empty() {
            self.server.changes.changed([span.channel.clone()]);
        }
        Ok(entries)
    }

    /// Reads a span at once, in its direction; whether that did not end the connection again.
    async fn others_of(&mut self, span: &Span, entries: &mut Vec<Entry>) -> Answered<bool> {
        let mut command = self.commands();
        self.xrange(span, &mut command);
        let mut others = match self.send("xrange", &command, self.entries()).await {
            Err(error) if self.was_closed(&error) => return Ok(false),
            replies => match replies?.pop() {
                Some(reply) => self.excerpt(reply, span)?.entries,
                None => return Err(BackplaneError::down("no reply")),
            },
        };
        if span.toward == Toward::Oldest {
            others.reverse();
        }
        entries.extend(others);
        Ok(true)
    }

    /// The first entries after a position, one by one; what cannot be read has no fields.
    pub(super) async fn step_after(&mut self, ask: &Ask) -> Answered<Vec<Entry>> {
        let (channel, oldest) = (ask.channel.clone(), ask.after.after());
        let span = Span { channel, oldest, newest: Position::MAX, count: ask.count, toward: Toward::Newest };
        self.step_by_step(&span).await
    }

    /// The first entry of a span, in its direction; what cannot be read has no fields.
    async fn next_of(&mut self, span: &Span) -> Answered<Option<Entry>> {
        let known = self.too_large_in(span);
        let known = if span.toward == Toward::Newest { known.first() } else { known.last() }.copied();
        let mut before = Span { count: 1, ..span.clone() };
        match (known, span.toward) {
            (Some(known), Toward::Newest) => before.newest = known.before(),
            (Some(known), Toward::Oldest) => before.oldest = known.after(),
            (None, _) => {}
        }
        let marked = |position| Entry { position, fields: Vec::new() };
        if before.oldest <= before.newest {
            match self.only(&before, TRIES).await? {
                Some(Some(entry)) => return Ok(Some(entry)),
                Some(None) => {}
                None => {
                    self.answers_beside(&before).await?;
                    let position = self.search(&before).await?;
                    self.answers_beside(&before).await?;
                    if self.only(&Span { oldest: position, newest: position, ..before.clone() }, 1).await?.is_some() {
                        return Err(by_something_else());
                    }
                    self.answers_beside(&before).await?;
                    self.server.large.found_too_large(&span.channel, position);
                    self.tell(&span.channel, position).await;
                    return Ok(Some(marked(position)));
                }
            }
        }
        Ok(known.map(marked))
    }

    /// The one entry of a span; the outer `None`: the server closes the connection so many times instead.
    async fn only(&mut self, span: &Span, tries: usize) -> Answered<Option<Option<Entry>>> {
        for _ in 0..tries {
            let mut command = self.commands();
            self.xrange(span, &mut command);
            match self.send("xrange", &command, self.entries()).await {
                Ok(mut replies) => {
                    let reply = replies.pop().ok_or_else(|| BackplaneError::down("no reply"))?;
                    return Ok(Some(self.excerpt(reply, span)?.entries.pop()));
                }
                Err(error) if self.was_closed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether a read that touches no entry is answered; `Down` where its connection ends, too, as it does where that leads to a primary
    /// that is away beside a replica that is there.
    async fn answers_beside(&mut self, span: &Span) -> Answered<()> {
        let nothing = Span { oldest: Position::MAX, newest: Position::MAX, ..span.clone() };
        self.only(&nothing, 1).await?.map(drop).ok_or_else(by_something_else)
    }

    /// Finds where the entry lies at which the server closes the connection: by halves, at most 128 of them. Of
    /// several that follow each other, the last one on the way.
    async fn search(&mut self, span: &Span) -> Answered<Position> {
        let (mut low, mut high) = (span.oldest, span.newest);
        while low < high {
            let seq = low.ms == high.ms;
            let (from, to) = if seq { (low.seq, high.seq) } else { (low.ms, high.ms) };
            let mut half = span.clone();
            match span.toward {
                Toward::Newest => {
                    let middle = from + (to - from).div_ceil(2);
                    half.oldest = if seq { Position::new(low.ms, middle) } else { Position::new(middle, 0) };
                    match self.only(&half, 1).await? {
                        None => low = half.oldest,
                        Some(_) => high = half.oldest.before(),
                    }
                }
                Toward::Oldest => {
                    let middle = from + (to - from) / 2;
                    half.newest = if seq { Position::new(low.ms, middle) } else { Position::new(middle, u64::MAX) };
                    match self.only(&half, 1).await? {
                        None => high = half.newest,
                        Some(_) => low = half.newest.after(),
                    }
                }
            }
        }
        Ok(low)
    }

    /// The first entry of a whole stream, in a direction.
    async fn edge_of(&mut self, channel: &Channel, toward: Toward) -> Answered<Option<Entry>> {
        let (channel, oldest, newest) = (channel.clone(), Position::ZERO, Position::MAX);
        self.next_of(&Span { channel, oldest, newest, count: 1, toward }).await
    }

    /// The oldest entry, of a server whose `XINFO STREAM` leaves it out.
    pub(super) async fn first_of(&mut self, channel: &Channel) -> Answered<Option<Position>> {
        match self.edge_of(channel, Toward::Newest).await? {
            Some(entry) => Ok(Some(entry.position)),
            None => Err(BackplaneError::down("the stream was emptied meanwhile")),
        }
    }

    /// What a stream tells of itself to who asks once more, as the connection was closed instead.
    pub(super) async fn state_again(&mut self, channel: &Channel) -> Answered<Option<StreamState>> {
        for _ in 1..TRIES {
            let mut command = self.commands();
            self.xinfo(channel, &mut command);
            match self.send("xinfo", &command, Taken::Skimmed).await {
                Err(error) if self.was_closed(&error) => {}
                replies => return state(replies?.pop().ok_or_else(|| BackplaneError::down("no reply"))?),
            }
        }
        self.state_without_info(channel).await
    }

    /// What can be known of a stream whose state cannot be read, as its first or its last entry would come with it.
    async fn state_without_info(&mut self, channel: &Channel) -> Answered<Option<StreamState>> {
        let first = self.edge_of(channel, Toward::Newest).await?.map(|entry| entry.position);
        // At least one is there.
        let state = |last: Entry| StreamState {
            length: 1,
            first,
            last: last.position,
            finished: closes(&last.fields),
            ..StreamState::default()
        };
        Ok(self.edge_of(channel, Toward::Oldest).await?.map(state))
    }

    /// Tells operators of an entry that nobody can read: its channel, and the limit of the server.
    async fn tell(&self, channel: &Channel, position: Position) {
        const LIMIT: &str = "client-output-buffer-limit";
        let limit = match self.server.live() {
            Some(live) => live.run(pipeline::one(&live.client, &["CONFIG", "GET", LIMIT])).await.ok(),
            None => None,
        };
        let limit = limit.and_then(Result::ok).and_then(|reply| match reply {
            fred::types::Value::Array(list) => list.get(1).and_then(decode::str).map(str::to_owned),
            fred::types::Value::Map(map) => map.inner().values().next().and_then(decode::str).map(str::to_owned),
            _ => None,
        });
        // Of clients like this one; limits of others follow.
        let limit = limit.map(|limit| limit.split_whitespace().take(4).collect::<Vec<_>>().join(" "));
        let limit = limit.as_deref().unwrap_or("not known");
        let why = format!("{position} of channel {channel}: Redis closes the connection instead ({LIMIT}: {limit})");
        self.server.tell(TOO_LARGE, &why);
    }
}

fn by_something_else() -> BackplaneError {
    BackplaneError::down("connections end, but not by what is read")
}
