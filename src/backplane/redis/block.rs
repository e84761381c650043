//! Following by blocking `XREAD`, for servers without client tracking.
//!
//! Groups of streams, each with a connection of its own that waits for anything newer than what is known. What
//! arrives is only a sign: the follower reads the stream itself and says with `followed` how far it is.

use super::reader::Reader;
use super::reader::reply::{Reply, Taken};
use super::reader::request::Request;
use super::server::Server;
use super::target::Backoff;
use super::{decode, pipeline};
use crate::backplane::error::Refusal;
use crate::backplane::{BackplaneError, Entry, Link};
use crate::channel::Channel;
use crate::hash::HashMap;
use crate::position::Position;
use bytes::Bytes;
use fred::types::Value;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Streams of one group at most: a wake costs the server time for each of them.
const STREAMS_PER_GROUP: usize = 256;
/// How long one blocking read waits, and then ends by itself; a new stream interrupts it.
const BLOCK: Duration = Duration::from_secs(1);
/// How long one blocking read waits where `CLIENT UNBLOCK` is forbidden, so that new streams are included soon.
const BLOCK_WITHOUT_INTERRUPT: Duration = Duration::from_millis(100);
/// How much later than asked the server may answer before its connection is given up.
const GRACE: Duration = Duration::from_secs(1);
/// Pause before an interrupt is repeated: one that came before the read did is sent again after this, and then after
/// twice as long each time; not after a refusal.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(20);
/// Between looks at streams of which no read can wait, since they lie on different servers behind one address.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After a sign, the follower may say for so long how far it is, before the next read repeats the sign.
const LINGER: Duration = Duration::from_millis(5);

/// All groups of one server's streams. Does nothing while the server pushes.
pub struct Blocks {
    server: Arc<Server>,
    runtime: Handle,
    active: AtomicBool,
    /// Whether the server takes a `CLIENT UNBLOCK` of this user.
    may_interrupt: Arc<AtomicBool>,
    groups: Mutex<Groups>,
}

#[derive(Default)]
struct Groups {
    list: Vec<(Arc<Group>, AbortHandle)>,
    of: HashMap<Channel, Arc<Group>>,
}

#[derive(Default)]
struct Group {
    places: Mutex<HashMap<Channel, Place>>,
    /// A stream has joined, and a read that is waiting does not know of it.
    joined: Notify,
    followed: Notify,
}

#[derive(Clone, Copy)]
struct Place {
    followed: Position,
    /// The greatest id that a sign was given for.
    seen: Position,
    /// The server refused it among others: left out until the follower has read it.
    held: bool,
}

impl Blocks {
    /// No group yet; their tasks run on `runtime`.
    pub fn new(server: Arc<Server>, runtime: Handle) -> Blocks {
        let (active, may_interrupt) = (AtomicBool::new(false), Arc::new(AtomicBool::new(true)));
        Blocks { server, runtime, active, may_interrupt, groups: Mutex::default() }
    }

    /// Takes in that there is a new live connection; `active`: whether streams are followed here. Called before the
    /// follower is told to verify everything, which brings all back.
    pub fn start(&self, active: bool) {
        self.active.store(active, Ordering::Release);
        self.may_interrupt.store(true, Ordering::Relaxed);
        if !active {
            self.stop();
        }
    }

    /// Ends all groups, and the reads that wait.
    pub fn stop(&self) {
        let groups = std::mem::take(&mut *self.groups.lock());
        for (_, task) in groups.list {
            task.abort();
        }
    }

    /// The follower has all of a stream up to a position: what comes after it is waited for.
    pub fn followed(&self, channel: &Channel, position: Position) {
        if self.active.load(Ordering::Acquire) {
            self.group(channel).followed(channel, position);
        }
    }

    /// Nobody waits for a stream any more.
    pub fn unfollowed(&self, channel: &Channel) {
        if let Some(group) = self.groups.lock().of.remove(channel) {
            group.places.lock().remove(channel);
        }
    }

    /// The stream's group, or one that has room for it.
    fn group(&self, channel: &Channel) -> Arc<Group> {
        let mut groups = self.groups.lock();
        if let Some(group) = groups.of.get(channel) {
            return group.clone();
        }
        let with_room = groups.list.iter().rev().find(|(group, _)| group.places.lock().len() < STREAMS_PER_GROUP);
        let group = match with_room {
            Some((group, _)) => group.clone(),
            None => {
                let group = Arc::new(Group::default());
                let task = self.runtime.spawn(follow(group.clone(), self.server.clone(), self.may_interrupt.clone()));
                groups.list.push((group.clone(), task.abort_handle()));
                group
            }
        };
        // Within the lock, so that the room is taken.
        group.places.lock().insert(channel.clone(), Place::at(Position::MAX));
        groups.of.insert(channel.clone(), group.clone());
        group
    }
}

