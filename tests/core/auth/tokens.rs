//! Tokens as clients use them: what they open, how they travel, and how they end.

use super::{bearer, node, node_on};
use crate::support::collector::{Collector, Speaks};
use crate::support::jwt::{Folder, now, signed, subscriber};
use crate::support::node::Node;
use crate::support::program;
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use serde_json::json;

#[test]
fn a_token_opens_what_its_patterns_cover() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    let claims = json!({"sub": "alice", "fantail": {"subscribe": ["user.{sub}.**", "news"], "publish": ["news"]}});
    let token = bearer(&signed(claims));
    let auth = [(token.0, token.1.as_str())];
    let mut stream = Stream::open(node.listen, "/events?channels=news,user.alice.inbox", &auth);
    assert_eq!(node.ask("POST", "/events/news", &auth, "1").head.status, 201);
    assert_eq!(stream.numbers(1), [1]);
    assert_eq!(node.ask("HEAD", "/events/news", &auth, "").head.status, 200);
    for target in ["/events/user.bob.inbox", "/events/user.alice", "/events?channels=news,other"] {
        node.ask("GET", target, &auth, "").problem(403, "forbidden");
    }
    node.ask("POST", "/events/user.alice.inbox", &auth, "1").problem(403, "forbidden");
    let batch = "{\"channel\":\"news\",\"data\":\"2\"}\n{\"channel\":\"other\",\"data\":\"2\"}\n";
    assert!(node.ask("POST", "/events", &auth, batch).problem(403, "forbidden").contains("other"));
    assert_eq!(node.ask("POST", "/events", &auth, "{\"channel\":\"news\",\"data\":\"3\"}\n").head.status, 200);
    assert_eq!(stream.numbers(1), [3], "of the refused batch nothing was published");
    node.metric_becomes("fantail_auth_total{outcome=\"forbidden\"}", 5.0);
}

#[test]
fn past_events_are_for_whoever_may_subscribe() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    let token = |rights: serde_json::Value| bearer(&signed(json!({"sub": "alice", "fantail": rights}))).1;
    let reader = token(json!({"subscribe": ["user.{sub}.**"], "publish": ["user.{sub}.**"]}));
    let writer = token(json!({"publish": ["**"]}));
    let ask = |method, target, token: &str| node.ask(method, target, &[("Authorization", token)], "1");
    assert_eq!(ask("POST", "/events/user.alice.inbox", &reader).head.status, 201);
    let page = ask("GET", "/history/user.alice.inbox", &reader);
    assert_eq!((page.head.status, &page.json()["events"][0]["data"]), (200, &"1".into()));
    ask("GET", "/history/user.bob.inbox", &reader).problem(403, "forbidden");
    ask("GET", "/history/user.alice.inbox", &writer).problem(403, "forbidden");
    assert_eq!(ask("HEAD", "/history/user.bob.inbox", &reader).head.status, 403);
    ask("GET", "/history/user.alice.inbox", "Bearer x.y.z").problem(401, "bad_token");
    node.get("/history/user.alice.inbox").problem(401, "unauthorized");
}

#[test]
fn claims_may_have_other_names() {
    let folder = Folder::new();
    let names = [
        "--claim-subject=user.id",
        "--claim-subscribe=https://example.org/read",
        "--claim-publish=rights.write",
        "--claim-limits=plan",
    ];
    let node = node(&folder, &names);
    let claims = json!({
        "sub": "mallory", "user": {"id": "alice"}, "rights": {"write": ["b"]}, "plan": {"channels": 2},
        "https://example.org/read": ["user.{sub}.*", "a"], "fantail": {"subscribe": ["**"], "publish": ["**"]},
    });
    let (name, value) = bearer(&signed(claims));
    let auth = [(name, value.as_str())];
    drop(Stream::open(node.listen, "/events?channels=a,user.alice.1", &auth));
    for other in ["/events/b", "/events/user.mallory.1"] {
        node.ask("GET", other, &auth, "").problem(403, "forbidden");
    }
    node.ask("GET", "/events?channels=a,user.alice.1,user.alice.2", &auth, "").problem(400, "too_many_channels");
    assert_eq!(node.ask("POST", "/events/b", &auth, "1").head.status, 201);
    node.ask("POST", "/events/a", &auth, "1").problem(403, "forbidden");
}

