//! Sizes that a reader can hold: files, functions, and what functions are given.

use super::doc_lines::sources;
use std::path::Path;

/// Lines of a file at most.
const FILE: usize = 500;
/// Lines of a function at most, and what nine of ten have at most.
const FUNCTION: usize = 100;
const MOST_FUNCTIONS: usize = 25;
/// Parameters of a function at most, its receiver aside; each part of a tuple that is taken apart in their list is one.
const PARAMETERS: usize = 5;

/// A function outside of tests, as rustfmt writes it.
struct Function {
    name: String,
    lines: usize,
    parameters: usize,
}

#[test]
fn files_and_functions_fit_a_reader() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 200, "sources are read");
    let (mut wrong, mut lengths) = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(file).expect("a source");
        let name = file.strip_prefix(&src).expect("below").display();
        if text.lines().count() > FILE {
            wrong.push(format!("{name} has more than {FILE} lines"));
        }
        for function in functions(&text) {
            if function.lines > FUNCTION || function.parameters > PARAMETERS {
                let Function { name: of, lines, parameters } = &function;
                wrong.push(format!("{name}: `{of}` has {lines} lines and {parameters} parameters"));
            }
            lengths.push(function.lines);
        }
    }
    lengths.sort_unstable();
    assert!(lengths.len() > 1_000, "functions are read");
    assert!(wrong.is_empty(), "at most {FUNCTION} lines, at most {PARAMETERS} parameters:\n{}", wrong.join("\n"));
    assert!(lengths[lengths.len() * 9 / 10] <= MOST_FUNCTIONS, "too many functions are long");
}

#[test]
fn what_is_too_large_is_seen() {
    let text = "
impl Cat {
    pub(super) async fn eat<F: Fn(u8) -> Vec<u8>>(
        &mut self,
        (fish, milk): (Fish, Option<(u8, Milk)>),
        how: F,
    ) -> bool {
        true
    }

    fn nap(&self) {}
}

fn begin(cat: &Cat) -> Result<(u8, u8), Error>
where
    Cat: Tired,
{
    cat.nap()
}

trait Pet {
    fn call(&self, name: &str);
}

#[cfg(test)]
mod tests {
    fn a(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8) {}
}
";
    let found: Vec<_> = functions(text).into_iter().map(|f| (f.name, f.lines, f.parameters)).collect();
    let wanted = [("eat", 7, 3), ("nap", 1, 0), ("begin", 6, 1), ("call", 1, 1)];
    assert_eq!(found, wanted.map(|(name, lines, parameters)| (name.to_owned(), lines, parameters)));
}

fn functions(text: &str) -> Vec<Function> {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let begins = lines.iter().enumerate().filter_map(|(at, line)| Some((at, name(line)?)));
    begins
        .map(|(at, name)| Function { name, lines: length(&lines[at..]), parameters: parameters(&lines[at..]) })
        .collect()
}

/// The name of the function that begins in a line, if one does.
fn name(line: &str) -> Option<String> {
    let (before, after) = line.split_once("fn ")?;
    let words = ["pub", "pub(crate)", "pub(super)", "async", "const"];
    let begins = before.split_whitespace().all(|word| words.contains(&word));
    let name: String = after.chars().take_while(|sign| sign.is_alphanumeric() || *sign == '_').collect();
    (begins && !name.is_empty()).then_some(name)
}

/// Lines up to the brace that closes a function, which stands as far to the right as its beginning.
fn length(lines: &[&str]) -> usize {
    if lines[0].ends_with([';', '}']) {
        return 1;
    }
    let indent = lines[0].len() - lines[0].trim_start().len();
    let ends = |line: &&str| {
        line.len() > indent && line[..indent].trim().is_empty() && &line[indent..] == "}"
            || line.len() > indent && line[indent..].starts_with(')') && line.ends_with(';')
    };
    lines.iter().position(ends).map_or(lines.len(), |end| end + 1)
}

/// How many parameters a function has, its receiver aside.
fn parameters(lines: &[&str]) -> usize {
    let text = lines[..length(lines)].join(" ");
    let text = text.split_once("fn ").map_or("", |(_, text)| text);
    let (mut depth, mut count, mut parameter) = (0_i32, 0, String::new());
    let mut of = |parameter: &mut String| {
        let parameter = std::mem::take(parameter);
        let pattern = parameter.split(": ").next().unwrap_or_default().trim().to_owned();
        count += match pattern.strip_prefix('(') {
            Some(parts) => parts.split(',').filter(|part| !part.trim_matches([' ', ')']).is_empty()).count(),
            None if pattern.is_empty() || pattern.ends_with("self") => 0,
            None => 1,
        };
    };
    // Generic parameters come before the list, and may have lists of their own.
    let text = text.replace("->", "  ");
    for sign in text.chars() {
        let closes = matches!(sign, ')' | '>' | ']');
        depth -= i32::from(closes);
        match (sign, depth) {
            (')', 0) => break,
            (',', 1) => of(&mut parameter),
            ('(', 0) | ('<', 0) | ('>', 0) => parameter.clear(),
            (_, 1..) => parameter.push(sign),
            _ => {}
        }
        depth += i32::from(matches!(sign, '(' | '<' | '['));
    }
    of(&mut parameter);
    count
}
