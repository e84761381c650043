//! The life of the live connection: it follows by tracking where the server can, checks the server's health, and ends at
//! any fault. Where it leads to a replica, `at_replica` has its checks.

mod at_replica;

use super::address::Endpoint;
use super::capabilities::{self, Mode};
use super::connection::Connection;
use super::fault::Unopened;
use super::identity::Identity;
use super::probe_key::{HealthCheck, ProbeKey};
use super::refusals;
use super::replica::pulse::Pulse;
use super::server::{Server, follow_label};
use super::{decode, slots};
use crate::backplane::error::Refusal;
use crate::backplane::{BackplaneError, Changes};
use crate::channel::Channel;
use crate::config::Follow;
use crate::pace;
use bytes::Bytes;
use fred::interfaces::TrackingInterface;
use fred::types::RespVersion;
use fred::types::client::Invalidation;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Every second probe is a health check, which asks for more.
const PROBES_PER_CHECK: u32 = 2;
/// After so many probes the other connections are looked at: what idles on the way is dropped after a minute by some
/// networks.
const PROBES_PER_LOOK: u32 = 30;
/// Between probes of the live connection.
const PROBE: Duration = Duration::from_millis(500);
/// How much later than the answer the server may send the push of a write; Redis sends it before that.
const PUSH_LAG: Duration = Duration::from_millis(200);
/// How long the first push of a new connection may take before tracking is not believed in.
const FIRST_PUSH: Duration = Duration::from_secs(1);

/// A live connection that works.
pub struct Session {
    /// The live connection itself.
    pub connection: Arc<Connection>,
    /// Whether changes are pushed; otherwise blocking reads tell of them.
    pub tracking: bool,
    /// The server's version, where it tells it.
    pub version: Option<String>,
    /// What the first health check found.
    pub first_check: HealthCheck,
    /// The server's clock minus this node's, in milliseconds, at least: the best of all checks.
    pub clock_least_ms: Option<i64>,
    identity: Identity,
    probe_key: ProbeKey,
    pulse: Pulse,
    drain: AbortHandle,
    checks: mpsc::UnboundedSender<oneshot::Sender<()>>,
}

impl Session {
    /// Connects, and finds out how this server can be followed.
    pub async fn begin(server: &Server, endpoint: &Endpoint, version: RespVersion) -> Result<Session, Unopened> {
        let connection = Connection::open(endpoint, version, endpoint.access.timeout).await?;
        let mut session = Session::new(server, Arc::new(connection));
        let connection = session.connection.clone();
        if server.follow != Follow::Block {
            let tracking = connection.run(capabilities::start_tracking(&connection, server.follow)).await;
            session.tracking = tracking.map_err(|error| Unopened::at("CLIENT TRACKING", error))?;
        }
        if server.cluster && !session.tracking {
            let why = "a cluster can only be followed by tracking, which this server does not offer to this user";
            return Err(BackplaneError::down(why).into());
        }
        let about = connection.run(capabilities::about(&connection.client)).await?;
        session.version = about.version;
        expected(about.mode, server.cluster)?;
        if server.replicas.is_read() {
            session.begin_at_replica(server).await?;
            return Ok(session);
        }
        server.replicas.floors.begin(0);
        // A loading server, or a replica without its primary, takes commands but has no data.
        session.first_check = session.check_health(server).await?;
        if session.tracking && server.cluster {
            // Its read arms; the first one may have gone to a foreign slot.
            session.first_check = session.check_health(server).await?;
        }
        if session.tracking {
            session.tracking = session.pushes_arrive(server).await?;
        }
        Ok(session)
    }

