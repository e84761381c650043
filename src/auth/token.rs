//! Where a request carries its token. What is printed of one is nothing, and no query is ever logged or traced.

use crate::problem::{Code, Problem};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE};
use std::fmt;

/// The longest token, in bytes.
pub const MAX_BYTES: usize = 8 << 10;
/// The query parameter.
pub const PARAMETER: &str = "token";

/// A token as it came; what is printed of it is nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// How it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `Authorization: Bearer …`, which no browser adds by itself.
    Header,
    /// `?token=…`.
    Query,
    /// A cookie, which a browser adds for any page that asks it to.
    Cookie,
}

impl Token {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Finds the token: the header goes before the query, the query before the cookie.
///
/// What is given twice in one place is refused: one of the two may be somebody else's.
pub fn find(headers: &HeaderMap, query: &str, cookie: Option<&str>) -> Result<Option<(Token, Source)>, Problem> {
    let found = match bearer(headers)? {
        Some(token) => Some((token, Source::Header)),
        None => match parameter(query)? {
            Some(token) => Some((token, Source::Query)),
            None => cookie_value(headers, cookie)?.map(|token| (token, Source::Cookie)),
        },
    };
    match found {
        Some((token, _)) if token.len() > MAX_BYTES => Err(bad(&format!("it is longer than {MAX_BYTES} bytes"))),
        found => Ok(found.map(|(token, source)| (Token(token), source))),
    }
}

/// The token of the header alone.
pub fn of_header(headers: &HeaderMap) -> Result<Option<Token>, Problem> {
    Ok(bearer(headers)?.map(Token))
}

/// A refusal of what was sent as a token. The text must not quote it.
pub fn bad(why: &str) -> Problem {
    Problem::new(Code::BadToken, format!("the token is refused: {why}"))
}

/// `Bearer` credentials (RFC 6750, section 2.1); other schemes are not ours.
fn bearer(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("Authorization is given more than once"));
    }
    let text = value.to_str().map_err(|_| bad("Authorization is not ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim().to_owned())),
        _ => Ok(None),
    }
}

fn parameter(query: &str) -> Result<Option<String>, Problem> {
    let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == PARAMETER);
    match (values.next(), values.next()) {
        (Some(_), Some(_)) => Err(bad("?token= is given more than once")),
        (first, _) => Ok(first.map(|(_, value)| value.into_owned())),
    }
}

/// A cookie's value (RFC 6265, section 4.2.1); HTTP/2 may split the header.
fn cookie_value(headers: &HeaderMap, wanted: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(wanted) = wanted else { return Ok(None) };
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim());
    let Some(value) = values.next() else { return Ok(None) };
    // A neighbour's subdomain can set a second one.
    if values.any(|other| other != value) {
        return Err(bad("the cookie is given more than once"));
    }
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    Ok((!bare.is_empty()).then(|| bare.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn found(pairs: &[(HeaderName, &str)], query: &str) -> Result<Option<(String, Source)>, Problem> {
        let mut headers = HeaderMap::new();
        pairs.iter().for_each(|(name, value)| {
            headers.append(name, value.parse().unwrap());
        });
        find(&headers, query, Some("sid")).map(|found| found.map(|(token, source)| (token.0, source)))
    }

    #[test]
    fn the_header_goes_before_the_query_and_that_before_the_cookie() {
        let (header, cookie) = ((AUTHORIZATION, "bearer  h "), (COOKIE, "a=1; sid=\"c\"; sidx=2"));
        let is = |token: &str, source| Ok(Some((token.to_owned(), source)));
        assert_eq!(found(&[header.clone(), cookie.clone()], "token=q"), is("h", Source::Header));
        assert_eq!(found(std::slice::from_ref(&cookie), "x=1&token=q%2E"), is("q.", Source::Query));
        assert_eq!(found(&[cookie], "tokens=1"), is("c", Source::Cookie));
        assert_eq!(found(&[(COOKIE, "a=1"), (COOKIE, "sid=c")], ""), is("c", Source::Cookie));
        for none in [(COOKIE, "sid="), (COOKIE, "Sid=c"), (COOKIE, "xsid=c"), (AUTHORIZATION, "Basic eDp5")] {
            assert_eq!(found(&[none], ""), Ok(None));
        }
    }

    #[test]
    fn what_is_given_twice_or_is_too_long_is_refused() {
        let long = "x".repeat(MAX_BYTES + 1);
        for (pairs, query) in [
            (vec![(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")], String::new()),
            (vec![], "token=a&token=b".to_owned()),
            (vec![(COOKIE, "sid=a; sid=b")], String::new()),
            (vec![], format!("token={long}")),
        ] {
            let problem = found(&pairs, &query).unwrap_err();
            assert_eq!(problem.code, Code::BadToken);
            assert!(!problem.detail.contains("xx"), "{}", problem.detail);
        }
        assert!(found(&[(COOKIE, "sid=a; sid=a")], "").is_ok());
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token("secret".into())), "Token(…)");
    }
}
