//! The arena of a case: servers, nodes, publisher, clients; and the clock that is read when something is healed.

use crate::checker::{Checker, Counts, Report, Rules};
use crate::health::Watch;
use crate::load;
use crate::proxy::{Proxy, Tamper};
use crate::publisher::{CHANNELS, Fate, Publisher, Servers, Truth};
use crate::stall::Stalls;
use crate::subscriber::{Begin, Client, Note, Surroundings, What};
use crate::support::node::{Node, within};
use crate::table::{Row, record};
use fastrand::Rng;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// One node follows as well as it can, one by blocking reads, one by pushes alone.
const FOLLOW: [&str; 3] = ["auto", "block", "tracking"];
const CLIENTS: usize = 24;
/// A busy machine may take so many times what is promised.
pub const SLACK: u32 = 3;
/// What is promised after a plain restart or reconnect.
pub const SECOND: Duration = Duration::from_secs(1);
/// What must come at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// One case at a time, as each looks at the clock.
static TURN: Mutex<()> = Mutex::new(());
pub static SEED: LazyLock<u64> = LazyLock::new(|| crate::support::fleet::seed("chaos"));

/// What differs between cases.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub fault: &'static str,
    /// Reasons that gaps may have.
    pub reasons: &'static [&'static str],
    /// Delivery goes on within this after the healing.
    pub bound: Duration,
    /// Whether the servers may lose what they acknowledged without ever having shown it.
    pub may_lose_acknowledged: bool,
}

impl Case {
    /// A fault that loses nothing.
    pub const fn exact(fault: &'static str) -> Case {
        Case { fault, reasons: &[], bound: SECOND, may_lose_acknowledged: false }
    }

