//! Tickets that every node with the same keys takes, and a node after its restart: clients that come back resume.
//!
//! The keys are read from a file, and read again when it changes; a change that cannot be used leaves the old ones in place.
//! A ticket is sealed under a key of its own, made of a file's key and a random salt, so that no number of them uses a
//! nonce twice. It says when it was made, and is none after twelve hours, whether the file's keys change or not.

use crate::clock::Clock;
use crate::file_watch::{Contents, FileError, FileWatch};
use crate::http::metrics::{HttpMetrics, Reload};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tracing::{info, warn};
use zeroize::Zeroizing;

/// Keys of a file at most: a new one that not every node has read yet, the one in use, and what it replaced.
const MOST_KEYS: usize = 4;
const KEY_BYTES: usize = 32;
const MOST_FILE_BYTES: u64 = 4 << 10;
/// For which a ticket is taken.
const LIFETIME_S: u32 = 12 * 60 * 60;
/// So far a node's clock may be behind that of the one that made a ticket.
const SKEW_S: u64 = 600;
/// Says which key a ticket was made with, without telling of the key.
const NAME_BYTES: usize = 8;
const SALT_BYTES: usize = 24;
const TIME_BYTES: usize = 8;
/// Longer ones are none of ours.
const MOST_TICKET: usize = 4 << 10;

/// Why a file is none of ticket keys.
#[derive(Debug, thiserror::Error)]
pub enum TicketKeysError {
    #[error(transparent)]
    Unreadable(#[from] FileError),
    #[error("{path}: line {line} is no base64 of {KEY_BYTES} bytes")]
    NoKey { path: String, line: usize },
    #[error("{path}: it has {keys} keys; 1 to {MOST_KEYS} are allowed")]
    Number { path: String, keys: usize },
}

/// What seals and opens tickets.
pub struct TicketKeys {
    watch: FileWatch,
    keys: RwLock<Arc<[TicketKey]>>,
    clock: Clock,
}

/// One key of the file.
struct TicketKey {
    name: [u8; NAME_BYTES],
    prk: Prk,
}

/// How many bytes ring is asked for.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl TicketKeys {
    /// Reads the file.
    pub fn new(path: &Path, clock: Clock) -> Result<TicketKeys, TicketKeysError> {
        let watch = FileWatch::new(&[path.to_owned()], MOST_FILE_BYTES)?;
        let keys = parse(path, watch.contents())?;
        Ok(TicketKeys { watch, keys: RwLock::new(keys), clock })
    }

    /// Takes over what the file holds, for as long as the node runs.
    pub async fn follow(self: Arc<TicketKeys>, metrics: Arc<HttpMetrics>) {
        let mut watch = self.watch.clone();
        loop {
            let looked = watch.changed().await.map_err(TicketKeysError::from);
            match looked.and_then(|contents| parse(&watch.files()[0], &contents)) {
                Ok(keys) => {
                    metrics.tls_ticket_reloads.inc(Reload::Ok);
                    info!(keys = keys.len(), "tickets of TLS have other keys");
                    *self.keys.write() = keys;
                }
                Err(error) => {
                    metrics.tls_ticket_reloads.inc(Reload::Failed);
                    warn!(%error, "the file of ticket keys changed and cannot be used: the old keys stay");
                }
            }
        }
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.read().len()
    }

    fn now_s(&self) -> u64 {
        self.clock.since_epoch().as_secs()
    }
}

/// The keys of a file's contents, in their order.
fn parse(path: &Path, contents: &Contents) -> Result<Arc<[TicketKey]>, TicketKeysError> {
    let [text] = &contents[..] else { unreachable!("one file is watched") };
    let path = || path.display().to_string();
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let keys = lines
        .map(|(at, line)| TicketKey::read(line).ok_or_else(|| TicketKeysError::NoKey { path: path(), line: at + 1 }));
    let keys: Vec<TicketKey> = keys.collect::<Result<_, _>>()?;
    match keys.len() {
        1..=MOST_KEYS => Ok(keys.into()),
        keys => Err(TicketKeysError::Number { path: path(), keys }),
    }
}

impl TicketKey {
    fn read(line: &[u8]) -> Option<TicketKey> {
        let key = Zeroizing::new(BASE64_STANDARD.decode(line).ok()?);
        if key.len() != KEY_BYTES {
            return None;
        }
        let prk = Prk::new_less_safe(HKDF_SHA256, &key);
        let mut name = [0; NAME_BYTES];
        expand(&prk, &[b"fantail ticket name"], &mut name);
        Some(TicketKey { name, prk })
    }

    /// The key of one ticket.
    fn of(&self, salt: &[u8]) -> LessSafeKey {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        expand(&self.prk, &[b"fantail ticket key", salt], &mut *key);
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("a key of its length"))
    }
}

fn expand(prk: &Prk, info: &[&[u8]], into: &mut [u8]) {
    let expanded = prk.expand(info, Length(into.len())).and_then(|okm| okm.fill(into));
    expanded.expect("HKDF gives far more than a few dozen bytes");
}

