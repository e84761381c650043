//! Consumer groups: how they begin and end, what their readers are given, what they have done with.

use super::super::arguments::{Rest, integer, is, shown};
use super::super::group::Group;
use super::super::id::Id;
use super::super::reply::{Answer, Reply, SYNTAX, plain};
use super::super::server::Server;
use super::super::stream::Stream;
use super::Call;
use super::stream_read::{ReadOptions, entry, read_options, streams};
use bytes::Bytes;

const NO_STREAM: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.";

/// `XGROUP CREATE key group id|$ [MKSTREAM] [ENTRIESREAD count]`
pub fn create(server: &mut Server, call: &Call) -> Answer {
    let (key, name) = (&call.words[2], &call.words[3]);
    let makes = options(call, true)?;
    if server.stream(call.db, key)?.is_none() {
        if !makes {
            return Err(NO_STREAM.to_owned());
        }
        place(&call.words[4], None)?;
        server.stream_made(call.db, key)?;
        server.modified(key);
    }
    let stream = server.stream_made(call.db, key)?;
    let last = place(&call.words[4], Some(stream))?;
    if stream.groups.contains_key(name) {
        return Err("BUSYGROUP Consumer Group name already exists".to_owned());
    }
    stream.groups.insert(name.clone(), Group { last, ..Group::default() });
    Ok(Reply::ok())
}

/// Reads what stands behind a group's id: whether the stream is made if it is not there.
fn options(call: &Call, creates: bool) -> Result<bool, String> {
    let (mut makes, mut rest) = (false, Rest::new(call.words, 5));
    while let Some(option) = rest.next() {
        if creates && is(option, "MKSTREAM") {
            makes = true;
        } else if is(option, "ENTRIESREAD") && rest.left() > 0 {
            if integer(rest.value()?)? < -1 {
                return plain("value for ENTRIESREAD must be positive or -1");
            }
        } else {
            let part = shown(&call.words[1]);
            return plain(format!("unknown subcommand or wrong number of arguments for '{part}'. Try XGROUP HELP."));
        }
    }
    Ok(makes)
}

fn place(word: &[u8], stream: Option<&Stream>) -> Result<Id, String> {
    match word {
        b"$" => Ok(stream.map_or(Id::MIN, |stream| stream.last)),
        word => Id::parse(word, 0),
    }
}

/// The group of the command's stream.
fn group<'a>(server: &'a mut Server, call: &Call) -> Result<&'a mut Group, String> {
    let (key, name) = (&call.words[2], &call.words[3]);
    let stream = server.stream_mut(call.db, key)?.ok_or(NO_STREAM)?;
    let missing = || format!("NOGROUP No such consumer group '{}' for key name '{}'", shown(name), shown(key));
    stream.groups.get_mut(name).ok_or_else(missing)
}

/// `XGROUP SETID key group id|$ [ENTRIESREAD count]`
pub fn set_id(server: &mut Server, call: &Call) -> Answer {
    options(call, false)?;
    group(server, call)?;
    // Unlike `XGROUP CREATE`, it takes the ends of a range.
    let last = match &call.words[4][..] {
        b"-" => Id::MIN,
        b"+" => Id::MAX,
        word => place(word, server.stream(call.db, &call.words[2])?)?,
    };
    group(server, call)?.last = last;
    Ok(Reply::ok())
}

/// `XGROUP DESTROY key group`
pub fn destroy(server: &mut Server, call: &Call) -> Answer {
    let stream = server.stream_mut(call.db, &call.words[2])?.ok_or(NO_STREAM)?;
    Ok(Reply::flag(stream.groups.remove(&call.words[3]).is_some()))
}

/// `XGROUP CREATECONSUMER key group consumer`
pub fn create_consumer(server: &mut Server, call: &Call) -> Answer {
    Ok(Reply::flag(group(server, call)?.consumers.insert(call.words[4].clone())))
}

/// `XGROUP DELCONSUMER key group consumer`
pub fn delete_consumer(server: &mut Server, call: &Call) -> Answer {
    let (group, consumer) = (group(server, call)?, &call.words[4]);
    group.consumers.remove(consumer);
    let before = group.pending.len();
    group.pending.retain(|_, of| of != consumer);
    Ok(Reply::count(before - group.pending.len()))
}

