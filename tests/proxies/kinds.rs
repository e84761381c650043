//! The proxies: how each is run and reloaded, and how its configuration of `docs/proxies` becomes that of a test.

use crate::site::{Site, run};
use crate::support;
use crate::support::node::eventually;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

/// A proxy and how it is run.
pub struct Proxy {
    pub name: &'static str,
    pub configuration: &'static str,
    /// What the node is told besides its trust.
    pub flags: &'static [&'static str],
    pub start: fn(&Path, &Path) -> Command,
    /// What it says when that is done.
    pub reloaded: &'static str,
    /// A second listener, on port 8000 and without TLS.
    pub plain: fn(&str) -> String,
    /// The second node that the configuration mentions, on port 8081.
    pub pair: fn(&str) -> String,
    /// Makes a running one read its configuration anew; the process that goes on where it is another one.
    pub reload: fn(&Site) -> Option<Child>,
}

pub const PROXIES: [Proxy; 4] = [
    Proxy {
        name: "nginx",
        configuration: include_str!("../../docs/proxies/nginx.conf"),
        flags: &[],
        start: |folder, file| nginx(folder, file, &["-g", "daemon off; pid nginx.pid; error_log stderr notice;"]),
        plain: |text| text.replace("ssl http2;", "ssl http2;\n        listen 127.0.0.1:8000;"),
        pair: |text| text.replace("# server 10.0.0.2:8080;", "server 127.0.0.1:8081;"),
        reloaded: "gracefully shutting down",
        reload: |site| {
            let arguments = ["-g", "daemon off; pid nginx.pid; error_log stderr notice;", "-s", "reload"];
            assert!(nginx(site.folder(), &site.file, &arguments).status().expect("nginx").success());
            None
        },
    },
    Proxy {
        name: "haproxy",
        configuration: include_str!("../../docs/proxies/haproxy.cfg"),
        flags: &["--proxy-protocol"],
        start: |folder, file| {
            let mut command = Command::new("haproxy");
            command.args(["-W", "-db", "-S"]).arg(folder.join("master.sock")).arg("-f").arg(file);
            command
        },
        plain: |text| text.replace("    bind 127.0.0.1:8443", "    bind 127.0.0.1:8000\n    bind 127.0.0.1:8443"),
        pair: |text| text.replace("# server two 10.0.0.2:8080", "server two 127.0.0.1:8081"),
        reloaded: "New worker",
        reload: |site| {
            // Its workers serve before its first process heeds signals, and one that comes too early is lost.
            eventually("an answer of the master", || {
                heeds(&site.folder().join("master.sock")).is_ok_and(|heeds| heeds)
            });
            let pid = rustix::process::Pid::from_child(&site.child);
            rustix::process::kill_process(pid, rustix::process::Signal::USR2).expect("an own child");
            None
        },
    },
    Proxy {
        name: "caddy",
        configuration: include_str!("../../docs/proxies/Caddyfile"),
        flags: &[],
        start: |folder, file| caddy(folder, file, "run"),
        plain: |text| {
            let site = &text[text.find("https://localhost").expect("a site")..];
            let plain = site.replace("https://localhost:8443", "http://localhost:8000");
            let plain: Vec<&str> = plain.lines().filter(|line| !line.trim_start().starts_with("tls ")).collect();
            format!("{text}\n{}\n", plain.join("\n"))
        },
        pair: |text| text.replace("h2c://127.0.0.1:8080", "h2c://127.0.0.1:8080 h2c://127.0.0.1:8081"),
        reloaded: "load complete",
        reload: |site| {
            // By force, for nothing in the file has changed.
            let done = caddy(site.folder(), &site.file, "reload").arg("--force").output().expect("caddy");
            assert!(done.status.success(), "{done:?}");
            None
        },
    },
    Proxy {
        name: "envoy",
        configuration: include_str!("../../docs/proxies/envoy.yaml"),
        flags: &[],
        start: |folder, file| envoy(folder, file, 0),
        plain: |text| {
            let (begin, end) =
                (text.find("  - name: browsers").expect("a listener"), text.find("  clusters:").expect("some"));
            let listener = text[begin..end].replace("name: browsers", "name: plain").replace("8443", "8000");
            let tls = listener.find("- transport_socket:").expect("TLS")..listener.find("  filters:").expect("filters");
            let plain = [&listener[..tls.start], "- ", listener[tls.end..].trim_start()].concat();
            [&text[..end], &plain, &text[end..]].concat()
        },
        pair: |text| {
            text.replace(
                "# - endpoint: {address: {socket_address: {address: 10.0.0.2, port_value: 8080}}}",
                "- endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8081}}}",
            )
        },
        reloaded: "starting main dispatch loop",
        // Another process takes the sockets over, and ends the first one when its time is up.
        reload: |site| Some(run(envoy(site.folder(), &site.file, 1), site.folder())),
    },
];

/// Whether HAProxy's first process answers at its own socket.
fn heeds(socket: &Path) -> std::io::Result<bool> {
    let mut master = UnixStream::connect(socket)?;
    master.set_read_timeout(Some(support::node::PATIENCE))?;
    master.write_all(b"show version\n")?;
    // It answers on while more might be asked.
    master.shutdown(Shutdown::Write)?;
    Ok(master.read_to_string(&mut String::new())? > 0)
}

fn caddy(folder: &Path, file: &Path, what: &str) -> Command {
    let mut command = Command::new("caddy");
    command.args([what, "--adapter", "caddyfile", "--config"]).arg(file);
    command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    command
}

/// The first process of its kind, or the next one, which finds it by their number.
fn envoy(folder: &Path, file: &Path, epoch: u32) -> Command {
    let number = folder.to_string_lossy().bytes().fold(0, |sum: u32, byte| sum.wrapping_mul(31) + u32::from(byte));
    let (number, epoch) = ((number % 100_000_000).to_string(), epoch.to_string());
    let mut command = Command::new("envoy");
    command.args(["--base-id", &number, "--restart-epoch", &epoch, "--concurrency", "2"]);
    command.args(["--drain-time-s", "1", "--parent-shutdown-time-s", "3", "--config-path"]).arg(file);
    command
}

fn nginx(folder: &Path, file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(file).args(arguments);
    command
}
