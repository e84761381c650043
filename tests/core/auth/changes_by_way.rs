//! Orders that change the channels of open streams, whatever carries the stream, whoever granted it, and wherever Redis keeps it.

use super::changes::{JOINED, gets, has_read, order, publish, told};
use super::revocations::token;
use super::{bearer, node_on};
use crate::support::client::Connection;
use crate::support::jwt::{Folder, flags};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use crate::support::topology::Cluster;
use crate::support::web::Web;

/// A stream by HTTP/2, or by HTTP/1.1.
fn open(node: &Node, http2: bool, target: &str, headers: &[(&str, &str)]) -> Stream {
    let connection = Connection::open(node.listen);
    let connection = if http2 { connection.http2() } else { connection };
    Stream::on(connection, target, headers).begun()
}

#[test]
fn streams_of_http2_change_as_others_do() {
    for keeper in ["hyper", "courier"] {
        let (redis, folder) = (Redis::start(), Folder::new());
        let flags = ["--http2", keeper, "--compress", "on"];
        let nodes = [node_on(&redis, &folder, &flags), node_on(&redis, &folder, &flags)];
        let (name, value) = bearer(&token("alice", "1"));
        let plain = [(name, value.as_str())];
        let packed = [(name, value.as_str()), ("Accept-Encoding", "gzip")];
        let mut streams: Vec<Stream> = [&plain[..], &packed]
            .iter()
            .flat_map(|headers| {
                ["/events/a", "/events?channels=a,b"].map(|target| open(&nodes[0], true, target, headers))
            })
            .collect();
        order(&redis, "join", "c,d");
        for stream in &mut streams {
            let mut joined = [stream.next(), stream.next()].map(|message| message.data);
            joined.sort();
            assert_eq!(joined, [r#"{"channels":["c"]}"#, r#"{"channels":["d"]}"#], "{keeper}");
        }
        publish(&redis, "c", "1");
        streams.iter_mut().for_each(|stream| assert!(gets(stream, "1").contains(",+c="), "{keeper}"));
        order(&redis, "leave", "a,d");
        for stream in streams {
            let mut stream = stream;
            let message = stream.next();
            assert_eq!((message.event.as_str(), message.data.as_str()), ("fantail.left", r#"{"channels":["a","d"]}"#));
            drop(stream);
            // It goes on by the other version at the other node.
            let headers = [plain[0], ("Last-Event-ID", message.id.as_str())];
            let target = if message.id.contains("b=") { "/events?channels=a,b" } else { "/events/a" };
            let [mut one, mut two] = [false, true].map(|http2| open(&nodes[1], http2, target, &headers));
            publish(&redis, "a", "no");
            publish(&redis, "d", "no");
            publish(&redis, "c", "2");
            for again in [&mut one, &mut two] {
                // Those that another of these streams has caused come as well.
                assert!(gets(again, "2").contains(",-a,~control="), "{keeper}");
            }
        }
    }
}

#[test]
fn streams_that_the_application_granted_join_what_its_answer_covers() {
    let (redis, web) = (Redis::start(), Web::start());
    let flags = ["--auth", "forward", "--forward-url", &web.url("/may"), "--forward-cache", "0s"];
    let nodes = [Node::on(&redis, &flags), Node::on(&redis, &flags)];
    let refused = |node: &Node, count: f64| {
        node.metric_becomes("fantail_set_changes_total{outcome=\"forbidden\"}", count);
    };
    web.answers(200, "application/json", r#"{"subject":"alice","token":"t","channels":["a","room.*"]}"#);
    let mut stream = open(&nodes[0], false, "/events/a", &[("Cookie", "sid=1")]);
    order(&redis, "join", "secret,room.1");
    told(&mut stream, "fantail.joined", &["room.1"]);
    refused(&nodes[0], 1.0);
    redis.command(&["XADD", "sse:~control", "*", "join", "room.2", "token", "t"]);
    told(&mut stream, "fantail.joined", &["room.2"]);
    publish(&redis, "secret", "0");
    publish(&redis, "room.1", "1");
    let id = gets(&mut stream, "1");
    order(&redis, "leave", "room.2");
    told(&mut stream, "fantail.left", &["room.2"]);
    drop(stream);
    // It is asked for the channels of the URL, and what it answers then is what counts: the second room has gone from it.
    web.answers(200, "application/json", r#"{"subject":"alice","channels":["a","room.1"]}"#);
    let headers = [("Cookie", "sid=1"), ("Last-Event-ID", id.as_str())];
    let mut again = open(&nodes[1], true, "/events/a", &headers);
    assert_eq!(web.last().header("x-fantail-channels"), Some("a"));
    refused(&nodes[1], 1.0);
    publish(&redis, "room.2", "0");
    publish(&redis, "room.1", "2");
    assert_eq!(again.before("2").iter().filter(|message| !message.event.starts_with("fantail.")).count(), 0);
    // An answer that names none covers what it was asked for, and nothing else.
    web.answers(200, "application/json", r#"{"subject":"alice"}"#);
    let mut bare = open(&nodes[1], false, "/events?channels=a,b", &[("Cookie", "sid=2")]);
    order(&redis, "leave", "b");
    told(&mut bare, "fantail.left", &["b"]);
    order(&redis, "join", "b,room.1");
    told(&mut bare, "fantail.joined", &["b"]);
    // Of the stream before, whose answer covers no `b`, and of this one.
    refused(&nodes[1], 3.0);
    // Whose answer names nobody is concerned by nothing.
    web.answers(200, "application/json", r#"{"channels":["**"]}"#);
    let mut nobody = open(&nodes[1], false, "/events/n", &[("Cookie", "sid=3")]);
    order(&redis, "join", "room.1,n");
    publish(&redis, "b", "3");
    gets(&mut bare, "3");
    publish(&redis, "room.1", "4");
    publish(&redis, "n", "5");
    assert!(!gets(&mut nobody, "5").contains('~'));
}

#[test]
fn a_clusters_servers_have_orders_and_channels_each_for_itself() {
    let (cluster, folder) = (Cluster::start(), Folder::new());
    let (url, flags) = (cluster.url(), flags(&folder));
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--redis", &url]).collect();
    let nodes = [Node::start(&flags), Node::start(&flags)];
    // Else streams begin with what is there, and are told of the rest.
    nodes.iter().for_each(|node| {
        eventually("each shard", || {
            let shards = node.status()["backplane"]["shards"].clone();
            shards.as_array().is_some_and(|all| all.len() == 3 && all.iter().all(|shard| shard["up"] == true))
        });
    });
    let at = |channel: &str| cluster.of(&format!("sse:{channel}"));
    // One channel of each server beside the one that the URL names.
    let named: Vec<String> = (0..3)
        .map(|server| {
            let mut names = (0..).map(|number| format!("c{number}"));
            names.find(|name| cluster.owner(&format!("sse:{name}")) == server).expect("one of so many")
        })
        .collect();
    let [one, two, three] = [&named[0], &named[1], &named[2]];
    let (name, value) = bearer(&token("alice", "1"));
    let headers = [(name, value.as_str())];
    let mut streams: Vec<Stream> = nodes.iter().map(|node| open(node, false, "/events/a", &headers)).collect();
    order(at("~control"), "join", &named.join(","));
    for stream in &mut streams {
        let mut joined: Vec<String> = (0..3).map(|_| stream.next().data).collect();
        joined.sort();
        let mut expected: Vec<String> = named.iter().map(|name| format!(r#"{{"channels":["{name}"]}}"#)).collect();
        expected.sort();
        assert_eq!(joined, expected);
    }
    nodes.iter().for_each(|node| node.metric_becomes(JOINED, 3.0));
    for (number, name) in named.iter().enumerate() {
        publish(at(name), name, &number.to_string());
        streams.iter_mut().for_each(|stream| drop(gets(stream, &number.to_string())));
    }
    order(at("~control"), "leave", &format!("a,{two}"));
    let id = streams.iter_mut().map(|stream| told(stream, "fantail.left", &["a", two])).last().expect("an id");
    drop(streams);
    // Ordered and published while nobody listens, at different servers.
    publish(at(one), one, "while away");
    order(at("~control"), "join", "b");
    nodes.iter().for_each(|node| has_read(node, "join", 2));
    publish(at("b"), "b", "since the order");
    let headers = [headers[0], ("Last-Event-ID", id.as_str())];
    let mut again = open(&nodes[1], true, "/events/a", &headers);
    told(&mut again, "fantail.joined", &["b"]);
    let mut data = [again.next().data, again.next().data];
    data.sort();
    assert_eq!(data, ["since the order", "while away"]);
    publish(at(two), two, "no");
    publish(at(three), three, "last");
    gets(&mut again, "last");
}
