//! A node: wiring, start, drain and exit code.

mod demo;

use crate::auth::{Auth, control};
use crate::backplane::{Backplane, memory, redis};
use crate::banner::banner;
use crate::clock::Clock;
use crate::config::{Serve, Switch};
use crate::cors::Cors;
use crate::courier::{Couriers, Ledger, Surroundings};
use crate::health::Health;
use crate::http::Context;
use crate::http::accept::{Reception, bind};
use crate::http::admin::Admin;
use crate::http::admin::token::AdminToken;
use crate::http::client_address::Proxies;
use crate::http::console::{Actions, Console};
use crate::http::history::budget::Budget;
use crate::http::lobby::{self, Porter};
use crate::http::publish::{Allowed, Publisher};
use crate::http::tls::Tls;
use crate::http::tls::certificate::CertificateError;
use crate::hub::follower::Follower;
use crate::hub::{self, Hub, Idle, desk};
use crate::limits::{
    Caps, Limits, Presences, RESERVED_DESCRIPTORS, Rate, connection_limit, make_room_for_files, raise_descriptor_limit,
    spare_connections,
};
use crate::metrics::Metrics;
use crate::pace;
use crate::roster::{Entrance, Roster, Sources};
use crate::telemetry::Seldom;
use crate::telemetry::trace::Deliveries;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
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
const TIDY_EVERY: Duration = Duration::from_secs(1);
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("--listen {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    #[error("--admin-listen {0}: {1}")]
    AdminListen(SocketAddr, std::io::Error),
    #[error("--redis: {0}")]
    Redis(String),
    /// Names the setting.
    #[error("{0}")]
    Auth(String),
    #[error("--tls-cert, --tls-key: {0}")]
    Tls(#[from] CertificateError),
    #[error("the node does not start: {0}")]
    System(#[from] std::io::Error),
}

/// How clients come in: by the URL that is given for them, else by the first address that the node listens on.
fn entrance(settings: &Serve, listen: &[SocketAddr]) -> Entrance {
    let first = listen.first().copied().unwrap_or(settings.listen[0]);
    let scheme = if settings.transport.tls().is_some() { "https" } else { "http" };
    let address = settings.transport.public_url.clone().unwrap_or_else(|| format!("{scheme}://{first}"));
    Entrance { port: first.port(), address, auth: settings.auth.mode.name().into() }
}

/// A running node.
pub struct Node {
    context: Arc<Context>,
    health: Arc<Health>,
    porter: Arc<Porter>,
    listen: Vec<SocketAddr>,
    admin: SocketAddr,
    /// Told when the console wants the node to end.
    asked: Arc<Notify>,
    /// Serves clients.
    runtime: Runtime,
}

/// What the parts of a node are given from outside.
struct Given {
    backplane: Arc<dyn Backplane>,
    /// Runs the backplane and the follower.
    runtime: Runtime,
    metrics: Arc<Metrics>,
    deliveries: Option<Arc<Deliveries>>,
    clock: Clock,
}

/// Runs a node until it is told to end; the exit code of `fantail serve`.
pub fn run(settings: Serve, metrics: Arc<Metrics>, deliveries: Option<Arc<Deliveries>>) -> ExitCode {
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
    pub fn start(
        settings: Serve,
        metrics: Arc<Metrics>,
        deliveries: Option<Arc<Deliveries>>,
    ) -> Result<Node, StartError> {
        let runtime = backplane_runtime()?;
        let backplane = backplane(&settings, &metrics, &runtime)?;
        let given = Given { backplane, runtime, metrics, deliveries, clock: Clock::default() };
        Node::start_parts(settings, given)
    }

    /// Starts all parts on a backplane and by a clock of the caller's, whatever the settings say of Redis.
    pub fn start_with(settings: Serve, backplane: Arc<dyn Backplane>, clock: Clock) -> Result<Node, StartError> {
        let (runtime, metrics) = (backplane_runtime()?, Metrics::new());
        Node::start_parts(settings, Given { backplane, runtime, metrics, deliveries: None, clock })
    }

    fn start_parts(settings: Serve, given: Given) -> Result<Node, StartError> {
        let Given { backplane, runtime: backplane_runtime, metrics, deliveries, clock } = given;
        if settings.replay_limit.is_some() {
            warn!("--replay-limit has no effect any more: history is paced by --replay-rate, and never cut short");
        }
        let descriptors = raise_descriptor_limit();
        let connections = connection_limit(settings.max_connections, descriptors);
        make_room_for_files(descriptors.min(connections as u64 + RESERVED_DESCRIPTORS));
        let limits = Limits::new(
            connections,
            Caps {
                connections: settings.max_connections_per_address,
                channels: settings.auth.max_channels_per_address,
            },
            Caps {
                connections: settings.auth.max_connections_per_subject,
                channels: settings.auth.max_channels_per_subject,
            },
            &metrics,
        );
        let limits = Arc::new(limits.with_spare(spare_connections(descriptors)));
        let health = Health::new(settings.unready_after);
        let cors = Arc::new(Cors::new(&settings.cors_origin));

        let runtime = Builder::new_multi_thread().thread_name("control").enable_all().build()?;
        let auth = Auth::start(&settings.auth, cors.clone(), metrics.clone(), &clock, runtime.handle());
        let auth = auth.map_err(StartError::Auth)?;
        health.depend_on(auth.clone());

        let idle = Arc::new(Idle::default());
        let idlers = Couriers::prepare(courier_count(settings.couriers))?;
        let (requests, follower_requests) = mpsc::unbounded_channel();
        let (to_desk, at_desk) = mpsc::unbounded_channel();
        let hub = Arc::new(Hub::new(
            hub::Settings {
                tail_bytes: settings.tail_bytes,
                replay_rate: settings.replay_rate,
                replay_bytes: settings.replay_bytes,
                max_channel_subscribers: settings.max_channel_subscribers,
                deliveries,
            },
            backplane.clone(),
            idlers.couriers().posts(),
            requests,
            metrics.clone(),
            idle.clone(),
        ));
        let couriers = idlers.start(Surroundings {
            expiring: settings.auth.token_expiring,
            revocations: auth.revocations.clone(),
            heartbeat: settings.heartbeat,
            stall_timeout: settings.stall_timeout,
            idle_timeout: settings.idle_timeout,
            retry: settings.retry,
            metrics: metrics.clone(),
            limits: limits.clone(),
            idle,
            desk: to_desk,
            leftovers: Ledger::new(settings.leftover_bytes, metrics.leftover_bytes.clone()),
            clock: clock.clone(),
        })?;

        let started = Instant::now();
        let sources = Sources {
            hub: hub.clone(),
            limits: limits.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            tail_bytes_limit: settings.tail_bytes,
            started,
        };
        let roster = Roster::new(sources, clock.clone());
        let new_publisher = |auth: Arc<Auth>, address_rate, subject_rate| {
            let allowed = Allowed { event_bytes: settings.max_event_bytes, address_rate, subject_rate };
            Publisher::new(backplane.clone(), cors.clone(), auth, allowed).with(roster.clone())
        };
        let (rate, subject_rate) = (settings.publish_rate, settings.auth.publish_rate_per_subject);
        let publisher = settings.may_publish().then(|| new_publisher(auth.clone(), rate, subject_rate));
        let asked = Arc::new(Notify::new());
        let actions = settings.admin_actions.then(|| {
            // Who reaches the operators' listener may do all that it offers.
            Actions { publisher: new_publisher(Auth::nobody(metrics.clone()), 0, 0), drain: asked.clone() }
        });
        let context = Arc::new(Context {
            settings: settings.clone(),
            hub: hub.clone(),
            couriers: couriers.clone(),
            limits: limits.clone(),
            presences: Presences::new(settings.max_connections_per_address),
            metrics: metrics.clone(),
            cors: cors.clone(),
            auth: auth.clone(),
            proxies: Proxies::new(settings.trusted_proxies.clone(), settings.auth.forwarded_header),
            subscribe_rate: Rate::new(settings.auth.subscribe_rate),
            subject_rate: Rate::new(settings.auth.subscribe_rate_per_subject),
            publisher,
            history: Budget::new(metrics.history_bytes.clone()),
            closing: AtomicBool::new(false),
            clock: clock.clone(),
            seldom: Seldom::new(LOG_PERIOD),
            tickets: AtomicU64::new(1),
        });

        let admin_listener = std::net::TcpListener::bind(settings.admin_listen)
            .map_err(|error| StartError::AdminListen(settings.admin_listen, error))?;
        let admin = admin_listener.local_addr()?;
        let (listen, porter) = listen(&settings, &context, &runtime)?;
        let console = Console::new(hub.clone(), roster.clone(), settings.admin_contents == Switch::On, actions);
        let token = settings.admin_token_file.as_deref().map(AdminToken::new).transpose();
        let about = Admin {
            settings,
            hub: hub.clone(),
            limits,
            metrics: metrics.clone(),
            health: health.clone(),
            started,
            console,
            token: token.map_err(StartError::Auth)?,
        };
        about.start(admin_listener)?;

        let tell = couriers.clone();
        let tell = move |order| tell.disconnect(&order);
        runtime.spawn(control::follow(backplane.clone(), auth.revocations.clone(), metrics.clone(), tell));
        runtime.spawn(desk::run(hub.clone(), couriers, at_desk));
        runtime.spawn(roster.run(entrance(&context.settings, &listen)));
        runtime.spawn(tidy(hub.clone()));
        if context.settings.demo {
            runtime.spawn(demo::run(backplane.clone()));
        }
        let away = context.settings.retry.to + context.settings.drain_delay + context.settings.drain;
        let follower = Follower::new(hub, clock.clone(), away);
        let watching = health.clone().watch(backplane, metrics, clock);
        std::thread::Builder::new().name("follower".into()).spawn(move || {
            backplane_runtime.block_on(async move {
                tokio::join!(follower.run(follower_requests), watching);
            });
        })?;
        Ok(Node { context, health, porter, listen, admin, asked, runtime })
    }

    /// Where clients connect, ports resolved.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Subscribers on couriers now.
    pub fn subscribers(&self) -> usize {
        self.context.metrics.connections.get().max(0) as usize
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
        let _ = timeout(INTRODUCTION, link.wait_for(|link| *link == crate::backplane::Link::Up)).await;
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
        self.context.metrics.drain_end.set(end.as_secs() as i64);
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

fn courier_count(asked: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if asked == 0 { cores.min(hub::feed::MAX_COURIERS) } else { asked }
}

/// Redis has a thread of its own: an accept storm must not delay what it pushes.
fn backplane_runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn backplane(settings: &Serve, metrics: &Arc<Metrics>, runtime: &Runtime) -> Result<Arc<dyn Backplane>, StartError> {
    let Some(url) = &settings.redis else {
        let bounds = memory::Settings {
            maxlen: settings.publish_maxlen,
            max_entry_bytes: settings.max_entry_bytes,
            ..memory::Settings::default()
        };
        return Ok(memory::Memory::new(bounds));
    };
    let (metrics, refused) = (metrics.clone(), metrics.backplane_refused.clone());
    let redis = redis::Settings {
        key_prefix: settings.key_prefix.clone(),
        follow: settings.follow,
        publish_maxlen: settings.publish_maxlen,
        max_entry_bytes: settings.max_entry_bytes,
        observe: Arc::new(move |command, took, ok| {
            metrics.backplane_commands.with_label_values(&[command]).observe(took.as_secs_f64());
            if !ok {
                metrics.backplane_errors.inc();
            }
        }),
        refused: Arc::new(move |code| refused.with_label_values(&[code]).inc()),
        ..settings.redis_access.settings(url)
    };
    let redis = redis::Redis::start(redis, runtime.handle()).map_err(|error| StartError::Redis(error.to_string()))?;
    Ok(redis)
}

/// Binds all addresses and opens the lobby.
fn listen(
    settings: &Serve,
    context: &Arc<Context>,
    runtime: &Runtime,
) -> Result<(Vec<SocketAddr>, Arc<Porter>), StartError> {
    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    for address in &settings.listen {
        let listener = bind(*address, settings.stall_timeout, settings.heartbeat)
            .map_err(|error| StartError::Listen(*address, error))?;
        bound.push(listener.local_addr()?);
        listeners.push(listener);
    }
    let tls = settings.transport.tls().map(|(cert, key)| Tls::new(cert, key)).transpose()?;
    if let Some(tls) = &tls {
        runtime.spawn(tls.certificate.clone().follow(context.metrics.clone(), context.clock.clone()));
    }
    let (handle, reception) = (runtime.handle().clone(), Reception::new(context.clone(), tls));
    let porter = lobby::open(listeners, context.clone(), move |caller| reception.enter(&handle, caller))?;
    Ok((bound, porter))
}

/// Keeps the hub's feeds and tails within their bounds.
async fn tidy(hub: Arc<Hub>) {
    let mut every = pace::in_step(TIDY_EVERY);
    loop {
        every.tick().await;
        hub.tidy();
    }
}