/// `XREADGROUP GROUP group consumer [COUNT count] [NOACK] STREAMS key … >|id …`; it never waits.
pub fn read(server: &mut Server, call: &Call) -> Answer {
    let options = read_options(server, call, "xreadgroup")?;
    let Some((name, consumer)) = options.group else { return Err(SYNTAX.to_owned()) };
    let mut places = Vec::with_capacity(options.keys.len());
    for (key, word) in options.keys.iter().zip(options.behind) {
        if server.stream(call.db, key)?.is_none_or(|stream| !stream.groups.contains_key(name)) {
            let (key, name) = (shown(key), shown(name));
            return Err(format!(
                "NOGROUP No such key '{key}' or consumer group '{name}' in XREADGROUP with GROUP option"
            ));
        }
        places.push(match word.as_ref() {
            b">" => None,
            b"$" => {
                return plain(
                    "The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by \
                     specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty \
                     result set.",
                );
            }
            // The last id that there is stands for `>`.
            word => Some(Id::parse(word, 0)?).filter(|id| *id < Id::MAX),
        });
    }
    let mut found = Vec::new();
    for (key, behind) in options.keys.iter().zip(places) {
        let is_made = server.version.runs_again();
        let Some(stream) = server.stream_mut(call.db, key)? else { continue };
        if let Some(group) = stream.groups.get_mut(name).filter(|_| is_made) {
            // Before 7.2, only who is given something is noted.
            group.consumers.insert(consumer.clone());
        }
        let entries = match behind {
            None => new_of(stream, name, consumer, &options),
            Some(behind) => Some(had(stream, (name, consumer), behind, options.count)),
        };
        found.extend(entries.map(|entries| (key.clone(), Reply::List(entries))));
    }
    if found.is_empty() {
        if options.block.is_some() && !call.nested {
            server.unknown.insert("XREADGROUP BLOCK".to_owned());
        }
        return Ok(Reply::NilList);
    }
    Ok(streams(found, call.resp))
}

/// What a group has not been given yet; it has been then.
fn new_of(stream: &mut Stream, name: &Bytes, consumer: &Bytes, options: &ReadOptions) -> Option<Vec<Reply>> {
    let last = stream.groups.get(name)?.last;
    stream.last_there().filter(|there| *there > last)?;
    let slots = stream.after(last).take(options.count.unwrap_or(usize::MAX));
    let (ids, entries): (Vec<Id>, Vec<Reply>) = slots.map(|slot| (slot.id, entry(slot))).unzip();
    let group = stream.groups.get_mut(name)?;
    group.last = *ids.last()?;
    group.consumers.insert(consumer.clone());
    if !options.no_acknowledgement {
        group.pending.extend(ids.into_iter().map(|id| (id, consumer.clone())));
    }
    Some(entries)
}

/// What a consumer was given, and has not acknowledged; of what is gone there is no more than the id.
fn had(stream: &mut Stream, (name, consumer): (&Bytes, &Bytes), behind: Id, count: Option<usize>) -> Vec<Reply> {
    let Some(group) = stream.groups.get_mut(name) else { return Vec::new() };
    group.consumers.insert(consumer.clone());
    let from = behind.after().unwrap_or(Id::MIN);
    let ids = group.pending.range(from..).filter(|(_, of)| *of == consumer).map(|(id, _)| *id);
    let ids: Vec<Id> = ids.take(count.unwrap_or(usize::MAX)).collect();
    let of = |id: Id| match stream.range(id, id).next() {
        Some(slot) => entry(slot),
        None => Reply::List(vec![Reply::text(id.to_string()), Reply::NilList]),
    };
    ids.into_iter().map(of).collect()
}

/// `XACK key group id …`
pub fn acknowledge(server: &mut Server, call: &Call) -> Answer {
    let Some(stream) = server.stream_mut(call.db, call.key())? else { return Ok(Reply::Number(0)) };
    if !stream.groups.contains_key(&call.words[2]) {
        return Ok(Reply::Number(0));
    }
    let ids = call.words[3..].iter().map(|word| Id::parse(word, 0)).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::count(stream.acknowledge(&call.words[2], &ids)))
}
