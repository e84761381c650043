//! Which streams are known to remember keys for as long as nodes promise. Bounded, and looked at again after a while: a
//! stream that was made anew has the server's defaults.

use crate::backplane::{KEYS_KEPT, KEYS_MOST};
use crate::channel::Channel;
use crate::hash::HashMap;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A stream is taken to be as it was seen for so long.
const FRESH: Duration = Duration::from_secs(60);
/// Streams of which anything is remembered.
const STREAMS: usize = 4_096;

/// The words that have a stream remember keys, behind `XCFGSET` and its name.
pub fn settings() -> [String; 4] {
    let (kept, most) = (KEYS_KEPT.as_secs().to_string(), KEYS_MOST.to_string());
    ["IDMP-DURATION".into(), kept, "IDMP-MAXSIZE".into(), most]
}

/// What is known of one server's streams.
#[derive(Default)]
pub struct Prepared(Mutex<HashMap<Channel, Instant>>);

impl Prepared {
    /// Notes that a stream remembers keys for long enough.
    pub fn found(&self, channel: &Channel) {
        let mut streams = self.0.lock();
        if streams.len() >= STREAMS && !streams.contains_key(channel) {
            streams.retain(|_, seen| seen.elapsed() < FRESH);
            if streams.len() >= STREAMS {
                streams.clear();
            }
        }
        streams.insert(channel.clone(), Instant::now());
    }

    /// Whether a stream was seen to, lately.
    pub fn knows(&self, channel: &Channel) -> bool {
        self.0.lock().get(channel).is_some_and(|seen| seen.elapsed() < FRESH)
    }

    /// A stream is gone.
    pub fn forget(&self, channel: &Channel) {
        self.0.lock().remove(channel);
    }

    /// Another server may have other streams.
    pub fn forget_all(&self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_looked_at_again_and_bounded() {
        let channel = |n: usize| Channel::new(&n.to_string()).unwrap();
        let prepared = Prepared::default();
        prepared.found(&channel(0));
        assert!(prepared.knows(&channel(0)) && !prepared.knows(&channel(1)));
        advance(FRESH).await;
        assert!(!prepared.knows(&channel(0)));
        (0..=STREAMS).for_each(|n| prepared.found(&channel(n)));
        assert!(prepared.0.lock().len() <= STREAMS && prepared.knows(&channel(STREAMS)));
        prepared.forget(&channel(STREAMS));
        assert!(!prepared.knows(&channel(STREAMS)));
    }
}
