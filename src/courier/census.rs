//! Asks all couriers for subscribers, one after the other, until there are enough or the time is over.

use super::inquiry::{Inquiry, Listed, Seen, Sought};
use super::key::SubscriberName;
use super::{Couriers, Message};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Subscribers that were found.
#[derive(Debug, Default)]
pub struct Census {
    pub found: Vec<(SubscriberName, Seen)>,
    /// Not all were looked at: there were enough, or the time was over.
    pub more: bool,
    /// The time was over.
    pub late: bool,
}

/// How much is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Subscribers.
    pub most: usize,
    /// Channels of each.
    pub channels: usize,
    pub until: Instant,
}

impl Couriers {
    /// Subscribers of this node that are sought.
    pub async fn census(&self, sought: &Sought, extent: Extent) -> Census {
        let mut census = Census::default();
        for courier in 0..self.count() {
            let mut from = Some(0);
            while let Some(at) = from {
                let most = extent.most - census.found.len();
                if most == 0 {
                    census.more = true;
                    return census;
                }
                let Some(listed) = self.inquire(courier, sought, at, Extent { most, ..extent }).await else {
                    (census.more, census.late) = (true, true);
                    return census;
                };
                from = listed.next;
                census
                    .found
                    .extend(listed.seen.into_iter().map(|seen| (SubscriberName { courier, id: seen.id }, seen)));
            }
        }
        census
    }

    /// One subscriber, if it is here; an error where its courier does not answer in time.
    pub async fn describe(&self, name: SubscriberName, extent: Extent) -> Result<Option<Seen>, Late> {
        if name.courier >= self.count() {
            return Ok(None);
        }
        let sought = Sought { serial: Some(name.id.serial), ..Sought::default() };
        let from = name.id.key.index();
        let listed = self.inquire(name.courier, &sought, from, Extent { most: 1, ..extent }).await.ok_or(Late)?;
        // The next one of that serial, if this one has gone, is another one.
        Ok(listed.seen.into_iter().find(|seen| seen.id == name.id))
    }

    async fn inquire(&self, courier: usize, sought: &Sought, from: usize, extent: Extent) -> Option<Listed> {
        let (answer, listed) = oneshot::channel();
        let Extent { most, channels, until } = extent;
        let inquiry = Inquiry { sought: sought.clone(), from, most, channels, answer };
        self.send(courier, Message::List(Box::new(inquiry)));
        timeout_at(until, listed).await.ok()?.ok()
    }
}

/// A courier did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_courier_that_does_not_answer_is_not_waited_for_longer_than_was_said() {
        let prepared = Couriers::prepare(2).expect("couriers");
        let (begun, time) = (Instant::now(), Duration::from_secs(2));
        let extent = || Extent { most: 9, channels: 1, until: Instant::now() + time };
        let census = prepared.couriers().census(&Sought::default(), extent()).await;
        assert_eq!((census.found.len(), census.more, census.late, begun.elapsed()), (0, true, true, time));
        let name = "1.0.1".parse().expect("a name");
        assert_eq!(prepared.couriers().describe(name, extent()).await.map(|_| ()), Err(Late));
        let beyond = "2.0.1".parse().expect("a name");
        assert_eq!(prepared.couriers().describe(beyond, extent()).await.map(|seen| seen.is_none()), Ok(true));
    }
}
