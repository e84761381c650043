//! How a connection begins: as whom, in which version of the protocol, at which database.
//!
//! fred writes `HELLO` with user and password as one line of text, where a space ends an argument and a line break the
//! command, and without a password it sends a `PING`, which a server with a full disk refuses. So fred begins every
//! connection in RESP2, where `AUTH` has its arguments with their lengths, and the rest is asked for here.

use super::access::AccessError;
use super::address::Endpoint;
use super::credential::Credential;
use super::{fault, pipeline};
use crate::backplane::BackplaneError;
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{AuthInterface, ClientLike};
use fred::socket2::TcpKeepalive;
use fred::types::config::{
    Config, ConnectionConfig, CredentialProvider, PerformanceConfig, Server, TcpConfig, TlsConfig,
};
use fred::types::{ClusterHash, CustomCommand, RespVersion, Value};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The pushes that may wait for the task that drains them; fred allocates them up front, a megabyte of them.
const PUSH_CAPACITY: usize = 1024;
/// Pushes that may wait where none are asked for.
const FEW_PUSHES: usize = 4;

/// After so long without a word the kernel asks whether the other side is there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// One command of the set-up.
pub struct Step<'a> {
    /// The command, where it asks for RESP3.
    pub resp3: Option<&'static str>,
    /// Sends it and waits for its answer.
    pub answer: Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>>,
}

/// How one connection begins.
pub struct Plan {
    login: Login,
    /// User and password that are no UTF-8, so that fred cannot send them.
    bytes: Option<(Option<Credential>, Credential)>,
    tls: Option<TlsConfig>,
    version: RespVersion,
    database: u8,
    readonly: bool,
}

/// Whom fred logs in as, by `AUTH`; nobody, without a `PING` instead.
#[derive(Clone, Default)]
struct Login(Option<String>, Option<String>);

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Login {
    async fn fetch(&self, _: Option<&Server>) -> Result<(Option<String>, Option<String>), Error> {
        Ok((self.0.clone(), self.1.clone()))
    }
}

impl Plan {
    /// Reads credentials and certificates; `Err` names the file or variable that cannot be used.
    pub fn of(endpoint: &Endpoint, version: RespVersion) -> Result<Plan, AccessError> {
        let access = &endpoint.access;
        let (username, password) = match endpoint.sentinel {
            true => access.sentinel_credentials()?,
            false => access.credentials()?,
        };
        let (database, readonly) = (endpoint.database, endpoint.readonly);
        let plan = Plan { login: Login::default(), bytes: None, tls: access.tls()?, version, database, readonly };
        let Some(password) = password else { return Ok(plan) };
        let text = |credential: &Credential| credential.text().map(str::to_owned);
        Ok(match (username.as_ref().map(text), text(&password)) {
            (None, Some(password)) => Plan { login: Login(None, Some(password)), ..plan },
            (Some(Some(user)), Some(password)) => Plan { login: Login(Some(user), Some(password)), ..plan },
            _ => Plan { bytes: Some((username, password)), ..plan },
        })
    }

    /// A client that has not connected; `last_resort`: fred's own limit of a command.
    pub fn client(&self, endpoint: &Endpoint, last_resort: Duration) -> Client {
        let pushes = if self.version == RespVersion::RESP3 { PUSH_CAPACITY } else { FEW_PUSHES };
        let config = Config {
            server: endpoint.server.clone(),
            credential_provider: Some(Arc::new(self.login.clone())),
            tls: self.tls.clone(),
            version: RespVersion::RESP2,
            fail_fast: true,
            ..Config::default()
        };
        let performance = PerformanceConfig {
            default_command_timeout: last_resort,
            broadcast_channel_capacity: pushes,
            ..PerformanceConfig::default()
        };
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 2);
        let connection = ConnectionConfig {
            connection_timeout: endpoint.access.timeout,
            internal_command_timeout: endpoint.access.timeout,
            // Never sent again: an XADD would be appended twice.
            max_command_attempts: 1,
            reconnect_errors: Vec::new(),
            tcp: TcpConfig { nodelay: Some(true), keepalive: Some(keepalive), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        Client::new(config, Some(performance), Some(connection), None)
    }

    /// The steps that fred has not done when it says that it is connected, in order.
    pub fn steps<'a>(&'a self, client: &'a Client) -> Vec<Step<'a>> {
        let mut steps: Vec<Step> = Vec::new();
        if let Some((user, password)) = &self.bytes {
            let words = user.iter().chain([password]).map(|word| Value::Bytes(word.bytes().clone())).collect();
            steps.push(Step { resp3: None, answer: Box::pin(authenticate(client, words)) });
        }
        if self.version == RespVersion::RESP3 {
            steps.push(Step { resp3: Some("HELLO 3"), answer: Box::pin(greet(client)) });
        }
        if self.database > 0 {
            steps.push(Step { resp3: None, answer: Box::pin(select(client, self.database)) });
        }
        if self.readonly {
            steps.push(Step { resp3: None, answer: Box::pin(read_only(client)) });
        }
        steps
    }
}

async fn authenticate(client: &Client, words: Vec<Value>) -> Result<(), BackplaneError> {
    client.custom::<Value, _>(command("AUTH"), words).await.map(drop).map_err(|e| fault::judge(&e))
}

/// Asks for RESP3, without credentials: `HELLO` fred writes as one line, so it is made of constants alone.
async fn greet(client: &Client) -> Result<(), BackplaneError> {
    client.hello(RespVersion::RESP3, None, None).await.map_err(|e| fault::judge(&e))
}

async fn select(client: &Client, database: u8) -> Result<(), BackplaneError> {
    pipeline::one(client, &["SELECT", &database.to_string()]).await?.map(drop)
}

/// Tells a replica of a cluster that it is read: it would send the reader to its primary otherwise.
async fn read_only(client: &Client) -> Result<(), BackplaneError> {
    pipeline::one(client, &["READONLY"]).await?.map(drop)
}

fn command(name: &'static str) -> CustomCommand {
    CustomCommand::new_static(name, ClusterHash::FirstKey, false)
}
