//! The stream commands in batches: encoding, grouping, and what each reply means for each ask.
//!
//! Owns no connection: it is given one that works, and says `Down` when it does not.

mod records;

use super::connection::Connection;
use super::refusals::Refusals;
use super::{Observe, decode, fault, pipeline};
use crate::backplane::{Ask, BackplaneError, Entry, Examined, Publication, Span, StreamState, Toward};
use crate::channel::Channel;
use crate::position::Position;
use fred::clients::Pipeline;
use fred::prelude::*;
use fred::types::CustomCommand;
use fred::types::streams::{XCapKind, XCapTrim};
use fred::util::redis_keyslot;
use futures_util::stream::{self, StreamExt};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Some managed servers take at most 3,999 arguments.
const KEYS_PER_READ: usize = 1000;
/// In a cluster, where most have one key.
const READS_PER_PIPELINE: usize = 256;
/// Each reply carries the first and the last entry whole.
const INSPECTIONS_PER_PIPELINE: usize = 250;
const EXAMINATIONS_PER_PIPELINE: usize = 128;
/// How often a stream is examined that changes each time between the commands.
const EXAMINATIONS: usize = 10;
const SPANS_PER_PIPELINE: usize = 64;
const APPENDS_PER_PIPELINE: usize = 256;
/// Batches of one call that are on their way at once.
const CONCURRENT: usize = 4;

type Answered<T> = Result<T, BackplaneError>;

/// Runs commands on one connection.
pub struct Commands<'a> {
    pub connection: &'a Connection,
    pub key_prefix: &'a str,
    pub observe: &'a Observe,
    /// In a cluster one command has the keys of one slot.
    pub cluster: bool,
    /// Whether that is so at this address, too: there are several servers behind it, or one that is as strict.
    pub split: &'a AtomicBool,
    pub refusals: &'a Refusals,
    /// To a server that is taking slots over: `ASKING` precedes each command or transaction.
    pub asking: bool,
}