    /// A session that knows nothing of the server yet; pushes are drained from now on.
    fn new(server: &Server, connection: Arc<Connection>) -> Session {
        let probe_key = ProbeKey::new(server.probe_key_name(), server.cluster, server.outside.clock.clone());
        let (checks, asked) = mpsc::unbounded_channel();
        let drain = Drain {
            pushes: connection.client.invalidation_rx(),
            probe_key: probe_key.key(),
            heard: probe_key.pushes.clone(),
            bell: probe_key.bell.clone(),
            prefix: Bytes::copy_from_slice(server.key_prefix.as_bytes()),
            changes: server.changes.clone(),
        };
        Session {
            connection,
            tracking: false,
            version: None,
            first_check: HealthCheck::default(),
            clock_least_ms: None,
            identity: Identity::default(),
            probe_key,
            pulse: Pulse::default(),
            drain: tokio::spawn(drain.run(asked)).abort_handle(),
            checks,
        }
    }

    /// How changes are learnt of: `tracking` or `block`.
    pub fn follow(&self) -> &'static str {
        follow_label(self.tracking)
    }

    /// One health check; `Down` where the server cannot be used any more, as a replica cannot.
    async fn check_health(&mut self, server: &Server) -> Result<HealthCheck, BackplaneError> {
        let (connection, begun) = (self.connection.clone(), Instant::now());
        let mut check = connection.run(self.probe_key.check(&connection, &server.observe, false)).await?;
        if let Some(offset) = check.clock_offset_ms {
            // The clock was read somewhere on the way, and both are rounded.
            let least = offset - begun.elapsed().as_millis() as i64 / 2 - 2;
            self.clock_least_ms = Some(self.clock_least_ms.map_or(least, |known| known.max(least)));
        }
        if check.identity.replica || check.refusal() == Some(&Refusal::ReadOnly) {
            return Err(BackplaneError::down("the server is a replica: only a primary is followed"));
        }
        if server.cluster && check.refusal().is_some_and(Refusal::is_redirect) {
            // Its slots have changed, or are not known yet.
            let own = connection.run(slots::own_slots(&connection.client)).await?;
            if self.probe_key.move_to(&own) {
                check.refused = None;
            }
        }
        let before = std::mem::replace(&mut self.identity, check.identity.clone());
        if check.identity.differs(&before) {
            tracing::warn!("redis: the server's data set is another one; verifying all");
            server.changes.doubt();
        }
        Ok(check)
    }

    /// Whether a push comes; without the right to write it cannot be tried, and is believed in.
    async fn pushes_arrive(&mut self, server: &Server) -> Result<bool, BackplaneError> {
        self.check_health(server).await?;
        if self.push_arrives(FIRST_PUSH).await {
            return Ok(true);
        }
        self.probe_key.noted();
        tracing::warn!("redis: client tracking is on, but nothing is pushed");
        Ok(server.follow == Follow::Tracking)
    }

    /// Whether the push of the last write, if there must be one, comes in time.
    async fn push_arrives(&self, limit: Duration) -> bool {
        // What came before the answer has been drained then, however busy this node is.
        let (checked, done) = oneshot::channel();
        let _ = self.checks.send(checked);
        let _ = done.await;
        let deadline = Instant::now() + limit;
        while self.probe_key.heard() == Some(false) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
        self.probe_key.heard() != Some(false)
    }

    /// Writes and reads the probe keys, without a health check's questions.
    async fn probe(&mut self, server: &Server) -> Result<(), BackplaneError> {
        let connection = self.connection.clone();
        connection.run(self.probe_key.check(&connection, &server.observe, true)).await.map(drop)
    }

    /// Checks until the connection ends, and says why it ended.
    pub async fn live(mut self, server: &Arc<Server>) -> BackplaneError {
        if server.replicas.is_read() {
            return self.live_at_replica(server).await;
        }
        let mut tick = pace::in_step(&server.outside.clock, PROBE);
        let connection = self.connection.clone();
        take_in(server, &self.first_check, self.clock_least_ms);
        let mut probes: u32 = 0;
        loop {
            probes = probes.wrapping_add(1);
            tokio::select! {
                biased;
                why = connection.lost() => return why,
                _ = tick.tick() => {}
            }
            if probes.is_multiple_of(PROBES_PER_LOOK) {
                let server = server.clone();
                tokio::spawn(async move { server.look_at_idle().await });
            }
            let done = match probes % PROBES_PER_CHECK {
                0 => self.check_health(server).await.map(|check| take_in(server, &check, self.clock_least_ms)),
                _ if self.tracking => self.probe(server).await,
                _ => Ok(()),
            };
            if let Err(error) = done {
                return error;
            }
            if self.tracking && !self.push_arrives(PUSH_LAG).await {
                self.probe_key.noted();
                tracing::warn!("redis: the server has forgotten what this node follows; verifying all");
                server.changes.doubt();
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.drain.abort();
        self.connection.fail(BackplaneError::down("the live connection was given up"));
    }
}

/// Notes what a health check found: the clock, and what the server refuses.
fn take_in(server: &Server, check: &HealthCheck, clock_least_ms: Option<i64>) {
    server.readers.check();
    if let (Some(offset), Some(least)) = (check.clock_offset_ms, clock_least_ms) {
        server.set_clock(offset, least);
    }
    if let Some(error) = check.refused.as_ref() {
        server.refusals.take(refusals::PROBE, &Err::<(), _>(error.clone()));
    } else if check.written {
        server.refusals.take(refusals::PROBE, &Ok(()));
    }
    // Whatever else is refused: again as long as it is.
    for refused in server.refusals.list().iter().filter(|refused| refused.command != "SET") {
        server.complain(&format!("{} is refused", refused.command), &refused.why);
    }
    if let Some(error) = check.refused.as_ref().filter(|_| !server.cluster) {
        server.complain("without its probe key, a flushed server is noticed late", error.text());
    }
}

/// `Down` for a server of another kind than the settings name: one of a cluster has only some channels, a sentinel none.
fn expected(mode: Mode, cluster: bool) -> Result<(), BackplaneError> {
    let why = match mode {
        Mode::Sentinel => "the server is a sentinel: use redis-sentinel://host,host/NAME",
        Mode::Cluster if !cluster => "the server is one of a cluster: use redis-cluster://host,host",
        _ => return Ok(()),
    };
    Err(BackplaneError::down(why))
}

/// What the draining task needs; it does nothing else, so that it keeps up.
struct Drain {
    pushes: Receiver<Invalidation>,
    probe_key: Arc<Mutex<String>>,
    heard: Arc<AtomicU64>,
    bell: Arc<Notify>,
    prefix: Bytes,
    changes: Arc<Changes>,
}

impl Drain {
    /// Drains until the connection ends; each of `checks` is answered when all that came before it is drained.
    async fn run(mut self, mut checks: mpsc::UnboundedReceiver<oneshot::Sender<()>>) {
        let mut channels = Vec::new();
        loop {
            let mut checked = None;
            tokio::select! {
                biased;
                Some(check) = checks.recv() => checked = Some(check),
                push = self.pushes.recv() => match push {
                    Ok(push) => self.take(push, &mut channels),
                    Err(RecvError::Lagged(_)) => self.lagged(),
                    Err(RecvError::Closed) => return,
                },
            }
            // A burst is one report.
            loop {
                match self.pushes.try_recv() {
                    Ok(push) => self.take(push, &mut channels),
                    Err(TryRecvError::Lagged(_)) => self.lagged(),
                    Err(_) => break,
                }
            }
            if !channels.is_empty() {
                self.changes.changed(channels.drain(..));
            }
            if let Some(checked) = checked {
                let _ = checked.send(());
            }
        }
    }

    /// Takes in one push: keys of streams, or a probe key.
    fn take(&self, push: Invalidation, channels: &mut Vec<Channel>) {
        for key in push.keys {
            let key = key.into_bytes();
            if ProbeKey::is_own(&self.probe_key.lock(), &key) {
                self.heard.fetch_add(1, Ordering::Release);
                self.bell.notify_one();
            } else {
                channels.extend(key.strip_prefix(self.prefix.as_ref()).and_then(decode::channel));
            }
        }
    }

    /// Takes in that pushes were lost.
    fn lagged(&self) {
        // The probe key may be among what was lost; its silence would only say the same again.
        self.heard.fetch_add(1, Ordering::Release);
        self.changes.doubt();
    }
}
