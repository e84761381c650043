use super::*;

fn caller(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn fails(breaker: &Breaker, who: u8, fault: Fault, now: Instant) -> Option<Duration> {
    breaker.turn(caller(who), now).unwrap().failed(fault, now)
}

#[test]
fn failures_in_a_row_make_pauses_that_grow_until_it_works() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    for _ in 1..FAILURES {
        assert_eq!(fails(&breaker, 1, Fault::Silent, start), None);
    }
    breaker.turn(caller(1), start).unwrap().worked();
    for _ in 1..FAILURES {
        assert_eq!(fails(&breaker, 1, Fault::Silent, start), None, "the count began anew");
    }
    let late = breaker.turn(caller(1), start).unwrap();
    assert_eq!(fails(&breaker, 1, Fault::Silent, start), Some(FIRST_PAUSE));
    assert_eq!(late.failed(Fault::Silent, start), None);
    assert_eq!(breaker.turn(caller(1), start).err(), Some(FIRST_PAUSE));
    let first = breaker.turn(caller(1), at(1)).unwrap();
    assert!(breaker.turn(caller(2), at(1)).is_err(), "one at a time tries");
    assert_eq!(first.failed(Fault::Said, at(1)), Some(FIRST_PAUSE * 2));
    assert!(breaker.turn(caller(1), at(2)).is_err());
    drop(breaker.turn(caller(1), at(3)).unwrap());
    breaker.turn(caller(1), at(3)).expect("who tried went away").worked();
    assert!(breaker.turn(caller(1), at(3)).is_ok() && breaker.turn(caller(1), at(3)).is_ok());
}

#[test]
fn one_caller_cannot_have_it_left_alone_and_several_can() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    for _ in 0..100 {
        assert_eq!(fails(&breaker, 1, Fault::Said, start), None);
    }
    assert_eq!(fails(&breaker, 2, Fault::Said, start), None);
    assert_eq!(fails(&breaker, 1, Fault::Said, start), None);
    assert_eq!(fails(&breaker, 3, Fault::Said, start), Some(FIRST_PAUSE), "three, one and one");
    let two = Breaker::default();
    let pauses = (0..6).filter_map(|n| two.turn(caller(n % 2), start).ok()?.failed(Fault::Said, start));
    assert_eq!(pauses.collect::<Vec<_>>(), [FIRST_PAUSE]);
}

#[test]
fn who_made_it_fail_does_not_prolong_a_pause_nor_hold_up_who_tries() {
    let (breaker, start) = (Breaker::default(), Instant::now());
    let at = |ms: u64| start + Duration::from_millis(ms);
    for who in [1, 1, 1, 2, 3] {
        fails(&breaker, who, Fault::Said, start);
    }
    assert!(breaker.turn(caller(1), at(999)).is_err());
    assert_eq!(fails(&breaker, 1, Fault::Said, at(1_000)), None, "it counts no more");
    assert_eq!(breaker.turn(caller(1), at(1_001)).err(), Some(Duration::from_millis(999)));
    breaker.turn(caller(4), at(1_001)).expect("another one is let through at once").worked();
    assert!(breaker.turn(caller(1), at(1_001)).is_ok());
    // Where there is one caller alone, as behind a proxy that is not trusted, it is tried all the same.
    for _ in 0..5 {
        fails(&breaker, 1, Fault::Said, at(2_000));
    }
    for _ in 0..2 {
        fails(&breaker, 1, Fault::Silent, at(2_000));
    }
    assert!(breaker.turn(caller(1), at(2_500)).is_err());
    assert_eq!(fails(&breaker, 1, Fault::Said, at(3_000)), None);
    breaker.turn(caller(1), at(4_000)).expect("again after a pause").worked();
}

#[test]
fn callers_that_are_told_apart_are_bounded() {
    let (breaker, mut now) = (Breaker::default(), Instant::now());
    for n in 0..100 {
        fails(&breaker, n, Fault::Said, now);
        now += LONGEST_PAUSE;
    }
    assert_eq!(breaker.0.lock().callers.len(), MAX_CALLERS);
}
