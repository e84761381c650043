//! nginx as the end of TLS and HTTP/2 in front of a node in the clear, from the Debian package: both are measured together.

use super::nginx::{self, Configuration};
use super::{Kind, Server, Start, certificate, node};
use crate::process::free_address;
use anyhow::Result;
use std::net::SocketAddr;
use std::path::Path;

/// Subscribers that one worker carries: each takes two of the 20,000 descriptors of a process.
pub const MOST: u32 = 9_000;

/// Starts a node and nginx before it, on the same core.
pub fn start(kind: Kind, start: &Start<'_>) -> Result<Server> {
    let behind = node::start(Kind::Node, start)?;
    let directory = tempfile::tempdir()?;
    let listen = free_address()?;
    certificate::write(directory.path())?;
    let http = http(kind, directory.path(), listen, behind.listen);
    let configuration = Configuration { main: String::new(), http };
    let (process, workers) = nginx::start(directory.path(), &configuration, listen, start.core, || Ok(()))?;
    let pids = [workers, behind.pids.clone()].concat();
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

/// As docs/proxies.md has it, and from several addresses: one has 28,232 ports to reach the node from by Linux' default, of which half
/// were seen to be used, and one that was closed is not free again for a minute.
fn http(kind: Kind, directory: &Path, listen: SocketAddr, node: SocketAddr) -> String {
    let http2 = if kind.way().is_http2() { " http2" } else { "" };
    let prefix = directory.display();
    format!(
        "split_clients $connection $from {{ 25% 127.2.0.1; 25% 127.2.0.2; 25% 127.2.0.3; * 127.2.0.4; }}\n\
         server {{ listen {listen} ssl{http2} backlog=4096;\n\
         ssl_certificate {prefix}/cert.pem; ssl_certificate_key {prefix}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;\n\
         location /events {{ proxy_pass http://{node}; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_bind $from; proxy_buffering off; proxy_read_timeout 1h; }} }}"
    )
}
