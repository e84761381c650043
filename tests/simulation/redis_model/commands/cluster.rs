//! What a server of a Cluster tells of it, and how its slots move.

use super::super::arguments::{integer, is, shown, upper};
use super::super::cluster::{Member, SLOTS, slot};
use super::super::reply::{Answer, Reply, plain};
use super::super::server::Server;
use super::Call;
use bytes::Bytes;
use std::ops::RangeInclusive;

const DISABLED: &str = "ERR This instance has cluster support disabled";

fn member(server: &Server) -> Result<&Member, String> {
    server.cluster.as_ref().ok_or_else(|| DISABLED.to_owned())
}

fn member_mut(server: &mut Server) -> Result<&mut Member, String> {
    server.cluster.as_mut().ok_or_else(|| DISABLED.to_owned())
}

/// `ASKING`: the next command may be about a slot that is being taken over.
pub fn asking(server: &mut Server, call: &Call) -> Answer {
    member(server)?;
    if let Some(connection) = server.connections.get_mut(&call.id) {
        connection.asking = true;
    }
    Ok(Reply::ok())
}

/// `READONLY`, and `READWRITE`: whether a replica may serve what it has.
pub fn read_only(server: &mut Server, call: &Call) -> Answer {
    member(server)?;
    let on = is(&call.words[0], "READONLY");
    if let Some(connection) = server.connections.get_mut(&call.id) {
        connection.reads_only = on;
    }
    Ok(Reply::ok())
}

/// `CLUSTER MYID`
pub fn own_id(server: &mut Server, _: &Call) -> Answer {
    let member = member(server)?;
    Ok(Reply::text(member.peers[member.own].id.clone()))
}

/// `CLUSTER KEYSLOT key`
pub fn key_slot(server: &mut Server, call: &Call) -> Answer {
    member(server)?;
    Ok(Reply::Number(i64::from(slot(&call.words[2]))))
}

/// `CLUSTER COUNTKEYSINSLOT slot`
pub fn count_keys(server: &mut Server, call: &Call) -> Answer {
    member(server)?;
    let of = integer(&call.words[2])?;
    match u16::try_from(of).ok().filter(|of| *of < SLOTS) {
        Some(of) => Ok(Reply::count(server.keys_in(of).len())),
        None => plain("Invalid slot"),
    }
}

/// `CLUSTER GETKEYSINSLOT slot count`
pub fn keys(server: &mut Server, call: &Call) -> Answer {
    member(server)?;
    let (of, most) = (integer(&call.words[2])?, integer(&call.words[3])?);
    match (u16::try_from(of).ok().filter(|of| *of < SLOTS), usize::try_from(most)) {
        (Some(of), Ok(most)) => Ok(Reply::List(server.keys_in(of).into_iter().take(most).map(Reply::Text).collect())),
        _ => plain("Invalid slot or number of keys"),
    }
}

/// `CLUSTER INFO`: the lines that somebody reads here.
pub fn info(server: &mut Server, _: &Call) -> Answer {
    let member = member(server)?;
    let assigned = member.slots.iter().flatten().count();
    let primaries = |peer: usize| member.slots.iter().flatten().any(|owner| *owner == peer);
    let size = (0..member.peers.len()).filter(|peer| primaries(*peer)).count();
    let state = if member.is_ok { "ok" } else { "fail" };
    let lines = [
        ("state", state.to_owned()),
        ("slots_assigned", assigned.to_string()),
        ("slots_ok", assigned.to_string()),
        ("slots_pfail", "0".to_owned()),
        ("slots_fail", "0".to_owned()),
        ("known_nodes", member.peers.len().to_string()),
        ("size", size.to_string()),
        ("current_epoch", member.epoch.to_string()),
        ("my_epoch", member.epochs[member.own].to_string()),
    ];
    Ok(Reply::Lines(lines.map(|(name, value)| format!("cluster_{name}:{value}\r\n")).concat()))
}

/// Slots in a row that have one owner.
fn ranges(member: &Member) -> Vec<(RangeInclusive<u16>, usize)> {
    let mut ranges: Vec<(RangeInclusive<u16>, usize)> = Vec::new();
    for (at, owner) in (0..SLOTS).filter_map(|at| Some((at, member.owner(at)?))) {
        match ranges.last_mut() {
            Some((range, of)) if *of == owner && *range.end() + 1 == at => *range = *range.start()..=at,
            _ => ranges.push((at..=at, owner)),
        }
    }
    ranges
}

fn replicas(member: &Member, of: usize) -> impl Iterator<Item = usize> {
    let id = &member.peers[of].id;
    (0..member.peers.len()).filter(move |peer| member.peers[*peer].replica_of.as_ref() == Some(id))
}

