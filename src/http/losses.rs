//! What is known when a stream would begin, and is told in place of it: that nothing is left to read, and, to who asked for that with
//! `control=end`, what was lost.
//!
//! A loss that stands right where the client would go on counts, too: it would end the stream before anything has come, and who came back
//! with the same id would find it there again.

use super::Context;
use crate::control_event::Gap;
use crate::hub::join::Start;
use crate::hub::page::PageRequest;
use crate::subscription::{Control, Subscription};
use std::sync::Arc;
use tokio::time::Instant;

/// Whether all has ended and was read, or, for who asks for that, does not exist. A loss comes first: what does not exist is not told in
/// place of it to who asked for that with `control=end`, too.
pub async fn is_over(subscription: &Subscription, starts: &[Start], context: &Context) -> bool {
    if subscription.channels.is_empty() {
        // It waits for channels to join.
        return false;
    }
    for start in starts.iter().filter(|start| !start.finished) {
        let is_owed = subscription.control == Control::End && start.gap.is_some();
        // What cannot be asked now is not known to be absent.
        let absent = subscription.absent && !is_owed && context.hub.is_absent(start.leg.feed()).await.unwrap_or(false);
        if !absent {
            return false;
        }
    }
    true
}

/// The first loss, if it is to be told in place of a stream.
pub async fn lost(subscription: &Subscription, starts: &[Start], context: &Context) -> Option<Gap> {
    if subscription.control != Control::End {
        return None;
    }
    if let Some(gap) = starts.iter().find_map(|start| start.gap.clone()) {
        return Some(gap);
    }
    for start in starts {
        let gap = match start.at {
            Some(_) => next_in_log(start),
            None => next_in_history(start, context).await,
        };
        if gap.is_some() {
            return gap;
        }
    }
    None
}

/// What stands in the log where a leg begins.
fn next_in_log(start: &Start) -> Option<Gap> {
    let state = start.leg.feed().lock();
    let (_, frame) = state.log.frames_from(start.at?)?.next()?;
    frame.gap()
}

/// What the first page of a leg behind the log begins with; none where it cannot be read now, and is then met in the stream.
async fn next_in_history(start: &Start, context: &Context) -> Option<Gap> {
    let (feed, here) = (start.leg.feed().clone(), Arc::new(()));
    let Start { standing, known_to, fresh, .. } = *start;
    let request = PageRequest { feed, standing, known_to, fresh, given: 0, here: Arc::downgrade(&here) };
    let mut allowance = context.hub.allowance(&request, Instant::now()).ok()?;
    let page = context.hub.page(&request, &mut allowance).await.ok()?;
    page.frames.first()?.gap()
}
