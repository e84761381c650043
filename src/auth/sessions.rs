//! Carries out what the stream of renewals, `<key-prefix>~sessions`, says, and writes to it.
//!
//! It is read as `~control` is. What cannot be read, or comes too late, costs those whom it is for a reconnect.

use super::control::following::{self, Follower};
use super::control::{CLOCKS_MS, write};
use super::renewal::{CHANNEL, Renewal};
use crate::backplane::{Backplane, BackplaneError, Entry};
use crate::clock::Clock;
use crate::position::Position;
use crate::telemetry::LogThrottle;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const LOG_PERIOD: Duration = Duration::from_secs(10);
/// How long the answer to a page waits for a renewal to be told.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells all nodes of a renewal.
pub async fn tell(backplane: &dyn Backplane, renewal: &Renewal) -> Result<(), BackplaneError> {
    // Who has that many patterns comes back when the old token ends.
    let Some(publication) = renewal.publication() else { return Ok(()) };
    write(backplane, publication, TELL_TIMEOUT).await.map(drop)
}

/// Follows the stream for as long as the node lives; `extend` tells the couriers.
pub async fn follow(backplane: Arc<dyn Backplane>, clock: Clock, extend: impl Fn(Arc<Renewal>)) {
    let log = LogThrottle::new(LOG_PERIOD);
    let extending = Extending { clock: clock.clone(), begun: Instant::now(), extend, log };
    following::follow(backplane, CHANNEL, &clock, extending).await;
}

/// What is done about an entry.
struct Extending<F> {
    clock: Clock,
    begun: Instant,
    extend: F,
    log: LogThrottle,
}

impl<F: Fn(Arc<Renewal>)> Follower for Extending<F> {
    fn now_ms(&self) -> u64 {
        self.clock.backplane_ms()
    }

    fn carry_out(&self, entry: &Entry) {
        // Those of before this node was there were for streams that are no more.
        let begun_ms = self.now_ms().saturating_sub(self.begun.elapsed().as_millis() as u64);
        if entry.position.ms < begun_ms.saturating_sub(CLOCKS_MS) {
            return;
        }
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

    // What is down, refuses or begins anew says so at `~control`, which is as this.
    fn anew(&self, _: Position) {}

    fn caught_up(&self) {}

    fn failed(&self, _: BackplaneError) {}

    fn rests(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::UNIX_EPOCH;

    #[tokio::test]
    async fn renewals_of_before_the_node_extend_nothing() {
        const NOW: u64 = 1_800_000_000_000;
        let extended = Cell::new(0);
        let extending = Extending {
            clock: Clock::given(|| UNIX_EPOCH + Duration::from_millis(NOW)),
            begun: Instant::now(),
            extend: |_| extended.set(extended.get() + 1),
            log: LogThrottle::new(LOG_PERIOD),
        };
        let fields = [("extend", "subject"), ("name", "ann"), ("until_ms", "9"), ("subscribe", "a")];
        let fields: Vec<_> = fields.map(|(name, value)| (name.into(), value.into())).into();
        let at = |ms| extending.carry_out(&Entry { position: Position::new(ms, 0), fields: fields.clone() });
        at(NOW - 60_000);
        assert_eq!(extended.get(), 0);
        at(NOW);
        at(NOW - CLOCKS_MS + 100);
        assert_eq!(extended.get(), 2, "clocks differ");
    }
}
