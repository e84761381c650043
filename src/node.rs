//! A node: start, drain and exit code. What its parts need of each other is in `parts`.

mod demo;
mod given;
mod metrics;
mod parts;

pub use metrics::Metrics;

use crate::backplane::{Backplane, Link};
use crate::banner::banner;
use crate::clock::Clock;
use crate::config::Serve;
use crate::health::Health;
use crate::http::Context;
use crate::http::lobby::Porter;
use crate::telemetry::trace::Deliveries;
use given::{Given, StartError};
use parts::Started;
use prometheus::IntGauge;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

/// How long the banner waits for Redis to say what it is.
const INTRODUCTION: Duration = Duration::from_secs(2);
/// After the drain's window: for the last goodbyes.
const LAST_GOODBYES: Duration = Duration::from_secs(5);
/// For what was written to HTTP/2 streams.
const LAST_STREAMS: Duration = Duration::from_secs(1);
/// The drain's window in a terminal, of a node with channels in its own memory.
const TRIAL_DRAIN: Duration = Duration::from_secs(1);

/// A running node.
pub struct Node {
    context: Arc<Context>,
    health: Arc<Health>,
    porter: Arc<Porter>,
    listen: Vec<SocketAddr>,
    admin: SocketAddr,
    /// Told when the console wants the node to end.
    asked: Arc<Notify>,
    drain_end: IntGauge,
    /// Serves clients.
    runtime: Runtime,
}

/// Runs a node until it is told to end; the exit code of `fantail serve`.
pub fn run(settings: Serve, metrics: Metrics, deliveries: Option<Arc<Deliveries>>) -> ExitCode {
    let node = match Node::start(settings, metrics, deliveries) {
        Ok(node) => node,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "fantail: {error}");
            return ExitCode::FAILURE;
        }
    };
    let complete = node.runtime.block_on(node.serve_until_told());
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Node {
    /// Starts all parts. Redis need not be there yet.
    pub fn start(settings: Serve, metrics: Metrics, deliveries: Option<Arc<Deliveries>>) -> Result<Node, StartError> {
        let runtime = given::backplane_runtime()?;
        let backplane = given::backplane(&settings, &metrics.backplane, &runtime)?;
        let given = Given { backplane, runtime, metrics, deliveries, clock: Clock::default() };
        Node::start_parts(settings, given)
    }

    /// Starts all parts on a backplane and by a clock of the caller's, whatever the settings say of Redis.
    pub fn start_with(settings: Serve, backplane: Arc<dyn Backplane>, clock: Clock) -> Result<Node, StartError> {
        let (runtime, metrics) = (given::backplane_runtime()?, Metrics::new());
        Node::start_parts(settings, Given { backplane, runtime, metrics, deliveries: None, clock })
    }

    fn start_parts(settings: Serve, given: Given) -> Result<Node, StartError> {
        let Started { context, health, porter, listen, admin, asked, drain_end, runtime } =
            parts::start(settings, given)?;
        Ok(Node { context, health, porter, listen, admin, asked, drain_end, runtime })
    }

    /// Where clients connect, ports resolved.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Subscribers on couriers now.
    pub fn subscribers(&self) -> usize {
        self.context.courier_metrics.connections.get().max(0) as usize
    }

    /// Where operators connect, port resolved.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Says hello, waits for a signal, drains; whether every subscriber was ended in time.
    async fn serve_until_told(&self) -> bool {
        let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                error!(%error, "signals cannot be awaited");
                return false;
            }
        };
        let mut told = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = self.asked.notified() => {}
            }
        };
        tokio::select! {
            () = self.introduce() => told().await,
            () = told() => {}
        }
        let (delay, window) = self.patience();
        if std::io::stdout().is_terminal() {
            let subscribers = self.context.limits.taken();
            let wait = if subscribers > 0 { delay + window } else { delay };
            let text = format!("ending: {subscribers} subscribers within {wait:?}; Ctrl-C again ends at once");
            let _ = writeln!(std::io::stdout(), "{text}");
        }
        tokio::select! {
            complete = self.drain_within(delay, window) => complete,
            () = told() => self.hurry().await,
        }
    }

    /// How long the end may take: the delay and the window of the settings. Whoever tries a node in a terminal has nobody
    /// who would be spared by them.
    fn patience(&self) -> (Duration, Duration) {
        let settings = &self.context.settings;
        match settings.redis.is_none() && std::io::stdout().is_terminal() {
            true => (Duration::ZERO, settings.drain.min(TRIAL_DRAIN)),
            false => (settings.drain_delay, settings.drain),
        }
    }

    async fn introduce(&self) {
        let backplane = &self.context.hub.backplane;
        let mut link = backplane.link();
        let _ = timeout(INTRODUCTION, link.wait_for(|link| *link == Link::Up)).await;
        let facts = backplane.facts();
        let text = banner(&self.context.settings, &self.listen, self.admin, &facts.name, facts.follow);
        let _ = write!(std::io::stdout(), "{text}");
        let _ = std::io::stdout().flush();
        info!(
            listen = ?self.listen,
            admin = %self.admin,
            backplane = facts.name,
            follow = facts.follow,
            version = facts.version,
            connection_limit = self.context.limits.max(),
            "the node has started"
        );
    }

    /// Ends all subscribers as the settings say; whether all were ended in time.
    pub async fn drain(&self) -> bool {
        let settings = &self.context.settings;
        self.drain_within(settings.drain_delay, settings.drain).await
    }

    async fn drain_within(&self, delay: Duration, window: Duration) -> bool {
        self.health.start_draining();
        self.tell_drain_end(delay + window);
        // What is logged is so already: who asks after reading it is refused, unless a delay is told with it.
        if delay.is_zero() {
            self.close();
        }
        info!(subscribers = self.context.limits.taken(), ?delay, ?window, "draining");
        if !delay.is_zero() {
            sleep(delay).await;
            self.close();
        }
        self.context.couriers.drain(window);
        self.all_gone(window + LAST_GOODBYES).await
    }

    async fn hurry(&self) -> bool {
        self.health.start_draining();
        self.tell_drain_end(Duration::ZERO);
        self.close();
        info!(subscribers = self.context.limits.taken(), "hurrying: told twice to end");
        self.context.couriers.drain(Duration::ZERO);
        self.all_gone(LAST_GOODBYES).await
    }

    /// For alerts: a node that goes before this time with subscribers was cut short.
    fn tell_drain_end(&self, left: Duration) {
        let end = self.context.clock.since_epoch() + left;
        self.drain_end.set(end.as_secs() as i64);
    }

    fn close(&self) {
        self.context.closing.store(true, Ordering::Release);
        self.porter.close();
    }

    async fn all_gone(&self, limit: Duration) -> bool {
        let gone = async {
            while self.context.limits.taken() > 0 || self.context.couriers.load() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let complete = timeout(limit, gone).await.is_ok();
        // What couriers have put into HTTP/2 streams has still to go out.
        let sent = async {
            while self.context.metrics.http2_connections.get() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(LAST_STREAMS, sent).await;
        if complete {
            info!("drained: the node ends");
        } else {
            warn!(subscribers = self.context.limits.taken(), "not drained in time: the node ends");
        }
        complete
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.context.couriers.stop();
    }
}