#[test]
fn a_token_comes_in_a_header_a_cookie_or_the_query() {
    let folder = Folder::new();
    let node = node(&folder, &["--token-cookie", "sid"]);
    let token = subscriber(&["a"]);
    let (header, cookie) = (format!("bearer {token}"), format!("x=1; sid={token}; y=2"));
    drop(Stream::open(node.listen, "/events/a", &[("Authorization", &header)]));
    drop(Stream::open(node.listen, "/events/a", &[("Cookie", &cookie)]));
    drop(Stream::open(node.listen, &format!("/events/a?token={token}"), &[]));
    node.get("/events/a").problem(401, "unauthorized");
    let folder = Folder::new();
    let node = super::node(&folder, &["--token-query", "off"]);
    node.get(&format!("/events/a?token={token}")).problem(401, "unauthorized");
    node.ask("GET", "/events/a", &[("Cookie", &cookie)], "").problem(401, "unauthorized");
}

#[test]
fn public_channels_need_no_token_and_a_bad_one_is_not_taken_for_none() {
    let folder = Folder::new();
    let node = node(&folder, &["--public", "news.*,status"]);
    drop(node.subscribe("/events?channels=news.eu,status"));
    node.get("/events?channels=status,private").problem(401, "unauthorized");
    let token = subscriber(&["private"]);
    drop(node.subscribe(&format!("/events?channels=status,private&token={token}")));
    node.get(&format!("/events/status?token={token}x")).problem(401, "bad_token");
    node.ask("POST", "/events/status", &[], "1").problem(401, "unauthorized");
}

#[test]
fn a_stream_ends_with_its_token_is_told_before_and_a_fresh_one_goes_on() {
    let redis = Redis::start();
    let folder = Folder::new();
    let node = node_on(&redis, &folder, &["--token-expiring", "2s", "--publish", "on"]);
    let token = |exp: u64| signed(json!({"exp": exp, "fantail": {"subscribe": ["a", "b"], "publish": ["a"]}}));
    let exp = now() + 15;
    let first = token(exp);
    let mut streams = [
        node.subscribe(&format!("/events/a?token={first}")),
        node.subscribe(&format!("/events?channels=a,b&token={first}")),
    ];
    let unlimited = token(exp + 600);
    let publish = |n: u32| {
        let (name, value) = bearer(&unlimited);
        assert_eq!(node.ask("POST", "/events/a", &[(name, &value)], &n.to_string()).head.status, 201);
    };
    publish(1);
    for stream in &mut streams {
        assert_eq!(stream.numbers(1), [1]);
        let warning = stream.next();
        assert_eq!(warning.event, "fantail.expiring");
        let data: serde_json::Value = serde_json::from_str(&warning.data).expect("JSON");
        assert_eq!(data["expires_at_ms"], exp * 1000);
        assert!(data["left_ms"].as_u64().is_some_and(|left| left <= 2_100), "{data}");
        let (end, messages) = stream.finish();
        assert!(now() >= exp, "not before its time");
        let events: Vec<&str> = messages.iter().map(|message| message.event.as_str()).collect();
        assert_eq!((end, &events[..]), (End::Incomplete, &["fantail.expired"][..]));
        assert!(String::from_utf8_lossy(&stream.raw).matches("retry: ").count() == 2, "it is told when to come back");
    }
    node.metric_becomes("fantail_connections_closed_total{reason=\"expired\"}", 2.0);
    publish(2);
    for (stream, target) in streams.iter().zip(["/events/a?", "/events?channels=a,b&"]) {
        let id = stream.last_event_id();
        let mut again = node.resume(&format!("{target}token={unlimited}"), &id);
        assert_eq!(again.numbers(1), [2], "nothing lost, nothing twice");
    }
}

#[test]
fn half_of_a_short_token_passes_before_its_end_is_told() {
    let folder = Folder::new();
    let node = node(&folder, &["--token-expiring", "30s"]);
    for target in ["/events/a?", "/events?channels=a,b&"] {
        let token = signed(json!({"exp": now() + 8, "fantail": {"subscribe": ["a", "b"]}}));
        let warning = node.subscribe(&format!("{target}token={token}")).next();
        assert_eq!(warning.event, "fantail.expiring");
        let data: serde_json::Value = serde_json::from_str(&warning.data).expect("JSON");
        assert!(data["left_ms"].as_u64().is_some_and(|left| left <= 4_100), "{data}");
    }
}

