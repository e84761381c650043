//! Doc lines stand alone: hover and search show each one by itself, so none begins by pointing at another.

use std::path::{Path, PathBuf};

/// Beginnings that say nothing alone.
const OPENINGS: [&str; 6] =
    ["See the module", "The same ", "It does.", "What few have.", "For adding to it.", "The table."];

#[test]
fn no_doc_begins_by_pointing_elsewhere() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 200, "sources are read");
    for file in files {
        let name = file.strip_prefix(&src).expect("below").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a source");
        let found = openings(&text);
        assert!(found.is_empty(), "{name}: name the subject instead: {found:?}");
    }
}

#[test]
fn what_points_elsewhere_is_seen() {
    let text = "/// A cat.\n/// The same again.\nstruct Cat;\n    /// The same, black.\n    fn black() {}\n/// See the module.\n";
    assert_eq!(openings(text), ["The same, black.", "See the module."]);
}

/// First lines of docs that begin so.
fn openings(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let doc = line.trim_start().strip_prefix("/// ");
        if let Some(doc) = doc.filter(|_| !inside)
            && OPENINGS.iter().any(|opening| doc.starts_with(opening.trim_end()))
        {
            found.push(doc);
        }
        inside = line.trim_start().starts_with("///");
    }
    found
}

pub fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}
