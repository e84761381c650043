//! The paths on `--listen` that clients ask for: what a proxy in front of a node passes on.

/// Streams and publications, with `/events/{channel}` below.
pub const EVENTS: &str = "/events";
/// Past events, as `/history/{channel}`.
pub const HISTORY: &str = "/history";
/// Where a token becomes a cookie; nothing is below.
pub const SESSION: &str = "/session";

/// Every path of clients; configurations of proxies, the chart and the pages have the same ones (`tests/core/public_paths.rs`).
pub const PUBLIC: [&str; 3] = [EVENTS, HISTORY, SESSION];

/// What operators ask for on `--admin-listen`, beside the console's page at `/`.
const OPERATORS: [&str; 5] = ["/api", "/livez", "/metrics", "/readyz", "/status"];

/// Whether a path is one of the operators' listener, which a request to `--listen` may mean.
pub fn is_of_operators(path: &str) -> bool {
    OPERATORS.iter().any(|&of| below(path, of).is_some())
}

/// What follows a prefix and a `/`, or nothing: `None` where the path is another one.
pub fn below<'a>(path: &'a str, prefix: &str) -> Option<Option<&'a str>> {
    let rest = path.strip_prefix(prefix)?;
    match rest.strip_prefix('/') {
        None if rest.is_empty() => Some(None),
        None => None,
        Some("") => Some(None),
        Some(rest) => Some(Some(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments() {
        assert_eq!(below("/events", EVENTS), Some(None));
        assert_eq!(below("/events/", EVENTS), Some(None));
        assert_eq!(below("/events/orders", EVENTS), Some(Some("orders")));
        assert_eq!(below("/eventsx", EVENTS), None);
        assert_eq!(below("/", EVENTS), None);
        assert!(is_of_operators("/api/channels") && is_of_operators("/metrics") && !is_of_operators("/apis"));
    }
}
