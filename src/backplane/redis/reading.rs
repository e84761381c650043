//! The commands that read entries, on connections whose replies have a limit: encoding, grouping, and what each reply
//! means for each ask.
//!
//! A reply is not read on behind a large entry, so that the streams behind it need not wait: they are asked for again, and
//! the large one's stream is read apart. What is too large to be read at all is an [`Entry`] without fields.

mod examine;
mod spans;
mod unreadable;

use self::spans::Excerpt;
use super::large::LARGE;
use super::reader::reply::{Cut, Reply, Rest, Taken};
use super::reader::{Words, refusal};
use super::readers::{Loan, Readers};
use super::server::{Answers, Server};
use super::{decode, fault};
use crate::backplane::{Ask, BackplaneError, Entry, Span, StreamState, Toward};
use crate::channel::Channel;
use crate::frame;
use crate::position::Position;
use fred::types::Value;
use fred::util::redis_keyslot;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Some managed servers take at most 3,999 arguments.
const KEYS_PER_READ: usize = 1000;
/// Commands of one write; in a cluster most reads have one key.
const PIPELINE: usize = 256;
/// What one reply of the live reads weighs at most, and one of others, where the last entry is not larger.
const TOTAL: usize = 8 << 20;
const TOTAL_APART: usize = 4 << 20;

/// What operators are told of.
const TOO_LARGE: &str = "an entry cannot be read";

pub(super) type Answered<T> = Result<T, BackplaneError>;

/// Which connections a call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Small entries of many streams; what is read is reported when it changes.
    Live,
    /// One stream with large entries; the same.
    Apart,
    /// History, which is not reported.
    History,
}

/// One call.
pub struct Reading<'a> {
    server: &'a Server,
    pool: Pool,
    /// To a server that is taking slots over: `ASKING` precedes each command.
    asking: bool,
    loan: Option<Loan>,
}

