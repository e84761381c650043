//! The heartbeat of a live connection: is the server there, does tracking still work, what time is it there?
//!
//! Each beat reads one of the node's own two keys and writes the other, in turn. The read arms tracking, so the next
//! beat's write of that key must be pushed back; silence means that the server's tracking table was emptied without a
//! word (`FLUSHALL`, whose push fred drops, a full resync), and everything followed is in doubt. One is armed before the
//! other is written, so there is no moment at which that can happen unnoticed. Between beats, pulses do that alone.

use super::identity::Identity;
use super::{Observe, cluster, commands, decode, fault};
use crate::backplane::BackplaneError;
use fred::clients::{Client, Pipeline};
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::{ClusterHash, CustomCommand, Value};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the key outlives its node, in milliseconds.
const LIFETIME_MS: i64 = 30_000;
/// What follows the one key's name in the other's: in a cluster, both lie in one slot.
const OTHER: &str = ":2";
/// Clock samples of which the one with the shortest way counts.
const SAMPLES: usize = 16;

/// Sends the beats of one connection.
pub struct Canary {
    key: Arc<Mutex<String>>,
    /// In a cluster, the key without what puts it into one of this server's slots.
    stem: Option<String>,
    /// Pushes of the key that have arrived.
    pub pushes: Arc<AtomicU64>,
    pushes_before: u64,
    /// Whether the other key is the one to write.
    turn: bool,
    /// Whether the last beat's read armed tracking of the key to write.
    armed: bool,
    /// Whether the last beat's write must be pushed.
    expected: bool,
    may_write: bool,
    may_ask_time: bool,
    may_ask_info: bool,
    may_ask_role: bool,
    clock: VecDeque<(Duration, i64)>,
}

/// What a beat found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// The write was refused, and why.
    pub refused: Option<String>,
    /// Server clock minus ours, in milliseconds.
    pub clock_offset_ms: Option<i64>,
    pub identity: Identity,
}

impl Canary {
    pub fn new(key: String, cluster: bool) -> Canary {
        Canary {
            stem: cluster.then(|| key.clone()),
            key: Arc::new(Mutex::new(key)),
            pushes: Default::default(),
            pushes_before: 0,
            turn: false,
            armed: false,
            expected: false,
            may_write: true,
            may_ask_time: true,
            may_ask_info: true,
            may_ask_role: true,
            clock: VecDeque::new(),
        }
    }

    /// Its name; in a cluster it changes with the server's slots.
    pub fn key(&self) -> Arc<Mutex<String>> {
        self.key.clone()
    }

    /// In a cluster: moves the key into one of these slots. Whether that can be done.
    pub fn move_to(&mut self, slots: &[std::ops::RangeInclusive<u16>]) -> bool {
        let Some(stem) = &self.stem else { return true };
        let Some(key) = cluster::topology::key_within(stem, slots) else { return false };
        *self.key.lock() = key;
        (self.armed, self.expected, self.may_write) = (false, false, true);
        true
    }

