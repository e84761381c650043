//! The operators' token: who shows it may see what probes and metrics do not tell, and act where actions are on.
//!
//! It is in a file, which is read again when it changes; several lines are as many tokens, so that one can follow another.
//! It comes as `Bearer`, as the password of `Basic` with any user, or as the cookie that a form made of it (`sign_in`): browsers send
//! the latter two with each request of a page, an EventSource's among them.

use crate::file_watch::{FileError, FileWatch};
use crate::hash::HashMap;
use crate::limits::client_of;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE};
use parking_lot::{Mutex, RwLock};
use ring::hmac::{HMAC_SHA256, Key, Tag, sign, verify};
use ring::rand::SystemRandom;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file with more holds something else.
const FILE_BYTES: u64 = 64 << 10;
/// Fewer could be guessed.
const TOKEN_BYTES: usize = 16;
/// The cookie of who has signed in.
pub const COOKIE_NAME: &str = "fantail-operator";
/// Wrong tokens of one address within a second, after which none of its tokens is looked at.
const WRONG_PER_SECOND: u32 = 5;
/// Addresses that are remembered for that second; further ones share one allowance.
const ADDRESSES: usize = 4096;

/// The operators' tokens, and who has shown wrong ones lately.
pub struct AdminToken {
    file: PathBuf,
    watch: FileWatch,
    /// For this process; tokens are compared by what it makes of them, which takes the same time for all.
    key: Key,
    tags: RwLock<Vec<Tag>>,
    wrong: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

/// Why the operators' tokens cannot be read; names the flag, and quotes nothing of a token.
#[derive(Debug, thiserror::Error)]
pub enum AdminTokenError {
    #[error("no random numbers")]
    NoRandom,
    #[error("--admin-token-file {0}")]
    File(#[from] FileError),
    #[error("--admin-token-file {path}: it is empty", path = path.display())]
    Empty { path: PathBuf },
    #[error("--admin-token-file {path}: a token is printable ASCII without spaces, one a line", path = path.display())]
    Unprintable { path: PathBuf },
    #[error("--admin-token-file {path}: a token has at least {TOKEN_BYTES} characters", path = path.display())]
    TooShort { path: PathBuf },
}

/// Why a request may not see what needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It shows none.
    None,
    Wrong,
    /// Its address has shown too many wrong ones in the last second, whatever this one is.
    TooFast,
}

impl AdminToken {
    /// Reads the file.
    pub fn new(file: &Path) -> Result<AdminToken, AdminTokenError> {
        let key = Key::generate(HMAC_SHA256, &SystemRandom::new()).map_err(|_| AdminTokenError::NoRandom)?;
        let watch = FileWatch::new(&[file.into()], FILE_BYTES)?;
        let token = AdminToken { file: file.into(), watch, key, tags: RwLock::default(), wrong: Mutex::default() };
        token.take(&token.watch.contents()[0])?;
        Ok(token)
    }

    /// Reads the file again whenever it has changed; what cannot be read leaves the tokens as they are.
    pub async fn follow(&self) {
        let mut watch = self.watch.clone();
        loop {
            let read = watch.changed().await.map_err(AdminTokenError::from);
            match read.and_then(|contents| self.take(&contents[0])) {
                Ok(tokens) => tracing::info!(tokens, "the operators' tokens were read again"),
                Err(error) => tracing::warn!(error = error.to_string(), "the operators' tokens stay as they are"),
            }
        }
    }

    /// How many tokens these are; never says which.
    fn take(&self, bytes: &[u8]) -> Result<usize, AdminTokenError> {
        let path = || self.file.clone();
        let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
        let lines: Vec<&[u8]> = lines.collect();
        if lines.is_empty() {
            return Err(AdminTokenError::Empty { path: path() });
        }
        if lines.iter().any(|line| !line.iter().all(u8::is_ascii_graphic)) {
            return Err(AdminTokenError::Unprintable { path: path() });
        }
        if lines.iter().any(|line| line.len() < TOKEN_BYTES) {
            return Err(AdminTokenError::TooShort { path: path() });
        }
        *self.tags.write() = lines.iter().map(|line| sign(&self.key, line)).collect();
        Ok(lines.len())
    }

