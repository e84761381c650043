//! What reads streams, and waits for what they will have.

use super::super::arguments::{Rest, integer, is, upper};
use super::super::connection::Wait;
use super::super::id::Id;
use super::super::node::Slot;
use super::super::reply::{Answer, NO_KEY, Reply, Resp, SYNTAX, plain};
use super::super::server::Server;
use super::super::stream::Stream;
use super::Call;
use bytes::Bytes;

/// One entry, as every command replies with it.
pub fn entry(slot: &Slot) -> Reply {
    let fields = slot.fields.iter().cloned().map(Reply::Text).collect();
    Reply::List(vec![Reply::text(slot.id.to_string()), Reply::List(fields)])
}

/// Entries, at most so many.
pub fn entries<'a>(slots: impl Iterator<Item = &'a Slot>, count: Option<usize>) -> Reply {
    Reply::List(slots.take(count.unwrap_or(usize::MAX)).map(entry).collect())
}

/// Streams with their entries: in RESP2 a list of pairs, not of names and values in turn as other maps.
pub fn streams(streams: Vec<(Bytes, Reply)>, resp: Resp) -> Reply {
    let pairs = streams.into_iter().map(|(key, entries)| (Reply::Text(key), entries));
    match resp {
        Resp::Two => Reply::List(pairs.map(|(key, entries)| Reply::List(vec![key, entries])).collect()),
        Resp::Three => Reply::Map(pairs.collect()),
    }
}

/// `XLEN key`
pub fn length(server: &mut Server, call: &Call) -> Answer {
    let stream = server.stream(call.db, call.key())?;
    Ok(Reply::Number(stream.map_or(0, |stream| stream.length as i64)))
}

/// `XRANGE key begin end [COUNT count]`
pub fn range(server: &mut Server, call: &Call) -> Answer {
    ranged(server, call, false)
}

/// `XREVRANGE key end begin [COUNT count]`
pub fn range_back(server: &mut Server, call: &Call) -> Answer {
    ranged(server, call, true)
}

fn ranged(server: &Server, call: &Call, back: bool) -> Answer {
    let (begin, end) = if back { (&call.words[3], &call.words[2]) } else { (&call.words[2], &call.words[3]) };
    let (begin, end) = (Id::parse_begin(begin)?, Id::parse_end(end)?);
    let mut count = None;
    let mut rest = Rest::new(call.words, 4);
    while let Some(option) = rest.next() {
        if !is(option, "COUNT") || rest.left() == 0 {
            return Err(SYNTAX.to_owned());
        }
        count = Some(usize::try_from(rest.number()?).unwrap_or(0));
    }
    let Some(stream) = server.stream(call.db, call.key())? else { return Ok(Reply::List(Vec::new())) };
    let slots = stream.range(begin, end);
    Ok(match count {
        Some(0) => Reply::NilList,
        count if back => entries(slots.rev(), count),
        count => entries(slots, count),
    })
}

/// What stands before `STREAMS`, and the words behind it.
pub struct ReadOptions<'a> {
    /// Entries of one stream at most.
    pub count: Option<usize>,
    /// How long to wait, in milliseconds; 0: for ever.
    pub block: Option<u64>,
    /// A group, and who asks in it.
    pub group: Option<(&'a Bytes, &'a Bytes)>,
    /// What is given counts as acknowledged.
    pub no_acknowledgement: bool,
    /// The streams' keys.
    pub keys: &'a [Bytes],
    /// Behind which entry each is read.
    pub behind: &'a [Bytes],
}

/// Reads the words of `XREAD` and `XREADGROUP`, as the name says.
pub fn read_options<'a>(server: &Server, call: &Call<'a>, name: &str) -> Result<ReadOptions<'a>, String> {
    let groups = name == "xreadgroup";
    let (mut count, mut block, mut group, mut no_acknowledgement) = (None, None, None, false);
    let mut rest = Rest::new(call.words, 1);
    while let Some(word) = rest.next() {
        match (upper(word).as_slice(), rest.left()) {
            (b"BLOCK", 1..) => block = Some(timeout(rest.value()?)?),
            (b"COUNT", 1..) => count = Some(usize::try_from(rest.number()?).unwrap_or(0)).filter(|count| *count > 0),
            (b"GROUP", 2..) if groups => group = Some((rest.value()?, rest.value()?)),
            (b"NOACK", _) if groups => no_acknowledgement = true,
            (option @ (b"GROUP" | b"NOACK"), left) if !groups && (left > 1 || option == b"NOACK") => {
                let option = String::from_utf8_lossy(option).into_owned();
                return plain(format!(
                    "The {option} option is only supported by XREADGROUP. You called XREAD instead."
                ));
            }
            (b"STREAMS", left @ 1..) => {
                let words = &call.words[rest.at()..];
                if left % 2 == 1 {
                    return plain(unbalanced(server, name));
                }
                let (keys, behind) = words.split_at(left / 2);
                if groups && group.is_none() {
                    return plain("Missing GROUP option for XREADGROUP");
                }
                return Ok(ReadOptions { count, block, group, no_acknowledgement, keys, behind });
            }
            _ => break,
        }
    }
    Err(SYNTAX.to_owned())
}

