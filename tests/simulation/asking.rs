//! How a client comes to an answer: at which node, by which protocol, through what, and with which ids.

use super::carrier::Carrier;
use super::chance::{Draw, source};
use super::client::Client;
use super::http2::{Shared, Stream};
use super::leg::Begin;
use super::proxy::{self, Holding};
use fantail::courier::memory_socket::MemoryClient;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::time::sleep;

/// Browsers that clients which speak HTTP/2 belong to.
const BROWSERS: usize = 6;
/// What HTTP/2 gives a stream unless it is said.
const WINDOW: usize = 65_535;

impl Client {
    /// Whether it comes with an id that is none of ours.
    pub fn owed_foreign(&self) -> bool {
        self.wish.manner.foreign && self.wish.begin == Begin::Latest && self.wish.manner.since.is_none()
    }

    /// Finds out in which channels its first id may count.
    pub fn look_back(&mut self) {
        self.may_go_back.fill(self.wish.manner.stale);
    }

    /// Connects to any node, and asks; `last`: nothing is to go wrong any more.
    pub async fn ask(&mut self, last: bool) -> Option<Carrier> {
        if self.wish.manner.http2 {
            return Some(Carrier::Http2(self.ask_http2(last).await?));
        }
        let (number, node) = self.around.nodes.any(&mut self.rng)?;
        let socket = self.through(node.connect(self.address(1, self.number), self.wish.room), last);
        drop(node);
        self.comes_to(number);
        let request = self.request().http1();
        let torn = if self.rng.once_in(4) { self.rng.usize(1..request.len()) } else { 0 };
        if torn > 0 {
            socket.send(&request.as_bytes()[..torn]);
            sleep(Duration::from_millis(self.rng.u64(0..50))).await;
        }
        socket.send(&request.as_bytes()[torn..]);
        // An order that its node carried out before it had all of the request is not about it.
        self.opened = self.at();
        Some(Carrier::http1(socket))
    }

    /// On a connection that its browser has, or on one more.
    async fn ask_http2(&mut self, last: bool) -> Option<Stream> {
        let browser = self.number % BROWSERS;
        let open = self.around.browsers.any(browser, &mut self.rng).filter(|_| !self.rng.once_in(4));
        let shared = match open {
            Some(shared) => shared,
            None => {
                let (number, node) = self.around.nodes.any(&mut self.rng)?;
                let socket = node.connect_http2(self.address(2, browser), self.wish.room);
                drop(node);
                let socket = self.through(socket, last);
                // A small window behind a proxy that waits for more than that is slow.
                let window = if self.wish.manner.proxy.is_some() { WINDOW } else { self.wish.room };
                let tearing = (self.wish.sips, source(self.rng.u64(..), "torn"));
                let shared = Shared::open(number, socket, window, tearing).await?;
                self.around.browsers.add(browser, shared.clone());
                shared
            }
        };
        self.comes_to(shared.node);
        let request = self.request();
        shared.ask(&request).await
    }

    /// A connection as it comes to the client.
    fn through(&mut self, socket: MemoryClient, last: bool) -> MemoryClient {
        let Some(holding) = &self.wish.manner.proxy else { return socket };
        // At the end nobody goes away.
        let holding = Holding { goes_within: holding.goes_within.filter(|_| !last), ..*holding };
        proxy::through(socket, &holding, self.wish.room, &mut self.rng)
    }

    fn comes_to(&mut self, node: usize) {
        (self.node, self.opened) = (node, self.at());
        self.take_token();
        self.note(&format!("connects to node {node} with {:?}", self.last_event_id));
    }

    fn address(&self, net: u8, number: usize) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, net, (number >> 8) as u8, number as u8))
    }
}
