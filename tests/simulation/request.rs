//! What a client sends: its request, with a token where one is needed.

use super::chance::Draw;
use super::client::Client;
use super::leg::Begin;
use super::orders::Holder;
use super::wish::{Since, TimeForm};
use super::world::EPOCH_MS;
use fantail::position::Position;
use std::time::{Duration, UNIX_EPOCH};

/// Names of the parameter that has the last id.
const ID_NAMES: [&str; 4] = ["lastEventId", "lastEventID", "Last-Event-ID", "last_event_id"];
/// Ids that are none of ours.
const FOREIGN: [&str; 3] = ["17", "f81d4fae-7dec-11d0", "5-0-0"];
/// How far a node's knowledge of the server's time may be off.
const CLOCK_SLACK_MS: u64 = 5_000;

/// A request without its body.
pub struct Request {
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
}

impl Request {
    /// As HTTP/1.1 has it.
    pub fn http1(&self) -> String {
        let line = |(name, value): &(&str, String)| format!("{name}: {value}\r\n");
        let headers: String = self.headers.iter().map(line).collect();
        format!("GET {} HTTP/1.1\r\nHost: node\r\n{headers}\r\n", self.target)
    }
}

/// Between which ids the first event lies that `since` asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// When it was asked: what is published from then on may come, whatever its id.
    pub at: Duration,
    /// Nothing up to it may come.
    pub least: Position,
    /// All behind it must come.
    pub most: Position,
}

impl Client {
    /// The request for a stream.
    pub fn request(&mut self) -> Request {
        let (path, mut query) = self.channels();
        match self.wish.begin {
            Begin::Latest => query.extend(self.since()),
            Begin::Earliest => query.push("since=earliest".into()),
            Begin::Tail(count) => query.push(format!("tail={count}")),
        }
        let manner = self.wish.manner.clone();
        if self.wish.filtered {
            // Nothing is of the second type.
            query.extend(
                if manner.apart { vec!["events=a", "events=z"] } else { vec!["events=a"] }
                    .into_iter()
                    .map(str::to_owned),
            );
        }
        if manner.envelope {
            query.push("envelope=1".into());
        }
        let mut headers = vec![("accept", "text/event-stream".to_owned())];
        if manner.gzip {
            headers.push(("accept-encoding", "br, gzip;q=0.5".into()));
        }
        let (mut newest, mut oldest) = (self.last_event_id.clone(), String::new());
        if newest.is_empty() && self.owed_foreign() {
            newest = FOREIGN[self.number % FOREIGN.len()].into();
        } else if manner.stale {
            oldest.clone_from(&self.first_event_id);
        }
        let (in_header, in_url) = if self.wish.in_url { (oldest, newest) } else { (newest, oldest) };
        if !in_header.is_empty() {
            headers.push(("last-event-id", in_header));
        }
        if !in_url.is_empty() {
            query.push(format!("{}={in_url}", ID_NAMES[manner.id_name]));
        }
        if let Some(holder) = &self.holder {
            headers.push(("authorization", format!("Bearer {}", holder.token(EPOCH_MS / 1_000))));
        }
        Request { target: format!("{path}?{}", query.join("&")), headers }
    }

    fn channels(&self) -> (String, Vec<String>) {
        let truth = self.around.truth.lock().expect("nobody panics");
        let names: Vec<&str> = self.wish.channels.iter().map(|c| truth.channels[*c].name.as_str()).collect();
        match (&names[..], self.wish.manner.apart) {
            ([only], true) => (format!("/events/{only}"), Vec::new()),
            (_, true) => ("/events".into(), names.iter().map(|name| format!("channels={name}")).collect()),
            (_, false) => ("/events".into(), vec![format!("channels={}", names.join(","))]),
        }
    }

    /// Where it begins, in place of the end.
    fn since(&mut self) -> Option<String> {
        let since = self.wish.manner.since.clone()?;
        if self.last_event_id.is_empty() {
            let text = match since {
                Since::Id { back } if self.wish.channels.len() == 1 => self.since_id(back)?,
                Since::Id { back } => self.since_time(back as u64 * 500, TimeForm::UnixMs),
                Since::Ago { ms, form } => self.since_time(ms, form),
            };
            self.since_text = Some(format!("since={text}"));
        }
        self.since_text.clone()
    }

    /// As who has an event, and comes back with its id.
    fn since_id(&mut self, back: usize) -> Option<String> {
        let truth = self.around.truth.lock().expect("nobody panics");
        let history = &truth.channels[self.wish.channels[0]];
        let index = history.records.len().checked_sub(back + 1)?;
        (self.legs[0].last, self.legs[0].begun) = (Some(index), true);
        Some(history.records[index].id.to_string())
    }

    fn since_time(&mut self, ago_ms: u64, form: TimeForm) -> String {
        let now = EPOCH_MS + self.at().as_millis() as u64;
        let ms = now - ago_ms;
        let whole = ms / 1_000 * 1_000;
        let (text, least, most) = match form {
            TimeForm::UnixMs => (ms.to_string(), ms, ms),
            TimeForm::UnixSeconds => ((ms / 1_000).to_string(), whole, whole),
            TimeForm::Rfc3339 => {
                let text = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms));
                (text.to_string(), ms, ms)
            }
            TimeForm::Back => (format!("{ago_ms}ms"), ms - CLOCK_SLACK_MS, ms + CLOCK_SLACK_MS),
        };
        let before = |ms: u64| Position::new(ms - 1, u64::MAX);
        let at = self.at();
        self.asked.fill(Some(Asked { at, least: before(least), most: before(most) }));
        text
    }

    /// The token that it comes with: the one that it has, while that serves, or another one.
    pub fn take_token(&mut self) {
        let at = self.at();
        let serves = |holder: &Holder| holder.expires > at + Duration::from_secs(2);
        if !self.around.tokens || self.holder.as_ref().is_some_and(serves) && !self.rng.once_in(4) {
            return;
        }
        self.tokens += 1;
        self.holder = Some(Holder {
            subject: format!("u{}", self.wish.subject),
            token_id: format!("t{}.{}", self.number, self.tokens),
            expires: at + Duration::from_secs(self.rng.u64(5..90)),
        });
    }
}
