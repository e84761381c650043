//! Cross-origin access (WHATWG Fetch, "HTTP CORS protocol"): which origins' pages may read and publish.
//!
//! A listed origin is echoed with credentials; `*` lets any page read, never with credentials. `https://*.example.org`
//! lists every host one label below `example.org`.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ALLOW, CACHE_CONTROL, HOST, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Response, StatusCode, Uri};
use std::collections::HashSet;

/// Request headers that pages may send. Listed, since `*` means nothing with credentials and never `Authorization`.
const REQUEST_HEADERS: &str = "Authorization, Cache-Control, Content-Type, Last-Event-ID, Traceparent, Tracestate, \
                               X-Event, X-Final, X-Retry";

/// How long a browser may remember a preflight, in seconds: the most that Chromium does.
const MAX_AGE: &str = "7200";

/// The origins of `--cors-origin`.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    listed: HashSet<HeaderValue>,
    wildcards: Vec<Wildcard>,
    any: bool,
}

/// `https://*.example.org:8443`, as what stands before and behind the label.
#[derive(Clone, Debug)]
struct Wildcard {
    before: String,
    behind: String,
}

/// What one request's origin is allowed, as the response headers that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    origin: Option<HeaderValue>,
    credentials: bool,
    /// The answer depends on the origin, so caches must keep answers apart, refusals included.
    vary: bool,
}

impl Cors {
    /// Checks origins as `scheme://host[:port]`, or `*`. The error names the bad one.
    pub fn new(origins: &[String]) -> Result<Cors, String> {
        let mut cors = Cors::default();
        for origin in origins {
            match origin.as_str() {
                "*" => cors.any = true,
                _ if origin.contains('*') => cors.wildcards.push(Wildcard::parse(origin)?),
                _ => drop(cors.listed.insert(parse_origin(origin)?)),
            }
        }
        Ok(cors)
    }

    /// What a request with these headers is allowed.
    pub fn grant(&self, request: &HeaderMap) -> Grant {
        let vary = !self.listed.is_empty() || !self.wildcards.is_empty();
        match request.get(ORIGIN) {
            Some(origin) if self.lists(origin) => Grant { origin: Some(origin.clone()), credentials: true, vary },
            _ if self.any => Grant { origin: Some(HeaderValue::from_static("*")), credentials: false, vary },
            _ => Grant { origin: None, credentials: false, vary },
        }
    }

    /// Whether a page may publish: a browser sends a plain `POST` without asking first, so leaving the answer
    /// unreadable is not enough. Requests of no page have no `Origin`; those of our own have that of `Host`.
    pub fn admits(&self, request: &HeaderMap) -> bool {
        let Some(origin) = request.get(ORIGIN) else { return true };
        self.any || self.lists(origin) || is_own(origin, request)
    }

    /// Whether a request with a browser's cookies comes from a page that may use them: of a listed origin, of our own,
    /// or of none. `*` lists nobody here. Browsers say so by themselves (W3C Fetch Metadata); older ones name the
    /// origin of what would be another site's.
    pub fn trusts(&self, request: &HeaderMap) -> bool {
        let origin = request.get(ORIGIN);
        if origin.is_some_and(|origin| self.lists(origin)) {
            return true;
        }
        match request.get("sec-fetch-site").map(HeaderValue::as_bytes) {
            Some(b"same-origin" | b"none") => true,
            Some(_) => false,
            None => origin.is_none_or(|origin| is_own(origin, request)),
        }
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.listed.contains(origin) || self.wildcards.iter().any(|wildcard| wildcard.covers(origin.as_bytes()))
    }

    /// Answers `OPTIONS`, preflight or not, for a path that takes the methods `allow`.
    pub fn preflight(&self, request: &HeaderMap, allow: &'static str) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static(allow));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let grant = self.grant(request);
        grant.apply(headers);
        if grant.origin.is_some() && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        }
        response
    }
}

impl Grant {
    fn headers(&self) -> impl Iterator<Item = (HeaderName, &[u8])> {
        let origin = self.origin.iter().flat_map(|origin| {
            [(ACCESS_CONTROL_ALLOW_ORIGIN, origin.as_bytes()), (ACCESS_CONTROL_EXPOSE_HEADERS, b"Retry-After")]
        });
        let credentials = self.credentials.then_some((ACCESS_CONTROL_ALLOW_CREDENTIALS, &b"true"[..]));
        let vary = self.vary.then_some((VARY, &b"Origin"[..]));
        origin.chain(credentials).chain(vary)
    }

