//! Which events a subscriber wants: those of some types, and those whose fields meet its conditions.
//!
//! Conditions that many have are one object. While a broadcast is offered to a feed's members, what such an object says
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
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `None`: of all types.
    pub types: Option<Filter>,
    /// `None`: whatever their fields are.
    pub conditions: Option<Arc<Shared>>,
    /// Of events without data of their own, the field that is the data.
    pub field: Option<Arc<str>>,
}

/// Conditions, with a number that no others have in the life of the process.
#[derive(Debug)]
pub struct Shared {
    number: u64,
    conditions: Conditions,
}

/// The conditions of a node's subscribers.
#[derive(Debug, Default)]
pub struct InUse(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// By content; who is gone is looked for when there are twice as many as were in use.
    shared: HashMap<Conditions, Weak<Shared>>,
    in_use: usize,
    next: u64,
}

impl InUse {
    /// The one object for these conditions.
    pub fn share(&self, conditions: Conditions) -> Arc<Shared> {
        let mut table = self.0.lock();
        if let Some(shared) = table.shared.get(&conditions).and_then(Weak::upgrade) {
            return shared;
        }
        if table.shared.len() >= 2 * table.in_use.max(64) {
            table.shared.retain(|_, shared| shared.strong_count() > 0);
            table.in_use = table.shared.len();
        }
        table.next += 1;
        let shared = Arc::new(Shared { number: table.next, conditions: conditions.clone() });
        table.shared.insert(conditions, Arc::downgrade(&shared));
        shared
    }
}

/// What conditions have said of frames of the feed whose members are being walked.
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
    fn of(&mut self, shared: &Arc<Shared>, frame: &Frame, at: (FeedNumber, Offset)) -> bool {
        let (feed, offset) = at;
        if self.feed != Some(feed) || Arc::strong_count(shared) == 1 || self.by_frame.len() >= MOST {
            return shared.hold(frame);
        }
        *self.by_frame.entry((offset, shared.number)).or_insert_with(|| shared.hold(frame))
    }
}

impl Shared {
    fn hold(&self, frame: &Frame) -> bool {
        self.conditions.hold(|name| frame.field(name))
    }
}

impl Wanted {
    /// Whether an event passes; control events always do. `at`: the feed and the offset where it stands in a log, for one
    /// that is no part of a page.
    pub fn passes(&self, frame: &Frame, at: Option<(FeedNumber, Offset)>, verdicts: &mut Verdicts) -> bool {
        if !frame.is_event() || self.types.as_ref().is_some_and(|types| !types.passes(frame.kind)) {
            return !frame.is_event();
        }
        self.conditions.as_ref().is_none_or(|shared| match at {
            Some(at) => verdicts.of(shared, frame, at),
            None => shared.hold(frame),
        })
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

    fn conditions(text: &str) -> Conditions {
        Conditions::parse(text).unwrap()
    }

    #[test]
    fn conditions_of_many_are_one_object_as_long_as_somebody_has_them() {
        let in_use = InUse::default();
        let red = in_use.share(conditions("team=red"));
        assert!(Arc::ptr_eq(&red, &in_use.share(conditions("team=red"))));
        assert_ne!(red.number, in_use.share(conditions("team=blue")).number);
        let number = red.number;
        drop(red);
        assert_ne!(in_use.share(conditions("team=red")).number, number);
        let kept: Vec<_> = (0..1000).map(|n| in_use.share(conditions(&format!("n={n}")))).collect();
        drop(kept);
        (0..1000).for_each(|n| drop(in_use.share(conditions(&format!("n={n}")))));
        assert!(in_use.0.lock().shared.len() <= 2001);
        (0..9000).for_each(|n| drop(in_use.share(conditions(&format!("m={n}")))));
        assert!(in_use.0.lock().shared.len() <= 2001, "who is gone leaves nothing");
    }

    #[test]
    fn both_filters_must_let_an_event_through() {
        let shared = |text| Some(InUse::default().share(conditions(text)));
        let types = |name: &str| {
            let query = format!("channels=a&events={name}");
            let limits = crate::subscription::Limits { max_channels: 1, max_tail: 1, heartbeat: Default::default() };
            let texts = crate::subscription::Texts { query: &query, ..Default::default() };
            crate::subscription::Subscription::parse(&texts, &limits, 0).unwrap().filter
        };
        let passes = |types, conditions| {
            Wanted { types, conditions, field: None }.passes(&frame("red"), None, &mut Verdicts::default())
        };
        assert!(passes(None, None) && passes(types("made"), shared("team=red")));
        assert!(!passes(types("other"), shared("team=red")) && !passes(types("made"), shared("team=blue")));
        assert!(passes(None, shared("event=made")) && !passes(None, shared("event!=made")));
    }

    #[test]
    fn a_shared_verdict_holds_for_its_walk_alone() {
        let in_use = InUse::default();
        let (red, _other) = (in_use.share(conditions("team=red")), in_use.share(conditions("team=red")));
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
