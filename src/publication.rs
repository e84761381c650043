//! Publications: what a producer sends over HTTP, read into the fields of a stream entry. Pure.
//!
//! Nothing is published here, and limits of rate or of a whole body are `http::publish`'s. A producer that writes to
//! Redis itself is not checked by anything here; what it writes is made harmless in [`crate::event`] and
//! [`crate::frame`].

mod fields;
mod keeping;
mod member;
mod misspelt;

pub use keeping::{Bounds, is_key, key_value, refuse_of_batch};
pub use misspelt::nearest;

use crate::backplane::{Keeping, Publication};
use crate::channel::Channel;
use crate::event::{CONTROL_PREFIX, MAX_RETRY_MS, MAX_TYPE_LENGTH};
use crate::problem::{Code, Problem};
use crate::subscription::{decode_segment, parse_channel, parse_switch};
use crate::telemetry::trace::context::is_traceparent;
use bytes::Bytes;
use fields::Fields;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use member::{in_member, member, optional, reason};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a publication may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one event's data.
    pub max_event_bytes: usize,
    /// Events of one batch.
    pub max_batch_lines: usize,
    /// What a producer may say of its streams.
    pub bounds: Bounds,
}

/// Why a trait of an event is not taken: the second half of a line that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum TraitError {
    #[error("an event type has {MAX_TYPE_LENGTH} bytes at most, not {0}")]
    LongType(usize),
    #[error("an event type has no line breaks or NUL")]
    BrokenType,
    #[error("event types {CONTROL_PREFIX}… are the cluster's own")]
    ReservedType,
    #[error("not a number of milliseconds")]
    NoRetry,
    #[error("{MAX_RETRY_MS} milliseconds at most")]
    LongRetry,
}

/// What an event has besides its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The SSE event type.
    pub event: Option<String>,
    /// Reconnect delay in milliseconds.
    pub retry: Option<u64>,
    /// The last event of its channel.
    pub last: bool,
    /// W3C Trace Context.
    pub traceparent: Option<String>,
    /// What else it has, for conditions to look at.
    pub fields: Fields,
}

/// Makes an entry's fields; `data` comes last, since it is the long one.
pub fn publication(channel: Channel, data: Bytes, traits: Traits, keeping: Keeping) -> Publication {
    let mut fields = Vec::with_capacity(5 + traits.fields.len());
    fields.extend(traits.fields.into_iter().map(|(name, value)| (name.into(), value.into())));
    let mut add = |name: &'static str, value: Bytes| fields.push((Bytes::from_static(name.as_bytes()), value));
    if let Some(event) = traits.event {
        add("event", event.into());
    }
    if let Some(retry) = traits.retry {
        add("retry", retry.to_string().into());
    }
    if traits.last {
        add("final", Bytes::from_static(b"1"));
    }
    if let Some(traceparent) = traits.traceparent {
        add("traceparent", traceparent.into());
    }
    add("data", data);
    Publication { channel, fields, keeping }
}

/// Reads `POST /events/{channel}`: the body is the data, which is text in UTF-8, as an event stream is.
///
/// `event`, `retry` and `final` come from the query or else from the headers `X-Event`, `X-Retry` and `X-Final`;
/// `traceparent` from the query or from its standard header; `maxlen` and `ttl` from the query, and a key from the header
/// `Idempotency-Key`, whose producer is for the caller to add. A parameter that nearly has one of these names is refused.
pub fn parse_single(
    segment: &str,
    query: &str,
    headers: &HeaderMap,
    body: Bytes,
    limits: &Limits,
) -> Result<Publication, Problem> {
    let channel = parse_channel(&decode_segment(segment)?)?;
    let traits = parse_traits(query, headers)?;
    let keeping = keeping::parse(query, headers, &limits.bounds)?;
    check_data(&body, limits)?;
    if let Err(error) = std::str::from_utf8(&body) {
        return Err(Problem::new(Code::BadBody, format!("not UTF-8 from byte {} on", error.valid_up_to())));
    }
    Ok(publication(channel, body, traits, keeping))
}

fn parse_traits(query: &str, headers: &HeaderMap) -> Result<Traits, Problem> {
    misspelt::refuse(query)?;
    let parameter = |name: &'static str, header: &'static str| given(query, name, headers, header);
    let mut traits = Traits { fields: fields::of_query(query)?, ..Traits::default() };
    if let Some((source, value)) = parameter("event", "x-event")? {
        traits.event = parse_type(value.clone()).map_err(|why| Problem::bad_parameter(source, &value, why))?;
    }
    if let Some((source, value)) = parameter("retry", "x-retry")? {
        let number = value.parse().map_err(|_| TraitError::NoRetry);
        let checked = number.and_then(check_retry).map_err(|why| Problem::bad_parameter(source, &value, why))?;
        traits.retry = Some(checked);
    }
    if let Some((source, value)) = parameter("final", "x-final")? {
        traits.last = parse_switch(&value).map_err(|why| Problem::bad_parameter(source, &value, why))?;
    }
    match parameter("traceparent", "traceparent")? {
        Some((_, value)) if is_traceparent(&value) => traits.traceparent = Some(value),
        // Trace Context, section 3.3.3: a header that cannot be read is ignored, the request is not.
        _ => {}
    }
    Ok(traits)
}

