//! Chains of steps that belong together, of which tempers are made.

use super::chance::{Draw, source};
use super::orders::Target;
use super::plan::{Load, SUBJECTS, Step, What};
use super::played::Copying;
use super::redis::SHARDS;
use super::temper::Temper;
use super::wired::Wired;
use super::world::MOST_BYTES;
use fastrand::Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// How far the ids of a next life lie behind those of all before, in milliseconds.
const LIFE: u64 = 400_000;
/// Bytes of an entry that few of are asked for at once.
const LARGE: usize = 12_000;
/// Bytes of an entry that is not counted with its read.
const HUGE: usize = 40_000;

/// See the module.
pub struct Chains {
    pub rng: Rng,
    pub steps: Vec<Step>,
    /// Joins whose time a chain says.
    pub waiting: VecDeque<Step>,
    load: Load,
    behind: Vec<u64>,
}

impl Chains {
    pub fn new(seed: u64, temper: Temper, load: Load) -> Chains {
        let rng = source(seed, &temper.name());
        Chains { rng, steps: Vec::new(), waiting: VecDeque::new(), load, behind: vec![0; load.channels] }
    }

    /// A chain begins about every so many milliseconds.
    pub fn every(&mut self, ms: u64, chain: fn(&mut Chains, Duration)) {
        let mut at = 500;
        while at < self.load.length.as_millis() as u64 {
            chain(self, Duration::from_millis(at));
            at += self.rng.u64(ms / 2..=ms * 3 / 2);
        }
    }

    fn add(&mut self, at: Duration, what: What) {
        let seed = self.rng.u64(..);
        self.steps.push(Step { at: at.min(self.load.length), seed, what });
    }

