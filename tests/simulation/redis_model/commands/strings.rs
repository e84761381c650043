//! Strings.

use super::super::arguments::{Rest, upper};
use super::super::keyspace::{Item, Value};
use super::super::reply::{Answer, Reply, SYNTAX, WRONG_TYPE};
use super::super::server::Server;
use super::Call;
use super::expiry::{Unit, moment};
use bytes::Bytes;

/// The string of a key.
fn text(server: &Server, db: usize, key: &[u8]) -> Result<Option<Bytes>, String> {
    match server.item(db, key).map(|item| &item.value) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.clone())),
        Some(_) => Err(WRONG_TYPE.to_owned()),
    }
}

/// `GET key`
pub fn get(server: &mut Server, call: &Call) -> Answer {
    Ok(text(server, call.db, call.key())?.map_or(Reply::Nil, Reply::Text))
}

/// What may stand behind a value.
#[derive(Default)]
struct Options {
    only_if: Option<bool>,
    gives: bool,
    keeps: bool,
    expires: Option<u64>,
}

/// `SET key value [NX|XX] [GET] [EX|PX|EXAT|PXAT time|KEEPTTL]`
pub fn set(server: &mut Server, call: &Call) -> Answer {
    let options = options(server, call)?;
    let (key, value) = (call.key(), call.words[2].clone());
    let before = if options.gives { text(server, call.db, key)? } else { None };
    let item = server.item(call.db, key);
    let given = |done: Reply| if options.gives { before.map_or(Reply::Nil, Reply::Text) } else { done };
    if options.only_if.is_some_and(|there| there != item.is_some()) {
        return Ok(given(Reply::Nil));
    }
    let expires = if options.keeps { item.and_then(|item| item.expires) } else { options.expires };
    server.insert(call.db, key.clone(), Item { value: Value::Text(value), expires: None });
    server.set_expiry(call.db, key, expires);
    server.modified(key);
    // A moment that is over: the key is gone as soon as anybody looks.
    server.expire();
    Ok(given(Reply::ok()))
}

fn options(server: &Server, call: &Call) -> Result<Options, String> {
    let (mut options, mut timed, mut time) = (Options::default(), None, None);
    let mut rest = Rest::new(call.words, 3);
    while let Some(word) = rest.next() {
        let name = upper(word);
        // One of a kind may be given twice.
        let is_first = timed.as_ref().is_none_or(|before| *before == name);
        match name.as_slice() {
            b"NX" if options.only_if != Some(true) => options.only_if = Some(false),
            b"XX" if options.only_if != Some(false) => options.only_if = Some(true),
            b"GET" => options.gives = true,
            b"KEEPTTL" if is_first => (options.keeps, timed) = (true, Some(name)),
            kind @ (b"EX" | b"PX" | b"EXAT" | b"PXAT") if is_first && rest.left() > 0 => {
                let unit = Unit { seconds: kind.starts_with(b"EX"), from_now: !kind.ends_with(b"AT") };
                (time, timed) = (Some((rest.value()?, unit)), Some(name));
            }
            _ => return Err(SYNTAX.to_owned()),
        }
    }
    if let Some((word, unit)) = time {
        options.expires = Some(moment(server, word, unit, "set", true)?.unsigned_abs());
    }
    Ok(options)
}
