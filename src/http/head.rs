//! Response heads that are written by hand, for connections that have left hyper.

use super::encoding::Coding;
use crate::clock::Clock;
use crate::cors::CorsHeaders;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONNECTION, DATE, HeaderValue};
use hyper::{HeaderMap, Response, Version};
use std::io::Write as _;
use std::time::UNIX_EPOCH;

/// What every event stream's head says.
const STREAM: [(&str, &str); 4] = [
    // The standard has no other encoding, but some readers take text without a charset for Latin-1.
    ("content-type", "text/event-stream; charset=utf-8"),
    ("x-content-type-options", "nosniff"),
    // A cache that joins requests would give one client's stream to others; `no-store` alone keeps it from that.
    ("cache-control", "no-cache, no-store, no-transform"),
    ("x-accel-buffering", "no"),
];

/// Sets the headers of an event stream in an answer that hyper writes.
pub fn stream_headers(headers: &mut HeaderMap) {
    for (name, value) in STREAM {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// How the body of a stream on HTTP/1 is marked off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// HTTP/1.0 knows no chunks.
    pub chunked: bool,
    /// The head says that the connection ends with the stream.
    pub says_close: bool,
}

impl Marks {
    /// A proxy would keep the connection for another request, which would die with it, so it is told that there will be none.
    /// A client that asks for `keep-alive` by itself is not: Node's `fetch` takes whatever ends a connection that was to be
    /// closed for the end of its body, chunks or not, and would take every end of a stream for a complete one.
    pub fn of(version: Version, request: &HeaderMap) -> Marks {
        let keeps = request.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let keeps = keeps.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("keep-alive"));
        let proxied = ["via", "forwarded", "x-forwarded-for"].iter().any(|name| request.contains_key(*name));
        let chunked = version != Version::HTTP_10;
        Marks { chunked, says_close: !chunked || !keeps || proxied }
    }
}

/// The head of an event stream.
pub fn stream(marks: Marks, coding: Coding, cors: &CorsHeaders, clock: &Clock) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in STREAM {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    coding.write_lines(&mut head);
    cors.write_lines(&mut head);
    date(&mut head, clock);
    if marks.chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if marks.says_close {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// 204, which ends an EventSource for good (WHATWG HTML, section 9.2.3), and so must be kept for nobody else: a cache may
/// keep a 204 without being asked to (RFC 9111, section 4.2.2).
pub fn finished(cors: &CorsHeaders, clock: &Clock) -> Vec<u8> {
    let mut head = b"HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n".to_vec();
    cors.write_lines(&mut head);
    date(&mut head, clock);
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head
}

/// A whole answer, after which the connection is closed.
pub async fn answer(response: Response<Full<Bytes>>, cors: &CorsHeaders, clock: &Clock) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut out = Vec::with_capacity(512 + body.len());
    let status = parts.status;
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    for (name, value) in &parts.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    cors.write_lines(&mut out);
    date(&mut out, clock);
    let _ = write!(out, "content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    out.extend_from_slice(&body);
    out
}

fn date(into: &mut Vec<u8>, clock: &Clock) {
    let _ = write!(into, "date: {}\r\n", now(clock));
}

fn now(clock: &Clock) -> httpdate::HttpDate {
    httpdate::HttpDate::from(UNIX_EPOCH + clock.since_epoch())
}

/// Dates an answer that hyper writes, by the node's clock in place of the system's.
pub fn set_date(headers: &mut HeaderMap, clock: &Clock) {
    let date = HeaderValue::try_from(now(clock).to_string()).expect("a date is ASCII");
    headers.insert(DATE, date);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cors::Cors;
    use std::time::Duration;

    #[test]
    fn a_head_has_the_date_of_the_clock_that_is_given() {
        let clock = Clock::given(|| UNIX_EPOCH + Duration::from_secs(784_111_777));
        let head = finished(&Cors::default().headers_for(&HeaderMap::new()), &clock);
        assert!(String::from_utf8_lossy(&head).contains("\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    }
}
