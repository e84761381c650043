//! Keeps one server connected: whatever ends the live connection, a new one is made.
//!
//! Where Sentinel says which server is the primary, it is asked before each attempt. Where replicas are to be read, one is
//! chosen then, and where none will do, the primary is read until one does. What follows by waiting at the
//! server (`block`, `hot`) begins and ends with the live connection.

use super::address::{Address, Endpoint, Host, Place};
use super::block::Blocks;
use super::capabilities::{self, Findings};
use super::connection::Connection;
use super::fault::{Resp3, Unopened};
use super::hot::Hot;
use super::reachable::wait_until_reachable;
use super::relays::Relays;
use super::replica::choice::{self, Choice};
use super::server::{Reports, Server};
use super::session::Session;
use super::settings::Settings;
use super::target::Backoff;
use super::{fault, pipeline, policy, sentinel};
use crate::backplane::BackplaneError;
use crate::config::Follow;
use fred::types::RespVersion;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

/// A connection that lived so long was a good one: the next attempt follows at once.
const GOOD_LIFE: Duration = Duration::from_secs(2);
/// Replicas that are tried in one attempt to connect, before the primary is read.
const REPLICAS: usize = 3;
/// How long a replica may lag that is waited for while nothing is read.
const SHORT_LAG: Duration = Duration::from_millis(500);

/// One server, and what follows it beside its live connection.
pub struct Supervisor {
    /// The server that is kept connected.
    pub server: Arc<Server>,
    /// Follows by blocking reads, where the server pushes nothing.
    pub blocks: Blocks,
    /// Waits for the next entries of busy streams.
    pub hot: Arc<Hot>,
    /// Passes on what it reads of busy streams, or has it passed on by other nodes.
    pub relays: Arc<Relays>,
}

impl Supervisor {
    /// A server that is not connected yet. `endpoint`: one server of a cluster; `None`: what the address names.
    pub fn new(
        settings: &Settings,
        address: Address,
        endpoint: Option<Endpoint>,
        reports: Reports,
        runtime: &Handle,
    ) -> Supervisor {
        let server = Arc::new(Server::new(settings, address, endpoint, reports, runtime));
        let blocks = Blocks::new(server.clone(), runtime.clone());
        let relays = Arc::new(Relays::new(server.clone(), runtime.clone(), settings.relay_from));
        let hot = Arc::new(Hot::new(server.clone(), runtime.clone(), relays.clone()));
        Supervisor { server, blocks, hot, relays }
    }

    /// Makes one live connection after the other, for as long as the node lives.
    pub async fn run(self: Arc<Supervisor>) {
        let (mut backoff, mut lives) = (Backoff::default(), 0);
        loop {
            let why = match self.open().await {
                Ok(session) => {
                    let begun = Instant::now();
                    self.came_up(&session, lives).await;
                    lives += 1;
                    let why = tokio::select! {
                        biased;
                        why = session.live(&self.server) => {
                            self.went_down(&why);
                            why
                        }
                        found = self.found_replica() => self.turn_to(&found),
                    };
                    if begun.elapsed() > GOOD_LIFE {
                        backoff.reset();
                    }
                    why
                }
                Err(error) => self.failed(error),
            };
            // Behind a sentinel the next attempt may lead elsewhere.
            let is_silent = why.outage().is_silence() && !matches!(self.server.address.place, Place::Sentinel(..));
            if let Some(endpoint) = self.server.target.get().filter(|_| is_silent) {
                wait_until_reachable(&endpoint).await;
                sleep(Backoff::default().next(&self.server.outside.random)).await;
            } else {
                sleep(backoff.next(&self.server.outside.random)).await;
            }
        }
    }

    /// Ends the live connection and what follows beside it.
    pub fn end(&self) {
        self.blocks.stop();
        self.relays.leave();
        self.server.end();
    }

