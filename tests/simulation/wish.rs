//! What clients ask for and how, drawn from a seed.

use super::chance::{Draw, source};
use super::leg::Begin;
use super::proxy::Holding;
use fastrand::Rng;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub channels: Vec<usize>,
    pub begin: Begin,
    /// Whose token it has, where one is needed.
    pub subject: usize,
    /// Events of type `a` alone.
    pub filtered: bool,
    /// Bytes that are on their way to it at most.
    pub room: usize,
    /// Bytes that it takes at once.
    pub sips: usize,
    /// Its last id goes with the URL in place of the header.
    pub in_url: bool,
    pub manner: Manner,
}

/// How a client asks. The default is the plainest one.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// It takes gzip.
    pub gzip: bool,
    pub envelope: bool,
    /// One channel is named by the path, several by a parameter each.
    pub apart: bool,
    /// Which name of `lastEventId` it knows.
    pub id_name: usize,
    /// Beside the newest id, where the other one does not go, it sends the first that it ever had.
    pub stale: bool,
    /// At first it comes with an id that is none of ours.
    pub foreign: bool,
    /// Where to begin, in place of the channel's end.
    pub since: Option<Since>,
    /// What stands between it and the node.
    pub proxy: Option<Holding>,
    /// It speaks HTTP/2, on connections that it shares.
    pub http2: bool,
}

/// A place to begin at.
#[derive(Clone, Debug)]
pub enum Since {
    /// So long ago, in milliseconds, said in one of the forms of times.
    Ago { ms: u64, form: TimeForm },
    /// So many events before the newest.
    Id { back: usize },
}

#[derive(Clone, Copy, Debug)]
pub enum TimeForm {
    UnixMs,
    UnixSeconds,
    Rfc3339,
    Back,
}

impl Manner {
    /// The manner of a run's client.
    pub fn of(seed: u64, client: usize) -> Manner {
        let mut rng = source(seed, &format!("manner {client}"));
        let rng = &mut rng;
        Manner {
            gzip: rng.once_in(4),
            envelope: rng.once_in(6),
            apart: rng.once_in(4),
            id_name: rng.usize(0..4),
            stale: rng.once_in(8),
            foreign: rng.once_in(12),
            since: rng.once_in(4).then(|| Since::any(rng)),
            proxy: rng.once_in(6).then(|| Holding::any(rng)),
            http2: rng.once_in(4),
        }
    }
}

impl Since {
    fn any(rng: &mut Rng) -> Since {
        use TimeForm::{Back, Rfc3339, UnixMs, UnixSeconds};
        match rng.once_in(3) {
            true => Since::Id { back: rng.usize(0..20) },
            false => Since::Ago {
                ms: rng.u64(0..60_000),
                form: *rng.choice(&[UnixMs, UnixSeconds, Rfc3339, Back]).expect("some"),
            },
        }
    }
}
