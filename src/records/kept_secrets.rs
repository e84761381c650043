//! The secrets of one handshake, as rustls tells them: without them keys cannot be updated later.

use super::secret::Secret;
use parking_lot::Mutex;
use rustls::KeyLog;
use std::fmt;

/// The first secrets of both directions (RFC 8446, section 7.1).
#[derive(Default)]
pub struct TrafficSecrets {
    pub(super) client: Option<Secret>,
    pub(super) server: Option<Secret>,
}

/// The key log of one connection's configuration, which keeps what a [`Session`](super::Session) goes on with. Nothing is
/// written anywhere.
#[derive(Default)]
pub struct KeptSecrets(Mutex<TrafficSecrets>);

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

impl KeptSecrets {
    /// Takes what has been kept.
    pub fn take(&self) -> TrafficSecrets {
        std::mem::take(&mut *self.0.lock())
    }
}

impl KeyLog for KeptSecrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        match label {
            CLIENT => self.0.lock().client = Secret::new(secret),
            SERVER => self.0.lock().server = Secret::new(secret),
            _ => {}
        }
    }

    fn will_log(&self, label: &str) -> bool {
        [CLIENT, SERVER].contains(&label)
    }
}

impl fmt::Debug for KeptSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptSecrets")
    }
}
