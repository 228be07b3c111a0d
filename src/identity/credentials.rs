//! What may never be printed: texts that look like a credential, and names under which one is kept. Errs on the side of
//! hiding. Knows nothing of memory and of where a text comes from.

use crate::model::SessionKey;

/// Parts of names that keep a credential.
const NAMES: &[&str] = &[
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "apikey",
    "api_key",
    "access_key",
    "private_key",
    "secret_key",
    "signing_key",
    "encryption_key",
    "auth_header",
    "authorization",
    "credential",
    "bearer",
    "cookie",
    "jwt",
    "signature",
    "otp",
];

/// How known issuers' keys begin, and how long such a key is at least.
const BEGINNINGS: &[(&str, usize)] = &[
    ("sk-", 16),
    ("pk-", 16),
    ("sk_", 16),
    ("pk_", 16),
    ("rk_", 16),
    ("whsec_", 12),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 12),
    ("xoxb-", 12),
    ("xoxp-", 12),
    ("xoxa-", 12),
    ("xoxs-", 12),
    ("xapp-", 12),
    ("AKIA", 16),
    ("ASIA", 16),
    ("AIza", 20),
    ("ya29.", 12),
    ("npm_", 16),
    ("pypi-", 16),
    ("hf_", 16),
    ("SG.", 16),
    ("dop_v1_", 16),
    ("shpat_", 12),
    ("lin_api_", 12),
    ("-----BEGIN", 10),
];

/// Shorter random texts are as a rule ids: a UUID has 36 characters of sixteen kinds, a nanoid 21 of 64.
const SHORTEST_SECRET: usize = 24;
/// A digest has 40 hexadecimal digits at least; a UUID or a trace's id has 32.
const SHORTEST_DIGEST: usize = 40;

/// The name says that what it keeps is a credential.
pub fn is_name_of_one(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    NAMES.iter().any(|part| name.contains(part))
}

/// The text is a credential for sure: a JWT, a key of a known issuer, a header with one, a URL with a password in it.
pub fn is_surely_one(text: &str) -> bool {
    let text = text.trim();
    let lower = text.get(..16).unwrap_or(text).to_ascii_lowercase();
    is_one_itself(text) || lower.starts_with("bearer ") || lower.starts_with("basic ") || has_secret_parameter(text)
}

/// The same, by its form alone and not by a word before it (`Basic …`, `token: …`), which names have too.
fn is_one_itself(text: &str) -> bool {
    let text = text.trim();
    let begins = |beginning: &str, least: usize| text.starts_with(beginning) && text.len() >= least;
    BEGINNINGS.iter().any(|&(beginning, least)| begins(beginning, least)) || has_jwt(text) || has_password_in_url(text)
}

/// A name of a session, an agent or a tenant as it may be shown: a credential that somebody uses as an id stays an id, but
/// is not told.
pub fn shown(name: String) -> String {
    if is_one_itself(&name) {
        format!("(credential {:08x})", SessionKey::of(&name).0 as u32)
    } else {
        name
    }
}

/// What an exception says (`ValueError: …`), without the text where that holds a credential.
pub fn error_shown(text: String) -> String {
    if !is_surely_one(&text) {
        return text;
    }
    let class = text.split_once(": ").map_or("", |(class, _)| class);
    let is_class = !class.is_empty() && class.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    match is_class {
        true => format!("{class}: (not shown, it holds a credential)"),
        false => "(not shown, it holds a credential)".to_owned(),
    }
}

/// The text is a credential, or looks as random as one.
pub fn is_perhaps_one(text: &str) -> bool {
    is_surely_one(text) || text.split(|c: char| !is_of_a_key(c)).any(is_random)
}

/// Three parts of base64url, the first of which is a JSON object.
fn has_jwt(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=')));
    words.into_iter().any(|word| {
        word.match_indices("eyJ").any(|(at, _)| {
            let parts: Vec<&str> = word.get(at..).unwrap_or("").split('.').collect();
            matches!(parts.as_slice(), [head, body, ..] if head.len() >= 10 && body.len() >= 10)
        })
    })
}

/// `scheme://user:password@host`.
fn has_password_in_url(text: &str) -> bool {
    text.match_indices("://").any(|(at, found)| {
        let rest = text.get(at + found.len()..).unwrap_or("");
        let authority = rest.split(['/', '?', '#', ' ', '"']).next().unwrap_or("");
        authority
            .rsplit_once('@')
            .is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, password)| !password.is_empty()))
    })
}

/// `token=…`, `"password": "…"` in a query, a header or a JSON text.
fn has_secret_parameter(text: &str) -> bool {
    text.match_indices(['=', ':']).any(|(at, _)| {
        let before = text.get(..at).unwrap_or("").trim_end_matches(['"', '\'', ' ']);
        let name: Vec<char> = before.chars().rev().take_while(|c| is_of_a_key(*c)).take(40).collect();
        let name: String = name.into_iter().rev().collect();
        let after = text.get(at + 1..).unwrap_or("").trim_start_matches(['"', '\'', ' ']);
        !name.is_empty() && is_name_of_one(&name) && after.starts_with(|c: char| !c.is_whitespace())
    })
}

fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '~')
}

/// As many kinds of characters, and as evenly used, as a key has and a word has not.
fn is_random(word: &str) -> bool {
    let length = word.len();
    if length >= SHORTEST_DIGEST && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        return true;
    }
    let has = |fits: fn(&u8) -> bool| word.bytes().any(|b| fits(&b));
    length >= SHORTEST_SECRET
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        && entropy(word) >= 3.5
}

/// Bits a character (Shannon).
fn entropy(word: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in word.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = word.len().max(1) as f64;
    let shares = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / length);
    shares.map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_known() {
        for text in [
            "eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2lnbmF0dXJl",
            "session eyJhbGciOiJIUzI1NiJ9.eyJ2aWRlbyI6eyJyb29tIjoieCJ9fQ.c2ln",
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

    proptest! {
        #[test]
        fn never_a_panic(text in "\\PC*|[a-zA-Z0-9:/@.?=&\" -]{0,60}") {
            let _ = is_perhaps_one(&text) || is_name_of_one(&text);
        }
    }
}
