//! Integration tests against real servers in real processes.
