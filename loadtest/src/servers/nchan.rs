//! nginx with nchan, from the Debian packages.

use super::nginx::{self, Configuration};
use super::{Kind, Server, Start};
use crate::clients::protocol::Paths;
use crate::process::free_address;
use crate::publisher::posters::is_accepted;
use anyhow::{Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Starts it; on Redis if one is given.
pub fn start(start: &Start<'_>) -> Result<Server> {
    ensure!(Path::new(MODULE).exists(), "no nchan: apt-get install nginx-light libnginx-mod-nchan");
    let directory = tempfile::tempdir()?;
    let listen = free_address()?;
    let (upstream, pass) = match start.redis {
        Some(redis) => (format!("upstream redis {{ nchan_redis_server redis://{redis}; }}"), "nchan_redis_pass redis;"),
        None => (String::new(), ""),
    };
    let ping = start.heartbeat.map_or(String::new(), |every| {
        format!("nchan_eventsource_ping_interval {every}; nchan_eventsource_ping_comment ping;")
    });
    let http = format!(
        "nchan_shared_memory_size 256M; keepalive_requests 100000000; {upstream}\n\
         server {{ listen {listen} backlog=4096;\n\
         location ~ ^/pub/(.+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 1000;\n\
         nchan_message_timeout 1h; {pass} }}\n\
         location ~ ^/sub/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1;\n\
         nchan_subscriber_first_message newest; {ping} {pass} }} }}"
    );
    let configuration = Configuration { main: format!("load_module {MODULE};"), http };
    let (process, pids) = nginx::start(directory.path(), &configuration, listen, start.core, || {
        // Until it has reached Redis, it refuses subscribers.
        start.redis.map_or(Ok(()), |_| publish(listen))
    })?;
    Ok(Server {
        kind: Kind::Nchan,
        listen,
        admin: None,
        feed: None,
        paths: Paths::Nchan,
        live_at_block: false,
        pids,
        process: Some(process),
        directory: Some(directory),
        behind: None,
    })
}

/// Publishes an event to a channel that nobody is subscribed to.
fn publish(listen: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&listen, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"POST /pub/ready HTTP/1.1\r\nHost: n\r\nConnection: close\r\nContent-Length: 1\r\n\r\n.")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    is_accepted(&answer).map(drop)
}
