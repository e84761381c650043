//! Any pattern is read or refused; what is read covers by its own labels, and no subject makes more of it.
#![no_main]

use fantail::auth::pattern::{MAX_LENGTH, Pattern, Patterns};
use fantail::channel::Channel;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, Option<&str>, &str)| {
    let (text, subject, name) = input;
    let Ok(channel) = Channel::new(name) else { return };
    let Ok(read) = Pattern::parse(text, subject) else { return };
    assert!(!text.is_empty() && text.len() <= MAX_LENGTH);
    let Some(pattern) = read else {
        assert!(text.contains("{sub}"));
        return;
    };
    let (parts, labels): (Vec<&str>, Vec<&str>) =
        (pattern.as_str().split('.').collect(), channel.as_str().split('.').collect());
    assert_eq!(parts.len(), text.split('.').count(), "a subject is within its label");
    let rest = parts.last() == Some(&"**");
    let fixed = parts.len() - usize::from(rest);
    let begins = labels.len() >= fixed
        && parts[..fixed].iter().zip(&labels).all(|(part, label)| part == label || *part == "*" && !label.is_empty());
    let ends = match rest {
        true => labels.len() > fixed && labels[fixed..] != [""],
        false => labels.len() == fixed,
    };
    assert_eq!(pattern.covers(channel.as_str()), begins && ends, "{text} {name}");
    let list = Patterns::parse([text], subject).expect("the same");
    assert_eq!(list.cover(&channel), begins && ends && !channel.is_reserved());
});