/// A ticket's key seals nothing else.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    /// The name of the key and a salt in the clear, then sealed the time and what rustls keeps in it.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.read().clone();
        let first = keys.first()?;
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).ok()?;
        let mut ticket = [&first.name[..], &salt, &self.now_s().to_be_bytes(), plain].concat();
        let (open, sealed) = ticket.split_at_mut(NAME_BYTES + SALT_BYTES);
        let tag = first.of(&salt).seal_in_place_separate_tag(only_nonce(), Aad::from(open), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        (ticket.len() <= MOST_TICKET).then_some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > MOST_TICKET {
            return None;
        }
        let (open, sealed) = ticket.split_at_checked(NAME_BYTES + SALT_BYTES)?;
        let (name, salt) = open.split_at(NAME_BYTES);
        let keys = self.keys.read().clone();
        let key = keys.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let plain = key.of(salt).open_in_place(only_nonce(), Aad::from(open), &mut sealed).ok()?;
        let (made, plain) = plain.split_first_chunk::<TIME_BYTES>()?;
        let (made, now) = (u64::from_be_bytes(*made), self.now_s());
        let alive = made <= now.saturating_add(SKEW_S) && now < made.saturating_add(u64::from(LIFETIME_S));
        alive.then(|| plain.to_vec())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("keys", &self.count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, UNIX_EPOCH};

    struct File(PathBuf);

    impl File {
        fn new(name: &str) -> File {
            File(std::env::temp_dir().join(format!("fantail-tickets-{}-{name}", std::process::id())))
        }

        fn of(&self, keys: &[u8]) -> &File {
            let line = |byte: &u8| BASE64_STANDARD.encode([*byte; KEY_BYTES]);
            self.with(&keys.iter().map(line).collect::<Vec<_>>().join("\n"))
        }

        fn with(&self, text: &str) -> &File {
            std::fs::write(&self.0, text).expect("a folder");
            self
        }

        fn keys(&self) -> TicketKeys {
            TicketKeys::new(&self.0, Clock::default()).expect("good keys")
        }

        fn error(&self) -> String {
            TicketKeys::new(&self.0, Clock::default()).expect_err("bad keys").to_string()
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_ticket_is_taken_wherever_its_key_is_and_nowhere_else() {
        let file = File::new("taken");
        let (first, turned, other) = (file.of(&[1]).keys(), file.of(&[2, 1]).keys(), file.of(&[2]).keys());
        let ticket = first.encrypt(b"session").expect("a ticket");
        let again = first.encrypt(b"session").expect("a ticket");
        assert_ne!(ticket, again, "a salt each");
        assert_eq!(first.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(turned.decrypt(&ticket).as_deref(), Some(&b"session"[..]), "keys that went before are taken");
        assert_eq!(other.decrypt(&ticket), None);
        let new = turned.encrypt(b"session").expect("a ticket");
        assert_eq!((first.decrypt(&new), other.decrypt(&new).is_some()), (None, true), "the first key seals");
    }

    #[test]
    fn whatever_was_changed_is_no_ticket() {
        let file = File::new("changed");
        let keys = file.of(&[1]).keys();
        let ticket = keys.encrypt(b"session").expect("a ticket");
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(keys.decrypt(&changed), None, "{at}");
            assert_eq!(keys.decrypt(&ticket[..at]), None, "{at}");
        }
        assert_eq!(keys.decrypt(&vec![0; MOST_TICKET + 1]), None);
        assert_eq!(keys.encrypt(&vec![0; MOST_TICKET]), None);
    }

    #[test]
    fn a_ticket_is_none_after_twelve_hours() {
        static NOW: AtomicU64 = AtomicU64::new(1_000_000);
        let clock = Clock::given(|| UNIX_EPOCH + Duration::from_secs(NOW.load(Ordering::Relaxed)));
        let file = File::new("old");
        let keys = TicketKeys::new(&file.of(&[1]).0, clock).expect("good keys");
        let ticket = keys.encrypt(b"session").expect("a ticket");
        let taken = |seconds: i64| {
            NOW.store(1_000_000_u64.saturating_add_signed(seconds), Ordering::Relaxed);
            keys.decrypt(&ticket).is_some()
        };
        let lifetime = i64::from(LIFETIME_S);
        assert_eq!([taken(0), taken(lifetime - 1), taken(lifetime)], [true, true, false]);
        assert_eq!([taken(-600), taken(-601)], [true, false], "another node's clock may be ahead");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let file = File::new("wrong");
        assert!(file.error().contains("No such file"), "{}", file.error());
        let good = BASE64_STANDARD.encode([7; KEY_BYTES]);
        assert!(file.with("").error().ends_with("it has 0 keys; 1 to 4 are allowed"));
        assert!(file.of(&[1, 2, 3, 4, 5]).error().ends_with("it has 5 keys; 1 to 4 are allowed"));
        for wrong in ["secret", &BASE64_STANDARD.encode([7; 31]), &good[1..]] {
            let error = file.with(&format!("{good}\n\n{wrong}\n")).error();
            assert!(error.ends_with("line 3 is no base64 of 32 bytes"), "{error}");
            assert!(!error.contains(wrong), "a key is not told");
        }
        file.with(&format!("  {good}\r\n\n")).keys();
    }
}
