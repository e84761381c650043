//! A client of a case, which checks all that it gets against the truth.

use super::truth::{Record, State, Truth};
use crate::support::event_stream::Message;
use crate::support::fleet::{EventStream, is_hang_up};
use fantail::cursor::Cursor;
use fantail::position::Position;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// From the end of a case on, for a loaded machine.
const CATCHING_UP: Duration = Duration::from_secs(60);

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub channels: Vec<usize>,
    pub begin: Begin,
    /// Events of type `a` alone.
    pub filtered: bool,
    pub receive_buffer: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Begin {
    Latest,
    Earliest,
    Tail(usize),
}

/// What a client is told to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    pub reading: bool,
    /// Another number than before: hang up and come back.
    pub connection: u64,
}

/// See the module.
pub struct Client {
    number: usize,
    address: SocketAddr,
    wish: Wish,
    truth: Arc<Mutex<Truth>>,
    last_event_id: String,
    legs: Vec<Leg>,
    received: usize,
    gaps: usize,
}

/// What it knows of one channel.
#[derive(Clone, Copy, Debug, Default)]
struct Leg {
    /// The record that it is behind; `None`: before all, or nobody knows.
    last: Option<usize>,
    /// It got an event, or its start is a record.
    begun: bool,
    /// It got an event: what is lost from then on must be announced. Who begins at the newest may begin behind a gap.
    received: bool,
    /// A gap was announced since the last event.
    gap: bool,
    /// A reset goes on behind this record.
    reset_to: Option<usize>,
}

impl Client {
    pub fn new(number: usize, address: SocketAddr, wish: Wish, truth: Arc<Mutex<Truth>>) -> Client {
        let legs = vec![Leg::default(); wish.channels.len()];
        Client { number, address, wish, truth, last_event_id: String::new(), legs, received: 0, gaps: 0 }
    }

    /// Reads until it has everything after the goal is set; how many events and gaps it got.
    pub async fn run(
        mut self,
        mut control: watch::Receiver<Control>,
        mut goal: watch::Receiver<bool>,
    ) -> Result<(usize, usize), String> {
        let mut late = goal.clone();
        let late = async move {
            let _ = late.wait_for(|goal| *goal).await;
            sleep(CATCHING_UP).await;
        };
        let verdict = tokio::select! {
            verdict = async {
                while !self.connection(&mut control, &mut goal).await? {}
                Ok(())
            } => verdict,
            () = late => Err("it has not got everything in time".to_string()),
        };
        let told = verdict.map(|()| (self.received, self.gaps));
        told.map_err(|wrong| {
            let Client { number, wish, legs, last_event_id, .. } = &self;
            format!("client {number}: {wrong}\n  {wish:?}\n  at {legs:?}\n  last event id {last_event_id:?}")
        })
    }

    /// One connection; whether it has everything.
    async fn connection(
        &mut self,
        control: &mut watch::Receiver<Control>,
        goal: &mut watch::Receiver<bool>,
    ) -> Result<bool, String> {
        let mut query = {
            let truth = self.truth.lock().unwrap();
            let names: Vec<&str> = self.wish.channels.iter().map(|c| truth.channels[*c].name.as_str()).collect();
            format!("channels={}", names.join(","))
        };
        match self.wish.begin {
            Begin::Latest => {}
            Begin::Earliest => query += "&since=earliest",
            Begin::Tail(count) => query += &format!("&tail={count}"),
        }
        if self.wish.filtered {
            // Three ways to say the same.
            query += ["&events=a", "&where=kind=a", "&where=event%5E=a"][self.number % 3];
        }
        let first = self.last_event_id.is_empty();
        self.note(&format!("connects with {:?}", self.last_event_id));
        let opened = EventStream::open(self.address, &query, &self.last_event_id, self.wish.receive_buffer).await;
        let mut stream = opened.map_err(|error| format!("no connection: {error}"))?;
        if stream.status != 200 {
            return Err(format!("the node answers {}", stream.status));
        }
        let connection = control.borrow_and_update().connection;
        let mut is_new = first;
        loop {
            if *goal.borrow_and_update() && self.has_everything() {
                return Ok(true);
            }
            let now = *control.borrow_and_update();
            if now.connection != connection {
                return Ok(false);
            }
            let read = tokio::select! {
                _ = control.changed() => continue,
                _ = goal.changed() => continue,
                read = stream.read(), if now.reading => read,
            };
            match read {
                Ok(Some(messages)) => {
                    if !stream.last_event_id().is_empty() {
                        stream.last_event_id().clone_into(&mut self.last_event_id);
                        if std::mem::take(&mut is_new) {
                            self.note(&format!("begins at {:?}", self.last_event_id));
                            self.start();
                        }
                    }
                    messages.iter().try_for_each(|message| self.take(message))?;
                }
                Ok(None) => return Err("the node ended the stream".into()),
                Err(error) if is_hang_up(&error) => return Err(format!("the node hung up: {error}")),
                Err(error) => return Err(format!("bad bytes: {error}")),
            }
        }
    }

