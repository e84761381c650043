//! What happens in a run and when, drawn from a seed before it begins, so that a part of it can be left out.

use super::chance::{Draw, source};
use super::ends;
use super::leg::Begin;
use super::nodes::Shape;
use super::orders::Target;
use super::played::Way;
use super::posts;
use super::redis::SHARDS;
use super::temper::Temper;
use super::wired::{self, Wired};
use super::wish::{Manner, Wish};
use fastrand::Rng;
use std::time::Duration;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub temper: Temper,
    pub shape: Shape,
    pub channels: usize,
    /// In the order of their time.
    pub steps: Vec<Step>,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Step {
    pub at: Duration,
    /// Of what it draws itself.
    pub seed: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Publish {
        channel: usize,
        count: usize,
        size: usize,
    },
    /// The channel's last event.
    End {
        channel: usize,
    },
    /// An event is published over HTTP.
    Post {
        channel: usize,
        number: usize,
    },
    Trim {
        channel: usize,
    },
    Delete {
        channel: usize,
    },
    /// The stream goes away; ids of the next one lie so far behind the clock.
    Remove {
        channel: usize,
        behind_ms: u64,
    },
    /// The same at once, with another stream in its place.
    Replace {
        channel: usize,
        count: usize,
        behind_ms: u64,
    },
    /// A stream that has gone begins anew, with ids around those that it had.
    Refill {
        channel: usize,
        count: usize,
    },
    /// Other entries take the places of all that a stream holds.
    Rewrite {
        channel: usize,
    },
    /// Entries that come and go at once.
    Fleeting {
        channel: usize,
        count: usize,
    },
    /// What a replica has, until the next one.
    Replicate,
    /// The replica takes over.
    FailOver,
    Cut {
        node: usize,
    },
    Restore {
        node: usize,
    },
    Slow {
        node: usize,
        ms: u64,
    },
    Losing {
        node: usize,
        of: u32,
    },
    Overflow,
    Revoke {
        target: Target,
        name: String,
        for_ms: Option<u64>,
        /// Its id lies so far behind the clock.
        behind_ms: u64,
    },
    /// The control stream loses all of its entries, or goes away.
    ControlLost {
        whole: bool,
    },
    ShardDown {
        shard: usize,
    },
    ShardsUp,
    /// What can happen only where Redis speaks RESP.
    Wired(Wired),
    Kill {
        node: usize,
    },
    Start {
        node: usize,
    },
    Drain {
        node: usize,
        window: Duration,
    },
    Join {
        client: usize,
        wish: Wish,
    },
    HangUp {
        client: usize,
    },
    Stall {
        client: usize,
    },
    Read {
        client: usize,
    },
}

/// Whose tokens there are.
pub const SUBJECTS: usize = 6;

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub nodes: usize,
    pub channels: usize,
    pub clients: usize,
    pub events_per_second: u64,
    pub faults_per_ten_seconds: u64,
    pub length: Duration,
}

impl Load {
    /// Three nodes, fifty clients, twenty channels, ten events a second, and a fault in each second.
    pub const USUAL: Load = Load {
        nodes: 3,
        channels: 20,
        clients: 50,
        events_per_second: 10,
        faults_per_ten_seconds: 10,
        length: Duration::from_secs(180),
    };

    /// The same with a fault in ten seconds; what is lost while a shard is down does not count, so a few more events.
    pub const STEADY: Load = Load { events_per_second: 12, faults_per_ten_seconds: 1, ..Load::USUAL };
}

impl Plan {
    /// What all clients ask for.
    pub fn joins(&self) -> impl Iterator<Item = &Wish> {
        self.steps.iter().filter_map(|step| match &step.what {
            What::Join { wish, .. } => Some(wish),
            _ => None,
        })
    }

