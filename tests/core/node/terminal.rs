//! A node in somebody's terminal, which `script` plays.

use crate::support::node::PATIENCE;
use crate::support::program::without_settings;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

const CTRL_C: &[u8] = b"\x03";

struct Terminal {
    child: Child,
    keys: ChildStdin,
    lines: Receiver<String>,
}

impl Terminal {
    fn start(flags: &str) -> Terminal {
        let node = format!(
            "exec {} serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 {flags}",
            env!("CARGO_BIN_EXE_fantail")
        );
        let mut script = Command::new("setpriv");
        without_settings(&mut script);
        script.args(["--pdeathsig", "KILL", "script", "--quiet", "--return", "--command", &node, "/dev/null"]);
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("script");
        let (keys, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line)).ok()
        });
        Terminal { child, keys, lines }
    }

    fn line(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn subscriber(&self) -> Stream {
        let line = self.line("clients");
        let address = line.split_once("://").and_then(|(_, rest)| rest.split('/').next()).expect("an address");
        let address: SocketAddr = address.parse().expect("an address");
        self.line("the node has started");
        Stream::open(address, "/events/a", &[]).begun()
    }

    fn press(&mut self, key: &[u8]) {
        self.keys.write_all(key).and_then(|()| self.keys.flush()).expect("the terminal takes it");
    }

    /// Waits for its end; whether it was a good one.
    fn ends(mut self) -> bool {
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().expect("its end").success()
    }
}

#[test]
fn one_that_is_tried_ends_at_ctrl_c_whatever_its_window() {
    let mut terminal = Terminal::start("--drain 1h --drain-delay 10m");
    let mut stream = terminal.subscriber();
    terminal.press(CTRL_C);
    let said = terminal.line("ending:");
    assert!(said.contains("1 subscribers within 1s") && said.contains("Ctrl-C again"), "{said}");
    assert_eq!(stream.finish().0, End::Incomplete, "it is invited back");
    assert!(terminal.ends());
}

#[test]
fn one_of_a_cluster_says_what_it_waits_for_and_ends_at_the_second_ctrl_c() {
    let redis = Redis::start();
    let mut terminal = Terminal::start(&format!("--redis {} --drain 1h", redis.url()));
    let mut stream = terminal.subscriber();
    terminal.press(CTRL_C);
    let said = terminal.line("ending:");
    assert!(said.contains("1 subscribers within 3600s") && said.contains("Ctrl-C again"), "{said}");
    terminal.press(CTRL_C);
    assert_eq!(stream.finish().0, End::Incomplete);
    assert!(terminal.ends());
}
