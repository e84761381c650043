//! HTTP/2 connections: many streams on one, each for itself, whoever keeps the connection.

use super::keeper::Keeper;
use crate::support::event_stream::Parser;
use crate::support::http2::{GOAWAY, Http2, INTERNAL_ERROR, RST_STREAM, window};
use crate::support::node::{Node, PATIENCE, eventually};
use crate::support::raw::Raw;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::time::Instant;

/// A connection of many streams.
struct Tabs {
    raw: Raw,
    http2: Http2,
}

impl Tabs {
    fn open(keeper: &Keeper, node: &Node) -> Tabs {
        let mut raw = keeper.open(node);
        let http2 = Http2::begin(&mut raw).expect("the node takes it");
        Tabs { raw, http2 }
    }

    fn get(&mut self, target: &str) -> u32 {
        self.http2.open(&mut self.raw, "GET", target, &[], b"")
    }

    /// Reads until a condition holds.
    fn until(&mut self, what: &str, condition: impl Fn(&Http2) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.http2) {
            assert!(Instant::now() < deadline, "{what} has not come");
            self.http2.frame(&mut self.raw).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }

    fn status(&mut self, stream: u32) -> u16 {
        self.until("a head", |http2| http2.streams[&stream].head.is_some());
        self.http2.streams[&stream].head.as_ref().expect("just seen").status
    }

    /// The data of events on a stream so far.
    fn data(&self, stream: u32) -> Vec<String> {
        Parser::new().feed(&self.http2.streams[&stream].body).into_iter().map(|message| message.data).collect()
    }

    fn until_data(&mut self, stream: u32, expected: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while self.data(stream) != expected {
            assert!(Instant::now() < deadline, "{:?} on stream {stream}, not {expected:?}", self.data(stream));
            self.http2.frame(&mut self.raw).expect("a frame");
        }
    }
}

#[test]
fn a_hundred_tabs_share_a_connection() {
    Keeper::each("tabs", |keeper| {
        let node = keeper.node(&[]);
        let mut tabs = Tabs::open(keeper, &node);
        let streams: Vec<u32> = (0..100).map(|n| tabs.get(&format!("/events?channels=a,own.{n}"))).collect();
        for stream in &streams {
            assert_eq!(tabs.status(*stream), 200);
        }
        node.metric_becomes("fantail_connections", 100.0);
        node.metric_becomes("fantail_http2_streams", 100.0);
        node.metric_becomes("fantail_http2_connections", 1.0);
        keeper.publish(&node, "/events/a", "1");
        // Between channels there is no order, so one after the other.
        tabs.until_data(streams[7], &["1"]);
        keeper.publish(&node, "/events/own.7", "2");
        for (number, stream) in streams.iter().enumerate() {
            tabs.until_data(*stream, if number == 7 { &["1", "2"] } else { &["1"] });
        }
        // Short requests share it, too.
        let short = tabs.get("/events/bad%20name");
        assert_eq!(tabs.status(short), 400);
        // One tab is closed: cancelled, as browsers do.
        let cancel = crate::support::http2::Frame::new(RST_STREAM, 0, streams[0], &8_u32.to_be_bytes());
        tabs.raw.write_all(&cancel.bytes()).unwrap();
        node.metric_becomes("fantail_connections", 99.0);
        drop(tabs);
        node.metric_becomes("fantail_connections", 0.0);
        node.metric_becomes("fantail_http2_streams", 0.0);
        node.metric_becomes("fantail_http2_connections", 0.0);
    });
}

#[test]
fn streams_count_in_the_limits() {
    Keeper::each("limits", |keeper| {
        let node = keeper.node(&["--max-connections-per-address", "3", "--http2-streams", "5"]);
        let mut tabs = Tabs::open(keeper, &node);
        let streams: Vec<u32> = (0..4).map(|_| tabs.get("/events/a")).collect();
        let statuses: Vec<u16> = streams.iter().map(|stream| tabs.status(*stream)).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 1, "{statuses:?}");
        assert_eq!(tabs.http2.settings.get(&3), Some(&5), "SETTINGS_MAX_CONCURRENT_STREAMS");
    });
}

