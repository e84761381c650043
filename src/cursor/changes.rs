//! How a subscriber's set of channels has changed since its request named it, as far as an `id:` carries it. Pure.
//!
//! ```text
//! changed = [ vector / compact ] *( "," change ) "," "~control=" position     without a comma at its beginning
//! change  = "+" name "=" position      a channel that was joined, with its place
//!         / "+" name "=" ms            one whose place is not known yet: what is published from that time on is its own
//!         / "-" name                   a channel of the request that was left
//! ```
//!
//! The last part is the id of the last order that counted: later ones are still to be carried out.

use super::{Cursor, Form, Place, write_cursor, write_position};
use crate::channel::Channel;
use crate::position::Position;

/// Names the last part; no channel of clients begins like this.
const ORDERS: &str = "~control=";
/// A position at most, with what stands around it.
const POSITION_BYTES: usize = 44;
/// What changes may take in an id: with 300 channels in the compact form it still is a header that proxies pass.
const MOST_BYTES: usize = 3 << 10;

/// From where on a channel is read that was joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// What was published from then on, in Unix milliseconds.
    Time(u64),
    /// What follows this position, which it had before.
    Behind(Position),
}

impl Since {
    /// The position after which it is read.
    pub fn after(self) -> Position {
        match self {
            Since::Time(ms) => Position::new(ms, 0).before(),
            Since::Behind(position) => position,
        }
    }
}

/// Changes of a set of channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The last order that counted.
    pub seen: Position,
    /// Channels that the request does not name.
    joined: Vec<Channel>,
    /// Those that it names, and that were left.
    left: Vec<Channel>,
    /// Channels without a leg yet.
    awaited: Vec<(Channel, Since)>,
}

impl Changes {
    /// No change; orders up to `seen` are none of its.
    pub fn none(seen: Position) -> Changes {
        Changes { seen, ..Changes::default() }
    }

    /// Channels that the request does not name.
    pub fn joined(&self) -> &[Channel] {
        &self.joined
    }

    /// Channels that the request names, and that were left.
    pub fn left(&self) -> &[Channel] {
        &self.left
    }

    /// From where on a channel is read that has no leg yet.
    pub fn awaited_since(&self, channel: &Channel) -> Option<Since> {
        self.awaited.iter().find(|(awaited, _)| awaited == channel).map(|(_, since)| *since)
    }

    /// Channels without a leg yet.
    pub fn awaited(&self) -> impl Iterator<Item = &Channel> {
        self.awaited.iter().map(|(channel, _)| channel)
    }

    /// Whether an id has room for one more channel.
    pub fn has_room_for(&self, channel: &Channel) -> bool {
        // One that was joined stands there once, be it with a place or without.
        let awaited = self.awaited.iter().map(|(channel, _)| channel).filter(|channel| !self.joined.contains(channel));
        let names = self.joined.iter().chain(&self.left).chain(awaited);
        let bytes: usize = names.map(|name| name.as_str().len() + POSITION_BYTES).sum();
        bytes + channel.as_str().len() + POSITION_BYTES <= MOST_BYTES
    }

    /// A channel comes that is not in the set; `since`: it has no place yet.
    pub fn join(&mut self, channel: &Channel, since: Option<Since>) {
        match self.left.iter().position(|left| left == channel) {
            Some(at) => drop(self.left.remove(at)),
            None => self.joined.push(channel.clone()),
        }
        self.awaited.extend(since.map(|since| (channel.clone(), since)));
    }

    /// A channel of the set goes.
    pub fn leave(&mut self, channel: &Channel) {
        self.begun(channel);
        match self.joined.iter().position(|joined| joined == channel) {
            Some(at) => drop(self.joined.remove(at)),
            None => self.left.push(channel.clone()),
        }
    }

    /// A channel that the request names after all has no place yet.
    pub fn awaits(&mut self, channel: &Channel, since: Since) {
        self.awaited.push((channel.clone(), since));
    }

