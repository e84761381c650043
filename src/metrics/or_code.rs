//! A label of two kinds: what a family knows by itself, or the code of a refusal.

use super::Label;
use crate::problem::Code;

/// A value of a family's own label `L`, or a refusal's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrCode<L> {
    Own(L),
    Code(Code),
}

impl<L: Label> From<L> for OrCode<L> {
    fn from(own: L) -> OrCode<L> {
        OrCode::Own(own)
    }
}

impl<L> From<Code> for OrCode<L> {
    fn from(code: Code) -> OrCode<L> {
        OrCode::Code(code)
    }
}

impl<L: Label> Label for OrCode<L> {
    /// Own values alone: most codes are never counted in most families.
    fn from_start() -> Vec<OrCode<L>> {
        L::from_start().into_iter().map(OrCode::Own).collect()
    }

    fn label(self) -> &'static str {
        match self {
            OrCode::Own(own) => own.label(),
            OrCode::Code(code) => code.as_str(),
        }
    }
}
