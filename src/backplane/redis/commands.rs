//! What is sent by fred: appends, and notes of the cluster's own. Reading entries is `reading`'s.
//!
//! Owns no connection: it is given one that works, and says `Down` when it does not.

mod records;

use super::connection::Connection;
use super::refusals::Refusals;
use super::{Observe, decode, fault, pipeline};
use crate::backplane::{BackplaneError, Publication};
use crate::channel::Channel;
use crate::position::Position;
use fred::clients::Pipeline;
use fred::prelude::*;
use fred::types::CustomCommand;
use fred::types::streams::{XCapKind, XCapTrim};
use fred::util::redis_keyslot;
use futures_util::stream::{self, StreamExt};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Some managed servers take at most 3,999 arguments.
const KEYS_PER_READ: usize = 1000;
/// In a cluster, where most have one key.
const READS_PER_PIPELINE: usize = 256;
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
    /// Has later changes of streams reported to this connection: an `XREAD` of nothing, which reads no entry however large.
    pub async fn arm(&self, channels: &[&Channel]) -> Answered<()> {
        let mut slots: HashMap<u16, Vec<String>> = HashMap::new();
        for channel in channels {
            let key = self.key(channel);
            let slot =
                if self.cluster || self.split.load(Ordering::Relaxed) { redis_keyslot(key.as_bytes()) } else { 0 };
            slots.entry(slot).or_default().push(key);
        }
        let mut left: Vec<Vec<String>> = slots
            .into_values()
            .flat_map(|keys| keys.chunks(KEYS_PER_READ).map(<[_]>::to_vec).collect::<Vec<_>>())
            .collect();
        while !left.is_empty() {
            let part = left.split_off(left.len().saturating_sub(READS_PER_PIPELINE));
            let pipeline = self.connection.client.pipeline();
            for keys in &part {
                self.ask_first(&pipeline).await?;
                let newest = vec!["$"; keys.len()];
                queued(pipeline.xread(Some(1), None, keys.clone(), newest).await)?;
            }
            let replies = self.send("xread", pipeline, part.len(), 1).await?;
            for (mut keys, reply) in part.into_iter().zip(replies) {
                // One bad key fails all of them; of a single one, what reads it finds that out.
                if reply.is_err() && keys.len() > 1 {
                    left.push(keys.split_off(keys.len() / 2));
                    left.push(keys);
                }
            }
        }
        Ok(())
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

fn refused(error: decode::Unexpected) -> BackplaneError {
    BackplaneError::Refused(error.to_string())
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

/// Queueing fails only where a command cannot be encoded.
fn queued(result: Result<(), Error>) -> Answered<()> {
    result.map_err(|e| BackplaneError::Refused(fault::text(&e)))
}