    fn within(&mut self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(ms))
    }

    fn channel(&mut self) -> usize {
        self.rng.usize(0..self.load.channels)
    }

    fn client(&mut self) -> usize {
        self.rng.usize(0..self.load.clients)
    }

    fn each_node(&mut self, at: Duration, what: impl Fn(usize) -> What) {
        (0..self.load.nodes).for_each(|node| self.add(at, what(node)));
    }

    /// A stream goes away, and another one comes whose ids lie around the newest of it.
    pub fn another_life(&mut self, at: Duration) {
        let channel = self.channel();
        let count = self.rng.usize(1..4);
        self.add(at, What::Publish { channel, count, size: 10 });
        let gone = at + self.within(200..2_000);
        self.add(gone, What::Remove { channel, behind_ms: self.behind[channel] });
        let back = gone + self.within(50..1_500);
        let count = self.rng.usize(2..7);
        self.add(back, What::Refill { channel, count });
    }

    /// Entries are replaced under their ids, which go on.
    pub fn other_content(&mut self, at: Duration) {
        // A node knows content that it has read, so all readers are there before.
        let at = at + Duration::from_secs(3);
        let channel = self.channel();
        self.add(at, What::Publish { channel, count: 2, size: 10 });
        self.add(at + Duration::from_millis(700), What::Rewrite { channel });
        self.add(at + Duration::from_millis(1_400), What::Publish { channel, count: 1, size: 10 });
    }

    /// A failover brings a stream back that was missing; then readers stand still while much is published.
    pub fn a_return(&mut self, at: Duration) {
        let channel = self.channel();
        let count = self.rng.usize(2..9);
        self.add(at, What::Publish { channel, count, size: 120 });
        let copied = at + self.within(100..600);
        self.add(copied, What::Replicate);
        let gone = copied + self.within(1..300);
        self.add(gone, What::Remove { channel, behind_ms: self.behind[channel] });
        let back = gone + self.within(200..1_500);
        self.add(back, What::FailOver);
        let up = back + self.within(1..600);
        self.each_node(up, |node| What::Restore { node });
        let still = up + self.within(2_500..4_000);
        for client in 0..self.load.clients {
            self.add(still, What::Stall { client });
        }
        let publish = still + self.within(4_500..5_500);
        self.add(publish, What::Publish { channel, count: 90, size: 1_500 });
        let read = publish + self.within(500..1_500);
        for client in 0..self.load.clients {
            self.add(read, What::Read { client });
        }
    }

    /// An entry that is worth a read of its own, and too large for a sweep to be quick.
    pub fn a_large_event(&mut self, at: Duration) {
        let channel = self.channel();
        self.add(at, What::Publish { channel, count: 1, size: HUGE });
    }

    /// An entry that is too large to be delivered, or two in a row, sometimes with others around it.
    pub fn too_large_an_event(&mut self, at: Duration) {
        let channel = self.channel();
        let count = self.rng.usize(1..3);
        self.add(at, What::Publish { channel, count, size: MOST_BYTES + 1 });
        if self.rng.bool() {
            self.add(at, What::Publish { channel, count: 2, size: 120 });
        }
    }

    /// A node is without Redis, which tells it of nothing that changes meanwhile.
    pub fn an_outage(&mut self, at: Duration) {
        let node = self.rng.usize(0..self.load.nodes);
        let back = at + self.within(100..1_500);
        self.add(at, What::Cut { node });
        self.add(back, What::Restore { node });
    }

    /// Readers come while a part of Redis is down, where something is published as soon as it is back.
    pub fn a_shard_is_down(&mut self, at: Duration) {
        let shard = self.rng.usize(0..SHARDS);
        self.add(at, What::ShardDown { shard });
        let back = at + self.within(1_300..2_000);
        self.add(back, What::ShardsUp);
        for _ in 0..2 {
            let Some(mut join) = self.waiting.pop_front() else { break };
            join.at = at + self.within(0..200);
            if let What::Join { wish, .. } = &join.what {
                for channel in wish.channels.clone() {
                    let publish = back + self.within(0..120);
                    self.add(publish, What::Publish { channel, count: 1, size: 10 });
                }
            }
            self.steps.push(join);
        }
    }

    /// A slot goes to another server while its channel is published to, readers come, and one of them leaves.
    pub fn a_slot_moves(&mut self, at: Duration) {
        let (channel, seed) = (self.channel(), self.rng.u64(..));
        self.add(at, What::Wired(Wired::Move { channel, seed }));
        if self.rng.once_in(4) {
            self.add(at, What::Remove { channel, behind_ms: self.behind[channel] });
        }
        for _ in 0..self.rng.usize(1..8) {
            let publish = at + self.within(0..2_500);
            let count = self.rng.usize(1..4);
            // To either of the slot, or to both at once.
            let first = self.rng.usize(0..=1);
            for channel in [channel ^ first, channel ^ first ^ 1].into_iter().take(self.rng.usize(1..=2)) {
                self.add(publish, What::Publish { channel, count, size: 10 });
            }
        }
        if self.rng.bool()
            && let Some(mut join) = self.waiting.pop_front()
        {
            join.at = at + self.within(0..1_500);
            if let What::Join { wish, .. } = &mut join.what {
                wish.channels = vec![channel, channel ^ 1];
            }
            self.steps.push(join);
        }
        let client = self.client();
        let leave = at + self.within(0..2_500);
        self.add(leave, What::HangUp { client });
    }

    /// A shard goes, and another server takes over from it, which has not had the last writes.
    pub fn a_shard_fails_over(&mut self, at: Duration) {
        let shard = self.rng.usize(0..SHARDS);
        self.add(at, What::Replicate);
        let gone = at + self.within(1..400);
        self.add(gone, What::ShardDown { shard });
        let promoted = gone + self.within(300..1_500);
        self.add(promoted, What::Wired(Wired::Promote { shard }));
        let back = promoted + self.within(1..3_000);
        self.add(back, What::ShardsUp);
        for _ in 0..4 {
            let (channel, publish) = (self.channel(), promoted + self.within(0..1_000));
            self.add(publish, What::Publish { channel, count: 1, size: 10 });
        }
    }

    /// One of the replicas that nodes read from lags, loses its primary, takes over its data anew, or goes away.
    pub fn a_replica_suffers(&mut self, at: Duration) {
        let (copy, back) = (self.rng.usize(0..2), at + self.within(100..6_000));
        let (begins, ends) = match self.rng.u8(0..10) {
            0..4 => (Copying::Lag { ms: self.rng.u64(30..3_000) }, Some(Copying::Lag { ms: 2 })),
            4..6 => (Copying::Parted, Some(Copying::Joined)),
            6..8 => (Copying::Synchronized { ms: self.rng.u64(1..1_500) }, None),
            _ => (Copying::Gone { silent: self.rng.bool() }, Some(Copying::Back)),
        };
        self.add(at, What::Wired(Wired::Copy { copy, what: begins }));
        if let Some(what) = ends {
            self.add(back, What::Wired(Wired::Copy { copy, what }));
        }
    }

    /// A server takes over that lacks the last writes, and that nodes have not read from.
    pub fn a_primary_fails(&mut self, at: Duration) {
        self.add(at, What::Replicate);
        for _ in 0..4 {
            let (channel, publish) = (self.channel(), at + self.within(0..300));
            self.add(publish, What::Publish { channel, count: 1, size: 10 });
        }
        let failed = at + self.within(1..600);
        self.add(failed, What::FailOver);
    }

    /// The primary of those that nodes read from is away for a while.
    pub fn a_primary_is_away(&mut self, at: Duration) {
        let at = at + self.within(5_000..15_000);
        self.add(at, What::ShardDown { shard: 0 });
        let back = at + self.within(300..5_000);
        self.add(back, What::ShardsUp);
    }

    /// Entries that are deleted before anybody has read them.
    pub fn fleeting(&mut self, at: Duration) {
        let channel = self.channel();
        let count = self.rng.usize(1..4);
        self.add(at, What::Fleeting { channel, count });
    }

    /// A node that has just been started follows a stream whose newest entry is gone, which then has more than one read brings.
    pub fn a_burst_after_a_start(&mut self, at: Duration) {
        let (channel, node) = (self.channel(), self.rng.usize(0..self.load.nodes));
        self.add(at, What::Fleeting { channel, count: 2 });
        self.add(at + Duration::from_millis(1), What::Kill { node });
        self.add(at + Duration::from_millis(2), What::Start { node });
        let burst = at + self.within(2_000..2_500);
        self.add(burst, What::Publish { channel, count: 80, size: 10 });
        self.add(burst + Duration::from_millis(1_800), What::Fleeting { channel, count: 1 });
    }

    /// Redis answers slowly, or does not.
    pub fn another_speed(&mut self, at: Duration) {
        let ms = self.rng.u64(500..3_000);
        self.each_node(at, |node| What::Slow { node, ms });
    }

    /// A reader hangs up, and comes back.
    pub fn a_leave(&mut self, at: Duration) {
        let client = self.client();
        self.add(at, What::HangUp { client });
    }

    /// Readers come while Redis is slow, and what they asked for is made anew before they have anything.
    pub fn newcomers(&mut self, at: Duration) {
        let channel = self.channel();
        self.add(at, What::Publish { channel, count: 60, size: 1_500 });
        let ms = self.rng.u64(100..700);
        self.each_node(at + Duration::from_millis(100), |node| What::Slow { node, ms });
        for _ in 0..3 {
            let Some(mut join) = self.waiting.pop_front() else { break };
            join.at = at + self.within(200..400);
            if let What::Join { wish, .. } = &mut join.what {
                wish.channels = vec![channel];
            }
            self.steps.push(join);
        }
        let anew = at + self.within(300..2_500);
        self.behind[channel] += LIFE;
        let count = self.rng.usize(1..5);
        self.add(anew, What::Replace { channel, count, behind_ms: self.behind[channel] });
        let more = anew + self.within(500..1_500);
        self.add(more, What::Publish { channel, count: 1, size: 10 });
    }

    /// A node is told of nothing while a stream is made anew under ids before those of its tail, which a reader wants more of.
    pub fn an_extension(&mut self, at: Duration) {
        let channel = self.channel();
        let joins = [100, 150, 200, 2_300, 2_350, 2_400];
        for after in joins {
            let Some(mut join) = self.waiting.pop_front() else { break };
            join.at = at + Duration::from_millis(after);
            if let What::Join { wish, .. } = &mut join.what {
                wish.channels = vec![channel];
            }
            self.steps.push(join);
        }
        self.add(at, What::Publish { channel, count: 10, size: 1_500 });
        self.add(at + Duration::from_millis(800), What::Publish { channel, count: 20, size: 1_500 });
        self.each_node(at + Duration::from_millis(2_000), |node| What::Losing { node, of: 1 });
        self.add(at + Duration::from_millis(2_100), What::Remove { channel, behind_ms: self.behind[channel] });
        self.add(at + Duration::from_millis(2_200), What::Refill { channel, count: 8 });
        self.each_node(at + Duration::from_millis(3_000), |node| What::Losing { node, of: 0 });
    }

    /// Readers leave one node for another; the stream that sleeps at the first is made anew with much in it.
    pub fn a_sleep(&mut self, at: Duration) {
        let channel = self.channel();
        let count = self.rng.usize(50..80);
        self.add(at, What::Publish { channel, count, size: LARGE });
        self.all_leave(at + Duration::from_millis(800));
        let anew = at + self.within(2_600..3_200);
        self.behind[channel] += LIFE;
        let count = self.rng.usize(36..50);
        self.add(anew, What::Replace { channel, count, behind_ms: self.behind[channel] });
        self.all_leave(anew + Duration::from_millis(400));
        let more = anew + self.within(2_000..2_500);
        self.add(more, What::Publish { channel, count: 1, size: 10 });
    }

    fn all_leave(&mut self, at: Duration) {
        for client in 0..self.load.clients {
            self.add(at, What::HangUp { client });
        }
    }

    /// Readers ask for everything while connections end within answers.
    pub fn torn(&mut self, at: Duration) {
        let asked = at + Duration::from_millis(300);
        for _ in 0..2 {
            let Some(mut join) = self.waiting.pop_front() else { break };
            join.at = asked;
            if let What::Join { wish, .. } = &join.what {
                self.add(at, What::Publish { channel: wish.channels[0], count: 15, size: 120 });
            }
            self.steps.push(join);
        }
        for wait in [0, 6, 40] {
            for node in 0..self.load.nodes {
                let after = self.rng.usize(0..900);
                let at = asked + Duration::from_millis(wait);
                self.add(at, What::Wired(Wired::Tear { node, after, answer: true }));
            }
        }
    }

    /// Somebody is kept out for a while; sometimes the control stream is lost, and goes on under ids of another time.
    pub fn an_order(&mut self, at: Duration) {
        let lost = self.rng.once_in(8);
        if lost {
            self.add(at, What::ControlLost { whole: true });
            self.behind[0] += LIFE;
        }
        let (target, name) = match self.rng.once_in(4) {
            false => (Target::Subject, format!("u{}", self.rng.usize(0..SUBJECTS))),
            true => (Target::Channel, format!("c{}", self.channel())),
        };
        let for_ms = Some(self.rng.u64(4_000..12_000));
        let at = at.min(self.load.length.saturating_sub(Duration::from_secs(25)));
        self.add(at + Duration::from_millis(600), What::Revoke { target, name, for_ms, behind_ms: self.behind[0] });
    }
}