    /// What a seed determines; `wire`: whether Redis speaks RESP, where the seed is not to say that.
    pub fn of(seed: u64, load: Load, wire: Option<bool>) -> Plan {
        let mut rng = source(seed, "plan");
        let shape = Shape {
            nodes: load.nodes,
            couriers: rng.usize(1..=2),
            tail_bytes: *rng.choice(&[8 << 10, 64 << 10, 4 << 20]).expect("some"),
            replay_rate: *rng.choice(&[500, 10_000, 100_000]).expect("some"),
            replay_bytes: *rng.choice(&[256 << 10, 32 << 20]).expect("some"),
            leftover_bytes: *source(seed, "leftovers").choice(&[16 << 10, 1 << 20, 64 << 20]).expect("some"),
            heartbeat: Duration::from_secs(rng.u64(2..=15)),
            waits: rng.bool(),
            tokens: rng.bool(),
            redis: Way::of(seed, wire),
            ahead: Duration::ZERO,
        };
        let mut drawing = Drawing { seed, rng, load, steps: Vec::new(), behind: vec![0; load.channels] };
        drawing.publishing();
        drawing.clients();
        drawing.faults();
        if shape.tokens {
            drawing.orders();
        }
        if shape.redis != Way::Contract {
            drawing.steps.retain(|step| !matches!(step.what, What::ShardDown { .. } | What::ShardsUp));
            drawing.rng = source(seed, "wired plan");
            drawing.wired();
        }
        let mut steps = drawing.steps;
        steps.sort_by_key(|step| step.at);
        let channels = load.channels + posts::CHANNELS + ends::CHANNELS;
        Plan { seed, temper: Temper::Usual, shape, channels, steps }
    }

    /// The plan, with what happens to channels that end, and to those that are published to over HTTP.
    pub fn with_all(mut self, load: Load) -> Plan {
        self.steps.extend(ends::steps(self.seed, load.channels + posts::CHANNELS, load));
        self.steps.extend(posts::steps(self.seed, load, load.clients + ends::CLIENTS));
        self.steps.sort_by_key(|step| step.at);
        self
    }
}

struct Drawing {
    seed: u64,
    rng: Rng,
    load: Load,
    steps: Vec<Step>,
    behind: Vec<u64>,
}

impl Drawing {
    fn add(&mut self, at: Duration, what: What) {
        let seed = self.rng.u64(..);
        self.steps.push(Step { at: at.min(self.load.length), seed, what });
    }

