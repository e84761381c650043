//! Where a request of `fantail tail` leads, redirects included: as EventSource follows them (Fetch, section 4.4). Pure.

use crate::subscription::Parameter;
use hyper::header::{HeaderMap, LOCATION};
use hyper::http::uri::InvalidUri;
use hyper::{StatusCode, Uri};
use url::{Origin, Url};

/// Redirects that one request follows at most.
const MOST: usize = 20;
/// How an id goes along that no header can carry.
const ID: &str = Parameter::LastEventId.name();

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Astray {
    #[error("more than {MOST} redirects")]
    TooMany,
    #[error("a redirect without a place to go to")]
    Nowhere,
    /// Another scheme, or a name and password, which are not shown.
    #[error("a redirect to something that is no http:// or https:// URL without a user name")]
    NoNode,
}

/// A URL that nothing can be asked of.
#[derive(Debug, thiserror::Error)]
pub(super) enum UrlError {
    #[error("{url}: {why}")]
    Unreadable {
        url: String,
        #[source]
        why: url::ParseError,
    },
    /// Shown without its query.
    #[error("{shown}: {why}")]
    NoUri {
        shown: String,
        #[source]
        why: InvalidUri,
    },
}

/// A request's way from one URL to the next.
#[derive(Clone, Debug)]
pub(super) struct Way {
    url: Url,
    home: Origin,
    followed: usize,
    abroad: bool,
}

impl Way {
    /// Begins at the URL that was asked for.
    pub(super) fn new(url: &str) -> Result<Way, UrlError> {
        let url = Url::parse(url).map_err(|why| UrlError::Unreadable { url: url.to_owned(), why })?;
        Ok(Way { home: url.origin(), url, followed: 0, abroad: false })
    }

    /// Goes on where an answer leads; `false`: it is no redirect.
    pub(super) fn follow(&mut self, status: StatusCode, headers: &HeaderMap) -> Result<bool, Astray> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(false);
        }
        let location = headers.get(LOCATION).ok_or(Astray::Nowhere)?;
        let location = std::str::from_utf8(location.as_bytes()).map_err(|_| Astray::Nowhere)?;
        let url = self.url.join(location).map_err(|_| Astray::Nowhere)?;
        let credentials = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.scheme(), "http" | "https") || credentials {
            return Err(Astray::NoNode);
        }
        if self.followed == MOST {
            return Err(Astray::TooMany);
        }
        self.followed += 1;
        self.abroad |= url.origin() != self.home;
        self.url = url;
        Ok(true)
    }

    /// Whether it has ever left the first URL's origin: from then on no token goes along, nor does it on the way back.
    pub(super) fn is_abroad(&self) -> bool {
        self.abroad
    }

    /// Where it is, without the query, which may hold what is nobody's business.
    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.url.origin().ascii_serialization(), self.url.path())
    }

    /// What to ask for; `id`: a last event id that no header can carry.
    pub(super) fn uri(&self, id: Option<&str>) -> Result<Uri, UrlError> {
        let mut url = self.url.clone();
        url.set_fragment(None);
        if let Some(id) = id
            && !url.query_pairs().any(|(name, _)| name == ID)
        {
            url.query_pairs_mut().append_pair(ID, id);
        }
        url.as_str().parse().map_err(|why| UrlError::NoUri { shown: self.shown(), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn follow(way: &mut Way, status: u16, location: Option<&'static str>) -> Result<bool, Astray> {
        let headers = location.map(|to| (LOCATION, HeaderValue::from_static(to))).into_iter().collect();
        way.follow(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn a_way_leads_from_one_url_to_the_next() {
        let mut way = Way::new("http://node:8080/events?channels=a").unwrap();
        for (status, location, uri, abroad) in [
            (301, "/x/events?channels=a", "http://node:8080/x/events?channels=a", false),
            (302, "y#part", "http://node:8080/x/y", false),
            (303, "//node:8080/z", "http://node:8080/z", false),
            (307, "https://node:8080/z", "https://node:8080/z", true),
            (308, "http://node:8080/z", "http://node:8080/z", true),
        ] {
            assert_eq!(follow(&mut way, status, Some(location)), Ok(true));
            assert_eq!((way.uri(None).unwrap().to_string().as_str(), way.is_abroad()), (uri, abroad));
        }
        for status in [200, 204, 300, 304, 305, 400, 503] {
            assert_eq!(follow(&mut way, status, Some("/a")), Ok(false), "{status}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_told() {
        let mut way = Way::new("http://node/events").unwrap();
        assert_eq!(follow(&mut way, 301, None), Err(Astray::Nowhere));
        for location in
            ["ftp://node/events", "http://u:secret@node/events", "http://u@node/", "data:,x", "javascript:x"]
        {
            assert_eq!(follow(&mut way, 302, Some(location)), Err(Astray::NoNode), "{location}");
        }
        assert_eq!(follow(&mut way, 302, Some("http://[/")), Err(Astray::Nowhere));
        let followed = std::iter::repeat_with(|| follow(&mut way, 302, Some("/events"))).take_while(|f| *f == Ok(true));
        assert_eq!(followed.count(), MOST);
        assert_eq!(follow(&mut way, 302, Some("/events")), Err(Astray::TooMany));
    }

    #[test]
    fn an_id_that_no_header_can_carry_goes_into_the_query() {
        let way = Way::new("http://node/events?channels=a").unwrap();
        let uri = way.uri(Some("a\u{1}b&")).unwrap();
        assert_eq!(uri.to_string(), "http://node/events?channels=a&lastEventId=a%01b%26");
        let way = Way::new(&uri.to_string()).unwrap();
        assert_eq!(way.uri(Some("x")).unwrap(), uri);
    }
}