impl Place {
    fn at(position: Position) -> Place {
        Place { followed: position, seen: position, held: false }
    }
}

impl Group {
    fn followed(&self, channel: &Channel, position: Position) {
        let mut places = self.places.lock();
        let Some(place) = places.get_mut(channel) else { return };
        let unknown = place.held || position < place.followed;
        match unknown {
            // New, left out, or the stream's ids went back.
            true => *place = Place::at(position),
            // A sign may be ahead of what the follower had read by then.
            false => *place = Place { followed: position, seen: place.seen.max(position), held: false },
        }
        drop(places);
        if unknown {
            self.joined.notify_one();
        }
        self.followed.notify_one();
    }

    fn waiting(&self) -> Vec<(Channel, Position)> {
        let places = self.places.lock();
        let waiting = places.iter().filter(|(_, place)| !place.held);
        waiting.map(|(channel, place)| (channel.clone(), place.seen)).collect()
    }

    /// Notes how far the signs are; returns the streams of these that are still followed.
    fn seen(&self, signs: impl Iterator<Item = (Channel, Position)>) -> Vec<Channel> {
        let mut places = self.places.lock();
        let mut seen = Vec::new();
        for (channel, position) in signs {
            if let Some(place) = places.get_mut(&channel) {
                place.seen = place.seen.max(position);
                seen.push(channel);
            }
        }
        seen
    }

    /// Leaves all streams out, as one of them spoils the read of all: the follower reads each and brings back the
    /// good ones.
    fn hold_all(&self) -> Vec<Channel> {
        let mut places = self.places.lock();
        places.values_mut().for_each(|place| place.held = true);
        places.keys().cloned().collect()
    }
}

/// What one blocking read found.
struct Found {
    /// Streams with something new, each with the greatest id seen.
    signs: Vec<(Channel, Position)>,
    /// Whether all of the answer was read, so that the connection can wait again.
    whole: bool,
}

/// Waits with one connection after the other for what is new in a group's streams, for as long as the group is there.
async fn follow(group: Arc<Group>, server: Arc<Server>, may_interrupt: Arc<AtomicBool>) {
    let mut backoff = Backoff::default();
    let mut link = server.link.subscribe();
    let mut waiter = None;
    loop {
        let streams = group.waiting();
        if streams.is_empty() {
            waiter = None;
            group.joined.notified().await;
            continue;
        }
        // While the live connection finds no server, there is none for this one either.
        if *link.borrow() != Link::Up {
            waiter = None;
        }
        if link.wait_for(|link| *link == Link::Up).await.is_err() {
            return;
        }
        let open = match waiter.take() {
            Some(waiter) => Ok(waiter),
            None => Waiter::open(&server, &may_interrupt).await,
        };
        let found = match open {
            Ok(mut open) => {
                let found = open.wait(&group, &server, &streams).await;
                let is_cut = matches!(&found, Ok(Found { whole: false, .. }));
                waiter = Some(open).filter(|_| !is_cut);
                found
            }
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => {
                backoff.reset();
                report(&group, &server, found.signs).await;
            }
            Err(error) => {
                if !is_refusal(&group, &server, &streams, &error).await {
                    waiter = None;
                    sleep(backoff.next(&server.outside.random)).await;
                }
            }
        }
    }
}

/// Reports streams with something new, and lets the follower say how far it is.
async fn report(group: &Group, server: &Server, signs: Vec<(Channel, Position)>) {
    let changed = group.seen(signs.into_iter());
    if !changed.is_empty() {
        server.changes.changed(changed);
        let _ = timeout(LINGER, group.followed.notified()).await;
    }
}

/// Whether a read failed because of its streams, which the follower then reads by itself; else its connection is gone.
async fn is_refusal(group: &Group, server: &Server, streams: &[(Channel, Position)], error: &BackplaneError) -> bool {
    let why = error.text();
    match error.refusal() {
        Some(kind) if kind.is_about_a_key() => {
            tracing::debug!(%why, "redis: a followed stream is refused");
            server.changes.changed(group.hold_all());
            true
        }
        Some(Refusal::CrossSlot) => {
            // No read waits for several shards: the follower looks by itself, in reads that are split.
            server.complain("no blocking read of streams that lie apart; they are looked at four times a second", why);
            sleep(LOOK_EVERY).await;
            server.changes.changed(streams.iter().map(|(channel, _)| channel.clone()));
            true
        }
        _ => {
            server.complain("a blocking read failed", why);
            false
        }
    }
}