/// A setting's value and the name under which it was given: in the query, else in a header.
fn given(
    query: &str,
    parameter: &'static str,
    headers: &HeaderMap,
    header: &'static str,
) -> Result<Option<(&'static str, String)>, Problem> {
    let mut in_query = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == parameter);
    if let Some((_, value)) = in_query.next() {
        return match in_query.next() {
            Some((_, second)) => Err(Problem::bad_parameter(parameter, &second, "given more than once")),
            None => Ok(Some((parameter, value.into_owned()))),
        };
    }
    let mut in_headers = headers.get_all(header).iter();
    let Some(value) = in_headers.next() else { return Ok(None) };
    if let Some(second) = in_headers.next() {
        return Err(Problem::bad_parameter(header, &lossy(second), "given more than once"));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Some((header, text.to_owned()))),
        Err(_) => Err(Problem::bad_parameter(header, &lossy(value), "not UTF-8")),
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// An event type; an empty one is none.
fn parse_type(value: String) -> Result<Option<String>, TraitError> {
    if value.len() > MAX_TYPE_LENGTH {
        return Err(TraitError::LongType(value.len()));
    }
    if value.contains(['\r', '\n', '\0']) {
        return Err(TraitError::BrokenType);
    }
    if value.starts_with(CONTROL_PREFIX) {
        return Err(TraitError::ReservedType);
    }
    Ok((!value.is_empty()).then_some(value))
}

fn check_retry(ms: u64) -> Result<u64, TraitError> {
    match ms <= MAX_RETRY_MS {
        true => Ok(ms),
        false => Err(TraitError::LongRetry),
    }
}

fn check_data(data: &[u8], limits: &Limits) -> Result<(), Problem> {
    if data.len() <= limits.max_event_bytes {
        return Ok(());
    }
    let detail = format!("an event has {} bytes of data at most, not {}", limits.max_event_bytes, data.len());
    Err(Problem::new(Code::BodyTooLarge, detail))
}

/// One line of a batch. Members stay raw, so that an error names the member and `data` keeps its very text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    channel: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    retry: Option<&'a RawValue>,
    #[serde(borrow, rename = "final")]
    last: Option<&'a RawValue>,
    #[serde(borrow)]
    traceparent: Option<&'a RawValue>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    maxlen: Option<&'a RawValue>,
    #[serde(borrow)]
    ttl: Option<&'a RawValue>,
}

/// Reads `POST /events`: one JSON object a line, blank lines allowed. All or nothing.
///
/// Returns each publication with the number of its line, from 1. `data` is a string, or any other JSON value, which is
/// sent as the text that it has here.
pub fn parse_batch(body: &[u8], limits: &Limits) -> Result<Vec<(usize, Publication)>, Problem> {
    let mut batch = Vec::new();
    for (index, line) in body.split(|b| *b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if batch.len() == limits.max_batch_lines {
            let detail = format!("line {}: a batch has {} events at most", index + 1, limits.max_batch_lines);
            return Err(Problem::new(Code::BodyTooLarge, detail));
        }
        let publication = parse_line(line, limits)
            .map_err(|problem| Problem { detail: format!("line {}: {}", index + 1, problem.detail), ..problem })?;
        batch.push((index + 1, publication));
    }
    match batch.is_empty() {
        true => Err(Problem::new(Code::BadBody, "no event: the body has one JSON object on each line")),
        false => Ok(batch),
    }
}

/// The channel of a batch's first line, which need not be all that there is of the batch.
pub fn parse_first(line: &[u8], limits: &Limits) -> Result<Channel, Problem> {
    let publication = parse_line(line, limits)
        .map_err(|problem| Problem { detail: format!("line 1: {}", problem.detail), ..problem })?;
    Ok(publication.channel)
}

