//! The rule's table: every way in which a stream and a resume position can stand to each other.

use super::*;
use GapReason::{Deleted, Missing, Reset, Trimmed};

const CONTINUOUS: Verdict = Verdict::Continuous;

fn gap(reason: GapReason, after: u64, lost: Option<u64>) -> Verdict {
    Verdict::Broken { reason, after: id(after), lost }
}

/// Position `n-0`; 0 is `0-0`.
fn id(n: u64) -> Position {
    Position::new(n, 0)
}

/// A stream on which `entries` are left of `added`; ids are `n-0`.
fn stream(added: u64, last: u64, entries: &[u64], max_deleted: u64) -> Option<StreamState> {
    Some(StreamState {
        length: entries.len() as u64,
        last: id(last),
        first: entries.first().map(|n| id(*n)),
        added: Some(added),
        max_deleted: Some(id(max_deleted)),
        finished: false,
    })
}

/// A stream's state as Redis 6.2 tells it.
fn uncounted(last: u64, entries: &[u64]) -> Option<StreamState> {
    stream(0, last, entries, 0).map(|state| StreamState { added: None, max_deleted: None, ..state })
}

struct Case {
    name: &'static str,
    state: Option<StreamState>,
    at: u64,
    rank: Option<u64>,
    entry: bool,
    present: bool,
    /// What the node has read up to, if that is more than `at`.
    read: u64,
    verdict: Verdict,
}

fn case(name: &'static str, state: Option<StreamState>, at: u64, rank: Option<u64>, verdict: Verdict) -> Case {
    Case { name, state, at, rank, entry: true, present: false, read: 0, verdict }
}

/// A case of somebody whose node has read up to `read`.
fn read_to(read: u64, case: Case) -> Case {
    Case { read, ..case }
}

/// Who stands between two entries.
fn place(name: &'static str, state: Option<StreamState>, at: u64, rank: Option<u64>, verdict: Verdict) -> Case {
    Case { entry: false, ..case(name, state, at, rank, verdict) }
}

fn check(cases: Vec<Case>) {
    for Case { name, state, at, rank, entry, present, read, verdict } in cases {
        let (known, witness) = (id(read.max(at)), present.into());
        let judged = judge(Resume { at: id(at), rank, entry, witness, behind: None, known }, state.as_ref());
        assert_eq!(judged, verdict, "{name}: {at} (rank {rank:?}) on {state:?}");
    }
}

#[test]
fn an_entry_that_is_there_is_continuous_whatever_else_is_known() {
    let states = [stream(5, 5, &[3, 4, 5], 0), stream(9, 9, &[3, 9], 2), uncounted(5, &[3, 5])];
    for state in states {
        for rank in [None, Some(0), Some(3), Some(5)] {
            check(vec![Case {
                name: "present",
                state: state.clone(),
                at: 3,
                rank,
                entry: true,
                present: true,
                read: 0,
                verdict: CONTINUOUS,
            }]);
        }
    }
}

#[test]
fn no_stream() {
    check(vec![
        case("never was, and nothing was had of it", None, 0, None, CONTINUOUS),
        case("never was, rank known", None, 0, Some(0), CONTINUOUS),
        case("deleted or expired key", None, 5, None, gap(Missing, 0, None)),
        place("began at the beginning, of a stream that had some", None, 0, Some(5), gap(Missing, 0, None)),
        case("deleted or expired key, rank known", None, 5, Some(5), gap(Missing, 0, None)),
    ]);
}

#[test]
fn empty_streams() {
    check(vec![
        case("made without an entry", stream(0, 0, &[], 0), 0, None, CONTINUOUS),
        case("made without an entry, had something", stream(0, 0, &[], 0), 5, None, gap(Reset, 0, None)),
        case("trimmed to nothing, had all", stream(5, 5, &[], 0), 5, None, CONTINUOUS),
        read_to(5, case("trimmed to nothing, lost two", stream(5, 5, &[], 0), 3, Some(3), gap(Trimmed, 5, Some(2)))),
        case("the same, or made anew", stream(5, 5, &[], 0), 3, Some(3), gap(Trimmed, 5, None)),
        case("trimmed to nothing, lost some", stream(5, 5, &[], 0), 3, None, gap(Trimmed, 5, None)),
        case("trimmed to nothing, lost all", stream(5, 5, &[], 0), 0, None, gap(Trimmed, 5, Some(5))),
        case("all deleted, had all", stream(5, 5, &[], 5), 5, None, CONTINUOUS),
        read_to(5, case("all deleted, had some", stream(5, 5, &[], 5), 3, Some(3), gap(Deleted, 5, Some(2)))),
        case("XSETID raised the last id, had all", stream(5, 9, &[], 0), 5, Some(5), CONTINUOUS),
        case("XSETID raised the last id, rank unknown", stream(5, 9, &[], 0), 5, None, gap(Trimmed, 9, None)),
    ]);
}

