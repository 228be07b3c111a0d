//! Command lines that can be shown to others: what looks like a secret in an argument is masked. Rather too much than too
//! little: a file goes to people who have no other access to the machine. Knows nothing of where the line is shown.

const MASK: &str = "***";

/// Words in the name of an option or a variable that make its value a secret.
const SECRET_NAMES: [&str; 11] = [
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
];

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
    // Nothing so far but the interpreter and its own options.
    let mut is_interpreters = true;
    for argument in arguments {
        let is_option = argument.starts_with('-');
        let program = program_option(argument).filter(|_| is_interpreters && !is_value && !line.is_empty());
        let shown = match program {
            // A program text may hold anything.
            _ if is_program => "…".to_owned(),
            Some((option, false)) => format!("{option}…"),
            _ if is_secret && !is_option => MASK.to_owned(),
            _ => one(argument),
        };
        is_interpreters &= (is_option && program.is_none()) || is_value || line.is_empty();
        is_program = matches!(program, Some((_, true)));
        is_value = is_interpreters && matches!(argument.as_str(), "-X" | "-W");
        is_secret = is_option && !argument.contains('=') && is_secret_name(argument);
        line.push(shown);
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

/// One argument by itself.
fn one(argument: &str) -> String {
    if let Some((name, value)) = argument.split_once('=')
        && !name.contains("://")
    {
        return match is_secret_name(name) {
            true => format!("{name}={MASK}"),
            false => format!("{name}={}", one(value)),
        };
    }
    if let Some((scheme, rest)) = argument.split_once("://") {
        return format!("{scheme}://{}", url(rest));
    }
    // `X-Api-Key:abc`, `{"api_key":"abc"}`; not the blanks of a shell's line, which are split below.
    if let Some((name, value)) = argument.split_once(':')
        && !name.contains(' ')
        && value.starts_with(|first: char| first != ' ')
    {
        return match is_secret_name(name) {
            true => format!("{name}:{MASK}"),
            false => format!("{name}:{}", one(value)),
        };
    }
    match argument.split_once(' ') {
        // `Authorization: Bearer abc` as one argument, or a piece of a shell's line.
        Some((first, rest)) => {
            let is_secret = is_secret_name(first) || matches!(first, "Bearer" | "Basic");
            match is_secret {
                true => format!("{first} {MASK}"),
                false => format!("{first} {}", one(rest)),
            }
        }
        None if looks_secret(argument) => MASK.to_owned(),
        None => argument.to_owned(),
    }
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

fn is_secret_name(name: &str) -> bool {
    let plain: String = name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
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
            (&[], ""),
        ];
        for (line, expected) in cases {
            assert_eq!(shown(line), *expected);
        }
    }
}
