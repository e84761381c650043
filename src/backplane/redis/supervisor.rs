//! Keeps one server connected: whatever ends the live connection, a new one is made.
//!
//! Where Sentinel says which server is the primary, it is asked before each attempt. What follows by waiting at the
//! server (`block`, `hot`) begins and ends with the live connection.

use super::address::{Address, Endpoint, Place};
use super::block::Blocks;
use super::capabilities::{self, Findings};
use super::fault::{Resp3, Unopened};
use super::hot::Hot;
use super::reachable::wait_until_reachable;
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

/// One server, and what follows it beside its live connection.
pub struct Supervisor {
    /// The server that is kept connected.
    pub server: Arc<Server>,
    /// Follows by blocking reads, where the server pushes nothing.
    pub blocks: Blocks,
    /// Waits for the next entries of busy streams.
    pub hot: Arc<Hot>,
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
        let server = Arc::new(Server::new(settings, address, endpoint, reports));
        let blocks = Blocks::new(server.clone(), runtime.clone());
        let hot = Arc::new(Hot::new(server.clone(), runtime.clone()));
        Supervisor { server, blocks, hot }
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
                    let why = session.live(&self.server).await;
                    self.went_down(&why);
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
        self.server.end();
    }

    /// Connects once, and finds out what a node could do there; `publishes`: whether it would also append.
    pub async fn survey(&self, publishes: bool) -> Result<Findings, BackplaneError> {
        // There is one look alone.
        self.server.doubts_of_resp3.store(1, Ordering::Relaxed);
        let session = self.open().await?;
        let (client, key_prefix) = (&session.connection.client, &self.server.key_prefix);
        let tried = capabilities::Tried { publishes, blocks: !session.tracking, several: !self.server.cluster };
        let rights = session.connection.run(capabilities::rights(client, key_prefix, &tried)).await?;
        let cautions = session.connection.run(policy::cautions(client)).await?;
        let counted = capabilities::counts_entries(client, key_prefix, session.version.as_deref());
        let exact = session.connection.run(counted).await?;
        let once = match publishes {
            true => Some(session.connection.run(capabilities::publishes_once(client, key_prefix)).await?),
            false => None,
        };
        Ok(Findings {
            name: self.server.address.to_string(),
            version: session.version.clone(),
            follow: session.follow(),
            clock_offset_ms: session.first_check.clock_offset_ms,
            rights,
            cautions,
            exact,
            once,
            shards: Vec::new(),
        })
    }

    /// Connects, finds out how this server can be followed, and starts it. A server that does not take RESP3, or its
    /// pushes, is tried once more in RESP2, where nothing forbids that.
    async fn open(&self) -> Result<Session, BackplaneError> {
        let server = &self.server;
        let version = if server.follow == Follow::Block { RespVersion::RESP2 } else { RespVersion::RESP3 };
        let unopened = match self.begin(version).await {
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
        let session = self.begin(RespVersion::RESP2).await?;
        tracing::info!(
            why = unopened.error.text(),
            "redis: the server takes no RESP3; it is followed by blocking reads"
        );
        Ok(session)
    }

    async fn begin(&self, version: RespVersion) -> Result<Session, Unopened> {
        let endpoint = self.resolve().await?;
        Session::begin(&self.server, &endpoint, version).await
    }

    /// Which server to connect to now.
    async fn resolve(&self) -> Result<Endpoint, BackplaneError> {
        let server = &self.server;
        let endpoint = match &server.address.place {
            Place::Sentinel(hosts, master) => sentinel::primary(&server.address, hosts, master).await?,
            _ => server.target.get().ok_or_else(|| BackplaneError::down("no server is known"))?,
        };
        if server.target.set(endpoint.clone()) {
            self.leave_reads();
            server.publish.leave();
        }
        Ok(endpoint)
    }

    /// Order matters: who hears of the doubt finds blocking reads that take streams.
    async fn came_up(&self, session: &Session, lives: u64) {
        let server = &self.server;
        server.readers.report_to(reports(session).await);
        self.blocks.start(!session.tracking);
        self.hot.start(session.tracking && server.follow == Follow::Auto);
        server.begin(session.connection.clone(), session.version.clone(), session.tracking, lives);
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
