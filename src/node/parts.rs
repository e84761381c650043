//! The parts of a node and what they need of each other: all are made here, in the order in which they can be.

use super::demo;
use super::given::{Given, StartError};
use super::metrics::Metrics;
use crate::auth::control::{Memory, Told};
use crate::auth::revocation::Target;
use crate::auth::{Auth, control, sessions};
use crate::backplane::Backplane;
use crate::clock::Clock;
use crate::config::{Serve, Switch};
use crate::cors::Cors;
use crate::courier::{CatchUp, CourierDeps, Couriers, InUse, JoinAsk, Ledger, channel_joins, history_queue};
use crate::health::Health;
use crate::http::accept::bind;
use crate::http::acceptor::{self, AcceptorHandle};
use crate::http::admin::token::AdminToken;
use crate::http::admin::{self, Admin};
use crate::http::client_address::Proxies;
use crate::http::console::{self, Actions, Console, SubscriberId};
use crate::http::history::budget::Budget;
use crate::http::intake::Intake;
use crate::http::publish::{Allowed, Publisher};
use crate::http::tls::Tls;
use crate::http::tls::tickets::TicketKeys;
use crate::http::turned_away::TurnedAway;
use crate::http::{self, Context};
use crate::hub::follow_request::FollowRequest;
use crate::hub::follower::Follower;
use crate::hub::{self, Hub, Idle};
use crate::limits::{
    Caps, Limits, Presences, RESERVED_DESCRIPTORS, Rate, connection_limit, make_room_for_files, raise_descriptor_limit,
    spare_connections,
};
use crate::outside::Outside;
use crate::pace;
use crate::publication::Bounds;
use crate::roster::{Entrance, Roster, Sources};
use crate::telemetry::LogThrottle;
use crate::telemetry::trace::Deliveries;
use prometheus::IntGauge;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tracing::warn;

const TIDY_EVERY: Duration = Duration::from_secs(1);
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// What of a started node is needed until its end.
pub struct Started {
    pub settings: Serve,
    pub context: Arc<Context>,
    pub health: Arc<Health>,
    pub acceptor: Arc<AcceptorHandle>,
    pub listen: Vec<SocketAddr>,
    pub admin: SocketAddr,
    /// Told when the console wants the node to end.
    pub asked: Arc<Notify>,
    pub drain_end: IntGauge,
    /// Serves clients.
    pub runtime: Runtime,
}

/// What all other parts stand on.
pub struct Ground {
    pub settings: Serve,
    backplane: Arc<dyn Backplane>,
    pub metrics: Metrics,
    pub outside: Outside,
    limits: Arc<Limits>,
    pub health: Arc<Health>,
    cors: Arc<Cors>,
    auth: Arc<Auth>,
    started: Instant,
}

/// The way of events, from the backplane to sockets.
pub struct Delivery {
    pub hub: Arc<Hub>,
    pub couriers: Couriers,
    /// What couriers are started with.
    pub deps: CourierDeps,
    /// What the follower is asked.
    requests: mpsc::UnboundedReceiver<FollowRequest>,
    /// What legs behind the tail ask for.
    catch_ups: mpsc::UnboundedReceiver<CatchUp>,
    /// What streams ask for that join channels.
    joins: mpsc::UnboundedReceiver<JoinAsk>,
}

/// Starts all parts.
pub fn start(settings: Serve, given: Given) -> Result<Started, StartError> {
    settings.without_effect().into_iter().for_each(|line| warn!("{line}"));
    let Given { backplane, runtime: backplane_runtime, metrics, deliveries, outside } = given;
    let runtime = Builder::new_multi_thread().thread_name("control").enable_all().build()?;
    let ground = Ground::new(settings, backplane, metrics, outside, runtime.handle())?;
    let couriers = Couriers::prepare(courier_count(ground.settings.couriers))?;
    let delivery = Delivery::new(&ground, couriers.couriers(), deliveries);
    couriers.start(delivery.deps.clone())?;
    let roster = Roster::new(ground.sources(&delivery.hub), &ground.outside);
    let asked = Arc::new(Notify::new());
    let context = ground.context(&delivery, &roster);

    let admin_listener = std::net::TcpListener::bind(ground.settings.admin_listen)
        .map_err(|error| StartError::AdminListen(ground.settings.admin_listen, error))?;
    let admin = admin_listener.local_addr()?;
    let (listen, acceptor) = listen(&ground.settings, &context, &runtime)?;
    ground.admin(&delivery, &roster, &asked)?.start(admin_listener)?;

    let works = ground.works(delivery, &roster);
    runtime.spawn(roster.run(entrance(&ground.settings, &listen)));
    works.control.into_iter().for_each(|work| drop(runtime.spawn(work)));
    // A task: what is waited for by `block_on` itself costs a look at the sockets each time that a task wakes it.
    let following = backplane_runtime.spawn(works.following);
    std::thread::Builder::new().name("follower".into()).spawn(move || backplane_runtime.block_on(following))?;
    let Ground { settings, health, metrics: Metrics { drain_end, .. }, .. } = ground;
    Ok(Started { settings, context, health, acceptor, listen, admin, asked, drain_end, runtime })
}

