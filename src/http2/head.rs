//! A request's head: lines become a request, or are malformed (RFC 9113, section 8).

use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{HeaderMap, Method, Request, Uri, Version};

/// Bytes of a head at most: names, values, and 32 for each line (section 6.5.2). URLs carry all.
pub const HEAD_BYTES: usize = 64 << 10;

/// Lines that come one by one.
#[derive(Debug, Default)]
pub struct Lines {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    headers: HeaderMap,
    bytes: usize,
    malformed: bool,
    /// A line has come that says what it is for by its name.
    begun: bool,
}

/// What became of the lines of a head.
#[derive(Debug)]
pub enum Head {
    /// A request, and the length of its body, if it says one.
    Request(Box<Request<()>>, Option<u64>),
    /// No request, and not the end of one (section 8.1.1).
    Malformed,
    /// It is larger than [`HEAD_BYTES`].
    TooLarge,
}

impl Lines {
    /// Takes a line. Behind [`HEAD_BYTES`] nothing is kept.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.bytes += name.len() + value.len() + 32;
        if self.bytes > HEAD_BYTES || self.malformed {
            return;
        }
        self.malformed = match name.strip_prefix(b":") {
            Some(name) => self.begun || self.pseudo(name, value).is_none(),
            None => {
                self.begun = true;
                self.header(name, value).is_none()
            }
        };
    }

    /// A line of the request's first line (section 8.3.1), each of which comes once.
    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        fn once<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
            field.replace(value?).is_none().then_some(())
        }
        match name {
            b"method" => once(&mut self.method, Method::from_bytes(value).ok()),
            b"scheme" => once(&mut self.scheme, Scheme::try_from(value).ok()),
            b"authority" => once(&mut self.authority, Authority::try_from(value).ok()),
            b"path" if matches!(value.first(), Some(b'/' | b'*')) => {
                once(&mut self.path, PathAndQuery::try_from(value).ok())
            }
            _ => None,
        }
    }

    fn header(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if name.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        match name {
            // What belongs to a connection of HTTP/1 (section 8.2.2).
            b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => return None,
            b"te" if value != b"trailers" => return None,
            _ => {}
        }
        let name = HeaderName::from_bytes(name).ok()?;
        self.headers.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
        Some(())
    }

    /// Whether they may stand behind a body.
    pub fn are_trailers(&self) -> bool {
        let request = self.method.is_some() || self.scheme.is_some() || self.authority.is_some() || self.path.is_some();
        !self.malformed && !request
    }

    /// What they are.
    pub fn end(self) -> Head {
        if self.bytes > HEAD_BYTES {
            return Head::TooLarge;
        }
        match self.request() {
            Some((request, length)) => Head::Request(Box::new(request), length),
            None => Head::Malformed,
        }
    }

    fn request(self) -> Option<(Request<()>, Option<u64>)> {
        if self.malformed {
            return None;
        }
        let method = self.method?;
        let mut uri = Uri::builder();
        match (method == Method::CONNECT, self.scheme, self.path) {
            (true, None, None) => uri = uri.authority(self.authority?),
            (true, ..) => return None,
            (false, Some(scheme), Some(path)) => {
                uri = uri.path_and_query(path);
                if let Some(authority) = self.authority {
                    uri = uri.scheme(scheme).authority(authority);
                }
            }
            (false, ..) => return None,
        }
        let length = match self.headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>()[..] {
            [] => None,
            [length] => Some(number(length)?),
            _ => return None,
        };
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri.build().ok()?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        Some((request, length))
    }
}

/// Digits alone, where the parser of numbers would take a sign.
fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_of_a_head_that_is_too_large() {
        let mut lines = Lines::default();
        (0..1_000).for_each(|_| lines.push(b"x-large", &[b'x'; 4_000]));
        assert_eq!(lines.headers.len(), HEAD_BYTES / 4_039);
        assert!(matches!(lines.end(), Head::TooLarge));
    }
}
