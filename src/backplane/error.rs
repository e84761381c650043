//! Why a backplane did not answer: a kind to decide by, and a text to show.
//!
//! Whoever reads an answer says once of which kind its error is; nobody reads the text again.

use crate::problem::{Code, Problem};

/// Why a backplane did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackplaneError {
    /// No connection, or it was lost before the answer came. The call, or this part of it, may be tried again later.
    #[error("the backplane is down: {text}")]
    Down {
        /// What is to be decided by.
        kind: Outage,
        /// What is shown.
        text: String,
        /// Whether nothing of what was to be written can be there: it reached no server, or none that took it.
        unsent: bool,
    },
    /// The server refused this one stream or command (wrong type, no permission, out of memory, …).
    #[error("the backplane refused: {text}")]
    Refused {
        /// What is to be decided by.
        kind: Refusal,
        /// What is shown.
        text: String,
    },
}

/// Why a backplane cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Nobody that this node trusts has signed the server's certificate.
    Untrusted,
    /// The server shows the certificate of an authority.
    AuthorityAsServer,
    /// The server's certificate is for another name.
    WrongName,
    /// The server wants a certificate of its client.
    WantsCertificate,
    /// The server does not speak TLS.
    NoTls,
    /// The server wants a password (`NOAUTH`).
    NoPassword,
    /// The server does not know this user or password (`WRONGPASS`).
    WrongPassword,
    /// The server answers, but cannot serve now (`LOADING`, `MASTERDOWN`, `BUSY`, `UNBLOCKED`).
    NotReady,
    /// The sentinels know no primary of that name.
    UnknownPrimary,
    /// The other side ended the connection.
    HungUp,
    /// A connection brought no answer for as long as is borne.
    NoAnswer,
    /// There was no connection within its time.
    NoConnection,
    /// Something else took too long.
    TimedOut,
    /// The server refused what the connection cannot do without.
    Refused(Refusal),
    /// Whatever else it is.
    Other,
}

/// What a server that works has refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The key holds no stream (`WRONGTYPE`).
    WrongType,
    /// This user may not touch the key (`NOPERM`).
    ForbiddenKey,
    /// This user may not run the command (`NOPERM`).
    Forbidden,
    /// The server does not know the command.
    UnknownCommand,
    /// The server is no sentinel.
    NoSentinel,
    /// The server is none of a cluster's.
    NoCluster,
    /// The server does not know these arguments of the command.
    BadArguments,
    /// There is no such key.
    NoSuchKey,
    /// The command's keys lie in more than one slot (`CROSSSLOT`).
    CrossSlot,
    /// The slot belongs to another server now (`MOVED`), if its name can be read.
    Moved(Option<Elsewhere>),
    /// The slot is on its way to another server, and this key is there already (`ASK`), if its name can be read.
    Ask(Option<Elsewhere>),
    /// The slot is on its way, and the keys of the command lie at both ends (`TRYAGAIN`).
    TryAgain,
    /// The cluster serves nobody (`CLUSTERDOWN`).
    ClusterDown,
    /// The server is a replica (`READONLY`).
    ReadOnly,
    /// The server cannot write to its disk (`MISCONF`).
    DiskFull,
    /// The server is at its `maxmemory` (`OOM`).
    OutOfMemory,
    /// The server has too few replicas (`NOREPLICAS`).
    NoReplicas,
    /// The server takes no further connection.
    NoRoom,
    /// The server is too old for what was asked for.
    NotSupported,
    /// Another of Redis' plain errors (`ERR`).
    Plain,
    /// Whatever else it is.
    Other,
}

/// Another server of a cluster, as a redirection names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name; `None`: that of the server which was asked.
    pub name: Option<String>,
    /// Its port.
    pub port: u16,
}

impl BackplaneError {
    /// `Down` for a reason that nothing is decided by.
    pub fn down(text: impl Into<String>) -> BackplaneError {
        BackplaneError::Down { kind: Outage::Other, text: text.into(), unsent: false }
    }

    /// `Refused` for a reason that nothing is decided by.
    pub fn refused(text: impl Into<String>) -> BackplaneError {
        BackplaneError::Refused { kind: Refusal::Other, text: text.into() }
    }

    /// This error of a call of which nothing was carried out.
    pub fn unsent(mut self) -> BackplaneError {
        if let BackplaneError::Down { unsent, .. } = &mut self {
            *unsent = true;
        }
        self
    }

    /// What is shown, without whether it is down or has refused.
    pub fn text(&self) -> &str {
        match self {
            BackplaneError::Down { text, .. } | BackplaneError::Refused { text, .. } => text,
        }
    }

    /// This error with another text.
    pub fn map_text(mut self, other: impl FnOnce(&str) -> String) -> BackplaneError {
        match &mut self {
            BackplaneError::Down { text, .. } | BackplaneError::Refused { text, .. } => *text = other(text),
        }
        self
    }

    /// What was refused; `None` where it is down.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            BackplaneError::Down { .. } => None,
            BackplaneError::Refused { kind, .. } => Some(kind),
        }
    }

    /// Why it cannot be used, where what was refused is something that it cannot be used without.
    pub fn outage(&self) -> Outage {
        match self {
            BackplaneError::Down { kind, .. } => kind.clone(),
            BackplaneError::Refused { kind, .. } => Outage::Refused(kind.clone()),
        }
    }

    /// `Down` for this reason.
    pub fn into_down(self) -> BackplaneError {
        match self {
            BackplaneError::Refused { kind, text } => {
                BackplaneError::Down { kind: Outage::Refused(kind), text, unsent: false }
            }
            down => down,
        }
    }
}

/// What a client is told of it.
impl From<&BackplaneError> for Problem {
    fn from(error: &BackplaneError) -> Problem {
        let code = match error {
            BackplaneError::Down { .. } => Code::BackplaneDown,
            BackplaneError::Refused { kind: Refusal::NotSupported, .. } => Code::NotSupported,
            BackplaneError::Refused { .. } => Code::BackplaneRefused,
        };
        Problem::new(code, error.to_string())
    }
}

impl Outage {
    /// Whether the other side said nothing at all.
    pub fn is_silence(&self) -> bool {
        matches!(self, Outage::NoAnswer | Outage::NoConnection | Outage::TimedOut)
    }

    /// Whether the server may have no room for a further connection: some say so, and some only hang up.
    pub fn is_crowd(&self) -> bool {
        matches!(self, Outage::HungUp | Outage::Refused(Refusal::NoRoom))
    }
}

impl Refusal {
    /// Whether it concerns a key, so that others of the same command may be fine.
    pub fn is_about_a_key(&self) -> bool {
        matches!(self, Refusal::WrongType | Refusal::ForbiddenKey)
    }

    /// Whether a key does not belong to the server that was asked.
    pub fn is_redirect(&self) -> bool {
        matches!(self, Refusal::Moved(_) | Refusal::Ask(_))
    }

    /// Whether it is about the server, or this user's rights there: not about one key, or where it is.
    pub fn is_about_the_server(&self) -> bool {
        let elsewhere = self.is_redirect() || matches!(self, Refusal::TryAgain | Refusal::ClusterDown);
        !elsewhere && !self.is_about_a_key() && !matches!(self, Refusal::CrossSlot | Refusal::NoSuchKey)
    }

    /// Whether the server forbids the command to this user, or does not know it.
    pub fn is_for_good(&self) -> bool {
        use Refusal::{Forbidden, ForbiddenKey, NoSentinel, UnknownCommand};
        matches!(self, Forbidden | ForbiddenKey | UnknownCommand | NoSentinel)
    }
}
