//! What batches of the follower bring: answers of the backplane, beside the turns that they are for.

use super::followed::Turn;
use crate::backplane::{BackplaneError, Entry, Examined, StreamState};
use crate::channel::Channel;
use std::future::Future;
use std::pin::Pin;

/// One batch's answer.
pub(super) enum BatchResult {
    Attached(Vec<Turn>, Answers<Option<StreamState>>),
    /// With the streams' states of a moment later, where they are counted with each read.
    Read(Vec<Turn>, usize, Answers<Vec<Entry>>, States),
    Examined(Vec<Turn>, usize, Answers<Examined>),
    Sampled(Vec<Channel>, Answers<Option<StreamState>>),
}

/// An answer for each stream that was asked about, or why there is none at all.
pub(super) type Answers<T> = Result<Vec<Result<T, BackplaneError>>, BackplaneError>;

/// States of streams, as far as they are known.
pub(super) type States = Vec<Option<StreamState>>;

/// A batch on its way.
pub(super) type Batch = Pin<Box<dyn Future<Output = BatchResult> + Send>>;
