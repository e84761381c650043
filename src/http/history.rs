//! Past events of a channel as JSON: `GET /history/{channel}`, for scrolling back in a log or a chat.
//!
//! Owns the request's meaning and the answer. Who may read is decided before, by the rule for subscribing.

use super::reject::{Code, Problem};
use crate::backplane::{BackplaneError, Entry, Span, Toward};
use crate::channel::Channel;
use crate::event::Event;
use crate::frame::{plain_data, plain_type};
use crate::hub::Hub;
use crate::position::Position;
use crate::subscription::{decode_segment, parse_channel};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

/// Events of one answer.
const MOST: usize = 1_000;
const USUAL: usize = 50;
/// Entries of one read: entries may be large, and only so many are in memory beyond the answer's bytes.
const PIECE: usize = 50;
/// What an answer may weigh, about; then it is shorter than asked for, and says that there is more.
const BYTES: usize = 4 << 20;

/// A part of a channel's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub channel: Channel,
    /// Both exclusive; `None`: from the first, to the newest.
    pub after: Option<Position>,
    pub before: Option<Position>,
    pub limit: usize,
    /// Which end is read where there is more.
    pub toward: Toward,
}

impl Page {
    /// The newest events.
    pub fn newest(channel: Channel, limit: usize) -> Page {
        Page { channel, after: None, before: None, limit, toward: Toward::Oldest }
    }

    /// Reads `before`, `after` and `limit`; with `after` the answer begins there, else it ends at `before` or the newest.
    pub fn parse(segment: &str, query: &str) -> Result<Page, Problem> {
        let channel = parse_channel(&decode_segment(segment)?)?;
        let (mut after, mut before, mut limit) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |why: &str| Problem::bad_parameter(&name, &value, why);
            let id = || value.parse::<Position>().map_err(|error| wrong(&error.to_string()));
            let twice = match &*name {
                "after" => after.replace(id()?).is_some(),
                "before" => before.replace(id()?).is_some(),
                "limit" => {
                    let number = value.parse().ok().filter(|number| (1..=MOST).contains(number));
                    limit.replace(number.ok_or_else(|| wrong("not a number from 1 to 1000"))?).is_some()
                }
                _ => false,
            };
            if twice {
                return Err(wrong("given more than once"));
            }
        }
        let toward = if after.is_some() { Toward::Newest } else { Toward::Oldest };
        Ok(Page { channel, after, before, limit: limit.unwrap_or(USUAL), toward })
    }

    /// The first and the last id that may be in it; `None` where nothing can lie between its bounds.
    fn bounds(&self) -> Option<(Position, Position)> {
        if self.after == Some(Position::MAX) || self.before == Some(Position::ZERO) {
            return None;
        }
        let oldest = self.after.map_or(Position::ZERO, Position::after);
        let newest = self.before.map_or(Position::MAX, Position::before);
        (oldest <= newest).then_some((oldest, newest))
    }

    /// Reads it; oldest first, and whether there is more in that direction.
    pub async fn read(&self, hub: &Hub) -> Result<(Vec<Entry>, bool), BackplaneError> {
        let Some((mut oldest, mut newest)) = self.bounds() else { return Ok((Vec::new(), false)) };
        let mut pieces: Vec<Vec<Entry>> = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        let mut more = false;
        while oldest <= newest {
            // One more than wanted tells whether there is more.
            let wanted = (self.limit - count + 1).min(PIECE);
            let span = Span { channel: self.channel.clone(), oldest, newest, count: wanted, toward: self.toward };
            let mut piece = hub.read_history(span).await?;
            let whole = piece.len() < wanted;
            let room = self.limit - count;
            if piece.len() > room {
                more = true;
                match self.toward {
                    Toward::Newest => piece.truncate(room),
                    Toward::Oldest => drop(piece.drain(..piece.len() - room)),
                }
            }
            match (self.toward, piece.first(), piece.last()) {
                (Toward::Newest, _, Some(last)) if last.position < Position::MAX => oldest = last.position.after(),
                (Toward::Oldest, Some(first), _) if first.position > Position::ZERO => newest = first.position.before(),
                // Beyond the largest and the smallest id there is nothing.
                _ => newest = oldest.before(),
            }
            count += piece.len();
            bytes += piece.iter().map(size).sum::<usize>();
            pieces.push(piece);
            if more || whole {
                break;
            }
            if bytes >= BYTES {
                more = true;
                break;
            }
        }
        if self.toward == Toward::Oldest {
            pieces.reverse();
        }
        Ok((pieces.concat(), more))
    }

    /// The answer to the request.
    pub async fn answer(&self, hub: &Hub) -> Response<Full<Bytes>> {
        match self.read(hub).await {
            Ok((entries, more)) => {
                let events: Vec<Value> = entries.iter().map(event).collect();
                let body = json!({"channel": self.channel.as_str(), "events": events, "more": more});
                let mut response = Response::new(Full::from(format!("{body}\n")));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(error) => refusal(&error).into_response(),
        }
    }
}

/// An event as a subscriber would see it.
pub fn event(entry: &Entry) -> Value {
    let event = Event::from_entry(entry);
    let mut json = json!({
        "id": entry.position.to_string(),
        "event": plain_type(&event),
        "data": plain_data(&event),
    });
    if event.last {
        json["final"] = true.into();
    }
    json
}

/// What a reader is told of a backplane's failure.
pub fn refusal(error: &BackplaneError) -> Problem {
    let code = match error {
        BackplaneError::Down(_) => Code::BackplaneDown,
        BackplaneError::Refused(_) => Code::BackplaneRefused,
    };
    Problem::new(code, error.to_string())
}

fn size(entry: &Entry) -> usize {
    entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let page = Page::parse("a", "").unwrap();
        assert_eq!((page.limit, page.toward, page.before), (USUAL, Toward::Oldest, None));
        let page = Page::parse("a%2eb", "after=5-1&limit=7&else=x").unwrap();
        assert_eq!((page.channel.as_str(), page.after, page.limit), ("a.b", Some(Position::new(5, 1)), 7));
        assert_eq!(page.toward, Toward::Newest);
        for (segment, query, code) in [
            ("~a", "", Code::ReservedChannel),
            ("a b", "", Code::BadChannel),
            ("a", "limit=0", Code::BadParameter),
            ("a", "limit=1001", Code::BadParameter),
            ("a", "before=x", Code::BadParameter),
            ("a", "after=1-1&after=2-1", Code::BadParameter),
        ] {
            assert_eq!(Page::parse(segment, query).unwrap_err().code, code, "{segment}?{query}");
        }
    }
}
