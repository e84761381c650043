//! A feed as the follower sees it: what is going on with its stream, and what must be asked next.

use crate::channel::Channel;
use crate::hub::feed::{Feed, Life};
use crate::hub::index::Named;
use crate::hub::offset::Offset;
use crate::invariant::{self, Invariant};
use crate::position::Position;
use std::sync::Arc;

/// A stream's turn in a queue or a batch. It is nobody's turn if the channel was followed anew since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The feed's own handle of its name.
    pub channel: Channel,
    /// Where its [`Followed`] stands in the index.
    pub number: u32,
    /// That of its [`Followed`].
    pub serial: u64,
}

/// A feed as the follower sees it: 32 bytes, as there are as many as channels.
pub(super) struct Followed {
    pub feed: Arc<Feed>,
    phase: Phase,
    /// The entry at its position is not in the stream (empty, trimmed), so only an examination tells anything.
    pub absent: bool,
    /// What an examination must look for, beside what is new.
    pub retrace: Option<Box<Retrace>>,
    /// Tells it from an earlier one of the same channel, whose answers may still be on their way.
    pub serial: u64,
    /// How many doubts had been stated when it was asked for last.
    asked: u32,
}

/// What is going on with a stream. Never are two reads of it on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing, until it is reported as changed, or the sweep comes by.
    Idle,
    /// It may have something new, but nothing asks for that yet.
    Owed,
    /// Its turn waits in a queue.
    Queued(Look),
    /// A read, a wait, or its beginning is on its way.
    Asked(Look),
    /// What is on its way may be of before the last report.
    AskedAgain(Look),
}

/// How close a read looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// From the newest known entry on, which must be there.
    Full,
    /// Only the sweep doubts it: whether there is anything new is enough to know.
    Glance,
}

impl Named for Followed {
    fn channel(&self) -> &Channel {
        &self.feed.channel
    }
}

impl Followed {
    /// A feed whose beginning is asked for.
    pub fn beginning(feed: Arc<Feed>, serial: u64) -> Followed {
        Followed { feed, phase: Phase::Asked(Look::Full), absent: true, retrace: None, serial, asked: 0 }
    }

    /// A feed that slept and is examined: whatever came while it did is found out so.
    pub fn awake(feed: Arc<Feed>, serial: u64) -> Followed {
        Followed { phase: Phase::Queued(Look::Full), ..Followed::beginning(feed, serial) }
    }

    /// Its turn; `number`: where it stands in the index.
    pub fn turn(&self, number: u32) -> Turn {
        Turn { channel: self.feed.channel.clone(), number, serial: self.serial }
    }

    /// Its newest position, and how many entries the stream ever had up to there, where that is known.
    pub fn newest(&self) -> (Position, Option<u64>) {
        let feed = self.feed.lock();
        (feed.log.position(), feed.log.rank())
    }

    /// Whether its turn waits, or an answer is on its way.
    pub fn is_busy(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::Owed)
    }

    /// Whether an answer is on its way.
    pub fn is_asked(&self) -> bool {
        matches!(self.phase, Phase::Asked(_) | Phase::AskedAgain(_))
    }

    /// Whether there may be something new that nothing asks for.
    pub fn is_owed(&self) -> bool {
        self.phase == Phase::Owed
    }

    /// Whether what is on its way is a mere glance.
    pub fn is_glanced_at(&self) -> bool {
        matches!(self.phase, Phase::Asked(Look::Glance) | Phase::AskedAgain(Look::Glance))
    }

    /// There may be something new that no answer on its way has.
    pub fn owe(&mut self) {
        self.phase = match self.phase {
            Phase::Idle | Phase::Owed => Phase::Owed,
            // A report while it waited for a mere glance is worth a real look.
            Phase::Queued(_) => Phase::Queued(Look::Full),
            Phase::Asked(look) | Phase::AskedAgain(look) => Phase::AskedAgain(look),
        };
    }

    /// There may be something new; whether its turn must be put into a queue for that.
    pub fn report(&mut self) -> bool {
        self.owe();
        let idle = self.phase == Phase::Owed;
        if idle {
            self.phase = Phase::Queued(Look::Full);
        }
        idle
    }

    /// The sweep comes by; whether its turn must be put into a queue for that. An examination costs Redis several commands, so
    /// a stream without its known entry (most quiet ones have none at all) is only asked whether anything is new.
    pub fn sweep(&mut self) -> bool {
        let look = match self.phase {
            Phase::Idle if self.absent => Look::Glance,
            Phase::Idle | Phase::Owed => Look::Full,
            Phase::Queued(_) | Phase::Asked(_) | Phase::AskedAgain(_) => return false,
        };
        self.phase = Phase::Queued(look);
        true
    }

    /// Somebody waits for it; whether its turn must be put before all others for that. What is on its way comes first.
    pub fn hasten(&mut self) -> bool {
        self.owe();
        let waits = matches!(self.phase, Phase::Owed | Phase::Queued(_));
        if waits {
            self.phase = Phase::Queued(Look::Full);
        }
        waits
    }

    /// Whether its turn waits. One that was put before others is left where it stood, and then is nobody's.
    pub fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued(_))
    }

    /// Its beginning is asked for, as many doubts having been stated.
    pub fn asked_behind(&mut self, doubts: u32) {
        self.asked = doubts;
    }

    /// How many doubts had been stated when it was asked for last; `None` where a mere glance says nothing of what is known.
    pub fn verifies(&self) -> Option<u32> {
        (!self.is_glanced_at()).then_some(self.asked)
    }

    /// Its turn has come: it is asked for now, as many doubts having been stated. How close it is looked at.
    pub fn ask(&mut self, doubts: u32) -> Look {
        let asked = matches!(self.phase, Phase::Asked(_) | Phase::AskedAgain(_));
        invariant::holds(Invariant::OneReadOfAStream, || !asked);
        self.asked = doubts;
        let look = match self.phase {
            Phase::Queued(look) | Phase::Asked(look) => look,
            Phase::Idle | Phase::Owed | Phase::AskedAgain(_) => Look::Full,
        };
        self.phase = Phase::Asked(look);
        look
    }

    /// What was on its way has come, or will not.
    pub fn answered(&mut self) {
        self.phase = match self.phase {
            Phase::Asked(_) => Phase::Idle,
            Phase::AskedAgain(_) => Phase::Owed,
            other => other,
        };
    }

    /// What was reported is what has come.
    pub fn acquit(&mut self) {
        if self.phase == Phase::Owed {
            self.phase = Phase::Idle;
        }
    }

    /// Its part of the backplane is down. What has no position yet must not be read: it waits to be begun once more.
    pub fn park(&mut self) {
        self.phase = match self.feed.lock().life {
            Life::Unattached => Phase::AskedAgain(Look::Full),
            Life::Live | Life::Dormant => Phase::Owed,
        };
    }
}

