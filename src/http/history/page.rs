//! Pages of history: what a request asks for, and how its events are shown. Pure.

use crate::backplane::{Entry, Toward};
use crate::channel::Channel;
use crate::condition::Conditions;
use crate::control_event::{self, GapReason};
use crate::event::Event;
use crate::frame::{Kind, plain_data, plain_type};
use crate::position::Position;
use crate::problem::Problem;
use crate::subscription::{Filter, add_types, decode_segment, parse_channel, parse_data, parse_field, raw_field};
use serde_json::json;
use std::sync::Arc;

/// Events of one answer.
const MOST: usize = 1_000;
const USUAL: usize = 50;

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
    pub filter: Passing,
    /// Of an entry without `data`, the value of this field is the data.
    pub field: Option<Arc<str>>,
}

/// Which events are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// `None`: of all types.
    pub types: Option<Filter>,
    /// `None`: whatever their fields are.
    pub conditions: Option<Conditions>,
}

impl Passing {
    /// Whether everything is shown.
    pub fn is_all(&self) -> bool {
        self.types.is_none() && self.conditions.is_none()
    }

    /// Whether an entry is shown; one that is too large always is, as a gap.
    pub fn shows(&self, entry: &Entry) -> bool {
        if self.is_all() || entry.is_too_large() {
            return true;
        }
        let kind = plain_type(Event::type_of(entry).as_deref());
        let field = |name: &str| match name {
            "event" => Some(kind.as_bytes()),
            name => entry.field(name.as_bytes()),
        };
        self.types.as_ref().is_none_or(|types| types.passes(Some(Kind::of(kind.as_bytes()))))
            && self.conditions.as_ref().is_none_or(|conditions| conditions.hold(field))
    }
}

impl Page {
    /// The newest events.
    pub fn newest(channel: Channel, limit: usize) -> Page {
        Page {
            channel,
            after: None,
            before: None,
            limit,
            toward: Toward::Oldest,
            filter: Passing::default(),
            field: None,
        }
    }

    /// Reads `before`, `after`, `limit`, `events`, `where`, and `data=raw` with `field`; with `after` the answer begins there, else it ends at `before` or
    /// the newest.
    pub fn parse(segment: &str, query: &str) -> Result<Page, Problem> {
        let channel = parse_channel(&decode_segment(segment)?)?;
        let (mut after, mut before, mut limit, mut conditions) = (None, None, None, None);
        let mut types: Option<Vec<Kind>> = None;
        let (mut raw, mut field) = (None, None);
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
                "events" => {
                    let taken = add_types(types.get_or_insert_default(), &value);
                    taken.map_err(|why| wrong(&why.to_string()))?;
                    false
                }
                "where" => {
                    let given = Conditions::parse(&value).map_err(|why| wrong(&why.to_string()))?;
                    conditions.replace(given).is_some()
                }
                "data" => raw.replace(parse_data(&value).map_err(|why| why.of(&name, &value))?).is_some(),
                "field" => field.replace(parse_field(&value).map_err(|why| why.of(&name, &value))?).is_some(),
                _ => false,
            };
            if twice {
                return Err(wrong("given more than once"));
            }
        }
        let toward = if after.is_some() { Toward::Newest } else { Toward::Oldest };
        let filter = Passing { types: types.map(Filter::of), conditions };
        let field = raw_field(raw, field)?;
        Ok(Page { channel, after, before, limit: limit.unwrap_or(USUAL), toward, filter, field })
    }

    /// The first and the last id that may be in it; `None` where nothing can lie between its bounds.
    pub(super) fn bounds(&self) -> Option<(Position, Position)> {
        if self.after == Some(Position::MAX) || self.before == Some(Position::ZERO) {
            return None;
        }
        let oldest = self.after.map_or(Position::ZERO, Position::after);
        let newest = self.before.map_or(Position::MAX, Position::before);
        (oldest <= newest).then_some((oldest, newest))
    }
}

/// An entry as a subscriber would see it; one that is too large, as a gap. `field`: as [`Page::field`].
pub(super) fn shown(entry: &Entry, field: Option<&str>) -> Event {
    match entry.is_too_large() {
        false => field.map_or_else(|| Event::from_entry(entry), |field| Event::with_data_of(entry, field)),
        true => {
            let gap = json!({"reason": GapReason::TooLarge.label(), "lost": 1}).to_string();
            let event =
                Event::from_entry(&Entry { position: entry.position, fields: vec![("data".into(), gap.into())] });
            Event { kind: Some(control_event::GAP.into()), ..event }
        }
    }
}

/// Bytes of an entry as the stream has it.
pub(super) fn raw_size(entry: &Entry) -> usize {
    entry.fields.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// Bytes of an event in the answer, at most: one field of it is shorter than all.
pub(super) fn written_size(entry: &Entry) -> usize {
    /// Names, quotes and the id.
    const AROUND: usize = 80;
    let event = shown(entry, None);
    let size = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        ..0x20 => 6,
        _ => 1,
    };
    let escaped = |text: &str| text.bytes().map(size).sum::<usize>();
    AROUND + escaped(&plain_data(&event)) + escaped(&plain_type(event.kind.as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    #[test]
    fn a_filter_shows_what_a_subscriber_with_it_would_see() {
        let entry = |fields: &[(&'static str, &'static str)]| Entry {
            position: Position::new(1, 0),
            fields: fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        let shows = |query: &str, entry: &Entry| Page::parse("a", query).unwrap().filter.shows(entry);
        let red = entry(&[("data", "x"), ("event", "made"), ("team", "red")]);
        for (query, shown) in [
            ("", true),
            ("events=made,other", true),
            ("events=other&events=message", false),
            ("where=team=red", true),
            ("where=team=blue", false),
            ("events=other&where=team=red", false),
            ("where=event=made", true),
        ] {
            assert_eq!(shows(query, &red), shown, "{query}");
            assert!(shows(query, &entry(&[])), "what is too large is told to all");
        }
        assert!(shows("events=message", &entry(&[("data", "x")])));
    }

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
            ("a", "data=raw", Code::BadParameter),
            ("a", "field=x", Code::BadParameter),
            ("a", "data=raw&field=x&field=x", Code::BadParameter),
            ("a", "where=n=1&where=n=2", Code::BadParameter),
            ("a", "where=n", Code::BadParameter),
            ("a", "events=a,,b", Code::BadParameter),
        ] {
            assert_eq!(Page::parse(segment, query).unwrap_err().code, code, "{segment}?{query}");
        }
    }
}
