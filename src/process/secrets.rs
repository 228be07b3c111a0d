//! Command lines that can be shown to others: what looks like a secret in an argument is masked. Rather too much than too
//! little: a file goes to people who have no other access to the machine. Knows nothing of where the line is shown.

const MASK: &str = "***";

/// Words in the name of an option or a variable that make its value a secret.
const SECRET_NAMES: [&str; 14] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "apikey",
    "credential",
    "auth",
    "private",
    "cookie",
    "dsn",
    "signature",
    "bearer",
    "jwt",
];

/// The same, as a whole word only.
const SECRET_WORDS: [&str; 5] = ["pw", "pass", "sig", "otp", "totp"];

/// Options whose value is a user, and behind a colon its password (curl's `-u`).
const USER_WORDS: [&str; 4] = ["user", "u", "username", "login"];

/// What begins with `-p` and is no password behind the option (mysql's `-pSECRET`).
const OPTIONS_WITH_P: [&str; 13] = [
    "pid",
    "port",
    "path",
    "prefix",
    "preload",
    "print",
    "process",
    "processes",
    "prod",
    "profile",
    "project",
    "public",
    "python",
];

/// Paths of which all the rest is a secret (api.slack.com/messaging/webhooks).
const WEBHOOKS: [&str; 3] = [
    "hooks.slack.com/services/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
];

/// Of a longer argument the rest is not shown: what takes it apart goes one step deeper for each piece.
const LONGEST_ARGUMENT: usize = 1024;

/// What well-known tokens begin with.
const SECRET_BEGINNINGS: [&str; 25] = [
    "sk-",
    "sk_",
    "pk_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xox",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "SG.",
    "npm_",
    "pypi-",
    "hf_",
    "whsec_",
    "rk_",
    "dop_v1_",
    "shpat_",
    "lin_api_",
    "ghu_",
    "eyJ",
];

/// So many letters and digits, mixed, in one piece are no word and no name of a file.
const LONG: usize = 24;

/// The arguments in one line, secrets masked.
pub fn masked(arguments: &[String]) -> String {
    let mut line: Vec<String> = Vec::new();
    // What the argument before says of this one.
    let (mut is_secret, mut is_program, mut is_value) = (false, false, false);
    let (mut is_password, mut is_user) = (false, false);
    // Nothing so far but the interpreter and its own options.
    let mut is_interpreters = true;
    for whole in arguments {
        let (argument, rest) = cut(whole);
        let is_option = argument.starts_with('-');
        let program = program_option(whole).filter(|_| is_interpreters && !is_value && !line.is_empty());
        let shown = match program {
            // A program text may hold anything.
            _ if is_program => "…".to_owned(),
            Some((option, false)) => format!("{option}…"),
            _ if is_secret && !is_option => MASK.to_owned(),
            _ if is_password && !is_option && !is_number(argument) => MASK.to_owned(),
            _ if is_user && !is_option => user(argument),
            _ => match glued(argument) {
                Some(shown) => shown,
                None => one(argument),
            },
        };
        is_interpreters &= (is_option && program.is_none()) || is_value || line.is_empty();
        is_program = matches!(program, Some((_, true)));
        is_value = is_interpreters && matches!(argument, "-X" | "-W");
        is_secret = is_option && !argument.contains('=') && is_secret_name(argument);
        is_password = argument == "-p";
        is_user = is_option && is_user_name(argument);
        line.push(format!("{shown}{rest}"));
    }
    line.join(" ")
}

/// Python's option for a program text, alone (`-c`) or behind others (`-uc`), and whether the text is the next argument or
/// the rest of this one.
fn program_option(argument: &str) -> Option<(&str, bool)> {
    let letters = argument.strip_prefix('-')?;
    // The options that take nothing (`python3 -h`).
    let place = letters.find(|c| !"bBdEhiIOPqRsSuvVx".contains(c))?;
    letters.get(place..)?.starts_with('c').then_some(())?;
    let (option, text) = argument.split_at_checked(place + 2)?;
    Some((option, text.is_empty()))
}

