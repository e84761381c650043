//! Who may stay, and until when: a table beside the slab, with an entry for those alone who have a grant that ends, can
//! be revoked, or counts for a subject.
//!
//! Ends and warnings stand in one ordered set, so that a tick looks only at what is due.

use super::compose::{begin_blocks, framed};
use super::leave::Reason;
use super::post::{Framing, LegStart, Waiting};
use super::run::{Courier, TICK};
use super::subscriber::Route;
use crate::auth::Pass;
use crate::auth::revocation::Disconnect;
use crate::channel::Channel;
use crate::control_event::ControlEvent;
use crate::limits::Seat;
use hashbrown::HashMap;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

/// What is kept for a subscriber while it stays.
pub struct Stay {
    pub pass: Pass,
    /// A place that has more to give back than a connection of its address.
    #[expect(dead_code, reason = "it gives its place back by being dropped")]
    seat: Option<Seat>,
    /// Whether there is a seat.
    seated: bool,
    /// The tick that stands in the set.
    due: Option<u32>,
    /// The tick at which it must go.
    ends: Option<u32>,
}

impl Stay {
    /// `None` where nothing has to be kept.
    pub fn new(seat: Option<Seat>, pass: Option<Box<Pass>>) -> Option<Box<Stay>> {
        let any = seat.is_some() || pass.is_some();
        let seated = seat.is_some();
        any.then(|| {
            Box::new(Stay { pass: pass.map_or_else(Pass::default, |p| *p), seat, seated, due: None, ends: None })
        })
    }
}

/// The table.
#[derive(Default)]
pub struct Passes {
    by_key: HashMap<u32, Box<Stay>>,
    /// Ticks at which somebody must be told, or go.
    due: BTreeSet<(u32, u32)>,
}

/// What a subscriber is told at its end; empty where the reason is none of its grant.
pub fn last_words(reason: Reason) -> String {
    match reason {
        Reason::Expired => ControlEvent::Expired.to_string(),
        Reason::Revoked => ControlEvent::Revoked.to_string(),
        _ => String::new(),
    }
}

impl Courier {
    /// Notes what a newcomer brings. False where a revocation meant it on its way here: it is to get no event.
    pub fn admit(&mut self, key: u32, stay: Option<Box<Stay>>, seen: u64, start: &Waiting) -> bool {
        let channels: Vec<Channel> = match start {
            Waiting::Ready(opening) | Waiting::Held(_, opening) if self.around.revocations.count() != seen => {
                opening.legs.iter().map(|leg| leg.feed.channel.clone()).collect()
            }
            _ => Vec::new(),
        };
        let missed = self.around.revocations.missed(seen, stay.as_ref().map(|stay| &stay.pass), &channels);
        if missed.is_some() {
            self.dead.push((key, Reason::Revoked));
        }
        let Some(mut stay) = stay else { return missed.is_none() };
        if let Some(expires_ms) = stay.pass.expires_ms {
            let tick_ms = TICK.as_millis() as u64;
            let left = (expires_ms.saturating_sub(self.around.clock.unix_ms()).div_ceil(tick_ms))
                .min(u64::from(u32::MAX / 2)) as u32;
            // The current tick began some time ago: one more, so that nobody goes before its time.
            let ends = self.now.saturating_add(left).saturating_add(1);
            let warning = (self.around.expiring.as_millis() as u64 / tick_ms).min(u64::from(u32::MAX / 2)) as u32;
            let due = match warning {
                0 => ends,
                warning => ends.saturating_sub(warning).max(self.now),
            };
            (stay.due, stay.ends) = (Some(due), Some(ends));
            self.passes.due.insert((due, key));
        }
        self.passes.by_key.insert(key, stay);
        missed.is_none()
    }

