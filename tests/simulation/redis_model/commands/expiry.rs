//! When keys end.

use super::super::arguments::{integer, shown, upper};
use super::super::reply::{Answer, Reply, plain};
use super::super::server::Server;
use super::Call;
use bytes::Bytes;

/// How a moment is written.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    /// In seconds, not in milliseconds.
    pub seconds: bool,
    /// From now on, not since 1970.
    pub from_now: bool,
}

/// `EXPIRE key seconds [NX|XX|GT|LT]`
pub fn expire(server: &mut Server, call: &Call) -> Answer {
    set(server, call, Unit { seconds: true, from_now: true }, "expire")
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`
pub fn pexpire(server: &mut Server, call: &Call) -> Answer {
    set(server, call, Unit { seconds: false, from_now: true }, "pexpire")
}

/// `EXPIREAT key seconds [NX|XX|GT|LT]`
pub fn expire_at(server: &mut Server, call: &Call) -> Answer {
    set(server, call, Unit { seconds: true, from_now: false }, "expireat")
}

/// `PEXPIREAT key milliseconds [NX|XX|GT|LT]`
pub fn pexpire_at(server: &mut Server, call: &Call) -> Answer {
    set(server, call, Unit { seconds: false, from_now: false }, "pexpireat")
}

/// A moment in milliseconds since 1970. `in_future`: one that is no positive number is refused.
pub fn moment(server: &Server, word: &[u8], unit: Unit, name: &str, in_future: bool) -> Result<i64, String> {
    let number = integer(word)?;
    let invalid = || format!("ERR invalid expire time in '{name}' command");
    if in_future && number <= 0 {
        return Err(invalid());
    }
    let number = if unit.seconds { number.checked_mul(1000).ok_or_else(invalid)? } else { number };
    let now = server.now as i64;
    if unit.from_now { number.checked_add(now).ok_or_else(invalid) } else { Ok(number) }
}

/// Under which condition a key's end is changed.
#[derive(Default)]
struct Condition {
    only_first: bool,
    only_again: bool,
    only_later: bool,
    only_sooner: bool,
}

impl Condition {
    fn parse(words: &[Bytes]) -> Result<Condition, String> {
        let mut condition = Condition::default();
        for word in words {
            match upper(word).as_slice() {
                b"NX" => condition.only_first = true,
                b"XX" => condition.only_again = true,
                b"GT" => condition.only_later = true,
                b"LT" => condition.only_sooner = true,
                _ => return plain(format!("Unsupported option {}", shown(word))),
            }
        }
        let Condition { only_first, only_again, only_later, only_sooner } = condition;
        if only_first && (only_again || only_later || only_sooner) {
            return plain("NX and XX, GT or LT options at the same time are not compatible");
        }
        if only_later && only_sooner {
            return plain("GT and LT options at the same time are not compatible");
        }
        Ok(condition)
    }

    /// Whether a key's end may be changed from `before`, which is `None` for one that does not end.
    fn allows(&self, before: Option<u64>, at: i64) -> bool {
        let at = u64::try_from(at).unwrap_or(0);
        !(self.only_first && before.is_some()
            || self.only_again && before.is_none()
            || self.only_later && before.is_none_or(|before| at <= before)
            || self.only_sooner && before.is_some_and(|before| at >= before))
    }
}

fn set(server: &mut Server, call: &Call, unit: Unit, name: &str) -> Answer {
    let condition = Condition::parse(&call.words[3..])?;
    let at = moment(server, &call.words[2], unit, name, false)?;
    let Some(item) = server.item(call.db, call.key()) else { return Ok(Reply::Number(0)) };
    if !condition.allows(item.expires, at) {
        return Ok(Reply::Number(0));
    }
    match u64::try_from(at).ok().filter(|at| *at > server.now) {
        Some(at) => server.set_expiry(call.db, call.key(), Some(at)),
        None => drop(server.remove(call.db, call.key())),
    }
    server.modified(call.key());
    Ok(Reply::Number(1))
}

/// `PERSIST key`
pub fn persist(server: &mut Server, call: &Call) -> Answer {
    let ends = server.item(call.db, call.key()).is_some_and(|item| item.expires.is_some());
    if ends {
        server.set_expiry(call.db, call.key(), None);
        server.modified(call.key());
    }
    Ok(Reply::flag(ends))
}

/// `TTL key`
pub fn ttl(server: &mut Server, call: &Call) -> Answer {
    Ok(end(server, call, |at, now| (at.saturating_sub(now) + 500) / 1000))
}

/// `PTTL key`
pub fn pttl(server: &mut Server, call: &Call) -> Answer {
    Ok(end(server, call, u64::saturating_sub))
}

/// `EXPIRETIME key`
pub fn expire_time(server: &mut Server, call: &Call) -> Answer {
    Ok(end(server, call, |at, _| (at + 500) / 1000))
}

/// `PEXPIRETIME key`
pub fn pexpire_time(server: &mut Server, call: &Call) -> Answer {
    Ok(end(server, call, |at, _| at))
}

fn end(server: &Server, call: &Call, told: impl Fn(u64, u64) -> u64) -> Reply {
    Reply::Number(match server.item(call.db, call.key()).map(|item| item.expires) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => told(at, server.now) as i64,
    })
}
