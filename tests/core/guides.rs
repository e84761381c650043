//! The pages in docs/, examples/ and their like: what they name exists, where they link to is a file, and what they say to
//! type into a shell works against a node and a Redis.

use crate::support::node::Node;
use crate::support::redis::Redis;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages: path and text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
        .iter()
        .map(|name| root().join(name))
        .filter(|path| path.exists())
        .collect();
    let mut folders = ["clients", "docs", "examples", "findings", "helm", "k6", "loadtest", "tests"]
        .map(|name| root().join(name))
        .to_vec();
    // What the examples' own tools install and build.
    let foreign = ["node_modules", ".venv", "target", "dist"].map(std::ffi::OsStr::new);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.extension() {
                _ if entry.is_dir() && entry.file_name().is_some_and(|name| foreign.contains(&name)) => {}
                _ if entry.is_dir() => folders.push(entry),
                Some(extension) if extension == "md" => found.push(entry),
                _ => {}
            }
        }
    }
    assert!(found.len() > 8, "{found:?}");
    found.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("a page"))).collect()
}

/// Text outside of code blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

#[test]
fn links_lead_to_files() {
    for (path, text) in pages() {
        for target in prose(&text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().expect("a first part");
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let file = path.parent().expect("a folder").join(file);
            assert!(file.exists(), "{} links to {target}", path.display());
        }
    }
}

#[test]
fn metrics_that_are_named_exist() {
    let node = Node::start(&[]);
    let text = node.page("/metrics").text();
    let exist: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for (path, page) in pages() {
        // Recording rules are `job:metric:how`, and no metrics of a node.
        let words = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
        for word in words.map(|word| word.trim_end_matches(':')) {
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
            let named = word.starts_with("fantail_") && !word.ends_with('_');
            assert!(!named || exist.contains(name) || exist.contains(word), "{} names {word}", path.display());
        }
    }
}

/// The shell blocks of a page.
fn shell_blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join(page)).expect("a page");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line == "```sh") {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
    }
    blocks
}

#[test]
fn what_producers_are_told_to_type_arrives() {
    let redis = Redis::start();
    let node = Node::on(&redis, &["--publish", "on"]);
    let blocks = shell_blocks("docs/producing.md");
    assert!(blocks.len() >= 4, "{blocks:?}");
    // Keys need Redis 8.6, or no Redis at all.
    let alone = Node::start(&[]);
    let streams = [&node, &alone].map(|node| node.subscribe("/events?channels=orders,job.17&envelope=1"));
    let [mut stream, mut other] = streams;
    for block in &blocks {
        let keyed = block.contains("Idempotency-Key");
        let (node, stream) = if keyed { (&alone, &mut other) } else { (&node, &mut stream) };
        let block = block
            .replace("redis-cli ", &format!("redis-cli -e -p {} ", redis.port()))
            .replace("127.0.0.1:8080", &node.listen.to_string());
        let output = Command::new("bash").args(["-euo", "pipefail", "-c", &block]).output().expect("bash");
        assert!(output.status.success(), "{block}: {}", String::from_utf8_lossy(&output.stderr));
        let event: serde_json::Value = serde_json::from_str(&stream.next().data).expect("an envelope");
        let data = event["data"].as_str().expect("text");
        assert!(block.contains(data), "{block} gave {event}");
    }
}
