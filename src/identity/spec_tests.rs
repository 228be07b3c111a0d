//! What a spec may be, what it may not, and where the caret stands then.

use super::*;
use crate::identity::spec_parser::{MOST_HEX_DIGITS, MOST_STEPS};
use proptest::prelude::*;

fn attribute(name: &str) -> Step {
    Step::Attribute(name.to_owned())
}

fn parsed(text: &str) -> Spec {
    Spec::parse(text).unwrap_or_else(|error| panic!("{text}: {error} at {}", error.at))
}

fn readings(text: &str) -> Vec<(String, Vec<Step>)> {
    let readings = parsed(text).readings().into_iter();
    readings.map(|reading| (reading.variable, reading.steps)).collect()
}

#[test]
fn a_name_alone_may_have_dots_and_is_then_read_longest_first() {
    assert_eq!(readings("request_id"), [("request_id".to_owned(), vec![])]);
    assert_eq!(readings("wunsch-nr:ä"), [("wunsch-nr:ä".to_owned(), vec![])]);
    assert_eq!(
        readings("quart.app_ctx.g"),
        [
            ("quart.app_ctx.g".to_owned(), vec![]),
            ("quart.app_ctx".to_owned(), vec![attribute("g")]),
            ("quart".to_owned(), vec![attribute("app_ctx"), attribute("g")]),
        ]
    );
    // What cannot be an attribute belongs to the name.
    assert_eq!(
        readings("my.request-id.x"),
        [
            ("my.request-id.x".to_owned(), vec![]),
            ("my.request-id".to_owned(), vec![attribute("x")]),
        ]
    );
}