#[test]
fn a_token_bounds_channels_and_connections() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    let limits = json!({"channels": 2, "connections": 1});
    let token = signed(json!({"sub": "alice", "fantail": {"subscribe": ["**"], "limits": limits}}));
    node.get(&format!("/events?channels=a,b,c&token={token}")).problem(400, "too_many_channels");
    let stream = node.subscribe(&format!("/events?channels=a,b&token={token}"));
    node.get(&format!("/events/a?token={token}")).problem(429, "too_many_connections");
    node.metric_becomes("fantail_connections", 1.0);
    drop(stream);
    node.metric_becomes("fantail_connections", 0.0);
    drop(node.subscribe(&format!("/events/a?token={token}")));
}

#[test]
fn no_token_is_ever_logged() {
    let folder = Folder::new();
    let node = node(&folder, &["--log", "trace", "--token-cookie", "sid"]);
    let good = subscriber(&["a"]);
    let bad = format!("{}x", subscriber(&["b"]));
    let mut answers = String::new();
    for token in [&good, &bad] {
        let (name, value) = bearer(token);
        let cookie = format!("sid={token}");
        for (target, header) in [
            (format!("/events/zzz?token={token}"), None),
            (format!("/events/a%20?t%6Fken={token}"), None),
            (format!("/nowhere?token={token}"), None),
            (format!("/events/a?tail=x&token={token}"), None),
            (format!("/events/a?token={token}&token={token}"), None),
            ("/events/zzz".to_owned(), Some((name, value.as_str()))),
            ("/events/zzz".to_owned(), Some(("Cookie", cookie.as_str()))),
        ] {
            let headers: Vec<(&str, &str)> = header.into_iter().collect();
            for method in ["GET", "POST", "OPTIONS", "DELETE"] {
                let answer = node.ask(method, &target, &headers, "x");
                answers.push_str(&format!("{:?} {}", answer.head, answer.text()));
            }
        }
    }
    let stream = node.subscribe(&format!("/events/a?token={good}"));
    node.metric_becomes("fantail_connections", 1.0);
    drop(stream);
    node.metric_becomes("fantail_connections", 0.0);
    node.logs(&["refused"]);
    let log = node.log();
    for token in [&good, &bad] {
        for part in token.split('.').skip(1) {
            assert!(!log.contains(part), "a part of a token is in the log");
            assert!(!answers.contains(part), "a part of a token is in an answer");
        }
    }
}

#[test]
fn no_token_is_ever_in_a_trace() {
    let (folder, collector) = (Folder::new(), Collector::start(Speaks::Http));
    let own = ["--token-cookie", "sid", "--otlp-endpoint", &collector.url(), "--otlp-protocol", "http"];
    let flags = crate::support::jwt::flags(&folder);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(own).collect();
    let node = Node::with(&flags, &[("OTEL_BSP_SCHEDULE_DELAY", "50")]);
    let token = signed(json!({"sub": "alice", "fantail": {"subscribe": ["a"], "publish": ["a"]}}));
    let sampled = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let cookie = format!("sid={token}");
    drop(Stream::open(node.listen, &format!("/events/a?token={token}"), &[sampled]));
    drop(Stream::open(node.listen, "/events/a", &[sampled, ("Cookie", &cookie)]));
    for target in [format!("/events/b?token={token}"), format!("/events/a?token={token}x")] {
        assert!(matches!(node.ask("GET", &target, &[sampled], "").head.status, 401 | 403));
    }
    assert_eq!(node.ask("POST", &format!("/events/a?token={token}"), &[sampled], "1").head.status, 201);
    collector.span("publish, which came last", |span| span.name == "publish");
    let spans = format!("{:?}", collector.spans());
    assert!(spans.contains("subscribe"), "{spans}");
    for part in token.split('.').skip(1) {
        assert!(!spans.contains(part), "a part of a token is in a span: {spans}");
    }
}

#[test]
fn the_command_line_shows_a_token_from_a_file() {
    let folder = Folder::new();
    let node = node(&folder, &[]);
    let claims = json!({"fantail": {"subscribe": ["a"], "publish": ["a"]}});
    let file = folder.write("token", format!("{}\n", signed(claims)));
    let url = format!("http://{}", node.listen);
    let run = |arguments: &[&str]| {
        let mut command = program::fantail();
        command.args(arguments).args(["--url", &url]).output().expect("the binary")
    };
    assert!(run(&["publish", "a", "1", "--final", "--token-file", &file]).status.success());
    let output = run(&["tail", "a", "--since", "earliest", "--token-file", &file]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains('1'), "{output:?}");
    let refused = run(&["publish", "a", "1"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("401 unauthorized"), "{refused:?}");
    let missing = run(&["publish", "a", "1", "--token-file", "/nonexistent/token"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("--token-file /nonexistent/token"), "{missing:?}");
}
