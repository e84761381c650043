//! nginx as the end of TLS and HTTP/2 in front of a node in the clear, from the Debian package: both are measured together.

use super::{Kind, Server, Start, node};
use crate::measure;
use crate::process::{Process, free_address, wait_until};
use anyhow::{Context as _, Result, ensure};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Subscribers that one worker carries: each takes two of the 20,000 descriptors of a process.
pub const MOST: u32 = 9_000;

/// Starts a node and nginx before it, on the same core.
pub fn start(kind: Kind, start: &Start<'_>) -> Result<Server> {
    let behind = node::start(Kind::Node, start)?;
    let directory = tempfile::tempdir()?;
    let listen = free_address()?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(directory.path().join("cert.pem"), made.cert.pem())?;
    std::fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem())?;
    let file = directory.path().join("nginx.conf");
    std::fs::write(&file, configuration(kind, directory.path(), listen, behind.listen))?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start("nginx", &mut command, start.core).context("apt-get install nginx-light")?;
    let master = process.pid();
    wait_until("nginx", Duration::from_secs(10), &mut process, || {
        TcpStream::connect_timeout(&listen, Duration::from_secs(1))?;
        ensure!(!measure::children(master).is_empty(), "no worker yet");
        Ok(())
    })?;
    let pids = [measure::children(master), behind.pids.clone()].concat();
    Ok(Server {
        kind,
        listen,
        admin: behind.admin,
        feed: None,
        paths: behind.paths,
        live_at_block: true,
        pids,
        process: Some(process),
        directory: Some(directory),
        behind: Some(Box::new(behind)),
    })
}

/// As docs/proxies.md has it, with room for as many as one worker can carry.
fn configuration(kind: Kind, directory: &Path, listen: SocketAddr, node: SocketAddr) -> String {
    let http2 = if kind.way().is_http2() { " http2" } else { "" };
    let prefix = directory.display();
    format!(
        "user root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {prefix}/nginx.pid;\n\
         error_log {prefix}/error.log warn;\nevents {{ worker_connections 19900; }}\n\
         http {{ access_log off;\n\
         client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy; fastcgi_temp_path {prefix}/fastcgi;\n\
         uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;\n\
         server {{ listen {listen} ssl{http2} backlog=4096;\n\
         ssl_certificate {prefix}/cert.pem; ssl_certificate_key {prefix}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;\n\
         location /events {{ proxy_pass http://{node}; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_buffering off; proxy_read_timeout 1h; }} }} }}\n"
    )
}
