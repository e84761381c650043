//! What is sent by fred: appends, and notes of the cluster's own. Reading entries is `reading`'s.
//!
//! Owns no connection: it runs on one of the server's, and says `Down` when that does not work.

mod keyed;
pub mod records;

use super::connection::Connection;
use super::server::{Answers, Server};
use super::{decode, fault, pipeline};
use crate::backplane::error::Refusal;
use crate::backplane::{BackplaneError, Publication};
use crate::channel::Channel;
use crate::hash::HashMap;
use crate::position::Position;
use fred::clients::Pipeline;
use fred::prelude::*;
use fred::types::streams::{XCapKind, XCapTrim};
use fred::types::{ClusterHash, CustomCommand};
use fred::util::redis_keyslot;
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// Keys of one `XREAD`: some managed servers take at most 3,999 arguments.
const KEYS_PER_READ: usize = 1000;
/// `XREAD`s of one write; in a cluster most have one key.
const READS_PER_PIPELINE: usize = 256;
/// `XADD`s of one write.
const APPENDS_PER_PIPELINE: usize = 256;
/// Batches of one call that are on their way at once, at most.
const CONCURRENT: usize = 4;

/// One part's answer.
type Answered<T> = Result<T, BackplaneError>;

/// Appends entries in order, each at most once; the answer is its id.
pub async fn append(server: Arc<Server>, publications: Vec<Publication>, asking: bool) -> Answers<Position> {
    let append = |connection| {
        let commands = Commands { server: &server, connection, asking };
        let publications = &publications;
        async move { commands.append(publications).await }
    };
    let answers = server.publish.run(append).await?;
    let demoted =
        |answer: &Answered<Position>| matches!(answer, Err(error) if error.refusal() == Some(&Refusal::ReadOnly));
    if answers.iter().any(demoted) {
        // The name may lead to another server by now.
        server.publish.renew();
    }
    Ok(answers)
}

/// Has later changes of streams reported to the live connection: an `XREAD` of nothing, which reads no entry however
/// large.
pub async fn arm(server: &Server, channels: &[&Channel], asking: bool) -> Answered<()> {
    server.on_live(|connection| async move { Commands { server, connection, asking }.arm(channels).await }).await
}

/// Runs commands on one connection.
struct Commands<'a> {
    server: &'a Server,
    connection: Arc<Connection>,
    /// To a server that is taking slots over: `ASKING` precedes each command or transaction.
    asking: bool,
}