    /// Adds the headers to a response of hyper's.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in self.headers() {
            headers.append(name, HeaderValue::from_bytes(value).expect("came out of a header"));
        }
    }

    /// Appends the header lines to a head that is written by hand.
    pub fn write_lines(&self, head: &mut Vec<u8>) {
        for (name, value) in self.headers() {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
    }
}

impl Wildcard {
    fn parse(text: &str) -> Result<Wildcard, String> {
        check_wildcard(text).map_err(|why| format!("origin {text:?}: {why}"))?;
        let (before, behind) = text.split_once('*').unwrap_or_default();
        Ok(Wildcard { before: before.to_owned(), behind: behind.to_owned() })
    }

    /// Whole labels only, and one of them: neither `https://evilexample.org` nor `https://a.b.example.org`.
    fn covers(&self, origin: &[u8]) -> bool {
        let label =
            origin.strip_prefix(self.before.as_bytes()).and_then(|rest| rest.strip_suffix(self.behind.as_bytes()));
        let in_label = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-' || *b == b'_';
        label.is_some_and(|label| !label.is_empty() && label.iter().all(in_label))
    }
}

/// Checks `scheme://*.domain[:port]`, as browsers write origins; the domain has two labels or is `localhost`.
pub(crate) fn check_wildcard(text: &str) -> Result<(), String> {
    let form = || "a wildcard stands for one whole label, as in https://*.example.org".to_owned();
    let (scheme, rest) = text.split_once("://*.").ok_or_else(form)?;
    let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    if !matches!(scheme, "http" | "https") || host.contains('*') {
        return Err(form());
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !host.split('.').all(is_label) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("not an origin as browsers write it, in lower case".into());
    }
    match host.contains('.') || host == "localhost" {
        true => Ok(()),
        false => Err("it would list a whole top-level domain".into()),
    }
}

/// Whether a node can be started with this origin; the error is the half of a line that names it.
pub(crate) fn check_origin(text: &str) -> Result<(), String> {
    let prefix = format!("origin {text:?}: ");
    parse_origin(text).map(drop).map_err(|why| why.strip_prefix(&prefix).unwrap_or(&why).to_owned())
}

/// Whether the page is one of the host that it asks.
fn is_own(origin: &HeaderValue, request: &HeaderMap) -> bool {
    let own = || {
        let (_, authority) = origin.to_str().ok()?.split_once("://")?;
        Some(authority.eq_ignore_ascii_case(request.get(HOST)?.to_str().ok()?))
    };
    own() == Some(true)
}

