//! `DUMP` and `RESTORE`. What is dumped is in a form of this server's own, which real ones do not read; like theirs, it has
//! all of a value, be it how a stream lies in its nodes.

use super::super::arguments::{Rest, integer, upper};
use super::super::group::Group;
use super::super::id::Id;
use super::super::keyspace::{Item, Value};
use super::super::node::{Node, Slot};
use super::super::reply::{Answer, Reply, SYNTAX, plain};
use super::super::server::Server;
use super::super::stream::Stream;
use super::Call;
use bytes::Bytes;

const BAD: &str = "ERR DUMP payload version or checksum are wrong";
/// What a payload begins with.
const HEAD: &[u8] = b"played:";

/// `DUMP key`
pub fn dump(server: &mut Server, call: &Call) -> Answer {
    Ok(server.item(call.db, call.key()).map_or(Reply::Nil, |item| Reply::text(write(&item.value))))
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub fn restore(server: &mut Server, call: &Call) -> Answer {
    let (mut replaces, mut absolute) = (false, false);
    let mut rest = Rest::new(call.words, 4);
    while let Some(option) = rest.next() {
        match upper(option).as_slice() {
            b"REPLACE" => replaces = true,
            b"ABSTTL" => absolute = true,
            b"IDLETIME" | b"FREQ" if rest.left() > 0 => drop(rest.number()?),
            _ => return Err(SYNTAX.to_owned()),
        }
    }
    let key = call.key();
    if !replaces && server.item(call.db, key).is_some() {
        return Err("BUSYKEY Target key name already exists.".to_owned());
    }
    let Ok(ttl) = u64::try_from(integer(&call.words[2])?) else {
        return plain("Invalid TTL value, must be >= 0");
    };
    let value = read(&call.words[3]).ok_or(BAD)?;
    let expires = (ttl > 0).then(|| if absolute { ttl } else { server.now.saturating_add(ttl) });
    let was_there = server.item(call.db, key).is_some();
    if expires.is_some_and(|at| at < server.now) {
        server.remove(call.db, key);
    } else {
        server.insert(call.db, key.clone(), Item { value, expires });
    }
    if was_there || server.item(call.db, key).is_some() {
        server.modified(key);
    }
    Ok(Reply::ok())
}

/// A payload as it is written: each part with its length before it.
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn id(&mut self, id: Id) {
        self.number(id.ms);
        self.number(id.seq);
    }

    fn all<T>(&mut self, list: impl ExactSizeIterator<Item = T>, mut each: impl FnMut(&mut Writer, T)) {
        self.number(list.len() as u64);
        list.for_each(|item| each(self, item));
    }
}

fn write(value: &Value) -> Vec<u8> {
    let mut to = Writer(HEAD.to_vec());
    match value {
        Value::Text(text) => {
            to.number(0);
            to.bytes(text);
        }
        Value::Hash(fields) => {
            to.number(1);
            to.all(fields.iter(), |to, (name, value)| {
                to.bytes(name);
                to.bytes(value);
            });
        }
        Value::Stream(stream) => {
            to.number(2);
            [stream.last, stream.first, stream.max_deleted].into_iter().for_each(|id| to.id(id));
            to.number(stream.added);
            to.all(stream.nodes.iter(), node);
            to.all(stream.groups.iter(), |to, (name, of)| {
                to.bytes(name);
                group(to, of);
            });
        }
    }
    to.0
}

fn node(to: &mut Writer, node: &Node) {
    to.id(node.master);
    to.all(node.names.iter(), |to, name| to.bytes(name));
    to.number(node.bytes as u64);
    to.all(node.slots.iter(), slot);
}

fn slot(to: &mut Writer, slot: &Slot) {
    to.id(slot.id);
    to.number(u64::from(slot.deleted));
    to.all(slot.fields.iter(), |to, field| to.bytes(field));
}

fn group(to: &mut Writer, group: &Group) {
    to.id(group.last);
    to.all(group.pending.iter(), |to, (id, consumer)| {
        to.id(*id);
        to.bytes(consumer);
    });
    to.all(group.consumers.iter(), |to, consumer| to.bytes(consumer));
}

/// What is left of a payload.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(bytes))
    }

    fn id(&mut self) -> Option<Id> {
        Some(Id::new(self.number()?, self.number()?))
    }

    fn all<T, C: FromIterator<T>>(&mut self, mut each: impl FnMut(&mut Self) -> Option<T>) -> Option<C> {
        (0..self.number()?).map(|_| each(self)).collect()
    }

    fn node(&mut self) -> Option<Node> {
        let (master, names, bytes) = (self.id()?, self.all(Self::bytes)?, self.number()? as usize);
        let slots: Vec<Slot> = self.all(Self::slot)?;
        let live = slots.iter().filter(|slot| !slot.deleted).count();
        Some(Node { master, names, bytes, live, slots })
    }

    fn slot(&mut self) -> Option<Slot> {
        let (id, deleted) = (self.id()?, self.number()? == 1);
        Some(Slot { id, deleted, fields: self.all(Self::bytes)? })
    }

    fn group(&mut self) -> Option<Group> {
        let last = self.id()?;
        let pending = self.all(|from| Some((from.id()?, from.bytes()?)))?;
        Some(Group { last, pending, consumers: self.all(Self::bytes)? })
    }
}

fn read(payload: &[u8]) -> Option<Value> {
    let mut from = Reader(payload.strip_prefix(HEAD)?);
    Some(match from.number()? {
        0 => Value::Text(from.bytes()?),
        1 => Value::Hash(from.all(|from| Some((from.bytes()?, from.bytes()?)))?),
        _ => {
            let (last, first, max_deleted, added) = (from.id()?, from.id()?, from.id()?, from.number()?);
            let (nodes, groups) = (from.all(Reader::node)?, from.all(|from| Some((from.bytes()?, from.group()?)))?);
            let mut stream = Stream { nodes, length: 0, last, first, added, max_deleted, groups };
            stream.length = stream.nodes.iter().map(|node| node.live as u64).sum();
            Value::Stream(Box::new(stream))
        }
    })
}
