//! Centrifugo, from `go install`, with unidirectional SSE and the history that its subscribers would resume from.

use super::{Kind, Server, Start, get};
use crate::clients::protocol::Paths;
use crate::process::{Process, free_address, wait_until};
use anyhow::{Context as _, Result};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The program, looked for on the path.
const PROGRAM: &str = "centrifugo";
/// How it is had.
const HOW: &str = "no centrifugo on the path: go install github.com/centrifugal/centrifugo/v6@v6.9.1";

/// Starts it; on Redis if one is given.
pub fn start(start: &Start<'_>) -> Result<Server> {
    let directory = tempfile::tempdir()?;
    let listen = free_address()?;
    let engine = match start.redis {
        Some(redis) => json!({ "type": "redis", "redis": { "address": format!("redis://{redis}") } }),
        None => json!({ "type": "memory" }),
    };
    let configuration = json!({
        "http_server": { "address": listen.ip().to_string(), "port": listen.port().to_string() },
        "http_api": { "insecure": true },
        "health": { "enabled": true },
        "uni_sse": { "enabled": true },
        "client": { "allow_anonymous_connect_without_token": true },
        "channel": { "without_namespace": {
            "allow_subscribe_for_client": true,
            "allow_subscribe_for_anonymous": true,
            "history_size": 1000,
            "history_ttl": "1h",
            "force_recovery": true,
        } },
        "engine": engine,
        "log": { "level": "error" },
    });
    let file = directory.path().join("config.json");
    std::fs::write(&file, configuration.to_string())?;
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(&file);
    if start.core.is_some() {
        // It has one core; more threads than that would only be in each other's way.
        command.env("GOMAXPROCS", "1");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start(PROGRAM, &mut command, start.core).context(HOW)?;
    wait_until(PROGRAM, Duration::from_secs(20), &mut process, || get(listen, "/health").map(drop))?;
    Ok(Server {
        kind: Kind::Centrifugo,
        listen,
        admin: None,
        feed: None,
        paths: Paths::Centrifugo,
        live_at_block: true,
        pids: vec![process.pid()],
        process: Some(process),
        directory: Some(directory),
        behind: None,
    })
}
