//! Nodes run on Linux. What other systems do not have stands behind `cfg(target_os = "linux")`, so that a developer's machine
//! of another kind can build the rest.

use crate::outside::sources;
use crate::support::node::Node;
use std::path::Path;

/// Names that only Linux has, in its own calls and in the crates that we use.
const LINUX: [&str; 8] = [
    "memfd_create",
    "MemfdFlags",
    "sendfile(",
    "set_tcp_user_timeout",
    "ProcessCollector",
    "os::linux",
    "eventfd(",
    "transparent_huge_pages",
];

#[test]
fn what_only_linux_has_stands_behind_cfg() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 200, "sources are read");
    let mut seen = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let (guarded, bare) = uses(&text);
        seen += guarded;
        let name = file.strip_prefix(&src).expect("below");
        assert!(bare.is_empty(), "{}: put it behind cfg(target_os = \"linux\"): {bare:?}", name.display());
    }
    assert!(seen >= 4, "{seen} uses are seen");
}

#[test]
fn what_stands_bare_is_seen() {
    let guarded = "#[cfg(target_os = \"linux\")]\nfn f() {\n    sendfile(a, b);\n}\n// sendfile(\n";
    assert_eq!(uses(guarded), (1, vec![]));
    let bare = "#[cfg(target_os = \"linux\")]\nuse a::sendfile;\nfn f() {\n    sendfile(a, b);\n}\n";
    assert_eq!(uses(bare), (0, vec!["sendfile(a, b);"]));
}

#[test]
fn a_node_gives_freed_memory_back_at_once_unless_it_is_told_otherwise() {
    let delay = |node: &Node| node.variable("MIMALLOC_PURGE_DELAY").expect("it is set");
    assert_eq!(delay(&Node::start(&[])), "0");
    assert_eq!(delay(&Node::with(&[], &[("MIMALLOC_PURGE_DELAY", "70")])), "70");
}

#[test]
fn a_node_declines_huge_pages() {
    assert!(!Node::start(&[]).may_have_huge_pages());
}

/// How many lines with such a name stand in an item or statement behind `cfg`, and the lines that do not.
fn uses(text: &str) -> (usize, Vec<&str>) {
    let (mut guarded, mut bare) = (0, Vec::new());
    // The indent of the item that a `cfg` is of, while it lasts; `Err` before its first line.
    let mut item: Option<Result<usize, ()>> = None;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code.starts_with("//") || code.is_empty() {
            continue;
        }
        if code == "#[cfg(target_os = \"linux\")]" {
            item = Some(Err(()));
            continue;
        }
        if item == Some(Err(())) && !code.starts_with("#[") {
            item = Some(Ok(indent));
        }
        if LINUX.iter().any(|name| code.contains(name)) {
            match item {
                Some(Ok(_)) => guarded += 1,
                _ => bare.push(code),
            }
        }
        // An item ends with the line that closes it, which is as far left as its first.
        if item == Some(Ok(indent)) && code.ends_with(['}', ';']) {
            item = None;
        }
    }
    (guarded, bare)
}
