//! One fred client, which lives exactly as long as its connection, and lazy ones that replace a lost one on demand.
//!
//! fred's own reconnecting is never used: it re-sends commands, forgets tracking and can hang (a frozen server).
//! Whatever fails, the client is dropped and a new one is made. A command fails when its connection brings no answer at
//! all for a while: one that waits behind others, or behind large replies, is not lost.

use super::address::Endpoint;
use super::fault;
use super::pipeline;
use super::setup::Plan;
use crate::backplane::BackplaneError;
use fred::prelude::*;
use fred::types::RespVersion;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// Batches of one lazy connection that may be on their way.
const IN_FLIGHT: usize = 32;
/// How often a silent connection is looked at before it is given up; on a busy machine each look comes late, and so is
/// it given up late.
const LOOKS: u32 = 10;
/// After so long without an answer a connection is asked whether it is there,
pub const IDLE: Duration = Duration::from_secs(10);
/// has so long to say so,
const LOOK: Duration = Duration::from_secs(1);
/// and is used no more where nobody asked.
pub const STALE: Duration = Duration::from_secs(45);
/// fred's own limit of a command, in multiples of the silence that is borne: only the last resort.
const LAST_RESORT: u32 = 60;

/// A client and the end of its connection. Dropping it closes the connection.
pub struct Connection {
    pub client: Client,
    pub version: RespVersion,
    /// How long it may bring no answer while one is waited for.
    patience: Duration,
    answers: AtomicU64,
    begun: Instant,
    /// When the last answer came, in milliseconds from the beginning.
    answered_ms: AtomicU64,
    may_ping: AtomicBool,
    lost: watch::Sender<Option<BackplaneError>>,
    tasks: [AbortHandle; 2],
}

impl Connection {
    /// Connects, authenticates and selects the database.
    pub async fn open(
        endpoint: &Endpoint,
        version: RespVersion,
        patience: Duration,
    ) -> Result<Connection, BackplaneError> {
        let plan = Plan::of(endpoint, version.clone()).map_err(BackplaneError::Down)?;
        let client = plan.client(endpoint, patience * LAST_RESORT);
        // Before connecting: fred's own wait misses what happens between its look and its subscription.
        let mut connected = client.reconnect_rx();
        let mut router = client.connect();
        let router_task = router.abort_handle();
        let lost = watch::Sender::new(None);
        let sender = lost.clone();
        let watcher = tokio::spawn(async move {
            let why = match (&mut router).await {
                Ok(Err(error)) => fault::judge(&error),
                Ok(Ok(())) => BackplaneError::Down("the connection was closed".into()),
                Err(_) => BackplaneError::Down("the connection was dropped".into()),
            };
            first_reason(&sender, why);
        });
        // Made before the wait, so that giving up waiting ends the tasks.
        let tasks = [router_task, watcher.abort_handle()];
        let connection = Connection {
            client,
            version,
            patience,
            answers: AtomicU64::new(0),
            begun: Instant::now(),
            answered_ms: AtomicU64::new(0),
            may_ping: AtomicBool::new(true),
            lost,
            tasks,
        };
        tokio::select! {
            biased;
            why = connection.lost() => return Err(why),
            Ok(_) = connected.recv() => {}
            // TCP and TLS, then each of fred's own commands.
            () = sleep(endpoint.access.timeout * 3) => {
                return Err(BackplaneError::Down("no connection in time".into()));
            }
        }
        plan.carry_out(&connection).await?;
        Ok(connection)
    }

    /// Gives the connection up; whoever waits on it learns why.
    pub fn fail(&self, why: &str) {
        first_reason(&self.lost, BackplaneError::Down(why.to_owned()));
        self.tasks[0].abort();
    }