impl Reading<'_> {
    pub fn new(server: &Server, pool: Pool, asking: bool) -> Reading<'_> {
        Reading { server, pool, asking, loan: None }
    }

    fn readers(&self) -> &Arc<Readers> {
        match self.pool {
            Pool::Live => &self.server.readers,
            Pool::Apart => &self.server.apart,
            Pool::History => &self.server.history,
        }
    }

    fn entries(&self) -> Taken {
        let most = self.server.max_entry_bytes;
        match self.pool {
            Pool::Live => Taken::Entries { most: most.min(LARGE), total: TOTAL, witness: None },
            Pool::Apart | Pool::History => Taken::Entries { most, total: TOTAL_APART, witness: None },
        }
    }

    /// `XREAD`, each at most 1,000 keys of equal count, and in a cluster of one slot.
    pub async fn read(&mut self, asks: &[Ask]) -> Answers<Vec<Entry>> {
        let mut answers: Vec<_> = asks.iter().map(|_| Ok(Vec::new())).collect();
        let (around, plain): (Vec<usize>, Vec<usize>) =
            (0..asks.len()).partition(|&index| !self.too_large_after(&asks[index]).is_empty());
        let mut left = self.batches(asks, &plain);
        let mut at_once = PIPELINE;
        while !left.is_empty() {
            let part = left.split_off(left.len().saturating_sub(at_once));
            let keys: Vec<&Channel> = part.iter().flatten().map(|&index| &asks[index].channel).collect();
            self.arm(&keys).await?;
            let commands: Vec<Words> = part.iter().map(|batch| self.xread(asks, batch)).collect();
            let taken = self.of_witness(asks);
            let replies = match self.send("xread", &commands, taken).await {
                Err(error) if self.was_closed(&error) => {
                    // One of them has an entry that is more than the server lets anybody read.
                    at_once = 1;
                    match part.as_slice() {
                        [one] if one.len() == 1 => answers[one[0]] = self.closed_at(&asks[one[0]]).await,
                        _ => left.extend(part.into_iter().flat_map(halves)),
                    }
                    continue;
                }
                replies => replies?,
            };
            let answered = replies.len();
            for (batch, reply) in part.iter().zip(replies) {
                let again = self.take_in(asks, batch, reply, &mut answers)?;
                left.extend(again);
            }
            left.extend(part.into_iter().skip(answered));
        }
        for index in around {
            self.arm(&[&asks[index].channel]).await?;
            answers[index] = match self.read_around(&asks[index]).await {
                Err(error) if self.was_closed(&error) => self.closed_at(&asks[index]).await,
                answer => answer,
            };
        }
        self.end();
        Ok(answers)
    }

    /// The server closes the connection for one stream alone.
    async fn closed_at(&mut self, ask: &Ask) -> Answered<Vec<Entry>> {
        if self.pool == Pool::Apart {
            return self.step_after(ask).await;
        }
        self.server.large.found(&ask.channel);
        self.server.changes.changed([ask.channel.clone()]);
        Ok(Vec::new())
    }

    /// One who asks for what follows an entry asks for that one, too, which is large where the stream is read apart.
    fn of_witness(&self, asks: &[Ask]) -> Taken {
        match (asks, self.pool, self.entries()) {
            ([ask], Pool::Apart, Taken::Entries { most, total, .. }) => {
                Taken::Entries { most, total, witness: Some(ask.after.after()) }
            }
            (_, _, taken) => taken,
        }
    }

    /// One reply's streams; returns what must be asked for again.
    fn take_in(
        &self,
        asks: &[Ask],
        batch: &[usize],
        reply: Reply,
        answers: &mut [Answered<Vec<Entry>>],
    ) -> Answered<Vec<Vec<usize>>> {
        let (value, cut) = match reply {
            Reply::Whole(value) => (value, None),
            Reply::Cut(value, cut, _) => (value, Some(cut)),
            Reply::Error(why) => {
                return match refusal(why) {
                    BackplaneError::Refused(why) if batch.len() > 1 && fault::is_cross_slot(&why) => {
                        if !self.server.split.swap(true, Ordering::Relaxed) {
                            tracing::info!(
                                "redis: the server wants the keys of a read in one slot; reads are split from now on"
                            );
                            return Ok(self.batches(asks, batch));
                        }
                        Ok(halves(batch.to_vec()))
                    }
                    // One bad key fails all; and of a slot that is being moved, keys may be in two places.
                    BackplaneError::Refused(why)
                        if batch.len() > 1 && (fault::is_about_a_key(&why) || why.starts_with("TRYAGAIN")) =>
                    {
                        Ok(halves(batch.to_vec()))
                    }
                    BackplaneError::Refused(why) => {
                        batch.iter().for_each(|&index| answers[index] = Err(BackplaneError::Refused(why.clone())));
                        Ok(Vec::new())
                    }
                    down => Err(down),
                };
            }
        };
        let value = in_pairs(value);
        let last = cut.and_then(|_| last_key(&value));
        // A reply of another command's shape: the connection's replies are shifted.
        let mut streams = decode::streams(value).map_err(|e| BackplaneError::Down(e.to_string()))?;
        for (place, &index) in batch.iter().enumerate() {
            let ask = &asks[index];
            let key = self.server.key(&ask.channel);
            let entries = streams.remove(key.as_bytes()).unwrap_or(Ok(Vec::new()));
            let mut entries = entries.map_err(|e| BackplaneError::Refused(e.to_string()));
            if let Ok(entries) = &mut entries {
                entries.truncate(ask.count);
                self.weigh(&ask.channel, entries);
            }
            let is_last = last.as_ref().is_some_and(|last| last == key.as_bytes());
            if let (true, Some(cut), Ok(entries)) = (is_last, cut, &mut entries) {
                self.cut_short(&ask.channel, cut, entries);
            }
            answers[index] = entries;
            if is_last {
                // Those behind it have not been read.
                let behind = batch[place + 1..].to_vec();
                return Ok(if behind.is_empty() { Vec::new() } else { vec![behind] });
            }
        }
        Ok(Vec::new())
    }

    /// The stream's entries go on behind these, and it says so.
    fn cut_short(&self, channel: &Channel, cut: Cut, entries: &mut Vec<Entry>) {
        match cut {
            Cut::Large(bytes) if bytes <= self.server.max_entry_bytes => {
                // It is read apart.
                entries.pop();
                if self.server.large.found(channel) {
                    tracing::debug!(%channel, bytes, "redis: the stream has large entries and is read apart from now on");
                }
            }
            Cut::Large(_) => {
                if let Some(entry) = entries.last() {
                    self.server.large.found_too_large(channel, entry.position);
                }
            }
            Cut::Full => {}
        }
        if self.pool != Pool::History {
            self.server.changes.changed([channel.clone()]);
        }
    }

    /// Entries that are too large lose their fields, and are remembered.
    fn weigh(&self, channel: &Channel, entries: &mut [Entry]) {
        let most = self.server.max_entry_bytes;
        for entry in entries {
            if !entry.is_too_large() && frame::is_within(entry, most) {
                continue;
            }
            // In the live pool the mark of a large one says only that it is to be read apart.
            if !entry.is_too_large() || self.pool != Pool::Live {
                self.server.large.found_too_large(channel, entry.position);
            }
            entry.fields = Vec::new();
        }
    }

    /// Where entries lie that are known to be too large.
    fn too_large_after(&self, ask: &Ask) -> Vec<Position> {
        self.server.large.too_large_within(&ask.channel, ask.after.after(), Position::MAX)
    }

    /// The same as `read` without loading those; one that others follow is left out where it is the first, as nothing shows
    /// that it is there still.
    async fn read_around(&mut self, ask: &Ask) -> Answered<Vec<Entry>> {
        let span = Span {
            channel: ask.channel.clone(),
            oldest: ask.after.after(),
            newest: Position::MAX,
            count: ask.count,
            toward: Toward::Newest,
        };
        let Excerpt { mut entries, .. } = self.span_around(&span).await?;
        // Alone it says that there is nothing new, which is so even where it is gone.
        if entries.len() > 1 && entries[0].is_too_large() {
            entries.remove(0);
        }
        Ok(entries)
    }

    /// Where reading does not arm, the live connection reads nothing of these streams, which does.
    async fn arm(&mut self, channels: &[&Channel]) -> Answered<()> {
        if self.pool == Pool::History || !self.server.is_tracking() {
            return Ok(());
        }
        if self.loan.is_none() {
            self.loan = Some(self.readers().take().await?);
        }
        match self.loan.as_ref().is_some_and(Loan::arms) {
            true => Ok(()),
            false => self.server.arm(channels, self.asking).await,
        }
    }

    /// Sends commands; a reply to each of them, or to those up to one that was not read to its end.
    async fn send(&mut self, name: &'static str, commands: &[Words], taken: Taken) -> Answered<Vec<Reply>> {
        let taken: Vec<Taken> = commands.iter().map(|_| taken).collect();
        self.send_each(name, commands, &taken).await
    }

    async fn send_each(&mut self, name: &'static str, commands: &[Words], taken: &[Taken]) -> Answered<Vec<Reply>> {
        let begun = Instant::now();
        let replies = match self.asking {
            false => self.exchange(commands, taken).await,
            true => {
                let asking = vec!["ASKING".to_owned()];
                let commands: Vec<Words> = commands.iter().flat_map(|c| [asking.clone(), c.clone()]).collect();
                let taken: Vec<Taken> = taken.iter().flat_map(|taken| [Taken::Skimmed, *taken]).collect();
                let replies = self.exchange(&commands, &taken).await;
                replies.map(|replies| replies.into_iter().skip(1).step_by(2).collect())
            }
        };
        (self.server.observe)(name, begun.elapsed(), replies.is_ok());
        for reply in replies.iter().flatten() {
            let answer = match reply {
                Reply::Error(why) => Err(refusal(why.clone())),
                Reply::Whole(_) | Reply::Cut(..) => Ok(()),
            };
            self.server.refusals.take(name, &answer);
        }
        replies
    }

    async fn exchange(&mut self, commands: &[Words], taken: &[Taken]) -> Answered<Vec<Reply>> {
        let mut loan = match self.loan.take() {
            Some(loan) => loan,
            None => self.readers().take().await?,
        };
        let mut replies = Vec::with_capacity(commands.len());
        let era = loan.era();
        let step = async {
            loan.ask(commands).await?;
            for (taken, behind) in taken.iter().zip((0..commands.len()).rev()) {
                let reply = loan.connection()?.reply(*taken).await?;
                let rest: Option<Rest> = if let Reply::Cut(_, _, rest) = &reply { Some(*rest) } else { None };
                replies.push(reply);
                if let Some(rest) = rest {
                    return Ok(Some((rest, behind)));
                }
            }
            Ok(None)
        };
        match Loan::within(era, step).await? {
            None => self.loan = Some(loan),
            Some((rest, more)) => loan.give_back_after(rest, more),
        }
        Ok(replies)
    }

    fn end(&mut self) {
        if let Some(loan) = self.loan.take() {
            loan.give_back();
        }
    }

    fn xread(&self, asks: &[Ask], batch: &[usize]) -> Words {
        let mut words = Vec::with_capacity(4 + 2 * batch.len());
        // 0 would be no limit.
        let count = batch.first().map_or(1, |&index| asks[index].count.max(1));
        words.extend(["XREAD".to_owned(), "COUNT".to_owned(), count.to_string(), "STREAMS".to_owned()]);
        words.extend(batch.iter().map(|&index| self.server.key(&asks[index].channel)));
        words.extend(batch.iter().map(|&index| asks[index].after.to_string()));
        words
    }

    /// Indices of asks that may share an `XREAD`.
    fn batches(&self, asks: &[Ask], of: &[usize]) -> Vec<Vec<usize>> {
        if self.asking {
            return of.iter().map(|&index| vec![index]).collect();
        }
        if !self.server.cluster && !self.server.split.load(Ordering::Relaxed) {
            return batches(asks, of);
        }
        let mut slots: HashMap<u16, Vec<usize>> = HashMap::new();
        for &index in of {
            slots.entry(redis_keyslot(self.server.key(&asks[index].channel).as_bytes())).or_default().push(index);
        }
        slots.into_values().flat_map(|indices| batches(asks, &indices)).collect()
    }
}

