//! Subscriptions: what a client asks for in `GET /events…`. Pure: reads the request's texts and refuses nonsense.
//!
//! Which parameters there are says [`Parameter`]; unknown ones are ignored. A resume position is never refused, because a browser sends it by itself and gives up for good at any error.

mod parameter;

pub use parameter::{Control, Parameter, ParameterError, Repeated, Since, add_types, parse_switch};

use crate::channel::Channel;
use crate::condition::Conditions;
use crate::cursor::{Claim, Cursor};
use crate::frame::Kind;
use crate::hash::HashSet;
use crate::planted::{self, Fault};
use crate::problem::{Code, Problem, shortened};
use parameter::{parse_control, parse_interval, parse_since, parse_status, parse_tail};
use std::borrow::Cow;
use std::time::Duration;

/// A request to subscribe, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Distinct, in the order in which they were asked for; at least one.
    pub channels: Vec<Channel>,
    pub resume: Resume,
    /// Where to begin; of no account where `resume` has a position for the channel.
    pub since: Since,
    /// Of what `since` gives, only the newest so many; with [`Since::Latest`] the last so many of all.
    pub tail: Option<usize>,
    pub filter: Option<Filter>,
    /// What the fields of events must be.
    pub conditions: Option<Conditions>,
    /// Events are wrapped with their channel and id.
    pub envelope: bool,
    /// The first block is an event, which carries the id.
    pub hello: bool,
    /// The longest time for which it wants to be sent nothing; `None`: the node's.
    pub heartbeat: Option<Duration>,
    /// Heartbeats are events.
    pub heartbeat_event: bool,
    pub control: Control,
    /// A stream that does not exist is answered as one that has ended and was read.
    pub absent: bool,
}

/// Where a reconnecting client was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// It does not say: a first connect.
    None,
    /// What its header and its parameter say, one of them or both; each says something of these channels.
    Cursors(Vec<Cursor>),
    /// A last event id that is no cursor of ours, or one position for several channels: answered with the stream and a gap.
    Foreign,
}

/// The event types that a subscriber wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Box<[Kind]>);

impl Filter {
    /// Lets these types through.
    pub fn of(mut kinds: Vec<Kind>) -> Filter {
        kinds.sort_unstable();
        kinds.dedup();
        Filter(kinds.into_boxed_slice())
    }

    /// Whether a frame of this kind passes; control events, which have none, always do.
    pub fn passes(&self, kind: Option<Kind>) -> bool {
        kind.is_none_or(|kind| self.0.binary_search(&kind).is_ok())
    }
}

/// What a subscription may ask for at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_channels: usize,
    /// The greatest `tail`.
    pub max_tail: usize,
    /// The shortest and the longest `heartbeat`.
    pub heartbeat: (Duration, Duration),
}

/// Where a request says what it subscribes to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'a> {
    /// The segment behind `/events/`, still percent-encoded.
    pub path_channel: Option<&'a str>,
    pub query: &'a str,
    /// The body of a `QUERY`, a form.
    pub form: Option<&'a [u8]>,
    /// The value of the header `Last-Event-ID`, the last one where there are several.
    pub last_event_id: Option<&'a [u8]>,
}

/// What a request asks for, before it is known what it subscribes to where it names no channel.
pub struct Wish {
    asked: Asked,
    header: Said,
}

impl Wish {
    /// Reads a request. `now_ms`: the backplane's time, for `since=5m`.
    pub fn parse(texts: &Texts<'_>, limits: &Limits, now_ms: u64) -> Result<Wish, Problem> {
        let mut channels = Channels::new(limits.max_channels);
        if let Some(segment) = texts.path_channel {
            channels.add(&decode_segment(segment)?)?;
        }
        let mut asked = Asked { channels, ..Asked::default() };
        let mut read = |form: &[u8], elsewhere: &[Parameter]| {
            for (name, value) in form_urlencoded::parse(form) {
                let Some(parameter) = Parameter::named(&name) else { continue };
                if elsewhere.contains(&parameter) {
                    return Err(ParameterError::InUrl.of(&name, &value));
                }
                if parameter == Parameter::Channels {
                    if texts.path_channel.is_some() {
                        return Err(ParameterError::InPath.of(&name, &value));
                    }
                    value.split(',').try_for_each(|channel| asked.channels.add(channel))?;
                }
                asked.take(parameter, &value, limits, now_ms).map_err(|why| why.of(&name, &value))?;
            }
            let given = Parameter::ALL.into_iter().filter(|parameter| asked.given[*parameter as usize]);
            Ok(given.collect::<Vec<Parameter>>())
        };
        let in_url = read(texts.query.as_bytes(), &[])?;
        if let Some(form) = texts.form {
            read(form, &in_url)?;
        }
        Ok(Wish { asked, header: texts.last_event_id.map_or(Said::Nothing, parse_last_event_id) })
    }

