//! The connection by which a relay passes on what it has read, and becomes one: by a lease that it must renew.

use super::{PATIENCE, PAUSE, Relays, Stream};
use crate::backplane::BackplaneError;
use crate::backplane::error::Refusal;
use crate::backplane::redis::reader::Reader;
use crate::backplane::redis::reader::reply::{Reply, Taken};
use crate::backplane::redis::reader::request::Request;
use crate::channel::Channel;
use fred::types::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often streams without a relay are looked for; with every so many looks, leases are renewed.
const LOOK: Duration = Duration::from_millis(250);
const RENEWED: u32 = 4;
/// How long a lease lasts, in milliseconds.
const LEASE_MS: &str = "3000";
/// After so much silence a stream has no relay.
const SILENCE: Duration = Duration::from_secs(1);
/// Leases that are looked at in one go.
const AT_ONCE: usize = 500;

/// Speaks until the live connection has `ended`.
pub async fn run(relays: Arc<Relays>, ended: Arc<AtomicBool>) {
    while !ended.load(Ordering::SeqCst) {
        let Err(error) = speak(&relays).await;
        if error.refusal().is_some_and(Refusal::is_for_good) {
            return relays.refused(&error);
        }
        tracing::debug!(why = %error.text(), "redis: nothing is relayed");
        relays.silent();
        sleep(PAUSE).await;
    }
}

async fn speak(relays: &Arc<Relays>) -> Result<std::convert::Infallible, BackplaneError> {
    let mut reader = Reader::open(&relays.server.target.for_side()?, PATIENCE).await?;
    reader.ask(&Request::of([["CLIENT", "REPLY", "ON"]])).await?;
    let may_skip = matches!(reader.reply(Taken::Skimmed).await?, Reply::Whole(_));
    relays.state.lock().may_skip = may_skip;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = 0;
    loop {
        tokio::select! {
            biased;
            () = relays.speak.notified() => relays.send(&mut reader).await?,
            _ = look.tick() => {
                looks = (looks + 1) % RENEWED;
                if looks == 0 {
                    relays.renew(&mut reader).await?;
                }
                relays.stand(&mut reader).await?;
            }
        }
    }
}

/// The replies to commands that are sent in one go.
async fn ask(reader: &mut Reader, commands: &Request) -> Result<Vec<Value>, BackplaneError> {
    reader.ask(commands).await?;
    let mut values = Vec::with_capacity(commands.len());
    for _ in 0..commands.len() {
        match reader.reply(Taken::Skimmed).await? {
            Reply::Whole(value) => values.push(value),
            Reply::Cut(..) => return Err(BackplaneError::down("an answer is too long")),
            Reply::Error(error) => return Err(error),
        }
    }
    Ok(values)
}

/// A number that was replied.
fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

impl Relays {
    /// Sends what waits.
    async fn send(&self, reader: &mut Reader) -> Result<(), BackplaneError> {
        let messages = {
            let mut state = self.state.lock();
            state.waiting = 0;
            std::mem::take(&mut state.outbox)
        };
        if !messages.is_empty() {
            let mut commands = Request::default();
            messages.iter().for_each(|(channel, message)| self.publish(channel, message, &mut commands));
            ask(reader, &commands).await?;
        }
        Ok(())
    }

    fn lease(&self, channel: &Channel) -> String {
        format!("{}~relay:{channel}", self.server.key_prefix)
    }

    /// Renews this node's leases. Where another node has one, or too few nodes hear what is passed on, it is relay no more.
    async fn renew(&self, reader: &mut Reader) -> Result<(), BackplaneError> {
        let streams = self.streams(|stream| stream.relay);
        for streams in streams.chunks(AT_ONCE) {
            let held = streams.iter().map(|channel| ["GET".to_owned(), self.lease(channel)]);
            let held = ask(reader, &Request::of(held)).await?;
            // This node does not hear itself.
            let hearing = self.hearing(reader, streams).await?.into_iter().map(|count| count + 1);
            let mut kept = Vec::new();
            for ((channel, held), nodes) in streams.iter().zip(held).zip(hearing) {
                match matches!(&held, Value::Bytes(name) if name == self.name.as_bytes()) && self.are_many(nodes) {
                    true => kept.push(channel),
                    false => self.become_relay(channel, false),
                }
            }
            let renewed =
                |channel: &Channel| ["SET", &self.lease(channel), &self.name, "PX", LEASE_MS].map(str::to_owned);
            ask(reader, &Request::of(kept.into_iter().map(renewed))).await?;
        }
        Ok(())
    }

    /// Whether so many nodes are worth a relay.
    fn are_many(&self, nodes: u32) -> bool {
        nodes >= self.from.max(2)
    }

    /// How many nodes hear of each stream.
    async fn hearing(&self, reader: &mut Reader, streams: &[Channel]) -> Result<Vec<u32>, BackplaneError> {
        let mut command = Request::default();
        let words = command.begin(2 + streams.len()).word("PUBSUB").word("SHARDNUMSUB");
        streams.iter().fold(words, |words, channel| words.key(&self.server.key_prefix, channel));
        match ask(reader, &command).await?.pop() {
            Some(Value::Array(counts)) if counts.len() == 2 * streams.len() => {
                Ok(counts.iter().skip(1).step_by(2).map(number).collect())
            }
            _ => Err(BackplaneError::down("PUBSUB SHARDNUMSUB counts other streams")),
        }
    }

    fn streams(&self, are: impl Fn(&Stream) -> bool) -> Vec<Channel> {
        let state = self.state.lock();
        state.streams.iter().filter(|(_, stream)| are(stream)).map(|(channel, _)| channel.clone()).collect()
    }

    /// Stands for the lease of each stream that many nodes follow and nobody passes on.
    async fn stand(&self, reader: &mut Reader) -> Result<(), BackplaneError> {
        let now = Instant::now();
        let is_silent =
            |heard: Option<Instant>| heard.is_none_or(|heard| now.saturating_duration_since(heard) > SILENCE);
        let silent = self.streams(|stream| !stream.relay && is_silent(stream.heard));
        for silent in silent.chunks(AT_ONCE) {
            let counts = self.hearing(reader, silent).await?;
            let many: Vec<&Channel> = silent
                .iter()
                .zip(counts)
                .filter(|(_, nodes)| self.are_many(*nodes))
                .map(|(channel, _)| channel)
                .collect();
            let lease =
                |channel: &&Channel| ["SET", &self.lease(channel), &self.name, "NX", "PX", LEASE_MS].map(str::to_owned);
            let leased = ask(reader, &Request::of(many.iter().map(lease))).await?;
            for (channel, _) in many.iter().zip(leased).filter(|(_, leased)| !leased.is_null()) {
                self.become_relay(channel, true);
            }
        }
        Ok(())
    }

    fn become_relay(&self, channel: &Channel, relay: bool) {
        if let Some(stream) = self.state.lock().streams.get_mut(channel) {
            tracing::debug!(%channel, relay, "redis: a stream's relay");
            (stream.relay, stream.heard) = (relay, None);
        }
        self.listen.notify_one();
    }

    /// Nothing can be passed on: others find that out by themselves, and one of them may do it.
    fn silent(&self) {
        let mut state = self.state.lock();
        state.streams.values_mut().for_each(|stream| stream.relay = false);
        (state.outbox, state.waiting) = (Vec::new(), 0);
        drop(state);
        self.listen.notify_one();
    }
}
