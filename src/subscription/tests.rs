//! Requests to subscribe, understood and refused.

use super::*;
use crate::position::Position;

const NOW: u64 = 1_700_000_000_000;
const LIMITS: Limits =
    Limits { max_channels: 3, max_tail: 1000, heartbeat: (Duration::from_secs(1), Duration::from_secs(600)) };

fn parse(query: &str) -> Result<Subscription, Problem> {
    parse_with(None, query, None)
}

fn parse_with(path: Option<&str>, query: &str, id: Option<&[u8]>) -> Result<Subscription, Problem> {
    let texts = Texts { path_channel: path, query, form: None, last_event_id: id };
    Subscription::parse(&texts, &LIMITS, NOW)
}

fn refused(query: &str) -> (&'static str, String) {
    let problem = parse(query).unwrap_err();
    (problem.code.as_str(), problem.detail)
}

fn names(subscription: &Subscription) -> Vec<&str> {
    subscription.channels.iter().map(Channel::as_str).collect()
}

#[test]
fn channels() {
    let s = parse("channels=b,a&x=y&channels=b,c").unwrap();
    assert_eq!(names(&s), ["b", "a", "c"]);
    assert_eq!((s.resume, s.since, s.tail, s.filter, s.envelope), (Resume::None, Since::Latest, None, None, false));
    assert_eq!(names(&parse_with(Some("a%3Ab"), "", None).unwrap()), ["a:b"]);
    assert_eq!(names(&parse("channels=a%2Cb").unwrap()), ["a", "b"]);
    for query in ["", "channels=", "channels=a,,b", "channels=a,", "channels=a%20b", "channels=%ff", "channel=a"] {
        assert_eq!(refused(query).0, "bad_channel", "{query}");
    }
    assert_eq!(parse_with(Some("%ff"), "", None).unwrap_err().code, Code::BadChannel);
    assert_eq!(parse_with(Some(""), "", None).unwrap_err().code, Code::BadChannel);
    assert_eq!(parse_with(Some("a"), "channels=b", None).unwrap_err().code, Code::BadParameter);
    assert_eq!(refused("channels=a,~control").0, "reserved_channel");
    let (code, detail) = refused("channels=a,b,c,b,d");
    assert_eq!((code, detail.contains("\"d\"")), ("too_many_channels", true));
}

#[test]
fn a_body_and_the_url_say_each_parameter_once() {
    let parse = |query: &str, form: &str| {
        let texts = Texts { query, form: Some(form.as_bytes()), ..Texts::default() };
        Subscription::parse(&texts, &LIMITS, NOW)
    };
    let s = parse("tail=5", "channels=a&channels=b,c&lastEventId=a=5-0").unwrap();
    assert_eq!((names(&s), s.tail), (vec!["a", "b", "c"], Some(5)));
    assert!(s.resume_at(&s.channels[0]).is_some());
    for (query, form) in
        [("channels=a", "channels=b"), ("channels=a&tail=1", "tail=1"), ("lastEventId=", "channels=a&last_event_id=")]
    {
        let problem = parse(query, form).unwrap_err();
        assert!(problem.code == Code::BadParameter && problem.detail.contains("URL"), "{}", problem.detail);
    }
    assert_eq!(parse("", "channels=a,b,c,d").unwrap_err().code, Code::TooManyChannels);
    assert_eq!(parse("x=y", "z=%ff").unwrap_err().code, Code::BadChannel);
}

#[test]
fn a_request_that_names_no_channel_gets_those_of_its_grant() {
    let granted = ["b", "a"].map(|name| Channel::new(name).unwrap());
    let of = |query: &str| {
        let texts = Texts { query, last_event_id: Some(b"5-0"), ..Texts::default() };
        Wish::parse(&texts, &LIMITS, NOW).and_then(|wish| wish.subscription(&granted))
    };
    let s = of("tail=2").unwrap();
    assert_eq!((names(&s), s.is_foreign()), (vec!["b", "a"], true));
    assert_eq!(names(&of("channels=c").unwrap()), ["c"]);
    assert_eq!(of("channels=").unwrap_err().code, Code::BadChannel);
}

