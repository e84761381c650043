//! What conditions let through.

use super::*;

fn holds(text: &str, fields: &[(&str, &str)]) -> bool {
    let conditions = Conditions::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    conditions.hold(|name| fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_bytes()))
}

#[test]
fn each_operator() {
    let fields = [("level", "5"), ("team", "red"), ("path", "/eu/west"), ("empty", "")];
    for (text, expected) in [
        ("level=5", true),
        ("level=5.0", true),
        ("level=05", false),
        ("level!=5", false),
        ("level!=4", true),
        ("level<5", false),
        ("level<10", true),
        ("level<=5", true),
        ("level>4.5", true),
        ("level>=6", false),
        ("team=red", true),
        ("team=Red", false),
        ("team=blue|red", true),
        ("team!=blue|red", false),
        ("team!=blue|green", true),
        ("team>blue", true),
        ("team<5", false),
        ("path^=/eu/", true),
        ("path^=/us/|/eu", true),
        ("path^=/us/", false),
        ("path^=", true),
        ("empty=", true),
        ("empty!=", false),
        ("team=", false),
        ("level>=5,team=red", true),
        ("level>=5,team=blue", false),
    ] {
        assert_eq!(holds(text, &fields), expected, "{text}");
    }
}

#[test]
fn a_missing_field_is_false_whatever_is_asked_of_it() {
    for text in ["level=5", "level!=5", "level<5", "level^=", "level="] {
        assert!(!holds(text, &[("Level", "5")]), "{text}");
    }
}

#[test]
fn names_and_values_are_percent_encoded() {
    let fields = [("a=b", "x,y|z"), ("größe", "100%")];
    for text in ["a%3Db=x%2Cy%7Cz", "gr%C3%B6%C3%9Fe=100%25", "größe=100%", "a%3db^=x%2c"] {
        assert!(holds(text, &fields), "{text}");
    }
}

#[test]
fn a_text_that_means_nothing_is_told_by_its_condition() {
    let long = format!("a={}", "x".repeat(MAX_TEXT));
    let many = vec!["a=1"; MAX_TERMS + 1].join(",");
    for (text, error) in [
        ("", ConditionError::NoOperator(1)),
        ("a", ConditionError::NoOperator(1)),
        ("a=1,", ConditionError::NoOperator(2)),
        ("a=1,b", ConditionError::NoOperator(2)),
        ("a!5", ConditionError::NoOperator(1)),
        ("=5", ConditionError::NoName(1)),
        ("a==5", ConditionError::Sign(1, '=')),
        ("a=5<6", ConditionError::Sign(1, '<')),
        ("a|b=5", ConditionError::NoOperator(1)),
        ("a<5|6", ConditionError::SeveralValues(1)),
        ("a=%ff", ConditionError::NotUtf8(1)),
        ("x=1,data=5", ConditionError::NoField(2)),
        ("traceparent^=00", ConditionError::NoField(1)),
        (&long, ConditionError::LongText),
        (&many, ConditionError::ManyTerms),
    ] {
        assert_eq!(Conditions::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn joined_conditions_hold_together() {
    let (one, other) = (Conditions::parse("a=1").unwrap(), Conditions::parse("b=2").unwrap());
    assert_eq!(Conditions::and(None, Some(one.clone())), Some(one.clone()));
    let both = Conditions::and(Some(one.clone()), Some(other)).unwrap();
    let field = |names: &'static [&'static str]| move |name: &str| names.contains(&name).then_some(&b"1"[..]);
    assert!(one.hold(field(&["a"])) && !both.hold(field(&["a"])) && !both.hold(field(&["a", "b"])));
    assert!(both.hold(|name| Some(if name == "a" { b"1" } else { b"2" })));
}

#[test]
fn conditions_have_one_text_that_means_the_same() {
    for text in ["level>=5,team=red|blue", "a%2Cb!=%7C%25|", "path^=/eu/,x<1", "n=1.0"] {
        let conditions = Conditions::parse(text).unwrap();
        assert_eq!(Conditions::parse(&conditions.text()).as_ref(), Ok(&conditions), "{}", conditions.text());
    }
    assert_eq!(Conditions::parse("%61=%62,c^=d").unwrap().text(), "a=b,c^=d");
}
