//! What a subscription asked for, as far as delivery has to do with it.

use super::wanted::{Verdicts, Wanted};
use crate::cursor::Form;
use crate::frame::{Frame, Kind, Part, Shape};
use crate::subscription::{Control, Subscription};
use std::sync::Arc;

/// How the bytes of a body are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// HTTP/1.1 chunks.
    Chunked,
    /// HTTP/1.0, where the close ends them, and HTTP/2, which has frames of its own: bare.
    Bare,
}

/// What a subscription asked for beside its channels.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Which events it wants, and which part of them; `None`: all of all.
    pub wanted: Option<Arc<Wanted>>,
    /// Whether each event is wrapped in JSON that names its channel.
    pub envelope: bool,
    /// How `id:` names its channels; `None` where one was asked for, and no order has changed that.
    pub ids: Option<Form>,
    /// How it is told what is no event of a channel.
    pub control: Control,
    /// The type is the channel's name.
    pub typed: bool,
}

impl Terms {
    /// What a subscription asked for; `wanted`: which events, its grant's conditions among them.
    pub fn of(subscription: &Subscription, wanted: Option<Arc<Wanted>>) -> Terms {
        Terms {
            wanted,
            envelope: subscription.envelope,
            ids: subscription.ids(),
            control: subscription.control,
            typed: subscription.typed,
        }
    }

    /// Whether every event is sent as it lies in the log of its channel.
    pub fn is_plain(&self) -> bool {
        let as_it_is = !self.envelope && !self.typed && self.ids.is_none();
        as_it_is && self.wanted.is_none() && self.control == Control::On
    }

    /// The field that is the data where there is none.
    pub fn field(&self) -> Option<&Arc<str>> {
        self.wanted.as_ref()?.field()
    }

    /// Whether a frame is sent, not passed over.
    pub fn wants(&self, frame: &Frame) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.passes(frame, None, &mut Verdicts::default()))
    }

    /// Whether a frame ends the stream in place of being sent.
    pub fn ends_at(&self, frame: &Frame) -> bool {
        self.control == Control::End && !frame.is_event() && frame.gap().is_some()
    }

    /// Which part of a frame is sent, and whether behind an `id:` line of the subscriber's own.
    pub fn form(&self, frame: &Frame) -> (bool, Part) {
        let Terms { envelope, typed, .. } = *self;
        let field = self.field().filter(|_| frame.is_object()).map(|name| Kind::of(name.as_bytes()));
        if !frame.is_event() {
            let part = if self.control == Control::Off { Part::Shaped(Shape::COMMENT) } else { Part::Rest };
            return (false, part);
        }
        match (typed || field.is_some(), envelope, self.ids.is_some()) {
            (true, ..) => (true, Part::Shaped(Shape { comment: false, envelope, typed, field })),
            (false, true, _) => (true, Part::Envelope),
            (false, false, true) => (true, Part::Rest),
            (false, false, false) => (false, Part::Block),
        }
    }
}
