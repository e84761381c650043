//! Who a client is, and how much of a node it may have: addresses behind proxies, subjects, rates, and pages.

use super::{bearer, node};
use crate::support::jwt::{Folder, signed, subscriber};
use crate::support::node::{Node, eventually};
use crate::support::stream::{End, Stream};
use serde_json::json;

fn from(value: &str) -> [(&'static str, &str); 1] {
    [("X-Forwarded-For", value)]
}

#[test]
fn a_trusted_proxy_says_whom_it_speaks_for_and_nobody_else_does() {
    let flags = ["--max-connections-per-address", "1"];
    let trusting = Node::start(&[&flags[..], &["--trusted-proxies", "127.0.0.0/8"]].concat());
    let _one = Stream::open(trusting.listen, "/events/a", &from("1.2.3.4"));
    let _two = Stream::open(trusting.listen, "/events/a", &from("6.6.6.6, 5.6.7.8"));
    let refused = trusting.ask("GET", "/events/a", &from("1.2.3.4"), "");
    assert!(refused.problem(429, "too_many_connections").contains("1.2.3.4"));
    // What is left of the address that is no proxy's is the client's own invention.
    trusting.ask("GET", "/events/a", &from("9.9.9.9, 1.2.3.4"), "").problem(429, "too_many_connections");
    trusting.ask("GET", "/events/a", &from("9.9.9.9, 1.2.3.4, 127.0.0.3"), "").problem(429, "too_many_connections");
    let _v6 = Stream::open(trusting.listen, "/events/a", &from("2001:db8::1"));
    let same_site = trusting.ask("GET", "/events/a", &from("2001:db8::2"), "");
    same_site.problem(429, "too_many_connections");
    trusting.logs(&["refused", "peer=1.2.3.4"]);
    // The other header is not looked at.
    let forwarded = [("Forwarded", "for=7.7.7.7")];
    let _own = Stream::open(trusting.listen, "/events/a", &forwarded);
    trusting.ask("GET", "/events/a", &[("Forwarded", "for=8.8.8.8")], "").problem(429, "too_many_connections");
    let plain = Node::start(&flags);
    let _one = Stream::open(plain.listen, "/events/a", &from("1.2.3.4"));
    plain.ask("GET", "/events/a", &from("5.6.7.8"), "").problem(429, "too_many_connections");
}

#[test]
fn the_standard_header_counts_where_it_is_chosen() {
    let flags =
        ["--max-connections-per-address", "1", "--trusted-proxies", "127.0.0.0/8", "--forwarded-header", "forwarded"];
    let node = Node::start(&flags);
    let with = |value: &'static str| [("Forwarded", value), ("X-Forwarded-For", "9.9.9.9")];
    let _one = Stream::open(node.listen, "/events/a", &with("for=1.2.3.4;proto=https"));
    let _two = Stream::open(node.listen, "/events/a", &with("for=6.6.6.6, For=\"[2001:db8::1]:443\""));
    for again in ["for=\"1.2.3.4:99\"", "for=7.7.7.7, for=1.2.3.4, for=127.0.0.9", "for=\"[2001:db8::2]\""] {
        node.ask("GET", "/events/a", &with(again), "").problem(429, "too_many_connections");
    }
}

#[test]
fn places_of_forwarded_clients_are_given_back() {
    let flags =
        ["--max-connections-per-address", "1", "--trusted-proxies", "127.0.0.1", "--max-channels-per-address", "3"];
    let node = Node::start(&flags);
    for _ in 0..3 {
        let stream = Stream::open(node.listen, "/events?channels=a,b,c", &from("1.2.3.4"));
        // Its head comes before it is counted.
        node.metric_becomes("fantail_connections", 1.0);
        drop(stream);
        node.metric_becomes("fantail_connections", 0.0);
    }
    node.ask("GET", "/events?channels=a,b,c,d", &from("1.2.3.4"), "").problem(429, "too_many_subscriptions");
    drop(Stream::open(node.listen, "/events?channels=a,b,c", &from("1.2.3.4")));
}

#[test]
fn a_subject_has_limits_of_its_own_wherever_it_comes_from() {
    let folder = Folder::new();
    let flags = ["--max-connections-per-subject", "2", "--max-channels-per-subject", "3"];
    let node = node(&folder, &[&flags[..], &["--trusted-proxies", "127.0.0.1"]].concat());
    let token = |subject: &str| signed(json!({"sub": subject, "fantail": {"subscribe": ["**"]}}));
    let alice = token("alice");
    let open = |target: &str, address: &str, token: &str| {
        let (name, value) = bearer(token);
        Stream::open(node.listen, target, &[(name, &value), ("X-Forwarded-For", address)])
    };
    let refused = |target: &str, code: &str| {
        let (name, value) = bearer(&alice);
        node.ask("GET", target, &[(name, &value), ("X-Forwarded-For", "9.9.9.9")], "").problem(429, code);
    };
    let streams = [open("/events/a", "1.1.1.1", &alice), open("/events/b", "2.2.2.2", &alice)];
    refused("/events/a", "too_many_connections");
    let other = open("/events?channels=a,b,c", "1.1.1.1", &token("bob"));
    let [first, second] = streams;
    node.metric_becomes("fantail_connections", 3.0);
    drop(first);
    node.metric_becomes("fantail_connections", 2.0);
    refused("/events?channels=a,b,c", "too_many_subscriptions");
    let again = open("/events?channels=a,c", "1.1.1.1", &alice);
    refused("/events/a", "too_many_connections");
    node.metric_becomes("fantail_connections", 3.0);
    drop((again, second, other));
    node.metric_becomes("fantail_connections", 0.0);
    drop(open("/events?channels=a,b,c", "3.3.3.3", &alice));
}

#[test]
fn subscriptions_have_a_rate_and_retry_is_said_in_either_way() {
    let node = Node::start(&["--subscribe-rate", "5"]);
    let mut refused = 0;
    for _ in 0..50 {
        let mut connection = crate::support::client::Connection::open(node.listen);
        connection.send_request("GET", "/events/a", &[], b"");
        if connection.head().status == 429 {
            refused += 1;
        }
    }
    assert!(refused > 0, "fifty at once are more than five a second");
    eventually("the rate allows one again", || {
        let mut connection = crate::support::client::Connection::open(node.listen);
        connection.send_request("GET", "/events/a", &[], b"");
        connection.head().status == 200
    });
    let friendly =
        Node::start(&["--max-connections-per-address", "1", "--when-full", "retry", "--retry", "10ms..10ms"]);
    let _one = friendly.subscribe("/events/a");
    let mut turned_away = friendly.subscribe("/events/a");
    assert_eq!((turned_away.finish().0, turned_away.parser.retry().is_some()), (End::Incomplete, true));
}

#[test]
fn a_subject_subscribes_no_faster_than_its_rate_wherever_it_comes_from() {
    let folder = Folder::new();
    let node = node(&folder, &["--subscribe-rate-per-subject", "5", "--trusted-proxies", "127.0.0.1"]);
    let subscribe = |subject: &str, number: usize| {
        let (name, value) = bearer(&signed(json!({"sub": subject, "fantail": {"subscribe": ["a"]}})));
        let address = format!("10.0.0.{number}");
        let mut connection = crate::support::client::Connection::open(node.listen);
        connection.send_request("GET", "/events/a", &[(name, &value), ("X-Forwarded-For", &address)], b"");
        connection.head()
    };
    let heads: Vec<_> = (0..100).map(|number| subscribe("alice", number)).collect();
    let refused = heads.iter().find(|head| head.status == 429).expect("a hundred at once are more than five a second");
    assert!(heads[0].status == 200 && refused.header("retry-after").is_some(), "{refused:?}");
    assert_eq!(subscribe("bob", 1).status, 200);
}

#[test]
fn a_subject_publishes_no_faster_than_its_rate() {
    let folder = Folder::new();
    let node = node(&folder, &["--publish-rate-per-subject", "5"]);
    let publish = |subject: &str| {
        let (name, value) = bearer(&signed(json!({"sub": subject, "fantail": {"publish": ["a"]}})));
        node.ask("POST", "/events/a", &[(name, &value)], "x").head.status
    };
    let statuses: Vec<u16> = (0..50).map(|_| publish("alice")).collect();
    assert!(statuses.contains(&201) && statuses.contains(&429), "{statuses:?}");
    assert_eq!(publish("bob"), 201);
    let (name, value) = bearer(&signed(json!({"sub": "carol", "fantail": {"publish": ["a"]}})));
    let batch = "{\"channel\":\"a\",\"data\":\"x\"}\n".repeat(6);
    node.ask("POST", "/events", &[(name, &value)], &batch).problem(429, "publish_rate");
}

#[test]
fn pages_of_other_sites_cannot_use_a_browsers_cookies() {
    let folder = Folder::new();
    let origins = "https://app.example.org,https://*.example.com";
    let node = node(&folder, &["--token-cookie", "sid", "--cors-origin", origins]);
    let token = signed(json!({"fantail": {"subscribe": ["a"], "publish": ["a"]}}));
    let cookie = format!("sid={token}");
    let ask = |method: &str, more: &[(&str, &str)]| {
        node.ask(method, "/events/a", &[&[("Cookie", cookie.as_str())], more].concat(), "x")
    };
    for evil in [
        &[("Origin", "https://evil.org")][..],
        &[("Origin", "null")],
        &[("Origin", "https://evilexample.com")],
        &[("Origin", "https://a.b.example.com")],
        &[("Origin", "http://a.example.com")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.org")],
    ] {
        let answer = ask("GET", evil);
        answer.problem(403, "cross_site");
        assert_eq!(answer.head.header("access-control-allow-origin"), None, "{evil:?}");
        // A plain publication is refused for its origin alone, before anything else.
        assert_eq!(ask("POST", evil).head.status, 403, "{evil:?}");
    }
    for good in [
        &[][..],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://app.example.org")],
        &[("Origin", "https://a.example.com")],
        &[("Origin", "http://node")],
    ] {
        let head = ask("HEAD", good).head;
        assert_eq!(head.status, 200, "{good:?}");
        let origin = good.iter().find(|(name, value)| *name == "Origin" && *value != "http://node");
        assert_eq!(head.header("access-control-allow-origin"), origin.map(|(_, value)| *value));
        let credentials = head.header("access-control-allow-credentials");
        assert_eq!(credentials, origin.map(|_| "true"), "{good:?}");
        assert_eq!(ask("POST", good).head.status, 201, "{good:?}");
    }
    // A token that no browser adds by itself is not bound to a page.
    let (name, value) = bearer(&subscriber(&["a"]));
    let evil = [(name, value.as_str()), ("Origin", "https://evil.org")];
    let answer = node.ask("HEAD", "/events/a", &evil, "");
    assert_eq!((answer.head.status, answer.head.header("access-control-allow-origin")), (200, None));
}

#[test]
fn a_key_that_names_an_event_is_its_subjects_own() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    let by = |subject: &str| {
        let (name, value) = bearer(&signed(json!({"sub": subject, "fantail": {"publish": ["a"]}})));
        let answer = node.ask("POST", "/events/a", &[(name, &value), ("Idempotency-Key", "k")], "x");
        assert_eq!(answer.head.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let [ann, again, bob] = ["ann", "ann", "bob"].map(by);
    assert!(ann == again && ann != bob, "{ann} {again} {bob}");
}