impl Commands<'_> {
    async fn arm(&self, channels: &[&Channel]) -> Answered<()> {
        let mut slots: HashMap<u16, Vec<String>> = HashMap::default();
        for channel in channels {
            let key = self.server.key(channel);
            let slot = if self.server.cluster || self.server.split.load(Ordering::Relaxed) {
                redis_keyslot(key.as_bytes())
            } else {
                0
            };
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

    /// Sends `XADD`s in order, none of them twice. What became of an entry whose answer is `Down` is not known, unless that
    /// says that it was not sent.
    async fn append(&self, publications: &[Publication]) -> Answered<Vec<Answered<Position>>> {
        let mut answers: Vec<Answered<Position>> = Vec::with_capacity(publications.len());
        for batch in publications.chunks(APPENDS_PER_PIPELINE) {
            match self.append_batch(batch).await {
                Ok(part) => answers.extend(part),
                Err(error) if answers.is_empty() && batch.len() == publications.len() => return Err(error),
                Err(error) => {
                    answers.extend(batch.iter().map(|_| Err(error.clone())));
                    answers.resize(publications.len(), Err(error.unsent()));
                    break;
                }
            }
        }
        Ok(answers)
    }

    async fn append_batch(&self, publications: &[Publication]) -> Answered<Vec<Answered<Position>>> {
        let all: Vec<&Publication> = publications.iter().collect();
        let mut answers = self.add(&all).await?;
        // A stream that was known to remember its keys is gone: once more it is made before.
        let gone: Vec<usize> = (0..all.len()).filter(|at| matches!(answers[*at], Ok(None))).collect();
        if !gone.is_empty() {
            gone.iter().for_each(|at| self.server.prepared.forget(&all[*at].channel));
            let again: Vec<&Publication> = gone.iter().map(|at| all[*at]).collect();
            gone.iter().zip(self.add(&again).await?).for_each(|(at, answer)| answers[*at] = answer);
        }
        let gone = || BackplaneError::refused("the stream is deleted again and again");
        Ok(answers.into_iter().map(|answer| answer?.ok_or_else(gone)).collect())
    }

    /// One pipeline of `XADD`s; `None`: the stream is gone that was to remember the key.
    async fn add(&self, publications: &[&Publication]) -> Answered<Vec<Answered<Option<Position>>>> {
        let wrong = self.prepare(publications).await?;
        let refusal = |publication: &Publication| {
            publication.keeping.once.as_ref().and_then(|_| wrong.get(&publication.channel)).cloned()
        };
        let pipeline = self.connection.client.pipeline();
        let mut commands = 0;
        for publication in publications.iter().filter(|publication| refusal(publication).is_none()) {
            self.ask_first(&pipeline).await?;
            self.queue(&pipeline, publication).await?;
            commands += 1;
            if let Some(ttl) = publication.keeping.ttl {
                self.ask_first(&pipeline).await?;
                let key = self.server.key(&publication.channel);
                queued(pipeline.pexpire(key, ttl.as_millis() as i64, None).await)?;
                commands += 1;
            }
        }
        let mut replies = match commands {
            0 => Vec::new(),
            _ => self.send("xadd", pipeline, commands, 1).await?,
        }
        .into_iter();
        let answer = |publication: &&Publication| {
            if let Some(error) = refusal(publication) {
                return Err(error);
            }
            let reply = replies.next().unwrap_or_else(|| Err(BackplaneError::down("no reply")));
            if publication.keeping.ttl.is_some()
                && let (Ok(_), Some(Err(error))) = (&reply, replies.next())
            {
                // The entry is there: who publishes it again would have it twice.
                self.server.complain("a stream was to expire", error.text());
            }
            decode::appended(reply?).map_err(refused)
        };
        Ok(publications.iter().map(answer).collect())
    }

    async fn queue(&self, pipeline: &Pipeline<Client>, publication: &Publication) -> Answered<()> {
        let Publication { channel, fields, keeping } = publication;
        let (key, maxlen) = (self.server.key(channel), keeping.maxlen.unwrap_or(self.server.publish_maxlen));
        let Some(once) = &keeping.once else {
            let fields: Vec<(Key, Value)> = fields.iter().map(|(n, v)| (n.clone().into(), v.clone().into())).collect();
            let cap = (XCapKind::MaxLen, XCapTrim::AlmostExact, maxlen as i64, None);
            return queued(match maxlen {
                0 => pipeline.xadd(key, false, None, "*", fields).await,
                _ => pipeline.xadd(key, false, cap, "*", fields).await,
            });
        };
        let mut words: Vec<Value> = vec![key.into()];
        words.extend(["NOMKSTREAM", "IDMP", &once.producer, &once.key].map(Value::from));
        if maxlen > 0 {
            words.extend(["MAXLEN", "~", &maxlen.to_string()].map(Value::from));
        }
        words.push("*".into());
        words.extend(fields.iter().flat_map(|(name, value)| [name.clone().into(), value.clone().into()]));
        let command = CustomCommand::new_static("XADD", ClusterHash::FirstKey, false);
        queued(pipeline.custom::<(), _>(command, words).await)
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
        let mut replies = self.connection.send(pipeline, items * per).await;
        self.observed(name, begun, replies.is_ok());
        if let Ok(replies) = &replies {
            // One of a kind is enough, be it the one that is refused.
            let said = replies.iter().find(|reply| reply.is_err()).or(replies.first());
            said.map(|reply| self.server.refusals.take(name, reply));
        }
        if let Ok(replies) = &mut replies {
            self.without_asking(replies, per);
        }
        replies
    }

    /// Leaves out what was said to `ASKING`, the first of each `per` commands.
    fn without_asking(&self, replies: &mut Vec<Answered<Value>>, per: usize) {
        if self.asking {
            let mut at = 0..;
            replies.retain(|_| at.next().is_some_and(|at: usize| !at.is_multiple_of(per)));
        }
    }

    async fn ask_first(&self, pipeline: &Pipeline<Client>) -> Answered<()> {
        match self.asking {
            true => queued(pipeline.custom(pipeline::bare("ASKING"), Vec::<Value>::new()).await),
            false => Ok(()),
        }
    }

    fn observed(&self, name: &'static str, begun: Instant, ok: bool) {
        if ok {
            self.connection.answered();
        }
        (self.server.observe)(name, begun.elapsed(), ok);
    }
}

fn refused(error: decode::Unexpected) -> BackplaneError {
    BackplaneError::refused(error.to_string())
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

/// The result of queueing a command, which fails only where it cannot be encoded.
fn queued(result: Result<(), Error>) -> Answered<()> {
    result.map_err(|error| BackplaneError::refused(fault::judge(&error).text()))
}
