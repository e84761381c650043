//! A session behind its handshake: both directions, and what they ask of each other.

use super::direction::Direction;
use super::format::{ALERT, APPLICATION_DATA, Alert, HANDSHAKE};
use super::heard::{Heard, UPDATE, ends};
use super::kept_secrets::TrafficSecrets;
use rustls::ExtractedSecrets;

/// The level of `close_notify`, and of all other alerts.
const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;

/// The server's end of a TLS 1.3 session.
pub struct Session {
    ours: Direction,
    theirs: Direction,
    heard: Heard,
    /// The peer wants other keys from us before we write again.
    asked: bool,
}

/// What a record of the peer's had.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    Data(&'a [u8]),
    /// What concerns the session alone.
    Nothing,
    /// The peer says no more, or has given up.
    End,
}

impl Session {
    /// Goes on with a session that rustls began and has nothing left to say in. `None` where what is given does not belong
    /// together.
    pub fn adopt(secrets: TrafficSecrets, extracted: ExtractedSecrets) -> Option<Session> {
        let ours = Direction::adopt(secrets.server?, extracted.tx)?;
        let theirs = Direction::adopt(secrets.client?, extracted.rx)?;
        Some(Session { ours, theirs, heard: Heard::default(), asked: false })
    }

    /// Seals parts, of together at most [`RECORD_BYTES`](super::RECORD_BYTES), as one record behind what `into` has. An
    /// update of our keys comes before it where the peer wants one or they have sealed as much as they may; a peer
    /// that asks often in between is answered once (RFC 8446, section 4.6.3).
    pub fn seal(&mut self, parts: &[&[u8]], into: &mut Vec<u8>) {
        if self.asked || self.ours.sequence >= self.ours.suite.most_records() {
            self.ours.seal(HANDSHAKE, &[&UPDATE], into);
            self.ours.update();
            self.asked = false;
        }
        self.ours.seal(APPLICATION_DATA, parts, into);
    }

    /// Seals the word that no more comes.
    pub fn close_notify(&mut self, into: &mut Vec<u8>) {
        self.ours.seal(ALERT, &[&[WARNING, CLOSE_NOTIFY]], into);
    }

    /// Seals why the connection ends.
    pub fn alert(&mut self, alert: Alert, into: &mut Vec<u8>) {
        self.ours.seal(ALERT, &[&[FATAL, alert as u8]], into);
    }

    /// Opens a whole record of the peer's in place. An error ends the connection; the peer is to be told by
    /// [`alert`](Session::alert).
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Opened<'a>, Alert> {
        let (kind, content) = self.theirs.open(record)?;
        match kind {
            HANDSHAKE => {
                if let Some(wants_ours) = self.heard.handshake(content)? {
                    self.theirs.update();
                    self.asked |= wants_ours;
                }
                Ok(Opened::Nothing)
            }
            _ if self.heard.is_amid() => Err(Alert::UnexpectedMessage),
            APPLICATION_DATA => Ok(Opened::Data(content)),
            ALERT if ends(content)? => Ok(Opened::End),
            ALERT => Ok(Opened::Nothing),
            _ => Err(Alert::UnexpectedMessage),
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl Session {
    /// Both ends of a session of AES-256-GCM whose secrets are known: the server's, and what stands for its client.
    pub fn of_known_secrets() -> (Session, Session) {
        let direction = |byte| {
            let secret = super::secret::Secret::new(&[byte; 48]).expect("short enough");
            Direction::new(super::suite::Suite::Aes256Gcm, secret)
        };
        let end = |ours, theirs| Session { ours, theirs, heard: Heard::default(), asked: false };
        (end(direction(1), direction(2)), end(direction(2), direction(1)))
    }

    /// Seals content of any kind.
    pub fn seal_as(&mut self, kind: u8, content: &[u8], into: &mut Vec<u8>) {
        self.ours.seal(kind, &[content], into);
    }

    /// Goes over to other keys without telling.
    pub fn update_silently(&mut self) {
        self.ours.update();
    }

    /// Whether the record that was opened last was the last one under its keys.
    pub fn has_updated(&self) -> bool {
        self.theirs.sequence == 0
    }

    /// Has sealed so many records.
    pub fn is_at(&mut self, sequence: u64) {
        self.ours.sequence = sequence;
    }

    /// Takes a record for opened.
    pub fn skip_one(&mut self) {
        self.theirs.sequence += 1;
    }
}
