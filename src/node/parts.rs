//! The parts of a node and what they need of each other: all are made here, in the order in which they can be.

use super::demo;
use super::given::{Given, StartError};
use super::metrics::Metrics;
use crate::auth::{Auth, control};
use crate::backplane::Backplane;
use crate::clock::Clock;
use crate::config::{Serve, Switch};
use crate::cors::Cors;
use crate::courier::{CatchUp, Couriers, Ledger, Surroundings};
use crate::health::Health;
use crate::http::Context;
use crate::http::accept::bind;
use crate::http::admin::Admin;
use crate::http::admin::token::AdminToken;
use crate::http::client_address::Proxies;
use crate::http::console::{Actions, Console};
use crate::http::history::budget::Budget;
use crate::http::lobby::{self, Porter};
use crate::http::publish::{Allowed, Publisher};
use crate::http::reception::Reception;
use crate::http::tls::Tls;
use crate::hub::follower::{Follower, Request};
use crate::hub::{self, Hub, Idle, desk};
use crate::limits::{
    Caps, Limits, Presences, RESERVED_DESCRIPTORS, Rate, connection_limit, make_room_for_files, raise_descriptor_limit,
    spare_connections,
};
use crate::pace;
use crate::roster::{Entrance, Roster, Sources};
use crate::telemetry::Seldom;
use crate::telemetry::trace::Deliveries;
use prometheus::IntGauge;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc};
use tracing::warn;

const TIDY_EVERY: Duration = Duration::from_secs(1);
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// What of a started node is needed until its end.
pub struct Started {
    pub context: Arc<Context>,
    pub health: Arc<Health>,
    pub porter: Arc<Porter>,
    pub listen: Vec<SocketAddr>,
    pub admin: SocketAddr,
    /// Told when the console wants the node to end.
    pub asked: Arc<Notify>,
    pub drain_end: IntGauge,
    /// Serves clients.
    pub runtime: Runtime,
}

/// What all other parts stand on.
struct Ground {
    settings: Serve,
    backplane: Arc<dyn Backplane>,
    metrics: Metrics,
    clock: Clock,
    limits: Arc<Limits>,
    health: Arc<Health>,
    cors: Arc<Cors>,
    auth: Arc<Auth>,
    started: Instant,
}

/// The way of events, from the backplane to sockets.
struct Delivery {
    hub: Arc<Hub>,
    couriers: Couriers,
    /// What the follower is asked.
    requests: mpsc::UnboundedReceiver<Request>,
    /// What the desk is asked.
    at_desk: mpsc::UnboundedReceiver<CatchUp>,
}

/// Starts all parts.
pub fn start(settings: Serve, given: Given) -> Result<Started, StartError> {
    if settings.replay_limit.is_some() {
        warn!("--replay-limit has no effect any more: history is paced by --replay-rate, and never cut short");
    }
    let Given { backplane, runtime: backplane_runtime, metrics, deliveries, clock } = given;
    let runtime = Builder::new_multi_thread().thread_name("control").enable_all().build()?;
    let ground = Ground::new(settings, backplane, metrics, clock, runtime.handle())?;
    let delivery = Delivery::start(&ground, deliveries)?;
    let roster = Roster::new(ground.sources(&delivery.hub), ground.clock.clone());
    let asked = Arc::new(Notify::new());
    let context = ground.context(&delivery, &roster);

    let admin_listener = std::net::TcpListener::bind(ground.settings.admin_listen)
        .map_err(|error| StartError::AdminListen(ground.settings.admin_listen, error))?;
    let admin = admin_listener.local_addr()?;
    let (listen, porter) = listen(&ground.settings, &context, &runtime)?;
    ground.admin(&delivery.hub, &roster, &asked)?.start(admin_listener)?;

    runtime.spawn(roster.run(entrance(&ground.settings, &listen)));
    ground.run(delivery, &runtime, backplane_runtime)?;
    let (health, drain_end) = (ground.health, ground.metrics.drain_end);
    Ok(Started { context, health, porter, listen, admin, asked, drain_end, runtime })
}

