//! A client, played by rules: it subscribes at any node, reads in pieces of any size, goes slowly or not at all, hangs up,
//! comes back with its last id, and judges all that it gets.

use super::carrier::{Carrier, Taken};
use super::chance::Draw;
use super::http2::Browsers;
use super::leg::Leg;
use super::nodes::Nodes;
use super::orders::Holder;
use super::owed::Here;
use super::played::Played;
use super::reading::Reading;
use super::request::Asked;
use super::trace::Trace;
use super::truth::Truth;
use super::wish::Wish;
use fastrand::Rng;
use futures_util::FutureExt as _;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Before a client comes back, at most; `retry:` may ask for more, but a run is short.
const COME_BACK_MS: u64 = 1_500;

/// What a client is told to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    pub reading: bool,
    /// Another number than before: hang up and come back.
    pub connection: u64,
    /// Nothing is published any more: end with all that there is.
    pub finish: bool,
}

/// What all clients share.
#[derive(Clone)]
pub struct Surroundings {
    pub nodes: Arc<Nodes>,
    pub truth: Arc<Mutex<Truth>>,
    pub trace: Arc<Trace>,
    pub browsers: Arc<Browsers>,
    pub begun: Instant,
    /// Whether a token is needed.
    pub tokens: bool,
    /// Whether losses are told in their place.
    pub in_place: bool,
    /// Whether history comes slowly.
    pub paced: bool,
    /// How many channels go on for ever; those behind them end.
    pub endless: usize,
    pub redis: Arc<dyn Played>,
    /// Channels that nodes append to.
    pub posted: Range<usize>,
}

/// See the module.
pub struct Client {
    pub number: usize,
    pub wish: Wish,
    pub around: Surroundings,
    pub rng: Rng,
    pub last_event_id: String,
    /// The first that it ever had.
    pub first_event_id: String,
    pub legs: Vec<Leg>,
    /// What `since` asks of each channel, until a gap came.
    pub asked: Vec<Option<Asked>>,
    pub since_text: Option<String>,
    /// Channels of which it was not told yet that its id is none of ours.
    pub foreign: Vec<bool>,
    /// Channels in which an older id may count now, as the newest lies ahead of the stream.
    pub may_go_back: Vec<bool>,
    pub events: usize,
    pub gaps: usize,
    /// The node of its connection.
    pub node: usize,
    pub holder: Option<Holder>,
    pub tokens: usize,
    /// When its connection was opened.
    pub opened: Duration,
    /// Since when it reads.
    pub reads: Option<Duration>,
}

/// How a connection ended.
enum End {
    /// It has everything.
    Complete,
    /// It is to come back.
    Again,
}

impl Client {
    pub fn new(number: usize, wish: Wish, around: Surroundings, rng: Rng) -> Client {
        let channels = wish.channels.len();
        Client {
            number,
            wish,
            around,
            rng,
            last_event_id: String::new(),
            first_event_id: String::new(),
            legs: vec![Leg::default(); channels],
            asked: vec![None; channels],
            since_text: None,
            foreign: vec![false; channels],
            may_go_back: vec![false; channels],
            events: 0,
            gaps: 0,
            node: 0,
            holder: None,
            tokens: 0,
            opened: Duration::ZERO,
            reads: None,
        }
    }

    /// Reads until it has everything after it was told to finish; how many events and gaps it got.
    pub async fn run(mut self, mut control: watch::Receiver<Control>) -> Result<(usize, usize), String> {
        loop {
            match self.connection(&mut control).await {
                Ok(End::Complete) => return Ok((self.events, self.gaps)),
                Ok(End::Again) => sleep(Duration::from_millis(self.rng.u64(0..COME_BACK_MS))).await,
                Err(wrong) => {
                    let Client { number, wish, legs, last_event_id, node, .. } = &self;
                    return Err(format!(
                        "client {number} at node {node}: {wrong}\n  {wish:?}\n  at {legs:?}\n  last event id {last_event_id:?}"
                    ));
                }
            }
        }
    }

