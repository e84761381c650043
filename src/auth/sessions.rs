//! Carries out what the stream of renewals, `<key-prefix>~sessions`, says, and writes to it.
//!
//! It is read as `~control` is. What cannot be read, or comes too late, costs those whom it is for a reconnect.

use super::control::CLOCKS_MS;
use super::control::reading::{Page, Reading};
use super::renewal::{CHANNEL, Renewal};
use crate::backplane::{Backplane, BackplaneError};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::pace;
use crate::telemetry::LogThrottle;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Between reads where changes are not told.
const EVERY: Duration = Duration::from_millis(500);
/// Between reads where they are.
const SELDOM: Duration = Duration::from_secs(2);
const LOG_PERIOD: Duration = Duration::from_secs(10);
/// How long the answer to a page waits for a renewal to be told.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells all nodes of a renewal.
pub async fn tell(backplane: &dyn Backplane, renewal: &Renewal) -> Result<(), BackplaneError> {
    // Who has that many patterns comes back when the old token ends.
    let Some(publication) = renewal.publication() else { return Ok(()) };
    let silent = || BackplaneError::down("no answer");
    let answers = timeout(TELL_TIMEOUT, backplane.append(vec![publication])).await.map_err(|_| silent())??;
    answers.into_iter().next().unwrap_or_else(|| Err(silent())).map(drop)
}

/// Follows the stream for as long as the node lives; `extend` tells the couriers.
pub async fn follow(backplane: Arc<dyn Backplane>, clock: Clock, extend: impl Fn(Arc<Renewal>)) {
    let channel = Channel::new(CHANNEL).expect("a good name");
    let bell = backplane.changes().listen(channel.clone());
    let mut reading = Reading::new(backplane, channel);
    let follower = Follower { clock: clock.clone(), begun: Instant::now(), extend, log: LogThrottle::new(LOG_PERIOD) };
    let (mut often, mut now_and_then) = (pace::in_step(&clock, EVERY), pace::in_step(&clock, SELDOM));
    loop {
        // What is down or refuses says so at `~control`, which is as this.
        let _ = follower.round(&mut reading).await;
        tokio::select! {
            biased;
            () = bell.notified() => {}
            _ = often.tick(), if !reading.told() => {}
            _ = now_and_then.tick(), if reading.told() => {}
        }
    }
}

struct Follower<F> {
    clock: Clock,
    begun: Instant,
    extend: F,
    log: LogThrottle,
}

impl<F: Fn(Arc<Renewal>)> Follower<F> {
    /// Reads and carries out all that is new.
    async fn round(&self, reading: &mut Reading) -> Result<(), BackplaneError> {
        loop {
            let now_ms = self.clock.backplane_ms();
            let Page::Entries { entries, whole } = reading.next(now_ms).await? else { continue };
            // Those of before this node was there were for streams that are no more.
            let begun_ms = now_ms.saturating_sub(self.begun.elapsed().as_millis() as u64).saturating_sub(CLOCKS_MS);
            for entry in entries.iter().filter(|entry| entry.position.ms >= begun_ms) {
                match Renewal::from_entry(entry) {
                    Ok(renewal) => (self.extend)(Arc::new(renewal)),
                    Err(why) => {
                        if let Some(suppressed) = self.log.turn("unreadable") {
                            let (id, why) = (entry.position, why.to_string());
                            tracing::warn!(%id, why, suppressed, "an entry of the stream of renewals cannot be read");
                        }
                    }
                }
            }
            if whole {
                return Ok(());
            }
        }
    }
}
