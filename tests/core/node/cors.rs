//! What pages of other origins may do: WHATWG Fetch, "HTTP CORS protocol".

use crate::support::client::Head;
use crate::support::node::Node;
use crate::support::stream::Stream;

const PAGE: &str = "https://app.example.org";
const OTHER: &str = "https://evil.example.org";

fn allowed(head: &Head) -> (Option<&str>, Option<&str>, Option<&str>) {
    (head.header("access-control-allow-origin"), head.header("access-control-allow-credentials"), head.header("vary"))
}

#[test]
fn a_listed_origin_is_echoed_with_credentials_on_every_answer() {
    let node = Node::start(&["--cors-origin", &format!("{PAGE},https://b.example")]);
    let origin = [("Origin", PAGE)];
    let granted = (Some(PAGE), Some("true"), Some("Origin"));
    let stream = Stream::open(node.listen, "/events/orders", &origin);
    assert_eq!(allowed(&stream.head), granted);
    for (method, target, status) in [
        ("HEAD", "/events/orders", 200),
        ("GET", "/events/orders?tail=x", 400),
        ("GET", "/nothing", 404),
        ("PUT", "/events/orders", 405),
        ("POST", "/events/orders", 201),
    ] {
        let head = node.ask(method, target, &origin, "").head;
        assert_eq!((head.status, allowed(&head)), (status, granted), "{method} {target}");
    }
    node.publish("/events/job?final=1", "1");
    let id = node.subscribe("/events/job?since=earliest").next().id;
    let over = node.ask("GET", "/events/job", &[origin[0], ("Last-Event-ID", &id)], "").head;
    assert_eq!((over.status, allowed(&over)), (204, granted));
}

#[test]
fn another_origin_is_not_named_and_may_not_publish() {
    let node = Node::start(&["--cors-origin", PAGE]);
    let origin = [("Origin", OTHER)];
    assert_eq!(allowed(&Stream::open(node.listen, "/events/orders", &origin).head), (None, None, Some("Origin")));
    let refused = node.ask("POST", "/events/orders", &origin, "1");
    assert!(refused.problem(403, "forbidden").contains("--cors-origin"));
    assert_eq!(allowed(&refused.head), (None, None, Some("Origin")));
    node.publish("/events/orders", "2");
    assert_eq!(node.subscribe("/events/orders?since=earliest").numbers(1), [2]);
}

#[test]
fn any_origin_never_has_credentials() {
    let node = Node::start(&["--cors-origin", "*"]);
    let stream = Stream::open(node.listen, "/events/orders", &[("Origin", OTHER)]);
    assert_eq!(allowed(&stream.head), (Some("*"), None, None));
}

#[test]
fn a_preflight_names_methods_and_headers() {
    let node = Node::start(&["--cors-origin", PAGE]);
    let ask = |origin| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "last-event-id"),
        ];
        node.ask("OPTIONS", "/events/orders", &headers, "").head
    };
    let granted = ask(PAGE);
    assert_eq!((granted.status, allowed(&granted)), (204, (Some(PAGE), Some("true"), Some("Origin"))));
    assert_eq!(granted.header("access-control-allow-methods"), Some("GET, HEAD, POST, QUERY, OPTIONS"));
    let headers = granted.header("access-control-allow-headers").expect("headers");
    for name in ["Last-Event-ID", "Authorization", "Content-Type", "X-Event", "X-Final"] {
        assert!(headers.split(", ").any(|header| header == name), "{name} in {headers}");
    }
    assert!(granted.header("access-control-max-age").is_some());
    let refused = ask(OTHER);
    assert_eq!(allowed(&refused), (None, None, Some("Origin")));
    assert_eq!(refused.header("access-control-allow-methods"), None);
}
