//! A server of a Cluster: what it knows of the others, and which commands it sends elsewhere. What one learns of another is for
//! who drives them to tell: there is no bus here.

use super::connection::ConnectionId;
use super::replica::Role;
use super::reply::Reply;
use super::server::Server;
use super::table::{self, ASKING, Keys, Spec, WRITE};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Slots of a Cluster.
pub const SLOTS: u16 = 16_384;

/// Another server, or the same one, as a Cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name, of forty hexadecimal digits.
    pub id: String,
    /// Where clients find it.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// The name of the primary that it is a replica of.
    pub replica_of: Option<String>,
}

/// What a server of a Cluster knows.
#[derive(Clone, Debug)]
pub struct Member {
    /// Itself, as an index of `peers`.
    pub(super) own: usize,
    pub(super) peers: Vec<Peer>,
    /// Of each slot, which of the peers has it.
    pub(super) slots: Vec<Option<usize>>,
    /// Slots that come from a peer, and that go to one.
    pub(super) importing: BTreeMap<u16, usize>,
    pub(super) migrating: BTreeMap<u16, usize>,
    /// The newest epoch that it has heard of, and that of each peer.
    pub(super) epoch: u64,
    pub(super) epochs: Vec<u64>,
    /// Whether it serves keys at all.
    pub(super) is_ok: bool,
}

impl Member {
    /// One that has met all others; `own`: which of the peers it is.
    pub fn new(own: usize, peers: Vec<Peer>) -> Member {
        let epochs = (1..=peers.len() as u64).collect();
        Member {
            own,
            slots: vec![None; usize::from(SLOTS)],
            importing: BTreeMap::new(),
            migrating: BTreeMap::new(),
            epoch: peers.len() as u64,
            epochs,
            is_ok: true,
            peers,
        }
    }

    /// The peer that a slot belongs to, as it believes.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        self.slots[usize::from(slot)]
    }

    /// Believes that a slot belongs to a peer, or to nobody.
    pub fn set_owner(&mut self, slot: u16, peer: Option<usize>) {
        self.slots[usize::from(slot)] = peer;
    }

    /// The primary that it is a replica of.
    pub fn replica_of(&self) -> Option<&String> {
        self.peers[self.own].replica_of.as_ref()
    }

    /// Whether it serves keys; one that has just come back does not, nor one that misses too many.
    pub fn set_ok(&mut self, is_ok: bool) {
        self.is_ok = is_ok;
    }

    /// The newest epoch that it has heard of.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Its own epoch.
    pub fn own_epoch(&self) -> u64 {
        self.epochs[self.own]
    }

    /// Whether it serves keys.
    pub fn is_ok(&self) -> bool {
        self.is_ok
    }

    /// Hears of an epoch, and of its own.
    pub fn set_epochs(&mut self, current: u64, own: u64) {
        self.epoch = current;
        self.epochs[self.own] = own;
    }

    pub(super) fn index_of(&self, id: &[u8]) -> Option<usize> {
        self.peers.iter().position(|peer| peer.id.as_bytes() == id)
    }

    /// Takes a new epoch for itself, unless it has the newest.
    pub(super) fn bump(&mut self) {
        let newest = self.epochs.iter().copied().max().unwrap_or_default();
        if self.epochs[self.own] == 0 || self.epochs[self.own] != newest {
            self.epoch += 1;
            self.epochs[self.own] = self.epoch;
        }
    }

    fn address(&self, peer: usize) -> String {
        let Peer { host, port, .. } = &self.peers[peer];
        format!("{host}:{port}")
    }
}

/// The slot of a key: of what lies between its first `{` and the `}` behind it, if there is anything.
pub fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        rest.iter().position(|byte| *byte == b'}').filter(|length| *length > 0).map(|length| &rest[..length])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16 of XMODEM: the polynomial 0x1021, from 0.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

impl Server {
    /// Makes it a server of a Cluster.
    pub fn join(&mut self, member: Member) {
        self.cluster = Some(member);
    }

    /// What it knows of its Cluster.
    pub fn member(&mut self) -> Option<&mut Member> {
        self.cluster.as_mut()
    }

    /// Hears that a slot is a peer's, with the peer's epoch. Keys that it still has of a slot that was its own are gone then.
    pub fn learn(&mut self, slot: u16, peer: usize, epoch: u64) {
        let Some(member) = &mut self.cluster else { return };
        member.epoch = member.epoch.max(epoch);
        member.epochs[peer] = member.epochs[peer].max(epoch);
        if member.importing.contains_key(&slot) || member.owner(slot) == Some(peer) {
            return;
        }
        let was_own = member.owner(slot) == Some(member.own);
        member.slots[usize::from(slot)] = Some(peer);
        member.migrating.remove(&slot);
        if was_own {
            for key in self.keys_in(slot) {
                self.remove(0, &key);
                self.modified(&key);
            }
            self.settle();
        }
    }

