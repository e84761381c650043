//! The moment at which a drain begins: what the log says of it is so when it is said.

use crate::support::client::Connection;
use crate::support::stream::{End, Stream};
use fantail::backplane::memory::{Memory, Settings};
use fantail::command::settings_of;
use fantail::node::Node;
use fantail::outside::Outside;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// Does something while a line is being logged that says this, once.
struct AtWord<F>(&'static str, Mutex<Option<F>>);

impl<S: tracing::Subscriber, F: FnOnce() + Send + 'static> Layer<S> for AtWord<F> {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        if message.0 == self.0
            && let Some(work) = self.1.lock().unwrap().take()
        {
            work();
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

fn node(flags: &[&str]) -> Node {
    let flags = [&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], flags].concat();
    Node::start_with(settings_of(&flags).expect("good flags"), Memory::new(Settings::default()), Outside::default())
        .expect("a node")
}

/// Drains, and does the work while `word` is logged.
fn drain(node: &Node, word: &'static str, work: impl FnOnce() + Send + 'static) -> bool {
    let layer = AtWord(word, Mutex::new(Some(work)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || runtime.block_on(node.drain()))
}

#[test]
fn who_asks_when_the_log_says_draining_is_refused() {
    let node = node(&["--drain", "200ms"]);
    let mut stream = Stream::open(node.listen()[0], "/events/a", &[]).begun();
    let mut kept = Connection::open(node.listen()[0]);
    assert_eq!(kept.ask("HEAD", "/events/a", &[], b"").head.status, 200);
    let asked = Arc::new(Mutex::new(0));
    let status = asked.clone();
    assert!(drain(&node, "draining", move || {
        kept.send_request("GET", "/events/a", &[], b"");
        *status.lock().unwrap() = kept.head().status;
    }));
    assert_eq!(*asked.lock().unwrap(), 503);
    assert_eq!(stream.finish(), (End::Incomplete, vec![]));
}

#[test]
fn with_a_delay_who_asks_is_taken_until_the_log_says_that_it_is_over() {
    let node = node(&["--drain-delay", "100ms", "--drain", "200ms"]);
    let address = node.listen()[0];
    let mut early = Stream::open(address, "/events/a", &[]).begun();
    let late = Arc::new(Mutex::new(None));
    let taken = late.clone();
    assert!(drain(&node, "draining", move || {
        *taken.lock().unwrap() = Some(Stream::open(address, "/events/a", &[]).begun());
    }));
    let mut late = late.lock().unwrap().take().expect("a stream");
    assert_eq!((early.finish().0, late.finish().0), (End::Incomplete, End::Incomplete));
}
