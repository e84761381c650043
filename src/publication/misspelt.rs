//! Parameters of a publication that mean nothing and were meant for something. Others are left to whoever put them there. Pure.
//!
//! A misspelt `ttl` or `maxlen` would be kept from doing what it says, and nobody would be told.

use crate::problem::Problem;

/// Parameters of a single publication, beside `field.NAME`.
const KNOWN: [&str; 7] = ["event", "retry", "final", "traceparent", "maxlen", "ttl", "subscribers"];
/// Letters that may be wrong, missing, too many or swapped in what was meant for a known name; of so many letters one may be.
const NEAR: usize = 2;
const LETTERS_FOR_EACH: usize = 3;

/// Why a parameter is not taken: the second half of a line that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Misspelt {
    #[error("unknown parameter; is {0} meant?")]
    Like(&'static str),
    #[error("unknown parameter; a key is the header Idempotency-Key")]
    Key,
}

/// Refuses the first parameter that nothing is called, but something nearly is.
pub fn refuse(query: &str) -> Result<(), Problem> {
    form_urlencoded::parse(query.as_bytes()).try_for_each(|(name, value)| match meant(&name) {
        Some(why) => Err(Problem::bad_parameter(&name, &value, why)),
        None => Ok(()),
    })
}

fn meant(name: &str) -> Option<Misspelt> {
    if KNOWN.contains(&name) {
        return None;
    }
    if matches!(name, "key" | "idempotency-key" | "idempotency_key") {
        return Some(Misspelt::Key);
    }
    nearest(name, KNOWN).map(Misspelt::Like)
}

/// Which of the `known` names was meant by one that is none of them; the first of those that are equally near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = NEAR.min(name.len() / LETTERS_FOR_EACH);
    let distances = known.into_iter().map(|known| (strsim::damerau_levenshtein(known, name), known));
    let near = distances.filter(|(distance, _)| *distance <= most);
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_a_parameter_is_refused_by_its_name() {
        for (query, why) in [
            ("tll=1h", "tll=\"1h\": unknown parameter; is ttl meant?"),
            ("event=a&maxlne=5", "maxlne=\"5\": unknown parameter; is maxlen meant?"),
            ("events=a", "events=\"a\": unknown parameter; is event meant?"),
            ("Final=1", "Final=\"1\": unknown parameter; is final meant?"),
            ("subscriber=1", "subscriber=\"1\": unknown parameter; is subscribers meant?"),
            ("key=7", "key=\"7\": unknown parameter; a key is the header Idempotency-Key"),
        ] {
            let problem = refuse(query).unwrap_err();
            assert_eq!(problem.detail, why);
        }
        let others = ["", "event=a&retry=1&final=0&traceparent=x&maxlen=1&ttl=1h&subscribers=1&field.evnt=x"];
        for query in others.into_iter().chain(["access_token=t&token=t&_=17&utm_source=x&v=2&to=a&id=3&title=x"]) {
            assert_eq!(refuse(query), Ok(()), "{query}");
        }
    }
}
