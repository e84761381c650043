//! The commands of records beside the streams: hashes that expire, which nodes write of themselves and read of others.

use super::{Answered, Commands, collect, queued};
use crate::backplane::redis::pipeline::bare;
use crate::backplane::redis::server::{Answers, Server};
use crate::backplane::{BackplaneError, Fields, Lookup, Note};
use fred::prelude::*;
use std::sync::Arc;

const LOOKUPS_PER_PIPELINE: usize = 128;

/// Writes fields of records; whether each record was there before.
pub async fn note(server: Arc<Server>, notes: Vec<Note>, asking: bool) -> Answers<bool> {
    let note = |connection| {
        let (commands, notes) = (Commands { server: &server, connection, asking }, &notes);
        async move { commands.note(notes).await }
    };
    server.publish.run(note).await
}

/// Reads fields of records; those that are not there are left out.
pub async fn noted(server: Arc<Server>, lookups: Vec<Lookup>, asking: bool) -> Answers<Fields> {
    let noted = |connection| {
        let (commands, lookups) = (Commands { server: &server, connection, asking }, &lookups);
        async move { commands.noted(lookups).await }
    };
    server.records.run(noted).await
}

impl Commands<'_> {
    /// One pipeline for each note, for each has as many commands as it needs; `PEXPIRE` first tells whether the key was
    /// there.
    async fn note(&self, notes: &[Note]) -> Answered<Vec<Answered<bool>>> {
        let mut answers = Vec::with_capacity(notes.len());
        for note in notes {
            let (pipeline, key) = (self.connection.client.pipeline(), self.server.key(&note.channel));
            let keep = note.keep.as_millis() as i64;
            let mut commands = 2;
            // It holds for one command, so all are one.
            self.ask_first(&pipeline).await?;
            if self.asking {
                queued(pipeline.custom(bare("MULTI"), Vec::<Value>::new()).await)?;
                commands += 2;
            }
            queued(pipeline.pexpire(&key, keep, None).await)?;
            if !note.set.is_empty() {
                let fields: Vec<(Key, Value)> =
                    note.set.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect();
                queued(pipeline.hset(&key, fields).await)?;
                commands += 1;
            }
            if !note.remove.is_empty() {
                let fields: Vec<Key> = note.remove.iter().map(|name| name.clone().into()).collect();
                queued(pipeline.hdel(&key, fields).await)?;
                commands += 1;
            }
            queued(pipeline.pexpire(&key, keep, None).await)?;
            if self.asking {
                queued(pipeline.custom(bare("EXEC"), Vec::<Value>::new()).await)?;
            }
            let replies = self.send("note", pipeline, 1, commands).await?;
            // What was there matters only where nothing is being moved.
            let there = !self.asking && matches!(replies.first(), Some(Ok(Value::Integer(1) | Value::Boolean(true))));
            answers.push(replies.into_iter().find_map(Result::err).map_or(Ok(there), Err));
        }
        Ok(answers)
    }

    /// Pipelined `HGETALL` and `HMGET`.
    async fn noted(&self, lookups: &[Lookup]) -> Answered<Vec<Answered<Fields>>> {
        let batches = lookups.chunks(LOOKUPS_PER_PIPELINE).map(|lookups| async move {
            let pipeline = self.connection.client.pipeline();
            for lookup in lookups {
                let key = self.server.key(&lookup.channel);
                self.ask_first(&pipeline).await?;
                queued(match &lookup.fields {
                    None => pipeline.hgetall(key).await,
                    Some(fields) => {
                        pipeline.hmget(key, fields.iter().cloned().map(Key::from).collect::<Vec<_>>()).await
                    }
                })?;
            }
            let replies = self.send("noted", pipeline, lookups.len(), 1).await?;
            let answer = |(reply, lookup): (Answered<Value>, &Lookup)| fields(reply?, lookup);
            Ok::<_, BackplaneError>(replies.into_iter().zip(lookups).map(answer).collect::<Vec<_>>())
        });
        collect(batches.collect(), lookups.len()).await
    }
}

/// `HGETALL` answers with a map or, before RESP3, with a list of pairs; `HMGET` with the values alone.
fn fields(reply: Value, lookup: &Lookup) -> Answered<Fields> {
    let unexpected = || BackplaneError::refused("a hash answered with something else than fields");
    match (&lookup.fields, reply) {
        (_, Value::Null) => Ok(Vec::new()),
        (None, Value::Map(map)) => {
            let pairs = map.inner().into_iter();
            pairs.map(|(k, v)| Some((k.into_bytes(), v.into_bytes()?))).collect::<Option<_>>().ok_or_else(unexpected)
        }
        (None, Value::Array(values)) => {
            let values: Vec<bytes::Bytes> = values.into_iter().filter_map(Value::into_bytes).collect();
            Ok(values.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        (Some(names), Value::Array(values)) => {
            let pairs = names.iter().cloned().zip(values).filter(|(_, value)| !value.is_null());
            pairs.map(|(name, value)| Some((name, value.into_bytes()?))).collect::<Option<_>>().ok_or_else(unexpected)
        }
        // fred gives a list of one as the one.
        (Some(names), value) if names.len() == 1 => {
            Ok(vec![(names[0].clone(), value.into_bytes().ok_or_else(unexpected)?)])
        }
        _ => Err(unexpected()),
    }
}