    /// Whether a revocation meant a subscriber for channels whose legs were on their way here.
    pub fn is_revoked(&self, key: u32, starts: &[LegStart]) -> bool {
        let Route::Composed(composed) = &self.subscribers[key as usize].route else { return false };
        let Some(ticket) = composed.ticket().filter(|ticket| ticket.seen != self.around.revocations.count()) else {
            return false;
        };
        let channels: Vec<Channel> = starts.iter().map(|start| start.feed.channel.clone()).collect();
        let pass = self.passes.by_key.get(&key).map(|stay| &stay.pass);
        self.around.revocations.missed(ticket.seen, pass, &channels).is_some()
    }

    /// Forgets a subscriber that goes; whether that gave its place back.
    pub fn release(&mut self, key: u32) -> bool {
        let Some(stay) = self.passes.by_key.remove(&key) else { return false };
        if let Some(due) = stay.due {
            self.passes.due.remove(&(due, key));
        }
        stay.seated
    }

    /// Ends grants that are over, and tells of those that soon will be.
    pub fn check_passes(&mut self) {
        while let Some((due, key)) = self.passes.due.first().copied().filter(|(due, _)| *due <= self.now) {
            self.passes.due.remove(&(due, key));
            let Some(stay) = self.passes.by_key.get(&key) else { continue };
            let (ends, expires_ms) = (stay.ends.unwrap_or(due), stay.pass.expires_ms.unwrap_or_default());
            let next = if ends <= self.now {
                self.dead.push((key, Reason::Expired));
                None
            } else if self.interject(key, &ControlEvent::expiring(expires_ms, self.around.clock.unix_ms()).to_string())
            {
                Some(ends)
            } else {
                Some(self.now + 1)
            };
            if let Some(stay) = self.passes.by_key.get_mut(&key) {
                stay.due = next;
                self.passes.due.extend(next.map(|next| (next, key)));
            }
        }
        self.bury();
    }

    /// Ends all whom an order concerns.
    pub fn disconnect(&mut self, order: &Arc<Disconnect>) {
        let stays = &self.passes.by_key;
        let concerned = self.subscribers.iter().filter(|(key, subscriber)| {
            let pass = stays.get(&(*key as u32)).map(|stay| &stay.pass);
            match &subscriber.route {
                Route::Plain(plain) => {
                    let mirror = self.mirrors.get(plain.feed as usize).and_then(Option::as_ref);
                    order.concerns(pass, mirror.iter().map(|mirror| mirror.feed.channel.as_str()))
                }
                Route::Composed(composed) => {
                    order.concerns(pass, composed.legs.iter().map(|leg| leg.feed.channel.as_str()))
                }
            }
        });
        let concerned: Vec<u32> = concerned.map(|(key, _)| key as u32).collect();
        self.dead.extend(concerned.into_iter().map(|key| (key, Reason::Revoked)));
    }

    /// Writes a control event between two others; whether it is out or can only fail. What a full socket cuts off
    /// is kept and finished first.
    fn interject(&mut self, key: u32, block: &str) -> bool {
        let subscriber = &self.subscribers[key as usize];
        if subscriber.blocked || !subscriber.at_boundary(&self.mirrors) {
            return false;
        }
        begin_blocks(&mut self.scratch);
        let subscriber = &mut self.subscribers[key as usize];
        let framing = match &mut subscriber.route {
            Route::Plain(_) => {
                self.scratch.extend_from_slice(block.as_bytes());
                Framing::Chunked
            }
            Route::Composed(composed) => {
                composed.write_own(block.as_bytes(), &mut self.scratch);
                composed.framing
            }
        };
        let bytes = framed(&mut self.scratch, framing);
        let n = match subscriber.socket.write(bytes) {
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(_) => {
                self.dead.push((key, Reason::Client));
                return true;
            }
        };
        if n > 0 {
            subscriber.wrote = self.now;
            self.tally.bytes += n as u64;
        }
        if n < bytes.len() {
            let rest = bytes[n..].to_vec();
            match &mut subscriber.route {
                Route::Plain(_) => self.enrich(key, &rest),
                Route::Composed(composed) => composed.rest().leftover.push(&rest, &self.around.leftovers),
            }
            self.block(key);
        }
        true
    }
}