    /// The channels that it names; none where it leaves them to its grant.
    pub fn channels(&self) -> &[Channel] {
        &self.asked.channels.ordered
    }

    /// The subscription; to the `granted` channels, where it names none.
    pub fn subscription(mut self, granted: &[Channel]) -> Result<Subscription, Problem> {
        if self.channels().is_empty() && !self.asked.given[Parameter::Channels as usize] {
            granted.iter().try_for_each(|channel| self.asked.channels.add(channel.as_str()))?;
        }
        self.asked.subscription(self.header)
    }
}

impl Subscription {
    /// Reads a request that names its channels, as tests and fuzzing do.
    #[cfg(any(test, feature = "testing"))]
    pub fn parse(texts: &Texts<'_>, limits: &Limits, now_ms: u64) -> Result<Subscription, Problem> {
        Wish::parse(texts, limits, now_ms)?.subscription(&[])
    }

    /// Whether it resumes at an id that is no position in these channels.
    pub fn is_foreign(&self) -> bool {
        self.resume == Resume::Foreign
    }

    /// Where this client resumes `channel`: of what it says, the latest.
    pub fn resume_at(&self, channel: &Channel) -> Option<Claim> {
        let Resume::Cursors(cursors) = &self.resume else { return None };
        let only = self.channels.len() == 1;
        let said = |cursor: &Cursor| cursor.position_of(channel, only);
        let latest = match planted::is(Fault::StaleHeaderCounts) {
            true => cursors.iter().filter_map(said).next(),
            false => cursors.iter().filter_map(said).max(),
        };
        let position = latest?;
        Some(Claim { position, earlier: cursors.iter().filter_map(said).find(|other| *other != position) })
    }
}

/// Reads a channel name that clients may use.
pub fn parse_channel(name: &str) -> Result<Channel, Problem> {
    let channel = Channel::new(name).map_err(|e| Problem::new(Code::BadChannel, e.to_string()))?;
    match channel.is_reserved() {
        true => Err(Problem::new(Code::ReservedChannel, format!("channel {name:?} is the cluster's own"))),
        false => Ok(channel),
    }
}

/// Undoes the percent-encoding of a path segment that names a channel.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, Problem> {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| Problem::new(Code::BadChannel, format!("{:?} is not UTF-8", shortened(segment))))
}

/// Channels as they are asked for, without repeats.
#[derive(Default)]
struct Channels {
    ordered: Vec<Channel>,
    seen: HashSet<Channel>,
    most: usize,
}

impl Channels {
    fn new(most: usize) -> Channels {
        Channels { ordered: Vec::new(), seen: HashSet::default(), most }
    }

    fn add(&mut self, name: &str) -> Result<(), Problem> {
        let channel = parse_channel(name)?;
        if self.seen.contains(&channel) {
            return Ok(());
        }
        if self.ordered.len() == self.most {
            let detail = format!("more than {} channels; the first too many is {name:?}", self.most);
            return Err(Problem::new(Code::TooManyChannels, detail));
        }
        self.seen.insert(channel.clone());
        self.ordered.push(channel);
        Ok(())
    }

    fn finish(self) -> Result<Vec<Channel>, Problem> {
        match self.ordered.is_empty() {
            true => Err(Problem::new(
                Code::BadChannel,
                "no channel: name some in channels=a,b or in the path; the grant names none",
            )),
            false => Ok(self.ordered),
        }
    }
}

/// What the parameters have asked for so far.
#[derive(Default)]
struct Asked {
    /// Which parameters were given, in the order of [`Parameter::ALL`].
    given: [bool; Parameter::ALL.len()],
    channels: Channels,
    since: Option<Since>,
    tail: Option<usize>,
    types: Option<Vec<Kind>>,
    conditions: Option<Conditions>,
    envelope: bool,
    hello: bool,
    heartbeat: Option<Duration>,
    heartbeat_event: bool,
    control: Control,
    absent: bool,
    last: Said,
}

