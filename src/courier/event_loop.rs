//! A courier's turns: what came since the last one, and what is due by time.
//!
//! The time comes from outside, so that a simulation can turn a courier by a clock of its own.

use super::ending::Reason;
use super::key::Key;
use super::mailbox::{Inbox, Message};
use super::schedule::Drain;
use super::state::Courier;
use super::tick::{TICK, Tick};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Messages that are opened before sockets and feeds have their turn again.
const MESSAGES_PER_TURN: usize = 256;

/// A courier with what came for it.
pub struct EventLoop {
    courier: Courier,
    /// When tick 0 began.
    epoch: Instant,
    /// Swapped with what the mailbox holds; empty between turns.
    inbox: Inbox,
    /// Messages that were not opened yet.
    messages: VecDeque<Message>,
    stopped: bool,
}

/// What a subscriber's socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It has room.
    Writable,
    /// Its client said something.
    Readable,
    /// Its client hung up, or the connection failed.
    PeerGone,
    /// It is a connection of HTTP/2, with whatever there is to do.
    Carrier,
}

impl EventLoop {
    /// The courier's first tick begins at `now`.
    pub fn new(courier: Courier, now: Instant) -> EventLoop {
        EventLoop { courier, epoch: now, inbox: Inbox::default(), messages: VecDeque::new(), stopped: false }
    }

    /// Whether the courier was told to end.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// How long to wait for sockets and messages before the next turn: until the next tick, or not at all while there is work.
    pub fn wait(&self, now: Instant) -> Duration {
        let courier = &self.courier;
        let idle = self.messages.is_empty() && courier.carriers.unread.is_empty();
        if idle && !courier.mirrors.any_due() && courier.broadcast.is_none() {
            let age = now.saturating_duration_since(self.epoch);
            courier.now.end().saturating_sub(age).min(TICK) + Duration::from_millis(1)
        } else {
            Duration::ZERO
        }
    }

    /// Does what is to be done at `now`, sockets that are `ready` first.
    pub fn turn(&mut self, now: Instant, ready: impl Iterator<Item = (Key, Readiness)>) {
        self.courier.now = Tick::at(now.saturating_duration_since(self.epoch));
        self.courier.look_at_sockets(ready);
        self.courier.attend_unread();
        self.open_inbox();
        self.courier.deliver();
        self.courier.reap();
        if self.courier.deps.leftovers.is_over() {
            self.courier.end_slowest();
        }
        if self.courier.schedule.is_due(self.courier.now) {
            self.courier.sweep();
            self.courier.check_expiry();
            self.courier.see_carriers_off();
            self.courier.reap();
            self.courier.tally.publish();
        }
        self.courier.carriers.send(self.courier.now);
    }

    /// Notes how long a turn took.
    pub fn took(&mut self, turn: Duration) {
        self.courier.tally.busy += turn;
        self.courier.deps.metrics.courier_turn.observe(turn.as_secs_f64(), 1);
    }

    /// Takes what lies in the mailbox, and opens a bounded number of messages.
    fn open_inbox(&mut self) {
        if self.courier.mailbox.collect(&mut self.inbox) {
            self.messages.extend(self.inbox.messages.drain(..));
            self.courier.advance(self.inbox.advanced.drain(..));
        }
        for _ in 0..MESSAGES_PER_TURN.min(self.messages.len()) {
            match self.messages.pop_front() {
                Some(Message::Stop) => self.stopped = true,
                Some(message) => self.courier.open(message),
                None => break,
            }
        }
        self.courier.reap();
    }
}

impl Courier {
    fn look_at_sockets(&mut self, ready: impl Iterator<Item = (Key, Readiness)>) {
        for (key, readiness) in ready {
            match readiness {
                Readiness::PeerGone => self.subscribers.end(key, Reason::Client),
                Readiness::Writable => self.writable(key),
                Readiness::Readable => self.hear(key),
                Readiness::Carrier => self.attend(key.index()),
            }
        }
        self.reap();
    }

    fn hear(&mut self, key: Key) {
        if self.subscribers.get_mut(key).is_some_and(|subscriber| !subscriber.connection.socket.hear()) {
            self.subscribers.end(key, Reason::Client);
        }
    }

    fn open(&mut self, message: Message) {
        match message {
            Message::Join(new) => self.join(*new),
            Message::Carry(new) => self.carry(*new),
            Message::Legs { ticket, batch, more } => self.seat_held(ticket, batch, more),
            Message::Dismiss { ticket, reason } => {
                if let Some(key) = self.tickets.get(&ticket) {
                    self.subscribers.end(*key, reason);
                }
            }
            Message::Page { id, here, page } => self.turn_page(id, &here, page),
            Message::Change(order) => self.change(&order),
            Message::Joined { id, here, joined } => self.joined(id, &here, joined),
            Message::GivePagesBack => self.give_pages_back(),
            Message::Disconnect(order) => self.disconnect(&order),
            Message::End(id) => self.end_by_order(id),
            Message::Extend(renewal) => self.extend(&renewal),
            Message::List(inquiry) => self.list(*inquiry),
            Message::Writable(id) if self.subscribers.has(id) => self.writable(id.key),
            Message::PeerGone(id) if self.subscribers.has(id) => self.subscribers.end(id.key, Reason::Client),
            Message::Writable(_) | Message::PeerGone(_) | Message::Stop => {}
            Message::Drain { window_ms } => {
                let window = Duration::from_millis(window_ms);
                self.drain = Some(Drain::new(self.now, self.subscribers.len(), window));
                self.dismiss_carriers();
            }
        }
    }
}
