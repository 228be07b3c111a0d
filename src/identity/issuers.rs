//! How the keys of known issuers look: what they begin with, of which characters they are and how long. By the whole form
//! and not by the beginning alone, which words have too (`hf_inference_customer`). Knows nothing of where a text comes from.
//!
//! The forms are those of gitleaks (`config/gitleaks.toml`, the name of its rule beside each), with a smaller length where
//! an issuer has made shorter keys before; where there is no rule, the issuer's own documentation.

/// What follows the beginning.
enum Form {
    /// So many of these characters, and no letter or digit behind them.
    Exactly(usize, Alphabet),
    /// So many of these characters at least, mixed as chance mixes them.
    AtLeast(usize, Alphabet),
    /// Words perhaps, and somewhere so many letters and digits in one piece, mixed.
    Piece(usize),
    /// Two random pieces of these lengths with a dot between them.
    Dotted(usize, usize),
    /// The rest of a bot's number in base64, a time in six characters, and so many characters at least, with dots between.
    Bot(usize),
    /// The beginning says it all.
    Anything,
}

type Alphabet = fn(u8) -> bool;

const BASE62: Alphabet = |b| b.is_ascii_alphanumeric();
const BASE64: Alphabet = |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'_' | b'-');
const PLAIN_BASE64: Alphabet = |b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
const HEX: Alphabet = |b| b.is_ascii_hexdigit();
const UUID: Alphabet = |b| b.is_ascii_hexdigit() || b == b'-';
/// Base32 without the padding; older keys had the other digits too.
const UPPER: Alphabet = |b| b.is_ascii_uppercase() || b.is_ascii_digit();
const DOTTED: Alphabet = |b| BASE64(b) || b == b'.';