impl Commands<'_> {
    /// `XREAD`, each at most 1,000 keys of equal count.
    pub async fn read(&self, asks: &[Ask]) -> Answered<Vec<Answered<Vec<Entry>>>> {
        if self.cluster || self.split.load(Ordering::Relaxed) {
            return self.read_slots(asks).await;
        }
        let mut answers: Vec<_> = asks.iter().map(|_| Ok(Vec::new())).collect();
        let batches: Vec<_> = batches(asks).into_iter().map(|batch| self.read_batch(asks, batch)).collect();
        let mut parts = stream::iter(batches).buffer_unordered(CONCURRENT);
        while let Some(part) = parts.next().await {
            for (index, answer) in part? {
                answers[index] = answer;
            }
        }
        drop(parts);
        let cross = |a: &Answered<_>| matches!(a, Err(BackplaneError::Refused(why)) if fault::is_cross_slot(why));
        if answers.iter().any(cross) {
            tracing::info!("redis: the server wants the keys of a read in one slot; reads are split from now on");
            self.split.store(true, Ordering::Relaxed);
            return self.read_slots(asks).await;
        }
        Ok(answers)
    }

    /// Pipelined `XREAD`, each of one slot.
    async fn read_slots(&self, asks: &[Ask]) -> Answered<Vec<Answered<Vec<Entry>>>> {
        let mut answers: Vec<_> = asks.iter().map(|_| Ok(Vec::new())).collect();
        let mut left = self.slot_batches(asks);
        while !left.is_empty() {
            let batches = left.split_off(left.len().saturating_sub(READS_PER_PIPELINE));
            let pipeline = self.connection.client.pipeline();
            for batch in &batches {
                self.ask_first(&pipeline).await?;
                let keys: Vec<Key> = batch.iter().map(|&i| self.key(&asks[i].channel).into()).collect();
                let ids: Vec<String> = batch.iter().map(|&i| asks[i].after.to_string()).collect();
                queued(pipeline.xread(Some(asks[batch[0]].count.max(1) as u64), None, keys, ids).await)?;
            }
            let replies = self.send("xread", pipeline, batches.len(), 1).await?;
            for (mut batch, reply) in batches.into_iter().zip(replies) {
                match reply {
                    Ok(reply) => {
                        let streams = decode::streams(reply).map_err(|e| BackplaneError::Down(e.to_string()))?;
                        let mut streams: HashMap<_, _> = streams.into_iter().collect();
                        for index in batch {
                            let ask = &asks[index];
                            let entries = streams.remove(self.key(&ask.channel).as_bytes()).unwrap_or(Ok(Vec::new()));
                            answers[index] = entries.map(|e| limited(e, ask.count)).map_err(refused);
                        }
                    }
                    // Of a slot that is being moved, keys may be in two places.
                    Err(BackplaneError::Refused(why))
                        if batch.len() > 1
                            && (fault::is_about_a_key(&why)
                                || fault::is_cross_slot(&why)
                                || why.starts_with("TRYAGAIN")) =>
                    {
                        left.push(batch.split_off(batch.len() / 2));
                        left.push(batch);
                    }
                    Err(error) => batch.into_iter().for_each(|index| answers[index] = Err(error.clone())),
                }
            }
        }
        Ok(answers)
    }

    /// Indices of asks that may share an `XREAD` in a cluster.
    fn slot_batches(&self, asks: &[Ask]) -> Vec<Vec<usize>> {
        if self.asking {
            return (0..asks.len()).map(|index| vec![index]).collect();
        }
        let mut slots: HashMap<u16, Vec<usize>> = HashMap::new();
        for (index, ask) in asks.iter().enumerate() {
            slots.entry(redis_keyslot(self.key(&ask.channel).as_bytes())).or_default().push(index);
        }
        let mut all = Vec::with_capacity(slots.len());
        for indices in slots.into_values() {
            let of_slot: Vec<Ask> = indices.iter().map(|&index| asks[index].clone()).collect();
            all.extend(batches(&of_slot).into_iter().map(|batch| batch.into_iter().map(|i| indices[i]).collect()));
        }
        all
    }

    /// One bad key fails a whole `XREAD`: halves the batch until it stands alone.
    async fn read_batch(&self, asks: &[Ask], batch: Vec<usize>) -> Answered<Vec<(usize, Answered<Vec<Entry>>)>> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut left = vec![batch];
        while let Some(mut batch) = left.pop() {
            match self.xread(asks, &batch).await {
                Ok(mut streams) => answers.extend(batch.into_iter().map(|index| {
                    let ask = &asks[index];
                    let entries = streams.remove(self.key(&ask.channel).as_bytes());
                    (index, entries.unwrap_or(Ok(Vec::new())).map(|entries| limited(entries, ask.count)))
                })),
                Err(BackplaneError::Refused(why)) if batch.len() > 1 && fault::is_about_a_key(&why) => {
                    left.push(batch.split_off(batch.len() / 2));
                    left.push(batch);
                }
                Err(BackplaneError::Refused(why)) => {
                    let refused = || Err(BackplaneError::Refused(why.clone()));
                    answers.extend(batch.into_iter().map(|index| (index, refused())));
                }
                Err(down) => return Err(down),
            }
        }
        Ok(answers)
    }

    async fn xread(&self, asks: &[Ask], batch: &[usize]) -> Answered<HashMap<bytes::Bytes, Answered<Vec<Entry>>>> {
        let keys: Vec<Key> = batch.iter().map(|&i| self.key(&asks[i].channel).into()).collect();
        let ids: Vec<String> = batch.iter().map(|&i| asks[i].after.to_string()).collect();
        // 0 would be no limit.
        let count = asks[batch[0]].count.max(1) as u64;
        let begun = Instant::now();
        let reply = self.connection.client.xread::<Value, _, _>(Some(count), None, keys, ids).await;
        self.observed("xread", begun, reply.is_ok());
        let reply = reply.map_err(|e| fault::judge(&e));
        self.refusals.take("xread", &reply);
        let streams = decode::streams(reply?);
        // A reply of another command's shape: the connection's replies are shifted.
        let streams = streams.map_err(|e| BackplaneError::Down(e.to_string()))?;
        Ok(streams.into_iter().map(|(key, entries)| (key, entries.map_err(refused))).collect())
    }

    /// Pipelined `XINFO STREAM`.
    pub async fn inspect(&self, channels: &[Channel]) -> Answered<Vec<Answered<Option<StreamState>>>> {
        let batches = channels.chunks(INSPECTIONS_PER_PIPELINE).map(|channels| async move {
            let pipeline = self.connection.client.pipeline();
            for channel in channels {
                self.ask_first(&pipeline).await?;
                queued(pipeline.xinfo_stream(self.key(channel), false, None).await)?;
            }
            let replies = self.send("xinfo", pipeline, channels.len(), 1).await?;
            Ok::<_, BackplaneError>(replies.into_iter().map(state).collect::<Vec<_>>())
        });
        collect(batches.collect(), channels.len()).await
    }

    /// Pipelined `XINFO STREAM` and `XREAD`, which Redis mostly runs in one go. Where what was read does not show that it
    /// did, they are sent again with another `XINFO` behind: while both states are the same, nothing changed between.
    /// A transaction would say as much, but Redis refuses those while it is at its `maxmemory`.
    pub async fn examine(&self, asks: &[Ask]) -> Answered<Vec<Answered<Examined>>> {
        let unsteady = || BackplaneError::Down("the stream changes too fast to be examined".into());
        let mut answers: Vec<Answered<Examined>> = asks.iter().map(|_| Err(unsteady())).collect();
        let mut left: Vec<usize> = (0..asks.len()).collect();
        for round in 0..EXAMINATIONS {
            let batches =
                left.chunks(EXAMINATIONS_PER_PIPELINE).map(|part| self.examine_once(asks, part, round > 0)).collect();
            let examined = collect(batches, left.len()).await?;
            let mut doubtful = Vec::new();
            for (index, examined) in left.into_iter().zip(examined) {
                match examined {
                    Some(answer) => answers[index] = answer,
                    None => doubtful.push(index),
                }
            }
            left = doubtful;
            if left.is_empty() {
                break;
            }
        }
        Ok(answers)
    }

    /// `None` for each that may have changed meanwhile; `twice`: the state is asked for before and after.
    async fn examine_once(
        &self,
        asks: &[Ask],
        part: &[usize],
        twice: bool,
    ) -> Answered<Vec<Option<Answered<Examined>>>> {
        let pipeline = self.connection.client.pipeline();
        for ask in part.iter().map(|index| &asks[*index]) {
            let key = self.key(&ask.channel);
            self.ask_first(&pipeline).await?;
            queued(pipeline.xinfo_stream(key.clone(), false, None).await)?;
            self.ask_first(&pipeline).await?;
            let count = Some(ask.count.max(1) as u64);
            queued(pipeline.xread(count, None, key.clone(), ask.after.to_string()).await)?;
            if twice {
                self.ask_first(&pipeline).await?;
                queued(pipeline.xinfo_stream(key, false, None).await)?;
            }
        }
        let commands = 2 + usize::from(twice);
        let mut replies = self.send("examine", pipeline, part.len() * commands, 1).await?.into_iter();
        let mut answers = Vec::with_capacity(part.len());
        for index in part {
            let (Some(before), Some(read)) = (replies.next(), replies.next()) else { break };
            let after = if twice { replies.next() } else { None };
            answers.push(examined(asks[*index].after, before, read, after).transpose());
        }
        Ok(answers)
    }

    /// Pipelined `XRANGE` and `XREVRANGE`; answers oldest first.
    pub async fn history(&self, spans: &[Span]) -> Answered<Vec<Answered<Vec<Entry>>>> {
        let batches = spans.chunks(SPANS_PER_PIPELINE).map(|spans| async move {
            let pipeline = self.connection.client.pipeline();
            for span in spans {
                let (key, count) = (self.key(&span.channel), Some(span.count.max(1) as u64));
                self.ask_first(&pipeline).await?;
                let (oldest, newest) = (span.oldest.to_string(), span.newest.to_string());
                queued(match span.toward {
                    Toward::Newest => pipeline.xrange(key, oldest, newest, count).await,
                    Toward::Oldest => pipeline.xrevrange(key, newest, oldest, count).await,
                })?;
            }
            let replies = self.send("xrange", pipeline, spans.len(), 1).await?;
            Ok::<_, BackplaneError>(replies.into_iter().zip(spans).map(|(r, span)| page(r, span)).collect::<Vec<_>>())
        });
        collect(batches.collect(), spans.len()).await
    }

    /// `XADD`, in order, never sent twice. What became of an entry whose answer is `Down` is not known.
    pub async fn append(&self, publications: &[Publication], maxlen: u64) -> Answered<Vec<Answered<Position>>> {
        let mut answers: Vec<Answered<Position>> = Vec::with_capacity(publications.len());
        for batch in publications.chunks(APPENDS_PER_PIPELINE) {
            match self.append_batch(batch, maxlen).await {
                Ok(part) => answers.extend(part),
                Err(error) if answers.is_empty() && batch.len() == publications.len() => return Err(error),
                Err(error) => {
                    answers.resize(publications.len(), Err(error));
                    break;
                }
            }
        }
        Ok(answers)
    }

    async fn append_batch(&self, publications: &[Publication], maxlen: u64) -> Answered<Vec<Answered<Position>>> {
        let pipeline = self.connection.client.pipeline();
        for publication in publications {
            let key = self.key(&publication.channel);
            let fields: Vec<(Key, Value)> =
                publication.fields.iter().map(|(n, v)| (n.clone().into(), v.clone().into())).collect();
            self.ask_first(&pipeline).await?;
            queued(match maxlen {
                0 => pipeline.xadd(key, false, None, "*", fields).await,
                _ => {
                    let cap = (XCapKind::MaxLen, XCapTrim::AlmostExact, maxlen as i64, None);
                    pipeline.xadd(key, false, cap, "*", fields).await
                }
            })?;
        }
        let replies = self.send("xadd", pipeline, publications.len(), 1).await?;
        Ok(replies.into_iter().map(|reply| decode::appended(reply?).map_err(refused)).collect())
    }

    /// Sends a pipeline of `items`, each of `per` commands; as many replies as commands, or `Down`.
    async fn send(
        &self,
        name: &'static str,
        pipeline: Pipeline<Client>,
        items: usize,
        per: usize,
    ) -> Answered<Vec<Answered<Value>>> {
        let begun = Instant::now();
        let per = per + usize::from(self.asking);
        let mut replies = pipeline::send(self.connection, pipeline, items * per).await;
        self.observed(name, begun, replies.is_ok());
        if let Ok(replies) = &replies {
            // One of a kind is enough, be it the one that is refused.
            let said = replies.iter().find(|reply| reply.is_err()).or(replies.first());
            said.map(|reply| self.refusals.take(name, reply));
        }
        if let (Ok(replies), true) = (&mut replies, self.asking) {
            let mut at = 0..;
            replies.retain(|_| at.next().is_some_and(|at: usize| !at.is_multiple_of(per)));
        }
        replies
    }

    async fn ask_first(&self, pipeline: &Pipeline<Client>) -> Answered<()> {
        match self.asking {
            true => queued(pipeline.custom(bare("ASKING"), Vec::<Value>::new()).await),
            false => Ok(()),
        }
    }

    fn key(&self, channel: &Channel) -> String {
        [self.key_prefix, channel.as_str()].concat()
    }

    fn observed(&self, name: &'static str, begun: Instant, ok: bool) {
        if ok {
            self.connection.answered();
        }
        (self.observe)(name, begun.elapsed(), ok);
    }
}

