//! Steps of a run whose Redis speaks RESP: what can go wrong there only, drawn and carried out.

use super::chance::{Draw, source};
use super::played::{Copying, Meddling, Way};
use super::redis_model::{Refusal, Version};
use super::wire::{REFUSALS, aside, full};
use super::world::World;
use fantail::config::Follow;
use fantail::position::Position;
use fastrand::Rng;
use std::time::Duration;

/// Within this time a key ends that is told to.
const ENDS: Duration = Duration::from_millis(3);

/// See the module.
#[derive(Clone, Debug)]
pub enum Wired {
    Tear {
        node: usize,
        after: usize,
        answer: bool,
    },
    Crumbs {
        node: usize,
        on: bool,
    },
    Refuse {
        refusal: Refusal,
        on: bool,
    },
    Stop {
        ms: u64,
    },
    /// A stream gets another name.
    Away {
        channel: usize,
    },
    /// A copy of a stream is made.
    Keep {
        channel: usize,
        dump: bool,
    },
    /// What was put aside comes back, whatever is there.
    Back {
        channel: usize,
        dump: Option<bool>,
    },
    SetId {
        channel: usize,
        forward_ms: u64,
    },
    Expire {
        channel: usize,
    },
    Evict {
        channel: usize,
    },
    Flush,
    /// The slot of a stream goes to another server.
    Move {
        channel: usize,
        seed: u64,
    },
    /// Another server takes over from a shard that is away.
    Promote {
        shard: usize,
    },
    /// Something happens to a replica that nodes read from.
    Copy {
        copy: usize,
        what: Copying,
    },
}

impl Wired {
    /// Whether it is carried out by a server, which may stand still.
    pub fn is_done_to_data(&self) -> bool {
        use Wired::{Copy, Crumbs, Move, Promote, Refuse, Stop, Tear};
        let is_elsewhere = matches!(self, Move { .. } | Promote { .. } | Copy { .. });
        !is_elsewhere && !matches!(self, Tear { .. } | Crumbs { .. } | Refuse { .. } | Stop { .. })
    }
}

impl Way {
    /// Its name on the command line.
    pub fn name(wire: bool) -> &'static str {
        if wire { "wire" } else { "contract" }
    }

    /// The way of a seed, or the one that is `chosen`: by RESP or not.
    pub fn of(seed: u64, chosen: Option<bool>) -> Way {
        let mut rng = source(seed, "redis");
        let (drawn, version, follow) = (rng.once_in(4), rng.usize(0..3), rng.usize(0..4));
        if !chosen.unwrap_or(drawn) {
            return Way::Contract;
        }
        let version = [Version::V7_0, Version::V8_0, Version::V8_2][version];
        let follow = [Follow::Auto, Follow::Auto, Follow::Tracking, Follow::Block][follow];
        Way::Wire { version, follow, servers: 1, replicas: 0 }
    }
}

/// Steps that begin at a moment and end at a later one.
pub fn draw(rng: &mut Rng, nodes: usize, channel: usize) -> Vec<(bool, Wired)> {
    let node = rng.usize(0..nodes);
    let dump = rng.bool();
    match rng.u8(0..100) {
        0..25 => vec![(false, Wired::Tear { node, after: rng.usize(0..200), answer: rng.u8(0..4) > 0 })],
        25..35 => vec![(false, Wired::Crumbs { node, on: true }), (true, Wired::Crumbs { node, on: false })],
        35..50 => {
            let refusal = *rng.choice(&REFUSALS).expect("some");
            vec![(false, Wired::Refuse { refusal, on: true }), (true, Wired::Refuse { refusal, on: false })]
        }
        50..60 => vec![(false, Wired::Stop { ms: rng.u64(10..3_000) })],
        60..67 => vec![(false, Wired::Away { channel }), (true, Wired::Back { channel, dump: None })],
        67..74 => {
            vec![(false, Wired::Keep { channel, dump: rng.bool() }), (true, Wired::Back { channel, dump: Some(dump) })]
        }
        74..82 => vec![(false, Wired::SetId { channel, forward_ms: rng.u64(0..5_000) })],
        82..90 => vec![(false, Wired::Expire { channel })],
        90..98 => vec![(false, Wired::Evict { channel })],
        _ => vec![(false, Wired::Flush)],
    }
}

