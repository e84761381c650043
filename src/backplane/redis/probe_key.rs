//! The health check of a live connection, by two keys of the node's own: is the server there, does tracking still work,
//! what time is it there?
//!
//! Each health check reads one of the node's own two keys and writes the other, in turn. The read arms tracking, so
//! the next check's write of that key must be pushed back; silence means that the server's tracking table was emptied
//! without a word (`FLUSHALL`, whose push fred drops, a full resync), and everything followed is in doubt. One is
//! armed before the other is written, so there is no moment at which that can happen unnoticed. Between health
//! checks, probes do that alone.

use super::connection::Connection;
use super::identity::Identity;
use super::refusals::PROBE;
use super::settings::Observe;
use super::{decode, fault, pipeline, slots};
use crate::backplane::BackplaneError;
use crate::backplane::error::Refusal;
use crate::clock::Clock;
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{Expiration, InfoKind, Value};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long the key outlives its node, in milliseconds.
pub const LIFETIME_MS: i64 = 30_000;
/// What follows the one key's name in the other's: in a cluster, both lie in one slot.
const OTHER: &str = ":2";
/// Clock samples of which the one with the shortest way counts.
const SAMPLES: usize = 16;

/// The two keys of one connection, and what it asks with them.
pub struct ProbeKey {
    key: Arc<Mutex<String>>,
    /// In a cluster, the key without what puts it into one of this server's slots.
    stem: Option<String>,
    /// Pushes of the key that have arrived.
    pub pushes: Arc<AtomicU64>,
    /// Rung with each of them.
    pub bell: Arc<Notify>,
    pushes_before: u64,
    /// Whether the other key is the one to write.
    turn: bool,
    /// Whether the last check's read armed tracking of the key to write.
    armed: bool,
    /// Whether the last check's write must be pushed.
    expected: bool,
    may_write: bool,
    may_ask_time: bool,
    may_ask_info: bool,
    /// `INFO` has the server's time, so that nobody needs to ask.
    told_time: bool,
    may_ask_role: bool,
    /// This node's clock.
    clock: Clock,
    /// How long the way of each answer was, and by how many milliseconds the server's clock was ahead of this node's.
    samples: VecDeque<(Duration, i64)>,
}

/// A command of a check.
#[derive(Clone, Copy)]
enum Question {
    /// Reads the one key, and so arms it.
    Read,
    /// Writes the other.
    Write,
    Alive,
    Replication,
    Server,
    Role,
    Time,
}

/// The moment at which a check was sent, since 1970 by this node's clock, and how long its replies took.
struct Sent {
    at: Duration,
    way: Duration,
}

/// What a health check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// The write was refused, and why.
    pub refused: Option<BackplaneError>,
    /// The write was taken.
    pub written: bool,
    /// Server clock minus ours, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    /// Who the server says it is.
    pub identity: Identity,
}

impl HealthCheck {
    /// Why the write was refused, where it was.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refused.as_ref().and_then(BackplaneError::refusal)
    }
}

impl ProbeKey {
    /// Keys that nothing was asked with. `cluster`: they must lie in a slot of the server; `clock`: this node's.
    pub fn new(key: String, cluster: bool, clock: Clock) -> ProbeKey {
        ProbeKey {
            stem: cluster.then(|| key.clone()),
            key: Arc::new(Mutex::new(key)),
            pushes: Default::default(),
            bell: Default::default(),
            pushes_before: 0,
            turn: false,
            armed: false,
            expected: false,
            may_write: true,
            may_ask_time: true,
            may_ask_info: true,
            told_time: false,
            may_ask_role: true,
            clock,
            samples: VecDeque::new(),
        }
    }

    /// The first key's name; in a cluster it changes with the server's slots.
    pub fn key(&self) -> Arc<Mutex<String>> {
        self.key.clone()
    }

    /// The name of the one key, or of the other.
    pub fn name(&self, other: bool) -> String {
        [self.key.lock().as_str(), if other { OTHER } else { "" }].concat()
    }

    /// Moves the keys of a cluster's server into one of these slots; whether that can be done.
    pub fn move_to(&mut self, within: &[std::ops::RangeInclusive<u16>]) -> bool {
        let Some(stem) = &self.stem else { return true };
        let Some(key) = slots::key_within(stem, within) else { return false };
        *self.key.lock() = key;
        (self.armed, self.expected, self.may_write) = (false, false, true);
        true
    }