impl Ground {
    fn new(
        settings: Serve,
        backplane: Arc<dyn Backplane>,
        metrics: Metrics,
        clock: Clock,
        runtime: &Handle,
    ) -> Result<Ground, StartError> {
        let limits = Arc::new(limits(&settings, &metrics));
        let health = Health::new(settings.unready_after);
        let cors = Arc::new(Cors::new(&settings.cors_origin));
        let auth = Auth::start(&settings.auth, cors.clone(), metrics.auth.clone(), &clock, runtime);
        let auth = auth.map_err(StartError::Auth)?;
        health.depend_on(auth.clone());
        Ok(Ground { settings, backplane, metrics, clock, limits, health, cors, auth, started: Instant::now() })
    }

    fn sources(&self, hub: &Arc<Hub>) -> Sources {
        Sources {
            hub: hub.clone(),
            limits: self.limits.clone(),
            couriers: self.metrics.couriers.clone(),
            backplane: self.metrics.backplane.clone(),
            refused: self.metrics.http.connections_refused.family().clone(),
            health: self.health.clone(),
            tail_bytes_limit: self.settings.tail_bytes,
            started: self.started,
        }
    }

    /// A publisher for those whom `auth` knows, with rates of an address and of a subject.
    fn publisher(&self, auth: Arc<Auth>, roster: &Arc<Roster>, address_rate: u32, subject_rate: u32) -> Publisher {
        let allowed = Allowed { event_bytes: self.settings.max_event_bytes, address_rate, subject_rate };
        Publisher::new(self.backplane.clone(), self.cors.clone(), auth, allowed).with(roster.clone())
    }

    fn context(&self, delivery: &Delivery, roster: &Arc<Roster>) -> Arc<Context> {
        let settings = self.settings.clone();
        let (rate, subject_rate) = (settings.publish_rate, settings.auth.publish_rate_per_subject);
        Arc::new(Context {
            hub: delivery.hub.clone(),
            couriers: delivery.couriers.clone(),
            limits: self.limits.clone(),
            presences: Presences::new(settings.max_connections_per_address),
            metrics: self.metrics.http.clone(),
            courier_metrics: self.metrics.couriers.clone(),
            cors: self.cors.clone(),
            auth: self.auth.clone(),
            proxies: Proxies::new(settings.trusted_proxies.clone(), settings.auth.forwarded_header),
            subscribe_rate: Rate::new(settings.auth.subscribe_rate),
            subject_rate: Rate::new(settings.auth.subscribe_rate_per_subject),
            publisher: settings.may_publish().then(|| self.publisher(self.auth.clone(), roster, rate, subject_rate)),
            history: Budget::new(self.metrics.http.history_bytes.clone()),
            closing: AtomicBool::new(false),
            clock: self.clock.clone(),
            seldom: Seldom::new(LOG_PERIOD),
            tickets: AtomicU64::new(1),
            settings,
        })
    }

    /// The operators' listener. Who reaches it may do all that it offers.
    fn admin(&self, hub: &Arc<Hub>, roster: &Arc<Roster>, asked: &Arc<Notify>) -> Result<Admin, StartError> {
        let settings = self.settings.clone();
        let actions = settings.admin_actions.then(|| {
            let publisher = self.publisher(Auth::nobody(self.metrics.auth.clone()), roster, 0, 0);
            Actions { publisher, drain: asked.clone() }
        });
        let history = Budget::new(self.metrics.http.history_bytes.clone());
        let contents = settings.admin_contents == Switch::On;
        let token = settings.admin_token_file.as_deref().map(AdminToken::new).transpose();
        Ok(Admin {
            hub: hub.clone(),
            limits: self.limits.clone(),
            registry: self.metrics.registry.clone(),
            metrics: self.metrics.http.clone(),
            couriers: self.metrics.couriers.clone(),
            auth: self.metrics.auth.clone(),
            health: self.health.clone(),
            started: self.started,
            console: Console::new(hub.clone(), roster.clone(), contents, actions, history),
            token: token.map_err(StartError::Auth)?,
            settings,
        })
    }