    /// Connects once, and finds out what a node could do there; `publishes`: whether it would also append.
    pub async fn survey(&self, publishes: bool) -> Result<Findings, BackplaneError> {
        // There is one look alone.
        self.server.doubts_of_resp3.store(1, Ordering::Relaxed);
        let session = self.open().await?;
        let (server, key_prefix) = (&self.server, &self.server.key_prefix);
        // Who reads a replica reads busy streams for itself.
        let relays = self.relays.are_wanted() && session.tracking && !server.replicas.is_read();
        let tried = capabilities::Tried { publishes, blocks: !session.tracking, several: !server.cluster, relays };
        // Where a replica is read, the primary is written to all the same.
        let primary = match server.replicas.is_read() {
            true => {
                let endpoint = server.target.for_side()?;
                Some(Arc::new(Connection::open(&endpoint, RespVersion::RESP2, endpoint.access.timeout).await?))
            }
            false => None,
        };
        let connection = primary.as_ref().unwrap_or(&session.connection);
        let client = &connection.client;
        let mut rights = connection.run(capabilities::rights(client, key_prefix, &tried)).await?;
        if relays {
            rights.push(self.relays.right().await?);
        }
        let cautions = connection.run(policy::cautions(client)).await?;
        let counted = capabilities::counts_entries(client, key_prefix, session.version.as_deref());
        let counts = connection.run(counted).await?;
        let once = match publishes {
            true => Some(connection.run(capabilities::publishes_once(client, key_prefix)).await?),
            false => None,
        };
        if primary.is_some() {
            let (client, tried) = (&session.connection.client, capabilities::Tried { publishes: false, ..tried });
            let lacks = session.connection.run(capabilities::rights(client, key_prefix, &tried)).await?;
            rights.extend(lacks.into_iter().filter_map(capabilities::Right::at_replica));
        }
        Ok(Findings {
            name: server.address.to_string(),
            version: session.version.clone(),
            follow: session.follow(),
            clock_offset_ms: session.first_check.clock_offset_ms,
            rights,
            cautions,
            counts,
            once,
            shards: Vec::new(),
            replicas: self.survey_replicas().await,
        })
    }

    /// Each replica, where they are to be read: the one that is read, those that could be, and what is wrong with others.
    async fn survey_replicas(&self) -> Vec<(String, Result<String, String>)> {
        let server = &self.server;
        if server.replicas.bound().is_none() {
            return Vec::new();
        }
        let (read, trouble) = (server.replicas.read(), server.replicas.trouble());
        let mut found = Vec::new();
        if read.is_none() {
            let why = trouble.unwrap_or_else(|| "there is none".into());
            found.push((server.shown(), Err(format!("no replica of it would be read, but itself: {why}"))));
        }
        let bound = server.replicas.bound().unwrap_or(SHORT_LAG).min(4 * SHORT_LAG);
        let Ok(choice) = choice::choose(server, bound).await else { return found };
        for (host, way) in choice.fit {
            let away = format!("{:.1} ms away", way.as_secs_f64() * 1000.0);
            let lag = server.replicas.lag().map_or(0, |lag| lag.as_millis());
            let said = match read.as_ref() == Some(&host) {
                true => format!("it would be read, {away}, {lag} ms behind at most"),
                false => away,
            };
            found.push((host.to_string(), Ok(said)));
        }
        let unfit = choice.unfit.into_iter().filter(|(host, _)| !server.replicas.is_left(host));
        found.extend(unfit.map(|(host, why)| (host.to_string(), Err(why))));
        found
    }

    /// Connects, finds out how this server can be followed, and starts it. A server that does not take RESP3, or its
    /// pushes, is tried once more in RESP2, where nothing forbids that.
    async fn open(&self) -> Result<Session, BackplaneError> {
        let server = &self.server;
        let version = if server.follow == Follow::Block { RespVersion::RESP2 } else { RespVersion::RESP3 };
        let unopened = match Box::pin(self.begin(version)).await {
            Ok(session) => {
                server.doubts_of_resp3.store(0, Ordering::Relaxed);
                return Ok(session);
            }
            Err(unopened) => unopened,
        };
        let lacks = match fault::resp3(&unopened) {
            Resp3::Refused => true,
            // A server that ends or freezes just then would be followed by blocking reads for no reason.
            Resp3::Doubtful => server.doubts_of_resp3.fetch_add(1, Ordering::Relaxed) > 0,
            Resp3::NotConcerned => false,
        };
        if !lacks || server.follow != Follow::Auto || server.cluster {
            return Err(unopened.error);
        }
        let session = Box::pin(self.begin(RespVersion::RESP2)).await?;
        tracing::info!(
            why = unopened.error.text(),
            "redis: the server takes no RESP3; it is followed by blocking reads"
        );
        Ok(session)
    }

