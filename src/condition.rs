//! Conditions on the fields of an entry: what `where=level>=5,team=red` lets through. Pure.
//!
//! A condition is a field's name, an operator and one or more values. The comma joins conditions, and all must hold; `|`
//! separates values of which one is enough. Names and values are percent-encoded where they have one of these signs.

mod number;

use number::Number;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::cmp::Ordering;
use std::fmt;

/// Bytes of a text of conditions at most, as it is given.
pub const MAX_TEXT: usize = 1024;
/// Conditions of a text at most.
pub const MAX_TERMS: usize = 16;

/// Operators as they are written; of those that begin alike the longer one is first.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::NoneOf),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("^=", Operator::Begins),
    ("=", Operator::OneOf),
    ("<", Operator::Below),
    (">", Operator::Above),
];
/// What no name has but in its percent-encoding.
const SIGNS: [char; 6] = ['=', '!', '<', '>', '^', '|'];

/// Conditions that must all hold.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Conditions(Box<[Condition]>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Condition {
    name: Box<str>,
    operator: Operator,
    values: Box<[Value]>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Value {
    text: Box<str>,
    number: Option<Number>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operator {
    OneOf,
    NoneOf,
    Begins,
    Below,
    AtMost,
    AtLeast,
    Above,
}

/// Why a text means no conditions: the second half of a line that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    #[error("longer than {MAX_TEXT} bytes")]
    LongText,
    #[error("more than {MAX_TERMS} conditions")]
    ManyTerms,
    #[error("condition {0} has no operator: =, !=, <, <=, >, >= or ^=")]
    NoOperator(usize),
    #[error("condition {0} has no field's name before its operator")]
    NoName(usize),
    #[error("condition {0} has `{1}` where it must be percent-encoded")]
    Sign(usize, char),
    #[error("condition {0} has several values for an order, which takes one")]
    SeveralValues(usize),
    #[error("condition {0} is not UTF-8 once it is decoded")]
    NotUtf8(usize),
    #[error("condition {0} is about data or traceparent, which conditions do not look into")]
    NoField(usize),
}

impl Conditions {
    /// Reads `level>=5,team=red|blue,path^=/eu/`.
    ///
    /// # Errors
    /// The [`ConditionError`] counts conditions from 1.
    pub fn parse(text: &str) -> Result<Conditions, ConditionError> {
        if text.len() > MAX_TEXT {
            return Err(ConditionError::LongText);
        }
        if text.split(',').count() > MAX_TERMS {
            return Err(ConditionError::ManyTerms);
        }
        let conditions = text.split(',').zip(1..).map(|(term, number)| Condition::parse(term, number));
        Ok(Conditions(conditions.collect::<Result<_, _>>()?))
    }

    /// A text that [`parse`](Conditions::parse) reads as these: two that are the same have the same.
    pub fn text(&self) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let term = |condition: &Condition| {
            let sign =
                OPERATORS.iter().find(|(_, operator)| *operator == condition.operator).map_or("", |(sign, _)| sign);
            let values: Vec<String> = condition.values.iter().map(|value| encoded(&value.text)).collect();
            format!("{}{sign}{}", encoded(&condition.name), values.join("|"))
        };
        self.0.iter().map(term).collect::<Vec<_>>().join(",")
    }

    /// Both these and others, where there are any: neither widens the other.
    pub fn and(one: Option<Conditions>, other: Option<Conditions>) -> Option<Conditions> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Conditions(one.0.into_iter().chain(other.0).collect())),
            (one, other) => one.or(other),
        }
    }

    /// Whether all hold of a record, whose fields `field` gives by name.
    pub fn hold<'a>(&self, field: impl Fn(&str) -> Option<&'a [u8]>) -> bool {
        self.0.iter().all(|condition| field(&condition.name).is_some_and(|value| condition.holds(value)))
    }
}

impl Condition {
    fn parse(term: &str, number: usize) -> Result<Condition, ConditionError> {
        let signs = |c: char| SIGNS.contains(&c);
        let at = term.find(signs).ok_or(ConditionError::NoOperator(number))?;
        let (name, rest) = term.split_at(at);
        let found = OPERATORS.iter().find_map(|(sign, operator)| Some((rest.strip_prefix(sign)?, *operator)));
        let (values, operator) = found.ok_or(ConditionError::NoOperator(number))?;
        if name.is_empty() {
            return Err(ConditionError::NoName(number));
        }
        let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(Box::from(text)),
            Err(_) => Err(ConditionError::NotUtf8(number)),
        };
        let value = |text: &str| match text.find(|c| c != '|' && signs(c)) {
            Some(sign) => Err(ConditionError::Sign(number, text[sign..].chars().next().unwrap_or('='))),
            None => decoded(text).map(Value::of),
        };
        let values: Box<[Value]> = values.split('|').map(value).collect::<Result<_, _>>()?;
        let name: Box<str> = decoded(name)?;
        let orders = matches!(operator, Operator::Below | Operator::AtMost | Operator::AtLeast | Operator::Above);
        if orders && values.len() > 1 {
            return Err(ConditionError::SeveralValues(number));
        }
        if ["data", "traceparent"].contains(&&*name) {
            return Err(ConditionError::NoField(number));
        }
        Ok(Condition { name, operator, values })
    }

    fn holds(&self, value: &[u8]) -> bool {
        let number = std::cell::LazyCell::new(|| Number::parse(value));
        let compared = |to: &Value| match (&*number, &to.number) {
            (Some(number), Some(to)) => number.cmp(to),
            _ => value.cmp(to.text.as_bytes()),
        };
        let any = |test: fn(Ordering) -> bool| self.values.iter().any(|to| test(compared(to)));
        match self.operator {
            Operator::OneOf => any(Ordering::is_eq),
            Operator::NoneOf => !any(Ordering::is_eq),
            Operator::Below => any(Ordering::is_lt),
            Operator::AtMost => any(Ordering::is_le),
            Operator::AtLeast => any(Ordering::is_ge),
            Operator::Above => any(Ordering::is_gt),
            Operator::Begins => self.values.iter().any(|to| value.starts_with(to.text.as_bytes())),
        }
    }
}

impl Value {
    fn of(text: Box<str>) -> Value {
        Value { number: Number::parse(text.as_bytes()), text }
    }
}

/// Neither names nor values: what a token restricts is its holder's.
impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} conditions", self.0.len())
    }
}

#[cfg(test)]
mod tests;
