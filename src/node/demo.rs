//! `--demo`: something to look at, for whoever tries the node.

use crate::backplane::{Backplane, Publication};
use crate::channel::Channel;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Publishes one small event each second to the channel `demo`, and never ends.
pub async fn run(backplane: Arc<dyn Backplane>) {
    let channel = Channel::new("demo").expect("a good name");
    let mut every = tokio::time::interval(Duration::from_secs(1));
    for count in 1_u64.. {
        every.tick().await;
        let data = format!("{{\"count\":{count}}}");
        let fields = vec![(Bytes::from("event"), Bytes::from("tick")), (Bytes::from("data"), Bytes::from(data))];
        // While the backplane is down there is nothing to show.
        let _ = backplane.append(vec![Publication::new(channel.clone(), fields)]).await;
    }
}
