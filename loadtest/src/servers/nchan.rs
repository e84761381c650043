//! nginx with nchan, from the Debian packages, with a configuration and a prefix of its own.

use super::{Kind, Server, Start};
use crate::clients::protocol::Paths;
use crate::measure;
use crate::process::{Process, free_address, wait_until};
use crate::publisher::posters::is_accepted;
use anyhow::{Context as _, Result, ensure};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
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
    let prefix = directory.path().display();
    let configuration = format!(
        "user root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {prefix}/nginx.pid;\n\
         error_log {prefix}/error.log warn;\nload_module {MODULE};\n\
         events {{ worker_connections 19900; }}\n\
         http {{ access_log off; nchan_shared_memory_size 256M; keepalive_requests 100000000; {upstream}\n\
         client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy; fastcgi_temp_path {prefix}/fastcgi;\n\
         uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;\n\
         server {{ listen {listen} backlog=4096;\n\
         location ~ ^/pub/(.+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 1000;\n\
         nchan_message_timeout 1h; {pass} }}\n\
         location ~ ^/sub/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1;\n\
         nchan_subscriber_first_message newest; {ping} {pass} }} }} }}\n"
    );
    let file = directory.path().join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start("nginx", &mut command, start.core)?;
    wait_until("nginx", Duration::from_secs(10), &mut process, || {
        TcpStream::connect_timeout(&listen, Duration::from_secs(1))?;
        ensure!(!measure::children(process_id(&file)?).is_empty(), "no worker yet");
        // Until it has reached Redis, it refuses subscribers.
        start.redis.map_or(Ok(()), |_| publish(listen))
    })?;
    let pids = measure::children(process.pid());
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

/// The master's process id, once it has written it.
fn process_id(configuration: &Path) -> Result<u32> {
    let text = std::fs::read_to_string(configuration.with_file_name("nginx.pid"))?;
    text.trim().parse().context("nginx.pid")
}
