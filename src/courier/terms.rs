//! What a subscription asked for, as far as delivery has to do with it.

use super::wanted::Wanted;
use crate::cursor::Form;

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
    /// Which events it wants; `None`: all.
    pub wanted: Option<Box<Wanted>>,
    /// Whether each event is wrapped in JSON that names its channel.
    pub envelope: bool,
    /// How `id:` names its channels; `None` where one was asked for.
    pub ids: Option<Form>,
}

impl Terms {
    /// Whether every event is sent as it lies in the log of its channel.
    pub fn is_plain(&self) -> bool {
        self.wanted.is_none() && !self.envelope && self.ids.is_none()
    }
}