fn halves(mut batch: Vec<usize>) -> Vec<Vec<usize>> {
    match batch.len() {
        0 | 1 => vec![batch],
        length => {
            let other = batch.split_off(length / 2);
            vec![batch, other]
        }
    }
}

/// Of equal count, and no stream twice.
fn batches(asks: &[Ask], of: &[usize]) -> Vec<Vec<usize>> {
    let mut closed = Vec::new();
    let mut open: HashMap<usize, (Vec<usize>, HashSet<&str>)> = HashMap::new();
    for &index in of {
        let ask = &asks[index];
        let (batch, names) = open.entry(ask.count).or_default();
        if batch.len() == KEYS_PER_READ || names.contains(ask.channel.as_str()) {
            closed.push(std::mem::take(batch));
            names.clear();
        }
        batch.push(index);
        names.insert(ask.channel.as_str());
    }
    closed.extend(open.into_values().map(|(batch, _)| batch));
    closed
}

/// A reply to `XREAD` as RESP2 has it. In RESP3 it is a map, which has come as a list of its names and values.
fn in_pairs(value: Value) -> Value {
    match value {
        Value::Array(list) if matches!(list.first(), Some(Value::Bytes(_))) => {
            let mut pairs = Vec::with_capacity(list.len() / 2);
            let mut list = list.into_iter();
            while let (Some(key), Some(entries)) = (list.next(), list.next()) {
                pairs.push(Value::Array(vec![key, entries]));
            }
            Value::Array(pairs)
        }
        value => value,
    }
}

/// The key of the stream that a reply to `XREAD` ends with.
fn last_key(value: &Value) -> Option<bytes::Bytes> {
    let Value::Array(streams) = value else { return None };
    let Some(Value::Array(pair)) = streams.last() else { return None };
    match pair.first() {
        Some(Value::Bytes(key)) => Some(key.clone()),
        _ => None,
    }
}

pub(super) fn state(reply: Reply) -> Answered<Option<StreamState>> {
    match reply {
        Reply::Whole(value) | Reply::Cut(value, ..) => {
            decode::state(value).map(Some).map_err(|e| BackplaneError::Refused(e.to_string()))
        }
        Reply::Error(why) => match refusal(why) {
            BackplaneError::Refused(why) if why.contains("no such key") => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests;
