//! The checker's own test: events that are dropped, repeated or swapped on the way from a node to its clients.

use crate::arena::{Arena, Case, SECOND, runtime, turn};
use crate::checker::Counts;
use crate::proxy::Tamper;
use crate::publisher::Servers;
use crate::support::redis::Redis;
use std::time::Instant;

/// What the checker counts when one event in `every` of each connection is tampered with.
fn tampered(tamper: Tamper, every: usize) -> Counts {
    let turn = turn();
    let redis = Redis::start();
    let port = redis.port();
    let (urls, servers) = (vec![redis.url()], Servers::one(port));
    let mut arena = Arena::tampered(Case::exact("tampered"), turn, runtime(), urls, servers, Some((tamper, every)));
    std::thread::sleep(2 * SECOND);
    arena.healed(Instant::now());
    arena.counts()
}

#[test]
fn dropped_events_are_found() {
    let counts = tampered(Tamper::Drop, 50);
    assert!(counts.lost > 0 && counts.repeated == 0, "{counts:?}");
}

#[test]
fn repeated_events_are_found() {
    let counts = tampered(Tamper::Repeat, 50);
    assert!(counts.repeated > 0 && counts.lost == 0, "{counts:?}");
}

#[test]
fn swapped_events_are_found() {
    let counts = tampered(Tamper::Swap, 50);
    assert!(counts.reordered > 0 && counts.repeated == 0, "{counts:?}");
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let counts = tampered(Tamper::Drop, usize::MAX);
    let wrong = Counts { events: 0, ..counts };
    assert_eq!(wrong, Counts::default());
    assert!(counts.events > 1_000, "{counts:?}");
}
