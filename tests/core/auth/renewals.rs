//! A session that is renewed keeps the open streams of its subject going, on whatever node they are.

use super::changes::told;
use super::revocations::control;
use super::{bearer, node_on};
use crate::support::jwt::{Folder, now, signed};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::{End, Stream};
use serde_json::json;

/// Seconds to a token's end: long enough for what comes before it, on a machine that is busy.
const SOON: u64 = 12;
const EXTENDED: &str = "fantail_connections_extended_total";

/// A token of a subject with this id and end, for these channels.
fn token(subject: &str, id: &str, exp: u64, subscribe: &[&str]) -> String {
    signed(json!({"sub": subject, "jti": id, "exp": exp, "fantail": {"subscribe": subscribe}}))
}

/// Makes a cookie of a token; what a browser would send of it.
fn renew(node: &Node, token: &str) -> String {
    let (name, value) = bearer(token);
    let answer = node.ask("POST", "/session", &[(name, &value)], "");
    assert_eq!(answer.head.status, 204, "{}", answer.text());
    answer.head.header("set-cookie").expect("a cookie").split(';').next().expect("a pair").to_owned()
}

fn open(node: &Node, target: &str, cookie: &str) -> Stream {
    Stream::open(node.listen, target, &[("Cookie", cookie)]).begun()
}

/// Two nodes with sessions.
fn nodes(redis: &Redis, folder: &Folder) -> [Node; 2] {
    let flags = ["--token-cookie", "sid", "--token-expiring", "2s"];
    [node_on(redis, folder, &flags), node_on(redis, folder, &flags)]
}

fn types(stream: &mut Stream) -> (End, Vec<String>) {
    let (end, messages) = stream.finish();
    (end, messages.into_iter().map(|message| message.event).collect())
}

#[test]
fn one_stream_outlives_three_tokens() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let [here, there] = nodes(&redis, &folder);
    let begun = now();
    let ends = [begun + SOON, begun + 2 * SOON, begun + 3 * SOON];
    let mut streams = {
        let cookie = renew(&there, &token("ann", "1", ends[0], &["user.{sub}.**", "news"]));
        [open(&there, "/events/news", &cookie), open(&there, "/events?channels=news,user.ann.in&events=e", &cookie)]
    };
    for (number, end) in ends[1..].iter().enumerate() {
        renew(&here, &token("ann", &format!("{}", number + 2), *end, &["user.{sub}.**", "news", "more"]));
        there.metric_becomes(EXTENDED, 2.0 * (number + 1) as f64);
        // The token that had opened or extended them is over.
        eventually("its end", || now() > ends[number]);
        redis.command(&["XADD", "sse:news", "*", "event", "e", "data", &number.to_string()]);
        for stream in &mut streams {
            let told = stream.before(&number.to_string());
            assert!(told.iter().all(|message| message.event == "fantail.expiring"), "{told:?}");
        }
    }
    for stream in &mut streams {
        let (end, types) = types(stream);
        assert_eq!((end, types.last().map(String::as_str)), (End::Incomplete, Some("fantail.expired")));
        assert!(now() >= ends[2]);
    }
    assert_eq!(there.metric("fantail_connections_opened_total"), 2.0);
    assert_eq!(here.metric(EXTENDED), 0.0);
}

#[test]
fn a_token_that_grants_less_or_another_subject_extends_nothing() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let [here, there] = nodes(&redis, &folder);
    let end = now() + SOON;
    let cookie = renew(&there, &token("ann", "1", end, &["a", "b"]));
    let mut both = open(&there, "/events?channels=a,b", &cookie);
    let mut one = open(&there, "/events/a", &cookie);
    let mut others = open(&there, "/events/a", &renew(&there, &token("bob", "2", end, &["a"])));
    renew(&here, &token("ann", "3", end + 600, &["a"]));
    there.metric_becomes(EXTENDED, 1.0);
    for stream in [&mut both, &mut others] {
        let (_, types) = types(stream);
        assert_eq!(types, ["fantail.expiring", "fantail.expired"]);
        assert!(now() >= end);
    }
    redis.command(&["XADD", "sse:a", "*", "data", "5"]);
    assert!(one.before("5").iter().all(|message| message.event == "fantail.expiring"));
    // One that ends sooner takes nothing away.
    renew(&here, &token("ann", "4", now() + 60, &["a"]));
    redis.command(&["XADD", "sse:a", "*", "data", "6"]);
    assert_eq!(one.numbers(1), [6]);
    assert_eq!(there.metric(EXTENDED), 1.0);
}

