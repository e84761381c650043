//! Which server is played. What differs between versions is asked for here, by what it does.

use std::fmt;

/// A version of Redis, or of Valkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whether it is Valkey, whose numbers go on from those of Redis 7.2.
    pub valkey: bool,
    /// Major, minor and patch.
    pub number: (u16, u16, u16),
}

impl Version {
    /// Debian 12's Redis.
    pub const V7_0: Version = Version { valkey: false, number: (7, 0, 15) };
    /// The first Redis 8.
    pub const V8_0: Version = Version { valkey: false, number: (8, 0, 0) };
    /// The first Redis that trims by what groups have acknowledged.
    pub const V8_2: Version = Version { valkey: false, number: (8, 2, 0) };

    /// Reads `8.2.1`; what is no number counts as 0.
    pub fn parse(text: &str, valkey: bool) -> Version {
        let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
        let mut part = || parts.next().unwrap_or(0);
        Version { valkey, number: (part(), part(), part()) }
    }

    /// The version that clients are told as Redis': Valkey stays at its fork.
    pub fn as_redis(self) -> String {
        if self.valkey { "7.2.4".to_owned() } else { self.to_string() }
    }

    /// Whether it is Redis of this version or a later one.
    pub fn is_redis_from(self, major: u16, minor: u16) -> bool {
        !self.valkey && (self.number.0, self.number.1) >= (major, minor)
    }

    /// Whether a command that waited is run once more when its key has changed, as if it were new: since 7.2. Before, only
    /// the key that changed is answered with.
    pub(super) fn runs_again(self) -> bool {
        self.valkey || self.is_redis_from(7, 2)
    }

    /// Whether what others redirect to a connection comes behind the reply to its own command: since 7.2. Before, it comes
    /// wherever the command changes something; here it comes behind the reply then, too.
    pub fn pushes_behind(self) -> bool {
        self.runs_again()
    }

    /// Whether a command that is not known is named without its arguments where it has none. Redis 8.10 does so, 8.2 does
    /// not.
    pub(super) fn tells_no_arguments(self) -> bool {
        self.is_redis_from(8, 10)
    }

    /// The module that is always there, with its path.
    pub(super) fn module(self) -> Option<(&'static str, &'static str)> {
        match self.valkey {
            true => (self.number.0 >= 9).then_some(("lua", "lua")),
            false => self.is_redis_from(8, 0).then_some(("vectorset", "")),
        }
    }

    /// Whether references of groups can decide what is deleted (`KEEPREF`, `DELREF`, `ACKED`): since Redis 8.2.
    pub fn knows_references(self) -> bool {
        self.is_redis_from(8, 2)
    }

    /// Whether `~` looks through nodes for what groups have done with, though it may not take them whole. Redis 8.10 does so,
    /// 8.2 does not.
    pub(super) fn looks_within(self) -> bool {
        self.is_redis_from(8, 10)
    }

    /// Whether streams remember producers, whose entries come once (`IDMP`): since Redis 8.6.
    pub(super) fn knows_producers(self) -> bool {
        self.is_redis_from(8, 6)
    }

    /// Whether `XREAD` takes `+` for the newest entry: since Redis 7.4, and Valkey 8.
    pub(super) fn reads_the_newest(self) -> bool {
        self.valkey || self.is_redis_from(7, 4)
    }

    /// Whether the newest entry is taken for the one with the greatest id that the stream has had, which may be gone. So does
    /// Valkey.
    pub(super) fn newest_is_last_generated(self) -> bool {
        self.valkey
    }

    /// Whether the newest entry of a stream that has had none is refused: so does Valkey 8.
    pub(super) fn refuses_newest_of_none(self) -> bool {
        self.valkey && self.number.0 < 9
    }

    /// Whether `XSETID` looks at what was deleted: since 7.2.
    pub(super) fn sets_ids_behind_deleted(self) -> bool {
        self.runs_again()
    }

    /// Whether a transaction that has failed forgets at once what was noted, so that nothing of it is refused once more: so
    /// does Valkey.
    pub(super) fn forgets_failed(self) -> bool {
        self.valkey
    }

    /// Whether a database is emptied beside other work, and who asked waits for that: since Redis 7.4. So it is told of that
    /// before its reply.
    pub(super) fn empties_apart(self) -> bool {
        self.is_redis_from(7, 4)
    }

    /// Whether commands of a transaction are noted though there is no memory, as long as they need none themselves: since 7.2.
    pub(super) fn notes_without_memory(self) -> bool {
        self.runs_again()
    }

    /// What is said to who begins a transaction within one; whether that breaks the one that has begun.
    pub(super) fn nested_transaction(self) -> (&'static str, bool) {
        match (self.valkey, self.number.0) {
            (false, _) => ("MULTI calls can not be nested", false),
            (true, ..9) => ("Command not allowed inside a transaction", true),
            (true, _) => ("Command 'multi' not allowed inside a transaction", true),
        }
    }

    /// Whether clients can say what they are by `CLIENT SETINFO`, and `CLIENT NO-TOUCH` is known: since 7.2.
    pub(super) fn knows_client_info(self) -> bool {
        self.valkey || self.is_redis_from(7, 2)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.number;
        write!(f, "{major}.{minor}.{patch}")
    }
}