    /// Waits for the end of the connection and says why it ended. Cancel safe.
    pub async fn lost(&self) -> BackplaneError {
        let mut lost = self.lost.subscribe();
        let why = lost.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| BackplaneError::Down("the connection was dropped".into()))
    }

    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// The server has answered something.
    pub fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.answered_ms.store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long ago the last answer came.
    pub fn idle(&self) -> Duration {
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.answered_ms.load(Ordering::Relaxed)))
    }

    /// Whether the server takes a `PING` of this user.
    pub fn may_ping(&self) -> bool {
        self.may_ping.load(Ordering::Relaxed)
    }

    pub fn forbid_ping(&self) {
        self.may_ping.store(false, Ordering::Relaxed);
    }

    /// Runs commands; the end of the connection ends them, which fred leaves to a timeout, and so does its silence.
    pub async fn run<T>(&self, commands: impl Future<Output = Result<T, BackplaneError>>) -> Result<T, BackplaneError> {
        let result = tokio::select! {
            biased;
            result = commands => result,
            why = self.lost() => return Err(BackplaneError::Down(fault::reason(why))),
            () = self.silence() => Err(BackplaneError::Down("the server's answer timed out".into())),
        };
        match &result {
            // A command that was given up stays in fred's queue and may arm or answer later: nothing is sure any more.
            Err(BackplaneError::Down(why)) => self.fail(why),
            _ => self.answered(),
        }
        result
    }

    /// Waits until nothing has been answered for as long as is borne.
    async fn silence(&self) {
        let mut known = self.answers.load(Ordering::Relaxed);
        let mut looks = 0;
        while looks < LOOKS {
            sleep(self.patience / LOOKS).await;
            let now = self.answers.load(Ordering::Relaxed);
            looks = if now == known { looks + 1 } else { 0 };
            known = now;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn first_reason(lost: &watch::Sender<Option<BackplaneError>>, why: BackplaneError) {
    lost.send_if_modified(|reason| {
        let first = reason.is_none();
        if first {
            *reason = Some(why);
        }
        first
    });
}

/// Delays between attempts: 50 ms, doubled up to half a second, each a little different on each node.
#[derive(Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    pub fn next(&mut self) -> Duration {
        let delay = (50u64 << self.attempts.min(4)).min(500);
        self.attempts += 1;
        Duration::from_millis(fastrand::u64(delay * 4 / 5..=delay))
    }

    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// The server that is used now; all connections but the live one go where that one has gone.
pub struct Target {
    endpoint: Mutex<Option<Endpoint>>,
    /// The server has no room, and what there is is for the live connection.
    reserved: AtomicBool,
}

impl Target {
    pub fn new(endpoint: Option<Endpoint>) -> Target {
        Target { endpoint: Mutex::new(endpoint), reserved: AtomicBool::new(false) }
    }

    pub fn get(&self) -> Option<Endpoint> {
        self.endpoint.lock().clone()
    }

    /// Whether the next connection must be the live one.
    pub fn reserve(&self, reserved: bool) {
        self.reserved.store(reserved, Ordering::Relaxed);
    }

    /// A further connection to it, which is pushed nothing.
    pub async fn connect(&self, patience: Duration) -> Result<Connection, BackplaneError> {
        Connection::open(&self.for_side()?, RespVersion::RESP2, patience).await
    }

    /// Where connections but the live one lead, if there may be any now.
    pub fn for_side(&self) -> Result<Endpoint, BackplaneError> {
        if self.reserved.load(Ordering::Relaxed) {
            return Err(BackplaneError::Down("the server has no room, and the live connection comes first".into()));
        }
        self.get().ok_or_else(|| BackplaneError::Down("the primary is not known yet".into()))
    }

    /// Whether it is another one.
    pub fn set(&self, endpoint: Endpoint) -> bool {
        let mut target = self.endpoint.lock();
        let other = target.as_ref().is_none_or(|known| known.server != endpoint.server);
        *target = Some(endpoint);
        other
    }
}

/// A connection that is made when it is needed, and made anew after it was lost.
pub struct LazyConnection {
    target: Arc<Target>,
    patience: Duration,
    state: tokio::sync::Mutex<LazyState>,
    current: Mutex<Current>,
    permits: Semaphore,
}

/// The connection that new commands take, if there is one; each time it is given up, a new era begins.
#[derive(Default)]
struct Current {
    connection: Option<Arc<Connection>>,
    era: u64,
}

#[derive(Default)]
struct LazyState {
    backoff: Backoff,
    /// Not before this; and why the last attempt failed.
    blocked: Option<(Instant, BackplaneError)>,
}

impl LazyConnection {
    pub fn new(target: Arc<Target>, patience: Duration) -> LazyConnection {
        LazyConnection {
            target,
            patience,
            state: Default::default(),
            current: Mutex::default(),
            permits: Semaphore::new(IN_FLIGHT),
        }
    }

    /// Runs commands on the connection, a bounded number at once.
    pub async fn run<T, F, C>(&self, commands: C) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>>,
        C: FnOnce(Arc<Connection>) -> F,
    {
        let waiting = timeout(self.patience, self.permits.acquire());
        let Ok(Ok(_permit)) = waiting.await else {
            return Err(BackplaneError::Down("too many commands are on their way".into()));
        };
        let connection = self.connection().await?;
        connection.run(commands(connection.clone())).await
    }

    /// Lets commands that are on their way finish, and makes a new connection for the next ones.
    pub fn renew(&self) {
        drop(self.next());
    }

    /// The same, but commands that are on their way fail: what that server says is not to be believed any more.
    pub fn leave(&self) {
        if let Some(connection) = self.next() {
            connection.fail("the server may be another one now");
        }
    }

    fn next(&self) -> Option<Arc<Connection>> {
        let mut current = self.current.lock();
        current.era += 1;
        current.connection.take()
    }

    async fn connection(&self) -> Result<Arc<Connection>, BackplaneError> {
        if let Some(connection) = self.working() {
            return Ok(connection);
        }
        // One attempt at a time; who waited for it finds its result.
        let mut state = self.state.lock().await;
        if let Some(connection) = self.working() {
            return Ok(connection);
        }
        match &state.blocked {
            Some((until, why)) if Instant::now() < *until => return Err(why.clone()),
            _ => {}
        }
        let era = self.current.lock().era;
        match self.target.connect(self.patience).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *state = LazyState::default();
                let mut current = self.current.lock();
                if current.era != era {
                    // A server that was frozen may have been left meanwhile.
                    return Err(BackplaneError::Down("the server may be another one now".into()));
                }
                current.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let error = BackplaneError::Down(fault::reason(error));
                state.blocked = Some((Instant::now() + state.backoff.next(), error.clone()));
                Err(error)
            }
        }
    }

    /// One that has idled for long is none: nobody has looked whether it still leads anywhere.
    fn working(&self) -> Option<Arc<Connection>> {
        let connection = self.current.lock().connection.clone();
        connection.filter(|connection| !connection.is_lost() && connection.idle() < STALE)
    }

    /// Asks an idle connection whether it is still there, and replaces one that is not.
    pub async fn look(&self) {
        let Some(connection) = self.working().filter(|c| c.idle() >= IDLE && c.may_ping()) else { return };
        // Any answer is one, be it a refusal.
        let pong = connection.run(async { Ok(pipeline::one(&connection.client, &["PING"]).await) });
        match timeout(LOOK, pong).await {
            Ok(Ok(Ok(Err(BackplaneError::Refused(why))))) if fault::is_for_good(&why) => connection.forbid_ping(),
            Ok(Ok(Ok(_))) => {}
            _ => {
                connection.fail("it did not answer any more");
                drop(self.connection().await);
            }
        }
    }
}