/// What goes on for as long as the node lives.
pub struct Works {
    /// Beside the clients.
    pub control: Vec<Work>,
    /// Follows the backplane.
    pub following: Work,
}

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Ground {
    /// Everything that stands on nothing else. `runtime` watches the files of keys.
    pub fn new(
        settings: Serve,
        backplane: Arc<dyn Backplane>,
        metrics: Metrics,
        outside: Outside,
        runtime: &Handle,
    ) -> Result<Ground, StartError> {
        let limits = Arc::new(limits(&settings, &metrics));
        let health = Health::new(settings.unready_after);
        let cors = Arc::new(Cors::new(&settings.cors_origin));
        let auth = Auth::start(&settings.auth, cors.clone(), metrics.auth.clone(), &outside, runtime)?;
        health.depend_on(auth.clone());
        Ok(Ground { settings, backplane, metrics, outside, limits, health, cors, auth, started: Instant::now() })
    }

    pub fn sources(&self, hub: &Arc<Hub>) -> Sources {
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
        let bounds = Bounds { maxlen: self.settings.publish_maxlen, ttl: self.settings.publish_ttl };
        let allowed = Allowed { event_bytes: self.settings.max_event_bytes, address_rate, subject_rate, bounds };
        Publisher::new(self.backplane.clone(), self.cors.clone(), auth, allowed).with(roster.clone())
    }

    pub fn context(&self, delivery: &Delivery, roster: &Arc<Roster>) -> Arc<Context> {
        let settings = &self.settings;
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
            turned_away: TurnedAway::new(self.limits.spare(), self.metrics.http.turned_away.clone()),
            closing: AtomicBool::new(false),
            clock: self.outside.clock.clone(),
            random: self.outside.random.clone(),
            log_throttle: LogThrottle::new(LOG_PERIOD),
            query_room: http::query_room(),
            wanted: InUse::default(),
            tickets: AtomicU64::new(1),
            settings: serving(settings),
        })
    }

    /// The operators' listener. Who reaches it may do all that it offers.
    fn admin(&self, delivery: &Delivery, roster: &Arc<Roster>, asked: &Arc<Notify>) -> Result<Admin, StartError> {
        let (settings, hub) = (&self.settings, &delivery.hub);
        let actions = settings.admin_actions.then(|| {
            let publisher = self.publisher(Auth::nobody(self.metrics.auth.clone(), &self.outside.clock), roster, 0, 0);
            Actions { publisher, drain: asked.clone() }
        });
        let sources = console::Sources {
            hub: hub.clone(),
            roster: roster.clone(),
            couriers: delivery.couriers.clone(),
            metrics: self.metrics.http.clone(),
        };
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
            console: Console::new(sources, contents, actions),
            token: token?,
            settings: admin::Settings {
                hosts: settings.admin_host.clone(),
                tail_bytes_limit: settings.tail_bytes,
                publish_over_http: settings.may_publish(),
                auth_mode: settings.auth.mode.name(),
            },
        })
    }

    /// What follows others for as long as the node lives.
    pub fn works(&self, delivery: Delivery, roster: &Roster) -> Works {
        let Delivery { hub, couriers, requests, catch_ups, joins, .. } = delivery;
        let (tell, extending) = (couriers.clone(), couriers.clone());
        let node = roster.id().to_owned();
        let tell = move |told| match told {
            Told::Disconnect(order) if order.target == Target::Subscriber => {
                let own = order.name.parse::<SubscriberId>().ok().filter(|id| id.node == node);
                own.into_iter().for_each(|id| tell.end(id.name));
            }
            Told::Disconnect(order) => tell.disconnect(&order),
            Told::Change(order) => tell.change(&order),
        };
        let memory = Memory { revocations: self.auth.revocations.clone(), changes: self.auth.changes.clone() };
        let backplane = self.backplane.clone();
        let mut control: Vec<Work> = vec![
            Box::pin(control::follow(backplane.clone(), memory, self.metrics.auth.clone(), tell)),
            Box::pin(channel_joins::run(hub.clone(), couriers.clone(), joins)),
            Box::pin(history_queue::run(hub.clone(), couriers, catch_ups)),
            Box::pin(tidy(hub.clone(), self.outside.clock.clone())),
        ];
        if self.settings.auth.token_cookie.is_some() {
            let extend = move |renewal| extending.extend(&renewal);
            control.push(Box::pin(sessions::follow(backplane.clone(), self.outside.clock.clone(), extend)));
        }
        if self.settings.demo {
            control.push(Box::pin(demo::run(backplane.clone())));
        }
        let away = self.settings.retry.to + self.settings.drain_delay + self.settings.drain;
        let follower = Follower::new(hub, self.outside.clock.clone(), away);
        let watching = self.health.clone().watch(backplane, self.metrics.backplane.clone(), self.outside.clock.clone());
        let following = async move {
            tokio::join!(follower.run(requests), watching);
        };
        Works { control, following: Box::pin(following) }
    }
}

