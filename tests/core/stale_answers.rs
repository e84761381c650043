//! Answers that come after a stream was given up and followed anew are not believed: they are of before.

use crate::support::node::eventually;
use crate::support::stream::Stream;
use fantail::backplane::memory::{Memory, Settings};
use fantail::backplane::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Link, Publication, Span, StreamState,
};
use fantail::channel::Channel;
use fantail::command::settings_of;
use fantail::node::Node;
use fantail::position::Position;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::watch;

/// The backplane in memory, whose first examination is made at once and answered when the test says so.
struct Slow {
    memory: Arc<Memory>,
    examinations: AtomicUsize,
    released: watch::Sender<bool>,
    answered: AtomicBool,
    unfollowed: AtomicUsize,
}

impl Backplane for Slow {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        self.memory.read(asks)
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        self.memory.inspect(channels)
    }

    fn examine(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        Box::pin(async move {
            let number = self.examinations.fetch_add(1, Ordering::SeqCst);
            let answer = self.memory.examine(asks).await;
            if number == 0 {
                let _ = self.released.subscribe().wait_for(|released| *released).await;
                self.answered.store(true, Ordering::SeqCst);
            }
            answer
        })
    }

    fn history(&self, spans: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        self.memory.history(spans)
    }

    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        self.memory.append(publications)
    }

    fn followed(&self, channel: &Channel, position: Position) {
        self.memory.followed(channel, position);
    }

    fn unfollowed(&self, channel: &Channel) {
        self.memory.unfollowed(channel);
        self.unfollowed.fetch_add(1, Ordering::SeqCst);
    }

    fn changes(&self) -> &Arc<Changes> {
        self.memory.changes()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.memory.link()
    }

    fn facts(&self) -> Facts {
        self.memory.facts()
    }
}

#[test]
fn an_answer_of_before_the_channel_was_followed_anew_is_no_reset() {
    let flags = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let memory = Memory::new(Settings { maxlen: 0, ..Settings::default() });
    let slow = Arc::new(Slow {
        memory: memory.clone(),
        examinations: AtomicUsize::new(0),
        released: watch::Sender::new(false),
        answered: AtomicBool::new(false),
        unfollowed: AtomicUsize::new(0),
    });
    let node = Node::start_with(settings_of(&flags).expect("good flags"), slow.clone()).expect("a node");
    let a = Channel::new("a").expect("a name");
    let add = |n: u64| drop(memory.append_at(&a, Position::new(n, 0), &[("data".into(), n.to_string().into())]));
    let open = || Stream::open(node.listen()[0], "/events/a", &[("Last-Event-ID", "0-0")]);

    let first = open().begun();
    // The stream's first entry is examined, and the answer is long on its way.
    add(1);
    eventually("an examination", || slow.examinations.load(Ordering::SeqCst) == 1);
    drop(first);
    eventually("nobody wants the channel", || slow.unfollowed.load(Ordering::SeqCst) == 1);
    let mut second = open();
    assert_eq!(second.numbers(1), [1]);
    for n in 2..=3 {
        add(n);
        assert_eq!(second.numbers(1), [n]);
    }
    slow.released.send_replace(true);
    eventually("the old answer", || slow.answered.load(Ordering::SeqCst));
    for n in 4..=6 {
        add(n);
        assert_eq!(second.numbers(1), [n], "and no gap");
    }
}