#[test]
fn trimmed() {
    let state = || stream(10, 10, &[6, 7, 8, 9, 10], 0);
    check(vec![
        case("exactly the last trimmed one", state(), 5, Some(5), CONTINUOUS),
        case("the same, rank unknown", state(), 5, None, gap(Trimmed, 5, None)),
        read_to(6, case("one more is gone", state(), 4, Some(4), gap(Trimmed, 4, Some(1)))),
        read_to(9, case("several are gone", state(), 1, Some(1), gap(Trimmed, 1, Some(4)))),
        read_to(5, case("several are gone, or it was made anew", state(), 1, Some(1), gap(Trimmed, 1, None))),
        case("several are gone, rank unknown", state(), 1, None, gap(Trimmed, 1, None)),
        case("resume at 0-0", state(), 0, None, gap(Trimmed, 0, Some(5))),
        read_to(6, place("began at 0-0 when three were gone", state(), 0, Some(3), gap(Trimmed, 0, Some(2)))),
        place("the same, or it was made anew", state(), 0, Some(3), gap(Trimmed, 0, None)),
        place("began at 0-0, and no more has gone since", state(), 0, Some(5), CONTINUOUS),
        place("began between two, and no more has gone since", state(), 3, Some(5), CONTINUOUS),
        place("the same, rank unknown", state(), 3, None, gap(Trimmed, 3, None)),
        case("attached where all had been trimmed", stream(7, 7, &[6, 7], 0), 5, Some(5), CONTINUOUS),
    ]);
}

#[test]
fn deleted_entries() {
    check(vec![
        case("in the middle", stream(5, 5, &[1, 2, 4, 5], 3), 3, Some(3), CONTINUOUS),
        case("in the middle, rank unknown", stream(5, 5, &[1, 2, 4, 5], 3), 3, None, CONTINUOUS),
        case("the newest", stream(5, 5, &[1, 2, 3, 4], 5), 5, None, CONTINUOUS),
        case("the newest, then more", stream(6, 6, &[1, 2, 3, 4, 6], 5), 5, None, CONTINUOUS),
        case("a greater one was deleted, too", stream(5, 5, &[1, 2, 5], 4), 3, None, gap(Deleted, 3, None)),
        case("the oldest, and it was had", stream(5, 5, &[2, 3, 4, 5], 1), 1, Some(1), CONTINUOUS),
        case("the oldest, rank unknown", stream(5, 5, &[2, 3, 4, 5], 1), 1, None, CONTINUOUS),
        case("the oldest, nothing was had", stream(5, 5, &[2, 3, 4, 5], 1), 0, None, gap(Deleted, 0, Some(1))),
        case("deleted, trimmed up to here", stream(9, 9, &[4, 9], 1), 1, None, gap(Trimmed, 1, None)),
        place("one is gone, which was deleted before", stream(3, 9, &[6, 9], 2), 5, None, CONTINUOUS),
        place("two are gone, of which one was deleted", stream(4, 9, &[6, 9], 2), 5, None, gap(Trimmed, 5, None)),
        read_to(7, case("deleted and trimmed", stream(9, 9, &[7, 9], 8), 3, Some(3), gap(Deleted, 3, Some(4)))),
        case("the same, or made anew", stream(9, 9, &[7, 9], 8), 3, Some(3), gap(Deleted, 3, None)),
        case("deleted behind, trimmed up to here", stream(9, 9, &[4, 9], 2), 3, Some(7), CONTINUOUS),
    ]);
}

/// Resumes at `at` by who has seen `behind` entries behind it, which are all.
fn seen(witness: Witness, state: Option<StreamState>, at: u64, rank: u64, behind: u64) -> Verdict {
    let resume = Resume { at: id(at), rank: Some(rank), entry: true, witness, behind: Some(behind), known: id(at) };
    judge(resume, state.as_ref())
}

#[test]
fn who_has_seen_all_that_is_held_counts_what_is_not() {
    use Witness::{Absent, Present, Replaced};
    let state = |deleted| stream(10, 10, &[1, 8, 9, 10], deleted);
    assert_eq!(seen(Present, state(0), 1, 1, 3), gap(Trimmed, 1, Some(6)), "taken out by ACKED");
    assert_eq!(seen(Present, state(7), 1, 1, 3), gap(Deleted, 1, Some(6)));
    assert_eq!(seen(Present, state(7), 8, 8, 2), CONTINUOUS);
    assert_eq!(seen(Absent, state(0), 5, 5, 3), gap(Trimmed, 5, Some(2)), "the witness, too");
    assert_eq!(seen(Absent, state(0), 7, 7, 3), CONTINUOUS, "nothing but the witness");
    assert_eq!(seen(Absent, stream(10, 10, &[1, 2, 3, 8, 9, 10], 0), 7, 3, 3), gap(Reset, 7, None), "too much is held");
    assert_eq!(seen(Absent, state(0), 7, 9, 3), gap(Reset, 7, None), "too much was had");
    assert_eq!(seen(Absent, state(9), 10, 8, 0), gap(Deleted, 10, Some(2)), "nothing can come any more");
    assert_eq!(seen(Present, state(0), 8, 9, 2), gap(Reset, 0, None), "counts went back");
    assert_eq!(seen(Replaced, state(0), 8, 8, 2), gap(Reset, 0, None));
}

