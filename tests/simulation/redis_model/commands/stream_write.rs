//! What changes streams: appending, trimming, deleting, and setting what they tell of themselves.

use super::super::arguments::{Rest, integer, is, upper};
use super::super::group::References;
use super::super::id::Id;
use super::super::node::{Fields, MOST_ENTRIES};
use super::super::reply::{Answer, NO_KEY, Reply, SYNTAX, plain};
use super::super::server::Server;
use super::super::stream::Stream;
use super::super::trim::{Trim, Until};
use super::Call;

/// Without `LIMIT`, trimming by `~` removes at most so many entries.
const LIMIT: u64 = 100 * MOST_ENTRIES as u64;

/// What stands between the key and the id of a new entry, or behind the key of what is trimmed.
#[derive(Default)]
struct Options {
    until: Option<Until>,
    whole_nodes: bool,
    limit: Option<u64>,
    references: Option<References>,
    only_if_there: bool,
    id: NewId,
}

/// The id of a new entry, as it was given.
#[derive(Clone, Copy, Default)]
enum NewId {
    /// `*`
    #[default]
    Next,
    /// `5-*`
    Within(u64),
    /// `5-1`
    Exactly(Id),
}

/// `XADD key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value …`
pub fn add(server: &mut Server, call: &Call) -> Answer {
    let mut rest = Rest::new(call.words, 2);
    let options = options(server, &mut rest, true)?;
    let trim = options.trim(true, server.version.looks_within())?;
    let fields = &call.words[rest.at()..];
    if fields.len() < 2 || fields.len() % 2 == 1 {
        return plain("wrong number of arguments for 'xadd' command");
    }
    if matches!(options.id, NewId::Exactly(Id::MIN)) {
        return plain("The ID specified in XADD must be greater than 0-0");
    }
    if options.only_if_there && server.stream(call.db, call.key())?.is_none() {
        return Ok(Reply::Nil);
    }
    let now = server.now;
    let stream = server.stream_made(call.db, call.key())?;
    if stream.last == Id::MAX {
        return plain("The stream has exhausted the last possible ID, unable to add more items");
    }
    let Some(id) = options.id.of(stream.last, now) else {
        return plain("The ID specified in XADD is equal or smaller than the target stream top item");
    };
    stream.append(id, Fields::from(fields));
    if let Some(trim) = trim {
        stream.trim(&trim);
    }
    server.modified(call.key());
    server.ready.push_back((call.db, call.key().clone()));
    Ok(Reply::text(id.to_string()))
}

/// `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]`
pub fn trim(server: &mut Server, call: &Call) -> Answer {
    let options = options(server, &mut Rest::new(call.words, 2), false)?;
    let Some(trim) = options.trim(false, server.version.looks_within())? else {
        return plain("syntax error, XTRIM must be called with a trimming strategy");
    };
    let Some(stream) = server.stream_mut(call.db, call.key())? else { return Ok(Reply::Number(0)) };
    let removed = stream.trim(&trim);
    if removed > 0 {
        server.modified(call.key());
    }
    Ok(Reply::Number(removed as i64))
}

/// Reads options; of a new entry up to its id, which is the last.
fn options(server: &mut Server, rest: &mut Rest, adds: bool) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(word) = rest.next() {
        let more = rest.left();
        match upper(word).as_slice() {
            b"*" if adds => return Ok(options),
            kind @ (b"MAXLEN" | b"MINID") if more > 0 => {
                if options.until.is_some() {
                    return plain("syntax error, MAXLEN and MINID options at the same time are not compatible");
                }
                let sign = rest.peek().filter(|sign| more > 1 && matches!(sign.as_ref(), b"~" | b"=")).cloned();
                if sign.is_some() {
                    rest.next();
                }
                options.whole_nodes = sign.is_some_and(|sign| sign.as_ref() == b"~");
                options.until = Some(match kind {
                    b"MINID" => Until::Id(Id::parse(rest.value()?, 0)?),
                    _ => Until::Length(not_negative("MAXLEN", rest.number()?)?),
                });
            }
            b"LIMIT" if more > 0 => options.limit = Some(not_negative("LIMIT", rest.number()?)?),
            b"NOMKSTREAM" if adds => options.only_if_there = true,
            _ => match References::parse(word).filter(|_| server.version.knows_references()) {
                Some(references) if options.references.is_none() => options.references = Some(references),
                _ if adds => {
                    if server.version.knows_producers() && (is(word, "IDMP") || is(word, "IDMPAUTO")) {
                        server.unknown.insert("XADD IDMP".to_owned());
                    }
                    options.id = match Id::parse_new(word)? {
                        (id, true) => NewId::Within(id.ms),
                        (id, false) => NewId::Exactly(id),
                    };
                    return Ok(options);
                }
                _ => return Err(SYNTAX.to_owned()),
            },
        }
    }
    Ok(options)
}

