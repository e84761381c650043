use super::*;

fn ask(name: &str, count: usize) -> Ask {
    Ask { channel: Channel::new(name).unwrap(), after: Position::ZERO, count }
}

fn batches_of(asks: &[Ask]) -> Vec<Vec<usize>> {
    batches(asks, &(0..asks.len()).collect::<Vec<_>>())
}

#[test]
fn a_batch_has_one_count_and_no_stream_twice() {
    let mut batches = batches_of(&[ask("a", 1), ask("b", 2), ask("c", 1), ask("a", 1), ask("d", 1)]);
    batches.sort();
    assert_eq!(batches, [vec![0, 2], vec![1], vec![3, 4]]);
    let many: Vec<_> = (0..2500).map(|i| ask(&format!("c{i}"), 1)).collect();
    let mut sizes: Vec<_> = batches_of(&many).iter().map(Vec::len).collect();
    sizes.sort();
    assert_eq!(sizes, [500, 1000, 1000]);
}

#[test]
fn what_was_read_shows_whether_anything_was_removed_before_it() {
    let id = |n| Position::new(n, 0);
    let entries =
        |ids: &[u64]| -> Vec<Entry> { ids.iter().map(|n| Entry { position: id(*n), fields: Vec::new() }).collect() };
    let held = |first: Option<u64>, last| StreamState { first: first.map(id), last: id(last), ..Default::default() };
    let fits =
        |state: StreamState, asked: Position, ids: &[u64]| super::examine::fits(Some(&state), asked, &entries(ids));
    assert!(super::examine::fits(None, id(3), &[]) && !super::examine::fits(None, id(3), &entries(&[4])));
    let asked = id(5).before();
    assert!(fits(held(Some(3), 7), asked, &[5, 6, 7]), "the witness is there");
    assert!(!fits(held(Some(3), 7), asked, &[6, 7]), "deleted before, or trimmed since");
    assert!(!fits(held(Some(3), 7), asked, &[]));
    assert!(fits(held(Some(6), 7), asked, &[6, 7, 8]), "one was added");
    assert!(!fits(held(Some(6), 7), asked, &[7]), "one was trimmed");
    assert!(fits(held(None, 7), asked, &[]) && fits(held(None, 7), asked, &[8]) && !fits(held(None, 7), asked, &[6]));
    assert!(fits(held(Some(3), 4), asked, &[]), "ids went back");
}
