//! Couriers: delivery threads that own subscribers' sockets and write frames to them.
//!
//! One thread, one mio poll, a slab of subscribers: no task, no timer, no queue per subscriber. A courier knows
//! feeds and sockets. It knows nothing of HTTP requests, of Redis, or of who may subscribe to what.
//!
//! [`mailbox`] is what others may touch; `run` is the thread, `event_loop` what it does in a turn, `state` what it has.
//! `deliver` walks over members, `flow` and `compose` write what is due to one; `sweep` does all that is due to time;
//! `join` and `admission` take subscribers in, `set_changes` gives them channels and takes them away, for whose legs
//! [`channel_joins`] asks the hub; `leave` ends them; `carry` has connections of HTTP/2. [`history_queue`] asks the hub for history of legs
//! behind the tail. `listing` tells of subscribers, whom [`census`] asks of all couriers.

mod admission;
mod beat;
mod broadcast;
mod carrier;
mod carrier_socket;
mod carriers;
mod carry;
pub mod census;
pub mod channel_joins;
mod compose;
mod conversion;
mod deliver;
mod deps;
mod draft;
mod ending;
mod event_loop;
mod expiry;
mod flow;
mod history;
pub mod history_queue;
mod inquiry;
mod join;
mod key;
mod leave;
pub mod leftover;
mod lingering;
mod listing;
pub mod mailbox;
mod memory_file;
#[cfg(feature = "testing")]
pub mod memory_socket;
pub mod metrics;
mod mirror;
mod mirrors;
mod ordered;
mod out;
mod own_blocks;
pub mod pipe;
mod requests;
mod run;
mod rustls_socket;
mod schedule;
mod set_changes;
mod socket;
mod spare;
mod state;
mod stream_way;
mod subscriber;
mod subscribers;
mod sweep;
mod tally;
mod terms;
#[cfg(test)]
mod tests;
mod tick;
mod tls_socket;
mod wanted;

pub use beat::Beat;
pub use deps::CourierDeps;
pub use ending::{Ending, Reason};
#[cfg(feature = "testing")]
pub use event_loop::{EventLoop, Readiness};
pub use expiry::Admission;
pub use inquiry::{Seen, SeenChannel, Sought, State};
pub use key::SubscriberName;
pub use leftover::Ledger;
pub use mailbox::{CatchUp, FirstLegs, JoinAsk, LegBatch, LegStart, Mailbox, Message, NewSubscriber};
pub use ordered::{Ordered, SetChange};
pub use pipe::Cutter;
pub use requests::{NewCarrier, Requests};
pub use socket::{Socket, take_unread};
pub use stream_way::{BodyReader, StreamGone, StreamWay};
pub use subscriber::Ticket;
pub use terms::{Framing, Terms};
pub use wanted::{Asked, InUse};

use crate::auth::order::Change;
use crate::auth::renewal::Renewal;
use crate::auth::revocation::Disconnect;
use crate::hub::bell::{Bell, Bells};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The node's couriers.
#[derive(Clone)]
pub struct Couriers {
    mailboxes: Arc<[Arc<Mailbox>]>,
    /// Whose turn it is to have a connection of HTTP/2.
    turn: Arc<AtomicUsize>,
}

/// New subscribers who come while it lives wait for each other, so that one wake covers them all. It must not live long.
pub struct Gathering(Couriers);

impl Drop for Gathering {
    fn drop(&mut self) {
        self.0.mailboxes.iter().for_each(|mailbox| mailbox.gathered());
    }
}

/// Couriers whose threads are not running yet: the hub is made with their bells first.
pub struct CouriersBuilder {
    prepared: Vec<run::Prepared>,
    couriers: Couriers,
}

impl Couriers {
    /// Prepares `count` couriers (1 to [`crate::hub::feed::MAX_COURIERS`]).
    pub fn prepare(count: usize) -> std::io::Result<CouriersBuilder> {
        let prepared = (0..count).map(run::Prepared::new).collect::<Result<Vec<_>, _>>()?;
        Ok(CouriersBuilder::of(prepared))
    }

    /// Prepares `count` couriers that somebody else turns, who is told by `wake`, with the courier's number, when there is
    /// something to do.
    #[cfg(feature = "testing")]
    pub fn prepare_in_steps(
        count: usize,
        wake: impl Fn(usize) + Clone + Send + Sync + 'static,
    ) -> std::io::Result<CouriersBuilder> {
        let prepare = |number| {
            let wake = wake.clone();
            run::Prepared::in_steps(number, move || wake(number))
        };
        let prepared = (0..count).map(prepare).collect::<Result<Vec<_>, _>>()?;
        Ok(CouriersBuilder::of(prepared))
    }

