//! TLS 1.3 records behind a handshake, without sockets and without buffers (RFC 8446, sections 4.6.3, 5 and 7).
//!
//! rustls shakes hands and gives the secrets ([`KeptSecrets`]); from there on a [`Session`] seals what is written, opens
//! what comes, and updates keys. AEAD and HKDF are ring's. Bytes go in and out as slices: who has the socket also has
//! what it did not take, and what has not come whole.

mod direction;
mod edge;
mod format;
mod heard;
mod kept_secrets;
mod secret;
mod session;
mod suite;
#[cfg(test)]
mod tests;

pub use edge::Edge;
pub use format::{Alert, HEADER_BYTES, MOST_RECORD, RECORD_BYTES, record_length};
pub use kept_secrets::KeptSecrets;
pub use session::{Opened, Session};
