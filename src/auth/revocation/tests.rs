use super::*;
use crate::position::Position;
use bytes::Bytes;
use proptest::prelude::*;

fn entry(ms: u64, fields: &[(&'static str, &'static str)]) -> Entry {
    let fields = fields.iter().map(|(name, value)| (Bytes::from(*name), Bytes::from(*value))).collect();
    Entry { position: Position::new(ms, 0), fields }
}

fn order(target: &'static str, name: &'static str, until: Option<&'static str>) -> Arc<Disconnect> {
    let mut fields = vec![("disconnect", target), ("name", name)];
    fields.extend(until.map(|until| ("until", until)));
    Arc::new(Disconnect::from_entry(&entry(1_000, &fields), 1_000).unwrap())
}

fn identity(subject: &str, token: &str) -> Identity {
    Identity { subject: Some(subject.into()), token_id: Some(token.into()), ..Identity::default() }
}

#[test]
fn entries_are_read_or_refused() {
    assert_eq!(order("token", "t", None).until_ms, Some(1_000 + TOKEN_MEMORY_MS));
    assert_eq!(order("token", "t", Some("7")).until_ms, Some(7_000));
    assert_eq!(order("subject", "s", None).until_ms, None);
    assert_eq!(order("channel", "c", Some("7")).until_ms, None, "a channel is not kept out");
    let long: &'static str = "x".repeat(257).leak();
    for (fields, part) in [
        (&[("name", "x")][..], "no field disconnect"),
        (&[("disconnect", "token")], "no field name"),
        (&[("disconnect", "tokens"), ("name", "x")], "neither subject"),
        (&[("disconnect", "token"), ("name", "")], "0 bytes"),
        (&[("disconnect", "token"), ("name", long)], "257 bytes"),
        (&[("disconnect", "token"), ("name", "a"), ("name", "b")], "name is given twice"),
        (&[("disconnect", "token"), ("name", "a"), ("until", "soon")], "until is no number"),
    ] {
        let error = Disconnect::from_entry(&entry(1, fields), 1).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_token_stays_out_for_a_day_whatever_its_entrys_id_is() {
    let now = 1_800_000_000_000;
    for (id, made) in [(now - 5_000, now - 5_000), (9_999_999_999_999, now), (5, now), (0, now)] {
        let order = Disconnect::from_entry(&entry(id, &[("disconnect", "token"), ("name", "t")]), now).unwrap();
        assert_eq!(order.until_ms, Some(made + TOKEN_MEMORY_MS), "{id}");
    }
}

#[test]
fn an_order_concerns_whom_it_names() {
    let (alice, channels) = (identity("alice", "t1"), ["orders", "news"]);
    let concerns = |target, name| order(target, name, None).concerns(Some(&alice), channels.iter());
    assert!(concerns("subject", "alice") && concerns("token", "t1") && concerns("channel", "news"));
    assert!(!concerns("subject", "t1") && !concerns("token", "alice") && !concerns("channel", "new"));
    let nobody = |target, name| order(target, name, None).concerns(None, channels.iter());
    assert!(!nobody("subject", "alice") && nobody("channel", "orders"));
}

#[test]
fn who_is_kept_out_is_so_until_its_time() {
    let revocations = Revocations::new(Clock::default());
    let (alice, token): (Arc<str>, Arc<str>) = ("alice".into(), "t".into());
    revocations.add(&order("subject", "alice", Some("10")), 1_000);
    revocations.add(&order("token", "t", Some("20")), 1_000);
    assert!(revocations.bars_at(Some(&alice), None, 9_999) && !revocations.bars_at(Some(&alice), None, 10_000));
    assert!(revocations.bars_at(None, Some(&token), 19_999) && !revocations.bars_at(Some(&token), None, 5_000));
    assert_eq!((revocations.barred(5_000), revocations.barred(15_000), revocations.barred(20_000)), (2, 1, 0));
    revocations.add(&order("token", "t", Some("20")), 1_000);
    revocations.add(&order("token", "t", Some("30")), 1_000);
    assert_eq!((revocations.barred(25_000), revocations.barred(30_000)), (1, 0), "the latest word counts");
    revocations.add(&order("token", "past", Some("30")), 31_000);
    assert_eq!(revocations.barred(0), 0);
}

#[test]
fn who_was_on_its_way_is_found() {
    let revocations = Revocations::new(Clock::default());
    let (alice, orders) = (identity("alice", "t"), [Channel::new("orders").unwrap()]);
    revocations.add(&order("subject", "alice", None), 0);
    let seen = revocations.count();
    assert_eq!(revocations.missed(seen, Some(&alice), &orders), None, "that was before it was admitted");
    revocations.add(&order("subject", "bob", None), 0);
    assert_eq!(revocations.missed(seen, Some(&alice), &orders), None);
    revocations.add(&order("channel", "orders", None), 0);
    assert_eq!(revocations.missed(seen, Some(&alice), &orders), Some(Target::Channel));
    assert_eq!(revocations.missed(seen, None, &orders), Some(Target::Channel));
    assert_eq!(revocations.missed(revocations.count(), None, &orders), None);
    for _ in 0..MAX_RECENT {
        revocations.add(&order("subject", "bob", None), 0);
    }
    assert!(revocations.missed(seen, Some(&alice), &[]).is_some(), "what cannot be told any more is assumed");
    assert_eq!(revocations.missed(revocations.count() - 1, Some(&alice), &orders), None);
}

#[test]
fn the_table_is_bounded() {
    let revocations = Revocations::new(Clock::default());
    for number in 0..MAX_BARRED as u64 + 5 {
        let order =
            Disconnect { target: Target::Token, name: number.to_string().into(), until_ms: Some(1_000 + number) };
        assert_eq!(revocations.add(&Arc::new(order), 0), number >= MAX_BARRED as u64);
    }
    assert_eq!(revocations.barred(0), MAX_BARRED);
    assert!(!revocations.bars_at(None, Some(&"4".into()), 0) && revocations.bars_at(None, Some(&"5".into()), 0));
}

#[test]
fn an_order_does_not_shorten_one_that_lasts_longer() {
    let revocations = Revocations::new(Clock::default());
    let order = |until_ms| Disconnect { target: Target::Subject, name: "s".into(), until_ms: Some(until_ms) };
    for until_ms in [9_000, 5_000, 7_000] {
        revocations.add(&Arc::new(order(until_ms)), 1_000);
    }
    let state = revocations.state.lock();
    assert_eq!(state.barred.values().copied().collect::<Vec<_>>(), [9_000]);
    assert_eq!(state.ends.len(), 1);
}

#[tokio::test]
async fn the_history_is_waited_for_once() {
    let revocations = Arc::new(Revocations::new(Clock::default()));
    let waiting = tokio::spawn({
        let revocations = revocations.clone();
        async move { revocations.known().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    revocations.set_known();
    waiting.await.unwrap();
    revocations.known().await;
}

proptest! {
    #[test]
    fn both_views_of_the_table_stay_the_same(orders in prop::collection::vec((0u8..5, 0u64..50, 0u64..50), 0..60)) {
        let revocations = Revocations::new(Clock::default());
        for (name, until_ms, now_ms) in orders {
            let order = Disconnect { target: Target::Subject, name: name.to_string().into(), until_ms: Some(until_ms) };
            revocations.add(&Arc::new(order), now_ms);
            let state = revocations.state.lock();
            prop_assert_eq!(state.barred.len(), state.ends.len());
            for (until, target, name) in &state.ends {
                prop_assert_eq!(state.barred.get(&(*target, name.clone())), Some(until));
            }
        }
    }
}