impl World {
    /// Carries a step out.
    pub fn meddle(&mut self, what: &Wired) {
        let meddling = match *what {
            Wired::Tear { node, after, answer } => Meddling::Tear { line: self.nodes.line(node), after, answer },
            Wired::Crumbs { node, on } => Meddling::Crumbs { line: self.nodes.line(node), on },
            Wired::Refuse { refusal, on } => Meddling::Refuse { refusal, on },
            Wired::Stop { ms } => Meddling::Stop { time: Duration::from_millis(ms) },
            Wired::Flush => return self.flush(),
            Wired::Promote { shard } => return self.promote(shard),
            Wired::Copy { copy, what } => Meddling::Copy { copy, what },
            Wired::Away { channel } | Wired::Keep { channel, .. } | Wired::Back { channel, .. } => {
                return self.put_aside(channel, what);
            }
            Wired::SetId { channel, forward_ms } => {
                let name = self.name(channel);
                let last = self.redis.last(&name);
                let id = Position::new(last.ms.max(self.redis.now_ms()) + forward_ms, last.seq);
                Meddling::SetId { name, id }
            }
            Wired::Expire { channel } => Meddling::Expire { name: self.name(channel), within: ENDS },
            Wired::Evict { channel } => Meddling::Evict { name: self.name(channel) },
            Wired::Move { channel, seed } => Meddling::Move { name: self.name(channel), seed },
        };
        let (at, done) = (self.at(), self.redis.meddle(&meddling));
        if let Wired::SetId { channel, .. } = *what
            && done
        {
            // Who begins at that id stands where no entry was, which later looks like another stream's life: "gone from
            // between two … `reset`: P was never there".
            self.truth.lock().expect("nobody panics").channels[channel].breaks.push(at);
        }
        if let Wired::Expire { channel } | Wired::Evict { channel } = *what
            && done
        {
            let mut truth = self.truth.lock().expect("nobody panics");
            let history = &mut truth.channels[channel];
            history.end_life(at, history.behind_ms);
        }
    }

    fn name(&self, channel: usize) -> String {
        self.truth.lock().expect("nobody panics").channels[channel].name.clone()
    }

    fn put_aside(&mut self, channel: usize, what: &Wired) {
        let (at, name) = (self.at(), self.name(channel));
        let (here, there) = (full(&name), aside(&name));
        let meddling = match *what {
            Wired::Keep { dump, .. } => Meddling::Put { from: here, to: there, dump },
            Wired::Back { dump: Some(dump), .. } => Meddling::Put { from: there, to: here, dump },
            Wired::Back { .. } => Meddling::Rename { from: there, to: here },
            _ => Meddling::Rename { from: here, to: there },
        };
        if matches!(what, Wired::Back { .. }) && !self.aside.contains_key(&channel) || !self.redis.meddle(&meddling) {
            return;
        }
        let mut truth = self.truth.lock().expect("nobody panics");
        let history = &mut truth.channels[channel];
        match what {
            Wired::Back { .. } => {
                let before = self.aside.remove(&channel).expect("looked at");
                history.roll_back(at, &before);
                // "`reset`: restored from an older copy": all of it may be told again.
                for (record, then) in history.records.iter_mut().zip(&before.records) {
                    record.was_gone |= then.gone.is_none();
                }
            }
            _ => {
                self.aside.insert(channel, history.clone());
                if matches!(what, Wired::Away { .. }) {
                    history.end_life(at, history.behind_ms);
                }
            }
        }
    }

    fn flush(&mut self) {
        let at = self.at();
        self.look_at_posts();
        let there = |name: &str| self.redis.last(name) != Position::ZERO;
        let mut truth = self.truth.lock().expect("nobody panics");
        let with_stream: Vec<bool> = truth.channels.iter().map(|history| there(&history.name)).collect();
        if !self.redis.meddle(&Meddling::Flush) {
            return;
        }
        for (history, _) in truth.channels.iter_mut().zip(with_stream).filter(|(_, there)| *there) {
            history.end_life(at, history.behind_ms);
        }
        drop(truth);
        self.aside.clear();
        self.orders_are_gone(Duration::ZERO);
    }
}