/// What of an argument is taken apart, and what stands for the rest.
fn cut(argument: &str) -> (&str, &'static str) {
    match argument.char_indices().nth(LONGEST_ARGUMENT) {
        Some((end, _)) => (argument.get(..end).unwrap_or(""), "…"),
        None => (argument, ""),
    }
}

/// A secret behind its option, without a blank: `-pSECRET` (mysql), `-uadmin:SECRET` (curl). `-p8080` is a port.
fn glued(argument: &str) -> Option<String> {
    if let Some(value) = argument.strip_prefix("-p") {
        let word = argument.get(1..)?.to_ascii_lowercase();
        let is_one = !value.is_empty() && !is_number(value) && !value.starts_with('=');
        let is_option = OPTIONS_WITH_P
            .iter()
            .any(|option| word.split(['=', '-', '_']).next() == Some(option));
        return (is_one && !is_option).then(|| format!("-p{MASK}"));
    }
    let value = argument.strip_prefix("-u").filter(|value| value.contains(':'))?;
    Some(format!("-u{}", user(value)))
}

/// A number, or several (`8000-8010`, `127.0.0.1:80`).
fn is_number(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '.' | ':' | '-' | ','))
}

/// `name:password`, but not `1000:1000`, which are a user's and a group's number.
fn user(value: &str) -> String {
    match value.split_once(':') {
        Some((name, password)) if !password.is_empty() && !password.starts_with("//") && !is_number(password) => {
            format!("{}:{MASK}", one(name))
        }
        _ => one(value),
    }
}

/// One argument by itself.
fn one(argument: &str) -> String {
    let webhook = WEBHOOKS
        .iter()
        .find_map(|webhook| Some((webhook, argument.find(webhook)?)));
    if let Some((webhook, at)) = webhook {
        let rest = argument.get(at + webhook.len()..).unwrap_or("");
        let rest = rest
            .find(char::is_whitespace)
            .and_then(|end| rest.get(end..))
            .unwrap_or("");
        let before = one(argument.get(..at).unwrap_or(""));
        return format!("{before}{webhook}{MASK}{}", one(rest));
    }
    let (first, behind) = first_word(argument);
    if let Some(shown) = glued(first) {
        return shown + &one(behind);
    }
    if let Some((name, value)) = argument.split_once('=')
        && !name.contains("://")
        && !name.contains(char::is_whitespace)
    {
        return match is_secret_name(name) {
            true => format!("{name}={MASK}"),
            false if is_user_name(name) => format!("{name}={}", user(value)),
            false => format!("{name}={}", one(value)),
        };
    }
    if let Some((scheme, rest)) = argument.split_once("://")
        && !scheme.contains(char::is_whitespace)
    {
        let (rest, behind) = first_word(rest);
        return format!("{scheme}://{}{}", url(rest), one(behind));
    }
    // `X-Api-Key:abc`, `{"api_key":"abc"}`; not the blanks of a shell's line, which are split below.
    if let Some((name, value)) = argument.split_once(':')
        && !name.contains(char::is_whitespace)
        && value.starts_with(|first: char| !first.is_whitespace())
    {
        return match is_secret_name(name) {
            true => format!("{name}:{MASK}"),
            false => format!("{name}:{}", one(value)),
        };
    }
    if behind.is_empty() {
        return match looks_secret(argument) {
            true => MASK.to_owned(),
            false => argument.to_owned(),
        };
    }
    // `Authorization: Bearer abc` as one argument, or a piece of a shell's line.
    let rest = behind.trim_start();
    let blank = behind.strip_suffix(rest).unwrap_or(" ");
    let (next, last) = first_word(rest);
    let is_user = first.starts_with('-') && is_user_name(first);
    let is_password = first == "-p" && !next.starts_with('-') && !is_number(next);
    match () {
        () if is_secret_name(first) || matches!(first, "Bearer" | "Basic") => format!("{first}{blank}{MASK}"),
        () if is_user => format!("{first}{blank}{}{}", user(next), one(last)),
        () if is_password => format!("{first}{blank}{MASK}{}", one(last)),
        () => format!("{}{blank}{}", one(first), one(rest)),
    }
}