    async fn begin(&self, version: RespVersion) -> Result<Session, Unopened> {
        let (primary, server) = (self.resolve().await?, &self.server);
        let (mut why, bound) = (None, server.replicas.bound());
        for _ in 0..if bound.is_some() { REPLICAS } else { 0 } {
            let choice = match choice::choose(server, SHORT_LAG.min(bound.unwrap_or(SHORT_LAG))).await {
                Ok(choice) => choice,
                Err(error) => {
                    why = why.or(Some(error.text().to_owned()));
                    break;
                }
            };
            let Some(host) = choice.best.clone() else {
                why = why.or_else(|| Some(choice.why()));
                break;
            };
            let replica = server.address.replica(&host);
            self.read_from(replica.clone(), Some(host.clone()), None);
            match Session::begin(server, &replica, version.clone()).await {
                Ok(session) => return Ok(session),
                Err(unopened) => {
                    server.replicas.leave(&host, &server.outside.random);
                    why = Some(format!("{host}: {}", unopened.error.text()));
                }
            }
        }
        self.read_from(primary.clone(), None, why);
        Session::begin(server, &primary, version).await
    }

    /// Has everything read at this server from now on; `why`: no replica is, though one should be.
    fn read_from(&self, endpoint: Endpoint, replica: Option<Host>, why: Option<String>) {
        let server = &self.server;
        server.replicas.set_read(replica, why);
        if server.near.set(endpoint) {
            server.leave_near();
            self.hot.leave();
        }
    }

    /// While the primary is read though replicas are to be: waits until there is one to read.
    async fn found_replica(&self) -> Host {
        let server = &self.server;
        let bound = match server.replicas.bound() {
            Some(bound) if !server.replicas.is_read() => bound,
            _ => return std::future::pending().await,
        };
        loop {
            sleep(server.replicas.pace(&server.outside.random)).await;
            if let Ok(Choice { best: Some(host), .. }) = choice::choose(server, bound).await {
                return host;
            }
        }
    }

    /// Leaves the primary's connection for a replica that can be read again; what is read there is verified.
    fn turn_to(&self, replica: &Host) -> BackplaneError {
        self.server.end();
        self.leave_reads();
        tracing::info!(redis = %self.server.shown(), %replica, "redis: a replica can be read again");
        BackplaneError::down("a replica can be read again")
    }

    /// Which server to connect to now.
    async fn resolve(&self) -> Result<Endpoint, BackplaneError> {
        let server = &self.server;
        let endpoint = match &server.address.place {
            Place::Sentinel(hosts, master) => {
                let said = sentinel::primary(&server.address, hosts, master).await?;
                server.address.endpoint(&server.announced.hear(said))
            }
            _ => server.target.get().ok_or_else(|| BackplaneError::down("no server is known"))?,
        };
        if server.target.set(endpoint.clone()) {
            self.leave_reads();
            server.publish.leave();
        }
        Ok(endpoint)
    }

    /// Order matters: who hears of the doubt finds blocking reads that take streams, and what other nodes pass on is of behind it.
    async fn came_up(&self, session: &Session, lives: u64) {
        let server = &self.server;
        server.readers.report_to(reports(session).await);
        self.blocks.start(!session.tracking);
        self.hot.start(session.tracking && server.follow == Follow::Auto);
        server.begin(session.connection.clone(), session.version.clone(), session.tracking, lives);
        self.relays.start(session.tracking && !server.replicas.is_read());
    }

    fn went_down(&self, error: &BackplaneError) {
        let (server, why) = (&self.server, error.text());
        server.set_trouble(why);
        server.end();
        // Behind the same name there may be another server next, so nothing that is read of this one counts any more;
        // what is being appended finishes.
        self.leave_reads();
        server.publish.renew();
        tracing::warn!(redis = %server.shown(), %why, "redis: connection lost");
    }

    /// No live connection could be made; says why. Where the server has no room, side connections end, and none is made
    /// before the live one is there.
    fn failed(&self, error: BackplaneError) -> BackplaneError {
        let (server, error) = (&self.server, fault::explain(error));
        server.set_trouble(error.text());
        server.complain("no usable connection", error.text());
        if error.outage().is_crowd() {
            server.target.reserve(true);
            self.leave_reads();
            server.publish.renew();
        }
        error
    }

    fn leave_reads(&self) {
        self.server.leave_reads();
        self.hot.leave();
        self.relays.leave();
    }
}

/// The name of the live connection at the server, to which others have changes reported; `None` where it does not tell.
async fn reports(session: &Session) -> Option<String> {
    let connection = &session.connection;
    if !session.tracking {
        return None;
    }
    let id = connection.run(pipeline::one(&connection.client, &["CLIENT", "ID"])).await;
    id.ok()?.ok()?.into_string()
}
