//! Redis as a server that speaks RESP, in the same runtime: nodes have their own backplane, and connect by unix sockets.

mod line;
mod operator;

use super::played::{Fields, Meddling, Played};
use super::redis_model::front::Host;
use super::redis_model::{Refusal, Reply, Server, Version};
use fantail::backplane::Backplane;
use fantail::backplane::redis::{Redis, Settings};
use fantail::config::Follow;
use fantail::outside::Outside;
use fantail::position::Position;
use line::{Line, Weather};
use operator::{amount, id_of, key, position, words};
use parking_lot::Mutex;
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
    host: Host,
    follow: Follow,
    seed: u64,
    lines: Mutex<Vec<Arc<Line>>>,
    weather: Arc<Mutex<Weather>>,
    replica: Mutex<Option<Server>>,
    /// Until when a key is about to end.
    expiring: Mutex<Instant>,
    /// Which server answers: another number after each failover.
    lives: AtomicU32,
    /// Where the sockets lie.
    folder: PathBuf,
    tasks: Vec<AbortHandle>,
}

impl Wire {
    /// A server without data; `now_ms` tells its time.
    pub fn new(
        seed: u64,
        version: Version,
        follow: Follow,
        now_ms: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Wire> {
        let mut server = Server::new(version);
        server.set_chance(seed);
        let host = Host::new(server, now_ms);
        let (keeps, folder) = (host.clone(), own_folder());
        let tasks = vec![
            tokio::spawn(async move { keeps.keep_time().await }).abort_handle(),
            tokio::spawn(beat()).abort_handle(),
        ];
        Arc::new(Wire {
            host,
            follow,
            seed,
            lines: Mutex::default(),
            weather: Arc::default(),
            replica: Mutex::default(),
            expiring: Mutex::new(Instant::now()),
            lives: AtomicU32::new(1),
            folder,
            tasks,
        })
    }

    fn line(&self, number: usize) -> Arc<Line> {
        self.lines.lock()[number].clone()
    }

    fn all_lines(&self) -> Vec<Arc<Line>> {
        self.lines.lock().clone()
    }

    /// Whether a command was carried out, all of it.
    fn does(&self, command: Vec<bytes::Bytes>) -> bool {
        !matches!(self.run(command), Reply::Error(_) | Reply::Number(0))
    }
}

/// tokio's paused clock jumps to the next timer also where a socket has something to read: so there is always one soon.
async fn beat() {
    loop {
        sleep(Duration::from_millis(1)).await;
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
        self.tasks.iter().for_each(AbortHandle::abort);
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
        let socket = self.folder.join(number.to_string());
        lines.push(Line::listen(&socket, self.seed, number, self.host.clone(), self.weather.clone()));
        let follow = match self.follow {
            Follow::Auto if !waits => Follow::Tracking,
            follow => follow,
        };
        let settings = Settings { follow, outside, ..Settings::new(&url(&socket)) };
        (number, Redis::start(settings, &Handle::current()).expect("an address"))
    }

    fn end(&self, line: usize) {
        self.line(line).end();
    }

    fn now_ms(&self) -> u64 {
        self.host.now_ms()
    }

    fn last(&self, name: &str) -> Position {
        self.host.with(|server| server.last_id(0, &key(name))).map_or(Position::ZERO, position)
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
        !matches!(self.run_all(commands).pop(), Some(Reply::Error(_)) | None)
    }

    fn replicate(&self) {
        *self.replica.lock() = Some(self.host.with(|server| server.clone()));
    }

    /// The same name leads to another process, which has what the replica has.
    fn fail_over(&self, stream: &str) -> Position {
        let Some(replica) = self.replica.lock().take() else { return self.last(stream) };
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        self.all_lines().iter().for_each(|line| line.cut());
        self.host.with(|server| {
            server.forget_readers();
            server.replace_data(&replica);
            server.set_ids(&format!("{life:040x}"), &format!("{life:040x}"));
        });
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
        self.host.with(Server::forget_readers);
        self.line(line).behave(|_| {});
    }

    fn overflow(&self) {
        self.host.with(|server| server.set_tracking_limit(FEW_READERS));
        self.run(words(&["ECHO", "x"]));
        self.host.with(|server| server.set_tracking_limit(1_000_000));
    }

    fn set_shard_down(&self, _: Option<usize>) {}

    fn is_down(&self, _: &str) -> bool {
        self.is_still()
    }

    /// A key that is about to end is left alone.
    fn is_still(&self) -> bool {
        self.weather.lock().stopped().is_some() || *self.expiring.lock() > Instant::now()
    }

    fn calm_since(&self, line: usize) -> Option<Instant> {
        Some(self.line(line).calm_since()?.max(self.weather.lock().calm_since()?))
    }

    fn heal(&self) {
        self.weather.lock().clear(&self.host);
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
                self.weather.lock().refuse(&self.host, *refusal, *on);
                true
            }
            Meddling::Stop { time } => {
                self.weather.lock().stop(*time);
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
            Meddling::Evict { name } => self.host.with(|server| server.evict(0, &key(name))),
            Meddling::Flush => self.does(words(&["FLUSHALL"])),
        }
    }
}

impl Wire {
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

/// Where the stream of a name is kept meanwhile.
pub fn aside(name: &str) -> String {
    format!("{ASIDE}{name}")
}

/// What a server may refuse for a while.
pub const REFUSALS: [Refusal; 5] =
    [Refusal::OutOfMemory, Refusal::Misconfigured, Refusal::ReadOnly, Refusal::Loading, Refusal::NoReplicas];
