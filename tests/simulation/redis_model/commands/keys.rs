//! Keys of whatever type.

use super::super::arguments::{Rest, integer, is, upper};
use super::super::reply::{Answer, NO_KEY, Reply, SYNTAX, plain};
use super::super::server::Server;
use super::Call;

/// `DEL key …` and `UNLINK key …`
pub fn delete(server: &mut Server, call: &Call) -> Answer {
    let mut deleted = 0;
    for key in &call.words[1..] {
        if server.item(call.db, key).is_some() && server.remove(call.db, key).is_some() {
            server.modified(key);
            deleted += 1;
        }
    }
    Ok(Reply::count(deleted))
}

/// `EXISTS key …`
pub fn exists(server: &mut Server, call: &Call) -> Answer {
    Ok(Reply::count(call.words[1..].iter().filter(|key| server.item(call.db, key).is_some()).count()))
}

/// `TYPE key`
pub fn kind(server: &mut Server, call: &Call) -> Answer {
    let kind = server.item(call.db, call.key()).map_or("none", |item| item.value.kind());
    Ok(Reply::Status(kind.to_owned()))
}

/// `RENAME key new`
pub fn rename(server: &mut Server, call: &Call) -> Answer {
    renamed(server, call, false)?;
    Ok(Reply::ok())
}

/// `RENAMENX key new`
pub fn rename_new(server: &mut Server, call: &Call) -> Answer {
    Ok(Reply::flag(renamed(server, call, true)?))
}

fn renamed(server: &mut Server, call: &Call, only_new: bool) -> Result<bool, String> {
    let (from, to) = (call.key(), &call.words[2]);
    server.item(call.db, from).ok_or(NO_KEY)?;
    if from == to {
        return Ok(!only_new);
    }
    if only_new && server.item(call.db, to).is_some() {
        return Ok(false);
    }
    let item = server.remove(call.db, from).ok_or(NO_KEY)?;
    server.insert(call.db, to.clone(), item);
    server.modified(from);
    server.modified(to);
    Ok(true)
}

/// `COPY key new [DB index] [REPLACE]`
pub fn copy(server: &mut Server, call: &Call) -> Answer {
    let (from, to) = (call.key(), &call.words[2]);
    let (mut db, mut replaces, mut rest) = (call.db, false, Rest::new(call.words, 3));
    while let Some(option) = rest.next() {
        match upper(option).as_slice() {
            b"REPLACE" => replaces = true,
            b"DB" if rest.left() > 0 => {
                let index = integer(rest.value()?)?;
                let index = usize::try_from(index).ok().filter(|index| *index < server.databases.len());
                db = index.map_or_else(|| plain("DB index is out of range"), Ok)?;
            }
            _ => return Err(SYNTAX.to_owned()),
        }
    }
    if (db, to) == (call.db, from) {
        return plain("source and destination objects are the same");
    }
    let Some(item) = server.item(call.db, from).cloned() else { return Ok(Reply::Number(0)) };
    if !replaces && server.item(db, to).is_some() {
        return Ok(Reply::Number(0));
    }
    server.insert(db, to.clone(), item);
    server.modified(to);
    Ok(Reply::Number(1))
}

/// `DBSIZE`
pub fn size(server: &mut Server, call: &Call) -> Answer {
    Ok(Reply::count(server.keys(call.db).count()))
}

/// `FLUSHDB [ASYNC|SYNC]`
pub fn flush(server: &mut Server, call: &Call) -> Answer {
    let apart = is_apart(server, call)?;
    server.flushed();
    server.clear(call.db);
    Ok(done(server, apart))
}

/// `FLUSHALL [ASYNC|SYNC]`
pub fn flush_all(server: &mut Server, call: &Call) -> Answer {
    let apart = is_apart(server, call)?;
    server.flushed();
    (0..server.databases.len()).for_each(|db| server.clear(db));
    Ok(done(server, apart))
}

/// Whether who asks is answered behind what it is told itself.
fn is_apart(server: &Server, call: &Call) -> Result<bool, String> {
    let apart = server.version.empties_apart() && !call.nested;
    match &call.words[1..] {
        [] => Ok(apart),
        [how] if is(how, "SYNC") => Ok(apart),
        [how] if is(how, "ASYNC") => Ok(false),
        _ => Err(SYNTAX.to_owned()),
    }
}

fn done(server: &mut Server, apart: bool) -> Reply {
    match apart {
        true => {
            server.answers_last = Some(Reply::ok());
            Reply::Later
        }
        false => Reply::ok(),
    }
}
