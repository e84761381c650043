//! Deleting with a word for what groups still refer to, as Redis 8.2 and later can.

use super::super::arguments::{Rest, integer, is};
use super::super::group::References;
use super::super::id::Id;
use super::super::reply::{Answer, Reply, SYNTAX, plain};
use super::super::server::Server;
use super::super::stream::Stream;
use super::super::table;
use super::Call;
use super::stream_write::note_deleted;
use bytes::Bytes;

/// What became of one entry.
const NOT_THERE: i64 = -1;
const DELETED: i64 = 1;
const STILL_NEEDED: i64 = 2;

/// `XDELEX key [KEEPREF|DELREF|ACKED] IDS count id …`
pub fn delete(server: &mut Server, call: &Call) -> Answer {
    run(server, call, None)
}

/// `XACKDEL key group [KEEPREF|DELREF|ACKED] IDS count id …`
pub fn acknowledge_and_delete(server: &mut Server, call: &Call) -> Answer {
    run(server, call, Some(call.words[2].clone()))
}

fn run(server: &mut Server, call: &Call, group: Option<Bytes>) -> Answer {
    if !server.version.knows_references() {
        return Err(table::unknown(call.words, server.version));
    }
    server.stream(call.db, call.key())?;
    let (references, words) = arguments(call, 2 + usize::from(group.is_some()))?;
    let has_group = |stream: &Stream| group.as_ref().is_none_or(|group| stream.groups.contains_key(group));
    let Some(stream) = server.stream_mut(call.db, call.key())?.filter(|stream| has_group(stream)) else {
        return Ok(Reply::List(vec![Reply::Number(NOT_THERE); words.len()]));
    };
    let ids = words.iter().map(|word| Id::parse(word, 0)).collect::<Result<Vec<_>, _>>()?;
    let (first, mut deleted, mut replies) = (stream.first, Vec::new(), Vec::new());
    for id in ids {
        if group.as_ref().is_some_and(|group| stream.acknowledge(group, &[id]) == 0) {
            replies.push(NOT_THERE);
            continue;
        }
        match references {
            References::Acknowledged if stream.is_referenced(id) => {
                replies.push(STILL_NEEDED);
                continue;
            }
            References::Delete => stream.forget(id),
            _ => {}
        }
        let was_there = stream.delete(id);
        deleted.extend(was_there.then_some(id));
        // What a group had counts as deleted, be it gone before.
        replies.push(if was_there || group.is_some() { DELETED } else { NOT_THERE });
    }
    note_deleted(stream, first, &deleted);
    if !deleted.is_empty() {
        server.modified(call.key());
    }
    Ok(Reply::List(replies.into_iter().map(Reply::Number).collect()))
}

/// The word for references, and those of ids.
fn arguments<'a>(call: &Call<'a>, at: usize) -> Result<(References, &'a [Bytes]), String> {
    let (mut references, mut ids) = (None, None);
    let mut rest = Rest::new(call.words, at);
    while let Some(word) = rest.next() {
        match References::parse(word) {
            Some(given) if references.is_none() => references = Some(given),
            None if is(word, "IDS") && rest.left() > 0 => {
                let count = integer(rest.value()?).ok().filter(|count| *count > 0);
                let count = count.and_then(|count| usize::try_from(count).ok());
                let count = count.map_or_else(|| plain("Number of IDs must be a positive integer"), Ok)?;
                if count > rest.left() {
                    return plain("The `numids` parameter must match the number of arguments");
                }
                ids = Some(rest.take(count));
            }
            _ => return Err(SYNTAX.to_owned()),
        }
    }
    match ids {
        Some(ids) => Ok((references.unwrap_or_default(), ids)),
        None => plain("IDS option is required"),
    }
}
