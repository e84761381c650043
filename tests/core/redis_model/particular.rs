//! What random histories do not come to by themselves.

use super::both::{Both, Word, words};
use crate::support::redis::Redis;

/// What a client is told that asks for what is not there, or not in this way.
#[test]
fn wrong_questions_are_answered_alike() {
    let real = Redis::start();
    let mut both = Both::new(&real, "questions");
    let long = "y".repeat(200);
    for command in [
        &["NOSUCH"][..],
        &["nosuch", "a", "b c", &long, "d"],
        &["CLIENT", "nosuch"],
        &["CLIENT"],
        &["GET"],
        &["GET", "a", "b"],
        &["XINFO", "STREAM"],
        &["XINFO", "STREAM", "a"],
        &["XGROUP", "CREATE", "a", "g"],
        &["AUTH", "secret"],
        &["AUTH", "default", "secret"],
        &["AUTH", "nobody", "secret"],
        &["AUTH"],
        &["HELLO", "3", "AUTH", "nobody", "secret"],
        &["HELLO", "3", "SETNAME", "me", "AUTH"],
        &["HELLO", "3", "SETNAME", "me"],
        &["CLIENT", "GETNAME"],
        &["HELLO"],
        &["HELLO", "2"],
        &["EVALSHA", "0123", "0"],
        &["PING", "a", "b"],
        &["ECHO", "a"],
        &["CLIENT", "SETINFO", "LIB-NAME", "x"],
        &["CLIENT", "NO-TOUCH", "on"],
        &["CLIENT", "KILL", "ID", "0"],
        &["CLIENT", "KILL", "ID", "99999999"],
        &["CLIENT", "TRACKING", "ON", "REDIRECT", "99999999"],
        &["CLIENT", "TRACKING", "ON", "REDIRECT"],
        &["CLIENT", "TRACKING", "MAYBE"],
        &["FLUSHALL", "NOW"],
        &["SET", "a", "b", "EX", "0"],
        &["SET", "a", "b", "PXAT", "-1"],
        &["SET", "a", "b", "EX", "9223372036854775807"],
        &["SET", "a", "b", "NX", "XX"],
        &["PEXPIRE", "a", "9223372036854775807"],
        &["PEXPIRE", "a", "1", "NX", "GT"],
        &["PEXPIRE", "a", "1", "GT", "LT"],
        &["PEXPIRE", "a", "1", "IF"],
        &["XADD", "a", "1-1", "data"],
        &["XREAD", "STREAMS", "a", "b", "0"],
        &["XREAD", "COUNT", "1", "a", "0"],
        &["XREAD", "GROUP", "g", "me", "STREAMS", "a", "0"],
        &["XREAD", "NOACK", "STREAMS", "a", "0"],
        &["XREADGROUP", "COUNT", "1", "NOACK", "STREAMS", "a", "0"],
        &["XREADGROUP", "GROUP", "g", "me", "STREAMS", "a", "$"],
        &["RESTORE", "a", "0", "no payload"],
        &["EXEC"],
        &["DISCARD"],
        &["MULTI"],
        &["MULTI"],
        &["GET", "a"],
        &["EXEC"],
    ] {
        both.ask(0, command);
    }
}

/// Entries of many sizes: which are in one node decides what `~` removes.
#[test]
fn nodes_hold_as_much_as_they_do() {
    let real = Redis::start();
    let mut both = Both::new(&real, "nodes");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..12 {
        both.ask(0, &["DEL", "a"]);
        let most = [3, 30, 100, 200, 600, 5000][round % 6];
        for n in 0..400 {
            let value = match random.u32(..4) {
                0 => random.i64(..).to_string(),
                1 => random.i16(..).to_string(),
                _ => "v".repeat(random.usize(..most)),
            };
            let id = format!("{}-{}", 1000 + n / 7, n % 7 + u64::from(n % 7 == 3) * 100_000);
            let id = if n % 7 > 3 { format!("{}-{}", 1000 + n / 7, 200_000 + n) } else { id };
            let mut command = vec!["XADD", "a", &id, "data", &value];
            if random.u32(..5) == 0 {
                command.extend(["other", "field"]);
            }
            both.send(0, &words(&command));
        }
        both.ask(0, &["XINFO", "STREAM", "a"]);
        // What is restored goes on as the other does.
        both.dump("a");
        both.send(0, &[words(&["RESTORE", "b", "0"]), vec![Word::Dumped], words(&["REPLACE"])].concat());
        for n in 0..40 {
            both.send(0, &words(&["XADD", "b", &format!("2000-{n}"), "data", &"v".repeat(random.usize(..most))]));
        }
        both.ask(0, &["XINFO", "STREAM", "b"]);
        for most in ["390", "350", "~", "200", "150", "20", "3"] {
            match most {
                "~" => {
                    both.ask(0, &["XTRIM", "a", "MINID", "~", &(1000 + random.u64(..40)).to_string(), "LIMIT", "170"])
                }
                most => both.ask(0, &["XTRIM", "a", "MAXLEN", "~", most]),
            };
            both.ask(0, &["XINFO", "STREAM", "a"]);
        }
    }
}

/// Keys that end after some time, as far as the clocks of both can be compared.
#[test]
fn what_ends_after_a_while_ends_in_time() {
    let real = Redis::start();
    let mut both = Both::new(&real, "ends");
    both.ask(0, &["HSET", "a", "f", "v"]);
    both.ask(0, &["PEXPIRE", "a", "100000"]);
    both.ask(0, &["TTL", "a"]);
    both.ask(0, &["EXPIRE", "a", "200", "GT"]);
    both.ask(0, &["EXPIRE", "a", "300", "LT"]);
    both.ask(0, &["EXPIRE", "a", "300", "NX"]);
    both.ask(0, &["TTL", "a"]);
    both.ask(0, &["HSET", "a", "g", "v"]);
    both.ask(0, &["TTL", "a"]);
    both.ask(0, &["SET", "b", "v", "EX", "100"]);
    both.ask(0, &["TTL", "b"]);
    both.ask(0, &["SET", "b", "v"]);
    both.ask(0, &["TTL", "b"]);
}

/// What is sent behind a command that waits runs when that ends, and may wait itself: for what comes then, not for what it
/// has seen come.
#[test]
fn what_waits_behind_what_waits_is_answered_alike() {
    let real = Redis::start();
    let mut both = Both::new(&real, "behind");
    for command in [
        &["XREAD", "BLOCK", "0", "STREAMS", "a", "b", "0", "0"][..],
        &["XADD", "b", "6-0", "data", "x"],
        &["XTRIM", "b", "MAXLEN", "0"],
        &["XREAD", "BLOCK", "0", "STREAMS", "b", "3-0"],
        &["XADD", "a", "7-0", "data", "x"],
    ] {
        both.send(3, &words(command));
    }
    both.ask(0, &["XADD", "a", "1-0", "data", "x"]);
    both.compare();
    both.ask(0, &["EXISTS", "a"]);
    both.ask(0, &["XINFO", "STREAM", "a"]);
    both.ask(0, &["MULTI"]);
    for command in [&["XADD", "b", "8-0", "data", "x"][..], &["XDEL", "b", "8-0"], &["EXEC"]] {
        both.ask(0, command);
    }
    both.compare();
    both.ask(0, &["XINFO", "STREAM", "a"]);
    both.end();
}
