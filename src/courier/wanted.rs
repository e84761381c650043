//! Which events a subscriber wants: those of some types, and those whose fields meet its conditions.
//!
//! Filters that many have are one object. While a broadcast is offered to a feed's members, what such an object says
//! of a frame is asked once.

use crate::condition::Conditions;
use crate::frame::Frame;
use crate::hash::HashMap;
use crate::hub::bell::FeedNumber;
use crate::hub::offset::Offset;
use crate::subscription::Filter;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

/// Verdicts that are kept at once.
const MOST: usize = 4096;

/// What a subscriber's filters let through, and what it gets of that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    /// `None`: of all types.
    pub types: Option<Filter>,
    /// `None`: whatever their fields are.
    pub conditions: Option<Conditions>,
    /// Of events without data of their own, the field that is the data.
    pub field: Option<Arc<str>>,
}

/// What subscribers ask for alike, with a number that nothing else is given in the life of the process.
#[derive(Debug)]
pub struct Wanted {
    number: u64,
    asked: Asked,
}

/// What a node's subscribers want.
#[derive(Debug, Default)]
pub struct InUse(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// By content; who is gone is looked for when there are twice as many as were in use.
    shared: HashMap<Asked, Weak<Wanted>>,
    in_use: usize,
    next: u64,
}

impl InUse {
    /// The one object for what is asked; `None` where that is all of everything.
    pub fn share(&self, asked: Asked) -> Option<Arc<Wanted>> {
        if asked == Asked::default() {
            return None;
        }
        let mut table = self.0.lock();
        if let Some(shared) = table.shared.get(&asked).and_then(Weak::upgrade) {
            return Some(shared);
        }
        if table.shared.len() >= 2 * table.in_use.max(64) {
            table.shared.retain(|_, shared| shared.strong_count() > 0);
            table.in_use = table.shared.len();
        }
        table.next += 1;
        let shared = Arc::new(Wanted { number: table.next, asked: asked.clone() });
        table.shared.insert(asked, Arc::downgrade(&shared));
        Some(shared)
    }
}

/// What filters have said of frames of the feed whose members are being walked.
#[derive(Default)]
pub struct Verdicts {
    feed: Option<FeedNumber>,
    by_frame: HashMap<(Offset, u64), bool>,
}

impl Verdicts {
    /// A feed's members are walked now.
    pub fn begin(&mut self, feed: FeedNumber) {
        self.feed = Some(feed);
    }

    /// The walk pauses: frames may change before it goes on.
    pub fn end(&mut self) {
        self.feed = None;
        self.by_frame.clear();
    }

    /// Whether conditions hold of the frame at an offset of a feed's log.
    fn of(&mut self, wanted: &Arc<Wanted>, frame: &Frame, at: (FeedNumber, Offset)) -> bool {
        let (feed, offset) = at;
        if self.feed != Some(feed) || Arc::strong_count(wanted) == 1 || self.by_frame.len() >= MOST {
            return wanted.hold(frame);
        }
        *self.by_frame.entry((offset, wanted.number)).or_insert_with(|| wanted.hold(frame))
    }
}

impl Wanted {
    /// The field that is the data of events that have none.
    pub fn field(&self) -> Option<&Arc<str>> {
        self.asked.field.as_ref()
    }

    /// Whether an event passes; control events always do. `at`: the feed and the offset where it stands in a log, for one
    /// that is no part of a page.
    pub fn passes(
        self: &Arc<Wanted>,
        frame: &Frame,
        at: Option<(FeedNumber, Offset)>,
        verdicts: &mut Verdicts,
    ) -> bool {
        let Asked { types, conditions, .. } = &self.asked;
        if !frame.is_event() || types.as_ref().is_some_and(|types| !types.passes(frame.kind)) {
            return !frame.is_event();
        }
        match at {
            Some(at) if conditions.is_some() => verdicts.of(self, frame, at),
            _ => self.hold(frame),
        }
    }

    /// Whether its conditions hold of a frame.
    fn hold(&self, frame: &Frame) -> bool {
        self.asked.conditions.as_ref().is_none_or(|conditions| conditions.hold(|name| frame.field(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Entry;
    use crate::event::Event;
    use crate::position::Position;

    fn frame(team: &str) -> Frame {
        let field = |name: &str, value: &str| (name.to_owned().into(), value.to_owned().into());
        let fields = vec![field("data", "x"), field("event", "made"), field("team", team)];
        Frame::new(Position::new(1, 0), Event::from_entry(&Entry { position: Position::new(1, 0), fields }))
    }

    fn asked(text: &str) -> Asked {
        Asked { conditions: Some(Conditions::parse(text).unwrap()), ..Asked::default() }
    }

    #[test]
    fn filters_of_many_are_one_object_as_long_as_somebody_has_them() {
        let in_use = InUse::default();
        assert!(in_use.share(Asked::default()).is_none());
        let share = |text| in_use.share(asked(text)).expect("a filter");
        let red = share("team=red");
        assert!(Arc::ptr_eq(&red, &share("team=red")));
        assert_ne!(red.number, share("team=blue").number);
        let number = red.number;
        drop(red);
        assert_ne!(share("team=red").number, number);
        let kept: Vec<_> = (0..1000).map(|n| in_use.share(asked(&format!("n={n}")))).collect();
        drop(kept);
        (0..1000).for_each(|n| drop(in_use.share(asked(&format!("n={n}")))));
        assert!(in_use.0.lock().shared.len() <= 2001);
        (0..9000).for_each(|n| drop(in_use.share(asked(&format!("m={n}")))));
        assert!(in_use.0.lock().shared.len() <= 2001, "who is gone leaves nothing");
    }

    #[test]
    fn both_filters_must_let_an_event_through() {
        let meeting = |text| Some(Conditions::parse(text).unwrap());
        let types = |name: &str| {
            let query = format!("channels=a&events={name}");
            let limits = crate::subscription::Limits { max_channels: 1, max_tail: 1, heartbeat: Default::default() };
            let texts = crate::subscription::Texts { query: &query, ..Default::default() };
            crate::subscription::Subscription::parse(&texts, &limits, 0).unwrap().filter
        };
        let passes = |types, conditions| {
            let wanted = InUse::default().share(Asked { types, conditions, field: None }).expect("filters");
            wanted.passes(&frame("red"), None, &mut Verdicts::default())
        };
        assert!(passes(types("made"), None) && passes(types("made"), meeting("team=red")));
        assert!(!passes(types("other"), meeting("team=red")) && !passes(types("made"), meeting("team=blue")));
        assert!(passes(None, meeting("event=made")) && !passes(None, meeting("event!=made")));
    }

    #[test]
    fn a_shared_verdict_holds_for_its_walk_alone() {
        let in_use = InUse::default();
        let red = in_use.share(asked("team=red")).expect("a filter");
        let _other = red.clone();
        let mut verdicts = Verdicts::default();
        let feed = FeedNumber::new(7);
        let at = (feed, Offset::default());
        verdicts.begin(feed);
        assert!(verdicts.of(&red, &frame("red"), at));
        assert!(verdicts.of(&red, &frame("blue"), at), "asked once for each frame");
        assert!(!verdicts.of(&red, &frame("blue"), (FeedNumber::new(8), Offset::default())), "of another feed");
        verdicts.end();
        verdicts.begin(feed);
        assert!(!verdicts.of(&red, &frame("blue"), at));
    }
}