    /// Whether a request shows a token.
    pub fn check(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Denied> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (value, None) = (shown.next(), shown.next()) else { return Err(Denied::None) };
        let Some(value) = value else {
            // Nobody guesses 32 bytes: one that is of another process or of a token that is gone is as none.
            return self.is_signed_in(headers).then_some(()).ok_or(Denied::None);
        };
        self.judge(presented(value.as_bytes()).as_deref(), peer).map(drop)
    }

    /// What the cookie of who shows this token is.
    pub fn sign_in(&self, token: &[u8], peer: IpAddr) -> Result<String, Denied> {
        let tag = self.judge(Some(token), peer)?;
        let cookie = sign(&self.key, &in_cookie(&tag));
        Ok(cookie.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Which of the tokens this one is; an address that shows wrong ones waits.
    fn judge(&self, token: Option<&[u8]>, peer: IpAddr) -> Result<Tag, Denied> {
        let address = self.may_try(client_of(peer))?;
        // All are compared, so that it takes as long for the first as for the last.
        let right = |token: &[u8]| {
            let tags = self.tags.read();
            tags.iter().fold(None, |found, tag| verify(&self.key, token, tag.as_ref()).ok().map(|()| *tag).or(found))
        };
        let found = token.and_then(right);
        found.ok_or_else(|| {
            self.failed(address);
            Denied::Wrong
        })
    }

    fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        let Some(bytes) = cookie(headers).and_then(from_hex) else { return false };
        let tags = self.tags.read();
        tags.iter().fold(false, |any, tag| any | verify(&self.key, &in_cookie(tag), &bytes).is_ok())
    }

    /// The address by which failures are counted, where it may try.
    fn may_try(&self, address: IpAddr) -> Result<IpAddr, Denied> {
        let mut wrong = self.wrong.lock();
        let mut counted = address;
        if wrong.len() >= ADDRESSES && !wrong.contains_key(&address) {
            wrong.retain(|_, (since, _)| since.elapsed() < Duration::from_secs(1));
            if wrong.len() >= ADDRESSES {
                counted = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        match wrong.get(&counted) {
            Some((since, count)) if *count >= WRONG_PER_SECOND && since.elapsed() < Duration::from_secs(1) => {
                Err(Denied::TooFast)
            }
            _ => Ok(counted),
        }
    }

    fn failed(&self, address: IpAddr) {
        let mut wrong = self.wrong.lock();
        let (since, count) = wrong.entry(address).or_insert((Instant::now(), 0));
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
    }
}

/// The cookie's value, where a request has one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

/// What is signed for the cookie of a token.
fn in_cookie(tag: &Tag) -> Vec<u8> {
    [b"cookie ".as_slice(), tag.as_ref()].concat()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The token of an `Authorization` header (RFC 6750, RFC 7617).
fn presented(value: &[u8]) -> Option<Vec<u8>> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn of(text: &str) -> Result<AdminToken, AdminTokenError> {
        let file =
            std::env::temp_dir().join(format!("fantail-admin-token-{}-{}", std::process::id(), fastrand::u64(..)));
        std::fs::write(&file, text).unwrap();
        let token = AdminToken::new(&file);
        std::fs::remove_file(file).unwrap();
        token
    }

    fn status(token: &AdminToken, value: &str, peer: &str) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        match token.check(&headers, peer.parse().unwrap()) {
            Ok(()) => 200,
            Err(Denied::TooFast) => 429,
            Err(_) => 401,
        }
    }

    #[test]
    fn each_line_is_a_token_in_either_form() {
        let token = of("first-of-the-tokens\n\n  second-of-the-tokens\r\n").unwrap();
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (at, good) in [
            "Bearer first-of-the-tokens",
            "bearer  second-of-the-tokens",
            &basic("anybody:first-of-the-tokens"),
            &basic(":second-of-the-tokens"),
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(status(&token, good, &format!("10.0.0.{at}")), 200, "{good}");
        }
        for (at, bad) in [
            "Bearer first-of-the-token",
            "Bearer",
            "Basic first-of-the-tokens",
            "Digest first-of-the-tokens",
            &basic("first-of-the-tokens"),
            &basic("first-of-the-tokens:"),
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(status(&token, bad, &format!("10.0.1.{at}")), 401, "{bad}");
        }
        assert_eq!(token.check(&HeaderMap::new(), "10.0.0.1".parse().unwrap()), Err(Denied::None));
    }

    #[test]
    fn a_cookie_is_of_a_token_and_of_this_process() {
        let token = of("first-of-the-tokens\nsecond-of-the-tokens").unwrap();
        let peer = "10.0.0.1".parse().unwrap();
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("cookie", HeaderValue::from_str(&format!("a=b; fantail-operator={value}")).unwrap());
            headers
        };
        let cookie = token.sign_in(b"second-of-the-tokens", peer).unwrap();
        assert!(cookie.len() == 64 && !cookie.contains("second"), "{cookie}");
        assert_eq!(token.check(&with(&cookie), peer), Ok(()));
        for wrong in
            ["", "00", &cookie[2..], &cookie.replace(|c: char| c.is_ascii_digit(), "0"), "second-of-the-tokens"]
        {
            assert_eq!(token.check(&with(wrong), peer), Err(Denied::None), "{wrong}");
        }
        let other = of("second-of-the-tokens").unwrap();
        assert_eq!(other.check(&with(&cookie), peer), Err(Denied::None), "of another process");
        assert_eq!(token.take(b"first-of-the-tokens").unwrap(), 1);
        assert_eq!(token.check(&with(&cookie), peer), Err(Denied::None), "its token is gone");
        assert_eq!(token.sign_in(b"second-of-the-tokens", peer), Err(Denied::Wrong));
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_static(line));
            }
            cookie(&headers).map(str::to_owned)
        };
        assert_eq!(of(&["a=b; fantail-operator=1f; c=d"]).as_deref(), Some("1f"));
        assert_eq!(of(&["a=b", "fantail-operator=1f"]).as_deref(), Some("1f"));
        assert_eq!(of(&["xfantail-operator=1f; fantail-operatorx=2"]), None);
        assert_eq!(of(&[]), None);
    }
    #[test]
    fn an_address_with_wrong_tokens_waits_and_others_do_not() {
        let token = of("first-of-the-tokens").unwrap();
        let begun = Instant::now();
        let statuses: Vec<u16> = (0..8).map(|_| status(&token, "Bearer x", "10.0.0.1")).collect();
        let right = status(&token, "Bearer first-of-the-tokens", "10.0.0.1");
        // A machine that stands still for a second grants the next ones.
        if begun.elapsed() < Duration::from_secs(1) {
            assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
            assert_eq!(right, 429);
        }
        assert_eq!(status(&token, "Bearer first-of-the-tokens", "10.0.0.2"), 200);
    }

    #[test]
    fn what_is_no_token_file() {
        for (text, why) in [
            ("", "empty"),
            ("\n \n", "empty"),
            ("too-short", "at least 16"),
            ("long-enough-but with a space", "without spaces"),
            ("fine-and-long-enough\nshort", "at least 16"),
        ] {
            let error = of(text).err().unwrap().to_string();
            assert!(error.starts_with("--admin-token-file /") && error.contains(why), "{text:?}: {error}");
            assert!(text.trim().is_empty() || !error.contains(text.trim()), "{error}");
        }
        assert!(AdminToken::new(Path::new("/nowhere")).err().unwrap().to_string().contains("/nowhere"));
    }
}
