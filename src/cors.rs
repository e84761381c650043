//! Cross-origin access (WHATWG Fetch, "HTTP CORS protocol"): which origins' pages may read and publish. Pure.
//!
//! A listed origin is echoed with credentials; `*` lets any page read, never with credentials. `https://*.example.org`
//! lists every host one label below `example.org`.

use crate::hash::HashSet;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HOST, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Uri};
use std::str::FromStr;

/// One value of `--cors-origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `*`: any page, without credentials.
    Any,
    /// `https://example.org:8443`, as browsers write it: without a default port.
    Listed(HeaderValue),
    /// `https://*.example.org`: every host one label below.
    Below(Wildcard),
}

/// Why a text is no origin: the second half of a line that names the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("sandboxed pages of any site send it, so it tells nobody apart")]
    Null,
    #[error("not an origin such as https://example.org")]
    Form,
    #[error("an origin has no path, not even a slash at its end")]
    Path,
    #[error("a character that browsers do not send in an origin (they write it in lower case)")]
    Character,
    #[error("its port is no number from 0 to 65535")]
    Port,
    #[error("a wildcard stands for one whole label, as in https://*.example.org")]
    Wildcard,
    #[error("not an origin as browsers write it, in lower case")]
    Label,
    #[error("it would list a whole top-level domain")]
    TopLevel,
}

/// The origins of `--cors-origin`.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    listed: HashSet<HeaderValue>,
    wildcards: Vec<Wildcard>,
    any: bool,
}

/// A wildcard, as what stands before and behind its label: `https://*.example.org:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wildcard {
    before: String,
    behind: String,
}

/// What one request's origin is allowed, as the response headers that say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsHeaders {
    origin: Option<HeaderValue>,
    credentials: bool,
    /// The answer depends on the origin, so caches must keep answers apart, refusals included.
    vary: bool,
}

impl FromStr for Origin {
    type Err = OriginError;

    /// Reads `*` or an origin as browsers write it (RFC 6454, section 6.2): scheme and host in lower case, no path.
    fn from_str(text: &str) -> Result<Origin, OriginError> {
        match text {
            "*" => Ok(Origin::Any),
            "null" => Err(OriginError::Null),
            _ if text.contains('*') => Wildcard::parse(text).map(Origin::Below),
            _ => listed(text).map(Origin::Listed),
        }
    }
}

/// Reads an origin without a wildcard.
fn listed(text: &str) -> Result<HeaderValue, OriginError> {
    let (scheme, host) = text.split_once("://").ok_or(OriginError::Form)?;
    if scheme.is_empty() || host.is_empty() {
        return Err(OriginError::Form);
    }
    if host.contains('/') {
        return Err(OriginError::Path);
    }
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-:[]_/".contains(&b);
    if !text.bytes().all(allowed) {
        return Err(OriginError::Character);
    }
    let uri: Uri = text.parse().map_err(|_| OriginError::Form)?;
    let (Some(_), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(OriginError::Form);
    };
    if authority.as_str() != authority.host() && authority.port_u16().is_none() {
        return Err(OriginError::Port);
    }
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let bare = text.strip_suffix(default_port).unwrap_or(text);
    HeaderValue::from_str(bare).map_err(|_| OriginError::Character)
}

impl Cors {
    /// What these origins allow together.
    pub fn new(origins: &[Origin]) -> Cors {
        let mut cors = Cors::default();
        for origin in origins.iter().cloned() {
            match origin {
                Origin::Any => cors.any = true,
                Origin::Listed(origin) => drop(cors.listed.insert(origin)),
                Origin::Below(wildcard) => cors.wildcards.push(wildcard),
            }
        }
        cors
    }

    /// What a request with these headers is allowed.
    pub fn headers_for(&self, request: &HeaderMap) -> CorsHeaders {
        let vary = !self.listed.is_empty() || !self.wildcards.is_empty();
        match request.get(ORIGIN) {
            Some(origin) if self.lists(origin) => CorsHeaders { origin: Some(origin.clone()), credentials: true, vary },
            _ if self.any => CorsHeaders { origin: Some(HeaderValue::from_static("*")), credentials: false, vary },
            _ => CorsHeaders { origin: None, credentials: false, vary },
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
}

impl CorsHeaders {
    /// Whether the page that asks may read the answer.
    pub fn allow_page(&self) -> bool {
        self.origin.is_some()
    }

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
    /// Reads `scheme://*.domain[:port]`, as browsers write origins; the domain has two labels or is `localhost`.
    fn parse(text: &str) -> Result<Wildcard, OriginError> {
        let (scheme, rest) = text.split_once("://*.").ok_or(OriginError::Wildcard)?;
        let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
        if !matches!(scheme, "http" | "https") || host.contains('*') {
            return Err(OriginError::Wildcard);
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !host.split('.').all(is_label) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(OriginError::Label);
        }
        if !host.contains('.') && host != "localhost" {
            return Err(OriginError::TopLevel);
        }
        let (before, behind) = text.split_once('*').ok_or(OriginError::Wildcard)?;
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

/// Whether the page is one of the host that it asks.
fn is_own(origin: &HeaderValue, request: &HeaderMap) -> bool {
    let own = || {
        let (_, authority) = origin.to_str().ok()?.split_once("://")?;
        Some(authority.eq_ignore_ascii_case(request.get(HOST)?.to_str().ok()?))
    };
    own() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors::new(&origins.iter().map(|origin| origin.parse().unwrap()).collect::<Vec<_>>())
    }

    fn request(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect()
    }

    fn lines(cors: &Cors, origin: &'static str) -> String {
        let mut head = Vec::new();
        let grant = cors.headers_for(&request(&[(ORIGIN, origin)]));
        grant.write_lines(&mut head);
        let mut applied = HeaderMap::new();
        grant.apply(&mut applied);
        let head = String::from_utf8(head).unwrap();
        assert_eq!(head.lines().count(), applied.len());
        head
    }

    #[test]
    fn listed_origins_get_credentials_and_any_never() {
        let listed = cors(&["https://a.example", "http://b.example:80", "http://[::1]:3000"]);
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
            assert!(bad.parse::<Origin>().is_err(), "{bad}");
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
        for (bad, why) in [
            ("", OriginError::Form),
            ("null", OriginError::Null),
            ("a.example", OriginError::Form),
            ("://x", OriginError::Form),
            ("https://", OriginError::Form),
            ("https://a.example/", OriginError::Path),
            ("https://a.example/x", OriginError::Path),
            ("https://A.example", OriginError::Character),
            ("https://a b", OriginError::Character),
            ("https://u@a.example", OriginError::Character),
            ("https://a:b", OriginError::Port),
            ("https://[x", OriginError::Form),
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(why), "{bad:?}");
        }
    }
}
