//! One look at a Redis, as `fantail check` takes it: whether a node would work there, and if not, why.

use super::address::{AddressError, Place};
use super::capabilities::Findings;
use super::cluster::Cluster;
use super::server::Reports;
use super::settings::Settings;
use super::supervisor::Supervisor;
use super::{fault, reachable};
use crate::backplane::BackplaneError;
use crate::backplane::error::Outage;
use tokio::runtime::Handle;

/// Connects once, as a node would, and finds out what it could do there; `publishes`: whether it would also append.
///
/// Leaves nothing behind but keys that expire. The outer error is the URL's, the inner one the server's.
pub async fn survey(settings: Settings, publishes: bool) -> Result<Result<Findings, BackplaneError>, AddressError> {
    let address = settings.address()?;
    let tls = address.access.tls.is_some();
    let fixed = address.fixed();
    let name = address.to_string();
    let found = match address.place {
        Place::Cluster(_) => Cluster::new(settings, address, Handle::current()).survey(publishes).await,
        _ => Supervisor::new(&settings, address, None, Reports::default(), &Handle::current()).survey(publishes).await,
    };
    // A server with TLS there hangs up on whoever does not greet it so; so does a proxy that has no server.
    let wants_tls = match (&found, fixed.and_then(|endpoint| endpoint.host())) {
        (Err(BackplaneError::Down { kind: Outage::HungUp, .. }), Some(host)) if !tls => {
            Some(reachable::speaks_tls(&host).await)
        }
        _ => None,
    };
    Ok(found.map_err(|error| explain(error, tls, wants_tls).map_text(|why| format!("{name}: {why}"))))
}

/// The error with what an operator can do about it. `tls`: whether the node speaks TLS; `wants_tls`: whether the server
/// does, where that was tried.
fn explain(error: BackplaneError, tls: bool, wants_tls: Option<bool>) -> BackplaneError {
    let question = match (error.outage(), tls) {
        // A server without TLS there waits for the rest of what it takes for a command.
        (Outage::NoAnswer | Outage::TimedOut, true) => "does this port speak TLS?",
        (Outage::HungUp, false) if wants_tls == Some(false) => {
            "it hangs up on whoever speaks: is there a server behind it?"
        }
        (Outage::HungUp, false) => "does this port want TLS? rediss://",
        (Outage::NoAnswer, false) => "is there a server behind it, and does it run?",
        _ => return fault::explain(error),
    };
    error.map_text(|why| format!("{why} ({question})"))
}
