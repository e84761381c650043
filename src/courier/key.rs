//! What a courier and others call its subscribers.

use std::fmt;
use std::str::FromStr;

/// A subscriber's place in its courier's slab. It is given to another one once the subscriber has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

impl Key {
    /// The key of a place in the slab.
    pub const fn of(index: usize) -> Key {
        Key(index as u32)
    }

    /// The place in the slab.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One subscriber of a courier, whether it is still there or not: its key, and what tells it from others who have that
/// key before or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriberId {
    pub key: Key,
    pub serial: u32,
}

/// One subscriber of the node as others name it: `COURIER.KEY.SERIAL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriberName {
    pub courier: usize,
    pub id: SubscriberId,
}

impl fmt::Display for SubscriberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.courier, self.id.key.0, self.id.serial)
    }
}

/// A text that names no subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not COURIER.KEY.SERIAL")]
pub struct ParseNameError;

impl FromStr for SubscriberName {
    type Err = ParseNameError;

    /// Reads what is written by `Display`, and nothing else.
    fn from_str(text: &str) -> Result<SubscriberName, ParseNameError> {
        let parts: Vec<u32> = text.split('.').map_while(|part| part.parse().ok()).collect();
        let &[courier, key, serial] = &parts[..] else { return Err(ParseNameError) };
        let name = SubscriberName { courier: courier as usize, id: SubscriberId { key: Key(key), serial } };
        if name.to_string() == text { Ok(name) } else { Err(ParseNameError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is_one() {
        let name = SubscriberName { courier: 1, id: SubscriberId { key: Key(20), serial: 300 } };
        assert_eq!((name.to_string().as_str(), "1.20.300".parse()), ("1.20.300", Ok(name)));
        for wrong in ["", "1", "1.2", "1.2.3.4", "1.2.x", "1.2.x.3", "01.2.3", "+1.2.3", "1.2.4294967296"] {
            assert_eq!(wrong.parse::<SubscriberName>(), Err(ParseNameError), "{wrong}");
        }
    }
}
