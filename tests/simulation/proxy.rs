//! A proxy between a client and its node that keeps what it was sent for a while, and may go with it.

use fantail::courier::memory_socket::{MemoryClient, MemorySocket, memory_socket};
use fastrand::Rng;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until};

/// How a proxy behaves.
#[derive(Clone, Debug)]
pub struct Holding {
    /// It passes on what it has when it has so many bytes,
    pub bytes: usize,
    /// or when so much time has passed since the first of them.
    pub time: Duration,
    /// It goes within so much time, with all that it has.
    pub goes_within: Option<Duration>,
}

impl Holding {
    pub fn any(rng: &mut Rng) -> Holding {
        Holding {
            bytes: *rng.choice(&[20, 1_000, 16_000]).expect("some"),
            time: Duration::from_millis(*rng.choice(&[1, 50, 2_000]).expect("some")),
            goes_within: rng.bool().then(|| Duration::from_secs(rng.u64(1..60))),
        }
    }
}

/// The client's end of a connection through a proxy; `room`: bytes on their way to it behind the proxy.
pub fn through(node: MemoryClient, holding: &Holding, room: usize, rng: &mut Rng) -> MemoryClient {
    let (own, client) = memory_socket(room);
    let (bytes, time) = (holding.bytes, holding.time);
    let goes = holding.goes_within.map(|most| Duration::from_millis(rng.u64(0..most.as_millis() as u64)));
    tokio::spawn(async move {
        let passing = pass(node, own, bytes, time);
        match goes {
            Some(goes) => tokio::select! {
                biased;
                () = sleep(goes) => {}
                () = passing => {}
            },
            None => passing.await,
        }
    });
    client
}

/// Passes bytes on, in both directions, until one end is gone.
async fn pass(mut node: MemoryClient, own: MemorySocket, most: usize, time: Duration) {
    let (mut from_client, mut to_client) = tokio::io::split(own);
    let (mut held, mut since) = (Vec::new(), Instant::now());
    let mut request = [0; 1 << 10];
    loop {
        tokio::select! {
            biased;
            read = from_client.read(&mut request) => match read {
                Ok(count) if count > 0 => drop(node.send(&request[..count])),
                _ => return,
            },
            () = sleep_until(since + time), if !held.is_empty() => {
                if to_client.write_all(&std::mem::take(&mut held)).await.is_err() {
                    return;
                }
            }
            read = node.read(most - held.len()) => {
                if held.is_empty() {
                    since = Instant::now();
                }
                let over = read.is_none();
                held.extend(read.unwrap_or_default());
                let full = over || held.len() == most;
                let passed = !full || to_client.write_all(&std::mem::take(&mut held)).await.is_ok();
                if over || !passed {
                    return;
                }
            }
        }
    }
}
