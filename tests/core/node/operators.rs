//! The operators' listener: who may see and do what there, under which names, and who gives way.

use crate::support::client::{Connection, Response};
use crate::support::jwt::Folder;
use crate::support::node::{Node, eventually};
use crate::support::program;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const TOKEN: &str = "a-token-of-the-operators";
const ACT: (&str, &str) = ("X-Fantail-Action", "1");
/// What needs a token where there is one.
const GUARDED: [&str; 8] = [
    "/",
    "/status",
    "/api/nodes",
    "/api/channels",
    "/api/channels/a",
    "/api/channels/a/live",
    "/api/updates",
    "/api/subscribers",
];

fn refused(node: &Node, reason: &str) -> f64 {
    node.metric(&format!("fantail_admin_refused_total{{reason=\"{reason}\"}}"))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn basic(user: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{token}")))
}

/// The status of a request; of a stream no more is read.
fn status(node: &Node, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut connection = Connection::open(node.admin);
    connection.send_request(method, path, headers, b"x");
    connection.head().status
}

/// A request of HTTP/1.1, byte for byte.
fn raw(node: &Node, request: &str) -> Response {
    let mut connection = Connection::open(node.admin);
    connection.send(request);
    connection.answer(false)
}

#[test]
fn half_sent_requests_give_way_to_who_speaks() {
    let node = Node::start(&[]);
    // More than there are places, of three kinds: silent, in the head, and with an answer that is not read.
    let crowd: Vec<Connection> = (0..300)
        .map(|number| {
            let mut connection = Connection::narrow(node.admin);
            match number % 3 {
                0 => {}
                1 => connection.send("GET /livez HTTP/1.1\r\nHost: n\r\n"),
                _ => connection.send("GET /metrics HTTP/1.1\r\nHost: n\r\n\r\n".repeat(50)),
            }
            connection
        })
        .collect();
    for _ in 0..10 {
        for page in ["/livez", "/readyz", "/metrics", "/status", "/api/nodes"] {
            assert_eq!(node.page(page).head.status, 200, "{page}");
        }
    }
    assert!(refused(&node, "displaced") >= 236.0);
    drop(crowd);
    // Streams are left alone.
    let mut watching = Connection::open(node.admin);
    watching.send_request("GET", "/api/updates", &[], b"");
    assert_eq!(watching.head().status, 200);
    let silent: Vec<Connection> = (0..200).map(|_| Connection::open(node.admin)).collect();
    eventually("those who gave way", || refused(&node, "displaced") >= 236.0 + 130.0);
    for _ in 0..3 {
        assert!(watching.chunk().expect("a stream").is_some());
    }
    drop(silent);
}

#[test]
fn without_a_token_file_all_is_open_as_it_was() {
    let node = Node::start(&["--admin-actions"]);
    for path in GUARDED {
        assert_eq!(status(&node, "GET", path, &[]), 200, "{path}");
    }
    assert_eq!(status(&node, "POST", "/api/publish?channel=a", &[ACT]), 201);
}

#[test]
fn a_token_is_needed_for_all_but_probes_and_metrics() {
    let folder = Folder::new();
    let file = folder.write("token", format!("{TOKEN}\n").as_bytes());
    let node = Node::start(&["--admin-actions", "--admin-token-file", &file]);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(status(&node, "GET", path, &[]), 200, "{path}");
    }
    for path in GUARDED {
        let answer = node.page(path);
        answer.problem(401, "unauthorized");
        let challenges: Vec<_> = answer.head.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
        assert!(challenges.iter().any(|(_, value)| value.starts_with("Basic realm=")), "{path}: {challenges:?}");
        for shown in [bearer(TOKEN), basic("anybody", TOKEN), basic("", TOKEN)] {
            assert_eq!(status(&node, "GET", path, &[("Authorization", &shown)]), 200, "{path} {shown}");
        }
    }
    let right = bearer(TOKEN);
    for action in ["/api/publish?channel=a", "/api/drain", "/api/disconnect?subscriber=0123456789abcdef.0.0.1"] {
        assert_eq!(status(&node, "POST", action, &[ACT]), 401, "{action}");
        assert_eq!(status(&node, "POST", action, &[("Authorization", &right)]), 403, "{action} without the header");
    }
    assert_eq!(status(&node, "POST", "/api/publish?channel=a", &[ACT, ("Authorization", &right)]), 201);
    // Each of another address, for wrong ones are paced.
    assert_eq!(status(&node, "GET", "/status", &[("Authorization", &bearer("a-token-of-nobody"))]), 401);
    assert_eq!(status(&node, "GET", "/status", &[("Authorization", &basic(TOKEN, ""))]), 401);
    assert!(refused(&node, "no_token") >= 9.0);
    assert_eq!(refused(&node, "wrong_token"), 2.0);
    assert!(!node.log().contains(TOKEN), "{}", node.log());
}

