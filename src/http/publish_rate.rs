//! How fast one address may publish (GCRA: an even rate with a second's worth of burst).

use super::reject::{Code, Problem};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Addresses remembered at once; more share one allowance.
const MAX_ADDRESSES: usize = 65_536;

/// Publishing events per second and address.
pub struct PublishRate {
    per_second: NonZeroU32,
    allowances: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    swept: Mutex<Instant>,
    max_addresses: usize,
}

impl PublishRate {
    pub fn new(per_second: NonZeroU32) -> PublishRate {
        PublishRate::with_room(per_second, MAX_ADDRESSES)
    }

    fn with_room(per_second: NonZeroU32, max_addresses: usize) -> PublishRate {
        let allowances = RateLimiter::hashmap(Quota::per_second(per_second));
        let swept = Mutex::new(Instant::now());
        PublishRate { per_second, allowances, clock: DefaultClock::default(), swept, max_addresses }
    }

    /// Takes an allowance of `events` for `peer`, or refuses all of them.
    pub fn take(&self, peer: IpAddr, events: NonZeroU32) -> Result<(), Problem> {
        let refusal = |detail| Problem::new(Code::PublishRate, detail);
        let limit = format!("an address may publish {} events a second", self.per_second);
        match self.allowances.check_key_n(&self.key(peer), events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now()).as_secs_f64().ceil().max(1.0);
                Err(Problem { retry_after: Some(wait as u32), ..refusal(limit) })
            }
            Err(_) => Err(refusal(format!("{limit}; {events} more at once never fit"))),
        }
    }

    /// An IPv6 client has a whole /64 to choose from. An address that finds no room uses the shared allowance.
    fn key(&self, peer: IpAddr) -> IpAddr {
        if self.allowances.len() >= self.max_addresses {
            self.sweep();
            if self.allowances.len() >= self.max_addresses {
                return Ipv6Addr::UNSPECIFIED.into();
            }
        }
        match peer.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
            v4 => v4,
        }
    }

    /// Forgets addresses whose allowance is whole again; not more than once a second, since it looks at all.
    fn sweep(&self) {
        let mut swept = self.swept.lock();
        if swept.elapsed() >= Duration::from_secs(1) {
            *swept = Instant::now();
            self.allowances.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    fn rate(per_second: u32, room: usize) -> PublishRate {
        PublishRate::with_room(NonZeroU32::new(per_second).unwrap(), room)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own() {
        let rate = rate(1, 100);
        for first in ["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8:0:1::1"] {
            assert_eq!(rate.take(address(first), ONE), Ok(()), "{first}");
        }
        for again in ["10.0.0.1", "::ffff:10.0.0.2", "2001:db8::2"] {
            let problem = rate.take(address(again), ONE).unwrap_err();
            assert_eq!((problem.code, problem.retry_after), (Code::PublishRate, Some(1)), "{again}");
        }
    }

    #[test]
    fn a_batch_counts_its_events() {
        let rate = rate(10, 100);
        let n = |n| NonZeroU32::new(n).unwrap();
        assert!(rate.take(address("10.0.0.1"), n(11)).unwrap_err().detail.contains("never fit"));
        assert_eq!(rate.take(address("10.0.0.1"), n(10)), Ok(()));
        assert!(rate.take(address("10.0.0.1"), n(10)).is_err());
    }

    #[test]
    fn addresses_without_room_share() {
        let rate = rate(1, 2);
        for first in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
            assert_eq!(rate.take(address(first), ONE), Ok(()), "{first}");
        }
        assert!(rate.take(address("10.0.0.4"), ONE).is_err());
        assert_eq!(rate.allowances.len(), 3);
    }
}
