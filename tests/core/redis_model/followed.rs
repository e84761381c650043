//! What is told to who follows what it reads.

use super::both::{Both, words};
use super::frames::Frame;
use crate::support::redis::Redis;

/// Connection 1 follows; what it was told after its own reply is all that matters.
fn following<'a>(redis: &'a Redis, named: &str) -> Both<'a> {
    let mut both = Both::new(redis, named);
    both.ask(1, &["HELLO", "3"]);
    both.ask(1, &["CLIENT", "TRACKING", "ON"]);
    both
}

#[test]
fn one_change_is_told_once_until_the_key_is_read_again() {
    let real = Redis::start();
    let mut both = following(&real, "once");
    both.ask(1, &["XREAD", "COUNT", "1", "STREAMS", "a", "b", "$", "$"]);
    for _ in 0..2 {
        both.ask(0, &["XADD", "a", "1-*", "data", "x"]);
        both.compare();
    }
    both.ask(1, &["XINFO", "STREAM", "a"]);
    both.ask(0, &["XTRIM", "a", "MAXLEN", "0"]);
    both.compare();
    // What it changes itself it is told of, too, behind the reply.
    both.ask(1, &["GET", "probe"]);
    let told = both.ask(1, &["SET", "probe", "1", "PX", "30000"]);
    assert_eq!(told.len(), 2, "the reply and the push: {told:?}");
    for command in [&["MULTI"][..], &["GET", "probe"], &["SET", "probe", "1"], &["EXEC"]] {
        both.ask(1, command);
    }
}

#[test]
fn a_flush_is_told_without_keys_in_the_protocol_of_who_asked() {
    let real = Redis::start();
    let mut both = following(&real, "flush");
    let to = both.lines[1].id.0.to_string();
    both.ask(2, &["CLIENT", "TRACKING", "ON", "REDIRECT", &to]);
    both.ask(3, &["HELLO", "3"]);
    both.ask(3, &["CLIENT", "TRACKING", "ON", "REDIRECT", &to]);
    both.ask(2, &["GET", "a"]);
    both.ask(0, &["FLUSHALL"]);
    both.compare();
    both.ask(0, &["SET", "a", "1"]);
    both.compare();
    both.ask(1, &["FLUSHDB"]);
    both.compare();
}

#[test]
fn a_redirect_that_leads_nowhere_is_told_to_who_asked() {
    let real = Redis::start();
    let mut both = following(&real, "redirect");
    let to = both.lines[1].id.0.to_string();
    both.ask(2, &["HELLO", "3"]);
    both.ask(2, &["CLIENT", "TRACKING", "ON", "REDIRECT", &to]);
    both.ask(2, &["GET", "a"]);
    both.open_anew(1);
    both.ask(2, &["CLIENT", "TRACKINGINFO"]);
    both.ask(0, &["SET", "a", "1"]);
    both.compare();
    both.ask(2, &["CLIENT", "TRACKINGINFO"]);
    both.ask(2, &["CLIENT", "GETREDIR"]);
}

/// Which keys are forgotten is chance; that those are told which are, and how many, is not.
#[test]
fn readers_of_too_many_keys_are_told_of_some() {
    let real = Redis::start();
    let mut both = following(&real, "too many");
    real.command(&["CONFIG", "SET", "tracking-table-max-keys", "3"]);
    both.server.set_tracking_limit(3);
    let pushed = |frames: &[Frame]| frames.iter().filter(|frame| frame.is_push()).count();
    for key in ["a", "b", "c", "d", "e", "f"] {
        both.send(1, &words(&["GET", key]));
    }
    let (real, played) = both.said(1);
    assert_eq!((pushed(&real), pushed(&played)), (3, 3), "{real:?} {played:?}");
}
