//! The first blocks of a stream: when to come back, what was lost, where it begins.
//!
//! Libraries take each blank line for an event, or fail at one without data, so there is none that nothing needs.

use super::Context;
use super::decision::Admitted;
use crate::channel::Channel;
use crate::control_event::ControlEvent;
use crate::courier::{Beat, Terms};
use crate::cursor::{Place, name_hash, write_changed, write_cursor, write_position};
use crate::frame::{END_OF_CHUNK, Frame, Names, Part, Standing};
use crate::hub::join::Start;
use crate::hub::offset::Offset;
use crate::planted::{self, Fault};
use crate::position::Position;
use crate::subscription::{Control, Resume, Since, Subscription};
use std::sync::Arc;
use std::time::Duration;

/// The largest event that goes out with the head: an empty socket takes it at once.
const EVENT_BYTES: usize = 8 << 10;
/// Behind a bare `id:`.
const BLANK: &[u8] = b"\n";
/// Events that are looked through for one that passes the filter.
const EVENTS_LOOKED_AT: usize = 100;

/// The first blocks of a stream, as they are put together.
pub struct Opening<'a> {
    pub subscription: &'a Subscription,
    pub terms: &'a Terms,
    pub blocks: Vec<u8>,
    /// How orders changed its channels while it was away.
    pub told: &'a [ControlEvent],
    /// The node's own heartbeat.
    usual: Duration,
}

/// A delay after which a client is to come back, which counts as soon as its line has come.
pub fn retry(context: &Context) -> Vec<u8> {
    format!("retry: {}\n", context.settings.retry.pick_ms(&context.random)).into_bytes()
}

impl<'a> Opening<'a> {
    /// Begins with the client's own delay.
    pub fn new(admitted: &'a Admitted, terms: &'a Terms, context: &Context) -> Opening<'a> {
        let Admitted { subscription, told, .. } = admitted;
        Opening { subscription, terms, blocks: retry(context), told, usual: context.settings.heartbeat }
    }

    /// What was lost, and where the stream begins; how many events that is. What they are is behind the legs then.
    ///
    /// In this order: who is cut off between the two is told again of what was lost.
    pub fn begin(&mut self, starts: &mut [Start]) -> u64 {
        if planted::is(Fault::IdBeforeGap) {
            write_id(&mut self.blocks, self.subscription, starts, &[]);
            self.blocks.push(b'\n');
        }
        self.gaps(starts);
        // Who comes back with an id, or begins at the newest few, may lose what lies before that event. At the end no event is due, but by
        // chance: there the id says where that was.
        let from_before = is_first(self.subscription) && self.subscription.since != Since::Latest;
        let events = !self.subscription.hello && from_before && self.first_event(starts);
        if !events {
            self.place(starts, &[]);
        }
        self.heartbeat();
        u64::from(events)
    }

    /// What was lost, and which channels have come and gone.
    pub fn gaps(&mut self, starts: &[Start]) {
        let control = self.subscription.control;
        write_gaps(&mut self.blocks, control, starts);
        self.told.iter().for_each(|event| control.write(&mut self.blocks, event));
    }

    /// Where it begins; `owed`: and where it stands in channels that are not joined yet. The first heartbeat follows.
    pub fn place(&mut self, starts: &[Start], owed: &[(Channel, Position)]) {
        let begun = starts.iter().map(|start| &start.leg.feed().channel);
        if let Some(behind_id) = behind_id(self.subscription, starts, begun) {
            write_id(&mut self.blocks, self.subscription, starts, owed);
            // Of a blank line the event of a heartbeat has one.
            if !(behind_id == BLANK && self.subscription.heartbeat_event) {
                self.blocks.extend_from_slice(&behind_id);
            }
        }
    }

    /// The first heartbeat of who has events of them.
    pub fn heartbeat(&mut self) {
        if self.subscription.heartbeat_event {
            let event = ControlEvent::Heartbeat { every_ms: Beat::of(self.subscription).every_ms(self.usual) };
            self.blocks.extend_from_slice(event.to_string().as_bytes());
        }
    }

    /// Writes an event that is due at once, in the form that its subscriber gets; whether there is one.
    fn first_event(&mut self, starts: &mut [Start]) -> bool {
        let due = |start: &Start| due_event(start, self.terms);
        let Some((index, (at, frame))) =
            starts.iter().enumerate().find_map(|(index, start)| Some((index, due(start)?)))
        else {
            return false;
        };
        let start = &mut starts[index];
        (start.at, start.standing, start.finished) = (Some(at), Standing::behind(&frame, None), frame.last);
        let (own_id, part) = self.terms.form(&frame);
        if own_id {
            write_id(&mut self.blocks, self.subscription, starts, &[]);
        }
        let names = Names { channel: &starts[index].leg.feed().channel, field: self.terms.field().map(AsRef::as_ref) };
        match (frame.part(part, names), part) {
            (Some(bytes), _) => self.blocks.extend_from_slice(&bytes[..bytes.len() - END_OF_CHUNK]),
            (None, Part::Shaped(shape)) => self.blocks.extend_from_slice(&frame.shaped(shape, names)),
            (None, _) => {}
        }
        true
    }
}