    /// Whether a pushed key is one of the two of that name.
    pub fn is_own(name: &str, key: &[u8]) -> bool {
        key.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.is_empty() || rest == OTHER.as_bytes())
    }

    /// Whether the last check's write has been pushed back; `None` where it need not be.
    pub fn heard(&self) -> Option<bool> {
        self.expected.then(|| self.pushes.load(Ordering::Acquire) != self.pushes_before)
    }

    /// Notes that a push has not come, so that it is told once.
    pub fn noted(&mut self) {
        self.expected = false;
    }

    /// One health check, or with `probe` only its write and read; `Down` where the server is not usable.
    pub async fn check(
        &mut self,
        connection: &Connection,
        observe: &Observe,
        probe: bool,
    ) -> Result<HealthCheck, BackplaneError> {
        self.pushes_before = self.pushes.load(Ordering::Acquire);
        let asked = self.questions(probe);
        if asked.is_empty() {
            return Ok(HealthCheck::default());
        }
        let waiting = connection.client.pipeline();
        for question in &asked {
            self.queue(&waiting, *question).await.map_err(|e| fault::judge(&e))?;
        }
        let (begun, at) = (Instant::now(), self.clock.since_epoch());
        let replies = connection.send(waiting, asked.len()).await;
        let sent = Sent { at, way: begun.elapsed() };
        observe(PROBE, sent.way, replies.is_ok());
        let (mut check, was_armed) = (HealthCheck::default(), std::mem::take(&mut self.armed));
        for (question, reply) in asked.into_iter().zip(replies?) {
            self.take_in(question, reply, &sent, &mut check)?;
        }
        // A forbidden write is not tried again: each try is an entry in the server's ACL log.
        self.may_write &= !check.refusal().is_some_and(Refusal::is_for_good);
        self.expected = was_armed && check.written;
        self.turn = !self.turn;
        check.clock_offset_ms = self.clock_offset_ms();
        Ok(check)
    }

    /// The server's clock minus this node's, by the shortest way, in milliseconds.
    fn clock_offset_ms(&self) -> Option<i64> {
        self.samples.iter().min_by_key(|(way, _)| *way).map(|(_, offset)| *offset)
    }

    /// Takes in a clock that was read on a way that took so long and ended now; the difference by the shortest such way.
    pub fn take_time(&mut self, theirs: Option<i64>, way: Duration) -> Option<i64> {
        let at = self.clock.since_epoch().saturating_sub(way);
        self.sample(theirs, &Sent { at, way });
        self.clock_offset_ms()
    }

    /// Takes in one reply; `Down` where the server is not usable.
    fn take_in(
        &mut self,
        question: Question,
        reply: Result<Value, BackplaneError>,
        sent: &Sent,
        check: &mut HealthCheck,
    ) -> Result<(), BackplaneError> {
        match (question, reply) {
            (Question::Write, reply) => {
                check.written = reply.is_ok();
                check.refused = reply.err().filter(|error| error.refusal().is_some());
            }
            // A cluster that may not read has lost what it needs, though this server lives.
            (Question::Read, Err(error)) if error.refusal() == Some(&Refusal::ClusterDown) => {
                return Err(error.into_down());
            }
            (Question::Read, reply) => self.armed = reply.is_ok(),
            (Question::Time, Ok(reply)) => self.sample(decode::time(&reply), sent),
            (Question::Time, Err(_)) => self.may_ask_time = false,
            (Question::Replication | Question::Server, Ok(reply)) => {
                let info = decode::str(&reply).unwrap_or_default();
                check.identity.take_info(info);
                if let Some(time) = decode::info_time(info) {
                    self.told_time = true;
                    self.sample(Some(time), sent);
                }
            }
            (Question::Replication | Question::Server, Err(_)) => self.may_ask_info = false,
            (Question::Role, Ok(reply)) => check.identity.take_role(&reply),
            (Question::Role, Err(_)) => self.may_ask_role = false,
            (Question::Alive, _) => {}
        }
        Ok(())
    }

    fn questions(&self, probe: bool) -> Vec<Question> {
        let mut questions = Vec::with_capacity(5);
        if self.may_write {
            questions.extend([Question::Read, Question::Write]);
        } else if !probe {
            questions.push(Question::Alive);
        }
        if probe {
            return questions;
        }
        if self.may_ask_info {
            questions.extend([Question::Replication, Question::Server]);
        } else if self.may_ask_role {
            questions.push(Question::Role);
        }
        if self.may_ask_time && !self.told_time {
            questions.push(Question::Time);
        }
        questions
    }

    async fn queue(&self, pipeline: &Pipeline<Client>, question: Question) -> Result<(), Error> {
        let key = |other| self.name(other);
        match question {
            Question::Read => pipeline.get(key(!self.turn)).await,
            Question::Write => {
                let expire = Some(Expiration::PX(LIFETIME_MS));
                pipeline.set(key(self.turn), "1", expire, None, false).await
            }
            Question::Alive => pipeline.ping(None).await,
            // Several sections at once are for Redis 7.0 and later.
            Question::Replication => pipeline.info(Some(InfoKind::Replication)).await,
            Question::Server => pipeline.info(Some(InfoKind::Server)).await,
            Question::Role => pipeline.custom(pipeline::bare("ROLE"), Vec::<Value>::new()).await,
            Question::Time => pipeline.custom(pipeline::bare("TIME"), Vec::<Value>::new()).await,
        }
    }

    /// Takes in the server's clock, which was read half-way between question and answer.
    fn sample(&mut self, theirs: Option<i64>, sent: &Sent) {
        let Some(theirs) = theirs else { return };
        let ours = (sent.at + sent.way / 2).as_millis() as i64;
        self.samples.truncate(SAMPLES - 1);
        self.samples.push_front((sent.way, theirs.saturating_sub(ours)));
    }
}
