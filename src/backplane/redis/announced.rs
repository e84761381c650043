//! Which sentinel to believe: sentinels learn of a promotion one after the other, and until then they name the old primary.

use super::address::Host;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// For how long a sentinel that names the primary of an older configuration is not believed. Sentinels tell each other of a
/// newer one every two seconds (`SENTINEL_PUBLISH_PERIOD` of Redis). Configurations begin at zero again where all
/// sentinels are made anew, so no word holds for ever.
const HOLDS: Duration = Duration::from_secs(10);

/// Where a sentinel says that the primary is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The primary, as this sentinel announces it.
    pub primary: Host,
    /// The configuration that this is of, which each failover raises (`config-epoch`); `None`: the sentinel does not tell.
    pub epoch: Option<u64>,
}

/// The newest configuration that any sentinel has told of.
#[derive(Default)]
pub struct Announced {
    heard: Mutex<Option<(Said, Instant)>>,
}

impl Announced {
    /// Takes in what one sentinel says now, and returns the primary to be believed.
    pub fn hear(&self, said: Said) -> Host {
        let (mut heard, now) = (self.heard.lock(), Instant::now());
        // Of one configuration the first word counts: sentinels may name one server by name and by address.
        let outdated = |known: &Said| known.epoch.zip(said.epoch).is_some_and(|(known, said)| known >= said);
        match &mut *heard {
            Some((known, at)) if *known == said => *at = now,
            Some((known, at)) if outdated(known) && now - *at < HOLDS => {}
            _ => *heard = Some((said.clone(), now)),
        }
        heard.as_ref().map_or(said.primary, |(known, _)| known.primary.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(port: u16, epoch: Option<u64>) -> Said {
        Said { primary: Host { name: "h".into(), port }, epoch }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sentinel_that_has_not_heard_yet_is_not_believed() {
        let announced = Announced::default();
        let hear = |port, epoch| announced.hear(said(port, Some(epoch))).port;
        assert_eq!(hear(1, 4), 1);
        assert_eq!(hear(2, 5), 2, "a promotion");
        assert_eq!(hear(1, 4), 2);
        assert_eq!(hear(9, 5), 2, "the same one by another name");
        tokio::time::advance(HOLDS / 2).await;
        assert_eq!(hear(2, 5), 2);
        tokio::time::advance(HOLDS - Duration::from_millis(1)).await;
        assert_eq!(hear(1, 4), 2, "it was said again meanwhile");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(hear(1, 0), 1, "all sentinels were made anew");
        assert_eq!(hear(2, 1), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_configuration_the_last_word_counts() {
        let announced = Announced::default();
        assert_eq!(announced.hear(said(1, Some(7))).port, 1);
        assert_eq!(announced.hear(said(2, None)).port, 2);
        assert_eq!(announced.hear(said(1, Some(7))).port, 1);
    }
}
