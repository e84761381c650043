//! Clients: each subscribes, writes down what comes, and reconnects with its last event id to any node.

use crate::publisher::channel_name;
use crate::support::event_stream::Message;
use crate::support::fleet::{EventStream, is_hang_up};
use fantail::channel::Channel;
use fantail::cursor::Cursor;
use fantail::position::Position;
use fastrand::Rng;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// One thing that a client was told.
#[derive(Clone, Debug)]
pub struct Note {
    pub at: Instant,
    /// The how manieth connection it came over.
    pub connection: usize,
    pub channel: usize,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An event's number, and the position in its channel that the client's cursor then said.
    Event {
        number: u64,
        id: Option<Position>,
    },
    Gap {
        reason: String,
        resume_from: Option<Position>,
        continues_at: Option<Position>,
        lost: Option<u64>,
    },
}

/// What a client has seen so far.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub notes: Vec<Note>,
    /// What could not be understood, which is wrong by itself.
    pub nonsense: Vec<String>,
    pub last_event_id: String,
    pub connections: usize,
}

impl Journal {
    /// The newest event of a channel.
    pub fn newest(&self, channel: usize) -> Option<u64> {
        self.notes.iter().rev().find_map(|note| match note.what {
            What::Event { number, .. } if note.channel == channel => Some(number),
            _ => None,
        })
    }
}

/// Where a client begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin {
    /// With all that there is.
    Earliest,
    /// With what comes.
    Latest,
    /// After the last event id and the numbers of another client.
    After(String),
}

/// A client, as the test sees it.
pub struct Client {
    pub channels: Vec<usize>,
    pub begin: Begin,
    /// The first number due of each channel; `None` where any may be the first.
    pub first: Vec<Option<u64>>,
    journal: Mutex<Journal>,
}

/// What all clients of a case share.
#[derive(Clone)]
pub struct Surroundings {
    /// The nodes that take clients.
    pub addresses: Arc<Mutex<Vec<SocketAddr>>>,
    /// Each change makes all reconnect at once.
    pub storm: watch::Receiver<u64>,
}

impl Client {
    pub fn new(channels: Vec<usize>, begin: Begin, first: Vec<Option<u64>>) -> Arc<Client> {
        let last_event_id = if let Begin::After(id) = &begin { id.clone() } else { String::new() };
        let journal = Mutex::new(Journal { last_event_id, ..Journal::default() });
        Arc::new(Client { channels, begin, first, journal })
    }

    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn query(&self) -> String {
        let names: Vec<String> = self.channels.iter().map(|channel| channel_name(*channel)).collect();
        let since = if self.begin == Begin::Earliest { "&since=earliest" } else { "" };
        format!("channels={}{since}", names.join(","))
    }

    /// Runs until it is aborted.
    pub async fn run(self: Arc<Client>, mut surroundings: Surroundings, mut rng: Rng) {
        let query = self.query();
        loop {
            let addresses = surroundings.addresses.lock().unwrap().clone();
            let id = self.journal().last_event_id.clone();
            let Some(address) = rng.choice(addresses) else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let opened = tokio::select! {
                opened = EventStream::open(address, &query, &id, None) => opened,
                _ = surroundings.storm.changed() => continue,
            };
            match opened {
                Ok(stream) if stream.status == 200 => {
                    self.journal().connections += 1;
                    self.follow(stream, &mut surroundings.storm).await;
                }
                Ok(stream) if stream.status == 503 => {}
                Ok(stream) => self.journal().nonsense.push(format!("{address} answered {}", stream.status)),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(10..100))).await;
        }
    }

    /// One connection.
    async fn follow(&self, mut stream: EventStream, storm: &mut watch::Receiver<u64>) {
        loop {
            let read = tokio::select! {
                read = stream.read() => read,
                _ = storm.changed() => return,
            };
            match read {
                Ok(None) => return,
                Ok(Some(messages)) => {
                    let mut journal = self.journal();
                    // That channels wait for their shard says nothing of events.
                    let waits = |m: &&Message| ["fantail.held", "fantail.joined"].contains(&m.event.as_str());
                    messages.iter().filter(|m| !waits(m)).for_each(|message| self.note(&mut journal, message));
                    let id = stream.last_event_id();
                    if !id.is_empty() {
                        id.clone_into(&mut journal.last_event_id);
                    }
                }
                Err(error) => {
                    if !is_hang_up(&error) {
                        self.journal().nonsense.push(format!("bad bytes: {error}"));
                    }
                    return;
                }
            }
        }
    }

    fn note(&self, journal: &mut Journal, message: &Message) {
        match self.understand(message) {
            Some((channel, what)) => {
                let connection = journal.connections;
                journal.notes.push(Note { at: Instant::now(), connection, channel, what });
            }
            None => journal.nonsense.push(format!("{:.200} {:.200}", message.event, message.data)),
        }
    }

    fn understand(&self, message: &Message) -> Option<(usize, What)> {
        if message.event == "fantail.gap" {
            return self.understand_gap(&message.data);
        }
        let mut words = message.data.split(' ');
        let channel = self.channel(words.next()?)?;
        let number = words.next()?.parse().ok()?;
        let name = Channel::new(&channel_name(channel)).ok()?;
        let id = Cursor::parse(&message.id)?.position_of(&name, self.channels.len() == 1);
        (message.event == "message").then_some((channel, What::Event { number, id }))
    }

    fn understand_gap(&self, data: &str) -> Option<(usize, What)> {
        let json: serde_json::Value = serde_json::from_str(data).ok()?;
        let position = |name: &str| match &json[name] {
            serde_json::Value::Null => Some(None),
            text => Some(Some(text.as_str()?.parse().ok()?)),
        };
        let what = What::Gap {
            reason: json["reason"].as_str()?.to_owned(),
            resume_from: position("resume_from")?,
            continues_at: position("continues_at")?,
            lost: json["lost"].as_u64(),
        };
        Some((self.channel(json["channel"].as_str()?)?, what))
    }

    fn channel(&self, name: &str) -> Option<usize> {
        self.channels.iter().copied().find(|channel| channel_name(*channel) == name)
    }
}
