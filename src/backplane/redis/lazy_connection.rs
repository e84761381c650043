//! A connection that is made when it is needed, and made anew after it was lost.

use super::connection::{Connection, IDLE, STALE};
use super::pipeline;
use super::target::{Backoff, Target};
use crate::backplane::BackplaneError;
use crate::random::Random;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Batches of one lazy connection that may be on their way.
const IN_FLIGHT: usize = 32;
/// How long an idle connection may take to say that it is there.
const LOOK: Duration = Duration::from_secs(1);

/// A connection that is made when it is needed, and made anew after it was lost.
pub struct LazyConnection {
    target: Arc<Target>,
    patience: Duration,
    random: Random,
    /// Where what it sends waits for what comes at the same time, and so do answers.
    runtime: Handle,
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
    /// The moment of the next attempt at the earliest, and why the last one failed.
    blocked: Option<(Instant, BackplaneError)>,
}

impl LazyConnection {
    /// A connection that is not made yet. `patience`: how long it may bring no answer while one is waited for; `random` makes
    /// delays between attempts differ.
    pub fn new(target: Arc<Target>, patience: Duration, random: Random, runtime: Handle) -> LazyConnection {
        LazyConnection {
            target,
            patience,
            random,
            runtime,
            state: Default::default(),
            current: Mutex::default(),
            permits: Semaphore::new(IN_FLIGHT),
        }
    }

    /// Runs commands on the connection, a bounded number at once. An error says so where they were not sent at all.
    pub async fn run<T, F, C>(&self, commands: C) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>>,
        C: FnOnce(Arc<Connection>) -> F,
    {
        let waiting = timeout(self.patience, self.permits.acquire());
        let Ok(Ok(_permit)) = waiting.await else {
            return Err(BackplaneError::down("too many commands are on their way").unsent());
        };
        let connection = self.connection().await.map_err(BackplaneError::unsent)?;
        connection.run(commands(connection.clone())).await
    }

    /// Lets commands that are on their way finish, and makes a new connection for the next ones.
    pub fn renew(&self) {
        drop(self.next());
    }

    /// Lets commands that are on their way fail, as what that server says is not to be believed any more, and makes a new
    /// connection for the next ones.
    pub fn leave(&self) {
        if let Some(connection) = self.next() {
            connection.fail(BackplaneError::down("the server may be another one now"));
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
        match self.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *state = LazyState::default();
                let mut current = self.current.lock();
                if current.era != era {
                    // A server that was frozen may have been left meanwhile.
                    return Err(BackplaneError::down("the server may be another one now"));
                }
                current.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let error = error.into_down();
                state.blocked = Some((Instant::now() + state.backoff.next(&self.random), error.clone()));
                Err(error)
            }
        }
    }

    /// Makes a connection whose tasks live in the runtime. Giving up waiting ends the attempt.
    async fn connect(&self) -> Result<Connection, BackplaneError> {
        let (target, patience) = (self.target.clone(), self.patience);
        let mut attempt = JoinSet::new();
        attempt.spawn_on(async move { target.connect(patience).await }, &self.runtime);
        match attempt.join_next().await {
            Some(Ok(connected)) => connected,
            Some(Err(_)) | None => Err(BackplaneError::down("the node is ending")),
        }
    }

    /// The connection, where it works. One that has idled for long is none: nobody has looked whether it still leads
    /// anywhere.
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
            Ok(Ok(Ok(Err(BackplaneError::Refused { kind, .. })))) if kind.is_for_good() => connection.forbid_ping(),
            Ok(Ok(Ok(_))) => {}
            _ => {
                connection.fail(BackplaneError::down("it did not answer any more"));
                drop(self.connection().await);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::redis::Settings;
    use crate::outside::Outside;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    /// Requests whose clients hang up must not leave attempts behind, each for as long as a silent server is borne.
    #[tokio::test]
    async fn who_gives_up_waiting_for_a_connection_ends_the_attempt() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = Settings::new(&format!("redis://{}", listener.local_addr().unwrap()));
        settings.access.timeout = Duration::from_secs(3_600);
        let target = Arc::new(Target::new(settings.address().unwrap().fixed()));
        let lazy =
            LazyConnection::new(target, Duration::from_secs(3_600), Outside::default().random, Handle::current());
        let asking = tokio::spawn(async move { lazy.run(|_| async { Ok(()) }).await });
        let (mut client, _) = listener.accept().await.unwrap();
        assert!(client.read_u8().await.is_ok(), "it has begun to say hello");
        asking.abort();
        let left = timeout(Duration::from_secs(30), client.read_to_end(&mut Vec::new())).await;
        assert!(left.is_ok(), "the connection is open still");
    }
}
