//! One direction of a session: its keys, and how many records they have sealed.

use super::format::{APPLICATION_DATA, Alert, HEADER_BYTES, MOST_SEALED, RECORD_BYTES};
use super::secret::{Keys, Secret};
use super::suite::Suite;
use ring::aead::{Aad, MAX_TAG_LEN};
use rustls::ConnectionTrafficSecrets;

/// A session whose keys were updated more often before it was handed over is none that anybody has.
const MOST_UPDATES: usize = 8;

/// What seals or opens the records of one direction.
pub struct Direction {
    pub suite: Suite,
    secret: Secret,
    keys: Keys,
    /// The number of the next record under these keys.
    pub sequence: u64,
}

impl Direction {
    /// The direction of a secret, at its first record.
    pub fn new(suite: Suite, secret: Secret) -> Direction {
        Direction { suite, keys: secret.keys(suite), secret, sequence: 0 }
    }

    /// Goes on where rustls stopped: `secret` is the first one of the direction, of which the keys that rustls gave must
    /// come, by updates or at once.
    pub fn adopt(secret: Secret, (sequence, given): (u64, ConnectionTrafficSecrets)) -> Option<Direction> {
        let (suite, key, iv) = match &given {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Suite::ChaCha20Poly1305, key, iv),
            _ => return None,
        };
        if !secret.fits(suite) {
            return None;
        }
        let mut direction = Direction::new(suite, secret);
        for _ in 0..MOST_UPDATES {
            if direction.keys.are(key.as_ref(), iv.as_ref()) {
                direction.sequence = sequence;
                return Some(direction);
            }
            direction.update();
        }
        None
    }

    /// Goes over to the next keys.
    pub fn update(&mut self) {
        self.secret = self.secret.next(self.suite);
        self.keys = self.secret.keys(self.suite);
        self.sequence = 0;
    }

    /// Seals parts as one record of a kind, behind what `into` has. Together they may have [`RECORD_BYTES`].
    pub fn seal(&mut self, kind: u8, parts: &[&[u8]], into: &mut Vec<u8>) {
        let content = parts.iter().map(|part| part.len()).sum::<usize>();
        debug_assert!(content + 1 + MAX_TAG_LEN <= MOST_SEALED, "it is one record");
        let [high, low] = ((content + 1 + MAX_TAG_LEN) as u16).to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, high, low];
        into.reserve(HEADER_BYTES + content + 1 + MAX_TAG_LEN);
        into.extend_from_slice(&header);
        let start = into.len();
        parts.iter().for_each(|part| into.extend_from_slice(part));
        into.push(kind);
        let (key, nonce) = (self.keys.expanded(self.suite), self.keys.nonce(self.sequence));
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut into[start..]);
        into.extend_from_slice(tag.expect("a record is short").as_ref());
        self.sequence += 1;
    }

    /// Opens a whole record in place: its kind and its content.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<(u8, &'a mut [u8]), Alert> {
        let Some((header, sealed)) = record.split_first_chunk_mut::<HEADER_BYTES>() else {
            return Err(Alert::DecodeError);
        };
        let (key, nonce) = (self.keys.expanded(self.suite), self.keys.nonce(self.sequence));
        let plain = key.open_in_place(nonce, Aad::from(*header), sealed).map_err(|_| Alert::BadRecordMac)?;
        self.sequence += 1;
        // Padding is zeros behind the kind (RFC 8446, section 5.4).
        let at = plain.iter().rposition(|byte| *byte != 0).ok_or(Alert::UnexpectedMessage)?;
        if plain.len() > RECORD_BYTES + 1 {
            return Err(Alert::RecordOverflow);
        }
        Ok((plain[at], &mut plain[..at]))
    }
}

#[cfg(test)]
impl Direction {
    /// The keys as rustls takes them.
    pub fn given(&self) -> (rustls::crypto::cipher::AeadKey, rustls::crypto::cipher::Iv) {
        self.keys.given()
    }
}