/// A command without arguments that fred has no name for in a pipeline.
pub fn bare(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, None::<u16>, false)
}

/// What a stream was before, what was read of it after `asked`, and what it was then; `None`: not of one instant.
fn examined(
    asked: Position,
    before: Answered<Value>,
    read: Answered<Value>,
    after: Option<Answered<Value>>,
) -> Answered<Option<Examined>> {
    let before = state(before)?;
    let mut streams = decode::streams(read?).map_err(refused)?;
    let entries = streams.drain().next().map_or(Ok(Vec::new()), |(_, entries)| entries.map_err(refused))?;
    let same = match after {
        Some(after) => before == state(after)? && (before.is_some() || entries.is_empty()),
        None => fits(before.as_ref(), asked, &entries),
    };
    Ok(same.then_some(Examined { state: before, entries }))
}

/// Whether entries that were read a little later show that nothing had been removed since; some may have been added.
fn fits(state: Option<&StreamState>, asked: Position, entries: &[Entry]) -> bool {
    let first = entries.first().map(|entry| entry.position);
    match state {
        None => first.is_none(),
        Some(state) if state.last <= asked || state.first.is_none() => first.is_none_or(|first| first > state.last),
        // The oldest one is there, so all are.
        Some(state) if state.first > Some(asked) => first == state.first,
        // Who asks for what follows an entry asks for it, too: where it is, nothing else matters.
        Some(_) => first == Some(asked.after()),
    }
}