#[test]
fn resume() {
    let single = |ms| Cursor::Single(Position::new(ms, 0));
    let of_a = |query: &str, header| parse_with(Some("a"), query, header).unwrap().resume;
    let at = Resume::Cursors(vec![single(5)]);
    assert_eq!(of_a("", Some(b"5-0")), at);
    for name in ["lastEventId", "lastEventID", "Last-Event-ID", "last_event_id", "last-event-id", "LASTEVENTID"] {
        assert_eq!(of_a(&format!("{name}=5-0"), None), at, "{name}");
    }
    assert_eq!(of_a("lastEventIds=5-0", None), Resume::None);
    assert_eq!(of_a("lastEventId=5-0", Some(b"")), at);
    assert_eq!(of_a("lastEventId=4-0&last_event_id=5-0", None), at);
    assert_eq!(of_a("", Some(b"4-0, 5-0")), at);
    assert_eq!(of_a("", Some(b"x, y, 5-0")), at);
    assert_eq!(of_a("lastEventId=4-0", Some(b"5-0")), Resume::Cursors(vec![single(5), single(4)]));
    for (query, header) in [("lastEventId=5-0", &b"x"[..]), ("lastEventId=x", b"5-0"), ("lastEventId=5-0", b"\xff")] {
        assert_eq!(of_a(query, Some(header)), at, "a valid one beats a foreign one");
    }
    assert_eq!(of_a("lastEventId=", Some(b"\xff")), Resume::Foreign);
    assert_eq!(of_a("lastEventId=x", None), Resume::Foreign);
    assert_eq!(of_a("lastEventId=", None), Resume::None);
}

#[test]
fn of_what_is_said_the_latest_counts_in_each_channel() {
    let claims = |query: &str, header: &[u8]| {
        let s = parse_with(None, query, Some(header)).unwrap();
        s.channels.iter().map(|channel| s.resume_at(channel)).collect::<Vec<_>>()
    };
    let claim = |ms, earlier: Option<u64>| {
        Some(Claim { position: Position::new(ms, 0), earlier: earlier.map(|ms| Position::new(ms, 0)) })
    };
    assert_eq!(claims("channels=a,b", b"a=1-0"), [claim(1, None), None]);
    assert_eq!(claims("channels=a&lastEventId=7-0", b"5-0"), [claim(7, Some(5))]);
    assert_eq!(claims("channels=a&lastEventId=a=5-0", b"7-0"), [claim(7, Some(5))]);
    assert_eq!(claims("channels=a&lastEventId=7-0", b"7-0"), [claim(7, None)]);
    let both = claims("channels=a,b,c&lastEventId=a=1-0,b=9-0", b"a=5-0,c=3-0");
    assert_eq!(both, [claim(5, Some(1)), claim(9, None), claim(3, None)]);
    // One position for several channels says nothing, beside a cursor that does.
    assert_eq!(claims("channels=a,b&lastEventId=a=1-0", b"5-0"), [claim(1, None), None]);
    assert!(parse_with(None, "channels=a,b", Some(b"5-0")).unwrap().is_foreign());
}

#[test]
fn since() {
    for (value, expected) in [
        ("latest", Since::Latest),
        ("earliest", Since::Earliest),
        ("12-3", Since::After(Position::new(12, 3))),
        ("1699999999999", Since::From(1_699_999_999_999)),
        ("5", Since::From(5)),
        ("999999999", Since::From(999_999_999)),
        ("1000000000", Since::From(1_000_000_000_000)),
        ("1700000000", Since::From(NOW)),
        ("9999999999", Since::From(9_999_999_999_000)),
        ("10000000000", Since::From(10_000_000_000)),
        ("2023-11-14T22:13:20Z", Since::From(NOW)),
        ("2023-11-14T23:13:20.5%2B01:00", Since::From(NOW + 500)),
        ("2023-11-14T23:13:20+01:00", Since::From(NOW)),
        ("1969-12-31T23:59:59Z", Since::From(0)),
        ("5m", Since::From(NOW - 300_000)),
        ("1h%2030m", Since::From(NOW - 5_400_000)),
        ("900years", Since::From(0)),
    ] {
        assert_eq!(parse(&format!("channels=a&since={value}")).unwrap().since, expected, "{value}");
    }
    for value in ["", "yesterday", "-5m", "2023-11-14", "99999999999999999999", "1-", "LATEST"] {
        let (code, detail) = refused(&format!("channels=a&since={value}"));
        assert_eq!(code, "bad_parameter");
        assert!(detail.starts_with(&format!("since={value:?}")), "{detail}");
    }
}

