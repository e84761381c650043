//! What `fantail tail` prints: events for stdout, control events as state for stderr. Pure.

use super::event_stream::Received;
use crate::command::printable::printable;
use crate::control_event::ControlEvent;
use crate::event::CONTROL_PREFIX;
use crate::position::Position;
use serde_json::{Value, json};
use std::borrow::Cow;

/// How events are printed.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// One JSON object per line.
    pub json: bool,
    /// Data is wrapped as `{"channel","id","event","data"}`.
    pub envelope: bool,
}

/// One event for stdout, with a line break at its end.
pub fn event(style: Style, event: &Received) -> String {
    let wrapped = style.envelope.then(|| serde_json::from_str::<Value>(&event.data).ok()).flatten();
    match (style.json, wrapped) {
        (true, Some(wrapped)) => format!("{wrapped}\n"),
        (true, None) => format!("{}\n", json!({"id": event.id, "event": event.kind, "data": event.data})),
        (false, Some(wrapped)) => {
            let member = |name: &str| wrapped[name].as_str().unwrap_or("?");
            line(&[member("channel"), member("id"), member("event")], member("data"))
        }
        (false, None) => line(&[&event.id, &event.kind], &event.data),
    }
}

fn line(words: &[&str], data: &str) -> String {
    let words: Vec<Cow<'_, str>> = words.iter().map(|word| printable(word)).collect();
    format!("{} {}\n", words.join(" "), printable(data).replace('\n', "\n    "))
}

/// A control event as one line, or `None` for an event of a channel.
pub fn state(event: &Received) -> Option<String> {
    if !event.kind.starts_with(CONTROL_PREFIX) {
        return None;
    }
    let Some(ControlEvent::Gap(gap)) = ControlEvent::parse(&event.kind, &event.data) else {
        return Some(format!("{}: {}", printable(&event.kind), printable(&event.data)));
    };
    let lost = match gap.lost {
        Some(1) => "1 event is lost".to_owned(),
        Some(lost) => format!("{lost} events are lost"),
        None => "an unknown number of events is lost".to_owned(),
    };
    let place = |position: Option<Position>| position.map_or("?".to_owned(), |position| position.to_string());
    let (after, from) = (place(gap.resume_from), place(gap.continues_at));
    let channel = printable(&gap.channel);
    Some(format!("GAP in {channel}: {lost} ({}) after {after}; it continues at {from}", gap.reason.label()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(kind: &str, data: &str) -> Received {
        Received { id: "5-0".into(), kind: kind.into(), data: data.into() }
    }

    #[test]
    fn events_in_each_style() {
        let wrapped = r#"{"channel":"orders","data":"x","event":"created","id":"5-0"}"#;
        let style = |json, envelope| Style { json, envelope };
        assert_eq!(event(style(false, false), &received("created", "a\nb")), "5-0 created a\n    b\n");
        assert_eq!(
            event(style(true, false), &received("e", "a\nb")),
            "{\"data\":\"a\\nb\",\"event\":\"e\",\"id\":\"5-0\"}\n"
        );
        assert_eq!(event(style(false, true), &received("message", wrapped)), "orders 5-0 created x\n");
        assert_eq!(event(style(true, true), &received("message", wrapped)), format!("{wrapped}\n"));
        assert_eq!(event(style(false, false), &received("e", "\x1b[2J")), "5-0 e \\u{1b}[2J\n");
    }

    #[test]
    fn control_events_are_state() {
        assert_eq!(state(&received("created", "x")), None);
        let gap = r#"{"channel":"orders","reason":"trimmed","resume_from":"1-0","continues_at":"4-0","lost":3}"#;
        let line = "GAP in orders: 3 events are lost (trimmed) after 1-0; it continues at 4-0";
        assert_eq!(state(&received("fantail.gap", gap)).unwrap(), line);
        let reset = r#"{"channel":"o","reason":"reset","resume_from":null,"continues_at":"4-0","lost":null}"#;
        let line = "GAP in o: an unknown number of events is lost (reset) after ?; it continues at 4-0";
        assert_eq!(state(&received("fantail.gap", reset)).unwrap(), line);
        assert_eq!(state(&received("fantail.expired", "{}")).unwrap(), "fantail.expired: {}");
    }
}