const ISSUERS: &[(&str, Form)] = &[
    // openai-api-key, anthropic-api-key, and the many that took the form over (DeepSeek, OpenRouter, LiteLLM).
    ("sk-", Form::Piece(16)),
    ("pk-", Form::Piece(16)),
    // Langfuse (langfuse.com/docs): a UUID behind it.
    ("sk-lf-", Form::AtLeast(36, UUID)),
    ("pk-lf-", Form::AtLeast(36, UUID)),
    // stripe-access-token: `(sk|rk)_(test|live|prod)_` and 10 to 99; ElevenLabs: `sk_` and 48 hexadecimal digits.
    ("sk_", Form::Piece(16)),
    ("pk_", Form::Piece(16)),
    ("rk_", Form::Piece(16)),
    ("sk_live_", Form::Piece(10)),
    ("sk_test_", Form::Piece(10)),
    ("rk_live_", Form::Piece(10)),
    ("rk_test_", Form::Piece(10)),
    // Stripe and Svix (docs.svix.com): 24 bytes or more in base64.
    ("whsec_", Form::AtLeast(16, PLAIN_BASE64)),
    // github-pat, github-oauth, github-app-token, github-refresh-token: 36.
    ("ghp_", Form::AtLeast(16, BASE62)),
    ("gho_", Form::AtLeast(16, BASE62)),
    ("ghu_", Form::AtLeast(16, BASE62)),
    ("ghs_", Form::AtLeast(16, BASE62)),
    ("ghr_", Form::AtLeast(16, BASE62)),
    // github-fine-grained-pat: 82 with one `_` among them.
    ("github_pat_", Form::AtLeast(20, BASE64)),
    // gitlab-pat: 20; gitlab-pat-routable: 27 and more.
    ("glpat-", Form::AtLeast(16, BASE64)),
    // slack-bot-token, slack-user-token, slack-legacy-token, slack-app-token: numbers, then letters and digits.
    ("xoxb-", Form::AtLeast(10, BASE64)),
    ("xoxp-", Form::AtLeast(10, BASE64)),
    ("xoxa-", Form::AtLeast(10, BASE64)),
    ("xoxs-", Form::AtLeast(10, BASE64)),
    ("xapp-", Form::AtLeast(10, BASE64)),
    // aws-access-token.
    ("AKIA", Form::Exactly(16, UPPER)),
    ("ASIA", Form::Exactly(16, UPPER)),
    // gcp-api-key: 35.
    ("AIza", Form::AtLeast(30, BASE64)),
    // Google's access tokens (developers.google.com/identity): up to 2,048 bytes.
    ("ya29.", Form::AtLeast(16, DOTTED)),
    // npm-access-token: 36.
    ("npm_", Form::AtLeast(30, BASE62)),
    // pypi-upload-token: what names the site, and 50 to 1,000.
    ("pypi-AgE", Form::AtLeast(16, BASE64)),
    // huggingface-access-token: 34.
    ("hf_", Form::AtLeast(30, BASE62)),
    // sendgrid-api-token: 66, of which the 23rd is a dot (docs.sendgrid.com).
    ("SG.", Form::Dotted(22, 43)),
    // digitalocean-pat, digitalocean-access-token, digitalocean-refresh-token.
    ("dop_v1_", Form::AtLeast(32, HEX)),
    ("doo_v1_", Form::AtLeast(32, HEX)),
    ("dor_v1_", Form::AtLeast(32, HEX)),
    // shopify-access-token and its like: 32.
    ("shpat_", Form::AtLeast(32, HEX)),
    ("shpca_", Form::AtLeast(32, HEX)),
    ("shppa_", Form::AtLeast(32, HEX)),
    ("shpss_", Form::AtLeast(32, HEX)),
    // linear-api-key: 40.
    ("lin_api_", Form::AtLeast(30, BASE62)),
    // Groq (console.groq.com): 52; xAI (docs.x.ai): 80; Replicate (replicate.com/docs): 37.
    ("gsk_", Form::AtLeast(40, BASE62)),
    ("xai-", Form::AtLeast(40, BASE62)),
    ("r8_", Form::AtLeast(30, BASE62)),
    // perplexity-api-key: 48; NVIDIA (build.nvidia.com): 64; atlassian-api-token: 186 behind it.
    ("pplx-", Form::AtLeast(40, BASE62)),
    ("nvapi-", Form::AtLeast(40, BASE64)),
    ("ATATT3", Form::AtLeast(40, BASE64)),
    // LangSmith (docs.langchain.com): 32, `_` and 10, of a person (`pt`) or a service (`sk`).
    ("lsv2_pt_", Form::AtLeast(32, HEX)),
    ("lsv2_sk_", Form::AtLeast(32, HEX)),
    // Tavily (docs.tavily.com): 32, behind a `dev-` perhaps.
    ("tvly-", Form::Piece(16)),
    // Docker (docs.docker.com/security/access-tokens), of a person or an organisation: 27 or more.
    ("dckr_pat_", Form::AtLeast(27, BASE64)),
    ("dckr_oat_", Form::AtLeast(27, BASE64)),
    // HubSpot's private apps (developers.hubspot.com), by the region of the account: a UUID.
    ("pat-na1-", Form::AtLeast(36, UUID)),
    ("pat-na2-", Form::AtLeast(36, UUID)),
    ("pat-na3-", Form::AtLeast(36, UUID)),
    ("pat-eu1-", Form::AtLeast(36, UUID)),
    ("pat-ap1-", Form::AtLeast(36, UUID)),
    // Fernet (github.com/fernet/spec): a version, the upper half of a time in seconds, 16 bytes, at least as many more, and
    // 32, in base64url. 100 characters at least.
    ("gAAAAA", Form::AtLeast(90, BASE64)),
    // PASETO (paseto.io): a version and a purpose before it.
    ("v2.local.", Form::Piece(16)),
    ("v2.public.", Form::Piece(16)),
    ("v3.local.", Form::Piece(16)),
    ("v3.public.", Form::Piece(16)),
    ("v4.local.", Form::Piece(16)),
    ("v4.public.", Form::Piece(16)),
    // Discord's bots (discord.com/developers/docs/reference): a number of 17 digits or more begins with one of these.
    ("MT", Form::Bot(27)),
    ("Mj", Form::Bot(27)),
    ("Mz", Form::Bot(27)),
    ("ND", Form::Bot(27)),
    ("NT", Form::Bot(27)),
    ("Nj", Form::Bot(27)),
    ("Nz", Form::Bot(27)),
    ("OD", Form::Bot(27)),
    ("OT", Form::Bot(27)),
    // AWS's session tokens (STS) are a protobuf that begins so; aws-amazon-bedrock-api-key-long-lived, -short-lived.
    ("IQoJb3JpZ2luX2Vj", Form::AtLeast(40, BASE64)),
    ("FwoGZXIvYXdz", Form::AtLeast(40, BASE64)),
    ("ABSK", Form::AtLeast(100, PLAIN_BASE64)),
    ("bedrock-api-key-", Form::AtLeast(40, BASE64)),
    // Google's client secrets and refresh tokens (developers.google.com/identity).
    ("GOCSPX-", Form::AtLeast(24, BASE64)),
    ("1//0", Form::AtLeast(40, BASE64)),
    // twilio-api-key.
    ("SK", Form::Exactly(32, HEX)),
    // vault-service-token, vault-batch-token.
    ("hvs.", Form::AtLeast(24, BASE64)),
    ("hvb.", Form::AtLeast(100, BASE64)),
    // databricks-api-token; a `-` and a digit may follow.
    ("dapi", Form::Exactly(32, HEX)),
    // notion-api-token: 46; postman-api-token; prefect-api-token; pulumi-api-token; rubygems-api-token.
    ("ntn_", Form::AtLeast(40, BASE62)),
    ("PMAK-", Form::AtLeast(50, UUID)),
    ("pnu_", Form::AtLeast(36, BASE62)),
    ("pul-", Form::AtLeast(40, HEX)),
    ("rubygems_", Form::AtLeast(48, HEX)),
    // grafana-service-account-token: 32, `_` and 8; grafana-cloud-api-token; sentry-org-token, sentry-user-token.
    ("glsa_", Form::AtLeast(32, BASE62)),
    ("glc_", Form::AtLeast(32, PLAIN_BASE64)),
    ("sntrys_", Form::AtLeast(40, BASE64)),
    ("sntryu_", Form::AtLeast(64, HEX)),
    // gitlab-deploy-token, gitlab-runner-authentication-token, gitlab-ptt, gitlab-scim-token, gitlab-oauth-app-secret.
    ("gldt-", Form::AtLeast(20, BASE64)),
    ("glrt-", Form::AtLeast(20, BASE64)),
    ("glptt-", Form::AtLeast(40, HEX)),
    ("glsoat-", Form::AtLeast(20, BASE64)),
    ("gloas-", Form::AtLeast(64, BASE64)),
    // doppler-api-token, heroku-api-key-v2, flyio-access-token, openshift-user-token, sendinblue-api-token.
    ("dp.pt.", Form::AtLeast(40, BASE62)),
    ("HRKU-AA", Form::AtLeast(58, BASE64)),
    ("fo1_", Form::AtLeast(43, BASE64)),
    ("fm2_", Form::AtLeast(100, PLAIN_BASE64)),
    ("sha256~", Form::AtLeast(43, BASE64)),
    ("xkeysib-", Form::AtLeast(64, HEX)),
    // 1password-service-account-token.
    ("ops_eyJ", Form::AtLeast(100, PLAIN_BASE64)),
    // square-access-token, and an application's secret: no word begins so.
    ("sq0atp-", Form::Anything),
    ("sq0csp-", Form::Anything),
    // age-secret-key.
    ("AGE-SECRET-KEY-1", Form::Anything),
    // RFC 7468.
    ("-----BEGIN ", Form::Anything),
];

