//! How often a client may ask: subscriptions, and what else costs a decision, per second of an address and of a subject.

use super::Context;
use crate::auth::Grant;
use crate::limits::{Rate, TooFast};
use crate::problem::{Code, Problem};
use std::hash::Hash;
use std::num::NonZeroU32;

/// Takes one of the subject's, where there is one.
pub fn take_subject_rate(access: &Grant, context: &Context) -> Result<(), Problem> {
    match &access.subject {
        Some(subject) => take_rate(&context.subject_rate, subject.clone(), "a subject"),
        None => Ok(()),
    }
}

/// Takes one of `who`'s; `what` is who that is, for the refusal.
pub fn take_rate<K: Hash + Eq + Clone>(rate: &Option<Rate<K>>, who: K, what: &str) -> Result<(), Problem> {
    let Some(rate) = rate else { return Ok(()) };
    rate.take(who, NonZeroU32::MIN).map_err(|too_fast| {
        let detail = format!("{what} may subscribe {} times a second", rate.per_second());
        let problem = Problem::new(Code::SubscribeRate, detail);
        match too_fast {
            TooFast::Wait(seconds) => Problem { retry_after: Some(seconds), ..problem },
            TooFast::Never => problem,
        }
    })
}
