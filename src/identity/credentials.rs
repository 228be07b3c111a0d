//! What may never be printed: texts that look like a credential, and names under which one is kept. Errs on the side of
//! hiding. Knows nothing of memory and of where a text comes from.

use super::issuers::has_key;
use crate::model::SessionKey;

/// Names that keep a credential, in the words that they are of: `dbPassword` is `db_password`.
const NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "apikey",
    "api_key",
    "access_key",
    "account_key",
    "private_key",
    "secret_key",
    "signing_key",
    "encryption_key",
    "decryption_key",
    "auth_key",
    "hmac_key",
    "aes_key",
    "fernet_key",
    "master_key",
    "shared_key",
    "service_key",
    "stream_key",
    "ssh_key",
    "license_key",
    "licence_key",
    "subscription_key",
    "pin_code",
    "recovery_code",
    "backup_code",
    "seed_phrase",
    "mnemonic",
    "card_number",
    "auth_header",
    "authorization",
];

/// The same, where the name may be of something else too: a text says `token: 7` of a count, and `cookie:banner` of a task.
const NOUNS: &[&str] = &[
    "token",
    "secret",
    "credential",
    "bearer",
    "cookie",
    "jwt",
    "signature",
    "otp",
    "totp",
];

/// The same, where they are the last word of a name (`smtp_pass`, `admin_pw`): `pin_id` is one on a board, `pass_count` of
/// passes. In a text they are one before a `=`, or before something in quotes.
const LAST_WORDS: &[&str] = &["pass", "pw", "passcode", "pin", "cred", "dbpass", "userpass"];

/// The same, of what is a text itself: an object of this name (`auth.user_id`) has much besides.
const OF_A_TEXT: &[&str] = &["auth"];

/// Words that are written in one with another before them (`dbpassword`, `authtoken`).
const ENDINGS: &[&str] = &["password", "passwd", "passphrase", "token", "apikey", "secret"];

/// Names that are a credential's before a `=`, in a query or an option, and else are much besides.
const PARAMETERS: &[&str] = &["sig", "auth"];

/// Paths of which the rest is the secret (api.slack.com/messaging/webhooks, discord.com/developers/docs/resources/webhook).
const WEBHOOKS: &[&str] = &[
    "hooks.slack.com/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
];

/// The shortest that has no sign in it behind which a shorter one stands is `xoxb-` and ten more.
const SHORTEST: usize = 15;
/// Shorter random texts are as a rule ids: a UUID has 36 characters of sixteen kinds, a nanoid 21 of 64.
const SHORTEST_SECRET: usize = 24;
/// A digest has 40 hexadecimal digits at least; a UUID or a trace's id has 32.
const SHORTEST_DIGEST: usize = 40;

/// The name says that what it keeps is a credential.
pub fn is_name_of_one(name: &str) -> bool {
    has_name(name, NAMES) || has_name(name, NOUNS) || ends_with_word(name, LAST_WORDS)
}

/// The same, of a place that holds a text.
pub fn is_name_of_a_text_that_is_one(name: &str) -> bool {
    is_name_of_one(name) || ends_with_word(name, OF_A_TEXT)
}

/// The text is a credential for sure, or carries one: a JWT, a key of a known issuer, a header with one, a URL with a password
/// in it.
pub fn is_surely_one(text: &str) -> bool {
    // Most names are short (`Task-17`), and there are ten thousand of them in a dump.
    if text.len() < SHORTEST && !text.contains(|c: char| matches!(c, '=' | ':') || c.is_whitespace()) {
        return false;
    }
    has_key(text)
        || has_jwt(text)
        || has_password_in_url(text)
        || has_scheme(text)
        || has_secret_parameter(text)
        || WEBHOOKS.iter().any(|webhook| text.contains(webhook))
}

/// A name of a session, an agent, a tenant or a task as it may be shown: a credential that somebody uses as an id stays an id,
/// but is not told.
pub fn shown(name: String) -> String {
    match is_surely_one(&name) {
        true => untold(&name),
        false => name,
    }
}

/// What stands for a credential, of whatever form: as different as the credentials are.
pub(super) fn untold(name: &str) -> String {
    format!("(credential {:08x})", SessionKey::of(name).0 as u32)
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

/// How much a text is like a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    None,
    /// As random as one: many ids are (Twilio's `CA…`, a KSUID), and so is a secret without a form of its own.
    Random,
    /// It is one, or a digest, which is a key or a key's own.
    Sure,
}

pub(super) fn likeness(text: &str) -> Likeness {
    let mut words = text.split(|c: char| !is_of_a_key(c));
    if is_surely_one(text) || words.clone().any(is_digest) {
        Likeness::Sure
    } else if words.any(is_random) {
        Likeness::Random
    } else {
        Likeness::None
    }
}

/// The text is a credential, or looks as random as one.
pub fn is_perhaps_one(text: &str) -> bool {
    likeness(text) != Likeness::None
}

