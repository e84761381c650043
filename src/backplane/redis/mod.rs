//! The Redis backplane.
