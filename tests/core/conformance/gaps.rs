//! The gap rule over real states: each case is made on the backplane, and judged by what it answers.

use super::bench::*;
use fantail::backplane::Toward;
use fantail::backplane::continuity::{Resume, Verdict, judge};
use fantail::control_event::GapReason::{self, Deleted, Missing, Reset, Trimmed};
use fantail::position::Position;

const CONTINUOUS: Verdict = Verdict::Continuous;

fn gap(reason: GapReason, after: u64, lost: Option<u64>) -> Verdict {
    Verdict::Broken { reason, after: id(after), lost }
}

/// Judges each resume at `(n-0, rank)` by what the backplane answers now, for a node that has read no more.
async fn check(bench: &dyn Bench, name: &str, cases: &[(u64, Option<u64>, Verdict)]) {
    check_read(bench, name, 0, cases).await;
}

/// The same, for a node that has read up to `read`.
async fn check_read(bench: &dyn Bench, name: &str, read: u64, cases: &[(u64, Option<u64>, Verdict)]) {
    let (backplane, a) = (bench.backplane(), channel("a"));
    for (at, rank, expected) in cases {
        let state = inspect(&*backplane, &a).await;
        let present = !history(&*backplane, span(&a, id(*at), id(*at), 1, Toward::Newest)).await.is_empty();
        let (at_id, witness, known) = (id(*at), present.into(), id(read.max(*at)));
        let resume = Resume { at: at_id, rank: *rank, entry: true, witness, behind: None, known };
        let verdict = judge(resume, state.as_ref());
        assert_eq!(verdict, *expected, "{name}: {at}-0 (rank {rank:?}, present {present}) on {state:?}");
    }
}

pub async fn untouched(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    check(bench, "untouched", &[(5, None, CONTINUOUS), (1, None, CONTINUOUS), (3, Some(3), CONTINUOUS)]).await;
}

pub async fn trimmed(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=10);
    bench.trim(&channel("a"), 5);
    let cases = [
        (10, None, CONTINUOUS),
        (6, None, CONTINUOUS),
        (5, Some(5), CONTINUOUS),
        (5, None, gap(Trimmed, 5, None)),
        (4, Some(4), gap(Trimmed, 4, Some(1))),
        (1, Some(1), gap(Trimmed, 1, Some(4))),
        (0, None, gap(Trimmed, 0, Some(5))),
    ];
    check_read(bench, "trimmed", 10, &cases).await;
    check(bench, "trimmed, of which nothing else was read", &[(4, Some(4), gap(Trimmed, 4, None))]).await;
}

pub async fn trimmed_to_nothing(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    bench.trim(&channel("a"), 0);
    let cases = [
        (5, None, CONTINUOUS),
        (3, Some(3), gap(Trimmed, 5, Some(2))),
        (3, None, gap(Trimmed, 5, None)),
        (0, None, gap(Trimmed, 5, Some(5))),
    ];
    check_read(bench, "trimmed to nothing", 5, &cases).await;
}

pub async fn trimmed_to_nothing_then_gone_on(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    bench.trim(&channel("a"), 0);
    fill(bench, &channel("a"), 6..=7);
    let cases = [
        (5, Some(5), CONTINUOUS),
        (4, Some(4), gap(Trimmed, 4, Some(1))),
        (5, None, gap(Trimmed, 5, None)),
        (6, None, CONTINUOUS),
    ];
    check_read(bench, "trimmed to nothing, then gone on", 6, &cases).await;
}

pub async fn deleted_entries(bench: &dyn Bench) {
    let a = channel("a");
    fill(bench, &a, 1..=6);
    assert!(bench.delete_entry(&a, id(3)));
    let cases = [
        (3, None, CONTINUOUS),
        (3, Some(3), CONTINUOUS),
        (4, None, CONTINUOUS),
        (2, None, gap(Deleted, 2, None)),
        (1, Some(1), gap(Deleted, 1, None)),
    ];
    check(bench, "one in the middle", &cases).await;
    assert!(bench.delete_entry(&a, id(6)));
    let cases = [(6, None, CONTINUOUS), (5, None, gap(Deleted, 5, None)), (3, None, gap(Deleted, 3, None))];
    check(bench, "the newest", &cases).await;
    assert!(bench.delete_entry(&a, id(1)));
    let cases = [
        (1, None, gap(Deleted, 1, None)),
        (0, None, gap(Deleted, 0, Some(3))),
        (1, Some(1), gap(Deleted, 1, Some(2))),
        (5, None, gap(Deleted, 5, None)),
        (6, None, CONTINUOUS),
    ];
    check_read(bench, "the oldest", 6, &cases).await;
    fill(bench, &a, [7]);
    check(bench, "gone on", &[(6, None, CONTINUOUS), (5, None, gap(Deleted, 5, None)), (7, None, CONTINUOUS)]).await;
}

