//! Connections of one address that are no subscribers: silent ones, slow ones, kept-alive ones. Subscribers have
//! [`Limits`](super::Limits).

use super::client_of;
use crate::hash::HashMap;
use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::Arc;

/// However few subscribers an address may have, its publishers and its browser's other requests need some.
const LEAST: usize = 16;

/// Counts connections by address, from accept to their end or their subscription.
pub struct Presences {
    /// 0: no limit.
    most: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts.
pub struct Presence {
    presences: Arc<Presences>,
    address: IpAddr,
}

/// The address has as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

impl Presences {
    /// For addresses that may have so many subscribers (0: no limit): as many again, and at least sixteen.
    pub fn new(subscribers: usize) -> Arc<Presences> {
        let most = if subscribers == 0 { 0 } else { subscribers.max(LEAST) };
        Arc::new(Presences { most, addresses: Mutex::default() })
    }

    /// Counts one more, where there is a limit.
    pub fn enter(self: &Arc<Presences>, peer: IpAddr) -> Result<Option<Presence>, Crowded> {
        if self.most == 0 {
            return Ok(None);
        }
        let address = client_of(peer);
        let mut addresses = self.addresses.lock();
        let present = addresses.entry(address).or_default();
        if *present >= self.most {
            return Err(Crowded);
        }
        *present += 1;
        Ok(Some(Presence { presences: self.clone(), address }))
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut addresses = self.presences.addresses.lock();
        if let Some(present) = addresses.get_mut(&self.address) {
            *present -= 1;
            if *present == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_as_subscribers_and_sixteen_at_least() {
        let address: IpAddr = "10.0.0.1".parse().expect("an address");
        for (subscribers, most) in [(1, 16), (16, 16), (40, 40)] {
            let presences = Presences::new(subscribers);
            let mut held: Vec<_> = (0..most).map(|_| presences.enter(address).expect("room")).collect();
            assert_eq!(presences.enter(address).err(), Some(Crowded), "{subscribers}");
            assert!(presences.enter("10.0.0.2".parse().expect("an address")).is_ok(), "another one");
            held.pop();
            assert!(presences.enter(address).is_ok(), "a place that was given back");
            held.clear();
            assert!(presences.addresses.lock().is_empty(), "nobody is remembered");
        }
        assert!((0..100).all(|_| matches!(Presences::new(0).enter(address), Ok(None))), "no limit");
    }
}
