//! One event's way to its subscribers on this node: a span in its producer's trace, from the node's read of the entry
//! to the last write.
//!
//! Only entries with a `traceparent` that is sampled have one. Couriers add numbers to it; when nothing was added for
//! a while it is closed. Subscribers that get the event later than that, since their sockets were full or they caught
//! up from history, are not in it.

use super::context;
use crate::backplane::Entry;
use crate::channel::Channel;
use crate::clock::Clock;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Deliveries that are open at once; the oldest is closed early to make room.
const OPEN: usize = 4_096;
/// A delivery without a write for so long is over.
const QUIET: Duration = Duration::from_secs(1);
/// No delivery stays open for longer.
const LONGEST: Duration = Duration::from_secs(10);

/// The deliveries of a node that are traced.
pub struct Deliveries {
    tracer: SdkTracer,
    open: Mutex<VecDeque<Arc<Delivery>>>,
    clock: Clock,
}

/// One event's way to its subscribers, as one span. Times are Unix nanoseconds of this node's clock.
#[derive(Debug)]
pub struct Delivery {
    span: Mutex<Option<Span>>,
    clock: Clock,
    begun: Instant,
    /// When the entry was made, by its id.
    made: i64,
    subscribers: AtomicU64,
    first: AtomicI64,
    last: AtomicI64,
}

impl Deliveries {
    pub fn new(tracer: SdkTracer, clock: Clock) -> Deliveries {
        Deliveries { tracer, open: Mutex::default(), clock }
    }

    /// The delivery of an entry that was just read, if it is to be traced. `clock_offset_ms`: the backplane's clock
    /// minus this node's.
    pub fn begin(&self, channel: &Channel, entry: &Entry, clock_offset_ms: i64) -> Option<Arc<Delivery>> {
        let producer = context::of_entry(entry)?;
        let parent = opentelemetry::Context::new().with_remote_span_context(producer);
        let attributes = vec![
            KeyValue::new("messaging.system", "fantail"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", channel.as_str().to_owned()),
            KeyValue::new("messaging.message.id", entry.position.to_string()),
        ];
        let builder = self.tracer.span_builder("deliver").with_kind(SpanKind::Consumer).with_attributes(attributes);
        let span = self.tracer.build_with_context(builder, &parent);
        if !span.span_context().is_sampled() {
            return None;
        }
        let delivery = Arc::new(Delivery {
            span: Mutex::new(Some(span)),
            clock: self.clock.clone(),
            begun: Instant::now(),
            made: match entry.position.is_time() {
                true => (entry.position.ms as i64).saturating_sub(clock_offset_ms).saturating_mul(1_000_000),
                false => nanoseconds(&self.clock),
            },
            subscribers: AtomicU64::new(0),
            first: AtomicI64::new(i64::MAX),
            last: AtomicI64::new(0),
        });
        let mut open = self.open.lock();
        let oldest = (open.len() >= OPEN).then(|| open.pop_front()).flatten();
        open.push_back(delivery.clone());
        drop(open);
        if let Some(oldest) = oldest {
            oldest.close();
        }
        Some(delivery)
    }

    /// Closes what is over; everything where `all`.
    pub fn settle(&self, all: bool) {
        let now = Instant::now();
        let over: Vec<Arc<Delivery>> = {
            let mut open = self.open.lock();
            let (over, left) = open.drain(..).partition(|delivery| all || delivery.is_over(now));
            *open = left;
            Vec::from(over)
        };
        over.iter().for_each(|delivery| delivery.close());
    }
}

impl Delivery {
    /// The first write is about to be made.
    pub fn begins(&self) {
        self.first.fetch_min(nanoseconds(&self.clock), Ordering::Relaxed);
    }

    /// So many subscribers have taken the event by now.
    pub fn reached(&self, subscribers: u64) {
        self.subscribers.fetch_add(subscribers, Ordering::Relaxed);
        self.last.fetch_max(nanoseconds(&self.clock), Ordering::Relaxed);
    }

    fn is_over(&self, instant: Instant) -> bool {
        let age = instant.duration_since(self.begun);
        let quiet =
            nanoseconds(&self.clock).saturating_sub(self.last.load(Ordering::Relaxed)) >= QUIET.as_nanos() as i64;
        age >= LONGEST || age >= QUIET && quiet
    }

    fn close(&self) {
        let Some(mut span) = self.span.lock().take() else { return };
        let subscribers = self.subscribers.load(Ordering::Relaxed);
        span.set_attribute(KeyValue::new("fantail.subscribers", subscribers as i64));
        if subscribers == 0 {
            return span.end();
        }
        let seconds = |at: i64| at.saturating_sub(self.made).max(0) as f64 / 1e9;
        let (first, last) = (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        span.set_attribute(KeyValue::new("fantail.lag.first", seconds(first.min(last))));
        span.set_attribute(KeyValue::new("fantail.lag.last", seconds(last)));
        span.end_with_timestamp(UNIX_EPOCH + Duration::from_nanos(last.max(0) as u64));
    }
}

/// Now in Unix nanoseconds.
fn nanoseconds(clock: &Clock) -> i64 {
    clock.since_epoch().as_nanos() as i64
}
