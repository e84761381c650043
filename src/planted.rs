//! Faults on purpose, by which a simulation shows that it would find them. No node has them: without the feature `testing`
//! every question is answered at compile time.

/// Declares all faults, each by its name and what goes wrong.
macro_rules! faults {
    ($($name:ident: $meaning:literal,)+) => {
        /// A fault that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Fault {
            /// None at all, so that others begin at one.
            #[cfg(feature = "testing")]
            None,
            $(#[doc = $meaning] $name,)+
        }

        #[cfg(feature = "testing")]
        impl Fault {
            /// All faults.
            pub const ALL: &[Fault] = &[$(Fault::$name),+];

            /// What goes wrong.
            pub fn meaning(self) -> &'static str {
                match self {
                    Fault::None => "nothing",
                    $(Fault::$name => $meaning,)+
                }
            }
        }
    };
}

faults! {
    WitnessNotCompared: "The newest known entry is known by its id alone",
    DoubtLost: "The news that anything may have changed is lost",
    StaleAnswerBelieved: "An answer counts for a feed that has been asked for again since",
    LossNotCounted: "Entries that came and went between two reads are not counted",
    ResetRepeats: "After a reset, entries that were had count as new",
    ResetNotTold: "A reset is not announced",
    TrimmedNotTold: "Trimmed entries are not announced",
    ReturnBelieved: "A stream that was missing and is back is believed to be the same",
    LegStartsLate: "A leg begins one event late",
    TwoLivesMixed: "A stream that was made anew is joined before the node has noticed",
    AheadBeginsHere: "A client that is ahead of this node begins where the node is",
    PageIsAll: "History ends with a page",
    PageWithoutWitness: "A page need not begin with what its leg had last",
    PageTurnedTwice: "A page is delivered twice",
    LeftoverWhole: "Bytes that a full socket has taken are written once more",
    IdBeforeEvent: "An `id:` ends its block before its event begins",
    FellBehindInSilence: "A subscriber that falls behind the tail continues where the tail begins",
    SleepBelieved: "A tail that slept is believed to be up to date",
    HeldForgotten: "An `id:` leaves out channels that have not joined yet",
    MissingNotJudged: "Entries trimmed while history was read are not judged",
    BaseBelieved: "The place where the log began before a reset counts as an entry of the new life",
    FirstRemembered: "A stream that was missing is still believed to begin where the one before it began",
    ExtendedBlindly: "A tail is extended by whatever the stream holds now",
    ReturnNotTold: "A client that is connected when a stream is back stays at the beginning",
    LifeBehindUnknown: "A subscriber behind the tail does not learn that its stream is another one by now",
    NewLifeSkipped: "A client that has had nothing yet passes over a new life",
    IdBeforeGap: "A position is sent before the losses up to it",
    CountBelieved: "A count of a moment later is believed",
    RetraceKept: "A feed that begins anew still looks for what its log has had",
    SkippedForgotten: "Events of a page that a filter skips are not counted again when a draft is undone",
    EndLooksComplete: "An end that invites a reconnect is complete on the wire",
    HistoryCutShort: "History ends after some pages, with a gap",
    DeletedNotTold: "Deleted entries are not announced",
    ReturnUnknown: "A stream that was renamed away and back counts as another one",
    CountForgotten: "A count is forgotten if a look at much shows nothing lost",
    StaleHeaderCounts: "A header that somebody set once counts more than the parameter",
    HeldBeginsLate: "A held client begins where the stream is when it joins",
    OrdersGoOn: "Orders are read on from where they were, though ids went back",
    OrdersByNodeClock: "The end of an order is judged by the node's clock",
    DoubtNotAwaited: "A client that joins behind a doubt is joined to a log that is not verified yet",
    TwoAreAll: "History ends with two entries after a connection ended within its answer",
    TooLargeInSilence: "An entry that is too large is passed over in silence",
    TooLargeCountsTwice: "An entry that is too large counts as two",
    LeftoverOfAnother: "What a full socket did not take is read from the frame before",
    LeftoverDropped: "A shared leftover of a full socket is dropped",
    LeftoverCut: "A shared leftover of a full socket ends too early",
    NewLifeAtItsEnd: "The entries that a stream made anew holds by then are passed over",
    ResetToldAgain: "A client that reconnects behind a reset is told of it once more",
    ResetPassesOver: "A client that reconnects and is told of a reset begins one event late, if more follow",
    FloorForgotten: "A primary's answer about a stream is forgotten while its replica is behind it",
    ReplicaForgets: "A replica that has forgotten what is followed goes unnoticed",
    RationKept: "The memory of a page is not given back",
}

#[cfg(feature = "testing")]
mod now {
    use super::Fault;
    use std::sync::atomic::{AtomicU8, Ordering};

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// Plants a fault in this process, in the place of any other.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.store(fault.unwrap_or(Fault::None) as u8, Ordering::Relaxed);
    }

    /// Whether a fault is planted.
    pub fn is(fault: Fault) -> bool {
        PLANTED.load(Ordering::Relaxed) == fault as u8
    }
}

#[cfg(feature = "testing")]
pub use now::{is, plant};

/// Whether a fault is planted: none ever is.
#[cfg(not(feature = "testing"))]
pub const fn is(_: Fault) -> bool {
    false
}