#[test]
fn tail_envelope_and_types() {
    let s = parse("channels=a&tail=1000&envelope=1&events=created,updated&events=created").unwrap();
    assert_eq!((s.tail, s.envelope), (Some(1000), true));
    let filter = s.filter.unwrap();
    assert!(filter.passes(Some(Kind::of(b"created"))) && filter.passes(Some(Kind::of(b"updated"))));
    assert!(filter.passes(None) && !filter.passes(Some(Kind::of(b"message"))));
    assert!(parse("channels=a&events=message").unwrap().filter.unwrap().passes(Some(Kind::of(b""))));
    assert_eq!(parse("channels=a&where=n%3E5").unwrap().conditions, Conditions::parse("n>5").ok());
    let many = format!("events={}", vec!["x"; 65].join(","));
    let long = format!("events={}", "x".repeat(257));
    for query in [
        "tail=1001",
        "tail=-1",
        "tail=%2B1",
        "tail=",
        "tail=1&tail=1",
        "envelope=yes",
        "envelope",
        "since=latest&since=latest",
        "events=",
        "events=a,,b",
        "where=",
        "where=n",
        "where=n=1&where=m=2",
        "where=data=x",
        &many,
        &long,
    ] {
        let (code, detail) = refused(&format!("channels=a&{query}"));
        assert_eq!(code, "bad_parameter", "{query}");
        assert!(detail.starts_with(query.split('=').next().unwrap()) && detail.len() < 300, "{detail}");
    }
}

#[test]
fn hello_and_heartbeats() {
    let s = parse("channels=a").unwrap();
    assert_eq!((s.hello, s.heartbeat, s.heartbeat_event), (false, None, false));
    let s = parse("channels=a&hello=1&heartbeat=4s&heartbeatEvent=true").unwrap();
    assert_eq!((s.hello, s.heartbeat, s.heartbeat_event), (true, Some(Duration::from_secs(4)), true));
    assert_eq!(parse("channels=a&heartbeat=1m%2030s").unwrap().heartbeat, Some(Duration::from_secs(90)));
    for query in ["hello=yes", "heartbeat=4", "heartbeat=999ms", "heartbeat=10m%201s", "heartbeat=", "heartbeatEvent=2"]
    {
        let (code, detail) = refused(&format!("channels=a&{query}"));
        assert_eq!(code, "bad_parameter", "{query}");
        assert!(detail.starts_with(query.split('=').next().unwrap()), "{detail}");
    }
    assert!(refused("channels=a&heartbeat=11m").1.ends_with("not a duration from 1s to 10m"));
    assert_eq!(refused("channels=a&heartbeat=4s&heartbeat=4s").0, "bad_parameter");
}

#[test]
fn control() {
    for (query, control) in [
        ("", Control::On),
        ("&control=on", Control::On),
        ("&control=off", Control::Off),
        ("&control=end", Control::End),
    ] {
        assert_eq!(parse(&format!("channels=a{query}")).unwrap().control, control);
    }
    for value in ["", "0", "END", "none"] {
        assert_eq!(refused(&format!("channels=a&control={value}")).0, "bad_parameter", "{value}");
    }
}

#[test]
fn absent() {
    assert!(parse("channels=a&absent=204").unwrap().absent && !parse("channels=a").unwrap().absent);
    for value in ["", "1", "404"] {
        assert_eq!(refused(&format!("channels=a&absent={value}")).0, "bad_parameter", "{value}");
    }
}

#[test]
fn types_and_data() {
    let s = parse("channels=a&type=channel&data=raw&field=text").unwrap();
    assert_eq!((s.typed, s.field.as_deref()), (true, Some("text")));
    let s = parse("channels=a&type=event&data=json").unwrap();
    assert_eq!((s.typed, s.field), (false, None));
    let long = format!("data=raw&field={}", "x".repeat(257));
    for (query, name) in [
        ("type=", "type"),
        ("type=message", "type"),
        ("data=text", "data"),
        ("data=raw", "data"),
        ("field=x", "field"),
        ("data=json&field=x", "field"),
        ("data=raw&field=", "field"),
        (long.as_str(), "field"),
        ("data=raw&field=a&field=b", "field"),
    ] {
        let (code, detail) = refused(&format!("channels=a&{query}"));
        assert_eq!(code, "bad_parameter", "{query}");
        assert!(detail.starts_with(&format!("{name}=")), "{query}: {detail}");
    }
}
