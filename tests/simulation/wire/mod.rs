//! Redis as servers that speak RESP, in the same runtime: nodes have their own backplane, and connect by unix sockets.

mod copies;
mod line;
mod operator;
mod place;
mod shards;

use super::chance::source;
use super::played::{Copying, Fields, Meddling, Played};
use super::redis_model::cluster::slot;
use super::redis_model::front::Host;
use super::redis_model::{Refusal, Reply, Server, Version};
use super::world::MOST_BYTES;
use copies::Copies;
use fantail::backplane::Backplane;
use fantail::backplane::redis::access::Access;
use fantail::backplane::redis::{Redis, Settings};
use fantail::config::Follow;
use fantail::outside::Outside;
use fantail::position::Position;
use line::Line;
use operator::{amount, id_of, key, position, words};
use parking_lot::Mutex;
use place::Away;
use shards::Shards;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// Keys whose readers are remembered while the table of readers overflows.
const FEW_READERS: usize = 2;
/// What precedes the name of a stream that is kept meanwhile.
const ASIDE: &str = "aside:";

/// See the module.
pub struct Wire {
    shards: Arc<Shards>,
    copies: Arc<Copies>,
    follow: Follow,
    seed: u64,
    lines: Mutex<Vec<Arc<Line>>>,
    /// What a replica of each server has.
    replica: Mutex<Option<Vec<Server>>>,
    /// Until when a key is about to end.
    expiring: Mutex<Instant>,
    /// Which server answers: another number after each failover.
    lives: AtomicU32,
    /// Where the sockets lie.
    folder: PathBuf,
    beat: AbortHandle,
}

impl Wire {
    /// Servers without data, so many of them, and replicas; `now_ms` tells their time.
    pub fn new(
        seed: u64,
        (version, servers, replicas): (Version, usize, usize),
        follow: Follow,
        now_ms: impl Fn() -> u64 + Clone + Send + Sync + 'static,
    ) -> Arc<Wire> {
        let copies = Arc::new(Copies::new(seed, (version, replicas), now_ms.clone()));
        let shards = Shards::new(seed, (version, servers), now_ms);
        let first = shards.places[0].host.clone();
        if replicas > 0 {
            first.with(Server::keep_log);
        }
        let beat = tokio::spawn(beat(copies.clone(), first)).abort_handle();
        Arc::new(Wire {
            shards,
            copies,
            follow,
            seed,
            lines: Mutex::default(),
            replica: Mutex::default(),
            expiring: Mutex::new(Instant::now()),
            lives: AtomicU32::new(1),
            folder: own_folder(),
            beat,
        })
    }

    fn line(&self, number: usize) -> Arc<Line> {
        self.lines.lock()[number].clone()
    }

    fn all_lines(&self) -> Vec<Arc<Line>> {
        self.lines.lock().clone()
    }

    /// Whether the server is away that stands alone.
    fn has_no_primary(&self) -> bool {
        !self.shards.are_many() && self.shards.places[0].is_away()
    }

    /// All servers, those that nodes read from included.
    fn all_places(&self) -> impl Iterator<Item = &place::Place> {
        self.shards.places.iter().chain(&self.copies.places)
    }

    /// Whether a command was carried out, all of it.
    fn does(&self, command: Vec<bytes::Bytes>) -> bool {
        !matches!(self.run(command), Reply::Error(_) | Reply::Number(0))
    }
}

/// tokio's paused clock jumps to the next timer also where a socket has something to read: so there is always one soon. What is
/// replicated goes on its way by it.
async fn beat(copies: Arc<Copies>, primary: Host) {
    loop {
        sleep(Duration::from_millis(1)).await;
        copies.carry(&primary);
    }
}

