//! The proxies beyond the four: how each is run with its configuration of `docs/proxies`, and what it does where they differ.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// What browsers speak to a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// HTTP/1.1 without TLS, which ends before it.
    Plain,
    /// HTTP/1.1 under TLS.
    Tls,
    /// HTTP/2 under TLS.
    Http2,
}

/// What is asked of a node that was killed while another one stands beside it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Killed {
    /// No client notices: the other node answers.
    Other,
    /// Requests are closed without an answer until a probe has seen it; EventSource asks again.
    Probed,
    /// It knows one node alone.
    Alone,
}

/// A proxy and how it is run.
pub struct Far {
    pub name: &'static str,
    pub configuration: &'static str,
    pub front: Front,
    /// What the node is told besides its trust.
    pub flags: &'static [&'static str],
    pub killed: Killed,
    /// Whether an end that invites back arrives as incomplete.
    pub incomplete: bool,
    /// Whether it stops to read from the node while a client does not read.
    pub bounded: bool,
    /// Whether `QUERY` is passed on.
    pub query: bool,
    /// From a folder, the configuration in it, where it listens, and its nodes.
    pub start: fn(&Path, &Path, SocketAddr, &[SocketAddr]) -> Command,
}

/// What most are.
const USUAL: Far = Far {
    name: "",
    configuration: "",
    front: Front::Plain,
    flags: &[],
    killed: Killed::Other,
    incomplete: true,
    bounded: true,
    query: true,
    start: |_, _, _, _| Command::new("false"),
};

pub const FAR: [Far; 9] = [
    Far {
        name: "apache",
        configuration: include_str!("../../docs/proxies/apache.conf"),
        front: Front::Tls,
        start: |_, file, _, _| with("apache2", &["-D", "FOREGROUND", "-f"], file),
        ..USUAL
    },
    Far {
        name: "varnish",
        configuration: include_str!("../../docs/proxies/varnish.vcl"),
        killed: Killed::Probed,
        start: |folder, file, address, _| {
            let mut command = with("varnishd", &["-F", "-s", "malloc,16m", "-f"], file);
            command.args(["-a", &address.to_string(), "-n"]).arg(folder.join("state"));
            command
        },
        ..USUAL
    },
    Far {
        name: "squid",
        configuration: include_str!("../../docs/proxies/squid.conf"),
        start: |_, file, _, _| with("squid", &["-N", "-f"], file),
        ..USUAL
    },
    Far {
        name: "lighttpd",
        configuration: include_str!("../../docs/proxies/lighttpd.conf"),
        front: Front::Http2,
        incomplete: false,
        start: |_, file, _, _| with("lighttpd", &["-D", "-f"], file),
        ..USUAL
    },
    Far {
        name: "trafficserver",
        configuration: include_str!("../../docs/proxies/trafficserver.config"),
        start: traffic_server,
        ..USUAL
    },
    Far {
        name: "h2o",
        configuration: include_str!("../../docs/proxies/h2o.yaml"),
        front: Front::Http2,
        killed: Killed::Alone,
        incomplete: false,
        bounded: false,
        start: |_, file, _, _| with("h2o", &["-c"], file),
        ..USUAL
    },
    Far {
        name: "nghttpx",
        configuration: include_str!("../../docs/proxies/nghttpx.conf"),
        front: Front::Http2,
        query: false,
        start: |_, file, _, _| {
            let mut command = Command::new("nghttpx");
            command.arg(format!("--conf={}", file.display())).arg("--errorlog-file=/dev/stderr");
            command
        },
        ..USUAL
    },
    Far {
        name: "stunnel",
        configuration: include_str!("../../docs/proxies/stunnel.conf"),
        front: Front::Tls,
        flags: &["--proxy-protocol"],
        start: |_, file, _, _| with("stunnel", &[], file),
        ..USUAL
    },
    Far {
        name: "hitch",
        configuration: include_str!("../../docs/proxies/hitch.conf"),
        front: Front::Http2,
        flags: &["--proxy-protocol"],
        killed: Killed::Alone,
        start: |_, file, _, _| with("hitch", &["--config"], file),
        ..USUAL
    },
];

fn with(program: &str, arguments: &[&str], file: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(file);
    command
}

/// It wants a folder of configuration with all of its files.
fn traffic_server(folder: &Path, file: &Path, _: SocketAddr, nodes: &[SocketAddr]) -> Command {
    let etc = folder.join("etc");
    std::fs::create_dir(&etc).expect("a folder");
    for entry in std::fs::read_dir("/etc/trafficserver").expect("its package's own").flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), etc.join(entry.file_name())).expect("a copy");
        }
    }
    let records = [Path::new("/etc/trafficserver/records.config"), file]
        .map(|path| std::fs::read_to_string(path).expect("a file"));
    std::fs::write(etc.join("records.config"), records.concat()).expect("a file");
    // The lines for its other files stand in the comment.
    let shown = |begin: &str| {
        let text = include_str!("../../docs/proxies/trafficserver.config");
        text.split('`').find(|part| part.starts_with(begin)).expect("a line").to_owned() + "\n"
    };
    let all: Vec<String> = nodes.iter().map(SocketAddr::to_string).collect();
    let parents = shown("dest_domain").replace("127.0.0.1:8080;10.0.0.2:8080", &all.join(";"));
    std::fs::write(etc.join("remap.config"), shown("map / ")).expect("a file");
    std::fs::write(etc.join("parent.config"), parents).expect("a file");
    let mut command = Command::new("traffic_server");
    for (name, place) in [("CONFIG_DIR", "etc"), ("LOCAL_STATE_DIR", "."), ("LOG_LOGFILE_DIR", ".")] {
        command.env(format!("PROXY_CONFIG_{name}"), folder.join(place));
    }
    command
}
