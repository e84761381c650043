//! Publishing against a backplane that records what it is given.

use super::*;
use crate::auth::metrics::AuthMetrics;
use crate::backplane::{Answer, Ask, Changes, Entry, Examined, Facts, Link, Span, StreamState};
use crate::clock::Clock;
use crate::metrics::Registry;
use crate::watched as watch;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::net::Ipv4Addr;

/// Gives the ids `1-0`, `2-0`, …; the channels `refused`, `down`, `unsent` and `silent` do what they are called.
#[derive(Default)]
struct Recorder {
    appended: Mutex<Vec<String>>,
    changes: Arc<Changes>,
}

impl Recorder {
    fn one(&self, publication: &Publication) -> Result<Position, BackplaneError> {
        if publication.channel.as_str() == "refused" {
            return Err(BackplaneError::refused("WRONGTYPE"));
        }
        let mut appended = self.appended.lock();
        appended.push(publication.channel.to_string());
        Ok(Position::new(appended.len() as u64, 0))
    }
}

impl Backplane for Recorder {
    fn append(&self, publications: Vec<Publication>) -> Answer<'_, Vec<Result<Position, BackplaneError>>> {
        Box::pin(async move {
            match publications[0].channel.as_str() {
                "down" => Err(BackplaneError::down("connection lost")),
                "unsent" => Err(BackplaneError::down("no connection").unsent()),
                "silent" => std::future::pending().await,
                _ => Ok(publications.iter().map(|p| self.one(p)).collect()),
            }
        })
    }

    fn read(&self, _: Vec<Ask>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        unreachable!("publishing reads nothing")
    }

    fn examine(&self, _: Vec<Ask>) -> Answer<'_, Vec<Result<Examined, BackplaneError>>> {
        unreachable!("publishing reads nothing")
    }

    fn inspect(&self, _: Vec<Channel>) -> Answer<'_, Vec<Result<Option<StreamState>, BackplaneError>>> {
        unreachable!("publishing reads nothing")
    }

    fn history(&self, _: Vec<Span>) -> Answer<'_, Vec<Result<Vec<Entry>, BackplaneError>>> {
        unreachable!("publishing reads nothing")
    }

    fn followed(&self, _: &Channel, _: Position) {}

    fn unfollowed(&self, _: &Channel) {}

    fn changes(&self) -> &Arc<Changes> {
        &self.changes
    }

    fn link(&self) -> watch::Receiver<Link> {
        watch::channel(Link::Up).1
    }

    fn facts(&self) -> Facts {
        Facts::default()
    }
}

struct Node {
    recorder: Arc<Recorder>,
    publisher: Publisher,
}

fn node(max_event_bytes: usize, rate: u32) -> Node {
    let recorder = Arc::new(Recorder::default());
    let publisher = Publisher::new(
        recorder.clone(),
        Arc::default(),
        Auth::nobody(Arc::new(AuthMetrics::new(&Registry::default())), &Clock::default()),
        Allowed { event_bytes: max_event_bytes, address_rate: rate, subject_rate: 0, bounds: Bounds::ANY },
    );
    Node { recorder, publisher }
}

impl Node {
    async fn send<B>(&self, request: Request<B>) -> (u16, serde_json::Value)
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let response = publish(request, Ipv4Addr::LOCALHOST.into(), &self.publisher).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn post(&self, path: &str, body: &str) -> (u16, serde_json::Value) {
        self.send(request(path, Full::from(body.to_owned()))).await
    }

    fn appended(&self) -> Vec<String> {
        self.recorder.appended.lock().clone()
    }
}

fn request<B>(path: &str, body: B) -> Request<B> {
    Request::post(path).body(body).unwrap()
}

type Piece = Result<Frame<Bytes>, &'static str>;

fn pieces(pieces: impl Stream<Item = Piece> + Unpin) -> impl Body<Data = Bytes, Error = &'static str> + Unpin {
    StreamBody::new(pieces)
}

fn piece(bytes: &'static [u8]) -> Piece {
    Ok(Frame::data(Bytes::from_static(bytes)))
}

#[tokio::test]
async fn one_event_and_a_batch() {
    let node = node(100, 0);
    assert_eq!(node.post("/events/a?event=x", "data").await, (201, json!({"id": "1-0"})));
    let lines = "{\"channel\":\"b\",\"data\":1}\n\n{\"channel\":\"c\",\"data\":2}\n";
    assert_eq!(node.post("/events", lines).await, (200, json!({"ids": ["2-0", "3-0"]})));
    assert_eq!(node.appended(), ["a", "b", "c"]);
}

#[tokio::test]
async fn what_cannot_be_read_publishes_nothing() {
    let node = node(10, 0);
    for (path, body, status, code) in [
        ("/events/a?final=maybe", "x", 400, "bad_parameter"),
        ("/events/~a", "x", 403, "reserved_channel"),
        ("/events/a/b", "x", 400, "bad_channel"),
        ("/events/a", "12345678901", 413, "body_too_large"),
        ("/events", "{\"channel\":\"a\",\"data\":1}\n{", 400, "bad_body"),
        ("/events", "", 400, "bad_body"),
    ] {
        let (got, problem) = node.post(path, body).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{path} {problem}");
    }
    assert!(node.appended().is_empty());
}

