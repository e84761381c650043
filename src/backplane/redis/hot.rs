//! Waiting at the server for the next entry of a stream, which saves the way of a push and that of a question.
//!
//! A blocking `XREAD` from the newest known entry on, and behind it in the same write the `XREAD` that the follower would
//! ask next: Redis runs it when the first one ends, so one answer brings what is new and the known entry as witness. A
//! connection waits for one stream; which streams those are, the follower decides.

use super::connection::STALE;
use super::decode;
use super::large::LARGE;
use super::reader::Reader;
use super::reader::reply::{Reply, Taken};
use super::reader::request::Request;
use super::relays::Relays;
use super::server::Server;
use crate::backplane::{Ask, BackplaneError, Entry};
use crate::frame;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long the server is asked to wait; a stream that begins anew meanwhile is noticed after that.
const BLOCK: Duration = Duration::from_millis(500);
/// How much later than asked the server may answer before its connection is given up.
const GRACE: Duration = Duration::from_millis(500);
/// After a connection that failed, before the next one.
const PAUSE: Duration = Duration::from_secs(2);

/// Connections that wait for the next entries of busy streams.
pub struct Hot {
    server: Arc<Server>,
    runtime: Handle,
    /// What of a stream is to be passed on goes before the next wait for it.
    relays: Arc<Relays>,
    state: Mutex<State>,
}

/// The connections that wait for nothing now, and whether there may be any.
#[derive(Default)]
struct State {
    allowed: bool,
    /// Changes whenever what a server says is not to be believed any more.
    era: u64,
    idle: Vec<Reader>,
    opening: bool,
    not_before: Option<Instant>,
}

impl Hot {
    /// No connection yet; they are made on `runtime`.
    pub fn new(server: Arc<Server>, runtime: Handle, relays: Arc<Relays>) -> Hot {
        Hot { server, runtime, relays, state: Mutex::default() }
    }

    /// Takes in that there is a new live connection; `allowed`: whether busy streams may be waited for.
    pub fn start(&self, allowed: bool) {
        self.leave();
        self.state.lock().allowed = allowed;
    }

    /// Gives all connections up: what is waited for now counts no more.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        *state = State { era: state.era + 1, ..State::default() };
    }

    /// Whether a connection is there that can wait. If not, one is made meanwhile: no stream waits for that.
    pub fn is_ready(self: &Arc<Hot>) -> bool {
        let mut state = self.state.lock();
        state.idle.retain_mut(|reader| reader.idle() < STALE && reader.is_open());
        if !state.idle.is_empty() || !state.allowed {
            return state.allowed;
        }
        if !state.opening && state.not_before.is_none_or(|at| at <= Instant::now()) {
            state.opening = true;
            self.runtime.spawn(self.clone().open(state.era));
        }
        false
    }

    /// The stream's entries from the asked position on: as soon as anything follows the first of them, or after
    /// [`BLOCK`]. Whoever stops waiting closes the connection.
    pub async fn next(&self, ask: &Ask) -> Result<Vec<Entry>, BackplaneError> {
        if self.server.replicas.floors.is_ahead(&ask.channel) {
            return Err(BackplaneError::down("the replica is behind what is known of the stream"));
        }
        let (era, reader) = {
            let mut state = self.state.lock();
            (state.era, state.idle.pop())
        };
        let Some(mut reader) = reader else { return Err(BackplaneError::down("no connection is idle")) };
        let begun = Instant::now();
        let mut commands = Request::default();
        self.relays.unanswered(&ask.channel, &mut commands);
        let entries = read(&mut reader, &self.server, ask, commands).await;
        (self.server.observe)("xread", begun.elapsed(), entries.is_ok());
        let mut state = self.state.lock();
        if state.era != era {
            return Err(BackplaneError::down("the server may be another one now"));
        }
        match &entries {
            Err(BackplaneError::Down { .. }) => state.not_before = Some(Instant::now() + PAUSE),
            Err(BackplaneError::Refused { kind, text: why }) if !kind.is_about_a_key() => {
                // By a user's rights, or by a proxy.
                state.allowed = false;
                tracing::info!(%why, "redis: blocking reads are refused; busy streams are followed as all others are");
            }
            // It is to be read apart: the follower finds that out.
            Ok(None) => {}
            _ => state.idle.push(reader),
        }
        entries.map(Option::unwrap_or_default)
    }

    /// Makes a connection that can wait, unless the server has been left meanwhile.
    async fn open(self: Arc<Hot>, era: u64) {
        let opened = match self.server.near.for_side() {
            Ok(endpoint) => Reader::open(&endpoint, GRACE).await,
            Err(error) => Err(error),
        };
        let mut state = self.state.lock();
        if state.era != era {
            return;
        }
        state.opening = false;
        match opened {
            Ok(reader) => state.idle.push(reader),
            Err(error) => {
                state.not_before = Some(Instant::now() + PAUSE);
                tracing::debug!(why = %error.text(), "redis: no connection for busy streams");
            }
        }
    }
}

/// Waits for what follows, and reads it with the entry before it; `None`: an entry is too large to be read here. `commands`: those
/// that are sent before, and not answered.
async fn read(
    reader: &mut Reader,
    server: &Server,
    ask: &Ask,
    mut commands: Request,
) -> Result<Option<Vec<Entry>>, BackplaneError> {
    let after = |position| std::iter::once((&ask.channel, position));
    let wait = commands.begin(8).word("XREAD").word("COUNT").number(1).word("BLOCK").number(BLOCK.as_millis() as usize);
    wait.streams(&server.key_prefix, after(ask.after.after()));
    let read = commands.begin(6).word("XREAD").word("COUNT").number(ask.count);
    read.streams(&server.key_prefix, after(ask.after));
    reader.ask(&commands).await?;
    let taken = Taken::Entries { most: LARGE.min(server.max_entry_bytes), total: 2 * LARGE, witness: None };
    let large = || {
        server.large.found(&ask.channel);
        Ok(None)
    };
    match reader.waited(BLOCK, taken).await? {
        Reply::Whole(_) => {}
        Reply::Cut(..) => return large(),
        Reply::Error(why) => return Err(why),
    }
    let value = match reader.reply(taken).await? {
        Reply::Whole(value) => value,
        Reply::Cut(..) => return large(),
        Reply::Error(why) => return Err(why),
    };
    // A reply of another command's shape: the connection's replies are shifted.
    let streams = decode::streams(value).map_err(|error| BackplaneError::down(error.to_string()))?;
    let entries = streams.into_iter().find(|(key, _)| server.is_key(key, &ask.channel)).map(|(_, entries)| entries);
    let entries = entries.unwrap_or(Ok(Vec::new())).map_err(|error| BackplaneError::refused(error.to_string()))?;
    match entries.iter().all(|entry| frame::is_within(entry, server.max_entry_bytes)) {
        true => Ok(Some(entries)),
        false => large(),
    }
}
