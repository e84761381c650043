//! Who subscribes to what. Workers and the coordinator compute it apart from each other, from the client's number.

use serde::{Deserialize, Serialize};

/// How channels are given to clients. Channels are numbers; a run's prefix makes names of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Plan {
    /// Everybody on channel 0.
    One,
    /// Everybody on the channels `0..shared` and one of its own, number `shared + client`.
    Users { shared: u32 },
    /// Each on 1 to `most` of `channels`, the low numbers far more often (Zipf with exponent 1).
    Zipf { channels: u32, most: u32 },
    /// Each on `each` channels of its own, numbers `client * each` and up.
    Apart { each: u32 },
    /// Everybody on all of the channels `0..channels`.
    All { channels: u32 },
    /// Each on one of `channels`, so that each of so many targets, which clients go to in turn, has one on each.
    Spread { targets: u32, channels: u32 },
}

impl Plan {
    /// The channels of a client, ascending, none twice.
    pub fn channels(&self, client: u32) -> Vec<u32> {
        match *self {
            Plan::One => vec![0],
            Plan::Users { shared } => (0..shared).chain([shared + client]).collect(),
            Plan::Apart { each } => (client * each..(client + 1) * each).collect(),
            Plan::All { channels } => (0..channels).collect(),
            Plan::Spread { targets, channels } => vec![client / targets % channels],
            Plan::Zipf { channels, most } => {
                let mut random = fastrand::Rng::with_seed(0x5eed ^ (u64::from(client) << 20));
                let count = random.u32(1..=most.min(channels));
                let mut chosen: Vec<u32> = (0..count).map(|_| zipf(&mut random, channels)).collect();
                chosen.sort_unstable();
                chosen.dedup();
                chosen
            }
        }
    }

    /// How many clients of `0..clients` each channel has, without those whose [`lot`] is below a bound; index is the
    /// channel.
    pub fn audience(&self, clients: u32, least_lot: u32) -> Vec<u32> {
        let mut counts = Vec::new();
        let counted = (0..clients).filter(|&client| lot(client) >= least_lot);
        for channel in counted.flat_map(|client| self.channels(client)) {
            let channel = channel as usize;
            if counts.len() <= channel {
                counts.resize(channel + 1, 0);
            }
            counts[channel] += 1;
        }
        counts
    }
}

/// A client's lot in `0..1000`, by which some are made slow.
pub fn lot(client: u32) -> u32 {
    client.wrapping_mul(2_654_435_761).rotate_left(16) % 1000
}

/// Draws from `0..n`, the rank `r` with a probability of about `1 / (r + 1)`: the inverse of the continuous form.
pub fn zipf(random: &mut fastrand::Rng, n: u32) -> u32 {
    let rank = f64::from(n + 1).powf(random.f64());
    (rank as u32 - 1).min(n - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_give_what_they_say() {
        assert_eq!(Plan::Users { shared: 3 }.channels(5), [0, 1, 2, 8]);
        assert_eq!(Plan::Apart { each: 2 }.channels(5), [10, 11]);
        assert_eq!(Plan::One.audience(9, 0), [9]);
        assert_eq!(Plan::All { channels: 2 }.audience(4, 0), [4, 4]);
        assert_eq!(Plan::Spread { targets: 3, channels: 2 }.audience(6, 0), [3, 3]);
        assert_eq!([2, 3, 5].map(|client| Plan::Spread { targets: 3, channels: 2 }.channels(client)[0]), [0, 1, 1]);
        let zipf = Plan::Zipf { channels: 200, most: 20 };
        let audience = zipf.audience(2_000, 0);
        assert!(audience[0] > 5 * audience[100], "{audience:?}");
        assert!(audience.len() <= 200);
        let slow = 2_000 - Plan::One.audience(2_000, 100)[0];
        assert!((150..250).contains(&slow), "{slow} of 2,000 have a lot below 100");
        for client in 0..100 {
            let channels = zipf.channels(client);
            assert!((1..=20).contains(&channels.len()) && channels.is_sorted());
            assert_eq!(channels, zipf.channels(client));
        }
    }
}