    /// Moves a key to another server, as `MIGRATE` does; whether it was there.
    pub fn migrate(&mut self, to: &mut Server, key: &[u8], now_ms: u64) -> bool {
        let words = |words: &[&str]| -> Vec<Bytes> { words.iter().map(|word| Bytes::from(word.to_string())).collect() };
        let with_key = |name: &str| [words(&[name]), vec![Bytes::copy_from_slice(key)]].concat();
        let Reply::Text(dump) = self.run_at_once(with_key("DUMP"), now_ms) else { return false };
        let left = match self.run_at_once(with_key("PTTL"), now_ms) {
            Reply::Number(left @ 1..) => left,
            _ => 0,
        };
        let restore = [with_key("RESTORE-ASKING"), words(&[&left.to_string()]), vec![dump], words(&["REPLACE"])];
        if matches!(to.run_at_once(restore.concat(), now_ms), Reply::Error(_)) {
            return false;
        }
        self.run_at_once(with_key("DEL"), now_ms);
        true
    }

    /// Runs a command of a connection that is there for it alone; its reply.
    pub fn run_at_once(&mut self, command: Vec<Bytes>, now_ms: u64) -> Reply {
        let id = self.connect();
        self.execute(id, command, now_ms);
        let reply = self.output(id).pop().map_or(Reply::Nil, |outgoing| outgoing.reply);
        self.disconnect(id);
        reply
    }

    /// Takes slots over as a replica does whose primary is gone, with what copies of servers have of them.
    pub fn take_over(&mut self, slots: &[u16], copies: &[Server]) {
        self.clear(0);
        self.forget_readers();
        let of_slots = |key: &&Bytes| slots.binary_search(&slot(key)).is_ok();
        for copy in copies {
            let items = copy.keys(0).filter(of_slots).filter_map(|key| Some((key.clone(), copy.item(0, key)?.clone())));
            items.for_each(|(key, item)| self.insert(0, key, item));
        }
        self.set_role(Role::Primary);
        let Some(member) = &mut self.cluster else { return };
        member.epoch += 1;
        member.epochs[member.own] = member.epoch;
        slots.iter().for_each(|slot| member.slots[usize::from(*slot)] = Some(member.own));
        self.settle();
    }

    /// Whether a key is there.
    pub fn holds(&self, key: &[u8]) -> bool {
        self.item(0, key).is_some()
    }

    /// The keys of a slot.
    pub fn keys_in(&self, of: u16) -> Vec<Bytes> {
        self.keys(0).filter(|key| slot(key) == of).cloned().collect()
    }

    /// What a command is answered that is not served here; `None`: it is.
    pub(super) fn elsewhere(&self, id: ConnectionId, spec: &'static Spec, words: &[Bytes]) -> Option<String> {
        let member = self.cluster.as_ref()?;
        let connection = self.connections.get(&id).filter(|connection| connection.is_known)?;
        let commands: Vec<(&Spec, &[Bytes])> = match (spec.name, &connection.transaction) {
            ("exec", Some(transaction)) => {
                let known = |words: &'_ Vec<Bytes>| table::find(words, self.version).ok();
                transaction.commands.iter().filter_map(|words| Some((known(words)?, words.as_slice()))).collect()
            }
            _ => vec![(spec, words)],
        };
        if spec.name != "exec" && matches!(spec.keys, Keys::None) {
            return None;
        }
        let keys: Vec<Bytes> = commands.iter().flat_map(|(spec, words)| spec.keys.of(words)).collect();
        let first = keys.first()?;
        let of = slot(first);
        let Some(owner) = member.owner(of) else { return Some("CLUSTERDOWN Hash slot not served".to_owned()) };
        if keys.iter().any(|key| slot(key) != of) {
            return Some("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
        }
        if !member.is_ok {
            return Some("CLUSTERDOWN The cluster is down".to_owned());
        }
        let several = keys.iter().collect::<BTreeSet<_>>().len() > 1;
        let missing = keys.iter().filter(|key| self.item(0, key).is_none()).count();
        let try_again = || Some("TRYAGAIN Multiple keys request during rehashing of slot".to_owned());
        if owner == member.own {
            let taker = member.migrating.get(&of).filter(|_| missing > 0)?;
            // Of some that are here, and some that are not, nobody has all.
            return if missing < keys.len() {
                try_again()
            } else {
                Some(format!("ASK {of} {}", member.address(*taker)))
            };
        }
        let asks = connection.asking || commands.iter().any(|(spec, _)| spec.flags & ASKING != 0);
        if asks && member.importing.contains_key(&of) {
            return if several && missing > 0 { try_again() } else { None };
        }
        let is_replica = member.peers[member.own].replica_of.as_deref() == Some(&member.peers[owner].id);
        let writes = commands.iter().any(|(spec, _)| spec.flags & WRITE != 0);
        if is_replica && connection.reads_only && !writes {
            return None;
        }
        Some(format!("MOVED {of} {}", member.address(owner)))
    }
}