#[tokio::test]
async fn a_body_cut_off_half_way_publishes_nothing() {
    let node = node(100, 0);
    let whole_line = b"{\"channel\":\"a\",\"data\":1}\n";
    for path in ["/events/a", "/events"] {
        let body = pieces(stream::iter([piece(whole_line), Err("connection closed")]));
        let (status, problem) = node.send(request(path, body)).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("bad_body")));
    }
    assert!(node.appended().is_empty());
    let body = pieces(stream::iter([piece(whole_line), piece(whole_line)]));
    assert_eq!(node.send(request("/events", body)).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let node = node(100, 0);
    let body = pieces(stream::iter([piece(b"x")]).chain(stream::pending()));
    let (status, problem) = node.send(request("/events/a", body)).await;
    assert_eq!((status, problem["code"].as_str()), (408, Some("body_timeout")));
    assert!(node.appended().is_empty());
}

#[tokio::test]
async fn a_long_body_is_refused_by_its_length_alone() {
    struct Announced(u64);
    impl Body for Announced {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            panic!("the body is read")
        }

        fn size_hint(&self) -> hyper::body::SizeHint {
            hyper::body::SizeHint::with_exact(self.0)
        }
    }
    let node = node(100, 0);
    assert_eq!(node.send(request("/events/a", Announced(101))).await.0, 413);
    assert_eq!(node.send(request("/events", Announced(9 << 20))).await.0, 413);
    assert_eq!(node.send(request("/events/a?retry=x", Announced(1))).await.0, 400);
    let endless = stream::repeat_with(|| piece(&[b'x'; 64]));
    assert_eq!(node.send(request("/events/a", pieces(endless))).await.0, 413);
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let node = node(100, 0);
    let others: Vec<Place<'_>> = (1..=5).map(|n| node.publisher.place(IpAddr::from([10, 0, 0, n]), None)).collect();
    let quarter = MAX_BODY_MEMORY / 4;
    for (place, bytes) in others.iter().zip([quarter, quarter, quarter, quarter - 10, 5]) {
        place.take(bytes).unwrap();
    }
    assert_eq!(node.post("/events/a", "123456").await.1["code"], "node_full");
    assert_eq!(node.post("/events/a", "12345").await.0, 201);
    drop(others);
    let own = node.publisher.place(Ipv4Addr::LOCALHOST.into(), None);
    own.take(quarter - 5).unwrap();
    assert_eq!(node.post("/events/a", "123456").await.1["code"], "publish_rate");
    assert_eq!(node.post("/events/a", "12345").await.0, 201);
    drop(own);
    assert_eq!(node.publisher.room.taken(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_backplane() {
    let node = node(100, 0);
    for (channel, status, word) in [
        ("refused", 502, "WRONGTYPE"),
        ("down", 503, "unknown"),
        ("silent", 503, "unknown"),
        ("unsent", 503, "nothing was stored"),
    ] {
        let (got, problem) = node.post(&format!("/events/{channel}"), "x").await;
        assert_eq!(got, status);
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    let lines = ["a", "refused", "b"].map(|c| json!({"channel": c, "data": ""}).to_string()).join("\n\n");
    let (status, body) = node.post("/events", &lines).await;
    assert_eq!((status, &body["ids"]), (207, &json!(["1-0", null, "2-0"])));
    assert_eq!((&body["errors"][0]["line"], &body["errors"][0]["code"]), (&json!(3), &json!("backplane_refused")));
    assert_eq!(body["errors"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn rate_and_origin() {
    let node = node(100, 3);
    let lines = "{\"channel\":\"b\",\"data\":1}\n".repeat(2);
    assert_eq!(node.post("/events/a", "x").await.0, 201);
    assert_eq!(node.post("/events", &lines).await.0, 200);
    assert_eq!(node.post("/events/a", "x").await.1["code"], "publish_rate");
    assert_eq!(node.appended().len(), 3);
    let mut foreign = request("/events/a", Full::from("x"));
    foreign.headers_mut().insert("origin", HeaderValue::from_static("https://evil.example"));
    assert_eq!(node.send(foreign).await.1["code"], "forbidden");
    let mut packed = request("/events/a", Full::from("x"));
    packed.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
    assert_eq!(node.send(packed).await.1["code"], "bad_parameter");
}

#[test]
fn a_producer_does_not_tell_its_subject() {
    let of = |subject: Option<&str>| producer(&Grant { subject: subject.map(Into::into), ..Grant::everything() });
    let ann = of(Some("ann"));
    assert!(ann.len() == 22 && !ann.contains("ann"), "{ann}");
    assert_eq!((of(Some("ann")), of(None).as_ref()), (ann.clone(), "-"));
    assert_ne!(of(Some("bob")), ann);
}
