//! A node's last minutes and its last hour, for people who open the console now: one point for so many records. Pure.

use super::record::{Past, Record};
use std::collections::VecDeque;

/// Points that are kept of each.
const POINTS: usize = 30;

/// A time that is over, point by point.
pub struct Ring {
    /// Records of one point.
    each: usize,
    points: VecDeque<Point>,
    /// The point that is being made, and of how many records it is.
    growing: Point,
    beats: usize,
}

#[derive(Clone, Copy, Default)]
struct Point {
    connections: u64,
    subscriptions: u64,
    /// Sums until the point is whole, then means.
    events_in: f64,
    deliveries: f64,
    bytes_out: f64,
    lag: f64,
    command: f64,
}

impl Ring {
    /// Five minutes: a point is ten seconds.
    pub fn minutes() -> Ring {
        Ring::new(5)
    }

    /// An hour: a point is two minutes.
    pub fn hour() -> Ring {
        Ring::new(60)
    }

    fn new(each: usize) -> Ring {
        Ring { each, points: VecDeque::new(), growing: Point::default(), beats: 0 }
    }

    /// Takes a record, and gives the points that are whole by now.
    pub fn take(&mut self, record: &Record) -> Past {
        let point = &mut self.growing;
        point.connections = record.connections;
        point.subscriptions = record.subscriptions;
        point.events_in += record.events_in;
        point.deliveries += record.deliveries;
        point.bytes_out += record.bytes_out;
        point.lag = point.lag.max(record.lag.map_or(0.0, |lag| lag.p99));
        point.command = point.command.max(record.backplane.command_seconds.unwrap_or(0.0));
        self.beats += 1;
        if self.beats == self.each {
            self.beats = 0;
            self.points.truncate(POINTS - 1);
            self.points.push_front(std::mem::take(&mut self.growing));
        }
        self.past()
    }

    fn past(&self) -> Past {
        let counts = |of: fn(&Point) -> u64| self.points.iter().rev().map(of).collect();
        let means = |of: fn(&Point) -> f64| {
            let mean = |point| (of(point) / self.each as f64).round() as u64;
            self.points.iter().rev().map(mean).collect()
        };
        // Microseconds: a record has room for these, not for a float's every digit.
        let times = |of: fn(&Point) -> f64| {
            let rounded = |point| (of(point) * 1e6).round() / 1e6;
            self.points.iter().rev().map(rounded).collect()
        };
        Past {
            connections: counts(|point| point.connections),
            subscriptions: counts(|point| point.subscriptions),
            events_in: means(|point| point.events_in),
            deliveries: means(|point| point.deliveries),
            bytes_out: means(|point| point.bytes_out),
            lag: times(|point| point.lag),
            command: times(|point| point.command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::record::{Lag, Link};

    fn record(connections: u64, rate: f64, p99: Option<f64>) -> Record {
        let lag = p99.map(|p99| Lag { p50: p99, p99 });
        Record { connections, events_in: rate, lag, ..Record::default() }
    }

    #[test]
    fn a_point_is_made_of_ten_seconds() {
        let mut ring = Ring::minutes();
        for beat in 0..4 {
            assert_eq!(ring.take(&record(beat, 10.0, Some(0.5))), Past::default(), "not whole yet");
        }
        let past = ring.take(&record(7, 60.0, None));
        assert_eq!((past.connections, past.events_in, past.lag), (vec![7], vec![20], vec![0.5]));
        (0..4).for_each(|_| drop(ring.take(&record(8, 0.0, None))));
        let past = ring.take(&record(9, 0.0, None));
        assert_eq!(
            (past.connections, past.events_in, past.lag),
            (vec![7, 9], vec![20, 0], vec![0.5, 0.0]),
            "oldest first"
        );
    }

    #[test]
    fn an_hour_is_thirty_points_of_two_minutes() {
        let mut ring = Ring::hour();
        let last = (0..3_600 / 2).map(|beat| ring.take(&record(beat / 60, 1.0, None))).last().unwrap();
        assert_eq!(last.connections, (0..30).collect::<Vec<u64>>());
        assert_eq!(last.events_in, [1; 30]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_small() {
        let mut ring = Ring::minutes();
        let busy = |n: u64| Record {
            connections: 1_000_000 + n,
            subscriptions: 10_000_000 + n,
            events_in: 123_456.0,
            deliveries: 5_000_000.0,
            bytes_out: 1_234_567_890.0,
            lag: Some(Lag { p50: 0.1, p99: 0.25 }),
            backplane: Link { command_seconds: Some(0.000_123_456_789), ..Link::default() },
            ..Record::default()
        };
        let past = (0..1000).map(|n| ring.take(&busy(n))).last().unwrap();
        let last: Vec<u64> = (0..30).map(|n| 1_000_854 + n * 5).collect();
        assert_eq!(past.connections, last, "the newest");
        let text = serde_json::to_string(&past).unwrap();
        assert!(text.len() < 2048, "{} bytes", text.len());
        assert_eq!(serde_json::from_str::<Past>(&text).unwrap(), past);
    }
}
