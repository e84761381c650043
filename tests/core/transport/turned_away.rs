//! `--when-full retry`: the delay is told at once, and the end of the answer is held, for a client that asks again at once when a
//! stream ends. What that takes is bounded, and costs no subscriber its place.

use super::{Site, WAYS, Way, connect, tls_flags};
use crate::support::authority::Authority;
use crate::support::client::Connection;
use crate::support::node::{Node, eventually};
use crate::support::stream::{End, Stream};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// So short a delay that tests may wait for it.
const SHORT: [&str; 6] = ["--max-connections-per-address", "1", "--when-full", "retry", "--retry", "20ms..20ms"];
/// Of the delays that these tell, which are 15 s and longer, the end waits for the longest time that it ever does.
const LONG: [&str; 6] = ["--max-connections-per-address", "1", "--when-full", "retry", "--retry", "3s..3s"];
/// Open files with which a node has six places for answers that are held.
const FILES: u32 = 100;
const PLACES: usize = 6;

fn count(node: &Node, end: &str) -> usize {
    node.metric(&format!("fantail_turned_away_total{{end=\"{end}\"}}")) as usize
}

/// An answer as it is read: when it was asked for, when its delay was read, and the delay.
struct TurnedAway {
    asked: Instant,
    read: Instant,
    told: Duration,
    stream: Stream,
}

impl TurnedAway {
    fn by(site: &Site, way: Way) -> TurnedAway {
        let connection = site.connect(way);
        let asked = Instant::now();
        let mut stream = Stream::on(connection, "/events/a", &[]);
        stream.read_until("the delay", |stream| stream.parser.retry().is_some());
        let told = Duration::from_millis(stream.parser.retry().expect("just seen"));
        assert_eq!(stream.end, None, "{way:?}");
        TurnedAway { asked, read: Instant::now(), told, stream }
    }
}

#[test]
fn the_delay_comes_at_once_and_the_end_no_earlier_than_it_says() {
    for keeper in ["hyper", "courier"] {
        let site = Site::start(&format!("paced-{keeper}"), &[&SHORT[..], &["--http2", keeper]].concat());
        let _both = [Way::Http1, Way::TlsHttp2].map(|way| site.subscribe(way, "/events/a").begun());
        for way in WAYS {
            let before = count(site.node(way), "held");
            let mut away = TurnedAway::by(&site, way);
            assert_eq!((count(site.node(way), "held"), count(site.node(way), "at_once")), (before + 1, 0));
            assert_eq!(away.stream.finish(), (End::Incomplete, vec![]), "{keeper} {way:?}");
            assert!((100..=300).contains(&away.told.as_millis()), "{:?}", away.told);
            // The node waits from when it has written the delay, which is later than the request.
            assert!(
                away.asked.elapsed() >= away.told,
                "{keeper} {way:?}: {:?} of {:?}",
                away.asked.elapsed(),
                away.told
            );
        }
    }
}

#[test]
fn a_long_delay_is_read_long_before_the_end_and_a_drain_ends_what_is_held() {
    for keeper in ["hyper", "courier"] {
        let mut site = Site::start(&format!("held-{keeper}"), &[&LONG[..], &["--http2", keeper]].concat());
        let subscribers = [Way::Http1, Way::TlsHttp2].map(|way| site.subscribe(way, "/events/a").begun());
        std::thread::scope(|scope| {
            for way in WAYS {
                let site = &site;
                scope.spawn(move || {
                    let mut away = TurnedAway::by(site, way);
                    assert_eq!(away.stream.finish(), (End::Incomplete, vec![]), "{way:?}");
                    assert!(away.asked.elapsed() >= Duration::from_secs(4), "{way:?}: {:?}", away.asked.elapsed());
                    // Four seconds lie between the two; the reader may come late to the first.
                    assert!(away.read.elapsed() >= Duration::from_secs(1), "{way:?}: {:?}", away.read.elapsed());
                });
            }
        });
        let mut away = WAYS.map(|way| (way, TurnedAway::by(&site, way)));
        drop(subscribers);
        site.plain.signal(Signal::TERM);
        site.secure.signal(Signal::TERM);
        for (way, away) in &mut away {
            assert_eq!(away.stream.finish(), (End::Incomplete, vec![]), "{keeper} {way:?}");
        }
        assert_eq!((site.plain.wait(), site.secure.wait()), (Some(0), Some(0)));
    }
}

#[test]
fn beyond_its_places_a_node_ends_the_answer_at_once() {
    let node = Node::with_files(FILES, &LONG);
    let _one = node.subscribe("/events/a").begun();
    let mut streams = Vec::new();
    eventually("an answer that is not held", || {
        streams.push(node.subscribe("/events/a"));
        count(&node, "at_once") > 0
    });
    assert!(streams.len() > PLACES && count(&node, "held") >= PLACES, "{}", streams.len());
    let mut last = streams.pop().expect("one that is not held");
    assert_eq!(last.finish(), (End::Incomplete, vec![]));
    assert!(last.parser.retry().is_some_and(|delay| delay >= 15_000));
}

#[test]
fn who_is_held_keeps_no_place_from_others() {
    // More than the sixteen connections of one address that may be there beside its subscribers.
    const HELD: usize = 20;
    let site = Site::start("places", &LONG);
    for way in [Way::Http1, Way::Tls] {
        let one = site.subscribe(way, "/events/a").begun();
        let away: Vec<TurnedAway> = (0..HELD).map(|_| TurnedAway::by(&site, way)).collect();
        drop(one);
        eventually("a subscriber beside those who are held", || {
            let stream = site.subscribe(way, "/events/a");
            !stream.last_event_id().is_empty()
        });
        assert_eq!((away.len(), count(site.node(way), "at_once")), (HELD, 0));
    }
}

#[test]
fn who_hangs_up_while_it_is_held_gives_its_place_back() {
    // Were places kept for their four seconds, six would do for 96 answers in the minute in which these must come.
    const ANSWERS: usize = 20 * PLACES;
    let authority = Authority::new("hang-up");
    let tls = tls_flags(&authority);
    for keeper in ["hyper", "courier"] {
        let flags = [&LONG[..], &["--http2", keeper]].concat();
        let plain = Node::with_files(FILES, &flags);
        let secure = Node::with_files(FILES, &[&tls.each_ref().map(String::as_str), &flags[..]].concat());
        for way in WAYS {
            let node = if matches!(way, Way::Http1 | Way::Http2) { &plain } else { &secure };
            let ask = || Stream::on(connect(way, Connection::open(node.listen), &authority), "/events/a", &[]);
            // The one of the way before has its place until the node has noticed.
            node.metric_becomes("fantail_connections", 0.0);
            let _one = ask().begun();
            let before = count(node, "held");
            eventually(&format!("{ANSWERS} answers that are held, {keeper} {way:?}"), || {
                (0..PLACES).for_each(|_| assert!(ask().parser.retry().is_some()));
                count(node, "held") >= before + ANSWERS
            });
        }
    }
}
