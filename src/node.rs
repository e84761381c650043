//! A node: start, drain and exit code. What its parts need of each other is in `parts`.

mod coalescing;
mod demo;
mod drain;
mod given;
mod metrics;
mod parts;
#[cfg(feature = "testing")]
pub mod simulated;

pub use metrics::Metrics;

use crate::backplane::{Awaited, Link};
use crate::banner::banner;
use crate::config::Serve;
use crate::http::Context;
use crate::outside::Outside;
use crate::telemetry::trace::Deliveries;
use drain::Drain;
use given::{Given, StartError};
use parts::Started;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{error, info};

/// How long the banner waits for Redis to say what it is.
const INTRODUCTION: Duration = Duration::from_secs(2);
/// The drain's window in a terminal, of a node with channels in its own memory.
const TRIAL_DRAIN: Duration = Duration::from_secs(1);

/// A running node.
pub struct Node {
    settings: Serve,
    context: Arc<Context>,
    ending: Drain,
    listen: Vec<SocketAddr>,
    admin: SocketAddr,
    /// Told when the console wants the node to end.
    asked: Arc<Notify>,
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

/// The backplane and the follower have a thread of their own: an accept storm must not delay what Redis pushes. In the node's own
/// memory there is nothing to gather: a read there costs no way to a server.
fn backplane_runtime(settings: &Serve, awaited: Awaited, metrics: &Metrics) -> std::io::Result<Runtime> {
    let pause = if settings.redis.is_some() { settings.coalesce } else { Duration::ZERO };
    coalescing::runtime(pause, awaited, metrics.hub.follower_pauses.clone())
}

impl Node {
    /// Starts all parts. Redis need not be there yet.
    pub fn start(settings: Serve, metrics: Metrics, deliveries: Option<Arc<Deliveries>>) -> Result<Node, StartError> {
        let (awaited, outside) = (Awaited::default(), Outside::default());
        let runtime = backplane_runtime(&settings, awaited.clone(), &metrics)?;
        let backplane = given::backplane(&settings, &metrics.backplane, &runtime, awaited, &outside)?;
        let given = Given { backplane, runtime, metrics, deliveries, outside };
        Node::start_parts(settings, given)
    }

    /// Starts all parts on a backplane, by a clock and by chance of the caller's, whatever the settings say of Redis.
    #[cfg(feature = "testing")]
    pub fn start_with(
        settings: Serve,
        backplane: Arc<dyn crate::backplane::Backplane>,
        outside: Outside,
    ) -> Result<Node, StartError> {
        let metrics = Metrics::new();
        let runtime = backplane_runtime(&settings, Awaited::default(), &metrics)?;
        Node::start_parts(settings, Given { backplane, runtime, metrics, deliveries: None, outside })
    }

    fn start_parts(settings: Serve, given: Given) -> Result<Node, StartError> {
        let Started { settings, context, health, acceptor, listen, admin, asked, drain_end, runtime } =
            parts::start(settings, given)?;
        let (kept, close_doors) = (context.clone(), Box::new(move || acceptor.close()));
        let ending = Drain { context: kept, health, close_doors, drain_end };
        Ok(Node { settings, context, ending, listen, admin, asked, runtime })
    }

    /// Where clients connect, ports resolved.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Subscribers on couriers now.
    #[cfg(feature = "testing")]
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
            complete = self.ending.drain_within(delay, window) => complete,
            () = told() => self.ending.hurry().await,
        }
    }

    /// How long the end may take: the delay and the window of the settings. Whoever tries a node in a terminal has nobody
    /// who would be spared by them.
    fn patience(&self) -> (Duration, Duration) {
        let settings = &self.settings;
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
        let text = banner(&self.settings, &self.listen, self.admin, &facts.name, facts.follow);
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
        let settings = &self.settings;
        self.ending.drain_within(settings.drain_delay, settings.drain).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.context.couriers.stop();
    }
}