/// What an examination looks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retrace {
    /// What is new of a stream that was reset: after this position. `another`: it is another one, of which the log has covered nothing.
    After { position: Position, another: bool },
    /// The entry that was the newest when the stream went missing: if it is there again, so is the stream.
    Former { position: Position, digest: u64, rank: Option<u64>, begun: Offset },
}

impl Retrace {
    /// After what position it must be asked for.
    pub fn after(&self) -> Position {
        match self {
            Retrace::After { position, .. } => *position,
            Retrace::Former { position, .. } => position.before(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::bell::FeedNumber;

    fn idle() -> Followed {
        let mut followed = Followed::beginning(Arc::new(Feed::new(FeedNumber::new(0), Channel::new("a").unwrap())), 1);
        followed.answered();
        followed
    }

    #[test]
    fn it_is_as_small_as_it_says() {
        assert_eq!(size_of::<Followed>(), 32);
    }

    #[test]
    fn a_report_while_it_is_asked_is_owed_another_read() {
        let mut followed = idle();
        assert!(!followed.is_busy() && followed.report() && !followed.report(), "its turn is queued once");
        assert_eq!(followed.ask(0), Look::Full);
        assert!(!followed.report() && followed.is_busy());
        followed.answered();
        assert!(followed.is_owed() && !followed.is_busy());
        followed.acquit();
        assert!(!followed.is_owed() && followed.report());
    }

    #[test]
    fn the_sweep_glances_at_what_has_no_known_entry_unless_it_is_reported() {
        let mut followed = idle();
        assert!(followed.sweep() && !followed.sweep());
        assert_eq!((followed.ask(0), followed.is_glanced_at()), (Look::Glance, true));
        followed.answered();
        followed.absent = false;
        assert!(followed.sweep() && followed.ask(0) == Look::Full);
        followed.answered();
        followed.absent = true;
        assert!(followed.sweep() && !followed.report(), "reported while it waits");
        assert_eq!((followed.ask(0), followed.is_glanced_at()), (Look::Full, false));
        followed.answered();
        followed.park();
        assert!(followed.is_busy(), "its beginning waits for the backplane");
        followed.feed.lock().life = Life::Live;
        followed.park();
        assert!(followed.is_owed() && followed.sweep() && followed.ask(0) == Look::Full);
    }

    #[test]
    fn who_waits_has_it_asked_for_before_others_but_not_twice_at_once() {
        let mut followed = idle();
        assert!(followed.sweep() && followed.hasten() && followed.is_queued(), "its turn was far behind");
        assert_eq!((followed.ask(3), followed.verifies(), followed.is_queued()), (Look::Full, Some(3), false));
        assert!(!followed.hasten(), "what is on its way comes first");
        followed.answered();
        assert!(followed.is_owed(), "and then another one");
        followed.acquit();
        followed.absent = true;
        assert!(followed.sweep() && followed.ask(4) == Look::Glance);
        assert_eq!(followed.verifies(), None);
    }
}
