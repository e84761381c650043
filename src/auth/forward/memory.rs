//! A short memory of the application's answers, by all that it was asked with, credentials included.

use super::answer::Answer;
use crate::hash::HashMap;
use hyper::HeaderMap;
use parking_lot::Mutex;
use ring::digest::{Context, SHA256};
use std::time::Duration;
use tokio::time::Instant;

/// Answers at most; when there is no room, new ones are not remembered.
const MAX_ANSWERS: usize = 10_000;
/// A refusal is remembered no longer: who logs in must not wait.
const REFUSAL: Duration = Duration::from_secs(1);

/// A digest, so that credentials are not kept, and nobody finds another's answer.
pub type Key = [u8; 32];

pub struct Memory {
    time: Duration,
    answers: Mutex<Answers>,
}

struct Answers {
    by_key: HashMap<Key, (Instant, Answer)>,
    swept: Instant,
}

/// Of all headers of a question, in order and with their lengths, so that no two questions look alike.
pub fn key(headers: &HeaderMap) -> Key {
    let mut context = Context::new(&SHA256);
    for (name, value) in headers {
        for bytes in [name.as_str().as_bytes(), value.as_bytes()] {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        }
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Memory {
    /// Remembers for `time`; zero: not at all.
    pub fn new(time: Duration) -> Memory {
        Memory { time, answers: Mutex::new(Answers { by_key: HashMap::default(), swept: Instant::now() }) }
    }

    pub fn recall(&self, key: &Key) -> Option<Answer> {
        let answers = self.answers.lock();
        let (until, answer) = answers.by_key.get(key)?;
        (Instant::now() < *until).then(|| answer.clone())
    }

    pub fn keep(&self, key: Key, answer: Answer) {
        let time = match answer {
            Answer::Granted(_) => self.time,
            _ => self.time.min(REFUSAL),
        };
        if time.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut answers = self.answers.lock();
        if answers.by_key.len() >= MAX_ANSWERS && now.duration_since(answers.swept) >= REFUSAL {
            answers.swept = now;
            answers.by_key.retain(|_, (until, _)| now < *until);
        }
        if answers.by_key.len() < MAX_ANSWERS {
            answers.by_key.insert(key, (now + time, answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_difference_is_another_question() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            pairs.iter().for_each(|(name, value)| {
                headers.append(*name, value.parse().unwrap());
            });
            key(&headers)
        };
        let keys = [
            of(&[("cookie", "a")]),
            of(&[("cookie", "b")]),
            of(&[("cookie", "a"), ("cookie", "")]),
            of(&[("cookiea", "")]),
            of(&[("x", "cookie"), ("cookie", "a")]),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(one), "{at}");
        }
        assert_eq!(of(&[("cookie", "a")]), keys[0]);
    }

    #[test]
    fn answers_are_forgotten_and_bounded() {
        let memory = Memory::new(Duration::from_secs(3600));
        for n in 0..MAX_ANSWERS as u64 + 10 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            memory.keep(key, Answer::Granted(Default::default()));
        }
        assert_eq!(memory.answers.lock().by_key.len(), MAX_ANSWERS);
        assert!(memory.recall(&[0; 32]).is_some());
        let none = Memory::new(Duration::ZERO);
        none.keep([0; 32], Answer::Forbidden);
        assert!(none.recall(&[0; 32]).is_none());
    }
}
