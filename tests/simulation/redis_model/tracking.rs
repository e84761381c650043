//! Client-side caching: who has read a key is told once that it has changed.

use super::connection::ConnectionId;
use super::reply::{Reply, Resp};
use super::server::Server;
use bytes::Bytes;

/// How a connection follows what it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follows {
    /// Which other connection is told.
    pub redirect: Option<ConnectionId>,
    /// It is not told of its own changes.
    pub no_loop: bool,
    /// The other connection was found gone.
    pub is_broken: bool,
}

impl Server {
    /// Notes that a connection has read keys, if it follows what it reads.
    pub(super) fn remember(&mut self, id: ConnectionId, keys: &[Bytes]) {
        if self.connections.get(&id).is_some_and(|connection| connection.follows.is_some()) {
            for key in keys {
                self.tracked.entry(key.clone()).or_default().insert(id);
            }
        }
    }

    /// A key of any database has changed, or is gone: whoever has read it is told.
    pub(super) fn modified(&mut self, key: &[u8]) {
        let Some((key, readers)) = self.tracked.remove_entry(key) else { return };
        for id in readers {
            let Some(follows) = self.connections.get(&id).and_then(|connection| connection.follows) else { continue };
            match self.runs == Some(id) {
                true if follows.no_loop => {}
                true => self.told_later.push(Some(key.clone())),
                false => self.tell(id, Some(&key)),
            }
        }
    }

    /// All keys are gone.
    pub(super) fn flushed(&mut self) {
        let all = self.connections.iter().filter(|(_, connection)| connection.follows.is_some());
        for id in all.map(|(id, _)| *id).collect::<Vec<_>>() {
            match self.runs == Some(id) {
                true => self.told_later.push(None),
                false => self.tell(id, None),
            }
        }
        self.tracked.clear();
    }

    /// Tells a connection what it has changed itself, after its reply.
    pub(super) fn tell_later(&mut self, id: ConnectionId) {
        if self.runs.is_none() {
            for push in std::mem::take(&mut self.pushed_later) {
                self.push(id, push);
            }
            for key in std::mem::take(&mut self.told_later) {
                self.tell(id, key.as_ref());
            }
            if let Some(reply) = self.answers_last.take() {
                self.reply(id, reply);
            }
        }
    }

    /// Tells a connection, or to whom it redirects, that a key has changed; `None`: that all have.
    fn tell(&mut self, id: ConnectionId, key: Option<&Bytes>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(follows) = &mut connection.follows else { return };
        let (redirect, resp) = (follows.redirect, connection.resp);
        let to = redirect.unwrap_or(id);
        if !self.is_there(to) {
            return self.tell_broken(id, to);
        }
        if self.resp(to) != Some(Resp::Three) {
            return;
        }
        let what = match key {
            Some(key) => Reply::List(vec![Reply::Text(key.clone())]),
            // In the protocol of who asked for it, though it is another one's connection.
            None if resp == Resp::Two => Reply::OldNil,
            None => Reply::Nil,
        };
        let push = vec![Reply::word("invalidate"), what];
        match self.runs == Some(to) {
            true => self.pushed_later.push(push),
            false => self.push(to, push),
        }
    }

    fn tell_broken(&mut self, id: ConnectionId, gone: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(follows) = &mut connection.follows {
            follows.is_broken = true;
        }
        if connection.resp == Resp::Three {
            self.push(id, vec![Reply::word("tracking-redir-broken"), Reply::Number(gone.0 as i64)]);
        }
    }

    /// Whether a connection can be told anything.
    pub(super) fn is_there(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.is_closing)
    }

    /// Where readers of too many keys are remembered, some are forgotten, which is told as if they had changed.
    pub(super) fn limit_tracked(&mut self) {
        let most = self.settings.get("tracking-table-max-keys").and_then(|most| most.parse().ok()).unwrap_or(0);
        while most > 0 && self.tracked.len() > most {
            // Steps of a linear congruential generator, with the constants of Knuth's MMIX.
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (self.chance >> 33) as usize % self.tracked.len();
            let Some(key) = self.tracked.keys().nth(at).cloned() else { return };
            self.modified(&key);
        }
    }
}
