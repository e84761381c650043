//! Which file of the product uses which: read from `use` lines and from paths, as far as the layers need it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Arrows from a module to those that it uses; a module is a file, named by its path below `src`.
pub type Arrows = BTreeMap<String, BTreeSet<String>>;

/// What one file says.
#[derive(Default)]
struct Said {
    /// Paths that are used, each as its names.
    uses: Vec<Vec<String>>,
    /// Paths that are given on to others, by the name under which they are.
    exports: BTreeMap<String, Vec<String>>,
}

/// Reads all files below a folder.
pub fn arrows(src: &Path) -> Arrows {
    let mut said = BTreeMap::new();
    read(src, src, &mut said);
    let resolver = Resolver(&said);
    said.iter()
        .map(|(module, file)| {
            let targets = file.uses.iter().filter_map(|path| resolver.target(module, path));
            (module.clone(), targets.filter(|target| target != module).collect())
        })
        .collect()
}

fn read(folder: &Path, src: &Path, said: &mut BTreeMap<String, Said>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, src, said);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(src).expect("below").with_extension("").to_string_lossy().into_owned();
            let name = name.strip_suffix("/mod").unwrap_or(&name).to_owned();
            if !name.ends_with("tests") && name != "lib" && name != "main" {
                said.insert(name, parse(&std::fs::read_to_string(&path).expect("a source")));
            }
        }
    }
}

/// Words and signs, without comments, texts and what is for tests alone.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut left = text;
    while let Some(first) = left.chars().next() {
        let length = match first {
            '/' if left.starts_with("//") => left.find('\n').unwrap_or(left.len()),
            '"' => text_length(left),
            'r' if left.starts_with("r\"") || left.starts_with("r#") => raw_length(left),
            '\'' if left[1..].starts_with('\\') => left[3..].find('\'').map_or(left.len(), |end| end + 4),
            '\'' if left.chars().nth(2) == Some('\'') => left.char_indices().nth(3).map_or(left.len(), |(at, _)| at),
            _ if first.is_alphanumeric() || first == '_' => {
                let end = left.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(left.len());
                words.push(left[..end].to_owned());
                end
            }
            ':' if left.starts_with("::") => {
                words.push("::".into());
                2
            }
            _ => {
                if !first.is_whitespace() {
                    words.push(first.into());
                }
                first.len_utf8()
            }
        };
        left = &left[length..];
    }
    without_tests(words)
}

fn text_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

fn raw_length(text: &str) -> usize {
    let marks = text[1..].len() - text[1..].trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(marks));
    match text[1 + marks..].starts_with('"') {
        true => text[2 + marks..].find(&end).map_or(text.len(), |at| at + 2 + marks + end.len()),
        false => 1,
    }
}

/// Leaves out each item behind `#[cfg(test)]`.
fn without_tests(words: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        if !words[at..].iter().take(MARK.len()).eq(MARK.iter()) {
            kept.push(words[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        while at < words.len() {
            depth += i32::from(words[at] == "{") - i32::from(words[at] == "}");
            let ends = depth == 0 && (words[at] == "}" || words[at] == ";");
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

fn parse(text: &str) -> Said {
    let words = words(text);
    let mut said = Said::default();
    let mut at = 0;
    while at < words.len() {
        if words[at] == "use" {
            let end = at + words[at..].iter().position(|word| word == ";").expect("a use ends");
            let public = at > 0 && (words[at - 1] == "pub" || words[at - 1] == ")");
            let mut paths = Vec::new();
            tree(&words[at + 1..end], &[], &mut paths);
            for (path, name) in paths {
                if public {
                    said.exports.insert(name, path);
                } else {
                    said.uses.push(path);
                }
            }
            at = end;
        } else if ["crate", "super", "self"].contains(&words[at].as_str()) {
            let mut path = vec![words[at].clone()];
            while words.get(at + 1).is_some_and(|word| word == "::")
                && words.get(at + 2).is_some_and(|word| is_name(word))
            {
                path.push(words[at + 2].clone());
                at += 2;
            }
            if path.len() > 1 {
                said.uses.push(path);
            }
        }
        at += 1;
    }
    said
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The paths of a `use` tree, and the name under which each is known.
fn tree(words: &[String], before: &[String], into: &mut Vec<(Vec<String>, String)>) {
    let mut depth = 0;
    for part in words.split(|word| {
        depth += i32::from(word == "{") - i32::from(word == "}");
        depth == 0 && word == ","
    }) {
        let mut path = before.to_vec();
        match part.iter().position(|word| word == "{") {
            Some(open) => {
                path.extend(part[..open].iter().filter(|word| *word != "::").cloned());
                tree(&part[open + 1..part.len() - 1], &path, into);
            }
            None => {
                let renamed = part.iter().position(|word| word == "as");
                path.extend(part[..renamed.unwrap_or(part.len())].iter().filter(|word| *word != "::").cloned());
                if let Some(last) = part.last() {
                    into.push((path, last.clone()));
                }
            }
        }
    }
}

struct Resolver<'a>(&'a BTreeMap<String, Said>);

impl Resolver<'_> {
    /// The file that defines what a path names; what is given on is followed to where it comes from.
    fn target(&self, module: &str, path: &[String]) -> Option<String> {
        let (mut file, mut rest) = self.file(module, path)?;
        // As many steps as anybody takes.
        for _ in 0..8 {
            let next = rest.first().and_then(|name| self.0[&file].exports.get(name));
            let Some((found, left)) = next.and_then(|path| self.file(&file, path)) else { break };
            (file, rest) = (found, left);
        }
        Some(file)
    }

    /// The longest beginning of a path that is a file, and what is left of it.
    fn file(&self, module: &str, path: &[String]) -> Option<(String, Vec<String>)> {
        let mut base: Vec<&str> = module.split('/').collect();
        let mut names = path;
        match path.first()?.as_str() {
            "crate" => {
                base.clear();
                names = &path[1..];
            }
            "self" => names = &path[1..],
            "super" => {
                while names.first().is_some_and(|name| name == "super") {
                    base.pop();
                    names = &names[1..];
                }
            }
            // A module's own child, or somebody else's crate.
            child if self.0.contains_key(&format!("{module}/{child}")) => {}
            _ => return None,
        }
        let whole: Vec<&str> = base.iter().copied().chain(names.iter().map(String::as_str)).collect();
        let found = (1..=whole.len()).rev().find(|length| self.0.contains_key(&whole[..*length].join("/")))?;
        Some((whole[..found].join("/"), whole[found..].iter().map(|name| (*name).to_owned()).collect()))
    }
}