    /// A channel has a place now.
    pub fn begun(&mut self, channel: &Channel) {
        self.awaited.retain(|(awaited, _)| awaited != channel);
    }
}

/// A cursor that carries changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Where the subscriber is in channels that its request names; `None` where it is in none of them.
    base: Option<Cursor>,
    /// Where it is in those that it joined, sorted.
    joined: Vec<(Channel, Position)>,
    pub changes: Changes,
}

impl Changed {
    /// Reads a cursor that says which orders counted; `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Changed> {
        let (before, orders) = text.rsplit_once(',')?;
        let mut changes = Changes::none(orders.strip_prefix(ORDERS)?.parse().ok()?);
        let is_change = |part: &str| part.starts_with('+') || part.starts_with('-') && !part.contains('=');
        let at = before.split(',').position(is_change).unwrap_or(usize::MAX);
        let base: Vec<&str> = before.split(',').take(at).collect();
        let mut joined = Vec::new();
        for part in before.split(',').skip(at) {
            match part.strip_prefix('+') {
                Some(part) => {
                    let (name, place) = part.split_once('=')?;
                    let channel = named(name)?;
                    match (place.parse(), place.parse()) {
                        (Ok(position), _) => joined.push((channel.clone(), position)),
                        (_, Ok(ms)) => changes.awaited.push((channel.clone(), Since::Time(ms))),
                        _ => return None,
                    }
                    changes.joined.push(channel);
                }
                None => changes.left.push(named(part.strip_prefix('-')?)?),
            }
        }
        let base = match base.is_empty() {
            true => None,
            false => Some(
                Cursor::parse(&base.join(",")).filter(|base| matches!(base, Cursor::Vector(_) | Cursor::Compact(_)))?,
            ),
        };
        let mut names: Vec<&Channel> = changes.joined.iter().chain(&changes.left).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1]).then_some(())?;
        joined.sort_unstable();
        Some(Changed { base, joined, changes })
    }

    pub(super) fn position_of(&self, channel: &Channel) -> Option<Position> {
        let joined = super::find(&self.joined, channel);
        joined.or_else(|| self.base.as_ref()?.position_of(channel, false))
    }

    pub(super) fn positions(&self) -> impl Iterator<Item = Position> {
        let base = self.base.iter().flat_map(Cursor::positions);
        self.joined.iter().map(|(_, position)| *position).chain(base.collect::<Vec<_>>())
    }
}

/// A channel that clients may have.
fn named(name: &str) -> Option<Channel> {
    Channel::new(name).ok().filter(|channel| !channel.is_reserved())
}

/// Appends the cursor of a subscriber whose set has changed; `form` must be [`Form::of`] the set that its request names.
pub fn write_changed<'a>(
    into: &mut Vec<u8>,
    form: Form,
    places: impl Iterator<Item = Place<'a>> + Clone,
    changes: &Changes,
) {
    let is_joined = |place: &Place<'_>| changes.joined.contains(place.channel);
    let base = places.clone().filter(|place| !is_joined(place));
    let start = into.len();
    let begin = |into: &mut Vec<u8>, what: &[u8]| {
        if into.len() > start {
            into.push(b',');
        }
        into.extend_from_slice(what);
    };
    if base.clone().next().is_some() {
        write_cursor(into, form, base);
    }
    for place in places.filter(is_joined) {
        begin(into, b"+");
        into.extend_from_slice(place.channel.as_str().as_bytes());
        into.push(b'=');
        write_position(into, place.at);
    }
    for (channel, since) in &changes.awaited {
        begin(into, b"+");
        into.extend_from_slice(channel.as_str().as_bytes());
        into.push(b'=');
        match since {
            Since::Time(ms) => into.extend_from_slice(itoa::Buffer::new().format(*ms).as_bytes()),
            Since::Behind(position) => write_position(into, *position),
        }
    }
    for channel in &changes.left {
        begin(into, b"-");
        into.extend_from_slice(channel.as_str().as_bytes());
    }
    begin(into, ORDERS.as_bytes());
    write_position(into, changes.seen);
}

#[cfg(test)]
mod tests;