    /// What feeds ring, by the couriers' numbers.
    pub fn bells(&self) -> Bells {
        self.mailboxes.iter().map(|mailbox| mailbox.clone() as Arc<dyn Bell>).collect()
    }

    /// Hands a subscriber to the courier that has its connection, or else to the one with the least to do; returns which.
    pub fn take(&self, new: NewSubscriber) -> usize {
        let number = new.socket.courier().unwrap_or_else(|| {
            let load = |(_, mailbox): &(usize, &Arc<Mailbox>)| mailbox.load.load(Ordering::Relaxed);
            self.mailboxes.iter().enumerate().min_by_key(load).expect("at least one courier").0
        });
        self.mailboxes[number].send(Message::Join(Box::new(new)));
        number
    }

    /// How many couriers there are.
    fn count(&self) -> usize {
        self.mailboxes.len()
    }

    /// Hands a connection of HTTP/2 to one of the couriers, by turns: how many streams it will have nobody knows.
    pub fn carry(&self, new: NewCarrier) {
        let number = self.turn.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len();
        self.mailboxes[number].send(Message::Carry(Box::new(new)));
    }

    /// For new subscribers who came together.
    pub fn gather(&self) -> Gathering {
        self.mailboxes.iter().for_each(|mailbox| mailbox.gather());
        Gathering(self.clone())
    }

    /// Sends a message to one courier.
    pub fn send(&self, courier: usize, message: Message) {
        self.mailboxes[courier].send(message);
    }

    /// Has pages of history given back that wait for full sockets.
    pub fn give_pages_back(&self) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Message::GivePagesBack);
        }
    }

    /// Ends all whom an order concerns. They must be in [`Revocations`](crate::auth::revocation::Revocations) already, for those on their way here.
    pub fn disconnect(&self, order: &Arc<Disconnect>) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Message::Disconnect(order.clone()));
        }
    }

    /// Ends one subscriber that an order names, if it is still there.
    pub fn end(&self, name: SubscriberName) {
        if let Some(mailbox) = self.mailboxes.get(name.courier) {
            mailbox.send(Message::End(name.id));
        }
    }

    /// Changes the channels of all whom an order is for. It must be [remembered](crate::auth::order::ChangeMemory) already, for those on their
    /// way here.
    pub fn change(&self, order: &Arc<Change>) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Message::Change(order.clone()));
        }
    }

    /// Lets streams go on that a renewal is for.
    pub fn extend(&self, renewal: &Arc<Renewal>) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Message::Extend(renewal.clone()));
        }
    }

    /// Ends all subscribers evenly within the window.
    pub fn drain(&self, window: Duration) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Message::Drain { window_ms: window.as_millis() as u64 });
        }
    }

    /// Subscribers on couriers or on their way there.
    pub fn load(&self) -> usize {
        self.mailboxes.iter().map(|mailbox| mailbox.load.load(Ordering::Relaxed)).sum()
    }

    /// Ends the threads, and with them all sockets they hold.
    pub fn stop(&self) {
        for mailbox in self.mailboxes.iter() {
            mailbox.send(Message::Stop);
        }
    }
}

impl CouriersBuilder {
    fn of(prepared: Vec<run::Prepared>) -> CouriersBuilder {
        let mailboxes = prepared.iter().map(|p| p.mailbox.clone()).collect();
        CouriersBuilder { prepared, couriers: Couriers { mailboxes, turn: Arc::default() } }
    }

    /// The couriers, which take what they are sent once they have started.
    pub fn couriers(&self) -> &Couriers {
        &self.couriers
    }

    /// Starts the threads.
    pub fn start(self, deps: CourierDeps) -> std::io::Result<()> {
        self.prepared.into_iter().try_for_each(|prepared| prepared.start(deps.clone()))
    }

    /// The couriers' turns, without threads, from `now` on; `stopwatch` shows how long a turn has taken.
    #[cfg(feature = "testing")]
    pub fn event_loops(
        self,
        deps: &CourierDeps,
        now: std::time::Instant,
        stopwatch: fn() -> std::time::Instant,
    ) -> std::io::Result<Vec<EventLoop>> {
        self.prepared.into_iter().map(|prepared| prepared.event_loop(deps.clone(), now, stopwatch)).collect()
    }
}