/// The first event that a leg is owed, and the offset behind it, if that is in memory and small; none where a gap lies before it.
fn due_event(start: &Start, terms: &Terms) -> Option<(Offset, Arc<Frame>)> {
    let at = start.at.filter(|_| !start.finished)?;
    let state = start.leg.feed().lock();
    let mut frames = state.log.frames_from(at)?.take(EVENTS_LOOKED_AT).take_while(|(_, frame)| frame.is_event());
    // A last one that is passed over ends the stream there.
    let (offset, frame) = frames.find(|(_, frame)| frame.last || terms.wants(frame)).filter(|(_, f)| terms.wants(f))?;
    (frame.chunk().len() <= EVENT_BYTES).then(|| (offset.plus(frame.chunk().len()), frame.clone()))
}

/// Whether it neither says where it was nor asks for the newest few.
fn is_first(subscription: &Subscription) -> bool {
    subscription.resume == Resume::None && subscription.tail.is_none()
}

/// What stands behind the `id:` of where legs begin; `begun`: all channels that have begun by then. `None`: no id is told. Who asks for one
/// channel from an id on will ask for the same again, and who wants no control at all is told nothing but events; all others would lose
/// in silence what is trimmed before their first event.
pub fn behind_id<'a>(
    subscription: &Subscription,
    starts: &[Start],
    begun: impl IntoIterator<Item = &'a Channel>,
) -> Option<Vec<u8>> {
    if subscription.hello {
        return Some(ControlEvent::opened(begun).to_string().into_bytes());
    }
    let from_id = matches!((&subscription.channels[..], subscription.since), ([_], Since::After(_)));
    let repeats = from_id && starts.iter().all(|start| start.gap.is_none());
    let spared = is_first(subscription) && (repeats || subscription.control == Control::Off);
    (!spared).then(|| BLANK.to_vec())
}

/// The `id:` line of where a stream begins.
fn write_id(into: &mut Vec<u8>, subscription: &Subscription, starts: &[Start], owed: &[(Channel, Position)]) {
    into.extend_from_slice(b"id: ");
    let Some(form) = subscription.ids() else {
        starts.iter().for_each(|start| write_position(into, start.standing.position));
        into.push(b'\n');
        return;
    };
    let places = starts.iter().map(|start| {
        let feed = start.leg.feed();
        Place { channel: &feed.channel, hash: feed.hash, at: start.standing.position }
    });
    let late = owed.iter().map(|(channel, at)| Place { channel, hash: name_hash(channel), at: *at });
    match &subscription.changes {
        Some(changes) => write_changed(into, form, places.chain(late), changes),
        None => write_cursor(into, form, places.chain(late)),
    }
    into.push(b'\n');
}

/// What has been lost, by events or by comments.
pub fn write_gaps(into: &mut Vec<u8>, control: Control, starts: &[Start]) {
    let gaps = starts.iter().filter_map(|start| start.gap.clone());
    gaps.for_each(|gap| control.write(into, &ControlEvent::Gap(gap)));
}
