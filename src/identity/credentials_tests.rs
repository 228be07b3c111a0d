//! Which texts are credentials, and which only look like one.

use super::*;
use proptest::prelude::*;

#[test]
fn credentials_are_known() {
    for text in [
        "eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2lnbmF0dXJl",
        "session eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2ln",
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..Yk3nVq0oT2l1aXYx.c2VjcmV0LXBheWxvYWQ.AAAABBBBCCCCDDDDEEEEFF",
        "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJlLg",
        "eyJ1c2VyX2lkIjo3fQ.aKx1Zg.vXq3m0Zc8sWc0fWm1x4w7dO1b2E",
        "Bearer abc",
        "basic dXNlcjpwYXNz",
        "sk-proj-0123456789abcdef",
        "ghp_0123456789abcdefghij",
        "AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN PRIVATE KEY-----\nMIIE",
        "postgres://app:hunter2@db:5432/app",
        "redis://:hunter2@cache/0",
        "https://x/y?access_token=abc",
        "{\"password\": \"x\"}",
        "X-Api-Key: 12345",
    ] {
        assert!(is_surely_one(text), "{text}");
        assert!(is_perhaps_one(text), "{text}");
    }
    for text in [
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ] {
        assert!(is_perhaps_one(text), "{text}");
    }
}

#[test]
fn an_id_that_is_one_is_an_id_and_not_told() {
    let (one, other) = ("eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6e30.c2ln", "sk-proj-0123456789abcdef");
    let shown = |text: &str| super::shown(text.to_owned());
    for text in [one, other] {
        assert!(shown(text).starts_with("(credential ") && !shown(text).contains(text));
    }
    assert_ne!(shown(one), shown(other));
    for name in ["Basic plan", "token: 7", "AJ_Xk3vQp9TzLm2", "? a | b"] {
        assert_eq!(shown(name), name);
    }
}

#[test]
fn an_error_is_told_without_the_credential_in_it() {
    let error = |text: &str| error_shown(text.to_owned());
    assert_eq!(error("ValueError: no seat left"), "ValueError: no seat left");
    assert_eq!(
        error("asyncpg.OperationalError: cannot reach postgres://u:hunter2@db/x"),
        "asyncpg.OperationalError: (not shown, it holds a credential)"
    );
    assert_eq!(error("password=hunter2"), "(not shown, it holds a credential)");
}

#[test]
fn ids_are_none() {
    for text in [
        "",
        "session-1",
        "AJ_Xk3vQp9TzLm2",
        "0af7651916cd43dd8448eb211c80319c",
        "0af76519-16cd-43dd-8448-eb211c80319c",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "V1StGXR8_Z5jdHi6B-myT",
        "agent-restaurant-booking-with-a-long-name",
        "通話-1",
        "eyJarchive.tar.gz",
        "eyJolfsdottir.1.2",
        "https://example.com/a/b?page=2",
        "tcp://host:80/",
    ] {
        assert!(!is_perhaps_one(text), "{text}");
    }
}

#[test]
fn names_are_known() {
    for name in [
        "auth_token",
        "API-Key",
        "X-Api-Key",
        "dbPassword",
        "session_cookie",
        "refreshToken",
    ] {
        assert!(is_name_of_one(name), "{name}");
    }
    for name in [
        "session_id",
        "request_id",
        "author",
        "tenant",
        "key",
        "openrtc_session_id",
    ] {
        assert!(!is_name_of_one(name), "{name}");
    }
}

#[test]
fn names_that_end_with_a_word_for_one_are_known() {
    for name in [
        "smtp_pass",
        "db_pass",
        "userPass",
        "userpass",
        "admin_pw",
        "pw",
        "pw2",
        "passcode",
        "pin",
        "pin_code",
        "creds",
        "fernet_key",
        "hmac_key",
        "HMACKey",
        "master_key",
        "license_key",
    ] {
        assert!(is_name_of_one(name), "{name}");
        assert!(has_secret_parameter(&format!("{name}=joe")), "{name}");
    }
    for name in [
        "pass_count",
        "bypass",
        "compass",
        "passenger",
        "pin_id",
        "pinned",
        "credit",
        "session_key",
        "cache_key",
        "auth",
    ] {
        assert!(!is_name_of_one(name), "{name}");
    }
    for text in ["first pass: done", "pin: 7", "{'passes': 3}", "auth: ok"] {
        assert_eq!(error_shown(text.to_owned()), text);
    }
    assert!(is_surely_one("{\"smtp_pass\": \"letmein\"}"));
    assert!(is_name_of_a_text_that_is_one("auth") && !is_name_of_a_text_that_is_one("auth_id"));
}

proptest! {
    #[test]
    fn never_a_panic(text in "\\PC*|[a-zA-Z0-9:/@.?=&\" -]{0,60}") {
        let _ = is_perhaps_one(&text) || is_name_of_one(&text);
    }
}

#[test]
fn an_id_that_carries_a_credential_is_not_told_either() {
    for text in [
        "Bearer s3cr3topaque1",
        "bearer opaque",
        "Authorization: Bearer abcdef",
        "call with Bearer s3cr3topaque1 in it",
        "Basic dXNlcjpwYXNz1",
        "Basic dXNlcjpwYXNzd29yZA==",
        "Basic aB3dE6gH",
        "https://h/x?api_key=ABCDEF1",
        "https://h/x?sig=ABCDEF1&a=b",
        "password=hunter2",
        "pwd:hunter",
        "token=abc",
        "{'token': 'abc'}",
        "tenant:sk-proj-0123456789abcdef",
        "postgres://app:hunter2@db/x",
        "https://hooks.slack.com/services/T000/B000/abcdef",
    ] {
        let shown = shown(text.to_owned());
        assert!(shown.starts_with("(credential ") && !shown.contains(text), "{text}");
    }
}

#[test]
fn names_that_only_begin_or_sound_like_one_are_told() {
    for text in [
        "ASIA Pacific Holdings",
        "hf_inference_customer",
        "npm_registry_scanner",
        "pk-lahore-restaurant",
        "SG.orchard.reception",
        "Basic plan",
        "Basic subscription",
        "Basic Authentication",
        "Bearer of good news",
        "The bearer",
        "token: 7",
        "token:refresh",
        "cookie:banner-of-the-shop",
        "footprint_id=7f3a",
        "desktop: Anna",
        "author=anna",
        "otp=",
        "https://example.com/a?page=2&sort=name",
        "(credential 4a3b76ca)",
    ] {
        assert_eq!(shown(text.to_owned()), text);
        assert!(!is_surely_one(text), "{text}");
    }
}

#[test]
fn names_are_known_by_whole_words() {
    for name in [
        "footprint_id",
        "tokenizer",
        "secretary_id",
        "desktop",
        "robotprocess",
        "passworded",
    ] {
        assert!(!is_name_of_one(name), "{name}");
    }
    for name in [
        "APIKey",
        "apiKey2",
        "auth.tokens",
        "otp",
        "userOTP",
        "AUTH_TOKEN",
        "JWT",
        "dbpassword",
        "X-Amz-Signature",
        "Set-Cookie",
        "client_secret",
        "credentials",
    ] {
        assert!(is_name_of_one(name), "{name}");
    }
}
