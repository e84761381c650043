//! What a client says behind its handshake beside application data: updates of its keys (RFC 8446, section 4.6.3), and
//! alerts.

use super::format::Alert;

/// A message of type `key_update` with its length and the one byte that it has.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
/// That the peer need not update its own keys.
const NOT_REQUESTED: u8 = 0;
const REQUESTED: u8 = 1;
/// What a `key_update` that asks for nothing looks like.
pub const UPDATE: [u8; 5] = [KEY_UPDATE[0], KEY_UPDATE[1], KEY_UPDATE[2], KEY_UPDATE[3], NOT_REQUESTED];
/// Alerts that are none (RFC 8446, section 6.1).
const USER_CANCELED: u8 = 90;

/// The beginning of a message of the handshake whose rest is in the next record.
#[derive(Default)]
pub struct Heard {
    /// Bytes of [`KEY_UPDATE`] that have come: they are known, so none is kept.
    begun: u8,
}

impl Heard {
    /// Whether a message has begun and not ended; nothing else may come between.
    pub fn is_amid(&self) -> bool {
        self.begun > 0
    }

    /// Takes a record of the handshake: whether the peer wants other keys from us, where a message is whole; it has other
    /// keys from the next record on.
    pub fn handshake(&mut self, content: &[u8]) -> Result<Option<bool>, Alert> {
        // An empty one is forbidden (RFC 8446, section 5.1).
        if content.is_empty() {
            return Err(Alert::UnexpectedMessage);
        }
        let mut update = None;
        for byte in content {
            if update.is_some() {
                // A message behind an update would be under the old keys.
                return Err(Alert::UnexpectedMessage);
            }
            match KEY_UPDATE.get(usize::from(self.begun)) {
                Some(expected) if byte == expected => self.begun += 1,
                Some(_) if self.begun == 0 => return Err(Alert::UnexpectedMessage),
                Some(_) => return Err(Alert::DecodeError),
                None => {
                    self.begun = 0;
                    update = Some(match *byte {
                        NOT_REQUESTED => false,
                        REQUESTED => true,
                        _ => return Err(Alert::IllegalParameter),
                    });
                }
            }
        }
        Ok(update)
    }
}

/// Whether an alert ends the session.
pub fn ends(content: &[u8]) -> Result<bool, Alert> {
    match content {
        [] => Err(Alert::UnexpectedMessage),
        [_, kind] => Ok(*kind != USER_CANCELED),
        _ => Err(Alert::DecodeError),
    }
}
