//! A redis-server of a test's own: a process on a free port and a unix socket, that dies with the test.
//!
//! `FANTAIL_REDIS_SERVER` names another program than `redis-server`, such as one of another version or a Valkey. Also a
//! tiny RESP2 client, so that what a test does to the server shares no code with what it tests.

use super::watchdog::watched;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long a server may take to start, or to answer one command.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running (or stopped, or frozen) redis-server; killed when dropped.
pub struct Redis {
    child: Mutex<Option<Child>>,
    port: u16,
    folder: PathBuf,
    arguments: Vec<String>,
}

impl Redis {
    /// A server without persistence: a restart loses everything.
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// A server that has everything again after a restart.
    pub fn start_persistent() -> Redis {
        Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A server with further arguments for its command line.
    pub fn start_with(arguments: &[&str]) -> Redis {
        Redis::start_as(&|_| arguments.iter().map(|a| a.to_string()).collect())
    }

    /// A server whose port speaks TLS with these files; commands of the test reach it by its plain port.
    pub fn start_tls(folder: &std::path::Path, arguments: &[&str]) -> (Redis, u16) {
        let tls = free_port();
        let mut all = tls_arguments(folder, tls);
        all.extend(arguments.iter().map(|a| a.to_string()));
        (Redis::start_as(&|_| all.clone()), tls)
    }

    /// A sentinel alone, which speaks TLS to everybody; further lines for its configuration.
    pub fn start_tls_sentinel(folder: &std::path::Path, primary: u16, lines: &str) -> (Redis, u16) {
        let tls = free_port();
        let arguments = |own: &std::path::Path| {
            let file = own.join("sentinel.conf");
            let text = format!("sentinel monitor main 127.0.0.1 {primary} 1\n{lines}\n");
            std::fs::write(&file, text).expect("a configuration for the sentinel");
            let more = ["--tls-replication", "yes", "--tls-auth-clients", "no", "--sentinel"].map(String::from);
            [vec![file.display().to_string()], tls_arguments(folder, tls), more.to_vec()].concat()
        };
        (Redis::start_as(&arguments), tls)
    }

    /// A sentinel of one primary, which it calls `main`.
    pub fn start_sentinel(primary: u16, quorum: usize) -> Redis {
        Redis::start_sentinel_with(primary, quorum, "")
    }

    /// The same with further lines of configuration.
    pub fn start_sentinel_with(primary: u16, quorum: usize, lines: &str) -> Redis {
        let arguments = move |folder: &std::path::Path| {
            let file = folder.join("sentinel.conf");
            let text = format!(
                "sentinel monitor main 127.0.0.1 {primary} {quorum}\nsentinel down-after-milliseconds main 1000\n\
                 sentinel failover-timeout main 4000\n{lines}"
            );
            std::fs::write(&file, text).expect("a configuration for the sentinel");
            vec![file.display().to_string(), "--sentinel".to_owned()]
        };
        Redis::start_as(&arguments)
    }

    /// A node of a cluster that has not met others yet.
    pub fn start_cluster_node(more: &[&str]) -> Redis {
        let own = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf"];
        // On a busy machine the first elections may fail, and half a minute later a replica would not stand again.
        let stands = ["--cluster-replica-validity-factor", "0"];
        let all: Vec<String> = own.iter().chain(&stands).chain(more).map(|a| a.to_string()).collect();
        Redis::start_as(&|_| all.clone())
    }

    fn start_as(arguments: &dyn Fn(&std::path::Path) -> Vec<String>) -> Redis {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fantail-redis-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder for redis-server");
        let arguments = arguments(&folder);
        let mut redis = Redis { child: Mutex::new(None), port: 0, folder, arguments };
        for _ in 0..20 {
            redis.port = free_port();
            if redis.try_run() {
                return redis;
            }
        }
        panic!("redis-server does not start: is it installed?\n{}", redis.log());
    }

    /// The process; a stopped server has none.
    pub fn pid(&self) -> Option<u32> {
        self.child.lock().unwrap().as_ref().map(Child::id)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The unix socket's path.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// SIGKILL.
    pub fn stop(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts a stopped server again, on the same port; returns when it answers.
    pub fn run(&self) {
        assert!(self.try_run(), "redis-server does not start again on port {}\n{}", self.port, self.log());
    }

    /// SIGKILL, then the same again on the same port.
    pub fn restart(&self) {
        self.stop();
        self.run();
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends one command on a connection of its own; panics where the server does not answer.
    pub fn command(&self, arguments: &[&str]) -> Reply {
        self.pipeline(&[arguments]).pop().expect("one reply")
    }

    /// Sends several commands at once on one connection; their replies in order.
    pub fn pipeline(&self, commands: &[&[&str]]) -> Vec<Reply> {
        self.try_pipeline(commands).unwrap_or_else(|e| panic!("redis-server on port {}: {e}", self.port))
    }

    /// One command whose words may be any bytes.
    pub fn command_of_bytes(&self, words: &[&[u8]]) -> Reply {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend([format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
        }
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("a server");
        socket.set_read_timeout(Some(PATIENCE)).expect("an option");
        socket.write_all(&bytes).expect("the server takes it");
        Reply::read(&mut BufReader::new(socket)).expect("a reply")
    }

    /// Like [`Redis::pipeline`], for a server that may be away.
    pub fn try_pipeline(&self, commands: &[&[&str]]) -> std::io::Result<Vec<Reply>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bytes = Vec::new();
        for command in commands {
            write!(bytes, "*{}\r\n", command.len())?;
            for argument in *command {
                write!(bytes, "${}\r\n{argument}\r\n", argument.len())?;
            }
        }
        stream.write_all(&bytes)?;
        let mut reader = BufReader::new(stream);
        commands.iter().map(|_| Reply::read(&mut reader)).collect()
    }

    fn try_run(&self) -> bool {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program());
        // A configuration file comes first.
        let file = self.arguments.iter().take_while(|argument| argument.starts_with('/')).count();
        command.args(&self.arguments[..file]);
        command.args(["--bind", "127.0.0.1"]);
        if file == 0 {
            command.args(["--save", ""]);
        }
        command.args(["--port", &self.port.to_string(), "--logfile", "redis.log", "--unixsocket"]);
        command.arg(self.socket()).arg("--dir").arg(&self.folder).args(&self.arguments[file..]);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = spawn(command).expect("setpriv starts redis-server");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if child.try_wait().expect("own child").is_some() {
                return false;
            }
            match self.ping() {
                // An error (LOADING, NOAUTH) is an answer too, but only a loaded server is of use.
                Ok(reply) if !reply.is_error_of("LOADING") => {
                    *self.child.lock().unwrap() = Some(child);
                    return true;
                }
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        false
    }

    /// By the socket, which nobody else has: the port may be another server's, that began at the same time.
    fn ping(&self) -> std::io::Result<Reply> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PING\r\n")?;
        Reply::read(&mut BufReader::new(stream))
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.lock().unwrap();
        let id = child.as_ref().expect("the server runs").id();
        kill_process(Pid::from_raw(id as i32).expect("a pid"), signal).expect("a signal to an own child");
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("redis.log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn tls_arguments(folder: &std::path::Path, port: u16) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let [pem, key, ca] = ["server.pem", "server.key", "ca.pem"].map(file);
    let all =
        ["--tls-port", &port.to_string(), "--tls-cert-file", &pem, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    all.map(String::from).to_vec()
}

/// The server that is tested against.
fn program() -> std::ffi::OsString {
    std::env::var_os("FANTAIL_REDIS_SERVER").filter(|name| !name.is_empty()).unwrap_or("redis-server".into())
}

/// Below the range that the kernel takes client ports from, so that nobody takes it between a stop and a start.
fn free_port() -> u16 {
    loop {
        // A cluster's bus has a port that is 10,000 above.
        let port = fastrand::u16(12_000..22_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a process from a thread that lives as long as the tests do: the parent's death signal goes by thread.
pub fn spawn(command: Command) -> std::io::Result<Child> {
    watched();
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (sender, answer) = mpsc::channel();
    SPAWNER.lock().unwrap().send((command, sender)).expect("the spawner runs");
    answer.recv().expect("the spawner answers")
}

/// A RESP2 reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Text(String),
    Number(i64),
    Nil,
    List(Vec<Reply>),
    Error(String),
}

impl Reply {
    /// The text of a status or bulk reply.
    pub fn text(&self) -> &str {
        match self {
            Reply::Text(text) => text,
            other => panic!("a text was expected: {other:?}"),
        }
    }

    pub fn number(&self) -> i64 {
        match self {
            Reply::Number(number) => *number,
            other => panic!("a number was expected: {other:?}"),
        }
    }

    pub fn list(&self) -> &[Reply] {
        match self {
            Reply::List(list) => list,
            other => panic!("a list was expected: {other:?}"),
        }
    }

    /// Whether it is an error that begins with this word.
    pub fn is_error_of(&self, word: &str) -> bool {
        matches!(self, Reply::Error(text) if text.starts_with(word))
    }

    pub fn read(from: &mut impl BufRead) -> std::io::Result<Reply> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().map_err(|_| std::io::Error::other(format!("no RESP2: {line}")));
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(number()?),
            "$" | "*" if number()? < 0 => Reply::Nil,
            "$" => {
                let mut bytes = vec![0; number()? as usize + 2];
                from.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Reply::Text(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" => Reply::List((0..number()?).map(|_| Reply::read(from)).collect::<Result<_, _>>()?),
            _ => return Err(std::io::Error::other(format!("no RESP2: {line}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_the_same_port_is_not_taken_for_ones_own() {
        let (first, mut second) = (Redis::start(), Redis::start());
        second.stop();
        second.port = first.port;
        assert!(!second.try_run());
    }
}