    /// Starts what follows others for as long as the node lives.
    fn run(&self, delivery: Delivery, runtime: &Runtime, backplane_runtime: Runtime) -> Result<(), StartError> {
        let Delivery { hub, couriers, requests, at_desk } = delivery;
        let tell = couriers.clone();
        let tell = move |order| tell.disconnect(&order);
        let (backplane, revocations) = (self.backplane.clone(), self.auth.revocations.clone());
        runtime.spawn(control::follow(backplane.clone(), revocations, self.metrics.auth.clone(), tell));
        runtime.spawn(desk::run(hub.clone(), couriers, at_desk));
        runtime.spawn(tidy(hub.clone()));
        if self.settings.demo {
            runtime.spawn(demo::run(backplane.clone()));
        }
        let away = self.settings.retry.to + self.settings.drain_delay + self.settings.drain;
        let follower = Follower::new(hub, self.clock.clone(), away);
        let watching = self.health.clone().watch(backplane, self.metrics.backplane.clone(), self.clock.clone());
        std::thread::Builder::new().name("follower".into()).spawn(move || {
            backplane_runtime.block_on(async move {
                tokio::join!(follower.run(requests), watching);
            });
        })?;
        Ok(())
    }
}

impl Delivery {
    fn start(ground: &Ground, deliveries: Option<Arc<Deliveries>>) -> Result<Delivery, StartError> {
        let (settings, metrics) = (&ground.settings, &ground.metrics);
        let idle = Arc::new(Idle::default());
        let idlers = Couriers::prepare(courier_count(settings.couriers))?;
        let (to_follower, requests) = mpsc::unbounded_channel();
        let (to_desk, at_desk) = mpsc::unbounded_channel();
        let hub = Arc::new(Hub::new(
            hub::Settings {
                tail_bytes: settings.tail_bytes,
                replay_rate: settings.replay_rate,
                replay_bytes: settings.replay_bytes,
                max_channel_subscribers: settings.max_channel_subscribers,
                deliveries,
            },
            ground.backplane.clone(),
            idlers.couriers().posts(),
            to_follower,
            metrics.hub.clone(),
            idle.clone(),
        ));
        let couriers = idlers.start(Surroundings {
            expiring: settings.auth.token_expiring,
            revocations: ground.auth.revocations.clone(),
            heartbeat: settings.heartbeat,
            stall_timeout: settings.stall_timeout,
            idle_timeout: settings.idle_timeout,
            retry: settings.retry,
            metrics: metrics.couriers.clone(),
            limits: ground.limits.clone(),
            idle,
            desk: to_desk,
            leftovers: Ledger::new(settings.leftover_bytes, metrics.couriers.leftover_bytes.clone()),
            clock: ground.clock.clone(),
        })?;
        Ok(Delivery { hub, couriers, requests, at_desk })
    }
}

/// Limits of subscribers, with room made for their descriptors.
fn limits(settings: &Serve, metrics: &Metrics) -> Limits {
    let descriptors = raise_descriptor_limit();
    let connections = connection_limit(settings.max_connections, descriptors);
    make_room_for_files(descriptors.min(connections as u64 + RESERVED_DESCRIPTORS));
    let of_address =
        Caps { connections: settings.max_connections_per_address, channels: settings.auth.max_channels_per_address };
    let of_subject = Caps {
        connections: settings.auth.max_connections_per_subject,
        channels: settings.auth.max_channels_per_subject,
    };
    Limits::new(connections, of_address, of_subject, &metrics.connection_limit)
        .with_spare(spare_connections(descriptors))
}

/// How clients come in: by the URL that is given for them, else by the first address that the node listens on.
fn entrance(settings: &Serve, listen: &[SocketAddr]) -> Entrance {
    let first = listen.first().copied().unwrap_or(settings.listen[0]);
    let scheme = if settings.transport.tls().is_some() { "https" } else { "http" };
    let address = settings.transport.public_url.clone().unwrap_or_else(|| format!("{scheme}://{first}"));
    Entrance { port: first.port(), address, auth: settings.auth.mode.name().into() }
}

fn courier_count(asked: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if asked == 0 { cores.min(hub::feed::MAX_COURIERS) } else { asked }
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