/// The connection of one group, which blocks.
struct Waiter {
    reader: Reader,
    /// Its id at the server, by which it is interrupted; `None` where the server does not tell it.
    id: Option<String>,
    may_interrupt: Arc<AtomicBool>,
}

impl Waiter {
    async fn open(server: &Server, may_interrupt: &Arc<AtomicBool>) -> Result<Waiter, BackplaneError> {
        let Some(endpoint) = server.near.get() else {
            return Err(BackplaneError::down("the primary is not known yet"));
        };
        let mut reader = Reader::open(&endpoint, GRACE).await?;
        reader.ask(&Request::of([["CLIENT", "ID"]])).await?;
        let id = match reader.reply(Taken::Skimmed).await? {
            Reply::Whole(Value::Integer(id)) => Some(id.to_string()),
            _ => None,
        };
        Ok(Waiter { reader, id, may_interrupt: may_interrupt.clone() })
    }

    /// One blocking read of a group's streams; a stream that joins the group interrupts it.
    async fn wait(
        &mut self,
        group: &Group,
        server: &Server,
        streams: &[(Channel, Position)],
    ) -> Result<Found, BackplaneError> {
        let Waiter { reader, id, may_interrupt } = self;
        let block = match id.is_some() && may_interrupt.load(Ordering::Relaxed) {
            true => BLOCK,
            false => BLOCK_WITHOUT_INTERRUPT,
        };
        let command = xread(server, streams, block);
        let read = async {
            reader.ask(&command).await?;
            // Only ids are wanted.
            reader.waited(block, Taken::Skimmed).await
        };
        tokio::pin!(read);
        let mut pause = None;
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut read => break reply?,
                () = group.joined.notified(), if pause.is_none() => pause = Some(INTERRUPT_AGAIN),
                () = sleep(pause.unwrap_or_default()), if pause.is_some() => pause = pause.map(|pause| (pause * 2).min(BLOCK)),
            }
            if pause.is_some() && may_interrupt.load(Ordering::Relaxed) {
                interrupt(id.as_deref(), server, may_interrupt).await;
            }
        };
        found(server, reply)
    }
}

fn xread(server: &Server, streams: &[(Channel, Position)], block: Duration) -> Request {
    let mut command = Request::default();
    let words = command.begin(6 + 2 * streams.len()).word("XREAD").word("COUNT").number(1);
    let words = words.word("BLOCK").number(block.as_millis() as usize);
    words.streams(&server.key_prefix, streams.iter().map(|(channel, position)| (channel, *position)));
    command
}

fn found(server: &Server, reply: Reply) -> Result<Found, BackplaneError> {
    let (reply, whole) = match reply {
        Reply::Whole(value) => (value, true),
        Reply::Cut(value, ..) => (value, false),
        Reply::Error(why) => return Err(why),
    };
    let replies = decode::streams(reply).map_err(|e| BackplaneError::down(e.to_string()))?;
    let sign = |(key, entries): (Bytes, Result<Vec<Entry>, _>)| {
        let channel = decode::channel(key.strip_prefix(server.key_prefix.as_bytes())?)?;
        let last = entries.ok().and_then(|entries| entries.last().map(|entry| entry.position));
        last.map(|position| (channel, position))
    };
    Ok(Found { signs: replies.into_iter().filter_map(sign).collect(), whole })
}

/// Ends a read that waits, best effort: without it the read ends by itself.
async fn interrupt(id: Option<&str>, server: &Server, may_interrupt: &AtomicBool) {
    let (Some(id), Some(live)) = (id, server.live()) else { return };
    let reply = live.run(pipeline::one(&live.client, &["CLIENT", "UNBLOCK", id])).await;
    if matches!(reply, Ok(Err(BackplaneError::Refused { .. }))) {
        may_interrupt.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_waits_from_the_later_of_sign_and_follower() {
        let (group, a) = (Group::default(), Channel::new("a").unwrap());
        let at = |ms| Position::new(ms, 0);
        let from = |group: &Group| group.waiting().pop().map(|(_, position)| position);
        group.places.lock().insert(a.clone(), Place::at(Position::MAX));
        group.followed(&a, at(5));
        assert_eq!(from(&group), Some(at(5)));
        assert_eq!(group.seen([(a.clone(), at(7))].into_iter()), std::slice::from_ref(&a));
        group.followed(&a, at(6));
        assert_eq!(from(&group), Some(at(7)), "the sign for 7 was given");
        group.followed(&a, at(2));
        assert_eq!(from(&group), Some(at(2)), "the ids went back");
        group.hold_all();
        assert_eq!(from(&group), None);
        group.followed(&a, at(2));
        assert_eq!(from(&group), Some(at(2)));
    }
}