#[test]
fn a_form_makes_a_cookie_of_a_token() {
    let folder = Folder::new();
    let node = Node::start(&["--admin-actions", "--admin-token-file", &folder.write("token", TOKEN.as_bytes())]);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        Connection::open(node.admin).ask(method, path, headers, body.as_bytes())
    };
    let led = ask("GET", "/", &[("Accept", "text/html,*/*")], "");
    assert_eq!((led.head.status, led.head.header("location")), (303, Some("/sign-in")));
    let form = ask("GET", "/sign-in", &[], "");
    assert!(form.head.status == 200 && form.text().contains("name=\"token\""), "{}", form.text());
    assert!(!form.text().contains("<script"), "it needs none");
    // A browser's question would come in the middle of the page.
    let script = ask("GET", "/api/nodes", &[("Sec-Fetch-Mode", "cors")], "");
    let challenges = script.head.headers.iter().filter(|(name, _)| name == "www-authenticate");
    assert_eq!(script.head.status, 401);
    assert!(challenges.into_iter().all(|(_, value)| !value.starts_with("Basic")), "{:?}", script.head.headers);

    let wrong = ask("POST", "/sign-in", &[], "token=a-token-of-nobody");
    assert_eq!((wrong.head.status, wrong.head.header("set-cookie")), (401, None));
    let right = ask("POST", "/sign-in", &[], &format!("token={TOKEN}"));
    assert_eq!((right.head.status, right.head.header("location")), (303, Some("/")));
    let line = right.head.header("set-cookie").expect("a cookie");
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Strict") && !line.contains(TOKEN), "{line}");
    let cookie = [("Cookie", line.split(';').next().expect("a pair"))];
    for path in GUARDED {
        assert_eq!(status(&node, "GET", path, &cookie), 200, "{path}");
    }
    assert_eq!(status(&node, "POST", "/api/publish?channel=a", &[cookie[0], ACT]), 201);
    assert_eq!(status(&node, "POST", "/api/publish?channel=a", &cookie), 403, "without the header");
    let out = ask("POST", "/sign-out", &cookie, "");
    assert!(out.head.header("set-cookie").is_some_and(|line| line.contains("Max-Age=0")), "{:?}", out.head.headers);
    node.logs(&["an operator signed in to the console", "127.0.0.1"]);
    node.logs(&["published by the console", "channel=\"a\"", "127.0.0.1", "201"]);
    assert!(!node.log().contains(TOKEN), "{}", node.log());
    assert_eq!(status(&Node::start(&[]), "GET", "/sign-in", &[]), 404, "no token, no form");
}

#[test]
fn wrong_tokens_are_paced() {
    const GUESSES: usize = 2_000;
    let folder = Folder::new();
    let node = Node::start(&["--admin-token-file", &folder.write("token", TOKEN.as_bytes())]);
    let guess = bearer("a-guess-of-somebody");
    let mut connection = Connection::open(node.admin);
    let begun = std::time::Instant::now();
    let statuses: Vec<u16> =
        (0..GUESSES).map(|_| connection.ask("GET", "/status", &[("Authorization", &guess)], b"").head.status).collect();
    let judged = statuses.iter().filter(|status| **status == 401).count();
    // So many are looked at in a second; how many seconds it took is the machine's affair.
    assert!(judged <= 5 * (begun.elapsed().as_secs() as usize + 2), "{judged} guesses were judged");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)));
    assert_eq!(refused(&node, "too_fast"), (GUESSES - judged) as f64);
    // Probes are not guesses, and a right token is taken when a second is over.
    assert_eq!(node.page("/livez").head.status, 200);
    eventually("a look at the right one", || {
        status(&node, "GET", "/status", &[("Authorization", &bearer(TOKEN))]) == 200
    });
}

