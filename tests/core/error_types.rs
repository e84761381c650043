//! Errors are types: no function that others call fails with a bare text, which nobody could tell from another one.

use super::doc_lines::sources;
use std::path::Path;

#[test]
fn no_public_function_fails_with_a_text() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 200, "sources are read");
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a source");
        let found = texts(&source);
        assert!(found.is_empty(), "{}: make the error a type, such as thiserror's: {found:?}", file.display());
    }
}

#[test]
fn a_text_for_an_error_is_seen() {
    let text = "
        pub fn a(text: &str) -> Result<Vec<u8>, String> {}
        pub(super) async fn b(
            text: &str,
        ) -> Result<(), String>
        where
            Self: Sized,
        {}
        pub fn c() -> impl Fn(&str) -> Result<u8, String> + Clone {}
        fn own() -> Result<u8, String> {}
        pub fn good(told: Result<u8, String>) -> Result<String, Vec<String>> {}
        type Err = String;
    ";
    let names: Vec<&str> = texts(text).into_iter().map(|found| found.split('(').next().unwrap_or(found)).collect();
    assert_eq!(names, ["pub fn a", "pub", "pub fn c", "type Err = String;"]);
}

/// Beginnings of what fails with a text: public functions, and associated types.
fn texts(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some((line, behind)) = rest.split_once('\n') {
        let begin = line.trim_start();
        let signature = || {
            let from = &rest[rest.len() - rest.trim_start().len()..];
            &from[..from.find(['{', ';']).unwrap_or(from.len())]
        };
        let is_function = begin.starts_with("pub") && begin.contains("fn ");
        if is_function && fails_with_text(signature())
            || ["type Err = String;", "type Error = String;"].contains(&begin)
        {
            found.push(begin);
        }
        rest = behind;
    }
    found
}

/// Whether what a signature returns, or what is returned returns, is a `Result` with a `String` for its error.
fn fails_with_text(signature: &str) -> bool {
    let Some((_, returned)) = signature.split_once("->") else { return false };
    let returned = returned.replace("->", "to");
    returned.match_indices("Result<").any(|(at, name)| last_argument(&returned[at + name.len()..]) == "String")
}

/// The last of some generic arguments, of which the first begins here.
fn last_argument(arguments: &str) -> &str {
    let (mut depth, mut from) = (0, 0);
    for (at, sign) in arguments.char_indices() {
        match sign {
            '<' | '(' | '[' => depth += 1,
            ',' if depth == 0 => from = at + 1,
            '>' if depth == 0 => return arguments[from..at].trim(),
            '>' | ')' | ']' => depth -= 1,
            _ => {}
        }
    }
    ""
}
