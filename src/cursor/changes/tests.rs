use super::*;
use crate::cursor::name_hash;

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn written(form: Form, legs: &[(Channel, Position)], changes: &Changes) -> String {
    let mut out = Vec::new();
    let places = legs.iter().map(|(channel, at)| Place { channel, hash: name_hash(channel), at: *at });
    write_changed(&mut out, form, places, changes);
    String::from_utf8(out).unwrap()
}

fn legs(names: &[&str]) -> Vec<(Channel, Position)> {
    names.iter().enumerate().map(|(n, name)| (channel(name), Position::new(1_000 + n as u64, n as u64))).collect()
}

/// `news` was left, `room` joined, and `late` was, but has no place yet.
fn changes() -> Changes {
    let mut changes = Changes::none(Position::new(9, 1));
    changes.leave(&channel("news"));
    changes.join(&channel("room"), None);
    changes.join(&channel("late"), Some(Since::Time(77)));
    changes
}

#[test]
fn both_forms_carry_changes_by_name_behind_the_places() {
    let text = written(Form::Vector, &legs(&["orders", "room"]), &changes());
    assert_eq!(text, "orders=1000-0,+room=1001-1,+late=77,-news,~control=9-1");
    let five = legs(&["0", "1", "2", "3", "4", "room"]);
    let compact = written(Form::Compact, &five, &changes());
    let (base, rest) = compact.split_once(',').unwrap();
    assert_eq!(rest, "+room=1005-5,+late=77,-news,~control=9-1");
    assert!(matches!(Cursor::parse(base), Some(Cursor::Compact(legs)) if legs.len() == 5));
    for (text, legs) in [(text, legs(&["orders", "room"])), (compact, five)] {
        let cursor = Cursor::parse(&text).unwrap();
        assert_eq!(cursor.changes(), Some(&changes()), "{text}");
        assert!(legs.iter().all(|(channel, at)| cursor.position_of(channel, false) == Some(*at)), "{text}");
        assert_eq!((cursor.position_of(&channel("late"), true), cursor.positions().len()), (None, legs.len()));
    }
}

#[test]
fn a_set_may_be_empty_or_have_joined_channels_alone() {
    for (names, text) in [(&[][..], "-news,~control=9-1"), (&["room"], "+room=1000-0,-news,~control=9-1")] {
        let mut changes = Changes::none(Position::new(9, 1));
        changes.leave(&channel("news"));
        names.iter().for_each(|name| changes.join(&channel(name), None));
        assert_eq!(written(Form::Compact, &legs(names), &changes), text);
        assert_eq!(Cursor::parse(text).unwrap().changes(), Some(&changes));
    }
    let none = Changes::none(Position::new(9, 1));
    assert_eq!(written(Form::Vector, &legs(&["-a"]), &none), "-a=1000-0,~control=9-1");
    let cursor = Cursor::parse("-a=1000-0,~control=9-1").unwrap();
    assert_eq!(
        (cursor.changes(), cursor.position_of(&channel("-a"), false)),
        (Some(&none), Some(Position::new(1_000, 0)))
    );
}

#[test]
fn what_comes_back_or_goes_again_is_no_change() {
    let mut changes = changes();
    changes.join(&channel("news"), Some(Since::Behind(Position::new(80, 1))));
    assert!(written(Form::Vector, &[], &changes).contains("+late=77,+news=80-1,"));
    assert_eq!(
        (changes.left(), changes.awaited_since(&channel("news")).map(Since::after)),
        (&[][..], Some(Position::new(80, 1)))
    );
    changes.begun(&channel("news"));
    changes.leave(&channel("late"));
    changes.leave(&channel("room"));
    assert_eq!(changes, Changes::none(Position::new(9, 1)));
}

#[test]
fn changes_take_no_more_than_an_id_has_room_for() {
    let name = |n: usize| channel(&format!("{n:0>200}"));
    // One without a place yet stands in an id once, as one that has its place.
    for since in [None, Some(Since::Time(77))] {
        let mut changes = Changes::none(Position::MAX);
        let many = (0..).find(|n| {
            let room = changes.has_room_for(&name(*n));
            if room {
                changes.join(&name(*n), since);
            }
            !room
        });
        assert_eq!(many, Some(12), "{since:?}");
        changes.joined().to_vec().iter().for_each(|channel| changes.begun(channel));
        let legs: Vec<_> = changes.joined().iter().map(|channel| (channel.clone(), Position::MAX)).collect();
        assert_eq!(written(Form::Vector, &legs, &changes).len(), 12 * 244 + 50);
    }
}

#[test]
fn foreign_texts() {
    for text in [
        "~control=1-0",
        ",~control=1-0",
        "a=1-0,~control=1",
        "a=1-0,~control=",
        "a=1-0,+b,~control=1-0",
        "a=1-0,+b=x,~control=1-0",
        "a=1-0,+~b=1-0,~control=1-0",
        "a=1-0,-,~control=1-0",
        "a=1-0,+b=1-0,+b=2,~control=1-0",
        "a=1-0,+b=1-0,-b,~control=1-0",
        "a=1-0,-b,c=1-0,~control=1-0",
        "1-0,-b,~control=1-0",
        "AQ,-b,~control=1-0",
        "a=1-0,+b=2-0",
    ] {
        assert_eq!(Cursor::parse(text).and_then(|cursor| cursor.changes().cloned()), None, "{text:?}");
    }
}
