//! The rest of a body whose request is answered already, and whose connection closes: it is read and dropped for a while.
//! A close with bytes that nobody has read is a RST, by which a client that still sends may lose its answer (RFC 9112,
//! section 9.6).

use super::metrics::Unread;
use crate::metrics::Counters;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

/// So long the rest is read at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many bytes of it at most.
const MOST: usize = 64 << 20;
const BUFFER: usize = 16 << 10;

/// Reads until the client closes, but no longer than five seconds and 64 MiB. The way to the client has been closed.
pub async fn take(mut from: impl AsyncRead + Unpin, ends: Counters<Unread>) {
    let mut end = Counted { end: Unread::Cut, ends };
    let until = Instant::now() + PATIENCE;
    let (mut buffer, mut taken) = (vec![0; BUFFER], 0);
    while taken < MOST {
        match timeout_at(until, from.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => {
                end.end = Unread::Closed;
                return;
            }
            Ok(Ok(n)) => taken += n,
            Err(_) => return,
        }
    }
}

/// Counts once, given up or not.
struct Counted {
    end: Unread,
    ends: Counters<Unread>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ends.inc(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;
    use tokio::io::{AsyncWriteExt as _, duplex, repeat};

    fn ends() -> Counters<Unread> {
        Registry::default().counters("rest", "Rest.", "end")
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_client_or_after_a_while() {
        let ends = ends();
        let (mut client, node) = duplex(1 << 10);
        let sending = async {
            client.write_all(&[0; 100_000]).await.expect("all of it is taken");
            drop(client);
        };
        tokio::join!(take(node, ends.clone()), sending);
        assert_eq!((ends.of(Unread::Closed).get(), ends.of(Unread::Cut).get()), (1, 0));

        let (_quiet, node) = duplex(1);
        let begun = Instant::now();
        take(node, ends.clone()).await;
        assert_eq!((begun.elapsed(), ends.of(Unread::Cut).get()), (PATIENCE, 1));
    }

    #[tokio::test]
    async fn it_ends_after_so_many_bytes_and_is_counted_where_it_is_given_up() {
        let ends = ends();
        take(repeat(0), ends.clone()).await;
        let (_quiet, node) = duplex(1);
        let mut given_up = Box::pin(take(node, ends.clone()));
        assert!(futures_util::poll!(given_up.as_mut()).is_pending());
        drop(given_up);
        assert_eq!((ends.of(Unread::Closed).get(), ends.of(Unread::Cut).get()), (0, 2));
    }
}
