//! Couriers: delivery threads that own subscribers' sockets and write frames to them.
//!
//! One thread, one mio poll, a slab of subscribers: no task, no timer, no queue per subscriber. A courier knows
//! feeds and sockets. It knows nothing of HTTP requests, of Redis, or of who may subscribe to what.
//!
//! [`post`] is what others may touch; [`run`](self) is the loop; `deliver` and `compose` write; `sweep` does all
//! that is due to time; `passes` keeps who has a grant with an end; `leave` ends subscribers.

mod broadcast;
mod compose;
mod deliver;
mod draft;
mod join;
mod leave;
pub mod leftover;
pub mod metrics;
mod mirror;
mod pages;
mod passes;
pub mod pipe;
pub mod post;
mod run;
mod socket;
mod subscriber;
mod sweep;
mod tally;

pub use leave::{Ending, Reason};
pub use leftover::Ledger;
pub use passes::Stay;
pub use pipe::Cutter;
pub use post::{CatchUp, Framing, LegStart, Letter, Newcomer, Opening, Page, Post, Terms, Waiting};
pub use socket::{Socket, take_unread};
pub use subscriber::Ticket;

use self::metrics::CourierMetrics;
use crate::auth::revocation::{Disconnect, Revocations};
use crate::clock::Clock;
use crate::config::RetryRange;
use crate::hub::Idle;
use crate::limits::Limits;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// What couriers need of the rest of the node.
#[derive(Clone)]
pub struct Surroundings {
    /// Time before the end of a grant at which its subscriber is told; zero: not.
    pub expiring: Duration,
    pub revocations: Arc<Revocations>,
    pub heartbeat: Duration,
    pub stall_timeout: Duration,
    /// Zero: never.
    pub idle_timeout: Duration,
    pub retry: RetryRange,
    pub metrics: Arc<CourierMetrics>,
    pub limits: Arc<Limits>,
    /// Feeds whose last leg left.
    pub idle: Arc<Idle>,
    /// Where legs behind the tail ask for history; at most one request per leg is on its way.
    pub desk: mpsc::UnboundedSender<CatchUp>,
    /// What full sockets of all couriers left over.
    pub leftovers: Arc<Ledger>,
    /// Says when grants end, and how late an event is.
    pub clock: Clock,
}

/// The node's couriers.
#[derive(Clone)]
pub struct Couriers {
    posts: Arc<[Arc<Post>]>,
}

/// Newcomers who come while it lives wait for each other, so that one wake covers them all. It must not live long.
pub struct Gathering(Couriers);

impl Drop for Gathering {
    fn drop(&mut self) {
        self.0.posts.iter().for_each(|post| post.gathered());
    }
}

/// Couriers whose threads are not running yet: feeds are made with their posts first.
pub struct Idlers(Vec<run::Prepared>, Couriers);

impl Couriers {
    /// Prepares `count` couriers (1 to [`crate::hub::feed::MAX_COURIERS`]).
    pub fn prepare(count: usize) -> std::io::Result<Idlers> {
        let prepared = (0..count).map(run::Prepared::new).collect::<Result<Vec<_>, _>>()?;
        let posts = prepared.iter().map(|p| p.post.clone()).collect();
        Ok(Idlers(prepared, Couriers { posts }))
    }

    pub fn posts(&self) -> Arc<[Arc<Post>]> {
        self.posts.clone()
    }

    /// Hands a subscriber to the courier with the least to do; returns which.
    pub fn take(&self, newcomer: Newcomer) -> usize {
        let (number, post) = self
            .posts
            .iter()
            .enumerate()
            .min_by_key(|(_, post)| post.load.load(Ordering::Relaxed))
            .expect("at least one courier");
        post.send(Letter::Join(Box::new(newcomer)));
        number
    }

    /// For newcomers who came together.
    pub fn gather(&self) -> Gathering {
        self.posts.iter().for_each(|post| post.gather());
        Gathering(self.clone())
    }

    /// Sends a letter to one courier.
    pub fn send(&self, courier: usize, letter: Letter) {
        self.posts[courier].send(letter);
    }

    /// Has pages of history given back that wait for full sockets.
    pub fn give_pages_back(&self) {
        for post in self.posts.iter() {
            post.send(Letter::GivePagesBack);
        }
    }

    /// Ends all whom an order concerns. They must be in [`Revocations`] already, for those on their way here.
    pub fn disconnect(&self, order: &Arc<Disconnect>) {
        for post in self.posts.iter() {
            post.send(Letter::Disconnect(order.clone()));
        }
    }

    /// Ends all subscribers evenly within the window.
    pub fn drain(&self, window: Duration) {
        for post in self.posts.iter() {
            post.send(Letter::Drain { window_ms: window.as_millis() as u64 });
        }
    }

    /// Subscribers on couriers or on their way there.
    pub fn load(&self) -> usize {
        self.posts.iter().map(|post| post.load.load(Ordering::Relaxed)).sum()
    }

    /// Ends the threads, and with them all sockets they hold.
    pub fn stop(&self) {
        for post in self.posts.iter() {
            post.send(Letter::Stop);
        }
    }
}

impl Idlers {
    pub fn couriers(&self) -> &Couriers {
        &self.1
    }

    /// Starts the threads.
    pub fn start(self, surroundings: Surroundings) -> std::io::Result<Couriers> {
        for prepared in self.0 {
            prepared.start(surroundings.clone())?;
        }
        Ok(self.1)
    }
}
