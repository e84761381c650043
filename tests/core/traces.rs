//! Traces, as a collector sees them: a real OTLP receiver, real nodes, a real Redis.

use crate::support::collector::{Collector, Seen, Speaks};
use crate::support::node::{Node, eventually};
use crate::support::redis::Redis;
use crate::support::stream::Stream;
use rustix::process::Signal;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// A caller's `traceparent` in a trace.
fn traceparent(trace: &str, sampled: bool) -> String {
    format!("00-{trace}-{CALLER}-0{}", u8::from(sampled))
}

/// Spans are sent at once, not every five seconds.
const SOON: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "50");

fn node(redis: &Redis, collector: &Collector, speaks: Speaks, flags: &[&str]) -> Node {
    let protocol = if speaks == Speaks::Grpc { "grpc" } else { "http" };
    let own = ["--redis", &redis.url(), "--publish", "on", "--otlp-endpoint", &collector.url()];
    Node::with(&[&own[..], &["--otlp-protocol", protocol], flags].concat(), &[SOON])
}

fn publish(node: &Node, channel: &str, traceparent: &str) -> String {
    let answer = node.ask("POST", &format!("/events/{channel}"), &[("traceparent", traceparent)], "1");
    assert_eq!(answer.head.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// One event from its producer to those who wait for it and to one who comes later, on another node.
fn one_trace_from_producer_to_subscribers(speaks: Speaks) {
    let (redis, collector) = (Redis::start(), Collector::start(speaks));
    let (first, second) = (node(&redis, &collector, speaks, &[]), node(&redis, &collector, speaks, &[]));
    let mut live = [(); 3].map(|()| first.subscribe("/events/orders").begun());
    // Who has its head may be on its way to the courier still, and would then catch up, outside of the trace.
    first.metric_becomes("fantail_connections", 3.0);
    let id = publish(&first, "orders", &traceparent(TRACE, true));
    live.iter_mut().for_each(|stream| drop(stream.next()));

    let headers = [("traceparent", &*traceparent(TRACE, true)), ("Last-Event-ID", "foreign")];
    let mut late = Stream::open(second.listen, "/events/orders?since=earliest", &headers[..1]);
    assert_eq!(late.next().data, "1");
    let mut lost = Stream::open(second.listen, "/events/orders", &headers);
    assert_eq!(lost.gap()["reason"], "reset");

    let of_trace = |name: &'static str| move |span: &Seen| span.name == name && span.trace == TRACE;
    let published = collector.span("publish", of_trace("publish"));
    assert_eq!((&*published.parent, &*published.attributes["messaging.message.id"]), (CALLER, &*id));
    assert_eq!(published.attributes["messaging.destination.name"], "orders");
    assert!(!published.failed && published.resource["service.name"] == "fantail", "{published:?}");

    let fields = redis.command(&["XRANGE", "sse:orders", "-", "+"]);
    let field = format!("00-{TRACE}-{}-01", published.id);
    assert!(format!("{fields:?}").contains(&field), "{fields:?} carries {field}");

    let delivered = collector.span("deliver", of_trace("deliver"));
    assert_eq!((&delivered.parent, &*delivered.attributes["messaging.message.id"]), (&published.id, &*id));
    assert_eq!(delivered.attributes["fantail.subscribers"], "3");
    let lag = |which: &str| delivered.attributes[which].parse::<f64>().expect("seconds");
    assert!(lag("fantail.lag.first") <= lag("fantail.lag.last") && lag("fantail.lag.last") < 60.0, "{delivered:?}");
    assert!(delivered.start <= delivered.end, "{delivered:?}");

    let subscribed =
        collector.span("subscribe", |span| of_trace("subscribe")(span) && span.attributes["fantail.resume"] == "new");
    assert_eq!((&*subscribed.parent, &*subscribed.attributes["messaging.destination.name"]), (CALLER, "orders"));
    let replayed = collector.span("replay", |span| of_trace("replay")(span) && !span.links.is_empty());
    assert_eq!(replayed.parent, subscribed.id);
    assert_eq!((replayed.links, &*replayed.attributes["messaging.batch.message_count"]), (vec![published.id], "1"));
    let lossy = |span: &Seen| of_trace("subscribe")(span) && span.attributes["fantail.resume"] == "reset";
    assert_eq!(collector.span("subscribe with a gap", lossy).attributes["fantail.gaps"], "1");
    second.logs(&["gap announced", &format!("trace_id={TRACE}")]);
}

#[test]
fn over_grpc_one_trace_leads_from_the_producer_to_subscribers() {
    one_trace_from_producer_to_subscribers(Speaks::Grpc);
}

#[test]
fn over_http_one_trace_leads_from_the_producer_to_subscribers() {
    one_trace_from_producer_to_subscribers(Speaks::Http);
}

#[test]
fn the_standard_variables_count() {
    let collector = Collector::start(Speaks::Http);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue"),
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=one"),
        SOON,
    ];
    let node = Node::with(&["--log-format", "json"], &variables);
    publish(&node, "a", &traceparent(TRACE, true));
    let span = collector.span("publish", |span| span.name == "publish");
    let of = |name: &str| span.resource[name].clone();
    assert_eq!([of("service.name"), of("service.instance.id")], ["edge", "one"]);
    assert_eq!(of("deployment.environment.name"), "test");
    assert!(collector.headers().contains(&("x-tenant".into(), "blue".into())));

    Stream::open(node.listen, "/events/a", &[("traceparent", &traceparent(TRACE, true)), ("Last-Event-ID", "x")]);
    node.logs(&["gap announced", &format!("\"trace_id\":\"{TRACE}\"")]);
    let log = node.log();
    let line = log.lines().find(|line| line.contains("gap announced")).expect("just seen");
    assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
}

#[test]
fn off_is_off() {
    let collector = Collector::start(Speaks::Http);
    let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url());
    let unsampled = traceparent(TRACE, false);
    for (flags, variables, header) in [
        (&[][..], &[][..], &*traceparent(TRACE, true)),
        (&[], &[on, ("OTEL_SDK_DISABLED", "true")], &traceparent(TRACE, true)),
        (&[], &[on, SOON], &unsampled),
        (&["--trace-ratio", "0"], &[on, SOON], ""),
    ] {
        let mut node = Node::with(flags, variables);
        let mut stream = Stream::open(node.listen, "/events/a", &[("traceparent", header)]).begun();
        publish(&node, "a", header);
        stream.next();
        drop(stream);
        let spans = |outcome: &str| node.metric(&format!("fantail_trace_spans_total{{outcome=\"{outcome}\"}}"));
        assert_eq!(["exported", "dropped", "failed"].map(spans), [0.0; 3], "{flags:?} {variables:?}");
        node.signal(Signal::TERM);
        assert_eq!(node.wait(), Some(0));
        let unwanted = collector.spans();
        assert!(unwanted.is_empty(), "{flags:?} {variables:?}: {unwanted:?}");
    }
}

