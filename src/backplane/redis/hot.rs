//! Waiting at the server for the next entry of a stream, which saves the way of a push and that of a question.
//!
//! A blocking `XREAD` from the newest known entry on, and behind it in the same write the `XREAD` that the follower would
//! ask next: Redis runs it when the first one ends, so one answer brings what is new and the known entry as witness. A
//! connection waits for one stream; which streams those are, the follower decides.

use super::connection::Connection;
use super::server::Shared;
use super::{decode, fault};
use crate::backplane::{Ask, BackplaneError, Entry};
use fred::interfaces::StreamsInterface;
use fred::types::Value;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long the server is asked to wait; a stream that begins anew meanwhile is noticed after that.
const BLOCK: Duration = Duration::from_millis(500);
/// How much later than asked it may answer before its connection is given up.
const GRACE: Duration = Duration::from_millis(500);
/// After a connection that failed, before the next one.
const PAUSE: Duration = Duration::from_secs(2);

/// The connections that wait for nothing now, and whether there may be any.
#[derive(Default)]
pub struct Hot(Mutex<State>);

#[derive(Default)]
struct State {
    allowed: bool,
    /// Changes whenever what a server says is not to be believed any more.
    era: u64,
    idle: Vec<Connection>,
    opening: bool,
    not_before: Option<Instant>,
}

impl Hot {
    /// Called for each new live connection.
    pub fn start(&self, allowed: bool) {
        self.leave();
        self.0.lock().allowed = allowed;
    }

    /// What is waited for now counts no more.
    pub fn leave(&self) {
        let mut state = self.0.lock();
        *state = State { era: state.era + 1, ..State::default() };
    }

    /// Whether a connection is there that can wait. If not, one is made meanwhile: no stream waits for that.
    pub fn is_ready(&self, shared: &Arc<Shared>, runtime: &Handle) -> bool {
        let mut state = self.0.lock();
        state.idle.retain(|connection| !connection.is_lost());
        if !state.idle.is_empty() || !state.allowed {
            return state.allowed;
        }
        if !state.opening && state.not_before.is_none_or(|at| at <= Instant::now()) {
            state.opening = true;
            runtime.spawn(open(shared.clone(), state.era));
        }
        false
    }

    /// The stream's entries from the asked position on: as soon as anything follows the first of them, or after
    /// [`BLOCK`]. Whoever stops waiting closes the connection.
    pub async fn next(&self, shared: &Shared, ask: &Ask) -> Result<Vec<Entry>, BackplaneError> {
        let (era, connection) = {
            let mut state = self.0.lock();
            (state.era, state.idle.pop())
        };
        let Some(connection) = connection else { return Err(BackplaneError::Down("no connection is idle".into())) };
        let entries = connection.run(read(&connection, &shared.key(&ask.channel), ask)).await;
        let mut state = self.0.lock();
        if state.era != era {
            return Err(BackplaneError::Down("the server may be another one now".into()));
        }
        match &entries {
            Err(BackplaneError::Down(_)) => state.not_before = Some(Instant::now() + PAUSE),
            Err(BackplaneError::Refused(why)) if !fault::is_about_a_key(why) => {
                // By a user's rights, or by a proxy.
                state.allowed = false;
                tracing::info!(%why, "redis: blocking reads are refused; busy streams are followed as all others are");
            }
            _ => state.idle.push(connection),
        }
        entries
    }
}

async fn open(shared: Arc<Shared>, era: u64) {
    let opened = shared.target.connect(BLOCK + GRACE).await;
    let mut state = shared.hot.0.lock();
    if state.era != era {
        return;
    }
    state.opening = false;
    match opened {
        Ok(connection) => state.idle.push(connection),
        Err(error) => {
            state.not_before = Some(Instant::now() + PAUSE);
            tracing::debug!(why = %fault::reason(error), "redis: no connection for busy streams");
        }
    }
}

async fn read(connection: &Connection, key: &str, ask: &Ask) -> Result<Vec<Entry>, BackplaneError> {
    let (client, block) = (&connection.client, BLOCK.as_millis() as u64);
    // Both are queued before fred's task looks at either, so that it sends them as one; it does not wait between them.
    let (waited, entries) = tokio::join!(
        client.xread::<Value, _, _>(Some(1), Some(block), key, ask.after.after().to_string()),
        client.xread::<Value, _, _>(Some(ask.count as u64), None, key, ask.after.to_string()),
    );
    waited.map_err(|error| fault::judge(&error))?;
    let streams = decode::streams(entries.map_err(|error| fault::judge(&error))?);
    // A reply of another command's shape: the connection's replies are shifted.
    let mut streams = streams.map_err(|error| BackplaneError::Down(error.to_string()))?;
    let entries = streams.remove(key.as_bytes()).unwrap_or(Ok(Vec::new()));
    entries.map_err(|error| BackplaneError::Refused(error.to_string()))
}