#[test]
fn a_quoted_name_has_one_reading() {
    let named = |name: &str, steps: &[Step]| vec![(name.to_owned(), steps.to_vec())];
    assert_eq!(readings("'a.b'.c"), named("a.b", &[attribute("c")]));
    assert_eq!(readings("\"task:name\""), named("task:name", &[]));
    assert_eq!(readings(r#""a\"b\\""#), named("a\"b\\", &[]));
    assert_eq!(readings("'x|y'"), named("x|y", &[]));
}

#[test]
fn what_goes_through_a_name_of_a_credential_leads_to_one() {
    for text in [
        "access_token",
        "api.key",
        "user_ctx.password",
        "user_ctx['password']",
        "user_ctx[0].secrets[1]",
        "headers['x-api-key'*]",
        "\"db password\"",
        "frame:Worker.run:auth_token",
        "frame:Worker.run:config.dbPassword",
        "session_cookie.id",
        "smtp_pass",
        "auth",
        "request.auth",
        "headers['x-auth']",
        "frame:Worker.run:auth",
    ] {
        assert!(parsed(text).leads_to_a_credential(), "{text}");
    }
    for text in [
        "session_id",
        "user_ctx['id']",
        "author.name",
        "task:name",
        "task:root",
        "frame:refresh_token:user_id",
        "x|strip('token-')",
        "auth.user_id",
        "auth['session']",
        "request.auth.id",
        "frame:Worker.run:auth.id",
    ] {
        assert!(!parsed(text).leads_to_a_credential(), "{text}");
    }
}

#[test]
fn the_last_name_is_that_of_the_place_where_it_ends() {
    for (text, name) in [
        ("session_id", "session_id"),
        ("request_ctx.request_id", "request_id"),
        ("\"a.b\"", "a.b"),
        ("x['call_id']", "call_id"),
        ("x[0]|hex(32)", ""),
        ("frame:Worker.run_job:job_id", "job_id"),
        ("frame:Worker.run_job:req.id", "id"),
        ("task:name", ""),
    ] {
        assert_eq!(parsed(text).last_name(), name, "{text}");
    }
}

#[test]
fn every_step_and_filter() {
    let text = r#"context["a key"]['current-span-'*]._context[0][-1][?_id] | hex(32) | strip("agent-") | hex|address"#;
    let spec = parsed(text);
    assert_eq!(spec.source, Source::Variable(vec!["context".to_owned()]));
    assert_eq!(
        spec.steps,
        [
            Step::Key("a key".to_owned()),
            Step::KeyPrefix("current-span-".to_owned()),
            attribute("_context"),
            Step::Index(0),
            Step::Index(-1),
            Step::With("_id".to_owned()),
        ]
    );
    let strip = Filter::Strip("agent-".to_owned());
    assert_eq!(spec.filters, [Filter::Hex(32), strip, Filter::Hex(0), Filter::Address]);
    assert_eq!(parsed("task:name").source, Source::TaskName);
    assert_eq!(
        parsed("frame:serve.<locals>.handle:info.job_id"),
        Spec {
            source: Source::Local {
                coroutine: "serve.<locals>.handle".to_owned(),
                local: "info".to_owned()
            },
            steps: vec![attribute("job_id")],
            filters: vec![],
        }
    );
}

#[test]
fn what_is_wrong_is_said_at_its_place() {
    let cases = [
        ("", 0, "a contextvar's name is needed"),
        ("   ", 3, "a contextvar's name is needed"),
        (".a", 0, "a contextvar's name is needed"),
        ("a..b", 2, "an attribute's name is missing"),
        ("a.", 2, "an attribute's name is missing"),
        ("a[0].", 5, "an attribute's name is missing"),
        ("a[0].1x", 5, "an attribute's name is missing"),
        ("a[", 2, "an index or a key in quotes is missing"),
        ("a[x]", 2, "an index or a key in quotes is missing"),
        ("a[1-]", 2, "an index or a key in quotes is missing"),
        ("a[99999999999999999999]", 2, "an index or a key in quotes is missing"),
        ("a[?]", 3, "an attribute's name is missing"),
        ("a[?b", 4, "the closing bracket is missing"),
        ("a[1", 3, "the closing bracket is missing"),
        ("a[\"b]", 2, "the closing quote is missing"),
        ("a[\"b\\n\"]", 5, "after a \\ comes a \\ or a quote"),
        ("'a", 0, "the closing quote is missing"),
        ("a]", 1, "here a \".\", a \"[\" or a \"|\" may follow, or nothing"),
        ("a|", 2, "a filter is missing"),
        ("a|upper", 2, "a filter is missing"),
        ("a|hex(33)", 6, "a number of digits is missing"),
        ("a|hex(3", 7, "the closing parenthesis is missing"),
        ("a|strip", 7, "what to take off is missing"),
        ("a|strip(x)", 8, "what to take off is missing"),
        ("task:id", 5, "task:name or task:root"),
        ("task:name.x", 9, "a task's name is a text"),
        ("task:root[0]", 9, "a task's name is a text"),
        ("frame:", 6, "a coroutine's __qualname__ is missing"),
        ("frame:run", 9, "a colon and a local variable are missing"),
        ("frame:run:", 10, "a local variable is missing"),
        ("a\u{1b}[2J", 1, "a control character"),
        ("a\nb", 1, "a control character"),
    ];
    for (text, at, what) in cases {
        let error = Spec::parse(text).expect_err(text);
        assert_eq!(error.at, at, "{text}: {error}");
        assert!(error.what.starts_with(what), "{text}: {error}");
    }
    assert!(Spec::parse(&format!("a{}", "[0]".repeat(MOST_STEPS + 2))).is_err());
    assert!(Spec::parse(&format!("a{}", ".b".repeat(MOST_STEPS + 2))).is_err());
}

/// Names that stand in no quotes, and have none of their own meaning.
fn bare() -> impl Strategy<Value = String> {
    "[a-zA-Zäö_][a-zA-Z0-9_:ß-]{0,8}".prop_filter("another source", |name| {
        !name.starts_with("task:") && !name.starts_with("frame:")
    })
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        proptest::collection::vec(bare(), 1..4).prop_map(Source::Variable),
        // An identifier in quotes prints without, and is then a name of one part: the same reading.
        "[^\\p{Cc}]{0,8}[ .|-]".prop_map(Source::Quoted),
        Just(Source::TaskName),
        Just(Source::RootTask),
        ("[A-Za-z_.<>]{1,12}", "[a-z_][a-z0-9_]{0,6}")
            .prop_map(|(coroutine, local)| Source::Local { coroutine, local }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        "[a-z_][a-z0-9_]{0,6}".prop_map(Step::Attribute),
        "[a-z_][a-z0-9_]{0,6}".prop_map(Step::With),
        any::<i64>().prop_map(Step::Index),
        "[^\\p{Cc}]{0,8}".prop_map(Step::Key),
        "[^\\p{Cc}]{0,8}".prop_map(Step::KeyPrefix),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        (0u8..=MOST_HEX_DIGITS).prop_map(Filter::Hex),
        "[^\\p{Cc}]{0,8}".prop_map(Filter::Strip),
        Just(Filter::Address),
    ]
}

proptest! {
    /// What is printed parses to the same.
    #[test]
    fn printing_and_parsing_are_each_others_way_back(
        source in source(),
        steps in proptest::collection::vec(step(), 0..6),
        filters in proptest::collection::vec(filter(), 0..4),
    ) {
        // A task's name has no parts.
        let steps = match source {
            Source::TaskName | Source::RootTask => Vec::new(),
            _ => steps,
        };
        // Attributes that follow a plain name are parts of it, until it is known which variables there are.
        let spec = Spec { source, steps, filters };
        let again = Spec::parse(&spec.to_string());
        let again = again.map_err(|error| TestCaseError::fail(format!("{spec}: {error} at {}", error.at)))?;
        prop_assert_eq!(again.to_string(), spec.to_string());
        if matches!(spec.source, Source::TaskName | Source::RootTask | Source::Local { .. } | Source::Quoted(_)) {
            prop_assert_eq!(again, spec);
        } else {
            prop_assert!(again.readings().first().is_some_and(|reading| !reading.variable.is_empty()));
            prop_assert_eq!(again.filters, spec.filters);
        }
    }

    /// Whatever is typed is read or refused, and the place is in it.
    #[test]
    fn never_a_panic(text in "\\PC*|[a-z.\\[\\]|'\"*()0-9\\\\ -]{0,24}") {
        if let Err(error) = Spec::parse(&text) {
            prop_assert!(error.at <= text.len() && text.is_char_boundary(error.at), "{} in {:?}", error.at, text);
        }
    }
}
