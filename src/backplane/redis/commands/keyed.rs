//! Entries that are published once (`XADD … IDMP`, Redis 8.6): streams that remember their keys for as long as nodes promise.
//!
//! A server's default is 100 s and 100 keys. Another value needs the stream, and makes it forget the keys that it has
//! (`XCFGSET`), so it is set before the first of them: a stream that does not exist is made by a group that goes at once.

use super::{Answered, Commands, queued};
use crate::backplane::error::Refusal;
use crate::backplane::redis::{decode, prepared};
use crate::backplane::{BackplaneError, KEYS_KEPT, KEYS_MOST, Publication};
use crate::channel::Channel;
use crate::hash::HashMap;
use fred::prelude::*;
use fred::types::{ClusterHash, CustomCommand};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// A group by which a stream is made.
const GROUP: &str = "~keys";

/// Why a server that is too old refuses.
fn too_old() -> BackplaneError {
    let text = "publishing once needs Redis 8.6 or later (XADD with IDMP)".into();
    BackplaneError::Refused { kind: Refusal::NotSupported, text }
}

impl Commands<'_> {
    /// Has the streams of all that is to be published once remember its keys; why it cannot, for those that cannot.
    pub(super) async fn prepare(&self, publications: &[&Publication]) -> Answered<HashMap<Channel, BackplaneError>> {
        let keyed = publications.iter().filter(|publication| publication.keeping.once.is_some());
        let channels: BTreeSet<&Channel> = keyed.map(|publication| &publication.channel).collect();
        let unknown: Vec<&Channel> = channels.into_iter().filter(|c| !self.server.prepared.knows(c)).collect();
        let mut wrong = HashMap::default();
        if unknown.is_empty() {
            return Ok(wrong);
        }
        let mut to_set = Vec::new();
        let looks = unknown.iter().map(|channel| self.words("XINFO", &["STREAM"], channel, &[])).collect();
        for (channel, reply) in unknown.iter().zip(self.exchange("xinfo", looks).await?) {
            match reply {
                Ok(reply) => match decode::kept_keys(reply).map_err(super::refused)? {
                    None => drop(wrong.insert((*channel).clone(), too_old())),
                    Some((s, n)) if s >= KEYS_KEPT.as_secs() && n >= KEYS_MOST as u64 => {
                        self.server.prepared.found(channel)
                    }
                    Some(_) => to_set.push(*channel),
                },
                Err(error) if error.refusal() == Some(&Refusal::NoSuchKey) => to_set.push(*channel),
                Err(error) => drop(wrong.insert((*channel).clone(), error)),
            }
        }
        let mut to_make = Vec::new();
        let sets = to_set.iter().map(|channel| self.words("XCFGSET", &[], channel, &prepared::settings())).collect();
        for (channel, reply) in to_set.iter().zip(self.exchange("xadd", sets).await?) {
            match reply.err().as_ref().map(|error| (error.refusal(), error)) {
                None => self.server.prepared.found(channel),
                Some((Some(Refusal::NoSuchKey), _)) => to_make.push(*channel),
                Some((Some(Refusal::UnknownCommand), _)) => drop(wrong.insert((*channel).clone(), too_old())),
                Some((_, error)) => drop(wrong.insert((*channel).clone(), error.clone())),
            }
        }
        for channel in to_make {
            match self.make(channel).await? {
                None => self.server.prepared.found(channel),
                Some(error) => drop(wrong.insert(channel.clone(), error)),
            }
        }
        Ok(wrong)
    }

    /// Makes an empty stream that remembers keys; why it cannot. Another node may make it, too.
    async fn make(&self, channel: &Channel) -> Answered<Option<BackplaneError>> {
        let group = |more: &[&str]| [&[GROUP], more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let commands = vec![
            self.words("XGROUP", &["CREATE"], channel, &group(&["$", "MKSTREAM"])),
            self.words("XGROUP", &["DESTROY"], channel, &group(&[])),
            self.words("XCFGSET", &[], channel, &prepared::settings()),
        ];
        let mut replies = self.exchange("xadd", commands).await?;
        Ok(match replies.pop() {
            Some(Ok(_)) => None,
            last => replies.into_iter().chain(last).find_map(Result::err),
        })
    }

    /// A command about one stream: its name, what stands before the key, the key, the rest.
    fn words(
        &self,
        name: &'static str,
        before: &[&str],
        channel: &Channel,
        rest: &[String],
    ) -> (&'static str, Vec<Value>) {
        let before = before.iter().map(|word| Value::from(*word));
        let rest = rest.iter().map(|word| Value::from(word.as_str()));
        (name, before.chain([self.server.key(channel).into()]).chain(rest).collect())
    }

    /// Sends commands, each with a reply of its own. What is refused here says nothing of what nodes need.
    async fn exchange(
        &self,
        name: &'static str,
        commands: Vec<(&'static str, Vec<Value>)>,
    ) -> Answered<Vec<Answered<Value>>> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let (count, begun) = (commands.len(), Instant::now());
        let pipeline = self.connection.client.pipeline();
        for (name, words) in commands {
            self.ask_first(&pipeline).await?;
            queued(
                pipeline.custom::<(), _>(CustomCommand::new_static(name, ClusterHash::FirstKey, false), words).await,
            )?;
        }
        let per = 1 + usize::from(self.asking);
        let replies = self.connection.send(pipeline, count * per).await;
        self.observed(name, begun, replies.is_ok());
        let mut replies = replies?;
        self.without_asking(&mut replies, per);
        Ok(replies)
    }
}
