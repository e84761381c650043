//! `fantail tail` asks as EventSource does, and follows redirects as it does.

use super::*;

/// A redirect to a place.
fn redirect(status: &str, location: &str) -> String {
    answer(status, &format!("Location: {location}\r\n"), "")
}

/// A file with a token, in a folder of the test's own.
fn token_file(name: &str) -> std::path::PathBuf {
    let file = std::env::temp_dir().join(format!("fantail-{}-{name}", std::process::id()));
    std::fs::write(&file, "secret").expect("a file");
    file
}

#[test]
fn tail_asks_for_nothing_from_a_cache() {
    let node = Played::start(vec![no_content()]);
    finished(fantail(&["tail", "orders", "--url", &node.url]));
    let head = node.next().head;
    assert!(head.contains("\r\ncache-control: no-cache\r\n"), "{head}");
}

#[test]
fn tail_follows_redirects_and_shows_its_token_to_the_first_origin_alone() {
    let token = token_file("redirects");
    let elsewhere = Played::start(vec![stream("retry: 10\nid: 4-0\ndata: x\n\n"), no_content()]);
    let there = format!("{}/other/events?channels=orders", elsewhere.url);
    let home = Played::start(vec![
        redirect("301 Moved Permanently", "/v2/events?channels=orders"),
        redirect("307 Temporary Redirect", &there),
        redirect("302 Found", &there),
    ]);
    let arguments = ["tail", "orders", "--url", &home.url, "--token-file", token.to_str().expect("a path")];
    let output = finished(fantail(&arguments));
    assert_eq!(text(&output.stdout), "4-0 message x\n", "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    let (first, second) = (home.next(), home.next());
    assert!(second.head.starts_with("get /v2/events?channels=orders http/1.1\r\n"), "{}", second.head);
    for seen in [&first, &second] {
        assert!(seen.head.contains("\r\nauthorization: bearer secret\r\n"), "{}", seen.head);
    }
    let (third, last) = (elsewhere.next(), elsewhere.next());
    for seen in [&third, &last] {
        assert!(seen.head.starts_with("get /other/events?channels=orders http/1.1\r\n"), "{}", seen.head);
        assert!(!seen.head.contains("authorization") && !seen.head.contains("secret"), "{}", seen.head);
    }
    // A reconnect begins at the first URL again, and the position goes all the way.
    for seen in [home.next(), last] {
        assert!(seen.head.contains("\r\nlast-event-id: 4-0\r\n"), "{}", seen.head);
    }
    let _ = std::fs::remove_file(token);
}

#[test]
fn tail_gives_up_where_a_redirect_leads_nowhere_and_not_where_it_leads_round() {
    for location in ["ftp://node/events", "http://alice:secret@127.0.0.1/events"] {
        let node = Played::start(vec![redirect("302 Found", location)]);
        let output = finished(fantail(&["tail", "orders", "--url", &node.url]));
        assert_eq!(output.status.code(), Some(1));
        let why = text(&output.stderr);
        assert!(why.contains("redirect") && !why.contains("secret"), "{why}");
    }
    let mut answers = vec![redirect("302 Found", "/events"); 21];
    answers.push(no_content());
    let node = Played::start(answers);
    let output = finished(fantail(&["tail", "orders", "--url", &node.url]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("more than 20 redirects"), "{}", text(&output.stderr));
}

#[test]
fn tail_goes_on_after_an_id_that_no_header_can_carry() {
    let node = Played::start(vec![
        stream("retry: 10\nid: a\u{1}b\ndata: x\n\n"),
        stream("retry: 10\nid: ä\ndata: y\n\n"),
        no_content(),
    ]);
    let output = finished(fantail(&["tail", "orders", "--json", "--url", &node.url]));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 2);
    node.next();
    let (second, third) = (node.next(), node.next());
    assert!(second.head.starts_with("get /events?channels=orders&lasteventid=a%01b http/1.1\r\n"), "{}", second.head);
    assert!(third.head.contains("\r\nlast-event-id: ä\r\n"), "{}", third.head);
}