    pub fn at(&self) -> Duration {
        self.around.begun.elapsed()
    }

    pub fn note(&self, what: &str) {
        tracing::info!("client {} {what}", self.number);
        self.around.truth.lock().expect("nobody panics").note(self.at(), &format!("client {} {what}", self.number));
    }

    async fn connection(&mut self, control: &mut watch::Receiver<Control>) -> Result<End, String> {
        let finish = control.borrow().finish;
        let Some(mut carrier) = self.ask(finish).await else { return Ok(End::Again) };
        let connection = control.borrow_and_update().connection;
        let mut reader = Reading::new(self.last_event_id.is_empty());
        if reader.first && self.owed_foreign() {
            self.foreign.fill(true);
        }
        self.look_back();
        self.reads = None;
        for leg in &mut self.legs {
            leg.here = Here::default();
            leg.gaps.iter_mut().for_each(|gap| gap.over = true);
            leg.large = (0, leg.large.0 + leg.large.1);
            // A channel that was not joined yet is none of its id: who comes back without it begins anew there.
            if !leg.begun {
                (leg.headed, leg.held) = (None, false);
            }
        }
        let mut now = *control.borrow_and_update();
        loop {
            if !matches!(control.has_changed(), Ok(false)) {
                now = *control.borrow_and_update();
            }
            if now.finish && self.is_complete() && !self.waits_for_end() {
                return Ok(End::Complete);
            }
            if now.connection != connection {
                return Ok(End::Again);
            }
            if self.reads.is_some() && !now.reading {
                self.settle();
            }
            self.reads = now.reading.then(|| self.reads.unwrap_or_else(|| self.at()));
            // At the end nobody is slow.
            let sip = if now.finish { usize::MAX } else { self.rng.usize(1..=self.wish.sips) };
            // What is there is nearly always more than a sip.
            let there = if now.reading { carrier.read(sip).now_or_never() } else { None };
            let read = match there {
                Some(read) => read,
                None => tokio::select! {
                    biased;
                    _ = control.changed() => {
                        now = *control.borrow_and_update();
                        continue;
                    }
                    read = carrier.read(sip), if now.reading => read,
                },
            };
            self.around.nodes.reads.fetch_add(1, Ordering::Relaxed);
            let body = match read? {
                Taken::Bytes(body) => body,
                Taken::End { complete } => return self.ended(&carrier, &reader, complete).await,
            };
            let Some(head) = carrier.head() else { continue };
            self.take(body, head, &mut reader)?;
            if head.status == 200 && carrier.is_between_writes() && !reader.is_between_blocks() {
                return Err("what was written at once is no whole blocks".into());
            }
            // At the end nobody waits for a node to close what it has refused.
            if now.finish && head.status == 401 {
                return self.ended(&carrier, &reader, false).await;
            }
            if self.rng.once_in(40) && !now.finish {
                sleep(Duration::from_millis(self.rng.u64(0..30))).await;
            }
        }
    }

    /// An answer has ended.
    async fn ended(&mut self, carrier: &Carrier, reader: &Reading, complete: bool) -> Result<End, String> {
        let status = carrier.head().map(|head| head.status);
        self.note(&format!("sees the end, {status:?}, complete: {complete}"));
        match status {
            Some(204) => {
                self.judge_finished(carrier.head().expect("it has a status"))?;
                Ok(End::Complete)
            }
            Some(200) if complete || reader.is_packed_whole() == Some(true) => {
                self.judge_complete(reader)?;
                Ok(End::Again)
            }
            Some(200) | None => Ok(End::Again),
            Some(503 | 429) => Ok(End::Again),
            Some(401) if self.is_refused() => {
                self.holder = None;
                sleep(Duration::from_millis(500)).await;
                Ok(End::Again)
            }
            Some(other) => Err(format!("the node answers {other}: {} {:?}", reader.body, self.holder)),
        }
    }
}