#[test]
fn a_deletion_hides_no_foreign_id() {
    let cases = |deleted, kept: &[u64]| {
        vec![
            case("between two", stream(3, 13, kept, deleted), 10, None, gap(Reset, 10, None)),
            case("before all", stream(3, 13, kept, deleted), 5, None, gap(Reset, 5, None)),
        ]
    };
    check(cases(0, &[7, 12, 13]));
    check(cases(13, &[7, 12]));
    check(vec![case("two were deleted", stream(4, 14, &[7, 12], 14), 10, None, gap(Deleted, 10, None))]);
}

#[test]
fn made_anew() {
    check(vec![
        case("ids ahead of the stream", stream(3, 3, &[1, 2, 3], 0), 9, None, gap(Reset, 3, None)),
        case("ids ahead, rank known", stream(3, 3, &[1, 2, 3], 0), 9, Some(9), gap(Reset, 3, None)),
        case("XSETID lowered the last id", stream(5, 3, &[], 0), 5, Some(5), gap(Reset, 3, None)),
        case("newer ids, nothing ever removed", stream(2, 12, &[11, 12], 0), 9, None, gap(Reset, 9, None)),
        case("the same, rank known", stream(2, 12, &[11, 12], 0), 9, Some(9), gap(Reset, 9, None)),
        case("newer ids, fewer entries than were had", stream(8, 18, &[17, 18], 0), 9, Some(9), gap(Reset, 9, None)),
        // 8 were had and 7 are gone, so one of the two held ones would have to lie before 9.
        case("more had than is gone", stream(9, 19, &[18, 19], 0), 9, Some(8), gap(Reset, 9, None)),
        // 29 of the new life are gone, and what of the old one came behind 5.
        case("newer ids, more gone than were had", stream(31, 50, &[49, 50], 0), 5, Some(3), gap(Trimmed, 5, None)),
        case("newer ids, trimmed: not told apart", stream(9, 19, &[18, 19], 0), 9, None, gap(Trimmed, 9, None)),
        case("lost in a failover: inside, but not there", stream(5, 6, &[1, 2, 4, 6], 0), 5, None, gap(Reset, 5, None)),
        place("a place that was never an entry", stream(5, 6, &[1, 2, 4, 6], 0), 5, None, CONTINUOUS),
        place("newer ids, nothing ever removed: nothing was lost", stream(2, 12, &[11, 12], 0), 9, None, CONTINUOUS),
        case("the same, an older one was deleted", stream(6, 6, &[1, 2, 4, 6], 3), 5, None, gap(Reset, 5, None)),
    ]);
}

#[test]
fn untouched_streams() {
    check(vec![
        case("at the end", stream(3, 3, &[1, 2, 3], 0), 3, Some(3), CONTINUOUS),
        case("resume at 0-0", stream(3, 3, &[1, 2, 3], 0), 0, None, CONTINUOUS),
        case("XSETID raised the last id, at it", stream(3, 9, &[1, 2, 3], 0), 9, None, CONTINUOUS),
        case("made empty with XSETID, then filled", stream(2, 7, &[6, 7], 0), 5, Some(0), CONTINUOUS),
        // Wrong, but said: the entry before and after an operator's XSETID cannot be told from a foreign id.
        case("XSETID raised it, then more came", stream(4, 10, &[1, 2, 3, 10], 0), 9, None, gap(Reset, 9, None)),
    ]);
}

#[test]
fn redis_6_2_has_no_counters() {
    check(vec![
        case("inside: deleted, or of another life", uncounted(5, &[1, 2, 4, 5]), 3, None, gap(Reset, 3, None)),
        place("inside, where no entry has to be", uncounted(5, &[1, 2, 4, 5]), 3, None, CONTINUOUS),
        case("at the end", uncounted(5, &[4, 5]), 5, None, CONTINUOUS),
        case("ids ahead", uncounted(5, &[4, 5]), 6, None, gap(Reset, 5, None)),
        case("before the oldest", uncounted(5, &[4, 5]), 3, None, gap(Trimmed, 3, None)),
        case("before the oldest, rank of no use", uncounted(5, &[4, 5]), 3, Some(3), gap(Trimmed, 3, None)),
        case("resume at 0-0", uncounted(5, &[4, 5]), 0, None, CONTINUOUS),
        case("trimmed to nothing, had all", uncounted(5, &[]), 5, None, CONTINUOUS),
        case("trimmed to nothing, had some", uncounted(5, &[]), 3, None, gap(Trimmed, 5, None)),
        case("trimmed to nothing, had none", uncounted(5, &[]), 0, None, gap(Trimmed, 5, None)),
        case("made without an entry", uncounted(0, &[]), 0, None, CONTINUOUS),
        case("no stream", None, 3, None, gap(Missing, 0, None)),
    ]);
}
