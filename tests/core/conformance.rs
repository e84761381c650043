//! The conformance suite: what every backplane must do, run against each of them.
//!
//! A test is a function of a [`Bench`]; the macro at the end runs it once per backplane. What one backplane alone
//! does (reconnects, limits) is tested with it.

mod bench;
mod differential;
mod gaps;
mod reading;
mod reports;
mod soundness;

use bench::{Bench, MemoryBench};

macro_rules! conformance {
    ($($module:ident { $($name:ident)* })*) => {
        mod memory {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$module::$name(&super::MemoryBench::new()).await;
                }
            )*)*
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