    /// A fault that takes history away.
    pub const fn lossy(fault: &'static str, reasons: &'static [&'static str]) -> Case {
        Case { reasons, ..Case::exact(fault) }
    }
}

struct Member {
    node: Node,
    watch: Watch,
}

/// See the module.
pub struct Arena {
    case: Case,
    pub rng: Rng,
    urls: Vec<String>,
    members: Vec<Option<Member>>,
    pub publisher: Publisher,
    clients: Vec<Arc<Client>>,
    surroundings: Surroundings,
    storm: watch::Sender<u64>,
    row: Row,
    complaints: Vec<String>,
    stalls: Stalls,
    /// Between clients and nodes, where there are any.
    proxies: Vec<Proxy>,
    /// Dropped last but for the turn: what runs on it uses the rest.
    runtime: Runtime,
    _turn: MutexGuard<'static, ()>,
}

/// The address with what `FANTAIL_CHAOS_READ` says: `replica` has all cases of Sentinel and Cluster read from replicas.
fn read_at(url: &str) -> String {
    let named = url.contains("-sentinel:") || url.contains("-cluster:");
    match std::env::var("FANTAIL_CHAOS_READ") {
        Ok(role) if named && !url.contains('?') => format!("{url}?read={role}"),
        _ => url.to_owned(),
    }
}

/// A runtime that a case's proxies can have before there is an arena.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Waits for its turn.
pub fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Arena {
    /// A node for each URL; clients that have joined, on all of them; events that flow.
    pub fn open(
        case: Case,
        turn: MutexGuard<'static, ()>,
        runtime: Runtime,
        urls: Vec<String>,
        servers: Servers,
    ) -> Arena {
        Arena::tampered(case, turn, runtime, urls, servers, None)
    }

    /// The same with somebody between clients and nodes who tampers with one event in so many.
    pub fn tampered(
        case: Case,
        turn: MutexGuard<'static, ()>,
        runtime: Runtime,
        urls: Vec<String>,
        servers: Servers,
        tamper: Option<(Tamper, usize)>,
    ) -> Arena {
        // Begins to sample.
        load::since(Instant::now());
        let name: u64 = case.fault.bytes().fold(0, |hash: u64, b| hash.wrapping_mul(31).wrapping_add(b.into()));
        let mut rng = Rng::with_seed(*SEED ^ name);
        let publisher = Publisher::start(servers);
        let (storm, stormy) = watch::channel(0);
        let surroundings = Surroundings { addresses: Arc::default(), storm: stormy };
        let mut arena = Arena {
            case,
            rng: rng.fork(),
            members: urls.iter().map(|_| None).collect(),
            urls,
            publisher,
            clients: Vec::new(),
            surroundings,
            storm,
            row: Row { fault: case.fault, ..Row::default() },
            complaints: Vec::new(),
            stalls: Stalls::watch(),
            proxies: Vec::new(),
            runtime,
            _turn: turn,
        };
        for node in 0..arena.urls.len() {
            arena.start_node(node);
        }
        let mut addresses = arena.listening();
        if let Some((tamper, every)) = tamper {
            let proxy = |node: &SocketAddr| Proxy::tampering(arena.runtime.handle(), *node, tamper, every);
            arena.proxies = addresses.iter().map(proxy).collect();
            addresses = arena.proxies.iter().map(|proxy| proxy.address).collect();
        }
        *arena.surroundings.addresses.lock().unwrap() = addresses;
        for number in 0..CLIENTS {
            let channels = channels_of(number);
            let (begin, first) = if number % 6 == 5 { (Begin::Earliest, 0) } else { (Begin::Latest, 1) };
            let first = vec![Some(first); channels.len()];
            arena.add_client(Client::new(channels, begin, first));
        }
        let begun = || arena.clients.iter().all(|client| !client.journal().last_event_id.is_empty());
        assert!(within(PATIENCE, begun), "clients do not join");
        arena.publisher.resume();
        arena.await_delivery(Instant::now());
        arena
    }

    fn add_client(&mut self, client: Arc<Client>) {
        self.runtime.spawn(client.clone().run(self.surroundings.clone(), self.rng.fork()));
        self.clients.push(client);
    }

    /// Clients that come now: some go on where others were, some take all that there is, some take what comes.
    pub fn add_late_clients(&mut self) {
        for number in 0..6 {
            let other = self.clients[number].clone();
            let (channels, journal) = (other.channels.clone(), other.journal().clone());
            let after = |channel: &usize| Some(journal.newest(*channel)? + 1);
            let client = match number % 3 {
                0 => {
                    let first = channels.iter().map(after).collect();
                    Client::new(channels, Begin::After(journal.last_event_id.clone()), first)
                }
                1 => {
                    // Where history is gone, so is the beginning.
                    let first = self.case.reasons.is_empty().then_some(0);
                    Client::new(channels.clone(), Begin::Earliest, vec![first; channels.len()])
                }
                _ => Client::new(channels.clone(), Begin::Latest, vec![None; channels.len()]),
            };
            self.add_client(client);
        }
    }

    fn start_node(&mut self, index: usize) {
        let url = read_at(&self.urls[index]);
        // A cluster can only be followed by tracking.
        let follow = if url.contains("-cluster:") { "auto" } else { FOLLOW[index % 3] };
        let flags = ["--redis", &url, "--follow", follow, "--drain", "1s", "--retry", "100ms..300ms"];
        let node = Node::start(&[&flags[..], &["--heartbeat", "1s", "--tail-bytes", "1MiB"]].concat());
        let watch = Watch::start(node.admin);
        self.members[index] = Some(Member { node, watch });
    }

    fn listening(&self) -> Vec<SocketAddr> {
        self.members.iter().flatten().map(|member| member.node.listen).collect()
    }

    pub fn nodes(&self) -> usize {
        self.members.len()
    }

    /// Sends a node a signal; it stays a member.
    pub fn signal(&self, node: usize, signal: Signal) {
        self.members[node].as_ref().expect("a node").node.signal(signal);
    }

    /// Ends a node by a signal, waits for its end, and starts another in its place.
    pub fn replace_node(&mut self, index: usize, signal: Signal) {
        let Some(Member { mut node, .. }) = self.members[index].take() else { return };
        *self.surroundings.addresses.lock().unwrap() = self.listening();
        node.signal(signal);
        let code = node.wait();
        if signal == Signal::TERM && code != Some(0) {
            self.complaints.push(format!("a drained node ended with {code:?}"));
        }
        drop(node);
        self.start_node(index);
        *self.surroundings.addresses.lock().unwrap() = self.listening();
    }

    /// All clients reconnect at once.
    pub fn storm(&self) {
        self.storm.send_modify(|count| *count += 1);
    }

    /// Every node says that it cannot read, within three seconds of a fault.
    pub fn expect_down(&mut self, fault: Instant) {
        let limit = 3 * SECOND * SLACK;
        let seen = |watch: &Watch| watch.after(fault, false);
        within(PATIENCE, || self.members.iter().flatten().all(|member| seen(&member.watch).is_some()));
        for member in self.members.iter().flatten() {
            match seen(&member.watch) {
                Some(after) if after <= limit * load::since(fault) => self.row.down.push(after),
                late => self.complaints.push(format!("backplane_up is not 0 in time: {late:?}\n{}", member.node.log())),
            }
        }
    }

    /// Every node says that it can read, within two seconds.
    pub fn expect_up(&mut self, healed: Instant) {
        let limit = 2 * SECOND * SLACK;
        let is_up = |member: &Member| member.watch.is_up() == Some(true);
        within(PATIENCE, || self.members.iter().flatten().all(is_up));
        for member in self.members.iter().flatten() {
            match member.watch.after(healed, true) {
                Some(after) if is_up(member) && after <= limit * load::since(healed) => self.row.up.push(after),
                late => self.complaints.push(format!("backplane_up is not 1 in time: {late:?}\n{}", member.node.log())),
            }
        }
    }

    /// The fault is over: every client gets something that was published from now on, in every channel.
    pub fn healed(&mut self, at: Instant) {
        self.row.runs += 1;
        if !self.await_delivery(at) {
            let late = self.behind(at);
            let logs: Vec<String> = self.members.iter().flatten().map(|member| member.node.log()).collect();
            self.complaints.push(format!("delivery does not go on: {late:?}\n{}", logs.join("\n--\n")));
        }
        let truth = self.publisher.truth();
        let limit = self.case.bound * SLACK * load::since(at);
        for client in &self.clients {
            for channel in &client.channels {
                let outage = client.journal().notes.iter().find_map(|note| match note.what {
                    What::Event { number, .. } if note.channel == *channel => {
                        let sent = truth[*channel].get(number as usize)?.sent;
                        (sent >= at).then(|| note.at - at)
                    }
                    _ => None,
                });
                self.row.outages.extend(outage);
                // What the machine gave to nobody is not the cluster's doing.
                let stalled = outage.map_or(Duration::ZERO, |outage| self.stalls.during(at, at + outage));
                if let Some(outage) = outage.filter(|outage| outage.saturating_sub(stalled) > limit) {
                    let who = &client.channels;
                    self.complaints
                        .push(format!("{who:?} waited {outage:?}, stalls {stalled:?}, for channel {channel}"));
                }
            }
        }
    }

    /// Delivery in these channels goes on though others wait, also for clients that follow those.
    pub fn goes_on_in(&mut self, channels: &[usize]) {
        let at = Instant::now();
        let waits =
            || self.behind(at).into_iter().filter(|(_, channel, _)| channels.contains(channel)).collect::<Vec<_>>();
        if !within(PATIENCE, || waits().is_empty()) {
            let late = waits();
            self.complaints.push(format!("delivery does not go on in sound channels: {late:?}"));
        }
    }

    /// Every node says this of itself, so soon.
    pub fn expect_metric(&mut self, name: &str, value: f64, promised: Duration) {
        let says = || self.members.iter().flatten().all(|member| member.node.sample(name) == Some(value));
        if !within(promised * SLACK, says) {
            self.complaints.push(format!("{name} is not {value} on every node within {promised:?}"));
        }
    }

    /// The most memory that a node holds now.
    pub fn resident(&self) -> u64 {
        self.members.iter().flatten().map(|member| member.node.resident()).max().unwrap_or(0)
    }

    /// Waits until everybody has something of every channel that was published after a moment.
    fn await_delivery(&self, after: Instant) -> bool {
        within(PATIENCE, || self.behind(after).is_empty())
    }

    /// Whose newest event of a channel is older than a moment: client, channel, number.
    fn behind(&self, moment: Instant) -> Vec<(usize, usize, Option<u64>)> {
        let due: Vec<u64> = {
            let truth = self.publisher.truth();
            truth.iter().map(|of| of.partition_point(|published| published.sent < moment) as u64).collect()
        };
        self.behind_numbers(&due)
    }

    fn behind_numbers(&self, due: &[u64]) -> Vec<(usize, usize, Option<u64>)> {
        let mut behind = Vec::new();
        for (number, client) in self.clients.iter().enumerate() {
            let journal = client.journal();
            for channel in &client.channels {
                let newest = journal.newest(*channel);
                if newest.is_none_or(|newest| newest < due[*channel]) {
                    behind.push((number, *channel, newest));
                }
            }
        }
        behind
    }

    /// Ends the case: a last event everywhere, then the verdict. `held` says which numbers the servers still have.
    pub fn close(mut self, held: impl Fn(usize) -> BTreeSet<u64>) {
        let report = self.judge(held, PATIENCE);
        self.row.counts = report.counts;
        record(self.row.clone(), *SEED);
        let all = [self.complaints.clone(), report.findings.clone()].concat();
        assert!(
            all.is_empty() && report.is_clean(),
            "{} with FANTAIL_TEST_SEED={}:\n{}",
            self.case.fault,
            *SEED,
            all.join("\n")
        );
    }

    /// What the checker finds, and how often; for a case that is meant to fail.
    pub fn counts(mut self) -> Counts {
        self.judge(|_| BTreeSet::new(), SECOND).counts
    }

    fn judge(&mut self, held: impl Fn(usize) -> BTreeSet<u64>, patience: Duration) -> Report {
        self.publisher.finish();
        let ends: Vec<u64> = self.publisher.truth().iter().map(|of| of.len() as u64 - 1).collect();
        within(patience, || self.behind_numbers(&ends).is_empty());
        for member in self.members.iter_mut().flatten() {
            if !member.node.runs() || member.node.log().contains("panicked") {
                self.complaints.push(format!("a node ended by itself:\n{}", member.node.log()));
            }
        }
        let truth = self.publisher.truth().clone();
        let replicas = self.urls.iter().any(|url| read_at(url).contains("read=replica"));
        let mut rules = Rules { reasons: self.case.reasons, replicas, ..Rules::default() };
        if self.case.may_lose_acknowledged {
            (rules.excused, rules.undone) = self.excused(&truth, held);
            println!("lost in the failover: {} that somebody got, {} others", rules.undone.len(), rules.excused.len());
        }
        let mut checker = Checker::new(&truth, &rules);
        for (number, client) in self.clients.iter().enumerate() {
            let who = format!("client {number} of {:?}, {:?}", client.channels, client.begin);
            let journal = client.journal().clone();
            checker.nonsense(&who, &journal);
            for (channel, first) in client.channels.iter().zip(&client.first) {
                checker.leg(&who, *channel, *first, &journal);
            }
        }
        checker.report
    }

    /// What was acknowledged, but is not in the streams any more: what nobody got, and what somebody did.
    fn excused(&self, truth: &Truth, held: impl Fn(usize) -> BTreeSet<u64>) -> (Numbers, Numbers) {
        let held: Numbers =
            (0..CHANNELS).flat_map(|channel| held(channel).into_iter().map(move |number| (channel, number))).collect();
        let notes = |client: &Arc<Client>| client.journal().notes.clone();
        let event = |note: Note| match note.what {
            What::Event { number, .. } => Some((note.channel, number)),
            What::Gap { .. } => None,
        };
        let seen: Numbers = self.clients.iter().flat_map(notes).filter_map(event).collect();
        let acknowledged = |channel: usize| {
            let of = truth[channel].iter().enumerate();
            of.filter(|(_, p)| matches!(p.fate, Fate::Acknowledged(_))).map(move |(number, _)| (channel, number as u64))
        };
        let gone = (0..CHANNELS).flat_map(acknowledged).filter(|entry| !held.contains(entry));
        gone.partition(|entry| !seen.contains(entry))
    }
}

/// Events by channel and number.
type Numbers = BTreeSet<(usize, u64)>;

/// One channel, two, or all.
fn channels_of(client: usize) -> Vec<usize> {
    match client % 3 {
        0 => vec![client / 3 % CHANNELS],
        1 => vec![client % CHANNELS, (client + 2) % CHANNELS],
        _ => (0..CHANNELS).collect(),
    }
}
