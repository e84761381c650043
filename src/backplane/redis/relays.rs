//! Busy streams that many nodes follow: one of them, the relay, reads such a stream as always and passes on what is new, by
//! sharded pub/sub; to the others Redis sends that, and no report and no answer.
//!
//! Who is the relay, a lease at the server decides (`speaking`). It is no matter of exactness: nobody believes a message that
//! does not follow what it knows, and two relays only cost more. What is passed on goes to the server of which it was
//! read, and is heard from that one (`listening`): both end with the live connection.

mod listening;
mod speaking;

use super::capabilities::Right;
use super::reader::request::Request;
use super::server::Server;
use crate::backplane::{BackplaneError, Relayed};
use crate::channel::Channel;
use crate::hash::HashMap;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Larger messages are not sent: that there is something new is.
const LARGEST: usize = 32 << 10;
/// What waits to be sent, in bytes at most. What is beyond that the others find out by themselves.
const WAITING: usize = 4 << 20;
/// How long a connection may bring nothing while something is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a connection that failed, before the next one.
const PAUSE: Duration = Duration::from_secs(2);

/// The streams that are relayed, by this node or to it.
pub struct Relays {
    server: Arc<Server>,
    runtime: Handle,
    /// Nodes that follow a stream which is relayed, at least.
    from: u32,
    /// What this node's leases hold.
    name: String,
    state: Mutex<State>,
    /// Rung when other streams are to be heard of, and when there is something to send.
    listen: Notify,
    speak: Notify,
}

#[derive(Default)]
struct State {
    /// `None`: there is no live connection, or the server offers no such thing.
    era: Option<Era>,
    streams: HashMap<Channel, Stream>,
    outbox: Vec<(Channel, Bytes)>,
    waiting: usize,
    /// This user may have answers left out, so that a message can precede another command.
    may_skip: bool,
}

/// What belongs to one live connection.
struct Era {
    /// Set when it ends.
    ended: Arc<AtomicBool>,
    tasks: Vec<AbortHandle>,
}

/// A busy stream.
#[derive(Default)]
struct Stream {
    /// This node is its relay.
    relay: bool,
    /// When something was heard of it last.
    heard: Option<Instant>,
}

impl Relays {
    /// No stream yet. `from`: so many nodes at least; 0: never.
    pub fn new(server: Arc<Server>, runtime: Handle, from: u32) -> Relays {
        let name = if from > 0 { format!("{:016x}", server.outside.random.number()) } else { String::new() };
        Relays { server, runtime, from, name, state: Mutex::default(), listen: Notify::new(), speak: Notify::new() }
    }

    /// Takes in that there is a new live connection, the doubt about what was before having been stated; `tracking`: whether
    /// the server reports to it.
    pub fn start(self: &Arc<Relays>, tracking: bool) {
        self.leave();
        if self.from == 0 || !tracking {
            return;
        }
        let mut state = self.state.lock();
        state.era = Some(Era { ended: Arc::default(), tasks: Vec::new() });
        if !state.streams.is_empty() {
            self.begin(&mut state);
        }
    }

    /// Ends what is heard and what is sent.
    pub fn leave(&self) {
        let mut state = self.state.lock();
        if let Some(era) = state.era.take() {
            era.ended.store(true, Ordering::SeqCst);
            era.tasks.iter().for_each(AbortHandle::abort);
        }
        (state.outbox, state.waiting, state.may_skip) = (Vec::new(), 0, false);
        state.streams.values_mut().for_each(|stream| *stream = Stream::default());
    }

    /// Makes the connections, unless they are there.
    fn begin(self: &Arc<Relays>, state: &mut State) {
        let Some(era) = state.era.as_mut().filter(|era| era.tasks.is_empty()) else { return };
        let listening = listening::run(self.clone(), era.ended.clone());
        let speaking = speaking::run(self.clone(), era.ended.clone());
        era.tasks = vec![self.runtime.spawn(listening).abort_handle(), self.runtime.spawn(speaking).abort_handle()];
    }

    /// Whether streams are to be relayed where that is possible.
    pub fn are_wanted(&self) -> bool {
        self.from > 0 && !self.server.cluster
    }

    /// Whether this user may hear what others pass on, for `fantail check`.
    pub async fn right(&self) -> Result<Right, BackplaneError> {
        let refused = listening::refusal(&self.server).await?;
        let purpose = "having busy streams read by other nodes";
        Ok(Right { command: "SSUBSCRIBE", purpose, needed: false, refused })
    }

    /// Whether streams may be relayed at this server.
    pub fn are_possible(&self) -> bool {
        self.from > 0 && self.state.lock().era.is_some()
    }

    /// Takes in that a stream is busy, or is so no more.
    pub fn busy(self: &Arc<Relays>, channel: &Channel, is: bool) {
        let mut state = self.state.lock();
        match is {
            true => drop(state.streams.insert(channel.clone(), Stream::default())),
            false => drop(state.streams.remove(channel)),
        }
        self.begin(&mut state);
        self.listen.notify_one();
    }

    /// Whether this node passes on what it reads of a stream.
    pub fn is_relay(&self, channel: &Channel) -> bool {
        self.from > 0 && self.state.lock().streams.get(channel).is_some_and(|stream| stream.relay)
    }

    /// Passes on what was read, unless since there had been so many doubts one about all streams has been stated: then it may
    /// be of another server.
    pub fn pass_on(&self, relayed: &Relayed, doubts: u32) {
        let message = match relayed.size() {
            size if size > LARGEST => Relayed { entries: Vec::new(), ..relayed.clone() }.message(),
            _ => relayed.message(),
        };
        let mut state = self.state.lock();
        // An era begins behind its doubt.
        let is_of_now = state.era.is_some() && self.server.changes.about_all() <= doubts;
        if is_of_now && state.waiting + message.len() <= WAITING {
            state.waiting += message.len();
            state.outbox.push((relayed.channel.clone(), message));
            self.speak.notify_one();
        }
    }

    /// Adds commands that send what waits to be passed on of a stream, and are not answered: they may precede a wait for its next
    /// entry, which is one write then, and for the server one wake.
    pub fn unanswered(&self, channel: &Channel, commands: &mut Request) {
        if self.from == 0 {
            return;
        }
        let mut state = self.state.lock();
        if !state.may_skip {
            return;
        }
        let mut sent = 0;
        for (_, message) in state.outbox.extract_if(.., |(of, _)| of == channel) {
            sent += message.len();
            commands.begin(3).word("CLIENT").word("REPLY").word("SKIP");
            self.publish(channel, &message, commands);
        }
        state.waiting -= sent;
    }

    /// Adds the command that sends a message.
    fn publish(&self, channel: &Channel, message: &[u8], commands: &mut Request) {
        commands.begin(3).word("SPUBLISH").key(&self.server.key_prefix, channel).word(message);
    }

    /// The server does not offer it, or not to this user: streams are followed as ever.
    fn refused(&self, why: &BackplaneError) {
        tracing::info!(why = %why.text(), "redis: sharded pub/sub is refused; each node reads busy streams for itself");
        self.leave();
    }
}
