//! Quiet feeds: most channels have few events, and whoever follows them has had those. What such a feed keeps of them goes back
//! to the process; its stream has it, for who comes back with an older id.

use super::feed::State;
use super::{Hub, STEPS};

/// Each feed is looked at once in so many rounds of [`Hub::tidy`]: what had nothing new since, and was of use to nobody, is quiet.
const ROUNDS: usize = 60;

impl Hub {
    /// Looks at some feeds, and lets go of the tails of those that are quiet.
    pub(super) fn release_quiet(&self) {
        let mut numbers = {
            let mut feeds = self.feeds.lock();
            feeds.round = (feeds.round + 1) % ROUNDS;
            (feeds.round..feeds.all.steps()).step_by(ROUNDS).peekable()
        };
        // A few at a time under the lock, so that nobody waits for long.
        while numbers.peek().is_some() {
            let feeds = self.feeds.lock();
            for mut number in numbers.by_ref().take(STEPS) {
                if let Some(Some(feed)) = feeds.all.step(&mut number) {
                    let freed = feed.lock().release_if_quiet();
                    self.account(-(freed as isize));
                }
            }
        }
    }
}

impl State {
    /// Lets go of the tail where nothing has come since this was called last, and nobody has begun within it; how many bytes that
    /// frees.
    fn release_if_quiet(&mut self) -> usize {
        let end = self.log.end().low();
        let is_still = std::mem::replace(&mut self.seen, end) == end;
        if std::mem::take(&mut self.wanted) || !is_still {
            return 0;
        }
        let before = self.log.bytes();
        self.log.trim(0, 0);
        before - self.log.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::memory::{Memory, Settings};
    use crate::channel::Channel;
    use crate::event::Event;
    use crate::frame::Frame;
    use crate::hub::feed::{Feed, Life};
    use crate::hub::fixture;
    use crate::hub::log::NotInLog;
    use crate::position::Position;
    use std::sync::Arc;

    fn push(hub: &Hub, feed: &Feed, id: u64) {
        let frame = Arc::new(Frame::new(Position::new(id, 0), Event::from_entry(&entry(id))));
        hub.change(feed, |log| log.push(frame));
    }

    fn entry(id: u64) -> crate::backplane::Entry {
        crate::backplane::Entry { position: Position::new(id, 0), fields: vec![("data".into(), "x".into())] }
    }

    fn rounds(hub: &Hub) {
        (0..ROUNDS).for_each(|_| hub.release_quiet());
    }

    #[test]
    fn what_nobody_needs_goes_back_and_who_has_all_is_abreast() {
        let (hub, _) = fixture::hub(Memory::new(Settings::default()));
        let leg = hub.enter(&Channel::new("a").unwrap()).ok().unwrap();
        let feed = leg.feed().clone();
        feed.lock().life = Life::Live;
        push(&hub, &feed, 1);
        push(&hub, &feed, 2);
        rounds(&hub);
        assert!(hub.kept_bytes() > 0, "it has had something since the last look");
        push(&hub, &feed, 3);
        rounds(&hub);
        assert!(hub.kept_bytes() > 0, "and again");
        feed.lock().wanted = true;
        rounds(&hub);
        assert!(hub.kept_bytes() > 0, "somebody began within it");
        rounds(&hub);
        assert_eq!((hub.kept_bytes(), feed.lock().log.bytes()), (0, 0));
        assert_eq!(feed.locate(Position::new(3, 0)), Ok(feed.lock().log.end()));
        assert_eq!(feed.locate(Position::new(2, 0)), Err(NotInLog::Older));
        push(&hub, &feed, 4);
        assert!(feed.locate(Position::new(3, 0)).is_ok_and(|at| at < feed.lock().log.end()));
    }
}