/// A key of a known issuer stands in the text, by itself or behind something that is no letter and no digit.
pub(super) fn has_key(text: &str) -> bool {
    let bytes = text.as_bytes();
    ISSUERS.iter().any(|(beginning, form)| {
        text.match_indices(beginning).any(|(at, _)| {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            let is_a_beginning = before.is_none_or(|before| !before.is_ascii_alphanumeric());
            is_a_beginning && form.fits(bytes.get(at + beginning.len()..).unwrap_or_default())
        })
    })
}

impl Form {
    fn fits(&self, rest: &[u8]) -> bool {
        match *self {
            Form::Exactly(length, alphabet) => {
                run(rest, alphabet).len() == length && !rest.get(length).is_some_and(u8::is_ascii_alphanumeric)
            }
            Form::AtLeast(least, alphabet) => {
                let body = run(rest, alphabet);
                body.len() >= least && is_mixed(body)
            }
            Form::Piece(least) => {
                let body = run(rest, BASE64);
                let mut pieces = body.split(|b| !b.is_ascii_alphanumeric());
                // Of base64url itself a long one may have no long piece.
                pieces.any(|piece| piece.len() >= least && is_mixed(piece)) || (body.len() >= 48 && has_all_kinds(body))
            }
            Form::Dotted(first, second) => {
                let head = run(rest, BASE64);
                let tail = rest.get(head.len()..).unwrap_or_default();
                let tail = tail.strip_prefix(b".").map(|tail| run(tail, BASE64));
                head.len() >= first && tail.is_some_and(|tail| tail.len() >= second)
            }
            Form::Bot(last) => {
                let parts: Vec<&[u8]> = rest.split(|&b| b == b'.').take(3).collect();
                let [number, time, digest] = parts.as_slice() else {
                    return false;
                };
                let is_number = (20..=26).contains(&number.len()) && number.iter().all(|&b| BASE62(b));
                is_number && time.len() == 6 && time.iter().all(|&b| BASE64(b)) && run(digest, BASE64).len() >= last
            }
            Form::Anything => true,
        }
    }
}

