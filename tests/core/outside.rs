//! Time and chance come from one place each, which may be given from outside, so that a simulation has them in its hand.

use std::path::{Path, PathBuf};

/// Who asks for what by itself, beside tests, and why that may be.
const BY_ITSELF: &[(&str, &str, &str)] = &[
    ("SystemTime::now", "clock.rs", "it is the clock"),
    ("Clock::default()", "backplane/memory/mod.rs", "a memory that is given no clock"),
    ("Outside::default()", "backplane/redis/settings.rs", "who connects to Redis and is given neither"),
    ("Outside::default()", "node.rs", "a node that is given neither"),
    ("Clock::default()", "telemetry/trace/export.rs", "a process's own, which is there before its node"),
    ("Clock::default()", "auth/forward.rs", "`fantail check`, a process of its own"),
    ("Clock::default()", "command/check.rs", "a process of its own"),
    ("Clock::default()", "command/revoke.rs", "a process of its own"),
    ("Clock::default()", "command/token.rs", "a process of its own"),
    ("Random::default()", "auth/key_source.rs", "`fantail check`, which asks once"),
    ("fastrand", "random.rs", "it is the chance"),
    ("fastrand", "backplane/redis/capabilities.rs", "a key of `fantail check`"),
    ("fastrand", "command/tail/follower.rs", "a process of its own"),
    ("fastrand", "http/console/mod.rs", "a word that pages must not guess"),
    ("fastrand", "telemetry/trace/export.rs", "the name of a process, which is there before its node"),
];

#[test]
fn nobody_asks_for_time_or_chance_by_himself() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 200, "sources are read");
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(&src).expect("below").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a source");
        found.extend(asked(&text).into_iter().map(|what| (what, name.clone())));
    }
    let mut expected: Vec<_> = BY_ITSELF.iter().map(|(what, file, _)| (*what, (*file).to_owned())).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "left: who asks by himself; take what is given, or say in BY_ITSELF why not");
}

#[test]
fn who_asks_by_himself_is_seen() {
    let text = "// fastrand\n#[cfg(test)]\nmod tests;\nfn f() { SystemTime::now(); DefaultClock::default(); }\n\
                #[cfg(test)]\nmod tests { Clock::default() }";
    assert_eq!(asked(text), ["SystemTime::now"]);
}

/// What a file asks for outside of its tests and comments.
fn asked(text: &str) -> Vec<&'static str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut asked: Vec<_> = BY_ITSELF.iter().map(|(what, ..)| *what).collect();
    asked.sort_unstable();
    asked.dedup();
    asked.retain(|what| code.iter().any(|line| has_word(line, what)));
    asked
}

/// Whether a line has these words, not as the end of a longer one.
fn has_word(line: &str, what: &str) -> bool {
    line.match_indices(what).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric()))
}

pub fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
            into.push(path);
        }
    }
}
