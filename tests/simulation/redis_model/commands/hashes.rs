//! Hashes.

use super::super::keyspace::{Item, Value};
use super::super::reply::{Answer, Reply, WRONG_TYPE, plain};
use super::super::server::Server;
use super::Call;
use bytes::Bytes;

type Fields = Vec<(Bytes, Bytes)>;

fn fields<'a>(server: &'a Server, call: &Call) -> Result<Option<&'a Fields>, String> {
    match server.item(call.db, call.key()).map(|item| &item.value) {
        None => Ok(None),
        Some(Value::Hash(fields)) => Ok(Some(fields)),
        Some(_) => Err(WRONG_TYPE.to_owned()),
    }
}

fn fields_mut<'a>(server: &'a mut Server, call: &Call) -> Result<Option<&'a mut Fields>, String> {
    match server.value_mut(call.db, call.key()) {
        None => Ok(None),
        Some(Value::Hash(fields)) => Ok(Some(fields)),
        Some(_) => Err(WRONG_TYPE.to_owned()),
    }
}

/// `HSET key field value …`
pub fn set(server: &mut Server, call: &Call) -> Answer {
    let pairs = &call.words[2..];
    if pairs.len() % 2 == 1 {
        return plain("wrong number of arguments for 'hset' command");
    }
    if server.item(call.db, call.key()).is_none() {
        server.insert(call.db, call.key().clone(), Item { value: Value::Hash(Fields::new()), expires: None });
    }
    let Some(fields) = fields_mut(server, call)? else { return Ok(Reply::Number(0)) };
    let before = fields.len();
    for pair in pairs.chunks_exact(2) {
        match fields.iter_mut().find(|(name, _)| *name == pair[0]) {
            Some((_, value)) => *value = pair[1].clone(),
            None => fields.push((pair[0].clone(), pair[1].clone())),
        }
    }
    let new = fields.len() - before;
    server.modified(call.key());
    Ok(Reply::count(new))
}

/// `HDEL key field …`
pub fn delete(server: &mut Server, call: &Call) -> Answer {
    let Some(fields) = fields_mut(server, call)? else { return Ok(Reply::Number(0)) };
    let before = fields.len();
    fields.retain(|(name, _)| !call.words[2..].contains(name));
    let deleted = before - fields.len();
    if fields.is_empty() {
        server.remove(call.db, call.key());
    }
    if deleted > 0 {
        server.modified(call.key());
    }
    Ok(Reply::count(deleted))
}

/// `HGET key field`
pub fn get(server: &mut Server, call: &Call) -> Answer {
    let fields = fields(server, call)?;
    Ok(value(fields, &call.words[2]))
}

fn value(fields: Option<&Fields>, name: &Bytes) -> Reply {
    let found = fields.and_then(|fields| fields.iter().find(|(field, _)| field == name));
    found.map_or(Reply::Nil, |(_, value)| Reply::Text(value.clone()))
}

/// `HMGET key field …`
pub fn get_some(server: &mut Server, call: &Call) -> Answer {
    let fields = fields(server, call)?;
    Ok(Reply::List(call.words[2..].iter().map(|name| value(fields, name)).collect()))
}

/// `HGETALL key`
pub fn get_all(server: &mut Server, call: &Call) -> Answer {
    let fields = fields(server, call)?.into_iter().flatten();
    Ok(Reply::Map(fields.map(|(name, value)| (Reply::Text(name.clone()), Reply::Text(value.clone()))).collect()))
}

/// `HLEN key`
pub fn length(server: &mut Server, call: &Call) -> Answer {
    Ok(Reply::count(fields(server, call)?.map_or(0, Vec::len)))
}

/// `HEXISTS key field`
pub fn exists(server: &mut Server, call: &Call) -> Answer {
    Ok(Reply::flag(fields(server, call)?.is_some_and(|fields| fields.iter().any(|(name, _)| *name == call.words[2]))))
}
