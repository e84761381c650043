//! Replies and pushes, as they are before a connection's protocol gives them bytes.

use bytes::Bytes;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resp {
    /// What every connection begins with.
    #[default]
    Two,
    /// With maps, and with pushes.
    Three,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A word, such as `OK`.
    Status(String),
    /// An error with its code, such as `ERR syntax error`.
    Error(String),
    /// A whole number.
    Number(i64),
    /// A string of any bytes.
    Text(Bytes),
    /// Lines of text, which RESP3 marks as such.
    Lines(String),
    /// No value.
    Nil,
    /// No list, which RESP2 tells from no value.
    NilList,
    /// No value in the form of RESP2, whatever the connection speaks.
    OldNil,
    /// Several values.
    List(Vec<Reply>),
    /// Names with values, which in RESP2 are a list.
    Map(Vec<(Reply, Reply)>),
    /// Values without an order.
    Set(Vec<Reply>),
    /// What nobody asked for.
    Push(Vec<Reply>),
    /// The reply is put out when it is there: the command waits, or has put it out itself.
    Later,
}

/// What a command comes to: its reply, or the text of its error with its code.
pub(super) type Answer = Result<Reply, String>;

impl Reply {
    /// `OK`
    pub fn ok() -> Reply {
        Reply::Status("OK".to_owned())
    }

    /// A string.
    pub fn text(text: impl Into<Bytes>) -> Reply {
        Reply::Text(text.into())
    }

    /// A string of a known name.
    pub(super) fn word(word: &'static str) -> Reply {
        Reply::Text(Bytes::from_static(word.as_bytes()))
    }

    /// Whether something is so, as 1 or 0.
    pub(super) fn flag(flag: bool) -> Reply {
        Reply::Number(i64::from(flag))
    }

    /// How many there are.
    pub(super) fn count(count: usize) -> Reply {
        Reply::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        answer.unwrap_or_else(Reply::Error)
    }
}

/// An error without a code of its own.
pub(super) fn plain<T>(text: impl std::fmt::Display) -> Result<T, String> {
    Err(format!("ERR {text}"))
}

/// A value of another type than the command is for.
pub(super) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
/// Arguments that make no sense.
pub(super) const SYNTAX: &str = "ERR syntax error";
/// An argument that is no number.
pub(super) const NO_INTEGER: &str = "ERR value is not an integer or out of range";
/// A key that has to be there.
pub(super) const NO_KEY: &str = "ERR no such key";
