//! The connection that hears what relays pass on.

use super::{PATIENCE, PAUSE, Relays};
use crate::backplane::error::Refusal;
use crate::backplane::redis::decode;
use crate::backplane::redis::reader::Reader;
use crate::backplane::redis::reader::reply::{Reply, Taken};
use crate::backplane::redis::reader::request::Request;
use crate::backplane::redis::server::Server;
use crate::backplane::{BackplaneError, Relayed};
use crate::channel::Channel;
use crate::hash::HashSet;
use fred::types::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often the server is asked whether it is there, so that silence is told from a broken way.
const PING: Duration = Duration::from_secs(1);
/// The longest message that is taken in, in bytes; relays send shorter ones.
const LONGEST: usize = 1 << 20;

/// Hears until the live connection has `ended`.
pub async fn run(relays: Arc<Relays>, ended: Arc<AtomicBool>) {
    loop {
        let Err(error) = hear(&relays, &ended).await;
        if error.refusal().is_some_and(Refusal::is_for_good) {
            return relays.refused(&error);
        }
        tracing::debug!(why = %error.text(), "redis: nothing is heard of relays");
        relays.deaf();
        sleep(PAUSE).await;
    }
}

async fn hear(relays: &Arc<Relays>, ended: &AtomicBool) -> Result<std::convert::Infallible, BackplaneError> {
    let mut reader = Reader::open(&relays.server.target.for_side()?, PATIENCE).await?;
    let mut heard_of = HashSet::default();
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let taken = Taken::Entries { most: LONGEST, total: LONGEST, witness: None };
    loop {
        let commands = relays.due(&mut heard_of);
        if !commands.is_empty() {
            reader.ask(&commands).await?;
        }
        tokio::select! {
            biased;
            () = relays.listen.notified() => {}
            _ = ping.tick() => reader.ask(&Request::of([["PING"]])).await?,
            byte = reader.await_byte() => {
                byte?;
                match reader.reply(taken).await? {
                    Reply::Whole(value) => relays.heard(value, ended),
                    Reply::Cut(..) => return Err(BackplaneError::down("a message is too long")),
                    Reply::Error(error) => return Err(error),
                }
            }
        }
    }
}

/// Why the server lets nobody hear of a stream, tried with one that no channel can have.
pub async fn refusal(server: &Server) -> Result<Option<String>, BackplaneError> {
    let mut reader = Reader::open(&server.target.for_side()?, PATIENCE).await?;
    reader.ask(&Request::of([["SSUBSCRIBE", &format!("{}~check", server.key_prefix)]])).await?;
    match reader.reply(Taken::Skimmed).await? {
        Reply::Error(error) if error.refusal().is_some() => Ok(Some(error.text().to_owned())),
        Reply::Error(error) => Err(error),
        Reply::Whole(_) | Reply::Cut(..) => Ok(None),
    }
}

impl Relays {
    /// What must be said so that the streams that others may relay are heard of, and no others.
    fn due(&self, heard_of: &mut HashSet<Channel>) -> Request {
        let state = self.state.lock();
        let is_wanted = |channel: &Channel| state.streams.get(channel).is_some_and(|stream| !stream.relay);
        let mut due = Request::default();
        let mut say = |command: &str, channel: &Channel| {
            due.begin(2).word(command).key(&self.server.key_prefix, channel);
        };
        heard_of.extract_if(|channel| !is_wanted(channel)).for_each(|channel| say("SUNSUBSCRIBE", &channel));
        for channel in state.streams.keys().filter(|channel| is_wanted(channel)) {
            if heard_of.insert(channel.clone()) {
                say("SSUBSCRIBE", channel);
            }
        }
        due
    }

    /// Takes in what was said on the connection: a message, or that it hears of a stream from now on.
    fn heard(&self, value: Value, ended: &AtomicBool) {
        let Value::Array(parts) = value else { return };
        let [Value::Bytes(kind), Value::Bytes(key), Value::Bytes(message)] = parts.as_slice() else { return };
        let name = key.strip_prefix(self.server.key_prefix.as_bytes()).and_then(decode::channel);
        let Some(channel) = name.filter(|_| kind.as_ref() == b"smessage") else { return };
        let Some(relayed) = Relayed::of_message(channel, message.clone()) else {
            return tracing::debug!(key = %String::from_utf8_lossy(key), "redis: a message of no relay is passed over");
        };
        match self.state.lock().streams.get_mut(&relayed.channel) {
            Some(stream) if !stream.relay => stream.heard = Some(Instant::now()),
            _ => return,
        }
        self.server.changes.relayed(relayed, ended);
    }

    /// Messages may have been missed: the streams are to be read.
    fn deaf(&self) {
        let mut state = self.state.lock();
        state.streams.values_mut().for_each(|stream| stream.heard = None);
        self.server.changes.changed(state.streams.keys().cloned());
    }
}
