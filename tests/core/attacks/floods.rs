//! Floods of HTTP/2 frames: the connection that sends them ends, and no other one.

use super::Target;
use crate::support::http2::{ACK, DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Http2, PING, RST_STREAM, SETTINGS};
use std::io::Write;

const FLOOD: usize = 200_000;

/// Sends frames until the node ends the connection; how many it took.
fn flood(raw: &mut impl Write, mut next: impl FnMut(usize) -> Vec<u8>) -> usize {
    let mut sent = 0;
    while sent < FLOOD {
        let batch: Vec<u8> = (sent..sent + 100).flat_map(&mut next).collect();
        if raw.write_all(&batch).is_err() {
            break;
        }
        sent += 100;
    }
    sent
}

/// On a connection that hyper keeps, and on those that a courier does.
fn attack(name: &str, next: impl Fn(&mut Http2, usize) -> Vec<u8>) {
    for target in [
        Target::new(&["--http2", "hyper"]),
        Target::new(&["--http2", "courier"]),
        Target::secure(&format!("flood-{}", name.replace(' ', "-")), &["--http2", "courier"]),
    ] {
        attack_on(target, name, &next);
    }
}

fn attack_on(mut target: Target, name: &str, next: impl Fn(&mut Http2, usize) -> Vec<u8>) {
    for _ in 0..3 {
        let mut raw = target.open_for_http2().raw;
        let mut http2 = Http2::begin(&mut raw).expect("the node takes it");
        // Answers are read as they come, so that they hold nothing up.
        let mut answers = raw.socket.try_clone().expect("a descriptor");
        let reader = std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
        let sent = flood(&mut raw, |number| next(&mut http2, number));
        assert!(sent < FLOOD, "{name}: the node took all of it");
        let _ = reader.join();
        target.is_unharmed();
    }
    target.ends_as_before();
}

#[test]
fn pings() {
    attack("ping", |_, number| Frame::new(PING, 0, 0, &(number as u64).to_be_bytes()).bytes());
}

#[test]
fn answers_to_pings_that_were_never_sent() {
    attack("pong", |_, number| Frame::new(PING, ACK, 0, &(number as u64).to_be_bytes()).bytes());
}

#[test]
fn settings() {
    attack("settings", |_, _| Frame::new(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).bytes());
}

#[test]
fn priorities() {
    attack("priority", |_, number| Frame::new(2, 0, 1 + 2 * (number as u32 % 1000), &[0, 0, 0, 0, 7]).bytes());
}

#[test]
fn empty_data() {
    attack("data", |http2, number| match number {
        0 => Frame::new(HEADERS, END_HEADERS, 1, &http2.request("POST", "/events/a", &[])).bytes(),
        _ => Frame::new(DATA, 0, 1, &[]).bytes(),
    });
}

#[test]
fn rapid_reset() {
    attack("rapid reset", |http2, number| {
        let stream = 1 + 2 * number as u32;
        let block = http2.request("GET", "/events/a", &[]);
        let open = Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, &block).bytes();
        [open, Frame::new(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).bytes()].concat()
    });
}

#[test]
fn resets_that_the_node_is_made_to_send() {
    attack("made you reset", |http2, number| {
        let stream = 1 + 2 * number as u32;
        let block = http2.request("GET", "/events/a", &[]);
        let open = Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, &block).bytes();
        // A window of nothing is an error of the stream (RFC 9113, section 6.9).
        [open, crate::support::http2::window(stream, 0)].concat()
    });
}

#[test]
fn records_that_say_nothing_but_that_keys_are_others() {
    let mut target = Target::secure("flood-records", &["--http2", "courier"]);
    for _ in 0..3 {
        let mut raw = target.open_for_http2().raw;
        Http2::begin(&mut raw).expect("the node takes it");
        let (mut session, mut socket) = (raw.session.take().expect("TLS"), raw.socket);
        let mut sent = 0;
        while sent < FLOOD && session.refresh_traffic_keys().is_ok() && session.write_tls(&mut socket).is_ok() {
            sent += 1;
        }
        assert!(sent < FLOOD, "the node took all of it");
        drop(socket);
        target.is_unharmed();
    }
    target.ends_as_before();
}
