//! The conformance suite: what every backplane must do, run against each of them.
//!
//! A test is a function of a [`Bench`]; the macro at the end runs it once per backplane. What one backplane alone
//! does (reconnects, limits) is tested with it.

mod bench;
mod differential;
mod gaps;
mod reading;
mod redis_bench;
mod reports;
mod soundness;

use bench::{Bench as _, MemoryBench, channel, fill, id, inspect, numbered, positions, read, span};
use fantail::backplane::{Ask, BackplaneError, Publication, Toward};
use fantail::config::Follow;
use fantail::position::Position;
use redis_bench::RedisBench;

macro_rules! conformance {
    ($($module:ident { $($name:ident)* })*) => {
        conformance!(memory: super::MemoryBench::new(), $($(($module $name))*)*);
        conformance!(redis_tracking: super::RedisBench::new(super::Follow::Tracking).await, $($(($module $name))*)*);
        conformance!(redis_block: super::RedisBench::new(super::Follow::Block).await, $($(($module $name))*)*);
    };
    ($backplane:ident: $bench:expr, $(($module:ident $name:ident))*) => {
        mod $backplane {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$module::$name(&$bench).await;
                }
            )*
        }
    };
}

conformance! {
    reading {
        entries_come_back_as_they_were_appended
        names_and_values_are_any_bytes
        a_value_of_one_mebibyte
        reads_begin_after_a_position
        history_includes_both_bounds
        history_from_either_end
        a_missing_stream
        a_stream_trimmed_to_nothing
        counters_follow_redis
        a_finished_stream
        answers_are_in_the_order_of_the_asks
        batches_of_any_size
        a_refused_publication_concerns_itself_alone
    }
    reports {
        a_change_after_a_read
        a_change_after_an_inspection
        the_first_entry_of_a_missing_stream
        every_read_asks_anew
        a_change_before_it_was_said_to_be_followed
        followed_again_after_it_was_left
        only_what_changed
        none_is_lost_in_a_race
    }
    gaps {
        untouched
        trimmed
        trimmed_to_nothing
        trimmed_to_nothing_then_gone_on
        deleted_entries
        deleted_around_a_client
        deleted_key
        expired_key
        recreated_key
        recreated_and_trimmed
        ids_ahead_of_the_stream
        lost_inside
        last_id_raised
        last_id_raised_then_gone_on
        last_id_lowered
        resumed_at_zero
    }
}

/// Only Redis knows keys of other types; what a producer does to one channel must not reach another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_concerns_its_channel_alone() {
    let bench = RedisBench::new(Follow::Auto).await;
    let (backplane, a, bad, c) = (bench.backplane(), channel("a"), channel("bad"), channel("c"));
    fill(&bench, &a, [1]);
    fill(&bench, &c, [3]);
    bench.spoil(&bad);
    let channels = [&a, &bad, &c];

    let asks = channels.map(|c| Ask { channel: c.clone(), after: Position::ZERO, count: 5 });
    let answers = backplane.read(asks.into()).await.unwrap();
    assert!(matches!(answers[1], Err(BackplaneError::Refused { .. })), "{:?}", answers[1]);
    assert_eq!(positions(answers[0].as_ref().unwrap()), [id(1)]);
    assert_eq!(positions(answers[2].as_ref().unwrap()), [id(3)]);

    let answers = backplane.inspect(channels.map(Clone::clone).into()).await.unwrap();
    assert!(matches!(answers[1], Err(BackplaneError::Refused { .. })), "{:?}", answers[1]);
    assert_eq!(answers[2].as_ref().unwrap().as_ref().unwrap().last, id(3));

    let spans = channels.map(|c| span(c, Position::ZERO, Position::MAX, 5, Toward::Oldest));
    let answers = backplane.history(spans.into()).await.unwrap();
    assert!(matches!(answers[1], Err(BackplaneError::Refused { .. })), "{:?}", answers[1]);
    assert_eq!(positions(answers[2].as_ref().unwrap()), [id(3)]);

    let publications = channels.map(|c| Publication::new(c.clone(), numbered(9)));
    let answers = backplane.append(publications.into()).await.unwrap();
    assert!(matches!(answers[1], Err(BackplaneError::Refused { .. })), "{:?}", answers[1]);
    assert_eq!(inspect(&*backplane, &c).await.unwrap().last, *answers[2].as_ref().unwrap());
    assert_eq!(read(&*backplane, &a, id(1), 5).await.len(), 1);
}