impl Asked {
    /// Takes the value of a parameter; channels have refusals of their own, and were taken.
    fn take(&mut self, parameter: Parameter, value: &str, limits: &Limits, now_ms: u64) -> Result<(), ParameterError> {
        match parameter {
            Parameter::Channels => {}
            Parameter::Since => self.since = Some(parse_since(value, now_ms)?),
            Parameter::Tail => self.tail = Some(parse_tail(value, limits.max_tail)?),
            Parameter::Events => add_types(self.types.get_or_insert_default(), value)?,
            Parameter::Where => self.conditions = Some(Conditions::parse(value)?),
            Parameter::LastEventId => self.last = parse_last_event_id(value.as_bytes()),
            Parameter::Envelope => self.envelope = parse_switch(value)?,
            Parameter::Hello => self.hello = parse_switch(value)?,
            Parameter::Heartbeat => self.heartbeat = Some(parse_interval(value, limits.heartbeat)?),
            Parameter::HeartbeatEvent => self.heartbeat_event = parse_switch(value)?,
            Parameter::Control => self.control = parse_control(value)?,
            Parameter::Absent => self.absent = parse_status(value)?,
        }
        let again = std::mem::replace(&mut self.given[parameter as usize], true);
        match again && parameter.repeated() == Repeated::Refused {
            true => Err(ParameterError::Repeated),
            false => Ok(()),
        }
    }

    /// The whole request; `header`: what its `Last-Event-ID` says.
    fn subscription(self, header: Said) -> Result<Subscription, Problem> {
        let channels = self.channels.finish()?;
        Ok(Subscription {
            resume: resume([header, self.last], channels.len()),
            channels,
            since: self.since.unwrap_or(Since::Latest),
            tail: self.tail,
            filter: self.types.map(Filter::of),
            conditions: self.conditions,
            envelope: self.envelope,
            hello: self.hello,
            heartbeat: self.heartbeat,
            heartbeat_event: self.heartbeat_event,
            control: self.control,
            absent: self.absent,
        })
    }
}

/// What a header or a parameter says of the last event.
#[derive(Default)]
enum Said {
    #[default]
    Nothing,
    Cursor(Cursor),
    Foreign,
}

fn parse_last_event_id(value: &[u8]) -> Said {
    if value.is_empty() {
        return Said::Nothing;
    }
    let Ok(text) = std::str::from_utf8(value) else { return Said::Foreign };
    // Of two headers that a proxy has joined (RFC 9110, section 5.3) the last counts; no cursor has a space.
    let last = text.rsplit_once(", ").map_or(text, |(_, last)| last);
    Cursor::parse(last).map_or(Said::Foreign, Said::Cursor)
}

/// A cursor beats what is none. One position does not say in which of several channels it is.
fn resume(said: [Said; 2], channels: usize) -> Resume {
    let mut cursors = Vec::new();
    let mut foreign = false;
    for said in said {
        match said {
            Said::Nothing => {}
            Said::Cursor(cursor) if channels == 1 || !matches!(cursor, Cursor::Single(_)) => cursors.push(cursor),
            Said::Cursor(_) | Said::Foreign => foreign = true,
        }
    }
    match (cursors.is_empty(), foreign) {
        (false, _) => Resume::Cursors(cursors),
        (true, true) => Resume::Foreign,
        (true, false) => Resume::None,
    }
}

#[cfg(test)]
mod tests {
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
        for (query, form) in [
            ("channels=a", "channels=b"),
            ("channels=a&tail=1", "tail=1"),
            ("lastEventId=", "channels=a&last_event_id="),
        ] {
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
        for name in ["lastEventId", "lastEventID", "Last-Event-ID", "last_event_id"] {
            assert_eq!(of_a(&format!("{name}=5-0"), None), at, "{name}");
        }
        assert_eq!(of_a("lasteventid=5-0", None), Resume::None);
        assert_eq!(of_a("lastEventId=5-0", Some(b"")), at);
        assert_eq!(of_a("lastEventId=4-0&last_event_id=5-0", None), at);
        assert_eq!(of_a("", Some(b"4-0, 5-0")), at);
        assert_eq!(of_a("", Some(b"x, y, 5-0")), at);
        assert_eq!(of_a("lastEventId=4-0", Some(b"5-0")), Resume::Cursors(vec![single(5), single(4)]));
        for (query, header) in [("lastEventId=5-0", &b"x"[..]), ("lastEventId=x", b"5-0"), ("lastEventId=5-0", b"\xff")]
        {
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
        for query in
            ["hello=yes", "heartbeat=4", "heartbeat=999ms", "heartbeat=10m%201s", "heartbeat=", "heartbeatEvent=2"]
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
}
