//! Invariants of ARCHITECTURE.md, looked at where they would break. In a node they cost nothing: without the feature
//! `testing` no condition is evaluated.

/// The enum, a list of all that it has, and what each says.
macro_rules! invariants {
    ($($(#[doc = $what:literal])+ $invariant:ident),* $(,)?) => {
        /// What must always hold inside of a node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Invariant {
            $($(#[doc = $what])+ $invariant),*
        }

        impl Invariant {
            /// All invariants, in their order.
            #[cfg(feature = "testing")]
            pub const ALL: &[Invariant] = &[$(Invariant::$invariant),*];
        }
    };
}

invariants! {
    /// Entries are appended to a log in the order of their ids.
    LogGrows,
    /// A courier's copy of a tail has no hole.
    MirrorFollowsLog,
    /// A leg of several goes from the beginning of a frame to the beginning of the next one.
    LegAtFrame,
    /// A plain subscriber's place lies within its courier's copy after it was offered all.
    PlainWithinMirror,
    /// A single subscriber finds its position in its courier's copy of the log.
    SingleWithinMirror,
    /// A leg has one page of history on its way at most.
    OnePage,
    /// A feed is read once at a time.
    OneReadOfAStream,
    /// An answer counts for a feed only if that was not asked for anew since.
    AnswerIsOfNow,
}

#[cfg(feature = "testing")]
mod checked {
    use super::Invariant;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    static LOOKS: [AtomicU64; Invariant::ALL.len()] = [const { AtomicU64::new(0) }; Invariant::ALL.len()];

    thread_local! {
        static BROKEN: Cell<Option<Invariant>> = const { Cell::new(None) };
    }

    /// Takes note of an invariant that does not hold.
    pub fn holds(invariant: Invariant, condition: impl FnOnce() -> bool) {
        LOOKS[invariant as usize].fetch_add(1, Ordering::Relaxed);
        if !condition() {
            BROKEN.set(Some(invariant));
        }
    }

    /// The invariant that was last found broken on this thread, once.
    pub fn broken() -> Option<Invariant> {
        BROKEN.take()
    }

    /// Each invariant, and how often this process has looked at it.
    pub fn looks() -> impl Iterator<Item = (Invariant, u64)> {
        Invariant::ALL.iter().map(|invariant| (*invariant, LOOKS[*invariant as usize].load(Ordering::Relaxed)))
    }
}

#[cfg(feature = "testing")]
pub use checked::{broken, holds, looks};

/// Looks at nothing.
#[cfg(not(feature = "testing"))]
pub fn holds(_: Invariant, _: impl FnOnce() -> bool) {}
