//! Random commands about streams and their groups.

use super::both::{Both, Word, now_ms, words};
use super::played::Id;
use super::steps::{FUTURE, bound, id, key, one, value, with};
use fastrand::Rng;

/// Where `*` says what the clock does not: behind an id of the future.
fn new_id(both: &Both, random: &mut Rng, key: &str) -> String {
    let last = both.server.last_id(0, key.as_bytes());
    match random.u32(..8) {
        0..=2 if last.is_some_and(|last| last > Id::new(now_ms() + 1_000_000, 0)) => "*".to_owned(),
        0 => format!("{}-*", FUTURE + random.u64(..8)),
        1 => id(random),
        // Mostly the next ones, so that streams get long.
        _ => match last.filter(|last| *last < Id::new(FUTURE + 1000, 0)) {
            Some(last) => format!("{}-{}", last.ms, last.seq.saturating_add(random.u64(1..3))),
            None => id(random),
        },
    }
}

pub fn appending(both: &mut Both, random: &mut Rng, at: usize) -> Vec<Word> {
    let key = key(random);
    // In another database, and when what is only noted runs, it may be otherwise.
    let line = both.lines[at].id;
    let runs_now =
        both.server.database(line) == 0 && !both.server.is_in_transaction(line) && !both.server.is_waiting(line);
    let add = |both: &Both, random: &mut Rng| {
        let id = new_id(both, random, key);
        if runs_now { id } else { id.replace('*', "1") }
    };
    if random.u32(..5) == 0 && !both.waits() {
        // A burst, so that there are several nodes. Who waits would have his next commands run within it, or behind it.
        for _ in 0..random.usize(20..150) {
            let id = add(both, random);
            both.send(at, &words(&["XADD", key, &id, "data", one(random, &["1", "some data that is longer"])]));
        }
    }
    let mut command = words(&["XADD", key]);
    for _ in 0..random.u32(..3) / 2 + random.u32(..3) / 2 {
        let option = match random.u32(..5) {
            0 => vec!["NOMKSTREAM".to_owned()],
            1 => vec![one(random, &["KEEPREF", "DELREF", "ACKED"]).to_owned()],
            _ => threshold(random),
        };
        command = with(command, &option.iter().map(String::as_str).collect::<Vec<_>>());
    }
    command = with(command, &[&add(both, random), "data", &value(random)]);
    match random.u32(..6) {
        0 => with(command, &["more", &value(random)]),
        1 => with(command, &["more", &value(random), "x", "y"]),
        _ => command,
    }
}

fn threshold(random: &mut Rng) -> Vec<String> {
    let mut words = Vec::new();
    let kind = one(random, &["MAXLEN", "MAXLEN", "MINID"]);
    words.push(kind.to_owned());
    let sign = one(random, &["", "=", "~", "~"]);
    words.extend(Some(sign.to_owned()).filter(|sign| !sign.is_empty()));
    words.push(if kind == "MINID" { id(random) } else { one(random, &["0", "1", "2", "5", "50", "120"]).to_owned() });
    if random.u32(..6) == 0 {
        words.extend(["LIMIT".to_owned(), one(random, &["0", "1", "100", "150", "-1"]).to_owned()]);
    }
    words
}

pub fn changing(random: &mut Rng) -> Vec<Word> {
    let key = key(random);
    match random.u32(..10) {
        0..=3 => {
            let mut command =
                with(words(&["XTRIM", key]), &threshold(random).iter().map(String::as_str).collect::<Vec<_>>());
            if random.u32(..4) == 0 {
                command = with(command, &[one(random, &["KEEPREF", "DELREF", "ACKED"])]);
            }
            command
        }
        4..=7 => words(&["XDEL", key, &id(random), &id(random)]),
        8 => words(&["XSETID", key, &id(random)]),
        _ => {
            let mut command = words(&["XSETID", key, &id(random)]);
            if random.bool() {
                command = with(command, &["ENTRIESADDED", one(random, &["0", "1", "200", "-1"])]);
            }
            if random.bool() { with(command, &["MAXDELETEDID", &id(random)]) } else { command }
        }
    }
}

pub fn reading(random: &mut Rng) -> Vec<Word> {
    let (key, other) = (key(random), key(random));
    match random.u32(..12) {
        0..=3 => words(&["XINFO", "STREAM", key]),
        4 => words(&["XRANGE", key, &bound(random), &bound(random)]),
        5 => words(&["XREVRANGE", key, &bound(random), &bound(random), "COUNT", one(random, &["0", "1", "3", "-1"])]),
        6 => words(&["XRANGE", key, "-", "+", "COUNT", one(random, &["1", "2"])]),
        7 => words(&["XLEN", key]),
        8 => words(&["XREAD", "COUNT", one(random, &["1", "3", "0", "-1"]), "STREAMS", key, &id(random)]),
        9 => words(&["XREAD", "STREAMS", key, other, &id(random), "$"]),
        10 => words(&["XREAD", "COUNT", "2", "STREAMS", key, other, "0", &id(random)]),
        _ => words(&["XREAD", "COUNT", "1", "STREAMS", key, one(random, &["$", "+", "0", ">"])]),
    }
}

pub fn waiting(random: &mut Rng) -> Vec<Word> {
    let (key, other) = (key(random), key(random));
    match random.u32(..4) {
        0 => words(&["XREAD", "BLOCK", "0", "STREAMS", key, "$"]),
        1 => words(&["XREAD", "BLOCK", "100000", "COUNT", "1", "STREAMS", key, other, "$", &id(random)]),
        2 => words(&["XREAD", "BLOCK", "100000", "STREAMS", key, other, "$", "$"]),
        _ => words(&["XREAD", "BLOCK", one(random, &["-1", "x", "0"]), "STREAMS", key, &id(random)]),
    }
}

pub fn of_groups(both: &Both, random: &mut Rng) -> Vec<Word> {
    let (key, group, who) = (key(random), one(random, &["g", "g", "h"]), one(random, &["me", "you"]));
    let references = one(random, &["KEEPREF", "DELREF", "ACKED"]);
    let is_new = both.server.version().knows_references();
    match random.u32(..16) {
        0 | 1 => words(&["XGROUP", "CREATE", key, group, one(random, &["0", "$", "-", "4102444800002-1"])]),
        2 => words(&["XGROUP", "CREATE", key, group, "$", "MKSTREAM"]),
        3 => words(&["XGROUP", "SETID", key, group, one(random, &["0", "$"])]),
        4 => words(&["XGROUP", one(random, &["CREATECONSUMER", "DELCONSUMER"]), key, group, who]),
        5 if random.u32(..4) == 0 => words(&["XGROUP", "DESTROY", key, group]),
        6..=8 => {
            words(&["XREADGROUP", "GROUP", group, who, "COUNT", one(random, &["1", "10", "0"]), "STREAMS", key, ">"])
        }
        9 => words(&["XREADGROUP", "GROUP", group, who, "NOACK", "COUNT", "2", "STREAMS", key, ">"]),
        10 => words(&["XREADGROUP", "GROUP", group, who, "STREAMS", key, &id(random)]),
        11 | 12 => words(&["XACK", key, group, &id(random), &id(random)]),
        13 if is_new => words(&["XDELEX", key, references, "IDS", "2", &id(random), &id(random)]),
        14 if is_new => words(&["XACKDEL", key, group, references, "IDS", "2", &id(random), &id(random)]),
        _ => words(&["XACK", key, group, &id(random)]),
    }
}
