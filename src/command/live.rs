//! `fantail check --live`: whether the node of these settings lives, asked at its own `/livez`.
//!
//! For images without a shell, whose health check has nothing but the binary.

use super::FAILURE;
use super::failure::deepest;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// The admin listener answers from a thread of its own, so more means that it hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Asks the node whose admin listener is `admin`; 0 where it lives, else 1 and a line that says why not.
pub async fn live(admin: SocketAddr) -> ExitCode {
    let url = format!("http://{}/livez", reachable(admin));
    match answer(&url).await {
        Ok(()) => {
            let _ = writeln!(std::io::stdout(), "ok    {url}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _ = writeln!(std::io::stdout(), "FAIL  {url}: {why}");
            ExitCode::from(FAILURE)
        }
    }
}

async fn answer(url: &str) -> Result<(), String> {
    let request = Request::get(url).body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    match tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("answered {}", answer.status())),
        Ok(Err(error)) => Err(deepest(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

/// An address that stands for all of them is reached at the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_asked_at_loopback() {
        for (listen, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.5:3", "10.0.0.5:3")] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
