//! What a client makes of what it was sent: it is judged as it comes.

use super::answer::Head;
use super::client::Client;
use super::event_stream::Message;
use super::gaps::Gap;
use super::leg::{Begin, Leg};
use super::posts::look;
use super::reading::Reading;
use super::request::Asked;
use super::truth::{History, Record, Truth};
use fantail::channel::Channel;
use fantail::cursor::Cursor;
use fantail::position::Position;
use std::time::Duration;

/// What happened within this time may have happened while a node was away from Redis.
const AWAY: Duration = Duration::from_secs(30);

/// An event as it was published.
struct Published {
    channel: usize,
    index: usize,
    /// Its type and its id in its channel, as it was told.
    kind: String,
    id: Option<Position>,
}

impl Client {
    /// Takes what has come of a body.
    pub fn take(&mut self, body: Vec<u8>, head: Head, reader: &mut Reading) -> Result<(), String> {
        self.around.trace.note(self.at(), self.number, &body);
        if head.status != 200 {
            reader.body += &String::from_utf8_lossy(&body);
            return Ok(());
        }
        if !std::mem::replace(&mut reader.admitted, true) {
            self.may_be_admitted()?;
        }
        if self.wish.channels.iter().any(|channel| self.around.posted.contains(channel)) {
            let mut truth = self.around.truth.lock().expect("nobody panics");
            self.wish.channels.iter().for_each(|channel| look(&mut truth, &self.around, *channel));
        }
        let plain = reader.unpack(head, body)?;
        let mut plain = &plain[..];
        while reader.first && !plain.is_empty() {
            // The first id counts as it comes, before what follows it.
            let messages = reader.parse(&plain[..1]);
            plain = &plain[1..];
            if !reader.last_event_id().is_empty() {
                reader.first = false;
                self.begin(reader.last_event_id().to_owned(), messages.is_empty())?;
            }
            messages.iter().try_for_each(|message| self.judge(message))?;
        }
        let messages = reader.parse(plain);
        if !reader.last_event_id().is_empty() {
            reader.last_event_id().clone_into(&mut self.last_event_id);
        }
        messages.iter().try_for_each(|message| self.judge(message))
    }

