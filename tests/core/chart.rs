//! The chart's settings against the binary: a flag that the chart lacks fails here; `tests/run chart` compares their values, too.

use crate::support::program;
use std::collections::BTreeSet;

const SCHEMA: &str = include_str!("../../helm/values.schema.json");

/// `--max-connections` as the chart has it: `maxConnections`.
fn camel(flag: &str) -> String {
    let mut parts = flag.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let (head, tail) = part.split_at(1);
        name + &head.to_ascii_uppercase() + tail
    })
}

/// Flags of a node, by its help.
fn flags() -> BTreeSet<String> {
    let output = program::fantail().args(["serve", "--help"]).output().expect("the binary");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text.lines().map(str::trim).filter_map(|line| line.strip_prefix("--"));
    lines.filter_map(|line| line.split(' ').next()).map(camel).collect()
}

#[test]
fn every_flag_is_a_setting_of_the_chart() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("JSON");
    let settings = schema["properties"]["settings"]["properties"].as_object().expect("settings");
    let settings: BTreeSet<String> = settings.keys().cloned().collect();
    assert!(settings.len() > 60 && settings.contains("maxChannelsPerQuery"), "{settings:?}");
    assert_eq!(settings, flags(), "on the left the chart's settings: helm/list_settings.py writes them");
}

#[test]
fn names_of_flags_become_names_of_settings() {
    assert_eq!(["http2-streams", "listen", "tls-cert"].map(camel), ["http2Streams", "listen", "tlsCert"]);
}
