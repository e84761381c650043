//! The in-process backplane.
