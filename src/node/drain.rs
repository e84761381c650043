//! The end of a node: nobody new is taken, and those who are there are told to go, evenly.

use crate::health::Health;
use crate::http::Context;
use crate::http::subscribe::LONGEST_BEGINNING;
use crate::probe::{self, Probe};
use prometheus::IntGauge;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// After the drain's window: for the last goodbyes.
const LAST_GOODBYES: Duration = Duration::from_secs(5);
/// Who was taken right before the drain is told to go, too, however slow.
const _: () = assert!(LONGEST_BEGINNING.as_millis() < LAST_GOODBYES.as_millis());
/// For what was written to HTTP/2 streams, and for those who are turned away.
const LAST_STREAMS: Duration = Duration::from_secs(1);

/// What a drain has to do with.
pub struct Drain {
    pub context: Arc<Context>,
    pub health: Arc<Health>,
    /// Has no more connections accepted.
    pub close_doors: Box<dyn Fn() + Send + Sync>,
    pub drain_end: IntGauge,
}

impl Drain {
    /// Ends all subscribers evenly within `window`, from `delay` on; whether all were ended in time.
    pub async fn drain_within(&self, delay: Duration, window: Duration) -> bool {
        probe::reached(Probe::Drained);
        self.health.start_draining();
        self.tell_drain_end(delay + window);
        // What is logged is so already: who asks after reading it is refused, unless a delay is told with it.
        if delay.is_zero() {
            self.close();
        }
        info!(subscribers = self.context.limits.taken(), ?delay, ?window, "draining");
        if !delay.is_zero() {
            sleep(delay).await;
            self.close();
        }
        self.context.couriers.drain(window);
        self.all_gone(window + LAST_GOODBYES).await
    }

    /// Ends all subscribers at once; whether all were ended in time.
    pub async fn hurry(&self) -> bool {
        self.health.start_draining();
        self.tell_drain_end(Duration::ZERO);
        self.close();
        info!(subscribers = self.context.limits.taken(), "hurrying: told twice to end");
        self.context.couriers.drain(Duration::ZERO);
        self.all_gone(LAST_GOODBYES).await
    }

    /// For alerts: a node that goes before this time with subscribers was cut short.
    fn tell_drain_end(&self, left: Duration) {
        let end = self.context.clock.since_epoch() + left;
        self.drain_end.set(end.as_secs() as i64);
    }

    fn close(&self) {
        self.context.closing.store(true, Ordering::Release);
        self.context.turned_away.end_all();
        (self.close_doors)();
    }

    async fn all_gone(&self, limit: Duration) -> bool {
        let gone = async {
            while self.context.limits.taken() > 0 || self.context.couriers.load() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let complete = timeout(limit, gone).await.is_ok();
        // What couriers have put into HTTP/2 streams has still to go out, and the ends of answers that were held.
        let sent = async {
            while self.context.metrics.http2_connections.get() > 0 || self.context.turned_away.held() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(LAST_STREAMS, sent).await;
        if complete {
            info!("drained: the node ends");
        } else {
            warn!(subscribers = self.context.limits.taken(), "not drained in time: the node ends");
        }
        complete
    }
}
