//! Connections that wait for streams.

use super::commands::stream_read;
use super::connection::{ConnectionId, Wait};
use super::process;
use super::reply::Reply;
use super::server::Server;
use bytes::Bytes;

impl Server {
    /// Has a connection wait.
    pub(super) fn wait(&mut self, id: ConnectionId, wait: Wait) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.waits = Some(wait);
        }
    }

    /// Ends a wait; whether there was one. What has been sent meanwhile runs next.
    pub(super) fn end_wait(&mut self, id: ConnectionId, reply: Reply) -> bool {
        let waited = self.connections.get_mut(&id).and_then(|connection| connection.waits.take()).is_some();
        if waited {
            self.reply(id, reply);
            self.unblocked.push_back(id);
        }
        waited
    }

    /// Ends the waits whose time is over.
    pub(super) fn end_waits(&mut self) {
        let is_over = |until: u64| until <= self.now;
        let over = self.connections.iter().filter_map(|(id, connection)| {
            let wait = connection.waits.as_ref()?;
            wait.until.filter(|until| is_over(*until)).map(|until| (until, wait.order, *id))
        });
        let mut over: Vec<_> = over.collect();
        over.sort();
        for (_, _, id) in over {
            self.end_wait(id, Reply::NilList);
        }
    }

    /// Answers who waits for a key that has changed, in the order in which they have come.
    pub(super) fn serve(&mut self, db: usize, key: &Bytes) {
        let waits_for = |wait: &&Wait| wait.db == db && wait.streams.iter().any(|(stream, _)| stream == key);
        let of_key = self
            .connections
            .iter()
            .filter_map(|(id, connection)| connection.waits.as_ref().filter(waits_for).map(|wait| (wait.order, *id)));
        let mut of_key: Vec<_> = of_key.collect();
        of_key.sort();
        for (_, id) in of_key {
            // Of another type, it is not what was waited for.
            if !matches!(self.stream(db, key), Ok(Some(_))) {
                return;
            }
            match self.version.runs_again() {
                true => self.serve_again(id),
                false => self.serve_one(id, key),
            }
        }
    }

    /// Runs the command again, which may wait on.
    fn serve_again(&mut self, id: ConnectionId) {
        let Some(wait) = self.connections.get_mut(&id).and_then(|connection| connection.waits.take()) else { return };
        let (until, order) = (wait.until, wait.order);
        process::process_again(self, id, wait.words);
        match self.connections.get_mut(&id).and_then(|connection| connection.waits.as_mut()) {
            // Its time goes on.
            Some(wait) => (wait.until, wait.order) = (until, order),
            None => self.unblocked.push_back(id),
        }
    }

    /// Answers with what one stream has, be it nothing any more.
    fn serve_one(&mut self, id: ConnectionId, key: &Bytes) {
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(wait) = &connection.waits else { return };
        let Some((_, behind)) = wait.streams.iter().find(|(stream, _)| stream == key) else { return };
        let Ok(Some(stream)) = self.stream(wait.db, key) else { return };
        if stream.last > *behind {
            let entries = stream_read::entries(stream.after(*behind), wait.count);
            let reply = stream_read::streams(vec![(key.clone(), entries)], connection.resp);
            self.end_wait(id, reply);
        }
    }
}
