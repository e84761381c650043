//! Answers to `OPTIONS`: what a page asks before it sends what a form could not.

use crate::cors::Cors;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ALLOW, CACHE_CONTROL, HeaderValue,
};
use hyper::{HeaderMap, Response, StatusCode};

/// Request headers that pages may send. Listed, since `*` means nothing with credentials and never `Authorization`.
const REQUEST_HEADERS: &str = "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, \
                               Traceparent, Tracestate, X-Event, X-Final, X-Retry";

/// How long a browser may remember a preflight, in seconds: the most that Chromium does.
const MAX_AGE: &str = "7200";

impl Cors {
    /// Answers `OPTIONS`, a preflight or not, for a path that takes the methods `allow`.
    pub fn preflight(&self, request: &HeaderMap, allow: &'static str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(allow));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let allowed = self.headers_for(request);
        allowed.apply(headers);
        if allowed.allow_page() && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::ORIGIN;

    #[test]
    fn preflight() {
        let asked = [(ORIGIN, "https://a.example"), (ACCESS_CONTROL_REQUEST_METHOD, "POST")];
        let asked = asked.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect();
        let answer = Cors::new(&["https://a.example".parse().unwrap()]).preflight(&asked, "GET, POST");
        assert_eq!((answer.status().as_u16(), &answer.headers()[ALLOW]), (204, &HeaderValue::from_static("GET, POST")));
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().contains("Last-Event-ID"));
        let refused = Cors::new(&["https://b.example".parse().unwrap()]).preflight(&asked, "GET, POST");
        assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_METHODS));
    }
}
