//! Channel patterns: which channels a grant covers. Pure; the grammar is in docs/authorization.md and fuzzed.
//!
//! ```text
//! pattern = label *( "." label )          at most 256 bytes
//! label   = "*"                           one label that is not empty
//!         / "**"                          the rest, at least one byte of it; only as the last label
//!         / *( name-byte / "{sub}" )      exactly this
//! ```

use crate::channel::Channel;

/// The longest pattern, in bytes.
pub const MAX_LENGTH: usize = 256;
/// The most patterns of one list.
pub const MAX_PATTERNS: usize = 1_000;
/// Stands for the subject.
const SUBJECT: &str = "{sub}";

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a pattern is empty")]
    Empty,
    #[error("a pattern has {0} bytes; {MAX_LENGTH} are allowed")]
    TooLong(usize),
    #[error("{0} patterns; {MAX_PATTERNS} are allowed")]
    TooMany(usize),
    #[error("pattern {0:?}: * and ** stand for whole labels, and ** for the last")]
    Wildcard(String),
    #[error("pattern {0:?} has a character outside A-Z a-z 0-9 _ . : ~ @ - * and no {{sub}} around it")]
    BadCharacter(String),
}

/// A pattern without placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

/// What a list of patterns covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patterns {
    Everything,
    These(Vec<Pattern>),
}

impl Pattern {
    /// Reads a pattern. `None` where it is one, but its `{sub}` cannot be filled in, so that it covers nothing.
    pub fn parse(text: &str, subject: Option<&str>) -> Result<Option<Pattern>, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_LENGTH {
            return Err(PatternError::TooLong(text.len()));
        }
        let mut labels = text.split('.').peekable();
        while let Some(label) = labels.next() {
            match label {
                "*" => {}
                "**" if labels.peek().is_none() => {}
                _ if label.contains('*') => return Err(PatternError::Wildcard(text.to_owned())),
                _ if !label.replace(SUBJECT, "").bytes().all(is_name_byte) => {
                    return Err(PatternError::BadCharacter(text.to_owned()));
                }
                _ => {}
            }
        }
        if !text.contains(SUBJECT) {
            return Ok(Some(Pattern(text.into())));
        }
        Ok(subject.filter(|subject| fits(subject)).map(|subject| Pattern(text.replace(SUBJECT, subject).into())))
    }

    /// Whether a channel name is covered.
    pub fn covers(&self, channel: &str) -> bool {
        covers(&self.0, channel)
    }

    /// The one channel that it covers, if it has no wildcard.
    pub fn channel(&self) -> Option<Channel> {
        (!self.0.contains('*')).then(|| Channel::new(&self.0).ok())?
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Patterns {
    pub fn nothing() -> Patterns {
        Patterns::These(Vec::new())
    }

    /// Reads a list; one bad pattern spoils it, for nobody knows what was meant.
    pub fn parse<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        subject: Option<&str>,
    ) -> Result<Patterns, PatternError> {
        let mut patterns = Vec::new();
        for (count, text) in texts.into_iter().enumerate() {
            if count == MAX_PATTERNS {
                return Err(PatternError::TooMany(count + 1));
            }
            patterns.extend(Pattern::parse(text, subject)?);
        }
        Ok(Patterns::These(patterns))
    }

    /// The patterns with spaces between them; `None` where they are all that there are.
    pub fn text(&self) -> Option<String> {
        let Patterns::These(patterns) = self else { return None };
        Some(patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(" "))
    }

    /// Whether it covers no channel at all.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Patterns::These(patterns) if patterns.is_empty())
    }

    /// Whether a channel is covered. The cluster's own never are.
    pub fn cover(&self, channel: &Channel) -> bool {
        !channel.is_reserved()
            && match self {
                Patterns::Everything => true,
                Patterns::These(patterns) => patterns.iter().any(|pattern| pattern.covers(channel.as_str())),
            }
    }

    /// These and those.
    pub fn and(self, more: &[Pattern]) -> Patterns {
        match self {
            Patterns::Everything => Patterns::Everything,
            Patterns::These(mut patterns) => {
                patterns.extend_from_slice(more);
                Patterns::These(patterns)
            }
        }
    }
}

/// Whether a pattern's text covers a channel name.
fn covers(pattern: &str, channel: &str) -> bool {
    let mut labels = channel.split('.');
    let mut parts = pattern.split('.');
    loop {
        match (parts.next(), labels.next()) {
            (None, None) => return true,
            (Some("**"), Some(label)) => return !label.is_empty() || labels.next().is_some(),
            (Some("*"), Some(label)) if !label.is_empty() => {}
            (Some(part), Some(label)) if part == label => {}
            _ => return false,
        }
    }
}

/// Whether a channel is covered by patterns that were [written](Patterns::text) with spaces between them.
pub fn text_covers(patterns: &str, channel: &Channel) -> bool {
    !channel.is_reserved() && patterns.split_ascii_whitespace().any(|pattern| covers(pattern, channel.as_str()))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_:~@-".contains(&byte)
}

