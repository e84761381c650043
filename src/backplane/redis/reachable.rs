//! Waiting until a server that was silent takes connections again.
//!
//! Where packets are dropped without a word, the kernel repeats the first one of a connection after one second, and then
//! after two more: a server that is back would be noticed late. So a new connection is begun every quarter of a second,
//! beside those that wait, and all are dropped at the first answer.

use super::address::{Endpoint, Host};
use fred::types::config::ServerConfig;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// Between the beginnings of two connections.
const EVERY: Duration = Duration::from_millis(250);
/// How long one connection is waited for: so there are four at once at most.
const EACH: Duration = Duration::from_secs(1);
/// How long is waited in all: an ordinary attempt says then what is wrong.
const IN_ALL: Duration = Duration::from_secs(10);

/// Waits until the server of an endpoint answers in any way, or for ten seconds; a unix socket does at once.
pub async fn wait_until_reachable(endpoint: &Endpoint) {
    let ServerConfig::Centralized { server } = &endpoint.server else { return };
    let (host, end) = (server.host.to_string(), Instant::now() + IN_ALL);
    let mut begun = FuturesUnordered::new();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(answer) = begun.next() => if answer {
                return;
            },
            () = sleep_until(end) => return,
            _ = tick.tick() => begun.push(answers(host.clone(), server.port)),
        }
    }
}

/// Whether a greeting of TLS is answered in TLS.
pub async fn speaks_tls(host: &Host) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let Ok(builder) = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() else {
        return false;
    };
    let config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let Ok(name) = ServerName::try_from("localhost") else { return false };
    let Ok(mut session) = ClientConnection::new(Arc::new(config), name) else { return false };
    let mut greeting = Vec::new();
    let asked = async {
        session.write_tls(&mut greeting)?;
        let mut socket = TcpStream::connect((host.name.as_str(), host.port)).await?;
        socket.write_all(&greeting).await?;
        socket.read_u8().await
    };
    // A record of a handshake, or of an alert (RFC 8446, section 5.1).
    matches!(timeout(EACH, asked).await, Ok(Ok(0x15 | 0x16)))
}

/// Whether one connection is answered, be it by a refusal.
async fn answers(host: String, port: u16) -> bool {
    match timeout(EACH, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            !matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable)
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::redis::Settings;
    use socket2::{Domain, SockAddr, Socket, Type};
    use std::net::SocketAddr;

    fn endpoint(address: SocketAddr) -> Endpoint {
        let address = Settings::new(&format!("redis://{address}")).address().expect("an address");
        address.fixed().expect("one server")
    }

    /// A full queue of connections drops what comes, without a word, as a broken network does.
    #[tokio::test]
    async fn silence_is_waited_out_and_any_answer_ends_it() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a port");
        listener.listen(0).expect("a queue of one");
        let address = listener.local_addr().expect("bound").as_socket().expect("an address");
        let _fills = TcpStream::connect(address).await.expect("the one");
        let to = endpoint(address);
        let mut waiting = Box::pin(wait_until_reachable(&to));
        assert!(timeout(Duration::from_millis(600), waiting.as_mut()).await.is_err(), "nobody answers");
        listener.accept().expect("the one that fills it");
        waiting.await;
        drop(listener);
        wait_until_reachable(&to).await;
    }
}
