//! What clients ask for is the same list everywhere: in the node, in configurations of proxies, in the chart, in pages.

use fantail::http::paths::PUBLIC;
use std::path::Path;

/// A file of the repository.
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a path stands in a text, as a whole first segment.
fn names(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let after = text[at + path.len()..].chars().next().unwrap_or(' ');
        !(after.is_alphanumeric() || after == '-' || after == '.')
    })
}

/// A configuration without its comments.
fn said(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(before, _)| before));
    lines.collect::<Vec<_>>().join("\n")
}

fn missing(text: &str) -> Vec<&'static str> {
    PUBLIC.into_iter().filter(|path| !names(text, path)).collect()
}

#[test]
fn every_proxy_that_looks_at_paths_passes_all_on() {
    let folder = root().join("docs/proxies");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let said = said(&text(&path));
        if PUBLIC.iter().any(|public| names(&said, public)) {
            assert_eq!(missing(&said), [""; 0], "{} does not pass these on", path.display());
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen} configurations");
}

#[test]
fn the_chart_routes_all() {
    let template = text(&root().join("helm/templates/_paths.tpl"));
    for path in PUBLIC {
        assert!(template.lines().any(|line| line.ends_with(&format!("path: {path}}}"))), "{path}");
    }
    assert_eq!(template.matches("path: /").count(), PUBLIC.len(), "a path that nodes do not have");
}

#[test]
fn pages_name_all() {
    for page in ["docs/proxies.md", "docs/kubernetes.md"] {
        assert_eq!(missing(&text(&root().join(page))), [""; 0], "{page}");
    }
}

#[test]
fn a_path_that_is_left_out_is_seen() {
    let configuration = "# /history\nlocation /events {\n}\nlocation = /session {\n}";
    assert_eq!(missing(&said(configuration)), ["/history"]);
    assert_eq!(missing("/eventsx /history/ /session;"), ["/events"]);
}
