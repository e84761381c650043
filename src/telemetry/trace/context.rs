//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): the `traceparent` that requests and entries carry.

use crate::backplane::{Entry, Publication};
use bytes::Bytes;
use hyper::HeaderMap;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};

/// Marks the spans that are collected.
pub const TARGET: &str = "fantail::trace";

/// The name of the header, and of the entry's field.
pub const TRACEPARENT: &str = "traceparent";

/// `version-traceid-parentid-flags`, lower-case hexadecimal (section 3.2).
pub fn is_traceparent(value: &str) -> bool {
    let hex = |p: &str, length| p.len() == length && p.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |p: &str, length| hex(p, length) && p.bytes().any(|b| b != b'0');
    let parts: Vec<&str> = value.splitn(5, '-').collect();
    let [version, trace, parent, flags, more @ ..] = &parts[..] else { return false };
    // Later versions may have more parts; ff is no version.
    let extent = if *version == "00" { more.is_empty() } else { *version != "ff" && value.len() <= 128 };
    let printable = value.bytes().all(|b| b.is_ascii_graphic());
    extent && printable && hex(version, 2) && id(trace, 32) && id(parent, 16) && hex(flags, 2)
}

/// The span that a `traceparent` names; `None` where it names none.
pub fn remote(value: &[u8]) -> Option<SpanContext> {
    let value = std::str::from_utf8(value).ok().filter(|value| is_traceparent(value))?;
    let mut parts = value.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE))
}

/// The span that a request belongs to; none where it says so twice (section 3.3.1).
pub fn of_request(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (first, second) = (values.next()?, values.next());
    if second.is_some() { None } else { remote(first.as_bytes()) }
}

/// The span that a producer wrote into an entry.
pub fn of_entry(entry: &Entry) -> Option<SpanContext> {
    let value = entry.field(TRACEPARENT.as_bytes())?;
    remote(value)
}

/// Writes the trace that a publication belongs to into its fields: the span that publishes it where it is sampled,
/// else what the request says. A `traceparent` that was given for the event itself stays.
pub fn stamp(publication: &mut Publication, headers: &HeaderMap) {
    let header = headers.get(TRACEPARENT).map(|value| value.as_bytes());
    let at = publication.fields.iter().position(|(name, _)| name.as_ref() == TRACEPARENT.as_bytes());
    let current = opentelemetry::Context::map_current(|current| current.span().span_context().clone());
    let value = match current.is_sampled() {
        true => text(&current),
        false => match of_request(headers).and(header) {
            Some(value) => Bytes::copy_from_slice(value),
            None => return,
        },
    };
    match at {
        // `traceparent` of the query or of a batch's line.
        Some(at) if Some(publication.fields[at].1.as_ref()) != header => {}
        Some(at) => publication.fields[at].1 = value,
        // Before the data, which is the long one.
        None => {
            let end = publication.fields.len().saturating_sub(1);
            publication.fields.insert(end, (Bytes::from_static(TRACEPARENT.as_bytes()), value));
        }
    }
}

fn text(span: &SpanContext) -> Bytes {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use hyper::header::HeaderValue;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn traceparents() {
        assert!(is_traceparent(TRACE) && is_traceparent(&format!("01{}-more", &TRACE[2..])));
        let zeros = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        for bad in [
            "",
            "00",
            &TRACE[..54],
            &format!("{TRACE}-x"),
            &format!("ff{}", &TRACE[2..]),
            &zeros,
            &TRACE.to_uppercase(),
        ] {
            assert!(!is_traceparent(bad), "{bad}");
            assert_eq!(remote(bad.as_bytes()), None, "{bad}");
        }
        let span = remote(TRACE.as_bytes()).unwrap();
        assert!(span.is_sampled() && span.is_remote());
        assert_eq!(text(&span), TRACE);
        assert!(!remote(TRACE.replace("-01", "-00").as_bytes()).unwrap().is_sampled());
        assert_eq!(remote(b"\xff"), None);
    }

    fn stamped(fields: &[(&'static str, &'static str)], header: Option<&'static str>) -> Vec<(Bytes, Bytes)> {
        let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut publication = Publication::new(Channel::new("a").unwrap(), fields);
        let mut headers = HeaderMap::new();
        header.map(|value| headers.insert(TRACEPARENT, HeaderValue::from_static(value)));
        stamp(&mut publication, &headers);
        publication.fields
    }

    #[test]
    fn without_a_span_the_request_is_what_an_entry_belongs_to() {
        let (data, field) = (("data", "x"), |value: &'static str| (Bytes::from(TRACEPARENT), Bytes::from(value)));
        assert_eq!(stamped(&[data], None), [("data".into(), "x".into())]);
        assert_eq!(stamped(&[data], Some("nonsense")), [("data".into(), "x".into())]);
        assert_eq!(stamped(&[data], Some(TRACE)), [field(TRACE), ("data".into(), "x".into())]);
        assert_eq!(stamped(&[("traceparent", "own"), data], Some(TRACE))[0], field("own"), "what was given stays");
    }
}
