//! Any request is understood within its limits, or refused with a bounded message.
#![no_main]

use fantail::subscription::{Limits, Subscription, Texts};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|input: (Option<&str>, Option<&[u8]>, u64, Option<&[u8]>, &str)| {
    let (path_channel, last_event_id, now, form, query) = input;
    let texts = Texts { path_channel, query, form, last_event_id };
    let limits = Limits { max_channels: 5, max_tail: 100, heartbeat: (Duration::from_secs(1), Duration::from_secs(600)) };
    match Subscription::parse(&texts, &limits, now) {
        Ok(subscription) => {
            assert!((1..=5).contains(&subscription.channels.len()));
            assert!(subscription.channels.iter().all(|channel| !channel.is_reserved()));
            assert!(subscription.tail.is_none_or(|tail| tail <= 100));
            for channel in &subscription.channels {
                let _ = subscription.resume_at(channel);
            }
        }
        Err(problem) => {
            assert!(problem.detail.len() < 4_000, "{}", problem.detail.len());
            assert!(problem.into_response().status().is_client_error());
        }
    }
});