/// Indices of asks that may share an `XREAD`: of equal count, and no stream twice.
fn batches(asks: &[Ask]) -> Vec<Vec<usize>> {
    let mut closed = Vec::new();
    let mut open: HashMap<usize, (Vec<usize>, HashSet<&str>)> = HashMap::new();
    for (index, ask) in asks.iter().enumerate() {
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

async fn collect<T, F>(batches: Vec<F>, length: usize) -> Answered<Vec<T>>
where
    F: Future<Output = Answered<Vec<T>>>,
{
    let mut answers = Vec::with_capacity(length);
    let mut parts = stream::iter(batches).buffered(CONCURRENT);
    while let Some(part) = parts.next().await {
        answers.extend(part?);
    }
    Ok(answers)
}

fn state(reply: Answered<Value>) -> Answered<Option<StreamState>> {
    match reply {
        Ok(reply) => decode::state(reply).map(Some).map_err(refused),
        Err(BackplaneError::Refused(why)) if why.contains("no such key") => Ok(None),
        Err(error) => Err(error),
    }
}

fn page(reply: Answered<Value>, span: &Span) -> Answered<Vec<Entry>> {
    let mut entries = decode::entries("XRANGE", reply?).map_err(refused)?;
    entries.truncate(span.count);
    if span.toward == Toward::Oldest {
        entries.reverse();
    }
    if !decode::is_ascending(&entries) {
        return Err(BackplaneError::Refused("unexpected reply to XRANGE: entries out of order".into()));
    }
    Ok(entries)
}

fn limited(mut entries: Vec<Entry>, count: usize) -> Vec<Entry> {
    entries.truncate(count);
    entries
}

fn refused(error: decode::Unexpected) -> BackplaneError {
    BackplaneError::Refused(error.to_string())
}

/// Queueing fails only where a command cannot be encoded.
fn queued(result: Result<(), Error>) -> Answered<()> {
    result.map_err(|e| BackplaneError::Refused(fault::text(&e)))
}

#[cfg(test)]
mod tests;
