//! Random commands: few keys, ids and values, so that they meet.

use super::both::{Both, LINES, Word, words};
use super::played::Refusal;
use super::stream_steps::{appending, changing, of_groups, reading, waiting};
use fastrand::Rng;

const KEYS: [&str; 4] = ["a", "b", "c", "longer:key"];
/// Milliseconds of most ids: far in the future, so that no clock comes in between.
pub const FUTURE: u64 = 4_102_444_800_000;
/// The connection that is used for waiting, mostly.
const WAITING: usize = 3;
/// The connection that others redirect to.
const TOLD: usize = 1;

/// One step: a command on one of the connections, and what both say then.
pub fn step(both: &mut Both, random: &mut Rng) {
    match random.u32(..100) {
        0 => both.dump(key(random)),
        1 => {
            let refusal = if random.bool() { Refusal::OutOfMemory } else { Refusal::NoReplicas };
            let is_on = random.bool();
            both.refuse(refusal, is_on);
        }
        2 => both.refuse(Refusal::OutOfMemory, false),
        3 => both.refuse(Refusal::NoReplicas, false),
        4 if random.bool() => both.open_anew(random.usize(..LINES)),
        _ => {
            let at = random.usize(..LINES);
            let command = match random.u32(..100) {
                0..=7 => of_connection(both, random, at),
                // Redis 7.0 puts what others redirect into the midst of the reply.
                8..=11 if at == TOLD && !both.server.version().pushes_behind() => words(&["PING"]),
                8..=11 => transaction(random),
                12..=17 => of_keys(both, random),
                18..=25 => of_values(random),
                26..=37 => of_groups(both, random),
                38..=50 => appending(both, random, at),
                51..=65 => changing(random),
                66..=72 if at == WAITING => waiting(random),
                _ => reading(random),
            };
            both.send(at, &spoilt(command, random));
        }
    }
    both.compare();
}

pub fn one<'a>(random: &mut Rng, of: &[&'a str]) -> &'a str {
    of[random.usize(..of.len())]
}

pub fn key(random: &mut Rng) -> &'static str {
    let most = if random.u32(..10) == 0 { KEYS.len() } else { 2 };
    KEYS[random.usize(..most)]
}

pub fn id(random: &mut Rng) -> String {
    match random.u32(..30) {
        0 => "0-0".to_owned(),
        1 => "18446744073709551615-18446744073709551615".to_owned(),
        2 => format!("{}", random.u32(..3)),
        3 => format!("{}", FUTURE + random.u64(..8)),
        4 => format!("{}-18446744073709551615", FUTURE + random.u64(..8)),
        _ => format!("{}-{}", FUTURE + random.u64(..8), random.u32(..4)),
    }
}

/// The begin or end of a range.
pub fn bound(random: &mut Rng) -> String {
    match random.u32(..8) {
        0 => "-".to_owned(),
        1 => "+".to_owned(),
        2 => format!("({}", id(random)),
        _ => id(random),
    }
}

pub fn value(random: &mut Rng) -> String {
    match random.u32(..12) {
        0 => "x".repeat(random.usize(..1500)),
        1 => format!("{}", random.i64(..)),
        2 => format!("{}", random.i32(-5000..5000)),
        3 => String::new(),
        _ => one(random, &["x", "data", "-0", "007", "12"]).to_owned(),
    }
}

/// Words with a few more behind them.
pub fn with(mut first: Vec<Word>, more: &[&str]) -> Vec<Word> {
    first.extend(words(more));
    first
}

/// The words of a command, of which one in a few is not what belongs there.
fn spoilt(mut command: Vec<Word>, random: &mut Rng) -> Vec<Word> {
    let first = match &command[0] {
        Word::Same(name) if matches!(name.as_slice(), b"CLIENT" | b"XINFO" | b"XGROUP") => 2,
        _ => 1,
    };
    // What the clock has a say in stays as it is.
    let is_timed = |word: &Word| *word == Word::Dumped || *word == Word::Same(b"*".to_vec());
    if random.u32(..25) == 0 && command.len() > first && !command.iter().any(is_timed) {
        let at = random.usize(first..command.len());
        match random.u32(..4) {
            0 => drop(command.remove(at)),
            1 => command.insert(at, command[at].clone()),
            _ => command[at] = Word::Same(one(random, &["", "x", "-1", "~", "=", "$", ">", "+", "-", "1-*"]).into()),
        }
    }
    command
}