/// Parts of base64url behind one that is a JSON object: a JWT's three (RFC 7519), an encrypted one's five, of which the
/// second is empty where no key is sent along (RFC 7516, `alg` is `dir`; Auth.js), a signed cookie's, of which the second is
/// a time (itsdangerous). Whichever it is, one of them is long.
fn has_jwt(text: &str) -> bool {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '=')));
    words.into_iter().any(|word| {
        word.match_indices("eyJ").any(|(at, _)| {
            let parts: Vec<&str> = word.get(at..).unwrap_or("").split('.').collect();
            matches!(parts.as_slice(), [head, rest @ ..] if head.len() >= 10 && rest.iter().any(|part| part.len() >= 10))
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

/// `Bearer …` or `Basic …` as in an `Authorization` header (RFC 9110, 11.4). `Basic plan` is a tenant's, and so is
/// `Bearer of news`.
fn has_scheme(text: &str) -> bool {
    let mut words = text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ';' | ':'));
    let mut words = words.by_ref().filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let Some(&next) = words.peek() else { break };
        let has_digit = next.bytes().any(|b| b.is_ascii_digit());
        let is_one = match () {
            () if word.eq_ignore_ascii_case("bearer") => {
                has_digit || next.len() >= SHORTEST_SECRET || is_whole(text, word, next)
            }
            () if word.eq_ignore_ascii_case("basic") => is_user_and_password(next) || is_jumbled(next),
            () => false,
        };
        if is_one {
            return true;
        }
    }
    false
}

/// The text is these two words and no more.
fn is_whole(text: &str, first: &str, second: &str) -> bool {
    text.trim().len() == first.len() + 1 + second.len()
}

/// Base64 of `user:password`, also of the beginning of it.
fn is_user_and_password(word: &str) -> bool {
    let value = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let (mut bits, mut length) = (0u32, 0u32);
    for byte in word.trim_end_matches('=').bytes() {
        let Some(value) = value(byte) else { return false };
        bits = ((bits << 6) | u32::from(value)) & 0xFFFF;
        length += 6;
        if length >= 8 {
            length -= 8;
            match (bits >> length) as u8 {
                b':' => return true,
                // A name of a user has none of these.
                0..0x20 | 0x7F => return false,
                _ => {}
            }
        }
    }
    false
}

/// Both cases and digits, as no word has them.
fn is_jumbled(word: &str) -> bool {
    let has = |fits: fn(&u8) -> bool| word.bytes().any(|b| fits(&b));
    word.len() >= 8 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

/// `token=…`, `"password": "…"` in a query, a header or a JSON text.
fn has_secret_parameter(text: &str) -> bool {
    text.match_indices(['=', ':']).any(|(at, sign)| {
        let before = text.get(..at).unwrap_or("").trim_end_matches(['"', '\'', ' ']);
        let name: Vec<char> = before.chars().rev().take_while(|c| is_of_a_key(*c)).take(40).collect();
        let name: String = name.into_iter().rev().collect();
        let after = text.get(at + 1..).unwrap_or("").trim_start_matches(' ');
        let value = after.trim_start_matches(['"', '\'']);
        // Nothing stands there.
        if value.is_empty() || value.starts_with(|c: char| c.is_whitespace() || matches!(c, '&' | ',' | '}')) {
            return false;
        }
        if has_name(&name, NAMES) || (sign == "=" && PARAMETERS.iter().any(|one| name.eq_ignore_ascii_case(one))) {
            return true;
        }
        let value = value.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ',' | ';' | '}'));
        let value = value.into_iter().next().unwrap_or("");
        let is_count = value.len() <= 3 && value.bytes().all(|b| b.is_ascii_digit());
        let is_bare = sign == ":" && after.starts_with(value);
        let is_word = is_bare && value.len() < 20 && value.chars().all(|c| c.is_lowercase() || matches!(c, '_' | '-'));
        let is_last = ends_with_word(&name, LAST_WORDS) && (sign == "=" || !is_bare);
        is_last || (has_name(&name, NOUNS) && !is_count && !is_word)
    })
}

/// The last word of a name is one of these, or several of one.
fn ends_with_word(name: &str, known: &[&str]) -> bool {
    let words = words(name);
    let Some(last) = words.last() else { return false };
    known
        .iter()
        .any(|&one| last == one || last.strip_suffix('s') == Some(one))
}

/// One of `known` is in a name, as whole words: `footprint_id` has no `otp`.
fn has_name(name: &str, known: &[&str]) -> bool {
    let words = words(name);
    known.iter().any(|&one| {
        let length = one.split('_').count();
        let is_it = |part: &[String]| {
            let joined = part.join("_");
            joined == one || joined.strip_suffix('s') == Some(one)
        };
        let is_ending = |word: &String| ENDINGS.contains(&one) && word.ends_with(one);
        words.windows(length).any(is_it) || words.iter().any(is_ending)
    })
}

/// The words of a name, in small letters: split at what is no letter and no digit, and where its case says that one begins
/// (`refreshToken`, `APIKey`). Digits at the end of a word are none of it (`token2`).
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split(|c: char| !c.is_alphanumeric()) {
        let letters: Vec<char> = part.chars().collect();
        let mut word = String::new();
        for (at, &letter) in letters.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|before| letters.get(before));
            let is_first = before.is_some_and(|before| !before.is_uppercase())
                || letters.get(at + 1).is_some_and(|next| next.is_lowercase());
            if letter.is_uppercase() && is_first {
                words.push(std::mem::take(&mut word));
            }
            word.extend(letter.to_lowercase());
        }
        words.push(word);
    }
    for word in &mut words {
        word.truncate(word.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '~')
}

fn is_digest(word: &str) -> bool {
    word.len() >= SHORTEST_DIGEST && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// As many kinds of characters, and as evenly used, as a key has and a word has not.
fn is_random(word: &str) -> bool {
    let length = word.len();
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
#[path = "credentials_tests.rs"]
mod tests;
