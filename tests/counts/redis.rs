//! A Redis for the counts: its own process, and a connection that allocates nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with its folder when it is dropped.
pub struct Redis {
    server: Child,
    folder: PathBuf,
    connection: UnixStream,
}

impl Redis {
    pub fn start() -> Redis {
        let folder = std::env::temp_dir().join(format!("fantail-counts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let program = std::env::var("FANTAIL_REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let server = Command::new(program)
            .args(["--port", "0", "--save", "", "--dir"])
            .arg(&folder)
            .arg("--unixsocket")
            .arg(socket(&folder))
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server");
        let begun = Instant::now();
        let connection = loop {
            match UnixStream::connect(socket(&folder)) {
                Ok(connection) => break connection,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "no Redis: {error}"),
            }
            std::thread::yield_now();
        };
        Redis { server, folder, connection }
    }

    pub fn url(&self) -> String {
        format!("unix:{}", socket(&self.folder).display())
    }

    /// Sends one `XADD` to the channel of a number below 1,000, `u007`, and reads the id.
    pub fn add(&mut self, channel: u32, data: &str) {
        let mut command = [0; 512];
        let rest = {
            let mut left = &mut command[..];
            let length = data.len();
            write!(
                left,
                "*5\r\n$4\r\nXADD\r\n$8\r\nsse:u{channel:03}\r\n$1\r\n*\r\n$4\r\ndata\r\n${length}\r\n{data}\r\n"
            )
            .expect("room");
            left.len()
        };
        let used = command.len() - rest;
        self.connection.write_all(&command[..used]).expect("it is up");
        let mut answer = [0; 64];
        let read = self.connection.read(&mut answer).expect("it answers");
        assert!(answer[..read].starts_with(b"$"), "no id");
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("redis.sock")
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = (self.server.kill(), self.server.wait(), std::fs::remove_dir_all(&self.folder));
    }
}