    /// The first `id:` has come; alone, it says where it begins, and what follows that record must come.
    fn begin(&mut self, id: String, alone: bool) -> Result<(), String> {
        self.first_event_id.clone_from(&id);
        self.last_event_id = id;
        self.note(&format!("begins at {:?}", self.last_event_id));
        let (at, only) = (self.at(), self.wish.channels.len() == 1);
        let truth = self.around.truth.lock().expect("nobody panics");
        let cursor = Cursor::parse(&self.last_event_id);
        for (place, leg) in self.legs.iter_mut().enumerate() {
            leg.headed.get_or_insert(at);
            // An event that comes with the head is the first that is owed.
            let first = cursor
                .as_ref()
                .and_then(|cursor| cursor.position_of(&channel_of(&truth.channels[self.wish.channels[place]]), only));
            if let (false, false, Some(asked), Some(first)) = (alone, self.wish.filtered, self.asked[place], first) {
                asked.may_begin_at(first.before(), &truth.channels[self.wish.channels[place]])?;
            }
            // Where the newest few begin says nothing of what lies before them.
            if !alone || self.wish.begin != Begin::Latest || leg.begun {
                continue;
            }
            let history = &truth.channels[self.wish.channels[place]];
            let position = cursor.as_ref().and_then(|cursor| cursor.position_of(&channel_of(history), only));
            leg.last = position.and_then(|position| history.index_of(position));
            leg.begun = leg.last.is_some();
            if let (Some(asked), Some(position)) = (self.asked[place], position) {
                asked.may_begin_at(position, history)?;
                // A place where no entry is means something while its node knows which stream that is.
                if !leg.begun && !history.broke_since(at.saturating_sub(AWAY)) {
                    let before = |record: &Record| record.gone.is_none() && record.id <= position;
                    (leg.last, leg.begun) = (history.records.iter().rposition(before), true);
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, message: &Message) -> Result<(), String> {
        match message.event.as_str() {
            "fantail.gap" => return self.judge_gap(&message.data),
            "fantail.held" => return self.hold(&message.data),
            "fantail.joined" | "fantail.expiring" | "fantail.expired" | "fantail.revoked" => return Ok(()),
            _ => {}
        }
        let Published { channel, index, kind, id } =
            self.published(message)?.ok_or_else(|| format!("not as it was published: {message:?}"))?;
        let place = self.wish.channels.iter().position(|c| *c == channel);
        let place = place.ok_or_else(|| format!("not subscribed to: {message:?}"))?;
        if self.foreign[place] {
            return Err(format!("nobody said that the id was none: {message:?}"));
        }
        let truth = self.around.truth.lock().expect("nobody panics");
        let history = &truth.channels[channel];
        if let Some(record) = history.records.get(index) {
            self.may_be_sent(&truth, record.added)?;
            if kind.as_bytes() != [record.kind] || id != Some(record.id) {
                return Err(format!("{message:?} is not {record:?}"));
            }
            // Who asks while the stream is missing stands at its beginning: see "Open" in CONTRIBUTING.md.
            let came_back = |asked: &Asked| record.was_gone && history.broke_since(asked.at);
            let too_old = |asked: &Asked| record.id <= asked.least && record.added < asked.at && !came_back(asked);
            if let Some(asked) = self.asked[place].filter(too_old) {
                return Err(format!("{message:?} was not asked for: {asked:?}"));
            }
        }
        // "One that lies ahead of the stream, as after a restore from a backup, gives way to the other."
        if std::mem::take(&mut self.may_go_back[place]) && !history.breaks.is_empty() {
            self.legs[place].last = index.checked_sub(1);
        }
        let (wish, moment) = ((self.wish.filtered, self.wish.begin), self.moment());
        let taken = self.legs[place].take(history, index, wish, &moment);
        taken.map_err(|wrong| format!("channel {channel}: {wrong}"))?;
        self.events += 1;
        Ok(())
    }

    /// What a message says of the event that it is.
    fn published(&self, message: &Message) -> Result<Option<Published>, String> {
        let mut truth = self.around.truth.lock().expect("nobody panics");
        let Some((mut published, post)) = self.told(&truth, message) else { return Ok(None) };
        if let (Some(number), Some(id)) = (post, published.id) {
            truth.is_of_post(id, number)?;
            let Some(index) = truth.channels[published.channel].index_of(id) else { return Ok(None) };
            published.index = index;
        }
        Ok(Some(published))
    }

    /// The same, with the number of what was published over HTTP, whose index only its id tells.
    fn told(&self, truth: &Truth, message: &Message) -> Option<(Published, Option<usize>)> {
        let numbers = |data: &str| {
            let mut words = data.split(' ');
            let channel: usize = words.next()?.parse().ok()?;
            let number = words.next()?;
            let post = number.strip_prefix('p').and_then(|post| post.parse().ok());
            let index = if post.is_some() { 0 } else { number.parse().ok()? };
            (channel < truth.channels.len()).then_some((channel, index, post))
        };
        let only = self.wish.channels.len() == 1;
        let by_cursor =
            |channel: usize| Cursor::parse(&message.id)?.position_of(&channel_of(&truth.channels[channel]), only);
        if !self.wish.manner.envelope {
            let (channel, index, post) = numbers(&message.data)?;
            let id = by_cursor(channel);
            return Some((Published { channel, index, kind: message.event.clone(), id }, post));
        }
        let envelope: serde_json::Value = serde_json::from_str(&message.data).ok()?;
        let (channel, index, post) = numbers(envelope["data"].as_str()?)?;
        let id: Position = envelope["id"].as_str()?.parse().ok()?;
        let told = message.event == "message"
            && envelope["channel"] == *truth.channels[channel].name
            && by_cursor(channel) == Some(id);
        let kind = envelope["event"].as_str()?.to_owned();
        told.then_some((Published { channel, index, kind, id: Some(id) }, post))
    }

    fn judge_gap(&mut self, data: &str) -> Result<(), String> {
        self.note(data);
        let gap: serde_json::Value = serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
        let at = self.at();
        let truth = self.around.truth.lock().expect("nobody panics");
        let channel = truth.index_of(gap["channel"].as_str().unwrap_or_default());
        let place = channel.and_then(|channel| self.wish.channels.iter().position(|c| *c == channel));
        let (Some(channel), Some(place)) = (channel, place) else {
            return Err(format!("a gap of another channel: {data}"));
        };
        let position = |field: &str| gap[field].as_str().and_then(|text| text.parse::<Position>().ok());
        let told = Gap {
            at,
            reason: gap["reason"].as_str().unwrap_or_default().to_owned(),
            resume_from: position("resume_from"),
            continues_at: position("continues_at"),
            lost: gap["lost"].as_u64(),
            over: false,
        };
        self.gaps += 1;
        self.asked[place] = None;
        // Its newest id counts, if that is what was lost from.
        let newest = self.legs[place].last.map(|last| truth.channels[channel].records[last].id);
        if newest.is_some() && told.resume_from >= newest {
            self.may_go_back[place] = false;
        }
        let first = std::mem::take(&mut self.foreign[place]);
        if first && told.reason == "reset" && told.resume_from.is_none() {
            return Ok(());
        }
        self.legs[place].take_gap(&truth.channels[channel], told, self.opened)
    }

    /// Whether it has all that there is.
    pub fn is_complete(&self) -> bool {
        let truth = self.around.truth.lock().expect("nobody panics");
        // Who was held, and comes back without the channel's id, begins behind what is there by then.
        let begins_there = |leg: &Leg, history: &History| {
            let newest = history.records.last().filter(|record| record.added < self.opened);
            !leg.begun && self.wish.begin == Begin::Latest && newest.is_some()
        };
        let complete = |leg: &Leg, history: &History| leg.is_complete(history) || begins_there(leg, history);
        self.legs.iter().zip(&self.wish.channels).all(|(leg, channel)| complete(leg, &truth.channels[*channel]))
    }
}

fn channel_of(history: &History) -> Channel {
    Channel::new(&history.name).expect("a name of the run")
}

impl Asked {
    /// Whether nothing that is owed lies before the place where a channel begins.
    fn may_begin_at(&self, position: Position, history: &History) -> Result<(), String> {
        let owed = |record: &&Record| {
            record.gone.is_none() && !record.was_gone && !record.large && self.most < record.id && record.id <= position
        };
        match history.records.iter().find(owed) {
            Some(record) => Err(format!("{} begins at {position}, behind {record:?}: {self:?}", history.name)),
            None => Ok(()),
        }
    }
}
