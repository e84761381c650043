//! How a resume went, as it is counted.

/// How a subscription with a position began, best first: the label of `fantail_resumes_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The subscription had missed nothing.
    Live,
    /// What the subscription had missed was in memory.
    Tail,
    /// What the subscription had missed was read from the backplane.
    History,
    /// Something of what the subscription had missed is gone, which it was told.
    Gap,
    /// The stream's ids went back, which the subscription was told.
    Reset,
}

impl Outcome {
    pub const ALL: [Outcome; 5] = [Outcome::Live, Outcome::Tail, Outcome::History, Outcome::Gap, Outcome::Reset];

    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Live => "live",
            Outcome::Tail => "tail",
            Outcome::History => "history",
            Outcome::Gap => "gap",
            Outcome::Reset => "reset",
        }
    }
}
