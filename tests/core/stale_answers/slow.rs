//! The backplane in memory, whose answers come when a test says so.

use fantail::backplane::memory::{Memory, Settings};
use fantail::backplane::{
    Answer, Ask, Backplane, BackplaneError, Changes, Entry, Examined, Facts, Link, Publication, Span, StreamState,
};
use fantail::channel::Channel;
use fantail::command::settings_of;
use fantail::node::Node;
use fantail::outside::Outside;
use fantail::position::Position;
use fantail::watched as watch;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

type Behind = Box<dyn FnOnce(&Memory) + Send>;

/// The backplane in memory, whose first examination is made at once and answered when the test says so; the same for
/// all reads.
pub struct Slow {
    memory: Arc<Memory>,
    pub examinations: AtomicUsize,
    pub released: watch::Sender<bool>,
    pub answered: AtomicBool,
    pub reads: watch::Sender<bool>,
    /// What happens when the next read has been made, before anything else is asked.
    behind: Mutex<Option<Behind>>,
    /// Inspections are made at once, too, and answered when the test says so.
    pub inspections: AtomicUsize,
    pub told: watch::Sender<bool>,
    pub unfollowed: AtomicUsize,
}

impl Slow {
    fn new(memory: Arc<Memory>) -> Arc<Slow> {
        Arc::new(Slow {
            memory,
            examinations: AtomicUsize::new(0),
            released: watch::Sender::new(false),
            answered: AtomicBool::new(false),
            reads: watch::Sender::new(true),
            behind: Mutex::new(None),
            inspections: AtomicUsize::new(0),
            told: watch::Sender::new(true),
            unfollowed: AtomicUsize::new(0),
        })
    }

    /// Lets something happen right behind the next read.
    pub fn behind_read(&self, happens: impl FnOnce(&Memory) + Send + 'static) {
        *self.behind.lock().unwrap() = Some(Box::new(happens));
    }
}

impl Backplane for Slow {
    fn read(&self, asks: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        Box::pin(async move {
            let _ = self.reads.subscribe().wait_for(|released| *released).await;
            let answer = self.memory.read(asks).await;
            if let Some(happens) = self.behind.lock().unwrap().take() {
                happens(&self.memory);
            }
            answer
        })
    }

    fn inspect(&self, channels: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        Box::pin(async move {
            let answer = self.memory.inspect(channels).await;
            self.inspections.fetch_add(1, Ordering::SeqCst);
            let _ = self.told.subscribe().wait_for(|told| *told).await;
            answer
        })
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

/// A node on a slow backplane.
pub fn started() -> (Arc<Memory>, Arc<Slow>, Node) {
    let flags = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let memory = Memory::new(Settings { maxlen: 0, ..Settings::default() });
    let slow = Slow::new(memory.clone());
    let settings = settings_of(&flags).expect("good flags");
    let node = Node::start_with(settings, slow.clone(), Outside::default()).expect("a node");
    (memory, slow, node)
}
