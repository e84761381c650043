//! A Redis server of the run's own, and a small client that pipelines.

use crate::process::{Process, free_address, wait_until};
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A Redis: started here, or given.
pub struct Redis {
    pub address: SocketAddr,
    /// Those that nodes read from instead.
    pub replicas: Vec<Redis>,
    _process: Option<Process>,
    _directory: Option<tempfile::TempDir>,
}

impl Redis {
    /// Starts `redis-server` on a free port, without persistence.
    pub fn start(core: Option<usize>) -> Result<Redis> {
        Redis::start_as(core, &[])
    }

    /// The same with so many replicas, which have all that it has when this returns.
    pub fn start_with(replicas: usize, core: Option<usize>) -> Result<Redis> {
        let mut redis = Redis::start_as(core, &["--repl-diskless-sync-delay", "0"])?;
        let port = redis.address.port().to_string();
        for _ in 0..replicas {
            let mut replica = Redis::start_as(core, &["--replicaof", "127.0.0.1", &port])?;
            let (address, process) = (replica.address, replica._process.as_mut().context("just started")?);
            wait_until("a replica", TIMEOUT, process, || {
                let info = Connection::open(address)?.command(&[b"INFO", b"replication"])?;
                ensure!(String::from_utf8_lossy(&info).contains("master_link_status:up"), "not in step");
                Ok(())
            })?;
            redis.replicas.push(replica);
        }
        Ok(redis)
    }

    fn start_as(core: Option<usize>, more: &[&str]) -> Result<Redis> {
        let address = free_address()?;
        let directory = tempfile::tempdir()?;
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &address.port().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--loglevel", "warning", "--maxclients", "1000"]).args(more);
        command.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = Process::start("redis-server", &mut command, core)?;
        wait_until("redis-server", TIMEOUT, &mut process, || Connection::open(address)?.command(&[b"PING"]).map(drop))?;
        Ok(Redis { address, replicas: Vec::new(), _process: Some(process), _directory: Some(directory) })
    }

    /// One that runs already.
    pub fn given(address: SocketAddr) -> Redis {
        Redis { address, replicas: Vec::new(), _process: None, _directory: None }
    }

    /// CPU seconds of all replicas together.
    pub fn replicas_cpu(&self) -> Result<f64> {
        self.replicas.iter().map(|replica| Ok(replica.usage()?.cpu)).sum()
    }

    /// CPU seconds of its main thread and calls by command, without those of this crate's own INFO.
    pub fn usage(&self) -> Result<Usage> {
        let mut connection = Connection::open(self.address)?;
        let text = String::from_utf8(connection.command(&[b"INFO", b"everything"])?)?;
        let number = |name: &str| -> f64 {
            text.lines().find_map(|l| l.strip_prefix(name)).and_then(|v| v.trim().parse().ok()).unwrap_or(0.0)
        };
        let calls = text.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        });
        let (cpu, sent) =
            (number("used_cpu_sys:") + number("used_cpu_user:"), number("total_net_output_bytes:") as u64);
        Ok(Usage { cpu, sent, calls: calls.collect() })
    }
}

/// What a Redis did since its start.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Seconds.
    pub cpu: f64,
    /// Bytes that it sent, to everybody.
    pub sent: u64,
    pub calls: Vec<(String, u64)>,
}

impl Usage {
    /// Calls of some commands since an earlier reading.
    pub fn calls_since(&self, earlier: &Usage, names: &[&str]) -> u64 {
        let sum = |usage: &Usage| -> u64 {
            usage.calls.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, calls)| calls).sum()
        };
        sum(self).saturating_sub(sum(earlier))
    }
}

/// Reads of stream history, in any form.
pub const READS: &[&str] = &["xread", "xrange", "xrevrange"];

/// One RESP connection.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("Redis at {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Connection { reader: BufReader::new(stream) })
    }

    /// Sends one command and returns its reply if that is a string or number.
    pub fn command(&mut self, parts: &[&[u8]]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        encode(&mut bytes, parts);
        self.send(&bytes)?;
        self.reply()
    }

    /// Sends encoded commands.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.get_mut().write_all(bytes).context("writing to Redis")
    }

    /// Reads one reply: a simple or bulk string or a number; an error reply is an error.
    pub fn reply(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).context("reading from Redis")?;
        ensure!(line.ends_with(b"\r\n"), "Redis closed the connection");
        line.truncate(line.len() - 2);
        let rest = line.split_off(1);
        match line[0] {
            b'+' | b':' => Ok(rest),
            b'-' => bail!("Redis: {}", String::from_utf8_lossy(&rest)),
            b'$' => {
                let length: i64 = std::str::from_utf8(&rest)?.parse()?;
                let Ok(length) = usize::try_from(length) else { return Ok(Vec::new()) };
                let mut body = vec![0; length + 2];
                self.reader.read_exact(&mut body)?;
                body.truncate(length);
                Ok(body)
            }
            other => bail!("an unexpected reply from Redis: {:?}", other as char),
        }
    }
}

/// Appends a command in RESP.
pub fn encode(into: &mut Vec<u8>, parts: &[&[u8]]) {
    write!(into, "*{}\r\n", parts.len()).expect("writing to memory");
    for part in parts {
        write!(into, "${}\r\n", part.len()).expect("writing to memory");
        into.extend_from_slice(part);
        into.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_encoded_by_length() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &[b"SET", b"a\r\n", b""]);
        assert_eq!(bytes, b"*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$0\r\n\r\n");
    }

    #[test]
    fn calls_between_two_readings() {
        let usage = |calls: u64| Usage { cpu: 0.0, sent: 0, calls: vec![("xread".into(), calls), ("get".into(), 9)] };
        assert_eq!(usage(7).calls_since(&usage(3), READS), 4);
    }
}
