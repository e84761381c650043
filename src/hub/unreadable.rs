//! Channels whose streams cannot be read, such as a key of another type: which they are, and what is logged of them.

use crate::backplane::BackplaneError;
use crate::channel::Channel;
use crate::hash::HashMap;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Channels that are remembered; of more, each is logged.
const MOST: usize = 1_000;
/// Between two log lines of one channel, and how long one is remembered that nobody asks for any more.
const QUIET: Duration = Duration::from_secs(60);

/// Channels that were refused, each until it is read, or for a minute after the last try.
#[derive(Default)]
pub struct Unreadable(Mutex<HashMap<Channel, Told>>);

struct Told {
    why: String,
    logged: Instant,
    last: Instant,
}

impl Unreadable {
    /// Takes note of a refusal; whether it is worth a line.
    pub fn refused(&self, channel: &Channel, error: &BackplaneError) -> bool {
        let (why, now) = (error.to_string(), Instant::now());
        let mut all = self.0.lock();
        all.retain(|_, told| now.duration_since(told.last) < QUIET);
        if let Some(told) = all.get_mut(channel) {
            told.last = now;
            let due = told.why != why || now.duration_since(told.logged) >= QUIET;
            if due {
                (told.why, told.logged) = (why, now);
            }
            return due;
        }
        if all.len() < MOST {
            all.insert(channel.clone(), Told { why, logged: now, last: now });
        }
        true
    }

    /// Takes note that a channel can be read.
    pub fn read(&self, channel: &Channel) {
        let mut all = self.0.lock();
        if !all.is_empty() {
            all.remove(channel);
        }
    }

    /// Some of the channels that cannot be read, by name, with the reason.
    pub fn list(&self, most: usize) -> Vec<(Channel, String)> {
        let now = Instant::now();
        let all = self.0.lock();
        let current = all.iter().filter(|(_, told)| now.duration_since(told.last) < QUIET);
        let mut list: Vec<_> = current.map(|(channel, told)| (channel.clone(), told.why.clone())).collect();
        list.sort_unstable_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        list.truncate(most);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_logged_once_and_listed_until_it_is_read() {
        let (all, a) = (Unreadable::default(), Channel::new("a").unwrap());
        let error = BackplaneError::refused("WRONGTYPE");
        let logged = (0..100).filter(|_| all.refused(&a, &error)).count();
        assert_eq!((logged, all.list(9).len()), (1, 1));
        assert!(all.refused(&a, &BackplaneError::refused("NOPERM")), "another reason");
        all.read(&a);
        assert!(all.list(9).is_empty() && all.refused(&a, &error));
    }
}