fn run(bytes: &[u8], alphabet: Alphabet) -> &[u8] {
    let length = bytes.iter().take_while(|&&b| alphabet(b)).count();
    bytes.get(..length).unwrap_or_default()
}

/// With digits in it, or with both cases as no word has them.
fn is_mixed(text: &[u8]) -> bool {
    let capitals = text.iter().filter(|b| b.is_ascii_uppercase()).count();
    let is_cased = capitals >= 3 && text.iter().any(u8::is_ascii_lowercase);
    text.iter().any(u8::is_ascii_digit) || is_cased
}

fn has_all_kinds(text: &[u8]) -> bool {
    let has = |fits: fn(&u8) -> bool| text.iter().any(fits);
    has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_issuer_are_known_also_inside_of_a_text() {
        let random = "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cF3hJ6kM9nP2rS5uV8wX1";
        let body = |length: usize| random[..length].to_owned();
        let hex = "0af7651916cd43dd8448eb211c80319c".repeat(2);
        for key in [
            format!("sk-{}", body(48)),
            "sk-proj-0123456789abcdef".to_owned(),
            format!("sk-ant-api03-{}-{}AA", body(40), body(50)),
            "sk-lf-0af76519-16cd-43dd-8448-eb211c80319c".to_owned(),
            format!("sk_live_{}", body(24)),
            "sk_test_4eC39HqLyj".to_owned(),
            format!("sk_{}", &hex[..48]),
            format!("whsec_{}", body(32)),
            format!("ghp_{}", body(36)),
            format!("github_pat_{}_{}", body(22), body(40)),
            format!("glpat-{}", body(20)),
            format!("xoxb-123456789012-1234567890123-{}", body(24)),
            format!("xapp-1-A0{}-1234567890123-{hex}", "B1C2D3E4F"),
            "AKIAIOSFODNN7EXAMPLE".to_owned(),
            "ASIAQWERTYUIOPASDFGH".to_owned(),
            format!("AIza{}", body(35)),
            format!("ya29.a0{}", body(40)),
            format!("npm_{}", body(36)),
            format!("pypi-AgEIcHlwaS5vcmc{}", body(50)),
            format!("hf_{}", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"),
            format!("SG.{}.{}", body(22), body(43)),
            format!("dop_v1_{hex}"),
            format!("shpat_{}", &hex[..32]),
            format!("lin_api_{}", body(40)),
            format!("gsk_{}", body(51)),
            format!("pplx-{}", body(48)),
            format!("nvapi-{}-{}", body(30), body(33)),
            format!("ATATT3xFfGF0{}={}", body(51), &hex[..8]),
            format!("lsv2_pt_{}_0af7651916", &hex[..32]),
            format!("lsv2_sk_{}_0af7651916", &hex[..32]),
            format!("tvly-{}", body(32)),
            format!("tvly-dev-{}", body(32)),
            format!("dckr_pat_{}_{}", body(14), body(12)),
            format!("dckr_oat_{}", body(32)),
            "pat-na1-0af76519-16cd-43dd-8448-eb211c80319c".to_owned(),
            "pat-eu1-0af76519-16cd-43dd-8448-eb211c80319c".to_owned(),
            format!("gAAAAABmZ{}{}==", body(50), body(43)),
            format!("v4.local.{}", body(51)),
            format!("MTAwMDAwMDAwMDAwMDAwMDAx.Gx7d-Q.{}", body(38)),
            format!("OTk5OTk5OTk5OTk5OTk5OTk5OTk.GaBcDe.{}", body(27)),
            format!("IQoJb3JpZ2luX2VjE{}//{}", body(51), body(40)),
            format!("ABSK{}{}", body(51), body(51)),
            format!("GOCSPX-{}", body(28)),
            format!("1//0{}-{}", body(30), body(40)),
            format!("SK{}", &hex[..32]),
            format!("hvs.CAES{}", body(51)),
            format!("dapi{}", &hex[..32]),
            format!("ntn_12345678901{}", body(35)),
            format!("PMAK-{}-{}", &hex[..24], &hex[..34]),
            format!("pnu_{}", body(36)),
            format!("glsa_{}_{}", body(32), &hex[..8]),
            format!("sntryu_{hex}"),
            format!("gldt-{}", body(20)),
            format!("dp.pt.{}", body(43)),
            format!("HRKU-AA{}{}", body(50), body(8)),
            format!("sha256~{}", body(43)),
            "sq0atp-abcdefghijklmnopqrstuv".to_owned(),
            format!("sq0csp-{}", body(43)),
            format!("AGE-SECRET-KEY-1{}", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".repeat(2)),
            "-----BEGIN PRIVATE KEY-----".to_owned(),
        ] {
            for text in [key.clone(), format!("tenant:{key}"), format!("call-{key}, again")] {
                assert!(has_key(&text), "{text}");
            }
        }
    }

    #[test]
    fn a_beginning_alone_is_no_key() {
        for text in [
            "ASIA Pacific Holdings",
            "ASIAPACIFIC",
            "ASIAPACIFICHOLDINGSLTD2",
            "AKIA-1",
            "hf_inference_customer",
            "npm_registry_scanner",
            "npm_registry_scanner_of_the_frontend_team_2",
            "pk-lahore-restaurant",
            "pk-lahore-restaurant-2024",
            "sk-bratislava-support-3",
            "desk-0123456789abcdefgh",
            "task_0123456789abcdefgh",
            "sk_room_12",
            "SG.orchard.reception",
            "SG.orchard-reception-of-the-west-wing-1.second-floor",
            "pypi-mirror-synchronisation-3",
            "whsec_receiver_of_the_events_2",
            "ghs_general_hospital_south",
            "xapp-runner",
            "pat-na1-reception-of-the-north-american-branch",
            "dckr_pat_runner_2",
            "tvly-search-agent-3",
            "lsv2_pt_session_7",
            "gAAAAAB",
            "v4.local.session-of-the-reception-desk-in-the-west-wing-7",
            "MTA-reception.region.the-northern-half-of-the-country",
            "OTTAWA.branch.of-the-reception-desk-of-the-north-7",
            "SKU-0af76519",
            "SK0af76519",
            "dapi-call-7",
            "CA0af7651916cd43dd8448eb211c80319c",
            "pul-session-7",
            "sha256~session",
            "glc_reception_of_the_north_american_branch_7",
            "ya29.",
            "",
        ] {
            assert!(!has_key(text), "{text}");
        }
    }
}
