//! A node without sockets, threads and a clock of its own, for simulations. Its parts are those of every node; clients
//! connect to it in memory, and whoever has it turns its couriers.

use super::drain::Drain;
use super::given::StartError;
use super::metrics::Metrics;
use super::parts::{Delivery, Ground, Works};
use crate::backplane::Backplane;
use crate::config::Serve;
use crate::courier::memory_socket::{MemoryClient, memory_socket};
use crate::courier::{Couriers, EventLoop};
use crate::health::Health;
use crate::http::intake::Intake;
use crate::http::memory_http;
use crate::outside::Outside;
use crate::roster::Roster;
use crate::watched as watch;
use parking_lot::Mutex;
use prometheus::IntGauge;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

/// A node whose tasks run on the runtime around it. Dropping it is as killing it: all its tasks end at once, and its
/// couriers must not be turned any more.
pub struct SimulatedNode {
    intake: Arc<Intake>,
    /// No more connections are accepted.
    closing: watch::Sender<bool>,
    ending: Drain,
    health: Arc<Health>,
    tasks: Mutex<JoinSet<()>>,
    /// The caller's, when the node was started.
    span: Span,
}

/// What turns couriers.
pub struct Turning<F> {
    pub couriers: usize,
    /// Told a courier's number when it has something to do before its time.
    pub wake: F,
    /// How long a turn has taken: each call may show a later time.
    pub stopwatch: fn() -> std::time::Instant,
}

impl SimulatedNode {
    /// Starts all parts on the runtime around the caller, whose clock may be paused.
    pub fn start<F>(
        settings: Serve,
        backplane: Arc<dyn Backplane>,
        outside: Outside,
        turning: Turning<F>,
    ) -> Result<(SimulatedNode, Vec<EventLoop>), StartError>
    where
        F: Fn(usize) + Clone + Send + Sync + 'static,
    {
        let ground = Ground::new(settings, backplane, Metrics::new(), outside, &Handle::current())?;
        let couriers = Couriers::prepare_in_steps(turning.couriers, turning.wake)?;
        let delivery = Delivery::new(&ground, couriers.couriers(), None);
        let turns = couriers.event_loops(&delivery.deps, Instant::now().into_std(), turning.stopwatch)?;
        let roster = Roster::new(ground.sources(&delivery.hub), &ground.outside);
        let context = ground.context(&delivery, &roster);
        let Works { control, following } = ground.works(delivery, &roster);
        let mut tasks = JoinSet::new();
        control.into_iter().chain([following]).for_each(|work| drop(tasks.spawn(work.in_current_span())));
        let closing = watch::Sender::new(false);
        let doors = closing.clone();
        let ending = Drain {
            context: context.clone(),
            health: ground.health.clone(),
            close_doors: Box::new(move || _ = doors.send_replace(true)),
            drain_end: ground.metrics.drain_end.clone(),
        };
        let (health, intake, tasks) = (ground.health.clone(), Intake::new(context, None), Mutex::new(tasks));
        Ok((SimulatedNode { intake, closing, ending, health, tasks, span: Span::current() }, turns))
    }

    /// Connects a client of that address which speaks HTTP/1; `room`: bytes on their way to it at most.
    pub fn connect(&self, client: IpAddr, room: usize) -> MemoryClient {
        let (socket, end) = memory_socket(room);
        self.spawn(memory_http::serve_http1(socket, client, self.intake.context.clone()));
        end
    }

    /// Connects a client of that address which speaks HTTP/2 by prior knowledge.
    pub fn connect_http2(&self, client: IpAddr, room: usize) -> MemoryClient {
        let (socket, end) = memory_socket(room);
        self.spawn(memory_http::serve_http2(socket, client, self.intake.clone(), self.closing.subscribe()));
        end
    }

    fn spawn(&self, serving: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(serving.instrument(self.span.clone()));
    }

    /// Ends all subscribers evenly within `window`, and takes no new ones; whether all were ended in time.
    pub async fn drain(&self, window: Duration) -> bool {
        self.ending.drain_within(Duration::ZERO, window).await
    }

    /// What the node holds now.
    pub fn holds(&self) -> Holds {
        let (hub, couriers) = (&self.intake.context.hub.metrics, &self.intake.context.courier_metrics);
        let amount = |gauge: &IntGauge| gauge.get().max(0) as usize;
        Holds {
            subscribers: amount(&couriers.connections),
            subscriptions: amount(&couriers.subscriptions),
            feeds: amount(&hub.channels),
            joins_waiting: amount(&hub.joins_waiting),
            tail_bytes: self.intake.context.hub.kept_bytes(),
            leftover_bytes: amount(&couriers.leftover_bytes),
            replay_bytes: amount(&hub.replay_bytes),
        }
    }

    /// Why `/readyz` would say that clients should go elsewhere.
    pub fn unready(&self) -> Option<&'static str> {
        self.health.unready()
    }
}

/// What a node holds at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Holds {
    /// Subscribers on couriers.
    pub subscribers: usize,
    /// Legs of all subscribers.
    pub subscriptions: usize,
    /// Channels that it follows, and those whose tails sleep.
    pub feeds: usize,
    /// Joins that wait for a channel's position, as of the last second.
    pub joins_waiting: usize,
    /// Bytes of all tails.
    pub tail_bytes: usize,
    /// Bytes of events that full sockets left over.
    pub leftover_bytes: usize,
    /// Bytes of history on its way to subscribers behind their tails.
    pub replay_bytes: usize,
}