/// What stands before the first blank, and the rest from there on.
fn first_word(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// What follows `://`: a password before the host, and values of secret parameters.
fn url(rest: &str) -> String {
    let (place, query) = match rest.split_once(['?', '#']) {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match place.split_once('/') {
        Some((authority, path)) => (authority, Some(path)),
        None => (place, None),
    };
    let mut url = match authority.rsplit_once('@') {
        Some((user, host)) => format!("{}:{MASK}@{host}", user.split(':').next().unwrap_or("")),
        None => authority.to_owned(),
    };
    if let Some(path) = path {
        let parts: Vec<&str> = path
            .split('/')
            .map(|part| if looks_secret(part) { MASK } else { part })
            .collect();
        url.push('/');
        url.push_str(&parts.join("/"));
    }
    if let Some(query) = query {
        let parameters: Vec<String> = query.split('&').map(one).collect();
        url.push('?');
        url.push_str(&parameters.join("&"));
    }
    url
}

fn is_user_name(name: &str) -> bool {
    last_word(name).is_some_and(|word| USER_WORDS.contains(&word.to_lowercase().as_str()))
}

fn last_word(name: &str) -> Option<&str> {
    name.rsplit(|c: char| !c.is_alphanumeric()).next()
}

fn is_secret_name(name: &str) -> bool {
    let plain: String = name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    if last_word(name).is_some_and(|word| SECRET_WORDS.contains(&word.to_lowercase().as_str())) {
        return true;
    }
    SECRET_NAMES.iter().any(|secret| plain.contains(secret)) || plain.ends_with("key")
}

fn looks_secret(text: &str) -> bool {
    if SECRET_BEGINNINGS.iter().any(|begin| text.starts_with(begin)) && text.len() >= 12 {
        return true;
    }
    let is_one_piece = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '=' | '_' | '-'));
    let has = |is: fn(&char) -> bool| text.chars().any(|c| is(&c));
    text.len() >= LONG && is_one_piece && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &[&str]) -> String {
        masked(&line.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_looks_like_a_secret_is_masked() {
        let cases: &[(&[&str], &str)] = &[
            (
                &["python3", "worker.py", "--port", "8080"],
                "python3 worker.py --port 8080",
            ),
            (&["w", "--api-key", "abc", "dev"], "w --api-key *** dev"),
            (&["w", "--token=abc"], "w --token=***"),
            (&["w", "--no-auth", "--verbose"], "w --no-auth --verbose"),
            (&["w", "LIVEKIT_API_SECRET=abc", "A=b"], "w LIVEKIT_API_SECRET=*** A=b"),
            (
                &["w", "wss://user:pw@host:1/x?token=abc&room=7"],
                "w wss://user:***@host:1/x?token=***&room=7",
            ),
            (
                &["w", "--url=postgres://u:p@db/name"],
                "w --url=postgres://u:***@db/name",
            ),
            (
                &["w", "https://hooks.example.com/T00/aB3dE6gH9jK2mN5pQ8sT1vW4"],
                "w https://hooks.example.com/T00/***",
            ),
            (&["w", "-H", "Authorization: Bearer abc"], "w -H Authorization: ***"),
            (&["w", "-H", "X-Api-Key:abc"], "w -H X-Api-Key:***"),
            (&["w", r#"{"a":"b","api_key":"abc"}"#], r#"w {"a":"b","api_key":***"#),
            (&["w", "main:app", "0.0.0.0:8000"], "w main:app 0.0.0.0:8000"),
            (&["w", "SG.abcdefghijkl"], "w ***"),
            (&["w", "sk-proj-abcdefghijkl"], "w ***"),
            (&["w", "8f14e45fceea167a5a36dedd4bea2543"], "w ***"),
            (&["python3", "-c", "password = 'x'", "arg"], "python3 -c … arg"),
            (
                &["python3", "-u", "-X", "dev", "-c", "p = 'x'"],
                "python3 -u -X dev -c …",
            ),
            (&["python3", "-uc", "p = 'x'", "-c", "a"], "python3 -uc … -c a"),
            (&["python3", "-Icp='x'", "-v"], "python3 -Ic… -v"),
            (&["python3", "gunicorn", "-c", "conf.py"], "python3 gunicorn -c conf.py"),
            (&["python3", "-m", "app", "-c", "conf.py"], "python3 -m app -c conf.py"),
            (
                &["python3", "/srv/app/agents/very_long_name_of_a_program.py"],
                "python3 /srv/app/agents/very_long_name_of_a_program.py",
            ),
            (
                &["w", "--user", "admin:hunter2", "-u", "a:b", "-uadmin:hunter2"],
                "w --user admin:*** -u a:*** -uadmin:***",
            ),
            (&["w", "--proxy-user=admin:hunter2"], "w --proxy-user=admin:***"),
            (
                &["w", "--user", "1000:1000", "-u", "anna"],
                "w --user 1000:1000 -u anna",
            ),
            (&["w", "-u", "https://a/b"], "w -u https://a/b"),
            (&["mysql", "-p", "hunter2", "x"], "mysql -p *** x"),
            (&["mysql", "-phunter2", "-pSECRET"], "mysql -p*** -p***"),
            (
                &["w", "-p", "8080", "-p1234", "-p", "127.0.0.1:80", "-p8000-8010"],
                "w -p 8080 -p1234 -p 127.0.0.1:80 -p8000-8010",
            ),
            (
                &["w", "-p", "--verbose", "-port", "-prod"],
                "w -p --verbose -port -prod",
            ),
            (&["python3", "-u", "w.py", "a:b"], "python3 -u w.py a:b"),
            (
                &["w", "--pw", "hunter2", "--db-pass=x", "DB_PW=x", "--bypass", "x"],
                "w --pw *** --db-pass=*** DB_PW=*** --bypass x",
            ),
            (
                &["w", "https://h/?sig=hunter2&a=b&signature=x"],
                "w https://h/?sig=***&a=b&signature=***",
            ),
            (
                &["w", "--hook=https://hooks.slack.com/services/T000/B000/abc", "x"],
                "w --hook=https://hooks.slack.com/services/*** x",
            ),
            (
                &["w", "curl hooks.slack.com/services/T0/B0/abc -d token=x"],
                "w curl hooks.slack.com/services/*** -d token=***",
            ),
            (
                &[
                    "w", "--bearer", "x", "--jwt", "x", "--jwt=x", "--otp", "123456", "TOTP=1",
                ],
                "w --bearer *** --jwt *** --jwt=*** --otp *** TOTP=***",
            ),
            (&["w", "--footprint", "x"], "w --footprint x"),
            (
                &["w", "curl -u  a:hunter2 http://x --retry 3"],
                "w curl -u  a:*** http://x --retry 3",
            ),
            (
                &["w", "curl http://x/y -u a:hunter2", "curl\thttps://a:b@c -ua:hunter2 d"],
                "w curl http://x/y -u a:*** curl\thttps://a:***@c -ua:*** d",
            ),
            (
                &["w", "run --password hunter2 --level=3", "mysql -phunter2 db"],
                "w run --password *** mysql -p*** db",
            ),
            (
                &["w", "mysql -p hunter2 db", "w -p 8080 -u anna:hunter2"],
                "w mysql -p *** db w -p 8080 -u anna:***",
            ),
            (&["w", "sk-proj-abcdefghijkl is it"], "w *** is it"),
            (&[], ""),
        ];
        for (line, expected) in cases {
            assert_eq!(shown(line), *expected);
        }
    }

    #[test]
    fn of_an_argument_without_end_the_beginning_is_taken_apart() {
        for piece in ["a ", "a=", "a:", "hooks.slack.com/services/ "] {
            let line = shown(&["w", &piece.repeat(60_000)]);
            assert!(
                line.len() <= 3 * LONGEST_ARGUMENT && line.ends_with('…'),
                "{piece}: {}",
                line.len()
            );
        }
    }
}