impl Delivery {
    /// A hub with its couriers, which need not have started.
    pub fn new(ground: &Ground, couriers: &Couriers, deliveries: Option<Arc<Deliveries>>) -> Delivery {
        let (settings, metrics) = (&ground.settings, &ground.metrics);
        let idle = Arc::new(Idle::default());
        let (to_follower, requests) = mpsc::unbounded_channel();
        let (to_queue, catch_ups) = mpsc::unbounded_channel();
        let (to_joins, joins) = mpsc::unbounded_channel();
        let hub = Arc::new(Hub::new(
            hub::Settings {
                tail_bytes: settings.tail_bytes,
                replay_rate: settings.replay_rate,
                replay_bytes: settings.replay_bytes,
                max_channel_subscribers: settings.max_channel_subscribers,
                deliveries,
            },
            hub::Neighbours { bells: couriers.bells(), requests: to_follower, idle: idle.clone() },
            ground.backplane.clone(),
            metrics.hub.clone(),
        ));
        let deps = CourierDeps {
            expiring: settings.auth.token_expiring,
            revocations: ground.auth.revocations.clone(),
            changes: ground.auth.changes.clone(),
            joins: to_joins,
            extends: settings.auth.token_cookie.is_some(),
            heartbeat: settings.heartbeat,
            stall_timeout: settings.stall_timeout,
            idle_timeout: settings.idle_timeout,
            retry: settings.retry,
            metrics: metrics.couriers.clone(),
            limits: ground.limits.clone(),
            idle,
            catch_ups: to_queue,
            leftovers: Ledger::new(settings.leftover_bytes, metrics.couriers.leftover_bytes.clone()),
            clock: ground.outside.clock.clone(),
            random: ground.outside.random.clone(),
        };
        Delivery { hub, couriers: couriers.clone(), deps, requests, catch_ups, joins }
    }
}

/// What clients are served by.
fn serving(settings: &Serve) -> http::settings::Settings {
    http::settings::Settings {
        accept_rate: settings.accept_rate,
        proxy_protocol: settings.transport.proxy_protocol,
        http2: settings.transport.http2,
        http2_streams: settings.transport.http2_streams,
        max_channels: settings.max_channels_per_connection,
        max_channels_per_query: settings.max_channels_per_query,
        when_full: settings.when_full,
        compress: settings.compress,
        retry: settings.retry,
        heartbeat: settings.heartbeat,
        heartbeat_range: settings.heartbeat_range,
        max_age: settings.max_age,
        stall_timeout: settings.stall_timeout,
        session: settings.auth.token_cookie.as_deref().map(|name| settings.transport.session(name)),
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

/// Binds all addresses and starts the acceptor.
fn listen(
    settings: &Serve,
    context: &Arc<Context>,
    runtime: &Runtime,
) -> Result<(Vec<SocketAddr>, Arc<AcceptorHandle>), StartError> {
    let mut listeners = Vec::new();
    let mut bound = Vec::new();
    for address in &settings.listen {
        let listener = bind(*address, settings.stall_timeout, settings.heartbeat)
            .map_err(|error| StartError::Listen(*address, error))?;
        bound.push(listener.local_addr()?);
        listeners.push(listener);
    }
    let tls = tls(settings, context, runtime)?;
    let (handle, intake) = (runtime.handle().clone(), Intake::new(context.clone(), tls));
    let acceptor = acceptor::open(listeners, context.clone(), move |accepted| intake.enter(&handle, accepted))?;
    Ok((bound, acceptor))
}

/// What clients' handshakes need, and what follows its files.
fn tls(settings: &Serve, context: &Arc<Context>, runtime: &Runtime) -> Result<Option<Tls>, StartError> {
    let Some((cert, key)) = settings.transport.tls() else { return Ok(None) };
    let tickets = settings.transport.tls_ticket_keys.as_ref();
    let tickets = tickets.map(|path| TicketKeys::new(path, context.clock.clone())).transpose()?;
    let tls = Tls::new(cert, key, tickets, settings.transport.tls_records)?;
    runtime.spawn(tls.certificate.clone().follow(context.metrics.clone(), context.clock.clone()));
    if let Some(tickets) = &tls.tickets {
        runtime.spawn(tickets.clone().follow(context.metrics.clone()));
    }
    Ok(Some(tls))
}

/// Keeps the hub's feeds and tails within their bounds.
async fn tidy(hub: Arc<Hub>, clock: Clock) {
    let mut every = pace::in_step(&clock, TIDY_EVERY);
    loop {
        every.tick().await;
        hub.tidy();
    }
}