#[test]
fn what_a_producer_wrote_for_the_event_stays_and_a_request_of_no_trace_begins_one() {
    let (redis, collector) = (Redis::start(), Collector::start(Speaks::Grpc));
    let node = node(&redis, &collector, Speaks::Grpc, &[]);
    let own = traceparent(&TRACE.replace('0', "1"), true);
    let line = |data: &str, more: &str| format!("{{\"channel\":\"a\",\"data\":{data}{more}}}\n");
    let body = line("1", &format!(",\"traceparent\":\"{own}\"")) + &line("2", "");
    let answer = node.ask("POST", "/events", &[], &body);
    assert_eq!(answer.head.status, 200, "{}", answer.text());
    let batch = collector.span("publish", |span| span.name == "publish");
    assert_eq!((&*batch.parent, &*batch.attributes["messaging.batch.message_count"]), ("", "2"));
    let fields = format!("{:?}", redis.command(&["XRANGE", "sse:a", "-", "+"]));
    let begun = format!("00-{}-{}-01", batch.trace, batch.id);
    assert!(fields.contains(&own) && fields.matches(&begun).count() == 1, "{fields}");

    let refused = node.ask("POST", "/events/~a", &[], "x");
    assert_eq!(refused.head.status, 403);
    let refused = collector.span("a refusal", |span| span.failed);
    assert_eq!(refused.attributes["error.type"], "reserved_channel");
}

#[test]
fn a_collector_that_is_down_costs_the_spans_alone() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for protocol in ["grpc", "http"] {
        let flags = ["--otlp-endpoint", &format!("http://{free}"), "--otlp-protocol", protocol];
        let mut node = Node::with(&flags, &[SOON]);
        let mut stream = node.subscribe("/events/a").begun();
        publish(&node, "a", &traceparent(TRACE, true));
        assert_eq!(stream.next().data, "1");
        drop(stream);
        eventually("failed spans", || node.metric("fantail_trace_spans_total{outcome=\"failed\"}") > 0.0);
        node.logs(&["spans are lost", &free.to_string()]);
        node.signal(Signal::TERM);
        assert_eq!(node.wait(), Some(0), "{protocol}");
    }
}

#[test]
fn a_collector_that_hangs_makes_nobody_wait() {
    // Connections are made by the kernel, and nobody ever reads from them.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", deaf.local_addr().expect("an address"));
    let mut node = Node::with(&["--otlp-endpoint", &url], &[SOON, ("OTEL_BSP_MAX_QUEUE_SIZE", "4")]);
    let mut stream = node.subscribe("/events/a").begun();
    for _ in 0..50 {
        publish(&node, "a", &traceparent(TRACE, true));
        assert_eq!(stream.next().data, "1");
    }
    eventually("dropped spans", || node.metric("fantail_trace_spans_total{outcome=\"dropped\"}") > 0.0);
    drop(stream);
    let told = Instant::now();
    node.signal(Signal::TERM);
    assert_eq!(node.wait(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(12), "the end waits for a collector no longer than three seconds");
    node.logs(&["the collector did not take the last spans in time"]);
}

#[test]
fn the_last_spans_are_sent_when_a_node_ends() {
    let collector = Collector::start(Speaks::Http);
    // An hour between batches: what comes comes at the end.
    let variables = [("OTEL_BSP_SCHEDULE_DELAY", "1000000")];
    let mut node = Node::with(&["--otlp-endpoint", &collector.url()], &variables);
    let mut stream = node.subscribe("/events/a").begun();
    publish(&node, "a", &traceparent(TRACE, true));
    stream.next();
    drop(stream);
    node.signal(Signal::TERM);
    assert_eq!(node.wait(), Some(0));
    let names: Vec<String> = collector.spans().into_iter().map(|span| span.name).collect();
    for name in ["publish", "subscribe", "deliver"] {
        assert!(names.iter().any(|seen| seen == name), "{name} among {names:?}");
    }
}