    fn some_time(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(0..self.load.length.as_millis() as u64))
    }

    fn channel(&mut self) -> usize {
        // A few are busy.
        if self.rng.bool() {
            self.rng.usize(0..self.load.channels.min(3))
        } else {
            self.rng.usize(0..self.load.channels)
        }
    }

    fn publishing(&mut self) {
        let mut left = self.load.events_per_second * self.load.length.as_secs();
        while left > 0 {
            let count = match self.rng.u8(0..20) {
                0 => self.rng.usize(20..120),
                1..5 => self.rng.usize(2..6),
                _ => 1,
            };
            let size = *self.rng.choice(&[10, 10, 10, 120, 120, 1_500]).expect("some");
            let (at, channel) = (self.some_time(), self.channel());
            self.add(at, What::Publish { channel, count, size });
            left = left.saturating_sub(count as u64);
        }
    }

    fn clients(&mut self) {
        for client in 0..self.load.clients {
            // In the order of their numbers.
            let at = self.load.length.mul_f64(0.8 * client as f64 / self.load.clients as f64);
            let wish = Wish { manner: Manner::of(self.seed, client), ..self.wish() };
            self.add(at, What::Join { client, wish });
            let acts = self.load.length.as_secs() / 15;
            for _ in 0..acts {
                let at = at + Duration::from_millis(self.rng.u64(0..self.load.length.as_millis() as u64));
                match self.rng.u8(0..3) {
                    0 => {
                        self.add(at, What::Stall { client });
                        let until = at + Duration::from_millis(self.rng.u64(100..40_000));
                        self.add(until, What::Read { client });
                    }
                    _ => self.add(at, What::HangUp { client }),
                }
            }
        }
    }

    fn wish(&mut self) -> Wish {
        let mut channels: Vec<usize> = (0..self.load.channels).collect();
        self.rng.shuffle(&mut channels);
        let many = if self.rng.bool() { 1 } else { self.rng.usize(1..=5) };
        channels.truncate(many);
        if self.rng.bool() {
            let busy = self.channel();
            if !channels.contains(&busy) {
                channels[0] = busy;
            }
        }
        let begin = match self.rng.u8(0..6) {
            0 | 1 => Begin::Earliest,
            2 => Begin::Tail(self.rng.usize(1..100)),
            _ => Begin::Latest,
        };
        Wish {
            channels,
            begin,
            subject: self.rng.usize(0..SUBJECTS),
            filtered: self.rng.once_in(5),
            room: *self.rng.choice(&[600, 4_096, 65_536]).expect("some"),
            sips: *self.rng.choice(&[7, 300, 20_000]).expect("some"),
            in_url: self.rng.once_in(3),
            manner: Manner::default(),
        }
    }

    fn faults(&mut self) {
        let count = self.load.faults_per_ten_seconds * self.load.length.as_secs() / 10;
        for _ in 0..count {
            let at = self.some_time();
            let (channel, node) = (self.channel(), self.rng.usize(0..self.load.nodes));
            let later = at + Duration::from_millis(self.rng.u64(1..6_000));
            match self.rng.u8(0..100) {
                0..20 => self.add(at, What::Trim { channel }),
                20..32 => self.add(at, What::Delete { channel }),
                32..38 => {
                    let behind_ms = self.step_back(channel);
                    self.add(at, What::Remove { channel, behind_ms });
                }
                38..44 => {
                    let behind_ms = self.step_back(channel);
                    let count = self.rng.usize(0..8);
                    self.add(at, What::Replace { channel, count, behind_ms });
                }
                44..47 => {
                    self.add(at.saturating_sub(Duration::from_millis(self.rng.clone().u64(0..400))), What::Replicate);
                    self.add(at, What::FailOver);
                    for node in 0..self.load.nodes {
                        let back = at + Duration::from_millis(self.rng.u64(1..3_000));
                        self.add(back, What::Restore { node });
                    }
                }
                47..62 => {
                    self.add(at, What::Cut { node });
                    self.add(later, What::Restore { node });
                }
                62..74 => {
                    let ms = self.rng.u64(10..1_500);
                    self.add(at, What::Slow { node, ms });
                    self.add(later, What::Slow { node, ms: 5 });
                }
                74..82 => {
                    let of = self.rng.u32(1..5);
                    self.add(at, What::Losing { node, of });
                    self.add(later, What::Losing { node, of: 0 });
                }
                82..84 => self.add(at, What::Overflow),
                84..87 => {
                    let shard = self.rng.usize(0..SHARDS);
                    self.add(at, What::ShardDown { shard });
                    self.add(later, What::ShardsUp);
                }
                87..94 => {
                    self.add(at, What::Kill { node });
                    self.add(later, What::Start { node });
                }
                _ => {
                    let window = Duration::from_millis(self.rng.u64(0..3_000));
                    self.add(at, What::Drain { node, window });
                }
            }
        }
    }

    fn wired(&mut self) {
        for _ in 0..self.load.faults_per_ten_seconds * self.load.length.as_secs() / 30 {
            let at = self.some_time();
            let later = at + Duration::from_millis(self.rng.u64(1..6_000));
            let channel = self.channel();
            for (ends, what) in wired::draw(&mut self.rng, self.load.nodes, channel) {
                self.add(if ends { later } else { at }, What::Wired(what));
            }
        }
    }

    fn orders(&mut self) {
        for _ in 0..self.load.length.as_secs() / 10 {
            // All are over before the end.
            let at = self.some_time().saturating_sub(Duration::from_secs(25));
            let (target, name) = match self.rng.u8(0..4) {
                0 | 1 => (Target::Subject, format!("u{}", self.rng.usize(0..SUBJECTS))),
                2 => (Target::Token, format!("t{}.{}", self.rng.usize(0..self.load.clients), self.rng.usize(1..6))),
                _ => (Target::Channel, format!("c{}", self.channel())),
            };
            let for_ms = self.rng.bool().then(|| self.rng.u64(2_000..20_000));
            self.add(at, What::Revoke { target, name, for_ms, behind_ms: 0 });
            if self.rng.once_in(6) {
                let (at, whole) = (self.some_time(), self.rng.bool());
                self.add(at, What::ControlLost { whole });
            }
        }
    }

    /// Ids of the next life lie behind those of all before, or go on.
    fn step_back(&mut self, channel: usize) -> u64 {
        if self.rng.bool() {
            self.behind[channel] += 400_000;
        }
        self.behind[channel]
    }
}