#[test]
fn a_token_with_other_conditions_extends_nothing() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let [here, there] = nodes(&redis, &folder);
    let end = now() + SOON;
    let under = |team: &str, exp: u64| {
        signed(json!({"sub": "ann", "exp": exp, "fantail": {"subscribe": ["a"], "where": format!("team={team}")}}))
    };
    let mut other = open(&there, "/events/a", &renew(&there, &under("blue", end)));
    let mut same = open(&there, "/events/a", &renew(&there, &under("red", end)));
    renew(&here, &under("red", end + 600));
    there.metric_becomes(EXTENDED, 1.0);
    assert_eq!(types(&mut other).1, ["fantail.expiring", "fantail.expired"]);
    redis.command(&["XADD", "sse:a", "*", "team", "red", "data", "7"]);
    assert!(same.before("7").iter().all(|message| message.event == "fantail.expiring"));
}

#[test]
fn revoking_either_token_ends_the_stream() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let [here, there] = nodes(&redis, &folder);
    let revoke = |id: &str| redis.command(&["XADD", "sse:~control", "*", "disconnect", "token", "name", id]);
    for (round, revoked) in ["first", "second"].into_iter().enumerate() {
        let id = |which: &str| format!("{which}{round}");
        let cookie = renew(&there, &token("ann", &id("first"), now() + 300, &["a"]));
        let mut stream = open(&there, "/events/a", &cookie);
        let extended = there.metric(EXTENDED);
        renew(&here, &token("ann", &id("second"), now() + 600, &["a"]));
        there.metric_becomes(EXTENDED, extended + 1.0);
        revoke(&id("unknown"));
        revoke(&id(revoked));
        assert_eq!(types(&mut stream), (End::Incomplete, vec!["fantail.revoked".to_owned()]));
    }
}

#[test]
fn what_a_renewal_grants_may_be_joined_and_its_token_names_the_stream() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let [here, there] = nodes(&redis, &folder);
    let mut stream = open(&there, "/events/a", &renew(&there, &token("ann", "1", now() + 300, &["a", "b"])));
    renew(&here, &token("ann", "2", now() + 600, &["a", "c"]));
    there.metric_becomes(EXTENDED, 1.0);
    control(&redis, &["join", "b,c", "subject", "ann"]);
    told(&mut stream, "fantail.joined", &["c"]);
    there.metric_becomes("fantail_set_changes_total{outcome=\"forbidden\"}", 1.0);
    for (id, what) in [("2", "leave"), ("1", "join")] {
        control(&redis, &[what, "c", "token", id]);
        told(&mut stream, if what == "leave" { "fantail.left" } else { "fantail.joined" }, &["c"]);
    }
}

#[test]
fn a_renewal_by_a_token_that_was_revoked_meanwhile_extends_nothing() {
    let (redis, folder) = (Redis::start(), Folder::new());
    let [_, there] = nodes(&redis, &folder);
    let end = now() + SOON;
    let mut ann = open(&there, "/events/a", &renew(&there, &token("ann", "1", end, &["a"])));
    let mut bob = open(&there, "/events/a", &renew(&there, &token("bob", "2", end, &["a"])));
    control(&redis, &["disconnect", "token", "name", "3"]);
    there.metric_becomes("fantail_auth_barred", 1.0);
    // As a node writes them that does not know it yet.
    let until = ((now() + 600) * 1_000).to_string();
    for (subject, id) in [("ann", "3"), ("bob", "4")] {
        let fields = ["extend", "subject", "name", subject, "until_ms", &until, "subscribe", "a", "token", id];
        redis.command(&[&["XADD", "sse:~sessions", "*"][..], &fields].concat());
    }
    there.metric_becomes(EXTENDED, 1.0);
    assert_eq!(types(&mut ann).1, ["fantail.expiring", "fantail.expired"]);
    redis.command(&["XADD", "sse:a", "*", "data", "1"]);
    assert!(bob.before("1").iter().all(|message| message.event == "fantail.expiring"));
}

#[test]
fn a_renewal_reaches_streams_of_the_same_node_in_memory_too() {
    let folder = Folder::new();
    let node = super::node(&folder, &["--token-cookie", "sid"]);
    let end = now() + SOON;
    let mut stream = open(&node, "/events/a", &renew(&node, &token("ann", "1", end, &["a"])));
    renew(&node, &token("ann", "2", end + 300, &["a"]));
    node.metric_becomes(EXTENDED, 1.0);
    eventually("its end", || now() > end);
    let (name, value) = bearer(&signed(json!({"fantail": {"publish": ["a"]}})));
    assert_eq!(node.ask("POST", "/events/a", &[(name, &value)], "1").head.status, 201);
    assert!(stream.before("1").iter().all(|message| message.event == "fantail.expiring"));
}
