//! A Fantail node, from its release binary.

use super::{Kind, Server, Start, certificate, get};
use crate::clients::protocol::Paths;
use crate::process::{Process, free_address, wait_until};
use anyhow::{Context as _, Result, ensure};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The binary to run: the one given, or `fantail` beside this program.
pub fn binary(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("fantail"),
    };
    ensure!(path.is_file(), "no node binary at {}: cargo build --release, or --node PATH", path.display());
    Ok(path)
}

/// Turns of its couriers so far: upper bounds in seconds, each with how many turns were no longer.
pub fn turns(admin: SocketAddr) -> Result<Vec<(f64, u64)>> {
    let text = get(admin, "/metrics")?;
    let buckets = text.lines().filter_map(|line| line.strip_prefix("fantail_courier_turn_seconds_bucket{le=\""));
    let parts = buckets.filter_map(|rest| rest.split_once("\"} "));
    parts.map(|(bound, count)| Ok((bound.parse()?, count.trim().parse()?))).collect()
}

/// Starts one, in memory where no Redis is given, and waits until it is ready.
pub fn start(kind: Kind, start: &Start<'_>) -> Result<Server> {
    let directory = tempfile::tempdir()?;
    let (listen, admin) = (free_address()?, free_address()?);
    let log = directory.path().join("node.log");
    let mut command = Command::new(start.binary.context("no node binary")?);
    command.arg("serve").arg("--listen").arg(listen.to_string()).arg("--admin-listen").arg(admin.to_string());
    command.arg("--couriers").arg(start.couriers.to_string());
    if let Some(redis) = start.redis {
        let replicas: String = start.replicas.iter().map(|replica| format!("&replica={replica}")).collect();
        let read = if replicas.is_empty() { String::new() } else { format!("?read=replica{replicas}") };
        command.arg("--redis").arg(format!("redis://{redis}{read}"));
    }
    if kind.is_packed() {
        command.arg("--compress").arg("on");
    }
    if kind == Kind::NodeTlsLibrary {
        command.arg("--tls-records").arg("rustls");
    }
    if kind.way().is_secure() {
        let [certificate, key] = certificate::write(directory.path())?;
        command.arg("--tls-cert").arg(certificate).arg("--tls-key").arg(key);
    }
    if let Some(every) = start.heartbeat {
        command.arg("--heartbeat").arg(format!("{every}s"));
    }
    command.args(start.node_arguments);
    let output = File::create(&log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut process = Process::start("fantail", &mut command, start.core)?;
    wait_until("fantail", Duration::from_secs(20), &mut process, || get(admin, "/readyz").map(drop))
        .with_context(|| format!("its log ends: {}", tail(&log)))?;
    Ok(Server {
        kind,
        listen,
        admin: Some(admin),
        feed: None,
        paths: Paths::Events,
        live_at_block: true,
        pids: vec![process.pid()],
        process: Some(process),
        directory: Some(directory),
        behind: None,
    })
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