#[test]
fn the_token_file_is_read_again() {
    let folder = Folder::new();
    let file = folder.write("token", TOKEN.as_bytes());
    let node = Node::start(&["--admin-token-file", &file]);
    let sees = |token: &str| status(&node, "GET", "/status", &[("Authorization", &bearer(token))]) == 200;
    assert!(sees(TOKEN));
    // One follows another, and both count for a while.
    std::fs::write(&file, format!("{TOKEN}\nanother-of-the-operators\n")).expect("a file");
    eventually("the second token", || sees("another-of-the-operators"));
    eventually("the first beside it", || sees(TOKEN));
    std::fs::write(&file, "another-of-the-operators\n").expect("a file");
    eventually("the end of the first", || !sees(TOKEN));
    // What means nothing leaves them as they are.
    std::fs::write(&file, "short").expect("a file");
    node.logs(&["the operators' tokens stay as they are", "--admin-token-file", "at least 16"]);
    eventually("the same as before", || sees("another-of-the-operators"));
}

#[test]
fn a_node_does_not_start_with_a_token_file_that_means_nothing() {
    let folder = Folder::new();
    for (text, why) in [("", "empty"), ("secret", "at least 16"), ("a secret of several words", "without spaces")] {
        let file = folder.write("token", text.as_bytes());
        for command in [&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"][..], &["check"]] {
            let mut fantail = program::fantail();
            let output = fantail.args(command).args(["--admin-token-file", &file]).output().expect("the binary");
            let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
            assert!(!output.status.success() && said.contains(why) && said.contains(&file), "{command:?}: {said}");
            assert!(text.is_empty() || !said.contains(text), "{said}");
        }
    }
}

#[test]
fn top_shows_the_token() {
    let folder = Folder::new();
    let file = folder.write("token", format!("{TOKEN}\n").as_bytes());
    let node = Node::start(&["--admin-token-file", &file]);
    let url = format!("http://{}", node.admin);
    let top = |flags: &[&str], variable: Option<&str>| {
        let mut top = program::fantail();
        top.args(["top", "--once", "--url", &url]).args(flags);
        top.envs(variable.map(|file| ("FANTAIL_ADMIN_TOKEN_FILE", file)));
        let output = top.output().expect("the binary");
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
    };
    let (code, said) = top(&[], None);
    assert!(code == Some(1) && said.contains("--admin-token-file"), "{said}");
    assert_eq!(top(&["--admin-token-file", &file], None).0, Some(0));
    assert_eq!(top(&[], Some(&file)).0, Some(0));
    let (code, said) = top(&["--admin-token-file", "/nowhere"], None);
    assert!(code == Some(1) && said.contains("/nowhere"), "{said}");
}