fn not_negative(name: &str, number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| format!("ERR The {name} argument must be >= 0."))
}

impl Options {
    /// How the stream is to be trimmed, if it is.
    fn trim(&self, adds: bool, looks_within: bool) -> Result<Option<Trim>, String> {
        let Some(until) = self.until else {
            return match self.limit {
                Some(1..) => plain("syntax error, LIMIT cannot be used without specifying a trimming strategy"),
                _ if adds => Ok(None),
                _ => plain("syntax error, XTRIM must be called with a trimming strategy"),
            };
        };
        let limit = match (self.limit, self.whole_nodes) {
            (Some(_), false) => return plain("syntax error, LIMIT cannot be used without the special ~ option"),
            (Some(limit), true) => limit,
            (None, true) => LIMIT,
            (None, false) => 0,
        };
        let references = self.references.unwrap_or_default();
        Ok(Some(Trim { until, looks_within, whole_nodes: self.whole_nodes, limit, references }))
    }
}

impl NewId {
    /// The id that a new entry gets behind the last one; `None` where it would not be greater.
    fn of(self, last: Id, now: u64) -> Option<Id> {
        let id = match self {
            NewId::Next if now > last.ms => Id::new(now, 0),
            NewId::Next => last.after()?,
            NewId::Within(ms) if ms == last.ms => Id::new(ms, last.seq.checked_add(1)?),
            NewId::Within(ms) => Id::new(ms, 0),
            NewId::Exactly(id) => id,
        };
        (id > last).then_some(id)
    }
}

/// `XDEL key id …`
pub fn delete(server: &mut Server, call: &Call) -> Answer {
    let Some(stream) = server.stream_mut(call.db, call.key())? else { return Ok(Reply::Number(0)) };
    let ids = call.words[2..].iter().map(|word| Id::parse(word, 0)).collect::<Result<Vec<_>, _>>()?;
    let first = stream.first;
    let deleted: Vec<Id> = ids.into_iter().filter(|id| stream.delete(*id)).collect();
    note_deleted(stream, first, &deleted);
    if !deleted.is_empty() {
        server.modified(call.key());
    }
    Ok(Reply::count(deleted.len()))
}

/// Notes which entry is the first, where that has been deleted.
pub fn note_deleted(stream: &mut Stream, first: Id, deleted: &[Id]) {
    if !deleted.is_empty() && (stream.length == 0 || deleted.contains(&first)) {
        stream.note_first();
    }
}

/// `XSETID key id [ENTRIESADDED count] [MAXDELETEDID id]`
pub fn set_id(server: &mut Server, call: &Call) -> Answer {
    let id = Id::parse(&call.words[2], 0)?;
    let (mut added, mut max_deleted) = (None, Id::MIN);
    let mut rest = Rest::new(call.words, 3);
    while let Some(option) = rest.next() {
        if is(option, "ENTRIESADDED") && rest.left() > 0 {
            let count = integer(rest.value()?)?;
            added = Some(u64::try_from(count).or_else(|_| plain("entries_added must be positive"))?);
        } else if is(option, "MAXDELETEDID") && rest.left() > 0 {
            max_deleted = Id::parse(rest.value()?, 0)?;
            if id < max_deleted {
                return plain("The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
            }
        } else {
            return Err(SYNTAX.to_owned());
        }
    }
    let looks_at_deleted = server.version.sets_ids_behind_deleted();
    let stream = server.stream_mut(call.db, call.key())?.ok_or(NO_KEY)?;
    if looks_at_deleted && id < stream.max_deleted {
        return plain("The ID specified in XSETID is smaller than current max_deleted_entry_id");
    }
    if stream.last_there().is_some_and(|last| id < last) {
        return plain("The ID specified in XSETID is smaller than the target stream top item");
    }
    if stream.length > 0 && added.is_some_and(|added| stream.length > added) {
        return plain("The entries_added specified in XSETID is smaller than the target stream length");
    }
    stream.last = id;
    stream.added = added.unwrap_or(stream.added);
    if max_deleted != Id::MIN {
        stream.max_deleted = max_deleted;
    }
    Ok(Reply::ok())
}
