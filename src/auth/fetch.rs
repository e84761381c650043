//! Short HTTP exchanges with servers that the operator named: a key server, the application that is asked.
//!
//! Redirects are not followed and answers are bounded, so that a server in between cannot send the node elsewhere.

use crate::https;
use crate::trust::{TrustError, in_words};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Connections kept open to one server while idle.
const IDLE_CONNECTIONS: usize = 32;
/// Shorter than what servers and balancers close after, so that none is closed under a request.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Why an exchange failed, in one line without the URL.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("{}", deepest(&**.0))]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// A client of such servers.
#[derive(Clone)]
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl Fetcher {
    /// `ca` has the authorities that are trusted, instead of the system's. `Err` names the file.
    pub fn new(ca: Option<&Path>, timeout: Duration) -> Result<Fetcher, TrustError> {
        let connector = https::connector(HttpConnector::new(), ca, None)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Ok(Fetcher { client, timeout })
    }

    /// One exchange, connecting included, within the timeout.
    pub async fn send(&self, request: Request<Full<Bytes>>, most: usize) -> Result<Response<Bytes>, FetchError> {
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| FetchError::Broken(error.into()))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(FetchError::Broken)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(self.timeout, exchange).await.unwrap_or(Err(FetchError::Late(self.timeout)))
    }
}

/// The innermost cause, which is what a person can act on.
fn deepest(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    in_words(cause.to_string())
}