fn unbalanced(server: &Server, name: &str) -> String {
    let (name, place) = match name {
        _ if !server.version.runs_again() => ("XREAD".to_owned(), "ID or '$'"),
        "xread" if server.version.is_redis_from(7, 4) => (format!("'{name}'"), "ID, '+', or '$'"),
        "xread" => (format!("'{name}'"), "ID or '$'"),
        _ => (format!("'{name}'"), "ID or '>'"),
    };
    format!("Unbalanced {name} list of streams: for each stream key an {place} must be specified.")
}

fn timeout(word: &[u8]) -> Result<u64, String> {
    let number = integer(word).or_else(|_| plain("timeout is not an integer or out of range"))?;
    u64::try_from(number).or_else(|_| plain("timeout is negative"))
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key … id …`
pub fn read(server: &mut Server, call: &Call) -> Answer {
    let options = read_options(server, call, "xread")?;
    let mut places = Vec::with_capacity(options.keys.len());
    for (key, word) in options.keys.iter().zip(options.behind) {
        let stream = server.stream(call.db, key)?;
        let behind = match word.as_ref() {
            b"$" => stream.map_or(Id::MIN, |stream| stream.last),
            b"+" if server.version.reads_the_newest() => before_newest(server, stream)?,
            b">" => {
                return plain(
                    "The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                );
            }
            word => Id::parse(word, 0)?,
        };
        places.push((key.clone(), behind));
    }
    let mut found = Vec::new();
    for (key, behind) in &places {
        if let Some(stream) = server.stream(call.db, key)?
            && stream.last_there().is_some_and(|last| last > *behind)
        {
            found.push((key.clone(), entries(stream.after(*behind), options.count)));
        }
    }
    match options.block {
        _ if !found.is_empty() => Ok(streams(found, call.resp)),
        Some(block) if !call.nested => {
            let until = (block > 0).then(|| server.now.saturating_add(block));
            server.waits += 1;
            // Run once more, it waits behind the same entries.
            let words = again(call, &places);
            let wait = Wait { db: call.db, streams: places, count: options.count, until, order: server.waits, words };
            server.wait(call.id, wait);
            Ok(Reply::Later)
        }
        _ => Ok(Reply::NilList),
    }
}

/// Behind which entry only the newest is.
fn before_newest(server: &Server, stream: Option<&Stream>) -> Result<Id, String> {
    let Some(stream) = stream else { return Ok(Id::MIN) };
    let newest = if server.version.newest_is_last_generated() { Some(stream.last) } else { stream.last_there() };
    match newest.and_then(Id::before) {
        None if server.version.refuses_newest_of_none() => plain("the stream last element ID is 0-0"),
        before => Ok(before.unwrap_or_default()),
    }
}

/// The words of the command with the ids that `$` and the like stood for.
fn again(call: &Call, places: &[(Bytes, Id)]) -> Vec<Bytes> {
    let ids = places.iter().map(|(_, id)| Bytes::from(id.to_string()));
    call.words[..call.words.len() - places.len()].iter().cloned().chain(ids).collect()
}

/// `XINFO STREAM key`
pub fn info(server: &mut Server, call: &Call) -> Answer {
    server.stream(call.db, &call.words[2])?.ok_or(NO_KEY)?;
    if let Some(option) = call.words.get(3) {
        if is(option, "FULL") {
            server.unknown.insert("XINFO STREAM FULL".to_owned());
        }
        return plain("unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.");
    }
    let stream = server.stream(call.db, &call.words[2])?.ok_or(NO_KEY)?;
    let edge = |slot: Option<&Slot>| slot.map_or(Reply::Nil, entry);
    let id = |id: Id| Reply::text(id.to_string());
    let mut pairs = vec![
        ("length", Reply::Number(stream.length as i64)),
        ("radix-tree-keys", Reply::count(stream.nodes.len())),
        ("radix-tree-nodes", Reply::count(stream.tree_nodes())),
        ("last-generated-id", id(stream.last)),
        ("max-deleted-entry-id", id(stream.max_deleted)),
        ("entries-added", Reply::Number(stream.added as i64)),
        ("recorded-first-entry-id", id(stream.first)),
    ];
    if server.version.knows_producers() {
        // As they are by default, and while there are no such producers.
        let settings = [("idmp-duration", 100), ("idmp-maxsize", 100)];
        let counts = ["pids-tracked", "iids-tracked", "iids-added", "iids-duplicates"].map(|name| (name, 0));
        pairs.extend(settings.into_iter().chain(counts).map(|(name, number)| (name, Reply::Number(number))));
    }
    pairs.extend([
        ("groups", Reply::count(stream.groups.len())),
        ("first-entry", edge(stream.range(Id::MIN, Id::MAX).next())),
        ("last-entry", edge(stream.range(Id::MIN, Id::MAX).next_back())),
    ]);
    Ok(Reply::Map(pairs.into_iter().map(|(name, value)| (Reply::word(name), value)).collect()))
}
