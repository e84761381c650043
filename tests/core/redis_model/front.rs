//! A node's backplane on a server that is played, within one thread and without waiting for time.

use super::played::front::{Host, Piece, Straight, Way};
use super::played::{Refusal, Server, Version};
use crate::redis::{channel, linked, read, told_of};
use bytes::Bytes;
use fantail::backplane::redis::{Redis, Settings};
use fantail::backplane::{Backplane, BackplaneError, Link, Lookup, Note, Publication, Span, Toward};
use fantail::config::Follow;
use fantail::position::Position;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::time::Instant;

const NOW: u64 = 1_700_000_000_000;

/// A played server behind a unix socket.
struct Played {
    host: Host,
    path: PathBuf,
}

impl Played {
    fn start<W: Way + 'static>(version: Version, way: impl Fn() -> W + Send + 'static) -> Played {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fantail-played-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&path).expect("a socket");
        let begun = Instant::now();
        let host = Host::new(Server::new(version), move || NOW + begun.elapsed().as_millis() as u64);
        let (keeps, serves) = (host.clone(), host.clone());
        tokio::spawn(async move { keeps.keep_time().await });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (host, way) = (serves.clone(), way());
                tokio::spawn(async move { host.serve(stream, way).await });
            }
        });
        Played { host, path }
    }

    async fn node(&self, follow: Follow) -> Arc<Redis> {
        let settings = Settings { follow, ..Settings::new(&format!("unix:{}", self.path.display())) };
        let node = Redis::start(settings, &Handle::current()).expect("an address");
        linked(&node, Link::Up, Duration::from_secs(20)).await;
        node
    }

    /// Runs a command by a connection of its own.
    fn run(&self, words: &[&str]) {
        let words = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let now = self.host.now_ms();
        self.host.with(|server| {
            let id = server.connect();
            server.execute(id, words, now);
            server.disconnect(id);
        });
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let unknown: Vec<String> = self.host.with(|server| server.unknown().map(str::to_owned).collect());
        assert!(unknown.is_empty() || std::thread::panicking(), "not played: {unknown:?}");
    }
}

fn publication() -> Publication {
    Publication::new(channel("a"), vec![(Bytes::from_static(b"data"), Bytes::from_static(b"x"))])
}

async fn follows(played: &Played, follow: Follow) {
    let node = played.node(follow).await;
    let mut after = Position::ZERO;
    assert!(read(&node, "a", &mut after).await.is_empty());
    for n in 0..5 {
        played.run(&["XADD", "sse:a", "*", "data", &n.to_string()]);
        told_of(&node, "a").await;
        assert_eq!(read(&node, "a", &mut after).await, [n.to_string()]);
    }
    let appended = node.append(vec![publication()]).await.expect("a connection").remove(0).expect("an id");
    assert!(appended > after);
    let state = node.inspect(vec![channel("a")]).await.expect("a connection").remove(0).expect("a state");
    let state = state.expect("a stream");
    assert_eq!((state.length, state.last, state.added), (6, appended, Some(6)));
    let set = vec![(Bytes::from_static(b"f"), Bytes::from_static(b"v"))];
    let note = Note { channel: channel("~n"), set: set.clone(), remove: Vec::new(), keep: Duration::from_secs(10) };
    assert!(!node.note(vec![note]).await.expect("a connection").remove(0).expect("an answer"));
    let lookup = || vec![Lookup { channel: channel("~n"), fields: None }];
    assert_eq!(node.noted(lookup()).await.expect("a connection").remove(0).expect("fields"), set);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(node.noted(lookup()).await.expect("a connection").remove(0).expect("fields").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_follows_a_played_server_by_its_pushes() {
    follows(&Played::start(Version::V8_2, || Straight), Follow::Tracking).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_follows_a_played_server_by_blocking_reads() {
    follows(&Played::start(Version::V7_0, || Straight), Follow::Block).await;
}

/// Every byte comes alone, and each a little later.
struct Crumbs;

impl Way for Crumbs {
    fn said(&mut self, bytes: Vec<u8>) -> Vec<Piece> {
        let each = |byte| [Piece::Pause(Duration::from_micros(10)), Piece::Bytes(vec![byte])];
        bytes.into_iter().flat_map(each).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_follows_a_played_server_that_speaks_slowly() {
    follows(&Played::start(Version::V8_2, || Crumbs), Follow::Auto).await;
}

/// The next answer is cut within its first bytes, once that is wanted.
struct Cuts(Arc<AtomicBool>);

impl Way for Cuts {
    fn said(&mut self, mut bytes: Vec<u8>) -> Vec<Piece> {
        match self.0.swap(false, Ordering::Relaxed) {
            false => vec![Piece::Bytes(bytes)],
            true => {
                bytes.truncate(3);
                vec![Piece::Bytes(bytes), Piece::Cut]
            }
        }
    }
}

/// What became of an entry whose answer is lost is not known, and it is not sent again.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_is_no_second_entry() {
    let cut = Arc::new(AtomicBool::new(false));
    let of_each = cut.clone();
    let played = Played::start(Version::V8_2, move || Cuts(of_each.clone()));
    let node = played.node(Follow::Tracking).await;
    let append = || async { node.append(vec![publication()]).await.and_then(|mut answers| answers.remove(0)) };
    append().await.expect("an id");
    cut.store(true, Ordering::Relaxed);
    assert!(matches!(append().await, Err(BackplaneError::Down { .. })));
    assert!(!cut.load(Ordering::Relaxed));
    append().await.expect("an id on another connection");
    let mut after = Position::ZERO;
    assert_eq!(read(&node, "a", &mut after).await.len(), 3);
}

/// A connection that ends within an answer may have ended because of one entry: what is read one by one then is all of it.
#[tokio::test(start_paused = true)]
async fn history_whose_answer_is_cut_is_read_to_its_end() {
    let cut = Arc::new(AtomicBool::new(false));
    let of_each = cut.clone();
    let played = Played::start(Version::V8_2, move || Cuts(of_each.clone()));
    let node = played.node(Follow::Tracking).await;
    (0..20).for_each(|n| played.run(&["XADD", "sse:a", "*", "data", &n.to_string()]));
    for (toward, first) in [(Toward::Newest, b"0"), (Toward::Oldest, b"5")] {
        cut.store(true, Ordering::Relaxed);
        let (oldest, newest) = (Position::ZERO, Position::MAX);
        let span = Span { channel: channel("a"), oldest, newest, count: 15, toward };
        let entries = node.history(vec![span]).await.expect("a connection").remove(0).expect("entries");
        assert!(!cut.load(Ordering::Relaxed));
        assert_eq!(entries.len(), 15, "{toward:?}");
        assert!(entries.is_sorted_by_key(|entry| entry.position));
        assert_eq!(&entries[0].fields[0].1[..], first);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_comes_back_to_a_server_that_was_loading() {
    let played = Played::start(Version::V8_2, || Straight);
    let node = played.node(Follow::Auto).await;
    played.host.with(|server| {
        server.set_refusal(Refusal::Loading, true);
        let all: Vec<_> = server.connections().collect();
        all.into_iter().for_each(|id| server.kill(id));
    });
    linked(&node, Link::Down, Duration::from_secs(20)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(*node.link().borrow(), Link::Down);
    played.host.with(|server| server.set_refusal(Refusal::Loading, false));
    linked(&node, Link::Up, Duration::from_secs(20)).await;
}
