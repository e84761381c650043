//! `fantail check --live`: whether the node of these settings lives, asked at its own `/livez`.
//!
//! For images without a shell, whose health check has nothing but the binary.

use super::FAILURE;
use super::failure::ExchangeError;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// The admin listener answers from a thread of its own, so more means that it hangs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the node does not live, as far as it can be told from outside.
#[derive(Debug, thiserror::Error)]
enum LiveError {
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Late,
}

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

async fn answer(url: &str) -> Result<(), LiveError> {
    let request = Request::get(url).body(Empty::<Bytes>::new())?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    match tokio::time::timeout(ANSWER_TIMEOUT, client.request(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(LiveError::Status(answer.status())),
        Ok(Err(error)) => Err(LiveError::Exchange(error.into())),
        Err(_) => Err(LiveError::Late),
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
