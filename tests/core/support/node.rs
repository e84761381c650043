//! A node of a test's own: a `fantail serve` process on free ports, that dies with the test.

use super::client::{Connection, Response};
use super::program::without_settings;
use super::redis::{Redis, spawn};
use super::stream::Stream;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// For whatever must come at all, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `fantail serve`; killed when dropped.
pub struct Node {
    child: Child,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Node {
    /// A node with channels in its own memory.
    pub fn start(flags: &[&str]) -> Node {
        Node::serve(flags)
    }

    /// A node of a cluster.
    pub fn on(redis: &Redis, flags: &[&str]) -> Node {
        Node::serve(&[&["--redis", &redis.url()], flags].concat())
    }

    /// A node with these variables in its environment.
    pub fn with(flags: &[&str], variables: &[(&str, &str)]) -> Node {
        Node::serve_with(flags, variables)
    }

    /// A node that may have so many files open.
    pub fn with_files(files: u32, flags: &[&str]) -> Node {
        Node::launch(&["prlimit", &format!("--nofile={files}:{files}")], flags, &[])
    }

    fn serve(flags: &[&str]) -> Node {
        Node::serve_with(flags, &[])
    }

    fn serve_with(flags: &[&str], variables: &[(&str, &str)]) -> Node {
        Node::launch(&[], flags, variables)
    }

    /// By a command line that the binary's is appended to.
    fn launch(by: &[&str], flags: &[&str], variables: &[(&str, &str)]) -> Node {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).args(by).args([env!("CARGO_BIN_EXE_fantail"), "serve"]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).args(flags);
        without_settings(&mut command);
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command).expect("setpriv starts fantail");
        let log = Arc::new(Mutex::new(String::new()));
        gather(child.stderr.take().expect("piped"), log.clone());
        let banner = first_lines(child.stdout.take().expect("piped"));
        let lines: Vec<String> = [(); 3].iter().map_while(|()| banner.recv_timeout(PATIENCE).ok()).collect();
        let address = |label: &str| {
            let line = lines.iter().find(|line| line.trim_start().starts_with(label))?;
            let url = line.split_once("://")?.1;
            url.split(['/', ' ']).next()?.parse().ok()
        };
        let (Some(listen), Some(admin)) = (address("clients"), address("admin")) else {
            let _ = child.kill();
            panic!("no banner within {PATIENCE:?}: {lines:?}\n{}", log.lock().unwrap());
        };
        Node { child, listen, admin, log }
    }

    /// Memory that the process holds now, in bytes.
    pub fn resident(&self) -> u64 {
        self.of_process("VmRSS:").trim_end_matches(" kB").parse::<u64>().expect("kB") << 10
    }

    /// Whether the kernel may make huge pages of its memory.
    pub fn may_have_huge_pages(&self) -> bool {
        self.of_process("THP_enabled:") != "0"
    }

    /// A variable that its environment began with.
    pub fn variable(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/environ", self.child.id())).expect("an own child");
        text.split('\0').find_map(|variable| Some(variable.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    }

    /// How many open files its table has room for now.
    pub fn room_for_files(&self) -> u64 {
        self.of_process("FDSize:").parse().expect("a number")
    }

    /// What the kernel says of the process.
    fn of_process(&self, field: &str) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("an own child");
        text.lines().find_map(|line| line.strip_prefix(field)).expect(field).trim().to_owned()
    }

    /// What the node has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a log line that contains all these.
    pub fn logs(&self, parts: &[&str]) {
        eventually(&format!("a log line with {parts:?}"), || {
            self.log.lock().unwrap().lines().any(|line| parts.iter().all(|part| line.contains(part)))
        });
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a pid");
        kill_process(pid, signal).expect("a signal to an own child");
    }

    /// Whether a `STOP` has reached all of it.
    pub fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a process");
        let stopped = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        tasks.flatten().all(stopped)
    }

    /// Waits for the end; the exit code, `None` after a deadly signal.
    pub fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the node's end", || {
            status = self.child.try_wait().expect("own child");
            status.is_some()
        });
        status.expect("just seen").code()
    }

    /// Whether the process is still there.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("own child").is_none()
    }

    /// Subscribes: the stream behind a head with status 200.
    pub fn subscribe(&self, target: &str) -> Stream {
        Stream::open(self.listen, target, &[])
    }

    /// Subscribes as EventSource reconnects.
    pub fn resume(&self, target: &str, last_event_id: &str) -> Stream {
        Stream::open(self.listen, target, &[("Last-Event-ID", last_event_id)])
    }

    /// A request whose answer is whole, on a connection of its own.
    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response {
        Connection::open(self.listen).ask(method, target, headers, body.as_bytes())
    }

    pub fn get(&self, target: &str) -> Response {
        self.ask("GET", target, &[], "")
    }

    /// Publishes over HTTP; the event's id.
    pub fn publish(&self, target: &str, data: &str) -> String {
        let answer = self.ask("POST", target, &[], data);
        assert_eq!(answer.head.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// A page of the operators' listener.
    pub fn page(&self, path: &str) -> Response {
        Connection::open(self.admin).ask("GET", path, &[], b"")
    }

    pub fn status(&self) -> serde_json::Value {
        self.page("/status").json()
    }

    /// A sample of `/metrics` by its name with labels; `None` where there is none.
    pub fn sample(&self, name: &str) -> Option<f64> {
        let text = self.page("/metrics").text();
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
        Some(line[name.len() + 1..].parse().expect("a number"))
    }

    /// A sample that must be there.
    pub fn metric(&self, name: &str) -> f64 {
        self.sample(name).unwrap_or_else(|| panic!("there is no {name} in /metrics"))
    }

    /// Waits until a metric has a value.
    pub fn metric_becomes(&self, name: &str, value: f64) {
        let mut last = None;
        let reached = within(PATIENCE, || {
            last = self.sample(name);
            last == Some(value)
        });
        assert!(reached, "{name} is {last:?}, not {value}, after {PATIENCE:?}\n{}", self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the node on {}:\n{}", self.listen, self.log());
        }
    }
}

/// Looks until a condition holds; panics when it does not come.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(within(PATIENCE, condition), "{what} has not come within {PATIENCE:?}");
}

/// Looks until a condition holds; whether it did in time.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn gather(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut log = into.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// Lines as they come; reading goes on when nobody takes them any more, so that the node never waits.
fn first_lines(from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}
