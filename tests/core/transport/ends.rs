//! What an end tells: `final` alone is one, all others are invitations to come back; and what caches may keep of it.

use super::{Site, WAYS, Way};
use crate::support::client::{Connection, Head};
use crate::support::node::Node;
use crate::support::raw::trusting;
use crate::support::stream::{End, Stream};
use rustix::process::Signal;
use rustls::ProtocolVersion::TLSv1_3;

fn is_http2(way: Way) -> bool {
    matches!(way, Way::Http2 | Way::TlsHttp2)
}

#[test]
fn the_head_of_a_stream_on_http_1_1_tells_proxies_that_the_connection_ends_with_it() {
    let site = Site::start("close", &[]);
    for way in WAYS {
        for target in ["/events/a", "/events?channels=a,b", "/events/a?events=x"] {
            let head = site.subscribe(way, target).head;
            let said = (!is_http2(way)).then_some("close");
            assert_eq!(head.header("connection"), said, "{way:?} {target}: {head:?}");
        }
        // To who asks for it by itself it would be an end: Node's fetch takes any end of such a connection for that of the body.
        let keeps = ("Connection", "keep-alive");
        if !is_http2(way) {
            let said = |headers: &[(&str, &str)]| {
                let head = Stream::on(site.connect(way), "/events/a", headers).head;
                head.header("connection").map(str::to_owned)
            };
            assert_eq!(said(&[keeps]), None, "{way:?}");
            for proxy in [("Via", "1.1 squid"), ("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")] {
                assert_eq!(said(&[keeps, proxy]).as_deref(), Some("close"), "{way:?} {proxy:?}");
            }
        }
        // An answer that is not a stream leaves the connection open.
        let head = site.connect(way).ask("HEAD", "/events/a", &[], b"").head;
        assert_eq!(head.header("connection"), None, "{way:?}: {head:?}");
    }
}

#[test]
fn nothing_that_was_answered_to_one_client_is_kept_for_another() {
    let site = Site::start("caches", &["--cors-origin", "https://app.example"]);
    let last = site.redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]).text().to_owned();
    let control = |head: &Head| head.header("cache-control").unwrap_or_default().to_owned();
    let asks = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    for way in WAYS {
        let ask = |method, target, headers: &[(&str, &str)]| site.connect(way).ask(method, target, headers, b"").head;
        for head in [site.subscribe(way, "/events/a").head, ask("HEAD", "/events/a", &[])] {
            assert_eq!(control(&head), "no-cache, no-store, no-transform", "{way:?}");
        }
        let over = ask("GET", "/events/job", &[("Last-Event-ID", &last)]);
        assert_eq!((over.status, control(&over).as_str()), (204, "no-store"), "{way:?}");
        for (target, headers) in
            [("/events/a", &asks[..]), ("/events/a", &[]), ("/history/a", &asks), ("/history/a", &[])]
        {
            let options = ask("OPTIONS", target, headers);
            assert_eq!((options.status, control(&options).as_str()), (204, "no-store"), "{way:?} {target}");
        }
    }
}

#[test]
fn who_is_turned_away_to_come_back_gets_no_whole_stream() {
    let site =
        Site::start("turned", &["--max-connections-per-address", "1", "--when-full", "retry", "--retry", "10ms..10ms"]);
    let _both = [Way::Http1, Way::TlsHttp2].map(|way| site.subscribe(way, "/events/a").begun());
    for way in WAYS {
        let mut turned_away = site.subscribe(way, "/events/a");
        assert_eq!(turned_away.head.header("cache-control"), Some("no-cache, no-store, no-transform"), "{way:?}");
        assert_eq!(turned_away.finish(), (End::Incomplete, vec![]), "{way:?}");
        assert!(turned_away.parser.retry().is_some(), "{way:?}");
    }
}

#[test]
fn bytes_that_nobody_read_do_not_turn_the_end_into_a_reset() {
    let mut site = Site::start("unread", &["--drain", "100ms"]);
    let mut streams: Vec<(Way, Stream)> = [Way::Http1, Way::Tls, Way::OldTls]
        .into_iter()
        .map(|way| {
            let mut stream = site.subscribe(way, "/events/a").begun();
            // Another request on the same connection, which is never looked at.
            stream.connection.send("GET /events/b HTTP/1.1\r\nHost: node\r\n\r\n");
            (way, stream)
        })
        .collect();
    site.redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    streams.iter_mut().for_each(|(_, stream)| assert_eq!(stream.numbers(1), [1]));
    site.plain.signal(Signal::TERM);
    site.secure.signal(Signal::TERM);
    for (way, stream) in &mut streams {
        assert_eq!(stream.finish(), (End::Incomplete, vec![]), "{way:?}");
    }
    assert_eq!((site.plain.wait(), site.secure.wait()), (Some(0), Some(0)));
}

#[test]
fn without_chunks_only_tls_tells_an_end_from_a_break() {
    let mut site = Site::start("old", &["--drain", "100ms"]);
    let old = |mut connection: Connection, target: &str| {
        connection.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        Stream::answered(connection)
    };
    let tls = || trusting(&site.authority, &["http/1.1"], &[TLSv1_3]);
    let plain = |node: &Node, target| old(Connection::open(node.listen), target);
    let secure = |target| old(Connection::open(site.secure.listen).secure(tls()), target);
    let mut jobs = [plain(&site.plain, "/events/job"), secure("/events/job")];
    let mut drained = [plain(&site.plain, "/events/a").begun(), secure("/events/a").begun()];
    site.redis.command(&["XADD", "sse:job", "*", "final", "1", "data", "1"]);
    for job in &mut jobs {
        assert_eq!(job.numbers(1), [1]);
        assert_eq!(job.finish(), (End::Whole, vec![]));
    }
    site.plain.signal(Signal::TERM);
    site.secure.signal(Signal::TERM);
    assert_eq!(drained[0].finish().0, End::Whole, "a FIN is all that there is");
    assert_eq!(drained[1].finish().0, End::Cut, "no close_notify (RFC 9112, section 9.8)");
    assert_eq!((site.plain.wait(), site.secure.wait()), (Some(0), Some(0)));
}
