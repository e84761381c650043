//! One fred client, which lives exactly as long as its connection.
//!
//! fred's own reconnecting is never used: it re-sends commands, forgets tracking and can hang (a frozen server).
//! Whatever fails, the client is dropped and a new one is made. A command fails when its connection brings no answer at
//! all for a while: one that waits behind others, or behind large replies, is not lost.

use super::address::Endpoint;
use super::fault::{self, Unopened};
use super::pipeline;
use super::setup::Plan;
use crate::backplane::BackplaneError;
use crate::backplane::error::{Outage, Refusal};
use crate::watched as watch;
use fred::clients::Pipeline;
use fred::prelude::*;
use fred::types::RespVersion;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// How often a silent connection is looked at before it is given up; on a busy machine each look comes late, and so is
/// it given up late.
const LOOKS: u32 = 10;
/// A connection that brought no answer for so long is asked whether it is there.
pub const IDLE: Duration = Duration::from_secs(10);
/// A connection that brought no answer for so long, though nobody asked, is used no more.
pub const STALE: Duration = Duration::from_secs(45);
/// fred's own limit of a command, in multiples of the silence that is borne: only the last resort.
const LAST_RESORT: u32 = 60;

/// A client and the end of its connection. Dropping it closes the connection.
pub struct Connection {
    /// The client that sends its commands.
    pub client: Client,
    /// The version of the protocol that it speaks.
    pub version: RespVersion,
    /// How long it may bring no answer while one is waited for.
    patience: Duration,
    answers: AtomicU64,
    begun: Instant,
    /// The moment of the last answer, in milliseconds from the beginning.
    answered_ms: AtomicU64,
    may_ping: AtomicBool,
    lost: watch::Sender<Option<BackplaneError>>,
    tasks: [AbortHandle; 2],
}

impl Connection {
    /// Connects, authenticates and selects the database.
    pub async fn open(endpoint: &Endpoint, version: RespVersion, patience: Duration) -> Result<Connection, Unopened> {
        let plan = Plan::of(endpoint, version.clone()).map_err(|error| BackplaneError::down(error.to_string()))?;
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
                Ok(Ok(())) => fault::down(Outage::HungUp, "the connection was closed"),
                Err(_) => BackplaneError::down("the connection was dropped"),
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
            why = connection.lost() => return Err(why.into()),
            Ok(_) = connected.recv() => {}
            // TCP and TLS, then each of fred's own commands.
            () = sleep(endpoint.access.timeout * 3) => {
                return Err(fault::down(Outage::NoConnection, "no connection in time").into());
            }
        }
        for step in plan.steps(&connection.client) {
            match (connection.run(step.answer).await, step.resp3) {
                (Ok(()), _) => {}
                (Err(error), Some(command)) => return Err(Unopened::at(command, error)),
                (Err(error), None) => return Err(error.into()),
            }
        }
        Ok(connection)
    }

    /// Gives the connection up; whoever waits on it learns why.
    pub fn fail(&self, why: BackplaneError) {
        first_reason(&self.lost, why);
        self.tasks[0].abort();
    }

    /// Waits for the end of the connection and says why it ended. Cancel safe.
    pub async fn lost(&self) -> BackplaneError {
        let mut lost = self.lost.subscribe();
        let why = lost.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| BackplaneError::down("the connection was dropped"))
    }

    /// Whether the connection has ended.
    pub fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// Notes that the server has answered something.
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

    /// Notes that the server takes no `PING` of this user.
    pub fn forbid_ping(&self) {
        self.may_ping.store(false, Ordering::Relaxed);
    }

    /// Runs commands; the end of the connection ends them, which fred leaves to a timeout, and so does its silence.
    pub async fn run<T>(&self, commands: impl Future<Output = Result<T, BackplaneError>>) -> Result<T, BackplaneError> {
        let result = tokio::select! {
            biased;
            result = commands => result,
            why = self.lost() => return Err(why.into_down()),
            () = self.silence() => Err(fault::down(Outage::NoAnswer, "the server's answer timed out")),
        };
        match &result {
            // A command that was given up stays in fred's queue and may arm or answer later: nothing is sure any more.
            Err(down @ BackplaneError::Down { .. }) => self.fail(down.clone()),
            _ => self.answered(),
        }
        result
    }

    /// Sends what waits in a pipeline; as many answers as commands, or `Down`.
    ///
    /// fred flushes the socket after each command, unless it knows of one that follows the whole pipeline: a `PING` does,
    /// and so a hundred commands take one `write` here and one `read` there.
    pub async fn send(
        &self,
        pipeline: Pipeline<Client>,
        commands: usize,
    ) -> Result<Vec<Result<Value, BackplaneError>>, BackplaneError> {
        if commands < 2 || !self.may_ping() {
            return pipeline::answers(pipeline.try_all().await, commands);
        }
        // Both are queued before fred's task looks at either.
        let (replies, pong) = tokio::join!(pipeline.try_all(), self.client.ping::<Value>(None));
        if pong.is_err_and(|error| fault::judge(&error).refusal().is_some_and(Refusal::is_for_good)) {
            // Each further try would be an entry in the server's ACL log.
            self.forbid_ping();
        }
        pipeline::answers(replies, commands)
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
