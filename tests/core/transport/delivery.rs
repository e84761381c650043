//! Delivery on every way: order, resume, several channels, filters, slow readers, and each kind of end.

use super::{Site, WAYS, Way};
use crate::support::http2::INTERNAL_ERROR;
use crate::support::stream::{End, Stream};
use rustix::process::Signal;
use std::ops::Range;

/// Bytes of one event's data: a number and a filler.
const SIZE: usize = 4000;

fn add(site: &Site, channel: &str, numbers: Range<u64>) {
    let key = format!("sse:{channel}");
    let data: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let commands: Vec<[&str; 5]> = data.iter().map(|data| ["XADD", &key, "*", "data", data]).collect();
    site.redis.pipeline(&commands.iter().map(|command| &command[..]).collect::<Vec<_>>());
}

fn add_large(site: &Site, numbers: Range<u64>) {
    let data: Vec<String> = numbers.map(|number| format!("{number} {}", "x".repeat(SIZE))).collect();
    let commands: Vec<[&str; 5]> = data.iter().map(|data| ["XADD", "sse:a", "*", "data", data]).collect();
    site.redis.pipeline(&commands.iter().map(|command| &command[..]).collect::<Vec<_>>());
}

fn expect_large(stream: &mut Stream, numbers: Range<u64>) {
    for number in numbers {
        let message = stream.next();
        let begin: String = message.data.chars().take(40).collect();
        assert_eq!(message.data.split(' ').next(), Some(number.to_string().as_str()), "{begin}");
        assert!(message.data.len() > SIZE, "{begin}");
    }
}

fn closed(reason: &str) -> String {
    format!("fantail_connections_closed_total{{reason=\"{reason}\"}}")
}

#[test]
fn events_come_in_order_and_a_reconnect_by_any_way_goes_on_where_another_was() {
    let site = Site::start("order", &[]);
    let mut streams = WAYS.map(|way| site.subscribe(way, "/events/a").begun());
    for stream in &streams {
        assert_eq!(stream.head.header("content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(stream.head.header("cache-control"), Some("no-cache, no-store, no-transform"));
        assert_eq!(stream.head.header("x-accel-buffering"), Some("no"));
    }
    let fresh = streams[0].last_event_id();
    add(&site, "a", 0..50);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(50), Vec::from_iter(0..50)));
    let ids: Vec<String> = streams.iter().map(Stream::last_event_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    add(&site, "a", 50..60);
    for way in WAYS {
        assert_eq!(site.resume(way, "/events/a", &ids[0]).numbers(10), Vec::from_iter(50..60), "{way:?}");
        assert_eq!(site.resume(way, "/events/a", &fresh).numbers(60), Vec::from_iter(0..60), "{way:?}");
    }
}

#[test]
fn several_channels_filters_and_envelopes() {
    let site = Site::start("several", &[]);
    let targets = ["/events?channels=a,b", "/events/a?events=message", "/events/a?envelope=1"];
    let mut streams = WAYS.map(|way| targets.map(|target| site.subscribe(way, target).begun()));
    add(&site, "a", 0..10);
    site.redis.command(&["XADD", "sse:a", "*", "event", "other", "data", "{}"]);
    add(&site, "a", 10..11);
    for [both, filtered, enveloped] in &mut streams {
        assert_eq!(both.numbers(10), Vec::from_iter(0..10));
        assert_eq!(both.next().event, "other");
        assert_eq!(both.numbers(1), [10]);
        assert_eq!(filtered.numbers(11), Vec::from_iter(0..11));
        assert!(enveloped.next().data.starts_with("{\"channel\":\"a\""));
    }
    let id = streams[0][0].last_event_id();
    assert!(id.contains("a=") && id.contains("b="), "{id}");
    add(&site, "b", 100..103);
    for way in WAYS {
        let mut resumed = site.resume(way, "/events?channels=a,b", &id);
        assert_eq!(resumed.numbers(3), [100, 101, 102], "{way:?}");
    }
}

#[test]
fn a_large_event_comes_whole() {
    let site = Site::start("large", &[]);
    let mut streams = WAYS.map(|way| site.subscribe(way, "/events/a").begun());
    let mut pairs = WAYS.map(|way| site.subscribe(way, "/events?channels=a,b").begun());
    let data: String = (0..3_000_000_u32).map(|n| char::from(b'a' + (n / 7 % 26) as u8)).collect();
    site.redis.command(&["XADD", "sse:a", "*", "data", &data]);
    add(&site, "a", 1..3);
    for (stream, way) in streams.iter_mut().chain(&mut pairs).zip(WAYS.iter().chain(&WAYS)) {
        let message = stream.next();
        assert!(message.data == data, "{way:?}: {} bytes", message.data.len());
        assert_eq!(stream.numbers(2), [1, 2], "{way:?}");
    }
}

#[test]
fn slow_readers_are_caught_up_exactly() {
    const EVENTS: u64 = 2000;
    let site = Site::start("slow", &["--tail-bytes", "1MiB", "--stall-timeout", "60s"]);
    let mut slow: Vec<Stream> = WAYS
        .iter()
        .flat_map(|way| ["/events/a", "/events?channels=a,b"].map(|t| Stream::on(site.narrow(*way), t, &[]).begun()))
        .collect();
    let mut quick = WAYS.map(|way| site.subscribe(way, "/events/a").begun());
    for from in (0..EVENTS).step_by(100) {
        add_large(&site, from..from + 100);
        quick.iter_mut().for_each(|stream| expect_large(stream, from..from + 100));
    }
    slow.iter_mut().for_each(|stream| expect_large(stream, 0..EVENTS));
    add_large(&site, EVENTS..EVENTS + 10);
    slow.iter_mut().chain(&mut quick).for_each(|stream| expect_large(stream, EVENTS..EVENTS + 10));
    for node in [&site.plain, &site.secure] {
        assert!(node.metric("fantail_catch_ups_total") > 0.0);
    }
}

#[test]
fn a_reader_that_takes_nothing_is_evicted_and_resumes_by_id() {
    let site = Site::start("stalled", &["--stall-timeout", "5s", "--heartbeat", "1s"]);
    let stalled = WAYS.map(|way| Stream::on(site.narrow(way), "/events/a", &[]).begun());
    let mut quick = WAYS.map(|way| site.subscribe(way, "/events/a").begun());
    for from in (0..1000).step_by(100) {
        add_large(&site, from..from + 100);
        quick.iter_mut().for_each(|stream| expect_large(stream, from..from + 100));
    }
    site.plain.metric_becomes(&closed("stalled"), 2.0);
    site.secure.metric_becomes(&closed("stalled"), 3.0);
    // What a stream's peer does not take is let go, too.
    site.plain.metric_becomes("fantail_http2_streams", 1.0);
    site.secure.metric_becomes("fantail_http2_streams", 1.0);
    for (mut stream, way) in stalled.into_iter().zip(WAYS) {
        let (end, messages) = stream.finish();
        assert_eq!(end, End::Cut, "{way:?}");
        if stream.head.version == "HTTP/2" {
            assert_eq!(stream.connection.reset(), Some(INTERNAL_ERROR), "{way:?}");
        }
        let got = messages.len() as u64;
        assert!(got < 1000, "{way:?}");
        let mut resumed = site.resume(way, "/events/a", &stream.last_event_id());
        expect_large(&mut resumed, got..1000);
    }
}

#[test]
fn heartbeats_then_the_maximum_age_with_a_delay() {
    let site = Site::start("age", &["--heartbeat", "1s", "--max-age", "4s"]);
    let mut streams = WAYS.map(|way| site.subscribe(way, "/events/a").begun());
    for (stream, way) in streams.iter_mut().zip(WAYS) {
        assert_eq!(stream.finish(), (End::Incomplete, vec![]), "{way:?}");
        let raw = String::from_utf8_lossy(&stream.raw);
        assert!(raw.contains("\n:\n"), "{way:?}: {raw}");
        assert_eq!(raw.matches("retry: ").count(), 2, "{way:?}: {raw}");
    }
    site.plain.metric_becomes("fantail_http2_streams", 0.0);
}

#[test]
fn the_last_event_ends_the_stream_and_a_reconnect_gets_204() {
    let site = Site::start("final", &[]);
    let mut streams = WAYS.map(|way| site.subscribe(way, "/events/job").begun());
    add(&site, "job", 0..3);
    let last = site.redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "3"]).text().to_owned();
    for (stream, way) in streams.iter_mut().zip(WAYS) {
        let (end, messages) = stream.finish();
        assert_eq!((end, messages.len()), (End::Whole, 4), "{way:?}");
        let answer = site.connect(way).ask("GET", "/events/job", &[("Last-Event-ID", &last)], b"");
        assert_eq!((answer.head.status, answer.body.len()), (204, 0), "{way:?}");
        assert_eq!(answer.head.header("cache-control"), Some("no-store"), "{way:?}: it is this client's alone");
    }
}

