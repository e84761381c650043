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
    DoubtLost: "That anything may have changed is not heard",
    StaleAnswerBelieved: "An answer counts for a feed that was asked for anew since",
    LossNotCounted: "What came and went between two reads is not counted",
    ResetRepeats: "After a reset what was had is taken for new",
    ResetNotTold: "A reset is not announced",
    TrimmedNotTold: "What was trimmed is not announced",
    ReturnBelieved: "A stream that was missing and is there again is taken for the same",
    LegStartsLate: "A leg begins one event late",
    TwoLivesMixed: "A stream that was made anew is joined before that was found out",
    AheadBeginsHere: "Who is ahead of this node begins where the node is",
    PageIsAll: "History ends with a page",
    PageWithoutWitness: "A page need not begin with what its leg had last",
    PageTurnedTwice: "A page is delivered twice",
    LeftoverWhole: "What a full socket has taken is written once more",
    IdBeforeEvent: "An `id:` ends its block before its event begins",
    FellBehindInSilence: "Who falls behind the tail goes on where it begins",
    SleepBelieved: "A tail that slept is believed to be up to date",
    HeldForgotten: "An `id:` leaves out channels that have not joined yet",
    MissingNotJudged: "What was trimmed while history was read is not judged",
    BaseBelieved: "Where the log began before a reset is taken for an entry of the new life",
    FirstRemembered: "A stream that was missing is still held to begin where the one before it began",
    ExtendedBlindly: "A tail is extended by whatever the stream holds now",
    ReturnNotTold: "Who is here when a stream is there again stays at the beginning",
    LifeBehindUnknown: "Who is behind the tail does not know that its stream is another one by now",
    NewLifeSkipped: "Who has had nothing yet passes over a new life",
    IdBeforeGap: "A position is told before what was lost up to there",
    CountBelieved: "A count of a moment later is believed",
    RetraceKept: "A feed that begins anew still looks for what its log has had",
    SkippedForgotten: "What a filter passes over of a page is not counted once more where a draft is undone",
    EndLooksComplete: "An end that invites back is complete on the wire",
    HistoryCutShort: "History ends after some pages, with a gap",
    DeletedNotTold: "What was deleted is not announced",
    ReturnUnknown: "A stream that was renamed away and back is taken for another one",
    CountForgotten: "A count is forgotten where a look at much shows nothing lost",
    StaleHeaderCounts: "A header that somebody set once counts more than the parameter",
    HeldBeginsLate: "Who was held begins where the stream is when it joins",
    OrdersGoOn: "Orders are read on from where they were, though ids went back",
    OrdersByNodeClock: "The end of an order is judged by the node's clock",
    DoubtNotAwaited: "Who joins behind a doubt is joined to a log that is not verified yet",
    TwoAreAll: "History ends with two entries after a connection ended within its answer",
    TooLargeInSilence: "An entry that is too large is passed over in silence",
    TooLargeCountsTwice: "An entry that is too large counts as two",
    LeftoverOfAnother: "What a full socket did not take is taken of the frame before",
    LeftoverDropped: "What a full socket did not take of what others have, too, is dropped",
    LeftoverCut: "What a full socket did not take of what others have, too, ends too early",
    NewLifeAtItsEnd: "Of a stream that was made anew, what it holds by then is passed over",
    ResetToldAgain: "Who comes back behind a reset is told of it once more",
    ResetPassesOver: "Who comes back and is told of a reset begins one event late, where more follow",
    FloorForgotten: "What a primary has said of a stream is forgotten while its replica is behind that",
    ReplicaForgets: "That a replica has forgotten what is followed is not noticed",
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
