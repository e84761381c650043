//! nginx from the Debian packages, with a configuration and a prefix of its own, and one worker.

use crate::measure;
use crate::process::{Process, wait_until};
use anyhow::{Context as _, Result, ensure};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What its configuration says beside what all have.
pub struct Configuration {
    /// Before the block of events, such as modules.
    pub main: String,
    /// In the block of HTTP.
    pub http: String,
}

/// Starts it in a directory, where it writes all that it writes; returns the master and its worker's id once it listens and is
/// `ready`.
pub fn start(
    directory: &Path,
    configuration: &Configuration,
    listen: SocketAddr,
    core: Option<usize>,
    mut ready: impl FnMut() -> Result<()>,
) -> Result<(Process, Vec<u32>)> {
    let file = directory.join("nginx.conf");
    std::fs::write(&file, text(directory, configuration))?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file).arg("-p").arg(directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::start("nginx", &mut command, core).context("apt-get install nginx-light")?;
    let master = process.pid();
    wait_until("nginx", Duration::from_secs(10), &mut process, || {
        TcpStream::connect_timeout(&listen, Duration::from_secs(1))?;
        ensure!(!measure::children(master).is_empty(), "no worker yet");
        ready()
    })?;
    let workers = measure::children(master);
    Ok((process, workers))
}

fn text(directory: &Path, Configuration { main, http }: &Configuration) -> String {
    let prefix = directory.display();
    format!(
        "user root;\ndaemon off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\npid {prefix}/nginx.pid;\n\
         error_log {prefix}/error.log warn;\n{main}\nevents {{ worker_connections 19900; }}\n\
         http {{ access_log off;\n\
         client_body_temp_path {prefix}/body; proxy_temp_path {prefix}/proxy; fastcgi_temp_path {prefix}/fastcgi;\n\
         uwsgi_temp_path {prefix}/uwsgi; scgi_temp_path {prefix}/scgi;\n{http} }}\n"
    )
}
