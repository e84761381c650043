//! What a node takes from the world around its process beside files and sockets: time and chance.

use crate::clock::Clock;
use crate::random::Random;

/// Time and chance of one node; the system's by default. A simulation gives its own.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    pub clock: Clock,
    pub random: Random,
}