#[test]
fn a_stream_that_is_not_read_holds_little_and_its_neighbours_nothing_back() {
    Keeper::each("unread", |keeper| {
        const EVENTS: usize = 200;
        let node = keeper.node(&["--stall-timeout", "8s", "--heartbeat", "1s"]);
        let mut tabs = Tabs::open(keeper, &node);
        let (unread, read) = (tabs.get("/events/a"), tabs.get("/events/a"));
        tabs.http2.unread.push(unread);
        assert_eq!((tabs.status(unread), tabs.status(read)), (200, 200));
        // The connection as a whole has room; only the stream has none.
        tabs.raw.write_all(&window(0, 1 << 24)).unwrap();
        let data = "x".repeat(4000);
        for number in 0..EVENTS {
            keeper.publish(&node, "/events/a", &format!("{number} {data}"));
        }
        let begun = Instant::now();
        while tabs.data(read).len() < EVENTS {
            assert!(begun.elapsed() < PATIENCE);
            tabs.http2.frame(&mut tabs.raw).expect("a frame");
        }
        assert!(tabs.http2.streams[&unread].body.len() <= 65_535, "no more than its window");
        // It is ended alone, the connection and its neighbour go on.
        tabs.until("a reset", |http2| http2.streams[&unread].reset.is_some());
        assert_eq!(
            tabs.http2.streams[&unread].reset,
            Some(INTERNAL_ERROR),
            "CANCEL is an end without an error to some"
        );
        node.metric_becomes("fantail_connections_closed_total{reason=\"stalled\"}", 1.0);
        node.metric_becomes("fantail_http2_streams", 1.0);
        keeper.publish(&node, "/events/a", "last");
        tabs.until("the last event", |http2| http2.streams[&read].body.ends_with(b"data: last\n\n"));
    });
}

#[test]
fn a_drain_says_goaway_and_ends_the_open_streams() {
    Keeper::each("drain", |keeper| {
        let mut node = keeper.node(&["--drain", "1s"]);
        let mut tabs = Tabs::open(keeper, &node);
        let streams: Vec<u32> = (0..10).map(|_| tabs.get("/events/a")).collect();
        for stream in &streams {
            assert_eq!(tabs.status(*stream), 200);
        }
        keeper.publish(&node, "/events/a", "1");
        node.signal(Signal::TERM);
        tabs.until("GOAWAY", |http2| http2.goaway.is_some_and(|(_, code)| code == 0));
        tabs.until("the streams' ends", |http2| streams.iter().all(|stream| http2.streams[stream].reset.is_some()));
        for stream in &streams {
            assert_eq!(tabs.data(*stream), ["1"]);
            assert_eq!(tabs.http2.streams[stream].reset, Some(INTERNAL_ERROR), "who invites back is not through");
            let body = String::from_utf8_lossy(&tabs.http2.streams[stream].body).into_owned();
            assert_eq!(body.matches("retry: ").count(), 2, "{body}");
        }
        drop(tabs);
        assert_eq!(node.wait(), Some(0));
    });
}

#[test]
fn a_connection_without_streams_is_closed() {
    Keeper::each("idle", |keeper| {
        let node = keeper.node(&[]);
        let mut silent = keeper.open(&node);
        silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").and_then(|()| silent.flush()).expect("the node takes it");
        let mut idle = Tabs::open(keeper, &node);
        node.metric_becomes("fantail_http2_connections", 2.0);
        // Both have ten seconds for a first request.
        let begun = Instant::now();
        let mut goes = false;
        while begun.elapsed() < PATIENCE * 2 {
            match idle.http2.frame(&mut idle.raw) {
                Ok(frame) => goes |= frame.kind == GOAWAY,
                Err(_) => break,
            }
        }
        assert!(goes);
        let end = silent.read_to_end(&mut Vec::new());
        assert!(end.is_ok() || keeper.is_hyper(), "{keeper}: TLS has not said that it is the end: {end:?}");
        eventually("both closed", || node.metric("fantail_http2_connections") == 0.0);
    });
}