/// An origin as browsers write it: lower case, without a default port, without a path.
fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = |why: &str| format!("origin {text:?}: {why}");
    let uri: Uri = text.parse().map_err(|_| wrong("not of the form scheme://host[:port], nor *"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong("not of the form scheme://host[:port], nor *"));
    };
    let bare = format!("{scheme}://{authority}");
    if !bare.eq_ignore_ascii_case(text) || authority.as_str().contains('@') {
        return Err(wrong("an origin has neither path nor user"));
    }
    if authority.as_str() != authority.host() && authority.port_u16().is_none() {
        return Err(wrong("its port is no number from 0 to 65535"));
    }
    let bare = bare.to_ascii_lowercase();
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let bare = bare.strip_suffix(default_port).unwrap_or(&bare);
    HeaderValue::from_str(bare).map_err(|_| wrong("not a header value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(&origins.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn request(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect()
    }

    fn lines(cors: &Cors, origin: &'static str) -> String {
        let mut head = Vec::new();
        let grant = cors.grant(&request(&[(ORIGIN, origin)]));
        grant.write_lines(&mut head);
        let mut applied = HeaderMap::new();
        grant.apply(&mut applied);
        let head = String::from_utf8(head).unwrap();
        assert_eq!(head.lines().count(), applied.len());
        head
    }

    #[test]
    fn listed_origins_get_credentials_and_any_never() {
        let listed = cors(&["https://a.example", "http://B.example:80", "http://[::1]:3000"]);
        let granted = lines(&listed, "https://a.example");
        assert!(granted.contains("access-control-allow-origin: https://a.example\r\n"));
        assert!(granted.contains("access-control-allow-credentials: true\r\n") && granted.contains("vary: Origin\r\n"));
        assert!(lines(&listed, "http://b.example").contains("credentials"));
        for other in ["https://a.example:444", "http://a.example", "null", "https://a.example.evil"] {
            assert_eq!(lines(&listed, other), "vary: Origin\r\n", "{other}");
        }
        let any = lines(&cors(&["*"]), "null");
        assert!(
            any.contains("access-control-allow-origin: *\r\n") && !any.contains("credentials") && !any.contains("vary")
        );
        let both = cors(&["*", "https://a.example"]);
        assert!(lines(&both, "https://a.example").contains("credentials"));
        assert!(lines(&both, "https://b.example").contains("origin: *\r\n"));
        assert_eq!(lines(&cors(&[]), "https://a.example"), "");
    }

    #[test]
    fn preflight() {
        let asked = request(&[(ORIGIN, "https://a.example"), (ACCESS_CONTROL_REQUEST_METHOD, "POST")]);
        let answer = cors(&["https://a.example"]).preflight(&asked, "GET, POST");
        assert_eq!((answer.status().as_u16(), &answer.headers()[ALLOW]), (204, &HeaderValue::from_static("GET, POST")));
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().contains("Last-Event-ID"));
        let refused = cors(&["https://b.example"]).preflight(&asked, "GET, POST");
        assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_METHODS));
    }

    #[test]
    fn pages_that_may_publish() {
        let listed = cors(&["https://a.example"]);
        assert!(listed.admits(&request(&[(HOST, "node:8080")])));
        assert!(listed.admits(&request(&[(HOST, "node:8080"), (ORIGIN, "https://a.example")])));
        assert!(listed.admits(&request(&[(HOST, "Node:8080"), (ORIGIN, "http://node:8080")])));
        for evil in ["null", "https://b.example", "http://node", "http://node:8080.evil"] {
            assert!(!listed.admits(&request(&[(HOST, "node:8080"), (ORIGIN, evil)])), "{evil}");
        }
        assert!(cors(&["*"]).admits(&request(&[(ORIGIN, "null")])));
    }

    #[test]
    fn wildcards_are_whole_labels() {
        let cors = cors(&["https://*.example.org", "http://*.localhost:3000"]);
        for origin in ["https://a.example.org", "https://a-1.example.org", "http://x.localhost:3000"] {
            assert!(lines(&cors, origin).contains("credentials: true"), "{origin}");
        }
        for origin in [
            "https://example.org",
            "https://.example.org",
            "https://a.b.example.org",
            "https://evilexample.org",
            "http://a.example.org",
            "https://a.example.org:8443",
            "https://a.example.org.evil",
            "https://a@b.example.org",
            "https://evil/.example.org",
            "http://x.localhost",
        ] {
            assert_eq!(lines(&cors, origin), "vary: Origin\r\n", "{origin}");
        }
        for bad in [
            "https://*",
            "https://a*.example.org",
            "https://*.org",
            "https://*.*.org",
            "*.example.org",
            "https://*.Example.org",
            "https://*.example.org/",
            "https://*.example.org:x",
            "ftp://*.example.org",
        ] {
            assert!(Cors::new(&[bad.to_owned()]).unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn pages_that_may_use_cookies() {
        const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
        let listed = cors(&["https://a.example"]);
        let own = (HOST, "node:8080");
        for good in [
            &[][..],
            &[(SITE, "same-origin")],
            &[(SITE, "none")],
            &[(SITE, "cross-site"), (ORIGIN, "https://a.example")],
            &[(ORIGIN, "https://a.example")],
            &[(ORIGIN, "https://node:8080")],
        ] {
            let request = request(&[good, std::slice::from_ref(&own)].concat());
            assert!(listed.trusts(&request), "{good:?}");
        }
        for evil in [
            &[(SITE, "cross-site")][..],
            &[(SITE, "same-site")],
            &[(SITE, "")],
            &[(SITE, "cross-site"), (ORIGIN, "https://node:8080")],
            &[(ORIGIN, "https://evil.example")],
            &[(ORIGIN, "null")],
        ] {
            let request = request(&[evil, std::slice::from_ref(&own)].concat());
            assert!(!listed.trusts(&request), "{evil:?}");
            assert!(!cors(&["*"]).trusts(&request), "any page is not one of ours: {evil:?}");
        }
    }

    #[test]
    fn bad_origins() {
        for bad in
            ["", "null", "a.example", "https://a.example/", "https://a.example/x", "https://u@a.example", "https://"]
        {
            let error = Cors::new(&[bad.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
