//! Rare branches by name, so that a simulation can tell which of them it has reached. In a node they cost nothing: without
//! the feature `testing` nothing is counted.

/// The enum, and a list of all that it has.
macro_rules! probes {
    ($($probe:ident),* $(,)?) => {
        /// A branch that is seldom taken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Probe {
            $($probe),*
        }

        impl Probe {
            /// All branches, in their order.
            #[cfg(feature = "testing")]
            pub const ALL: &[Probe] = &[$(Probe::$probe),*];
        }
    };
}

probes! {
    JoinExtended,
    JoinBehind,
    JoinJudged,
    JoinAhead,
    JoinAheadOfAll,
    JoinEarlierPlace,
    JoinWentBack,
    JoinCoveredTrim,
    JoinHole,
    JoinHeld,
    JoinDoubted,
    JoinTailDoubted,
    PageRead,
    PageJudged,
    PageTailTrimmed,
    PageOtherLife,
    PageDeletedBefore,
    PageGivenBack,
    FollowAbsent,
    FollowReplaced,
    FollowMissing,
    FollowFoundAgain,
    FollowReset,
    FollowRetraced,
    FollowLeftOut,
    FollowTrimmed,
    FollowDeleted,
    FollowCountedLoss,
    FollowSleptThrough,
    FollowDoubt,
    FollowParked,
    FollowFailed,
    FollowHot,
    FollowCooled,
    FollowRelayed,
    FollowUnclear,
    FellBehind,
    ReachedBack,
    Blocked,
    DraftCut,
    MadeComposed,
    MadePlain,
    MadeSingle,
    Stalled,
    Drained,
}

#[cfg(feature = "testing")]
mod counted {
    use super::Probe;
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNTS: [AtomicU64; Probe::ALL.len()] = [const { AtomicU64::new(0) }; Probe::ALL.len()];

    /// Counts that a branch was taken.
    pub fn reached(probe: Probe) {
        COUNTS[probe as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Each branch, and how often it was taken in this process.
    pub fn counts() -> impl Iterator<Item = (Probe, u64)> {
        Probe::ALL.iter().map(|probe| (*probe, COUNTS[*probe as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(feature = "testing")]
pub use counted::{counts, reached};

/// Counts nothing.
#[cfg(not(feature = "testing"))]
pub const fn reached(_: Probe) {}
