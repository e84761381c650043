//! Channel names.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest channel name, in bytes.
pub const MAX_LENGTH: usize = 200;

/// The name that clients subscribe to and producers publish under: `[A-Za-z0-9_.:~@-]{1,200}`.
///
/// Cheap to clone. Names that begin with `~` are the cluster's own: see [`Channel::is_reserved`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(Arc<str>);

/// Why a text is no channel name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    #[error("a channel name is empty")]
    Empty,
    #[error("a channel name has {0} bytes; {MAX_LENGTH} are allowed")]
    TooLong(usize),
    #[error("channel {0:?} has a character outside A-Z a-z 0-9 _ . : ~ @ -")]
    BadCharacter(String),
}

impl Channel {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Channel, ChannelError> {
        if name.is_empty() {
            return Err(ChannelError::Empty);
        }
        if name.len() > MAX_LENGTH {
            return Err(ChannelError::TooLong(name.len()));
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_.:~@-".contains(&b);
        if !name.bytes().all(allowed) {
            return Err(ChannelError::BadCharacter(name.to_owned()));
        }
        Ok(Channel(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a clone of the other, or the other of this; equal names can also have been made one by one.
    pub fn is_same_handle(&self, other: &Channel) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the name is the cluster's own: clients neither subscribe to it nor publish under it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('~')
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for name in ["orders", "user.42", "a:b~c@d-e_F.9", "~control", &"x".repeat(200)] {
            assert_eq!(Channel::new(name).unwrap().as_str(), name);
        }
        assert_eq!(Channel::new(""), Err(ChannelError::Empty));
        assert_eq!(Channel::new(&"x".repeat(201)), Err(ChannelError::TooLong(201)));
        for name in ["a b", "a,b", "a=b", "ü", "a/b", "a\n", "a\0"] {
            assert_eq!(Channel::new(name), Err(ChannelError::BadCharacter(name.into())));
        }
        assert!(Channel::new("~x").unwrap().is_reserved());
    }
}