fn parse_line(line: &[u8], limits: &Limits) -> Result<Publication, Problem> {
    let text = std::str::from_utf8(line).map_err(|_| Problem::new(Code::BadBody, "not UTF-8"))?;
    if !text.trim_start().starts_with('{') {
        return Err(Problem::new(Code::BadBody, "not a JSON object"));
    }
    let line: Line = serde_json::from_str(text).map_err(|e| Problem::new(Code::BadBody, reason(&e)))?;
    let channel = parse_channel(&member::<String>("channel", line.channel)?)?;
    let data = match line.data.get().starts_with('"') {
        true => member::<String>("data", line.data)?,
        false => line.data.get().to_owned(),
    };
    check_data(data.as_bytes(), limits)?;
    let event = optional::<String>("event", line.event)?.unwrap_or_default();
    let traceparent = optional::<String>("traceparent", line.traceparent)?;
    if traceparent.as_deref().is_some_and(|value| !is_traceparent(value)) {
        return Err(in_member("traceparent", "not of the form 00-<32 hex>-<16 hex>-<2 hex>"));
    }
    let retry = optional("retry", line.retry)?.map(check_retry).transpose();
    let traits = Traits {
        event: parse_type(event).map_err(|why| in_member("event", why))?,
        retry: retry.map_err(|why| in_member("retry", why))?,
        last: optional("final", line.last)?.unwrap_or(false),
        traceparent,
        fields: line.fields.map(fields::of_member).transpose()?.unwrap_or_default(),
    };
    let keeping = keeping::of_members(line.key, line.maxlen, line.ttl, &limits.bounds)?;
    Ok(publication(channel, data.into(), traits, keeping))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: Limits = Limits { max_event_bytes: 20, max_batch_lines: 3, bounds: Bounds::ANY };
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(pairs: &[(&'static str, &'static [u8])]) -> HeaderMap {
        let pair = |(n, v): &(&'static str, &'static [u8])| {
            (hyper::header::HeaderName::from_static(n), HeaderValue::from_bytes(v).unwrap())
        };
        let mut map = HeaderMap::new();
        map.extend(pairs.iter().map(pair));
        map
    }

    fn single(query: &str, given: &[(&'static str, &'static [u8])]) -> Result<String, Problem> {
        parse_single("a%3Ab", query, &headers(given), Bytes::from_static("äx".as_bytes()), &LIMITS).map(|p| shown(&p))
    }

    fn shown(publication: &Publication) -> String {
        let field = |(n, v): &(Bytes, Bytes)| format!("{}={}", n.escape_ascii(), v.escape_ascii());
        let fields: Vec<_> = publication.fields.iter().map(field).collect();
        format!("{}: {}", publication.channel, fields.join(" "))
    }

    #[test]
    fn single_form() {
        assert_eq!(single("", &[]).unwrap(), r"a:b: data=\xc3\xa4x");
        let all = format!("a:b: event=created retry=250 final=1 traceparent={TRACE} data=\\xc3\\xa4x");
        let from_query = format!("event=created&retry=250&final=true&traceparent={TRACE}&token=x");
        assert_eq!(single(&from_query, &[("x-event", b"other")]).unwrap(), all);
        let headers: &[(&str, &[u8])] =
            &[("x-event", b"created"), ("x-retry", b"250"), ("x-final", b"1"), ("traceparent", TRACE.as_bytes())];
        assert_eq!(single("", headers).unwrap(), all);
        assert_eq!(single("field.team=red&event=e", &[]).unwrap(), r"a:b: team=red event=e data=\xc3\xa4x");
        assert_eq!(single("event=&final=0", &[("traceparent", b"00-x")]).unwrap(), r"a:b: data=\xc3\xa4x");
    }

    #[test]
    fn single_refusals() {
        let long = format!("event={}", "x".repeat(257));
        for query in [
            "event=a%0Ab",
            "event=a%00",
            "event=fantail.gap",
            &long,
            "retry=x",
            "retry=-1",
            "retry=86400001",
            "final=yes",
            "event=a&event=b",
        ] {
            let problem = single(query, &[]).unwrap_err();
            assert_eq!(problem.code, Code::BadParameter, "{query}");
            assert!(problem.detail.starts_with(query.split('=').next().unwrap()), "{}", problem.detail);
        }
        for given in [&[("x-event", &b"\xff"[..])][..], &[("x-event", b"a"), ("x-event", b"b")], &[("x-final", b"")]] {
            let problem = single("", given).unwrap_err();
            assert!(problem.detail.starts_with("x-"), "{}", problem.detail);
        }
        let of = |segment, body| parse_single(segment, "", &HeaderMap::new(), Bytes::from_static(body), &LIMITS);
        assert_eq!(of("~a", b"").unwrap_err().code, Code::ReservedChannel);
        assert_eq!(of("a%20b", b"").unwrap_err().code, Code::BadChannel);
        assert_eq!(of("a", &[b'x'; 21]).unwrap_err().code, Code::BodyTooLarge);
        let problem = of("a", b"ab\xff").unwrap_err();
        assert_eq!((problem.code, problem.detail.as_str()), (Code::BadBody, "not UTF-8 from byte 2 on"));
        assert_eq!(shown(&of("a", b"").unwrap()), "a: data=");
    }

    #[test]
    fn batch() {
        let body = format!(
            "{{\"channel\":\"a\",\"data\":\"x\\ny\"}}\r\n\n \n{{ \"data\" : {{\"z\": 1e400,\"a\":[ ]}} , \"channel\":\"b\", \
             \"event\":\"e\",\"retry\":5,\"final\":true,\"traceparent\":\"{TRACE}\"}}\n{{\"channel\":\"a\",\"data\":null,\
             \"event\":null,\"final\":false}}"
        );
        let batch = parse_batch(body.as_bytes(), &LIMITS).unwrap();
        let lines: Vec<_> = batch.iter().map(|(line, p)| format!("{line} {}", shown(p))).collect();
        let second =
            format!("4 b: event=e retry=5 final=1 traceparent={TRACE} data={{\\\"z\\\": 1e400,\\\"a\\\":[ ]}}");
        assert_eq!(lines, ["1 a: data=x\\ny", &second, "5 a: data=null"]);
    }

    #[test]
    fn a_line_says_how_it_is_kept() {
        let line = br#"{"channel":"a","data":"x","key":"k\"1","maxlen":5,"ttl":"1m"}"#;
        let (_, publication) = parse_batch(line, &LIMITS).unwrap().remove(0);
        let once = publication.keeping.once.unwrap();
        assert_eq!((&*once.key, &*once.producer), ("k\"1", ""));
        assert_eq!((publication.keeping.maxlen, publication.keeping.ttl), (Some(5), Some(Duration::from_secs(60))));
    }

    #[test]
    fn batch_refusals_name_line_and_member() {
        let good = r#"{"channel":"a","data":"x"}"#;
        for (line, named) in [
            (r#"{"channel":"a","data":"x","evnt":1}"#, "unknown field `evnt`"),
            (r#"{"channel":"a","data":"x","data":"y"}"#, "duplicate field `data`"),
            (r#"{"channel":"a"}"#, "missing field `data`"),
            (r#"{"channel":5,"data":"x"}"#, "member \"channel\""),
            (r#"{"channel":"a","data":"\ud800"}"#, "member \"data\""),
            (r#"{"channel":"a","data":"x","event":"a\nb"}"#, "member \"event\""),
            (r#"{"channel":"a","data":"x","retry":-5}"#, "member \"retry\""),
            (r#"{"channel":"a","data":"x","retry":86400001}"#, "member \"retry\""),
            (r#"{"channel":"a","data":"x","final":"1"}"#, "member \"final\""),
            (r#"{"channel":"a","data":"x","traceparent":"y"}"#, "member \"traceparent\""),
            (r#"{"channel":"a","data":"x","key":"a b"}"#, "member \"key\": a key has 1 to 128"),
            (r#"{"channel":"a","data":"x","key":7}"#, "member \"key\""),
            (r#"{"channel":"a","data":"x","maxlen":0}"#, "member \"maxlen\": this node takes 1"),
            (r#"{"channel":"a","data":"x","ttl":60}"#, "member \"ttl\""),
            (r#"{"channel":"~a","data":"x"}"#, "\"~a\""),
            (r#"{"channel":"a b","data":"x"}"#, "\"a b\""),
            (r#"{"channel":"a","data":"123456789012345678901"}"#, "20 bytes"),
            (r#"{"channel":"a","data":"x""#, "EOF"),
            ("[]", "not a JSON object"),
            ("\u{feff}{}", "not a JSON object"),
        ] {
            let problem = parse_batch(format!("{good}\n{line}\n").as_bytes(), &LIMITS).unwrap_err();
            assert!(problem.detail.starts_with("line 2: ") && problem.detail.contains(named), "{}", problem.detail);
            assert!(!problem.detail.contains("column"), "{}", problem.detail);
        }
        assert_eq!(parse_batch(b"\xff", &LIMITS).unwrap_err().detail, "line 1: not UTF-8");
        for line in ["[]", "null", "hello", "7"] {
            assert_eq!(parse_batch(line.as_bytes(), &LIMITS).unwrap_err().detail, "line 1: not a JSON object");
        }
        assert_eq!(parse_batch(b"\n \r\n", &LIMITS).unwrap_err().code, Code::BadBody);
        let four = [good; 4].join("\n");
        assert_eq!(parse_batch(four.as_bytes(), &LIMITS).unwrap_err().code, Code::BodyTooLarge);
    }
}
