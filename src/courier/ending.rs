//! Ends of subscribers: why they end, and how that looks to their readers.

/// Why a subscriber ended: the label of `fantail_connections_closed_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It hung up, or its connection failed.
    Client,
    /// Its socket took nothing for the stall timeout.
    Stalled,
    /// What full sockets left over takes more memory than it may, and this one had waited for longest.
    Slowest,
    /// No event for the idle timeout.
    Idle,
    /// The maximum age.
    MaxAge,
    /// The node drains, or cannot serve it any more.
    Drain,
    /// All its channels have ended.
    Final,
    /// What comes next is lost, and it asked to end there.
    Gap,
    /// Its grant has ended.
    Expired,
    /// It was told to go by the control stream.
    Revoked,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 10] = [
        Reason::Client,
        Reason::Stalled,
        Reason::Slowest,
        Reason::Idle,
        Reason::MaxAge,
        Reason::Drain,
        Reason::Final,
        Reason::Gap,
        Reason::Expired,
        Reason::Revoked,
    ];

    /// The reason as it stands in the metric's label and in log lines.
    pub const fn label(self) -> &'static str {
        match self {
            Reason::Client => "client",
            Reason::Stalled => "stalled",
            Reason::Slowest => "slowest",
            Reason::Idle => "idle",
            Reason::MaxAge => "max_age",
            Reason::Drain => "drain",
            Reason::Final => "final",
            Reason::Gap => "gap",
            Reason::Expired => "expired",
            Reason::Revoked => "revoked",
        }
    }

    /// Whether its client may still read what it is sent at the end.
    pub(super) const fn listens(self) -> bool {
        !matches!(self, Reason::Client | Reason::Stalled | Reason::Slowest)
    }

    /// Whether its stream is complete. All others are invitations to come back, which a client that waits for the end
    /// must not take for one: whoever reads half an answer of a model is told so by the form of the end alone.
    pub(super) const fn completes(self) -> bool {
        matches!(self, Reason::Final)
    }
}

/// How a stream ends for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With what its protocol has for that: the last chunk, END_STREAM.
    Complete,
    /// Behind a whole event, but without that: HTTP/1.1 with FIN instead of the last chunk (RFC 9112, section 8), HTTP/2
    /// with INTERNAL_ERROR, for NO_ERROR and CANCEL are ends without an error to some clients (nodejs/node#56627).
    Incomplete,
    /// Wherever it is.
    Cut,
}
