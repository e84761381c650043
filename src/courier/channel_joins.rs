//! Channels that streams join while they are open: where couriers ask the hub for legs in them.
//!
//! An order may be for many streams at once; what they want to know of a channel is asked once (`hub::join`). Who waits for
//! a part of the backplane that is away is asked for again and again, until it has left.

use super::mailbox::{JoinAnswer, JoinAsk};
use super::{Couriers, Message};
use crate::backplane::BackplaneError;
use crate::hub::Hub;
use crate::hub::join::{JoinError, Want};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Between tries while the backplane is down.
const PAUSE: Duration = Duration::from_millis(200);
/// Between tries where it refuses a channel.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);

/// Answers couriers' requests until they end.
pub async fn run(hub: Arc<Hub>, couriers: Couriers, mut asks: mpsc::UnboundedReceiver<JoinAsk>) {
    let mut work = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = work.join_next() => {}
            ask = asks.recv() => match ask {
                Some(ask) => drop(work.spawn(answer(hub.clone(), couriers.clone(), ask))),
                None => return,
            },
        }
    }
}

async fn answer(hub: Arc<Hub>, couriers: Couriers, ask: JoinAsk) {
    let Some(joined) = join(&hub, &ask).await else { return };
    let JoinAsk { courier, id, here, .. } = ask;
    couriers.send(courier, Message::Joined { id, here, joined });
}

/// `None`: nobody waits any more.
async fn join(hub: &Arc<Hub>, ask: &JoinAsk) -> Option<JoinAnswer> {
    let want = Want::After(ask.since.after());
    let mut attached = None;
    while ask.here.strong_count() > 0 {
        let joined = match &mut attached {
            Some(attached) => hub.join(attached, want, None).await,
            None => match hub.attached(&ask.channel).await {
                Ok(fresh) => hub.join(attached.insert(fresh), want, None).await,
                Err(error) => Err(error),
            },
        };
        match joined {
            Ok(mut start) => {
                let gap = start.gap.take();
                return Some(Some((start.into(), gap)));
            }
            Err(JoinError::Full(_)) => return Some(None),
            Err(JoinError::Backplane(BackplaneError::Down { .. })) => sleep(PAUSE).await,
            Err(JoinError::Backplane(BackplaneError::Refused { .. })) => sleep(REFUSED_PAUSE).await,
        }
    }
    None
}