#[test]
fn what_events_hold_may_be_hidden() {
    let node = Node::start(&["--admin-contents", "off"]);
    node.publish("/events/a", "a secret of somebody");
    let channel = node.page("/api/channels/a").json();
    assert_eq!((&channel["stream"]["entries"], &channel["events"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(node.page("/api/nodes").json()["contents"], false);
    let said = node.page("/api/channels/a/live?since=0-0").problem(403, "forbidden");
    assert!(said.contains("--admin-contents"), "{said}");
    for page in ["/status", "/metrics", "/api/channels", "/api/channels/a"] {
        assert!(!node.page(page).text().contains("a secret of somebody"), "{page}");
    }
    assert_eq!(Node::start(&[]).page("/api/nodes").json()["contents"], true);
}

#[test]
fn a_name_that_others_could_give_out_gets_probes_alone() {
    let node = Node::start(&["--admin-actions", "--admin-host", "ops.example.org,.nodes.example.net"]);
    let ask = |method: &str, path: &str, host: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Fantail-Action: 1\r\n");
        let mut connection = Connection::open(node.admin);
        connection.send(format!("{request}Content-Length: 0\r\n\r\n"));
        connection.head().status
    };
    let all = [&GUARDED[..], &["/metrics", "/nothing"]].concat();
    for path in &all {
        assert_eq!(ask("GET", path, "evil.example:9090"), 403, "{path}");
    }
    assert_eq!(ask("POST", "/api/publish?channel=a", "evil.example"), 403);
    assert_eq!(refused(&node, "foreign_host"), all.len() as f64 + 1.0);
    // The kubelet asks by the pod's address, and by whatever a probe's header says.
    for host in ["10.1.2.3:9090", "[fd00::1]:9090", "evil.example", "node.example.org:9090", ""] {
        assert_eq!([ask("GET", "/livez", host), ask("GET", "/readyz", host)], [200, 200], "{host}");
    }
    // Prometheus by an address, a Service, a node's own name, or one that is listed.
    for host in [
        "10.1.2.3:9090",
        "[fd00::1]:9090",
        "node7:9090",
        "fantail-admin.default.svc:9090",
        "fantail-admin.default.svc.cluster.local",
        "OPS.example.org:9090",
        "a.b.nodes.example.net:9090",
    ] {
        assert_eq!([ask("GET", "/metrics", host), ask("GET", "/status", host)], [200, 200], "{host}");
    }
    // None, two, and none that is valid.
    for lines in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n"] {
        raw(&node, &format!("GET /livez HTTP/1.1\r\n{lines}\r\n")).problem(400, "bad_parameter");
    }
    // A target's authority is the host.
    raw(&node, "GET http://evil.example/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").problem(403, "forbidden");
    // HTTP/1.0 names none, and browsers do not speak it.
    assert_eq!(raw(&node, "GET /status HTTP/1.0\r\n\r\n").head.status, 200);
}

#[test]
fn actions_come_from_no_page_but_its_own() {
    let node = Node::start(&["--admin-actions"]);
    let act = |headers: &[(&str, &str)]| status(&node, "POST", "/api/publish?channel=a", &[&[ACT], headers].concat());
    assert_eq!(act(&[]), 201);
    assert_eq!(act(&[("Origin", "http://node")]), 201);
    assert_eq!(act(&[("Origin", "http://Node"), ("Sec-Fetch-Site", "same-origin")]), 201);
    for origin in ["null", "http://evil.example", "http://node:1", "http://node.evil", ""] {
        assert_eq!(act(&[("Origin", origin)]), 403, "{origin:?}");
    }
    for site in ["cross-site", "same-site", ""] {
        assert_eq!(act(&[("Sec-Fetch-Site", site)]), 403, "{site:?}");
    }
    assert_eq!(act(&[("Origin", "http://node"), ("Origin", "http://evil.example")]), 403);
}

#[test]
fn a_method_that_is_none_of_a_path_is_told_those_that_are() {
    let node = Node::start(&["--admin-actions"]);
    let allow = |method: &str, path: &str| {
        let answer = Connection::open(node.admin).ask(method, path, &[ACT], b"");
        (answer.head.status, answer.head.header("allow").map(str::to_owned))
    };
    for path in [&GUARDED[..], &["/livez", "/readyz", "/metrics"]].concat() {
        for method in ["POST", "PUT", "OPTIONS"] {
            assert_eq!(allow(method, path), (405, Some("GET, HEAD".into())), "{method} {path}");
        }
    }
    for path in ["/api/publish", "/api/drain"] {
        for method in ["GET", "PUT", "DELETE"] {
            assert_eq!(allow(method, path), (405, Some("POST".into())), "{method} {path}");
        }
    }
    assert_eq!([allow("POST", "/nothing").0, allow("GET", "/nothing").0], [404, 404]);
}
