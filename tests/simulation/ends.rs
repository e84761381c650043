//! Channels that end, and who waits for their ends.

use super::answer::Head;
use super::chance::{Draw, source};
use super::client::Client;
use super::leg::{Begin, Leg};
use super::plan::{Load, Step, What};
use super::reading::Reading;
use super::truth::History;
use super::wish::{Manner, Wish};
use fastrand::Rng;
use std::time::Duration;

/// Channels of a run that end, behind all others.
pub const CHANNELS: usize = 3;
/// Clients of them.
pub const CLIENTS: usize = 8;

/// What happens to them; `first`: the first of them.
pub fn steps(seed: u64, first: usize, load: Load) -> Vec<Step> {
    let mut rng = source(seed, "ends");
    let mut steps = Vec::new();
    let length = load.length.as_millis() as u64;
    for channel in first..first + CHANNELS {
        // Some end only as the run does.
        let over = rng.u64(length / 3..length * 4 / 3);
        for _ in 0..rng.usize(1..30) {
            let (at, count) = (rng.u64(0..over.min(length)), rng.usize(1..4));
            add(&mut steps, at, &mut rng, What::Publish { channel, count, size: 10 });
        }
        if over < length {
            add(&mut steps, over, &mut rng, What::End { channel });
        }
    }
    for client in load.clients..load.clients + CLIENTS {
        let at = rng.u64(0..length * 9 / 10);
        let wish = wish(&mut rng, first, Manner::of(seed, client));
        add(&mut steps, at, &mut rng, What::Join { client, wish });
        for _ in 0..3 {
            let at = rng.u64(at..length);
            add(&mut steps, at, &mut rng, What::HangUp { client });
        }
    }
    steps
}

fn add(steps: &mut Vec<Step>, at_ms: u64, rng: &mut Rng, what: What) {
    steps.push(Step { at: Duration::from_millis(at_ms), seed: rng.u64(..), what });
}

fn wish(rng: &mut Rng, first: usize, manner: Manner) -> Wish {
    let mut channels: Vec<usize> = (first..first + CHANNELS).collect();
    rng.shuffle(&mut channels);
    channels.truncate(rng.usize(1..=2));
    if rng.once_in(6) {
        channels[0] = rng.usize(0..first);
    }
    Wish {
        channels,
        begin: [Begin::Latest, Begin::Earliest, Begin::Tail(3)][rng.usize(0..3)],
        subject: 0,
        filtered: rng.once_in(4),
        room: *rng.choice(&[600, 65_536]).expect("some"),
        sips: *rng.choice(&[7, 20_000]).expect("some"),
        in_url: rng.bool(),
        manner,
    }
}

impl Client {
    /// Whether all of its channels end some time: it goes on until it is told so.
    pub fn waits_for_end(&self) -> bool {
        self.wish.channels.iter().all(|channel| *channel >= self.around.endless)
    }

    /// An answer that says that all has ended.
    pub fn judge_finished(&self, head: Head) -> Result<(), String> {
        if !head.no_store {
            return Err("a cache may keep the 204".into());
        }
        self.judge_end("204")
    }

    /// A stream that has ended for good, in every way.
    pub fn judge_complete(&self, reader: &Reading) -> Result<(), String> {
        if reader.is_packed_whole() == Some(false) {
            return Err("a complete body is no complete gzip stream".into());
        }
        self.judge_end("a complete end")
    }

    fn judge_end(&self, what: &str) -> Result<(), String> {
        let truth = self.around.truth.lock().expect("nobody panics");
        for (place, channel) in self.wish.channels.iter().enumerate() {
            let history = &truth.channels[*channel];
            // A channel that was not read yet when the others began is begun at its end by who comes back without it.
            let fresh = !self.legs[place].begun && self.wish.begin == Begin::Latest;
            let owes = |id| !fresh || self.asked[place].is_some_and(|asked| asked.most < id);
            if !has_end(&self.legs[place], history, |index| {
                let record = &history.records[index];
                record.gone.is_none() && owes(record.id) && (!self.wish.filtered || record.kind == b'a')
            }) {
                return Err(format!("{what}, but {} has not ended for {:?}", history.name, self.legs[place]));
            }
        }
        Ok(())
    }
}

/// Whether there is an end of a channel, and nothing up to it is owed to a leg.
fn has_end(leg: &Leg, history: &History, owed: impl Fn(usize) -> bool) -> bool {
    let next = leg.last.map_or(0, |last| last + 1);
    let ends = (0..history.records.len()).filter(|index| history.records[*index].last);
    ends.into_iter().any(|end| end + 1 >= next && !(next..=end).any(&owed))
}
