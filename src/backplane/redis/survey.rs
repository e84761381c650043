//! One look at a Redis, as `fantail check` takes it: whether a node would work there, and if not, why.

use super::address::{AddressError, Place};
use super::capabilities::Findings;
use super::cluster::Cluster;
use super::server::Reports;
use super::settings::Settings;
use super::supervisor::Supervisor;
use super::{fault, reachable};
use crate::backplane::BackplaneError;
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
        (Err(BackplaneError::Down(why)), Some(host)) if !tls && fault::is_hang_up(why) => {
            Some(reachable::speaks_tls(&host).await)
        }
        _ => None,
    };
    let explain = |why: &str| explain(why, tls, wants_tls);
    Ok(found.map_err(|error| match error {
        BackplaneError::Down(why) => BackplaneError::Down(format!("{name}: {}", explain(&why))),
        BackplaneError::Refused(why) => BackplaneError::Refused(format!("{name}: {}", explain(&why))),
    }))
}

/// `tls`: whether the node speaks TLS; `wants_tls`: whether the server does, where that was tried.
fn explain(why: &str, tls: bool, wants_tls: Option<bool>) -> String {
    match fault::explain(why) {
        // A server without TLS there waits for the rest of what it takes for a command.
        why if tls && why.contains("timed out") => format!("{why} (does this port speak TLS?)"),
        why if !tls && fault::is_hang_up(&why) => match wants_tls {
            Some(false) => format!("{why} (it hangs up on whoever speaks: is there a server behind it?)"),
            _ => format!("{why} (does this port want TLS? rediss://)"),
        },
        why if !tls && why.contains("answer timed out") => {
            format!("{why} (is there a server behind it, and does it run?)")
        }
        why => why,
    }
}