/// A client of an older entry, of one that is deleted, and of none of the stream's.
pub async fn deleted_around_a_client(bench: &dyn Bench) {
    let a = channel("a");
    fill(bench, &a, [1, 2, 3]);
    assert!(bench.delete_entry(&a, id(2)) && bench.delete_entry(&a, id(3)));
    check(bench, "had and missed", &[(2, None, gap(Deleted, 2, None)), (1, None, gap(Deleted, 1, None))]).await;
    assert!(bench.delete_entry(&a, id(1)));
    check(bench, "without an older one", &[(2, None, gap(Deleted, 3, None)), (3, None, CONTINUOUS)]).await;
    let b = [7, 12, 13];
    assert!(bench.delete_stream(&a));
    fill(bench, &a, b);
    check(bench, "foreign", &[(10, None, gap(Reset, 10, None))]).await;
    assert!(bench.delete_entry(&a, id(13)));
    check(bench, "foreign, another was deleted", &[(10, None, gap(Reset, 10, None)), (5, None, gap(Reset, 5, None))])
        .await;
}

pub async fn deleted_key(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    assert!(bench.delete_stream(&channel("a")));
    let cases = [(5, None, gap(Missing, 0, None)), (5, Some(5), gap(Missing, 0, None)), (0, None, CONTINUOUS)];
    check(bench, "deleted key", &cases).await;
}

pub async fn expired_key(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    bench.expire(&channel("a"));
    check(bench, "expired key", &[(5, None, gap(Missing, 0, None)), (0, None, CONTINUOUS)]).await;
}

pub async fn recreated_key(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    assert!(bench.delete_stream(&channel("a")));
    fill(bench, &channel("a"), 11..=12);
    let cases = [
        (5, None, gap(Reset, 5, None)),
        (5, Some(5), gap(Reset, 5, None)),
        (2, Some(2), gap(Reset, 2, None)),
        (0, None, CONTINUOUS),
    ];
    check(bench, "recreated key", &cases).await;
}

pub async fn recreated_and_trimmed(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=9);
    assert!(bench.delete_stream(&channel("a")));
    fill(bench, &channel("a"), 11..=19);
    bench.trim(&channel("a"), 2);
    let cases = [
        (9, Some(9), gap(Reset, 9, None)),
        (8, Some(8), gap(Reset, 8, None)),
        // Two more are gone than were had; but of the new life alone seven are.
        (5, Some(5), gap(Trimmed, 5, None)),
        (9, None, gap(Trimmed, 9, None)),
    ];
    check_read(bench, "recreated, then trimmed", 9, &cases).await;
}

pub async fn ids_ahead_of_the_stream(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    check(bench, "ids ahead", &[(9, None, gap(Reset, 5, None)), (6, Some(5), gap(Reset, 5, None))]).await;
    bench.trim(&channel("a"), 0);
    check(bench, "ids ahead of an empty stream", &[(9, None, gap(Reset, 5, None))]).await;
}

/// A failover forgot 4 and 5, and the new primary went on with 6.
pub async fn lost_inside(bench: &dyn Bench) {
    fill(bench, &channel("a"), [1, 2, 3, 6]);
    check(bench, "lost", &[(5, None, gap(Reset, 5, None)), (5, Some(5), gap(Reset, 5, None))]).await;
    assert!(bench.delete_entry(&channel("a"), id(2)));
    check(bench, "lost, an older one deleted", &[(5, None, gap(Reset, 5, None)), (2, None, CONTINUOUS)]).await;
}

pub async fn last_id_raised(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=3);
    assert!(bench.set_last_id(&channel("a"), id(9)));
    check(bench, "raised", &[(3, None, CONTINUOUS), (9, None, CONTINUOUS), (10, None, gap(Reset, 9, None))]).await;
    bench.trim(&channel("a"), 0);
    check(bench, "raised, trimmed", &[(3, Some(3), CONTINUOUS), (3, None, gap(Trimmed, 9, None))]).await;
}

pub async fn last_id_raised_then_gone_on(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=3);
    assert!(bench.set_last_id(&channel("a"), id(9)));
    fill(bench, &channel("a"), [10]);
    check(bench, "raised", &[(3, None, CONTINUOUS), (9, None, gap(Reset, 9, None)), (10, None, CONTINUOUS)]).await;
}

pub async fn last_id_lowered(bench: &dyn Bench) {
    fill(bench, &channel("a"), 1..=5);
    bench.trim(&channel("a"), 0);
    assert!(bench.set_last_id(&channel("a"), id(3)));
    check(bench, "lowered", &[(5, Some(5), gap(Reset, 3, None)), (3, None, CONTINUOUS)]).await;
}

pub async fn resumed_at_zero(bench: &dyn Bench) {
    let a = channel("a");
    check(bench, "never was", &[(0, None, CONTINUOUS), (7, None, gap(Missing, 0, None))]).await;
    fill(bench, &a, 1..=4);
    check(bench, "whole", &[(0, None, CONTINUOUS), (0, Some(0), CONTINUOUS)]).await;
    bench.trim(&a, 3);
    check(bench, "trimmed", &[(0, None, gap(Trimmed, 0, Some(1)))]).await;
    bench.trim(&a, 0);
    assert!(bench.set_last_id(&a, Position::ZERO));
    check(bench, "set back to 0-0", &[(0, None, CONTINUOUS)]).await;
}
