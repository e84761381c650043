//! What brings a client its answer.

use super::answer::{Answer, Head};
use super::http2::Stream;
use fantail::courier::memory_socket::MemoryClient;

/// See the module.
pub enum Carrier {
    Http1 { socket: MemoryClient, answer: Answer },
    Http2(Stream),
}

/// What has come.
pub enum Taken {
    /// Of the body; maybe nothing.
    Bytes(Vec<u8>),
    /// No more comes. `complete`: as the end that was announced.
    End { complete: bool },
}

impl Carrier {
    /// HTTP/1.1, on a connection of its own, on which the request has been sent.
    pub fn http1(socket: MemoryClient) -> Carrier {
        Carrier::Http1 { socket, answer: Answer::default() }
    }

    /// Waits for the next bytes, `most` at most. Cancel safe.
    pub async fn read(&mut self, most: usize) -> Result<Taken, String> {
        match self {
            Carrier::Http1 { socket, answer } => match socket.read(most).await {
                Some(bytes) => Ok(Taken::Bytes(answer.feed(&bytes)?)),
                None => Ok(Taken::End { complete: answer.is_complete() }),
            },
            Carrier::Http2(stream) => stream.read(most).await,
        }
    }

    /// The head of the answer, when that has come.
    pub fn head(&self) -> Option<Head> {
        match self {
            Carrier::Http1 { answer, .. } => answer.head,
            Carrier::Http2(stream) => stream.head,
        }
    }

    /// Whether all that has come is what the node wrote at once, as far as one can see that.
    pub fn is_between_writes(&self) -> bool {
        match self {
            Carrier::Http1 { answer, .. } => answer.is_between_chunks(),
            Carrier::Http2(_) => false,
        }
    }
}