    fn note(&self, what: &str) {
        self.truth.lock().unwrap().note(&format!("  client {} {what}", self.number));
    }

    /// The first `id:` says where it begins: what follows that record must come.
    fn start(&mut self) {
        // Where the newest few begin says nothing of what lies before them.
        if self.wish.begin != Begin::Latest {
            return;
        }
        let truth = self.truth.lock().unwrap();
        let only = self.wish.channels.len() == 1;
        let cursor = Cursor::parse(&self.last_event_id);
        for (leg, channel) in self.legs.iter_mut().zip(&self.wish.channels) {
            let history = &truth.channels[*channel];
            let position = cursor.as_ref().and_then(|cursor| cursor.position_of(&history.name, only));
            leg.last = position.and_then(|position| history.index_of(position));
            leg.begun = leg.last.is_some();
        }
    }

    fn take(&mut self, message: &Message) -> Result<(), String> {
        if message.event == "fantail.gap" {
            return self.take_gap(&message.data);
        }
        // That channels wait says nothing of events.
        if ["fantail.held", "fantail.joined"].contains(&message.event.as_str()) {
            return Ok(());
        }
        let mut words = message.data.split(' ').map(|word| word.parse::<usize>());
        let (Some(Ok(channel)), Some(Ok(index))) = (words.next(), words.next()) else {
            return Err(format!("not as it was published: {message:?}"));
        };
        let truth = self.truth.lock().unwrap();
        let history = &truth.channels[channel];
        let Some(place) = self.wish.channels.iter().position(|c| *c == channel) else {
            return Err(format!("not subscribed to: {message:?}"));
        };
        let leg = &mut self.legs[place];
        if leg.last.is_some_and(|last| index <= last) {
            return Err(format!("record {index} of channel {channel} after {:?}: {leg:?}", leg.last));
        }
        if self.wish.filtered && history.records[index].kind != b'a' {
            return Err(format!("record {index} of channel {channel} does not pass the filter"));
        }
        // Before its first event only who wants everything misses anything, and nothing that is gone already.
        let asks = leg.begun || self.wish.begin == Begin::Earliest;
        if asks
            && !leg.gap
            && let Some(missed) = history.missed(leg.last, index, self.wish.filtered, leg.received)
        {
            let state = history.records[missed].state;
            return Err(format!("record {missed} ({state:?}) of channel {channel} missed before {index}: {leg:?}"));
        }
        *leg = Leg { last: Some(index), begun: true, received: true, gap: false, reset_to: None };
        self.received += 1;
        Ok(())
    }

    fn take_gap(&mut self, data: &str) -> Result<(), String> {
        self.note(data);
        let gap: serde_json::Value = serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
        let truth = self.truth.lock().unwrap();
        let name = gap["channel"].as_str().unwrap_or_default();
        let Some(place) = self.wish.channels.iter().position(|c| truth.channels[*c].name.as_str() == name) else {
            return Err(format!("a gap of another channel: {data}"));
        };
        let history = &truth.channels[self.wish.channels[place]];
        let leg = &mut self.legs[place];
        if !history.may_have_gap(leg.last, gap["reason"].as_str().unwrap_or_default()) {
            return Err(format!("nothing is gone since {:?}: {data}", leg.last));
        }
        let position = |field: &str| gap[field].as_str().and_then(|text| text.parse::<Position>().ok());
        if let (Some(lost), Some(from), Some(at)) =
            (gap["lost"].as_u64(), position("resume_from"), position("continues_at"))
            && from < at
        {
            // Of the same life, which is what the sequence number says. Where nothing is left, the gap goes on at the
            // last id that the stream has given, which is then lost, too.
            let is_between = |record: &Record| {
                let id = record.id;
                // What is deleted is counted up to the stream's end, and by who comes from history, later.
                let gone = record.state == State::Deleted || gap["reason"] == "deleted" && record.state != State::Held;
                gone || from < id && id.seq == at.seq && (id < at || id == at && record.state != State::Held)
            };
            let between = history.records.iter().filter(|record| is_between(record)).count();
            // Some of them may have been announced by a gap before.
            if lost > between as u64 {
                return Err(format!("{between} records lie between, less than {lost}: {data}"));
            }
        }
        leg.gap = true;
        if gap["reason"] == "reset" {
            leg.reset_to = position("continues_at").and_then(|at| history.index_of(at));
        }
        self.gaps += 1;
        Ok(())
    }

    fn has_everything(&self) -> bool {
        let truth = self.truth.lock().unwrap();
        let at_end = |(leg, channel): (&Leg, &usize)| {
            let newest = truth.channels[*channel].records.len() - 1;
            leg.last == Some(newest) || leg.reset_to == Some(newest)
        };
        self.legs.iter().zip(&self.wish.channels).all(at_end)
    }
}
