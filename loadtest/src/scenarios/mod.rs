//! What is measured, and how the server is brought into that situation.

mod bounded;
mod churn;
mod cluster;
mod counts;
pub mod deliver;
mod follow;
mod hold;
mod nodes;
mod search;
mod slow;
mod soak;
mod storm;
mod unicast;
mod ways;

use crate::lab::Lab;
use crate::options::What;
use anyhow::Result;

/// Runs a scenario; its results are in the lab.
pub fn run(what: &What, lab: &mut Lab) -> Result<()> {
    match what {
        What::Floor(_) => deliver::floor(lab),
        What::Fanout(_) => deliver::fanout(lab),
        What::Channels(_) => deliver::channels(lab),
        What::Follow(_) => follow::run(lab),
        What::Burst(_) => deliver::burst(lab),
        What::Compress(_) => deliver::compress(lab),
        What::Ways(_) => ways::run(lab),
        What::Streams(_) => ways::streams(lab),
        What::Handshakes(_) => ways::handshakes(lab),
        What::Hold(_) => hold::run(lab),
        What::Churn(_) => churn::run(lab),
        What::Storm(_) => storm::run(lab),
        What::Slow(_) => slow::run(lab),
        What::Unicast(_) => unicast::run(lab),
        What::Nodes(_) => nodes::run(lab),
        What::Lag(_) => deliver::lag(lab),
        What::Cluster(_) => cluster::run(lab),
        What::Overload(_) => cluster::overload(lab),
        What::Soak(_) => soak::run(lab),
        What::Counts(_) => counts::run(lab),
        What::All(_) => bounded::all(lab),
        What::Smoke(_) => bounded::smoke(lab),
        What::Selftest(_) => bounded::selftest(lab),
        What::Clients | What::ServeFloor(_) | What::ServeHyperBody(_) => Ok(()),
    }
}