/// `CLUSTER SLOTS`
pub fn slots(server: &mut Server, _: &Call) -> Answer {
    let member = member(server)?;
    let peer = |peer: usize| {
        let peer = &member.peers[peer];
        let (host, id) = (Reply::text(peer.host.clone()), Reply::text(peer.id.clone()));
        Reply::List(vec![host, Reply::Number(i64::from(peer.port)), id, Reply::Map(Vec::new())])
    };
    let range = |(range, owner): (RangeInclusive<u16>, usize)| {
        let ends = [*range.start(), *range.end()].map(|end| Reply::Number(i64::from(end)));
        Reply::List(ends.into_iter().chain([peer(owner)]).chain(replicas(member, owner).map(peer)).collect())
    };
    Ok(Reply::List(ranges(member).into_iter().map(range).collect()))
}

/// `CLUSTER SHARDS`, in the order of their primaries.
pub fn shards(server: &mut Server, _: &Call) -> Answer {
    let member = member(server)?;
    let ranges = ranges(member);
    let node = |at: usize, role: &'static str| {
        let peer = &member.peers[at];
        let host = || Reply::text(peer.host.clone());
        Reply::Map(vec![
            (Reply::word("id"), Reply::text(peer.id.clone())),
            (Reply::word("port"), Reply::Number(i64::from(peer.port))),
            (Reply::word("ip"), host()),
            (Reply::word("endpoint"), host()),
            (Reply::word("role"), Reply::word(role)),
            (Reply::word("replication-offset"), Reply::Number(0)),
            (Reply::word("health"), Reply::word("online")),
        ])
    };
    let shard = |primary: usize| {
        let own = ranges.iter().filter(|(_, owner)| *owner == primary);
        let ends = own.flat_map(|(range, _)| [*range.start(), *range.end()].map(|end| Reply::Number(i64::from(end))));
        let replicas = replicas(member, primary).map(|replica| node(replica, "replica"));
        let nodes = std::iter::once(node(primary, "master")).chain(replicas).collect();
        let (slots, nodes) = (Reply::List(ends.collect()), Reply::List(nodes));
        Reply::Map(vec![(Reply::word("slots"), slots), (Reply::word("nodes"), nodes)])
    };
    let primaries = (0..member.peers.len()).filter(|peer| member.peers[*peer].replica_of.is_none());
    Ok(Reply::List(primaries.map(shard).collect()))
}

/// `CLUSTER SETSLOT slot MIGRATING|IMPORTING|NODE id`, and `CLUSTER SETSLOT slot STABLE`
pub fn set_slot(server: &mut Server, call: &Call) -> Answer {
    let of = integer(&call.words[2]).ok().and_then(|of| u16::try_from(of).ok()).filter(|of| *of < SLOTS);
    member(server)?;
    let Some(of) = of else { return plain("Invalid or out of range slot") };
    let held = server.keys_in(of).len();
    let member = member_mut(server)?;
    let known = |id: &Bytes| member.index_of(id);
    let owns = member.owner(of) == Some(member.own);
    match (upper(&call.words[3]).as_slice(), call.words.get(4)) {
        (b"MIGRATING", Some(_)) if !owns => return plain(format!("I'm not the owner of hash slot {of}")),
        (b"IMPORTING", Some(_)) if owns => return plain(format!("I'm already the owner of hash slot {of}")),
        (b"MIGRATING", Some(id)) => match known(id) {
            Some(peer) => drop(member.migrating.insert(of, peer)),
            None => return plain(format!("I don't know about node {}", shown(id))),
        },
        (b"IMPORTING", Some(id)) => match known(id) {
            Some(peer) => drop(member.importing.insert(of, peer)),
            None => return plain(format!("I don't know about node {}", shown(id))),
        },
        (b"STABLE", None) => {
            member.importing.remove(&of);
            member.migrating.remove(&of);
        }
        (b"NODE", Some(id)) => {
            let Some(peer) = known(id) else { return plain(format!("Unknown node {}", shown(id))) };
            assign(member, of, peer, held)?;
        }
        _ => return plain("Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP"),
    }
    Ok(Reply::ok())
}

fn assign(member: &mut Member, of: u16, peer: usize, held: usize) -> Result<(), String> {
    let owns = member.owner(of) == Some(member.own);
    if owns && peer != member.own && held > 0 {
        return Err(format!(
            "ERR Can't assign hashslot {of} to a different node while I still hold keys for this hash slot."
        ));
    }
    if held == 0 {
        member.migrating.remove(&of);
    }
    member.slots[usize::from(of)] = Some(peer);
    if peer == member.own && member.importing.remove(&of).is_some() {
        member.bump();
    }
    Ok(())
}
