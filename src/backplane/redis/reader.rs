//! A connection that only reads, one call at a time, and whose replies have a limit (in [`reply`]).
//!
//! RESP2, which every server speaks, unless changes of what it reads are reported elsewhere. Its owner drops it after any
//! error, and after a reply that was not read to its end.

pub mod reply;
pub mod request;

use super::address::Endpoint;
use super::fault;
use crate::backplane::BackplaneError;
use crate::backplane::error::Outage;
use bytes::Bytes;
use fred::types::config::ServerConfig;
use futures_util::FutureExt;
use reply::{Input, Reply, Rest, Taken};
use request::Request;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// How often an idle connection is probed by the kernel: networks that drop idle flows must not take it for one;
/// shorter than any such limit in use.
const KEEPALIVE: Duration = Duration::from_secs(30);

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// One connection that reads entries.
pub struct Reader {
    input: Input<Box<dyn Stream>>,
    patience: Duration,
    /// The moment of the last answer.
    answered: Instant,
    /// Whether what it reads is reported at the live connection when it changes.
    pub arms: bool,
}

impl Reader {
    /// Connects, authenticates and selects the database. `patience`: how long it may bring nothing while something is
    /// waited for.
    pub async fn open(endpoint: &Endpoint, patience: Duration) -> Result<Reader, BackplaneError> {
        let limit = endpoint.access.timeout;
        let stream = match timeout(limit, connect(endpoint)).await {
            Ok(stream) => stream.map_err(|error| fault::broken(&error))?,
            Err(_) => return Err(fault::down(Outage::NoConnection, "no connection in time")),
        };
        let mut reader = Reader { input: Input::new(stream, limit), patience, answered: Instant::now(), arms: false };
        let word = |word: &'static str| Bytes::from_static(word.as_bytes());
        let mut greeting = Vec::new();
        match endpoint.access.credentials().map_err(|error| BackplaneError::down(error.to_string()))? {
            (Some(user), Some(password)) => {
                greeting.push(vec![word("AUTH"), user.bytes().clone(), password.bytes().clone()]);
            }
            (None, Some(password)) => greeting.push(vec![word("AUTH"), password.bytes().clone()]),
            (_, None) => {}
        }
        if endpoint.database > 0 {
            greeting.push(vec![word("SELECT"), endpoint.database.to_string().into()]);
        }
        if endpoint.readonly {
            greeting.push(vec![word("READONLY")]);
        }
        for command in greeting {
            reader.ask(&Request::of([command])).await?;
            if let Reply::Error(why) = reader.reply(Taken::Skimmed).await? {
                return Err(why);
            }
        }
        reader.input.set_patience(patience);
        Ok(reader)
    }

    /// Has changes of what this connection reads reported to another connection of this node, if the server does that.
    pub async fn report_to(&mut self, client: &str) -> Result<(), BackplaneError> {
        // In the other's protocol: to a client of RESP3, `FLUSHALL` is reported for one of RESP2 with a null that
        // RESP3 has not.
        for command in [&["HELLO", "3"][..], &["CLIENT", "TRACKING", "ON", "REDIRECT", client]] {
            self.ask(&Request::of([command])).await?;
            self.arms = !matches!(self.reply(Taken::Skimmed).await?, Reply::Error(_));
            if !self.arms {
                break;
            }
        }
        Ok(())
    }

    /// Sends commands in one write.
    pub async fn ask(&mut self, commands: &Request) -> Result<(), BackplaneError> {
        let stream = self.input.get_mut();
        let write = async {
            stream.write_all(commands.bytes()).await?;
            stream.flush().await
        };
        match timeout(self.patience, write).await {
            Ok(written) => written.map_err(|error| fault::broken(&error)),
            Err(_) => Err(fault::down(Outage::TimedOut, "the server takes no commands: timed out")),
        }
    }

    /// Waits until the first byte of an answer is here.
    pub async fn await_byte(&mut self) -> Result<(), BackplaneError> {
        self.input.wait(Duration::ZERO).await.map_err(|error| fault::broken(&error))
    }

    /// How long ago the last answer came.
    pub fn idle(&self) -> Duration {
        self.answered.elapsed()
    }

    /// Whether the server has neither closed it nor said anything that nobody asked for.
    pub fn is_open(&mut self) -> bool {
        self.input.wait(Duration::ZERO).now_or_never().is_none()
    }

    /// Passes over the rest of a reply and `more` whole ones; whether that took no more than `most` bytes of strings.
    pub async fn pass(&mut self, rest: Rest, more: usize, most: usize) -> Result<bool, BackplaneError> {
        self.input.pass(rest, more, most).await.map_err(|error| fault::broken(&error))
    }

    /// The reply to the next of the commands that were sent.
    pub async fn reply(&mut self, taken: Taken) -> Result<Reply, BackplaneError> {
        let reply = self.input.reply(taken).await.map_err(|error| fault::broken(&error))?;
        self.answered = Instant::now();
        Ok(reply)
    }

    /// The reply to the next command, for which the server was asked to wait as long as `block`.
    pub async fn waited(&mut self, block: Duration, taken: Taken) -> Result<Reply, BackplaneError> {
        self.input.wait(block).await.map_err(|error| fault::broken(&error))?;
        self.reply(taken).await
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<Box<dyn Stream>> {
    let host = match &endpoint.server {
        ServerConfig::Unix { path } => return Ok(Box::new(UnixStream::connect(path).await?)),
        _ => endpoint.host().ok_or_else(|| io::Error::other("no server is known"))?,
    };
    let stream = TcpStream::connect((host.name.as_str(), host.port)).await?;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2))?;
    let Some(config) = endpoint.access.tls_client().map_err(io::Error::other)? else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.name).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}