#[test]
fn refusals_and_publications() {
    let site = Site::start("refusals", &["--publish", "on"]);
    for way in WAYS {
        site.connect(way).ask("GET", "/events/not%20a%20channel", &[], b"").problem(400, "bad_channel");
        site.connect(way).ask("DELETE", "/events/a", &[], b"").problem(405, "method_not_allowed");
        let mut stream = site.subscribe(way, "/events/a").begun();
        let data = vec![b'7'; 50_000];
        let answer = site.connect(way).ask("POST", "/events/a", &[], &data);
        assert_eq!(answer.head.status, 201, "{way:?}: {}", answer.text());
        assert_eq!(stream.next().data.len(), data.len(), "{way:?}");
    }
}

#[test]
fn held_subscribers_are_joined_when_redis_is_back() {
    let site = Site::start("held", &[]);
    add(&site, "a", 0..1);
    site.redis.stop();
    for node in [&site.plain, &site.secure] {
        node.metric_becomes("fantail_backplane_up", 0.0);
    }
    let mut streams = WAYS.map(|way| site.subscribe(way, "/events/a?since=earliest"));
    let gone = site.subscribe(Way::Http2, "/events/a");
    site.plain.metric_becomes("fantail_connections", 3.0);
    drop(gone);
    site.plain.metric_becomes("fantail_connections", 2.0);
    site.redis.restart();
    add(&site, "a", 1..2);
    for (stream, way) in streams.iter_mut().zip(WAYS) {
        assert_eq!(stream.numbers(1), [1], "{way:?}");
    }
}

#[test]
fn a_drain_ends_every_stream_between_two_events_and_as_an_incomplete_one() {
    let mut site = Site::start("drain", &["--drain", "1s"]);
    let mut streams = WAYS.map(|way| site.subscribe(way, "/events/a").begun());
    add(&site, "a", 0..5);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.numbers(5), Vec::from_iter(0..5)));
    site.plain.signal(Signal::TERM);
    site.secure.signal(Signal::TERM);
    for (stream, way) in streams.iter_mut().zip(WAYS) {
        assert_eq!(stream.finish(), (End::Incomplete, vec![]), "{way:?}");
        let raw = String::from_utf8_lossy(&stream.raw);
        assert_eq!(raw.matches("retry: ").count(), 2, "{way:?}: {raw}");
    }
    drop(streams);
    assert_eq!((site.plain.wait(), site.secure.wait()), (Some(0), Some(0)));
}