/// A subject with a dot would be several labels, so that `user.{sub}.**` of one user would cover another's.
fn fits(subject: &str) -> bool {
    !subject.is_empty() && subject.bytes().all(is_name_byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(pattern: &str, channel: &str) -> bool {
        Pattern::parse(pattern, Some("alice")).unwrap().is_some_and(|pattern| pattern.covers(channel))
    }

    #[test]
    fn what_patterns_cover() {
        for (pattern, yes, no) in [
            ("orders", &["orders"][..], &["order", "orders.1", "Orders", "orders."][..]),
            ("orders.*", &["orders.1", "orders.new"], &["orders", "orders.", "orders.1.2", "xorders.1", "orders.1."]),
            ("*.orders", &["eu.orders"], &["orders", ".orders", "a.eu.orders", "eu.orders.1"]),
            ("orders.**", &["orders.1", "orders.1.2", "orders.1.", "orders..1"], &["orders", "orders.", "ordersx.1"]),
            ("a.*.c", &["a.b.c"], &["a.c", "a..c", "a.b.b.c"]),
            ("**", &["a", "a.b.c", ".a"], &[]),
            ("*", &["a"], &["a.b"]),
            ("user.{sub}", &["user.alice"], &["user.bob", "user.alice.x", "user.{sub}"]),
            ("user.{sub}.**", &["user.alice.x"], &["user.alice", "user.bob.x", "user.alicex.y"]),
            ("u-{sub}-x", &["u-alice-x"], &["u--x"]),
            ("a..b", &["a..b"], &["a.x.b"]),
        ] {
            yes.iter().for_each(|channel| assert!(covers(pattern, channel), "{pattern} {channel}"));
            no.iter().for_each(|channel| assert!(!covers(pattern, channel), "{pattern} {channel}"));
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for text in ["a*", "*a", "a.b*.c", "**.a", "a.**.b", "***", "a.***", "{sub}*"] {
            assert_eq!(Pattern::parse(text, Some("s")), Err(PatternError::Wildcard(text.into())), "{text}");
        }
        for text in ["a b", "a,b", "ü", "{", "{user}", "{sub", "sub}", "a\n", "{{sub}}", "a/b"] {
            assert_eq!(Pattern::parse(text, Some("s")), Err(PatternError::BadCharacter(text.into())), "{text}");
        }
        assert_eq!(Pattern::parse("", None), Err(PatternError::Empty));
        assert_eq!(Pattern::parse(&"x".repeat(257), None), Err(PatternError::TooLong(257)));
        let many = vec!["a"; MAX_PATTERNS + 1];
        assert_eq!(Patterns::parse(many, None), Err(PatternError::TooMany(MAX_PATTERNS + 1)));
    }

    #[test]
    fn a_subject_cannot_make_more_of_a_pattern_than_it_is() {
        for subject in [None, Some(""), Some("a.b"), Some("*"), Some("**"), Some("a b"), Some("ü"), Some("{sub}")] {
            assert_eq!(Pattern::parse("user.{sub}.**", subject), Ok(None), "{subject:?}");
        }
    }

    #[test]
    fn the_clusters_own_channels_are_never_covered() {
        let control = Channel::new("~control").unwrap();
        assert!(!Patterns::Everything.cover(&control));
        assert!(!Patterns::parse(["**", "~control", "*"], None).unwrap().cover(&control));
    }

    /// The grammar once more, by recursion over labels.
    fn reference(parts: &[&str], labels: &[&str]) -> bool {
        match parts {
            [] => labels.is_empty(),
            ["**"] => !labels.is_empty() && !labels.join(".").is_empty(),
            [part, parts @ ..] => match labels {
                [label, labels @ ..] if (*part == "*" && !label.is_empty()) || part == label => {
                    reference(parts, labels)
                }
                _ => false,
            },
        }
    }

    proptest! {
        #[test]
        fn covering_is_what_the_grammar_says(
            pattern in prop::collection::vec("[ab]{0,2}|\\*|\\*\\*", 1..5),
            channel in "[ab.]{1,8}",
        ) {
            let (text, labels) = (pattern.join("."), channel.split('.').collect::<Vec<_>>());
            let parts: Vec<&str> = pattern.iter().map(String::as_str).collect();
            if let Ok(pattern) = Pattern::parse(&text, None) {
                prop_assert_eq!(pattern.expect("no placeholder").covers(&channel), reference(&parts, &labels));
            } else {
                prop_assert!(text.is_empty() || parts[..parts.len() - 1].contains(&"**"));
            }
        }

        #[test]
        fn a_pattern_without_wildcards_covers_its_own_name_alone(name in "[a-c.~:]{1,6}", other in "[a-c.~:]{1,6}") {
            let pattern = Pattern::parse(&name, None).unwrap().unwrap();
            prop_assert!(pattern.covers(&name));
            prop_assert_eq!(pattern.covers(&other), name == other);
        }

        #[test]
        fn any_subject_fills_one_label_or_nothing(subject in "\\PC{0,10}", channel in "[a-z.*]{0,10}") {
            if let Some(pattern) = Pattern::parse("u.{sub}.x", Some(&subject)).unwrap() {
                prop_assert_eq!(pattern.as_str().split('.').count(), 3);
                let wild = pattern.as_str().contains(['*', '{']);
                prop_assert!(!wild);
                let channel = format!("u.{channel}.x");
                prop_assert_eq!(pattern.covers(&channel), channel == format!("u.{subject}.x"));
            }
        }
    }
}
