//! Response heads that are written by hand, for connections that have left hyper.

use super::cors::Grant;
use super::encoding::Coding;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Response, header::HeaderValue};
use std::io::Write as _;
use std::time::SystemTime;

/// What every event stream's head says.
const STREAM: [(&str, &str); 4] = [
    ("content-type", "text/event-stream"),
    ("x-content-type-options", "nosniff"),
    // A cache that joins requests would give one client's stream to others; `no-store` alone keeps it from that.
    ("cache-control", "no-cache, no-store, no-transform"),
    ("x-accel-buffering", "no"),
];

/// The same for an answer that hyper writes.
pub fn stream_headers(headers: &mut HeaderMap) {
    for (name, value) in STREAM {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The head of an event stream.
pub fn stream(chunked: bool, coding: Coding, grant: &Grant) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in STREAM {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    coding.write_lines(&mut head);
    grant.write_lines(&mut head);
    date(&mut head);
    if chunked {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    // A proxy would keep the connection for another request, which would die with it.
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head
}

/// 204, which ends an EventSource for good (WHATWG HTML, section 9.2.3), and so must be kept for nobody else: a cache may
/// keep a 204 without being asked to (RFC 9111, section 4.2.2).
pub fn finished(grant: &Grant) -> Vec<u8> {
    let mut head = b"HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n".to_vec();
    grant.write_lines(&mut head);
    date(&mut head);
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head
}

/// A whole answer, after which the connection is closed.
pub async fn answer(response: Response<Full<Bytes>>, grant: &Grant) -> Vec<u8> {
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
    grant.write_lines(&mut out);
    date(&mut out);
    let _ = write!(out, "content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    out.extend_from_slice(&body);
    out
}

fn date(into: &mut Vec<u8>) {
    let _ = write!(into, "date: {}\r\n", httpdate::HttpDate::from(SystemTime::now()));
}