/// A folder of this run alone.
fn own_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("fantail-wire-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.beat.abort();
        self.shards.end();
        self.copies.end();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn url(socket: &Path) -> String {
    format!("unix:{}", socket.display())
}

impl Played for Arc<Wire> {
    fn open(&self, waits: bool, outside: Outside) -> (usize, Arc<dyn Backplane>) {
        let mut lines = self.lines.lock();
        let number = lines.len();
        let (sockets, url, access) = self.sockets(number);
        lines.push(Line::listen(sockets, self.seed, number));
        let follow = match self.follow {
            Follow::Auto if !waits => Follow::Tracking,
            // A Cluster is followed in no other way.
            Follow::Block if self.shards.are_many() => Follow::Auto,
            follow => follow,
        };
        let settings = Settings { follow, outside, access, max_entry_bytes: MOST_BYTES, ..Settings::new(&url) };
        (number, Redis::start(settings, &Handle::current()).expect("an address"))
    }

    fn end(&self, line: usize) {
        self.line(line).end();
    }

    fn now_ms(&self) -> u64 {
        self.shards.places[0].host.now_ms()
    }

    fn last(&self, name: &str) -> Position {
        let key = key(name);
        self.shards.place(&key).host.with(|server| server.last_id(0, &key)).map_or(Position::ZERO, position)
    }

    fn held(&self, name: &str) -> Vec<Position> {
        let Reply::List(entries) = self.run(words(&["XRANGE", &full(name), "-", "+"])) else { return Vec::new() };
        entries.iter().map(id_of).collect()
    }

    fn add(&self, name: &str, id: Option<Position>, fields: Fields) -> bool {
        self.does(operator::add(name, id, fields))
    }

    fn trim(&self, name: &str, keep: usize, roughly: bool) {
        self.run(words(&["XTRIM", &full(name), "MAXLEN", amount(roughly), &keep.to_string()]));
    }

    fn delete(&self, name: &str, id: Position) {
        self.run(words(&["XDEL", &full(name), &id.to_string()]));
    }

    fn remove(&self, name: &str) -> bool {
        self.does(words(&["DEL", &full(name)]))
    }

    fn replace(&self, name: &str, entries: Vec<(Position, Fields)>) -> bool {
        let added = entries.into_iter().map(|(id, fields)| operator::add(name, Some(id), fields));
        let mut commands = vec![words(&["MULTI"]), words(&["DEL", &full(name)])];
        commands.extend(added);
        commands.push(words(&["EXEC"]));
        !matches!(self.run_all(&key(name), commands).pop(), Some(Reply::Error(_)) | None)
    }

    fn replicate(&self) {
        let copy = |place: &place::Place| place.host.with(|server| server.clone());
        *self.replica.lock() = Some(self.shards.places.iter().map(copy).collect());
    }

    /// The same name leads to another process, which has what the replica has.
    fn fail_over(&self, stream: &str) -> Position {
        let Some(replicas) = self.replica.lock().take() else { return self.last(stream) };
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        match self.copies.places.is_empty() {
            true => self.all_lines().iter().for_each(|line| line.cut()),
            // Connections to replicas go on.
            false => [Some(Away::Ended), None].into_iter().for_each(|away| self.shards.places[0].set_away(away)),
        }
        for (place, replica) in self.shards.places.iter().zip(&replicas) {
            place.host.with(|server| {
                server.forget_readers();
                server.replace_data(replica);
                server.set_ids(&format!("{life:040x}"), &format!("{life:040x}"));
                drop(server.take_log());
            });
        }
        self.copies.lose_primary();
        self.last(stream)
    }

    fn cut(&self, line: usize) {
        self.line(line).cut();
    }

    fn restore(&self, line: usize) {
        self.line(line).restore();
    }

    fn slow(&self, line: usize, most: Duration) {
        self.line(line).behave(|behaviour| behaviour.slowest = most);
    }

    /// A server loses no push of a connection that is there, but forgets who has read what, when it is emptied or
    /// synchronized anew, and fred does not hear of that.
    fn lose(&self, line: usize, _: u32) {
        self.all_places().for_each(|place| place.host.with(Server::forget_readers));
        self.line(line).behave(|_| {});
    }

    fn overflow(&self) {
        for place in self.all_places() {
            place.host.with(|server| server.set_tracking_limit(FEW_READERS));
            operator::run_at(place, vec![words(&["ECHO", "x"])]);
            place.host.with(|server| server.set_tracking_limit(1_000_000));
        }
    }

    fn set_shard_down(&self, shard: Option<usize>) {
        match shard {
            Some(shard) => {
                self.shards.goes(shard);
                self.copies.suffer_all(Copying::Parted);
            }
            None => {
                let anew = self.shards.places[0].age().is_none();
                self.shards.come_back();
                match anew {
                    true => self.copies.lose_primary(),
                    false => self.copies.suffer_all(Copying::Joined),
                }
            }
        }
    }

    fn is_down(&self, name: &str) -> bool {
        match self.shards.are_many() {
            true => self.shards.is_down(&key(name)),
            false => self.is_still(),
        }
    }

    /// A key that is about to end is left alone.
    fn shard_of(&self, name: &str) -> Option<usize> {
        self.shards.shard(&key(name))
    }

    fn is_still(&self) -> bool {
        let stopped = self.shards.places.iter().any(|place| place.weather.lock().stopped().is_some());
        stopped || self.has_no_primary() || *self.expiring.lock() > Instant::now()
    }

    fn calm_since(&self, line: usize) -> Option<Instant> {
        let calm = self.line(line).calm_since()?;
        let calm = if self.copies.places.is_empty() { calm } else { calm.max(self.copies.calm_since()?) };
        if self.has_no_primary() {
            return None;
        }
        self.shards.places.iter().try_fold(calm, |calm, place| Some(calm.max(place.weather.lock().calm_since()?)))
    }

    fn heal(&self) {
        self.shards.heal();
        self.copies.heal();
        for line in self.all_lines() {
            line.behave(|behaviour| behaviour.calm());
            line.restore();
        }
    }

    fn meddle(&self, what: &Meddling) -> bool {
        match what {
            Meddling::Tear { line, after, answer } => {
                self.line(*line).behave(|behaviour| behaviour.tear = Some((*after, *answer)));
                true
            }
            Meddling::Crumbs { line, on } => {
                self.line(*line).behave(|behaviour| behaviour.crumbs = *on);
                true
            }
            Meddling::Refuse { refusal, on } => {
                self.shards.places.iter().for_each(|place| place.refuse(*refusal, *on));
                true
            }
            Meddling::Stop { time } => {
                self.shards.places.iter().for_each(|place| place.weather.lock().stop(*time));
                true
            }
            Meddling::Rename { from, to } => self.does(words(&["RENAME", from, to])),
            Meddling::Put { from, to, dump: false } => self.does(words(&["COPY", from, to, "REPLACE"])),
            Meddling::Put { from, to, dump: true } => self.restore_dump(from, to),
            Meddling::SetId { name, id } => self.does(words(&["XSETID", &full(name), &id.to_string()])),
            Meddling::Expire { name, within } => {
                *self.expiring.lock() = Instant::now() + *within * 2;
                self.does(words(&["PEXPIRE", &full(name), &within.as_millis().to_string()]))
            }
            Meddling::Evict { name } => {
                let key = key(name);
                self.shards.place(&key).host.with(|server| server.evict(0, &key))
            }
            Meddling::Flush => {
                let flush = |place| operator::run_at(place, vec![words(&["FLUSHALL"])]);
                self.shards.places.iter().all(|place| flush(place) == [Reply::ok()])
            }
            Meddling::Promote { shard } => {
                let copies = self.replica.lock().take();
                copies.is_some_and(|copies| self.shards.promote(*shard, &copies))
            }
            Meddling::Copy { copy, what } => {
                self.copies.suffer(*copy, *what);
                true
            }
            Meddling::Move { name, seed } => self.shards.moves(&key(name), source(*seed, "move")),
        }
    }
}

impl Wire {
    /// Sockets of one more node, with the address that leads there.
    fn sockets(&self, number: usize) -> (Vec<(PathBuf, place::Place)>, String, Access) {
        let socket = self.folder.join(number.to_string());
        let copies = &self.copies.places;
        if !self.shards.are_many() && copies.is_empty() {
            return (vec![(socket.clone(), self.shards.places[0].clone())], url(&socket), Access::default());
        }
        std::fs::create_dir_all(&socket).expect("a folder");
        if !copies.is_empty() {
            let names: Vec<String> = (0..copies.len()).map(copies::replica).collect();
            let places = names.iter().zip(copies).map(|(name, place)| (socket.join(name), place.clone()));
            let first = (socket.join(copies::primary()), self.shards.places[0].clone());
            let listed: String = names.iter().map(|name| format!("&replica={name}")).collect();
            let url = format!("redis://{}?read=replica&replica_lag=1s{listed}", copies::primary());
            let access = Access { sockets: Some(socket.clone()), ..Access::default() };
            return (std::iter::once(first).chain(places).collect(), url, access);
        }
        let places = self.shards.places.iter().enumerate();
        let sockets = places.map(|(at, place)| (socket.join(shards::host(at)), place.clone())).collect();
        let url = format!("redis-cluster://{},{}", shards::host(0), shards::host(1));
        (sockets, url, Access { sockets: Some(socket), ..Access::default() })
    }

    fn restore_dump(&self, from: &str, to: &str) -> bool {
        let Reply::Text(dump) = self.run(words(&["DUMP", from])) else { return false };
        let mut command = words(&["RESTORE", to, "0"]);
        command.extend([dump, "REPLACE".into()]);
        self.does(command)
    }
}

/// The key of a stream, as words have it.
pub fn full(name: &str) -> String {
    format!("{}{name}", operator::PREFIX)
}

/// A channel's name in a Cluster: every second one lies in the slot of the one before it.
pub fn name_of_pair(channel: usize) -> String {
    let first = format!("c{}", channel / 2 * 2);
    let of = slot(&key(&first));
    match channel % 2 {
        0 => first,
        _ => (0..).map(|n| format!("c{channel}.{n}")).find(|name| slot(&key(name)) == of).expect("there are many"),
    }
}

/// Where the stream of a name is kept meanwhile.
pub fn aside(name: &str) -> String {
    format!("{ASIDE}{name}")
}

/// What a server may refuse for a while.
pub const REFUSALS: [Refusal; 5] =
    [Refusal::OutOfMemory, Refusal::Misconfigured, Refusal::ReadOnly, Refusal::Loading, Refusal::NoReplicas];