    /// Whether a pushed key is one of the two of that name.
    pub fn is_own(name: &str, key: &[u8]) -> bool {
        key.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.is_empty() || rest == OTHER.as_bytes())
    }

    /// Whether the last beat's write has been pushed back; `None` where it need not be.
    pub fn heard(&self) -> Option<bool> {
        self.expected.then(|| self.pushes.load(Ordering::Acquire) != self.pushes_before)
    }

    /// Its silence was noted, once.
    pub fn noted(&mut self) {
        self.expected = false;
    }

    /// One beat, or with `pulse` only its write and read; `Down` where the server is not usable.
    pub async fn beat(&mut self, client: &Client, observe: &Observe, pulse: bool) -> Result<Beat, BackplaneError> {
        self.pushes_before = self.pushes.load(Ordering::Acquire);
        let commands = self.commands(pulse);
        if commands.is_empty() {
            return Ok(Beat::default());
        }
        let (begun, clock) = (Instant::now(), SystemTime::now());
        let replies = send(client, &commands).await;
        let way = begun.elapsed();
        observe("canary", way, replies.is_ok());
        let mut beat = Beat::default();
        let (mut written, mut read) = (false, false);
        for (command, reply) in commands.iter().zip(replies?) {
            match (command[0].as_str(), reply) {
                ("SET", reply) => {
                    written = reply.is_ok();
                    beat.refused = refusal(reply);
                }
                // A cluster that may not read has lost what it needs, though this server lives.
                ("GET", Err(BackplaneError::Refused(why))) if why.starts_with("CLUSTERDOWN") => {
                    return Err(BackplaneError::Down(why));
                }
                ("GET", reply) => read = reply.is_ok(),
                ("TIME", Ok(reply)) => self.sample(&reply, clock, way),
                ("TIME", Err(_)) => self.may_ask_time = false,
                ("INFO", Ok(reply)) => beat.identity.take_info(decode::str(&reply).unwrap_or_default()),
                ("INFO", Err(_)) => self.may_ask_info = false,
                ("ROLE", Ok(reply)) => beat.identity.take_role(&reply),
                ("ROLE", Err(_)) => self.may_ask_role = false,
                _ => {}
            }
        }
        // A forbidden write is not tried again: each try is an entry in the server's ACL log.
        self.may_write &= beat.refused.as_deref().is_none_or(|why| !fault::is_for_good(why));
        self.expected = self.armed && written;
        self.armed = read;
        self.turn = !self.turn;
        beat.clock_offset_ms = self.clock.iter().min_by_key(|(way, _)| *way).map(|(_, offset)| *offset);
        Ok(beat)
    }

    fn commands(&self, pulse: bool) -> Vec<Vec<String>> {
        let command = |words: &[&str]| words.iter().map(|w| w.to_string()).collect();
        let mut commands = Vec::with_capacity(5);
        if self.may_write {
            let key = self.key.lock().clone();
            let other = [&key, OTHER].concat();
            let (read, written) = if self.turn { (key, other) } else { (other, key) };
            commands.push(command(&["GET", &read]));
            commands.push(command(&["SET", &written, "1", "PX", &LIFETIME_MS.to_string()]));
        } else if !pulse {
            commands.push(command(&["PING"]));
        }
        if pulse {
            return commands;
        }
        if self.may_ask_time {
            commands.push(command(&["TIME"]));
        }
        // Several sections at once are for Redis 7.0 and later.
        if self.may_ask_info {
            commands.push(command(&["INFO", "replication"]));
            commands.push(command(&["INFO", "server"]));
        } else if self.may_ask_role {
            commands.push(command(&["ROLE"]));
        }
        commands
    }

    /// The server's clock was read half-way between question and answer.
    fn sample(&mut self, reply: &Value, asked: SystemTime, way: Duration) {
        let ours = asked.duration_since(UNIX_EPOCH).map(|d| (d + way / 2).as_millis() as i64);
        if let (Some(theirs), Ok(ours)) = (decode::time(reply), ours) {
            self.clock.truncate(SAMPLES - 1);
            self.clock.push_front((way, theirs.saturating_sub(ours)));
        }
    }
}

fn refusal(reply: Result<Value, BackplaneError>) -> Option<String> {
    match reply {
        Err(BackplaneError::Refused(why)) => Some(why),
        _ => None,
    }
}

/// Sends words as they are, in one pipeline.
pub async fn send(
    client: &Client,
    commands: &[Vec<String>],
) -> Result<Vec<Result<Value, BackplaneError>>, BackplaneError> {
    let pipeline = client.pipeline();
    for words in commands {
        queue(&pipeline, words).await.map_err(|e| fault::judge(&e))?;
    }
    commands::replies_of(pipeline.try_all::<Value>().await, commands.len())
}

async fn queue(pipeline: &Pipeline<Client>, words: &[String]) -> Result<(), Error> {
    let command = CustomCommand::new(words[0].as_str(), ClusterHash::FirstKey, false);
    pipeline.custom(command, words[1..].iter().map(|w| Value::from(w.as_str())).collect::<Vec<_>>()).await
}
