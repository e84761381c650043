//! The binary as its users meet it: help, one-line errors, exit codes, and `publish` and `tail` against a node that
//! is played by the test.

mod tail_redirects;
mod variables;

use crate::support::program;
use crate::support::redis::{Redis, Reply};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// For whatever must come at all.
const LIMIT: Duration = Duration::from_secs(30);

fn fantail(arguments: &[&str]) -> Command {
    let mut command = program::fantail();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code 2, nothing on stdout, and exactly this line on stderr.
fn assert_usage_error(output: &Output, line: &str) {
    assert_eq!(text(&output.stderr), format!("{line}\n"));
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));
}

#[test]
fn a_wrong_flag_is_one_line_and_exit_code_2() {
    let wrong: &[(&[&str], &str)] = &[
        (&["--retry", "5s..1s"], r#"fantail: --retry "5s..1s": the range ends before it begins"#),
        (&["serve", "--retry", "5s..1s"], r#"fantail: --retry "5s..1s": the range ends before it begins"#),
        (&["check", "--heartbeat=500ms"], r#"fantail: --heartbeat "500ms": outside 1s to 5m"#),
        (
            &["--listen", "8080"],
            r#"fantail: --listen "8080": not an IP address with a port, such as 127.0.0.1:8080 or [::]:8080"#,
        ),
        (&["--tail-bytes", "1KiB"], r#"fantail: --tail-bytes "1KiB": outside 1MiB to 1024GiB"#),
        (&["--max-channels-per-connection", "0"], r#"fantail: --max-channels-per-connection "0": outside 1 to 1000"#),
        (&["--key-prefix", "a b"], r#"fantail: --key-prefix "a b": a character outside A-Z a-z 0-9 _ . : ~ @ - / { }"#),
        (
            &["--redis", "redis-sentinel://u:secret@h"],
            "fantail: --redis: the name of the primary is missing: redis-sentinel://host,host/NAME",
        ),
        (
            &["--log", "inof"],
            r#"fantail: --log "inof": "inof" is no level: use error, warn, info, debug, trace or off"#,
        ),
        (&["--log-format", "xml"], r#"fantail: --log-format "xml": use one of text, json"#),
        (
            &["--admin-listen", "127.0.0.1:8080"],
            "fantail: --admin-listen 127.0.0.1:8080: --listen 127.0.0.1:8080 takes the same port",
        ),
        (&["--max-connections", "-1"], r#"fantail: --max-connections "-1": outside 0 to 10000000"#),
        (&["--drain", "-1s"], "fantail: --drain: a value that begins with - is written --drain=VALUE"),
        (&["--drain=-1s"], r#"fantail: --drain "-1s": not a duration with its unit, such as 15s, 5m or 1h 30m"#),
        (&["--demo", "-x"], "fantail: unknown flag -x"),
        (&["--heartbeet", "1s"], "fantail: unknown flag --heartbeet; is --heartbeat meant?"),
        (&["sevre"], r#"fantail: unknown command "sevre": use one of serve, publish, tail, revoke, token, top, check"#),
        (&["--demo", "check"], r#"fantail: "check" is too much; a command comes before its flags"#),
        (&["publish"], "fantail: <CHANNEL> is missing"),
        (
            &["publish", "a b", "x"],
            r#"fantail: CHANNEL "a b": channel "a b" has a character outside A-Z a-z 0-9 _ . : ~ @ -"#,
        ),
        (&["publish", "~x", "x"], r#"fantail: CHANNEL "~x": channels that begin with ~ are the cluster's own"#),
        (
            &["publish", "a", "x", "--url", "http://h", "--redis", "redis://h"],
            "fantail: --url and --redis exclude each other",
        ),
        (
            &["token", "--key", "k"],
            "fantail: --subscribe or --publish is missing: a token without either grants nothing",
        ),
        (
            &["token", "--key", "k", "--subscribe", "user.{sub}", "--sub", "a.b"],
            r#"fantail: --subscribe "user.{sub}": {sub} needs a --sub that is one label"#,
        ),
        (
            &["token", "--key", "k", "--publish", "a*"],
            r#"fantail: --publish "a*": pattern "a*": * and ** stand for whole labels, and ** for the last"#,
        ),
        (
            &["tail", "a", "--where", "level"],
            r#"fantail: --where "level": condition 1 has no operator: =, !=, <, <=, >, >= or ^="#,
        ),
        (&["publish", "a", "--key", "a b"], r#"fantail: --key "a b": a key has 1 to 128 visible ASCII characters"#),
        (
            &["publish", "a", "--key", "k", "--redis", "redis://127.0.0.1:1"],
            "fantail: --key: a node publishes once, by --url; --redis does not",
        ),
        (&["tail", "a", "--url", "ftp://h"], r#"fantail: --url: not a URL such as http://127.0.0.1:8080"#),
    ];
    for (arguments, line) in wrong {
        assert_usage_error(&fantail(arguments).output().expect("the binary"), line);
    }
}

#[test]
fn a_wrong_variable_is_named_and_an_empty_one_is_unset() {
    let serve = |name: &str, value: &str, flags: &[&str]| fantail(flags).env(name, value).output().expect("the binary");
    let line = r#"fantail: FANTAIL_RETRY "5s..1s": the range ends before it begins"#;
    assert_usage_error(&serve("FANTAIL_RETRY", "5s..1s", &[]), line);
    assert_usage_error(&serve("FANTAIL_DEMO", "maybe", &[]), r#"fantail: FANTAIL_DEMO "maybe": neither on nor off"#);
    // A contradiction is found last, where every variable was taken.
    let (same, line) = (["--admin-listen", "127.0.0.1:8080"], "--listen 127.0.0.1:8080 takes the same port");
    let line = format!("fantail: --admin-listen 127.0.0.1:8080: {line}");
    for (name, value) in
        [("FANTAIL_DEMO", "1"), ("FANTAIL_DEMO", "true"), ("FANTAIL_DEMO", "on"), ("FANTAIL_PUBLISH", "1")]
    {
        assert_usage_error(&serve(name, value, &same), &line);
    }
    for name in ["FANTAIL_REDIS", "FANTAIL_HEARTBEAT", "FANTAIL_DEMO"] {
        assert_usage_error(&serve(name, "", &same), &line);
    }
    let couriers = r#"fantail: --couriers "65": outside 0 to 64"#;
    // The flag wins, so the variable is not what is wrong.
    assert_usage_error(&serve("FANTAIL_COURIERS", "1", &["--couriers", "65"]), couriers);
}

#[test]
fn help_names_commands_flags_and_variables_but_no_values_of_variables() {
    let told = |arguments: &[&str]| {
        let output = fantail(arguments).env("FANTAIL_REDIS", "redis://:secret@h").output().expect("the binary");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", text(&output.stderr));
        let told = text(&output.stdout);
        assert!(!told.contains("secret"), "{told}");
        told
    };
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let overview = told(arguments);
        for part in ["serve", "publish", "tail", "revoke", "token", "top", "check", "fantail COMMAND --help"] {
            assert!(overview.contains(part), "{part} in {overview}");
        }
        assert!(!overview.contains("--redis"), "flags are told with their commands: {overview}");
    }
    let serve = told(&["serve", "--help"]);
    for part in ["--redis <URL>", "FANTAIL_HEARTBEAT", "[default: 15s]", "\nRedis:\n", "\nLimits:\n"] {
        assert!(serve.contains(part), "{part} in {serve}");
    }
    let check = told(&["check", "--help"]);
    assert!(check.find("--live") < check.find("--listen"), "its own flags come first: {check}");
    assert!(told(&["serve", "--help"]).contains("1s to 5m"));
    assert!(told(&["check", "--help"]).contains("--unready-after"));
    assert!(told(&["publish", "--help"]).contains("--final"));
    assert!(told(&["tail", "--help"]).contains("--last-event-id"));
    assert_eq!(told(&["--version"]), format!("fantail {}\n", env!("CARGO_PKG_VERSION")));
}

/// A request as it came in.
struct Seen {
    at: Instant,
    head: String,
    body: String,
}

/// A node that is played: each connection gets the next answer, is closed after it, and is reported.
struct Played {
    url: String,
    seen: Receiver<Seen>,
}

impl Played {
    fn start(answers: Vec<String>) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (report, seen) = channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let (head, body) = request(&mut stream);
                let _ = report.send(Seen { at: Instant::now(), head, body });
                let hold = answer.contains("HOLD");
                let _ = stream.write_all(answer.replace("HOLD", "").as_bytes());
                if hold {
                    // Until the other side hangs up.
                    let _ = stream.read(&mut [0]);
                }
            }
        });
        Played { url, seen }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(LIMIT).expect("a request")
    }
}

fn request(stream: &mut TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "the head was cut off: {head}");
    }
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (head, text(&body))
}

fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{body}")
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n{body}", body.len())
}

fn no_content() -> String {
    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into()
}

/// Runs to its end; a process that does not end fails the test.
fn finished(mut command: Command) -> Output {
    ended(command.spawn().expect("the binary"))
}

fn ended(child: Child) -> Output {
    let id = child.id();
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    match ended.recv_timeout(LIMIT) {
        Ok(output) => output.expect("its output"),
        Err(_) => {
            signal(id, rustix::process::Signal::KILL);
            panic!("the process did not end");
        }
    }
}

fn signal(id: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(id as i32).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("a living process");
}

#[test]
fn tail_resumes_after_the_last_id_waits_as_told_and_stops_on_204() {
    let node = Played::start(vec![
        stream("retry: 300\nid: 5-0\n\nid: 6-0\nevent: created\ndata: {\"id\":1}\n\nid: 7-0\ndata: cut off\n"),
        stream(": heartbeat\nid: 8-0\n\n"),
        no_content(),
    ]);
    let asked = ["--where", "level>=5", "--field", "text", "--heartbeat", "4s"];
    let asked = [&["tail", "orders,user.42", "--tail", "3", "--events", "created"][..], &asked].concat();
    let output = finished(fantail(&[&asked[..], &["--url", &node.url]].concat()));
    assert_eq!(text(&output.stdout), "6-0 created {\"id\":1}\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let (first, second, third) = (node.next(), node.next(), node.next());
    assert!(
        first.head.starts_with(
            "get /events?channels=orders%2cuser.42&tail=3&events=created\
             &where=level%3e%3d5&data=raw&field=text&heartbeat=4000ms http/1.1\r\n"
        ),
        "{}",
        first.head
    );
    assert!(first.head.contains("\r\naccept: text/event-stream\r\n") && !first.head.contains("last-event-id"));
    assert!(second.head.contains("\r\nlast-event-id: 6-0\r\n"), "{}", second.head);
    assert!(third.head.contains("\r\nlast-event-id: 8-0\r\n"), "a bare id counts: {}", third.head);
    assert!(second.at - first.at >= Duration::from_millis(300), "retry is honoured");
    assert!(third.at - second.at >= Duration::from_millis(300), "retry outlives its connection");
    let state = text(&output.stderr);
    assert!(state.contains("going on at") && state.contains("after 6-0") && state.contains("finished"), "{state}");
    // The default would satisfy the comparisons above.
    assert_eq!(state.matches(" in 3").count(), 2, "{state}");
}

#[test]
fn tail_shows_gaps_on_stderr_and_events_as_json() {
    let gap = r#"{"channel":"orders","reason":"trimmed","resume_from":"1-0","continues_at":"4-0","lost":3}"#;
    let body = format!("retry: 10\nevent: fantail.gap\ndata: {gap}\n\nid: 4-0\ndata: x\ndata: y\n\n");
    let node = Played::start(vec![stream(&body), no_content()]);
    let output = finished(fantail(&["tail", "orders", "--json", "--last-event-id", "1-0", "--url", &node.url]));
    assert_eq!(text(&output.stdout), "{\"data\":\"x\\ny\",\"event\":\"message\",\"id\":\"4-0\"}\n");
    assert!(text(&output.stderr).contains("GAP in orders: 3 events are lost (trimmed) after 1-0; it continues at 4-0"));
    assert!(node.next().head.contains("\r\nlast-event-id: 1-0\r\n"));
}

#[test]
fn tail_goes_to_the_next_url_at_once_where_one_is_dead() {
    let dead = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    let node = Played::start(vec![stream("retry: 10\nid: 4-0\ndata: x\n\n"), no_content()]);
    let output = finished(fantail(&["tail", "orders", "--url", &dead, "--url", &node.url]));
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("4-0 message x\n", Some(0)));
    assert!(text(&output.stderr).contains("Connection refused"), "{}", text(&output.stderr));
    node.next();
    assert!(node.next().head.contains("\r\nlast-event-id: 4-0\r\n"), "the id goes along to the other node");
}

#[test]
fn tail_gives_up_on_a_refusal_and_comes_back_after_a_full_node() {
    let refused = r#"{"code":"bad_parameter","title":"Not a value","detail":"since=\"x\": no time"}"#;
    let node = Played::start(vec![answer("400 Bad Request", "Content-Type: application/problem+json\r\n", refused)]);
    let output = finished(fantail(&["tail", "orders", "--since", "x", "--url", &node.url]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).ends_with(": 400 bad_parameter: since=\"x\": no time\n"), "{}", text(&output.stderr));

    let full = answer("503 Service Unavailable", "Retry-After: 2\r\n", r#"{"code":"node_full","detail":"no room"}"#);
    let node = Played::start(vec![full, no_content()]);
    let output = finished(fantail(&["tail", "orders", "--url", &node.url]));
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("503 node_full: no room"));
    let (first, second) = (node.next(), node.next());
    assert!(second.at - first.at >= Duration::from_secs(2), "Retry-After is honoured");
}

/// A tail whose stream stays open after its first event, which was read from its stdout.
fn running_tail(body: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let node = Played::start(vec![stream(body)]);
    let mut child = fantail(&["tail", "orders", "--url", &node.url]).spawn().expect("the binary");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("an event");
    assert_eq!(line, "4-0 message x\n");
    (child, lines)
}

#[test]
fn tail_ends_cleanly_on_a_signal() {
    for by in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let (child, _lines) = running_tail("id: 4-0\ndata: x\n\nHOLD");
        signal(child.id(), by);
        let output = ended(child);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
}

#[test]
fn tail_ends_cleanly_when_nobody_reads_stdout() {
    let (child, lines) = running_tail("id: 4-0\ndata: x\n\nHOLD");
    drop(lines);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panicked"));
}

#[test]
fn publish_sends_everything_and_prints_the_id() {
    let node = Played::start(vec![answer("201 Created", "", r#"{"id":"1700000000000-0"}"#)]);
    let arguments = ["publish", "orders", "{\"id\":1}", "--event", "a&b", "--final", "--retry", "250"];
    let output = finished(fantail(&[&arguments[..], &["--key", "a\"1", "--url", &node.url]].concat()));
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("1700000000000-0\n", Some(0)));
    let seen = node.next();
    assert!(seen.head.starts_with("post /events/orders?event=a%26b&retry=250&final=1 http/1.1\r\n"), "{}", seen.head);
    assert!(seen.head.contains("\r\nidempotency-key: \"a\\\"1\"\r\n"), "{}", seen.head);
    assert_eq!(seen.body, "{\"id\":1}");
}

#[test]
fn publish_reads_stdin_without_its_last_line_break() {
    for arguments in [&["publish", "orders", "-"][..], &["publish", "orders"]] {
        let node = Played::start(vec![answer("200 OK", "", r#"{"id":"1-0"}"#)]);
        let mut child =
            fantail(arguments).env("FANTAIL_URL", &node.url).stdin(Stdio::piped()).spawn().expect("the binary");
        child.stdin.take().expect("a pipe").write_all(b"a\nb\n").expect("stdin");
        assert_eq!(text(&ended(child).stdout), "1-0\n");
        assert_eq!(node.next().body, "a\nb");
    }
}

#[test]
fn publish_says_why_it_failed() {
    let off =
        r#"{"code":"publish_off","title":"Publishing over HTTP is off","detail":"start the node with --publish on"}"#;
    let node = Played::start(vec![answer("403 Forbidden", "", off), answer("200 OK", "", "hello")]);
    let failure = |node: &Played| {
        let output = finished(fantail(&["publish", "orders", "x", "--url", &node.url]));
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""));
        text(&output.stderr)
    };
    assert_eq!(failure(&node), format!("fantail: {}: 403 publish_off: start the node with --publish on\n", node.url));
    assert!(failure(&node).contains("the answer has no id"));
    // A variable of `serve` that is wrong does not concern `publish`.
    let mut command = fantail(&["publish", "orders", "x", "--url", "http://127.0.0.1:1"]);
    command.env("FANTAIL_HEARTBEAT", "never").env("FANTAIL_REDIS", "redis://127.0.0.1:1");
    let output = finished(command);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "fantail: http://127.0.0.1:1: Connection refused (os error 111)\n");
}

#[test]
fn publish_appends_to_redis_and_prints_the_entry_id() {
    let redis = Redis::start();
    let mut command = fantail(&["publish", "orders", "x", "--event", "created", "--retry", "250", "--final"]);
    command.args(["--key-prefix", "t:"]).env("FANTAIL_REDIS", redis.url());
    let output = finished(command);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let reply = redis.command(&["XRANGE", "t:orders", "-", "+"]);
    let entry = reply.list()[0].list();
    let fields: Vec<&str> = entry[1].list().iter().map(Reply::text).collect();
    assert_eq!(format!("{}\n", entry[0].text()), text(&output.stdout));
    assert_eq!(fields, ["data", "x", "event", "created", "retry", "250", "final", "1"]);

    redis.command(&["SET", "sse:text", "1"]);
    let output = finished(fantail(&["publish", "text", "x", "--redis", &format!("unix:{}", redis.socket().display())]));
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("WRONGTYPE"), "{}", text(&output.stderr));
}