fn of_connection(both: &Both, random: &mut Rng, at: usize) -> Vec<Word> {
    let other = both.lines[random.usize(..LINES)].id.0.to_string();
    let told = both.lines[TOLD].id.0.to_string();
    // A reply of two protocols at once is nothing to be played; behind what waits, a transaction may be on its way.
    let id = both.lines[at].id;
    if both.server.is_in_transaction(id) || both.server.is_waiting(id) {
        return words(&["CLIENT", "TRACKING", "ON"]);
    }
    match random.u32(..14) {
        0 | 1 => words(&["HELLO", "3"]),
        2 => words(&["HELLO", one(random, &["2", "3", "4", "x"])]),
        3..=5 => words(&["CLIENT", "TRACKING", "ON"]),
        6 | 7 => words(&["CLIENT", "TRACKING", "ON", "REDIRECT", &told]),
        8 => words(&["CLIENT", "TRACKING", one(random, &["ON", "OFF"]), "NOLOOP"]),
        9 => words(&["CLIENT", one(random, &["TRACKINGINFO", "GETREDIR", "ID", "GETNAME"])]),
        10 => words(&["CLIENT", "SETNAME", one(random, &["me", "a b", ""])]),
        11 => words(&["SELECT", one(random, &["0", "0", "0", "1", "16"])]),
        12 => words(&["CLIENT", "NO-EVICT", one(random, &["on", "off", "x"])]),
        _ => words(&["CLIENT", "UNBLOCK", &other, one(random, &["TIMEOUT", "ERROR", "x"])]),
    }
}

fn transaction(random: &mut Rng) -> Vec<Word> {
    words(&[one(random, &["MULTI", "MULTI", "EXEC", "EXEC", "EXEC", "DISCARD"])])
}

fn of_keys(both: &Both, random: &mut Rng) -> Vec<Word> {
    let (from, to) = (key(random), key(random));
    match random.u32(..22) {
        0 | 1 => words(&["DEL", from, to]),
        2 => words(&["UNLINK", from]),
        3 => words(&["EXISTS", from, to, from]),
        4 => words(&["TYPE", from]),
        5 | 6 => words(&["RENAME", from, to]),
        7 => words(&["RENAMENX", from, to]),
        8 => words(&["COPY", from, to]),
        9 => words(&["COPY", from, to, "REPLACE"]),
        10 => words(&["COPY", from, from, "DB", "1", "REPLACE"]),
        11..=13 if both.has_dumped() => {
            let (ttl, options) = match random.u32(..6) {
                0 => ("0", &["FREQ", "1"][..]),
                1 => ("4102444800000", &["ABSTTL"][..]),
                2 => ("1", &["REPLACE", "ABSTTL"][..]),
                3 => ("-1", &["REPLACE"][..]),
                _ => ("0", &["REPLACE"][..]),
            };
            let mut restore = words(&["RESTORE", from, ttl]);
            restore.push(Word::Dumped);
            with(restore, options)
        }
        14 => words(&["DBSIZE"]),
        15 => words(&[one(random, &["FLUSHALL", "FLUSHDB"])]),
        16 => words(&["PEXPIREAT", from, &(FUTURE + random.u64(..4)).to_string()]),
        17 => words(&["EXPIREAT", from, "4102444801", one(random, &["NX", "XX", "GT", "LT", "GT"])]),
        18 => words(&[one(random, &["PEXPIRE", "EXPIRE", "EXPIREAT"]), from, one(random, &["0", "-1", "x"])]),
        19 => words(&["PERSIST", from]),
        20 => words(&[one(random, &["PEXPIRETIME", "EXPIRETIME"]), from]),
        _ => words(&["XLEN", from]),
    }
}

fn of_values(random: &mut Rng) -> Vec<Word> {
    let (key, text) = (one(random, &["longer:key", "c", "c", "a"]), value(random));
    // Hashes of longer ones have no order.
    let short = &text[..text.len().min(60)];
    let field = one(random, &["f", "g"]);
    match random.u32(..16) {
        0 | 1 => words(&["GET", key]),
        2 | 3 => words(&["SET", key, &text]),
        4 => words(&["SET", key, &text, one(random, &["NX", "XX", "GET", "KEEPTTL"])]),
        5 => words(&["SET", key, &text, "GET", one(random, &["NX", "XX"])]),
        6 => words(&["SET", key, &text, "PXAT", &FUTURE.to_string()]),
        7 => words(&["HGETALL", key]),
        8 | 9 => words(&["HSET", key, "f", short, one(random, &["f", "g", "h"]), "1"]),
        10 => words(&["HSET", key, "f"]),
        11 | 12 => words(&["HDEL", key, field, "h"]),
        13 => words(&["HMGET", key, "h", "f"]),
        14 => words(&["HGET", key, "g"]),
        _ => words(&[one(random, &["HLEN", "HGETALL"]), key]),
    }
}
