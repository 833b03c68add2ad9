//! Rules about Midtrans' settings: play money stays out of production, real money out of the rest,
//! and a secret key is not handed out.

use super::Config;

/// Words in the two kinds of key, in any case.
const SERVER: &str = "mid-server-";
const CLIENT: &str = "mid-client-";

/// A key as Midtrans' dashboard shows it.
pub(super) fn key(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_letter) {
        return Ok(text.to_owned());
    }
    Err("must be a key as Midtrans shows it: letters, digits, - and _, without quotes".to_owned())
}

/// Calls `problem` with the name of each setting that does not go with the others, and the rule.
pub(super) fn check(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    if config.is_production() && config.payments.sandbox {
        problem(
            "DERMAGA_PAYMENTS_SANDBOX",
            "must be false in production: it credits money that was never paid",
        );
    }
    check_kinds(config, problem);
    let midtrans = &config.payments.midtrans;
    let server_key = midtrans.server_key.as_ref().map(|key| key.reveal());
    if midtrans.is_production && server_key.is_none_or(is_play) {
        problem(
            "MIDTRANS_SERVER_KEY",
            "must be a production key (not one that begins with SB-) when MIDTRANS_IS_PRODUCTION is true",
        );
    }
    if config.is_production() && server_key.is_some() {
        check_production(config, problem);
    }
}

/// Each key is of its own kind.
fn check_kinds(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let midtrans = &config.payments.midtrans;
    let server_key = midtrans.server_key.as_ref().map(|key| key.reveal());
    let client_key = midtrans.client_key.as_deref();
    if server_key.is_some_and(|key| has(key, CLIENT)) {
        problem(
            "MIDTRANS_SERVER_KEY",
            "must be the server key; this is a client key",
        );
    }
    if client_key.is_some_and(|key| has(key, SERVER) || server_key == Some(key)) {
        problem(
            "MIDTRANS_CLIENT_KEY",
            "must be the client key; this is a server key, a secret that every customer would be given",
        );
    }
}

/// Checks that payments move real money in production, and that nothing on the way can read the
/// key.
fn check_production(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let midtrans = &config.payments.midtrans;
    if !midtrans.is_production {
        problem(
            "MIDTRANS_IS_PRODUCTION",
            "must be true in production: Midtrans' sandbox credits play money",
        );
        if midtrans
            .server_key
            .as_ref()
            .is_some_and(|key| is_play(key.reveal()))
        {
            problem(
                "MIDTRANS_SERVER_KEY",
                "must be a production key (not one that begins with SB-) in production",
            );
        }
    }
    if midtrans.client_key.as_deref().is_some_and(is_play) {
        problem(
            "MIDTRANS_CLIENT_KEY",
            "must be a production key (not one that begins with SB-) in production",
        );
    }
    let is_plain = |url: &String| url.to_ascii_lowercase().starts_with("http:");
    if midtrans.base_url.as_ref().is_some_and(is_plain) {
        problem(
            "MIDTRANS_BASE_URL",
            "must begin with https:// in production: the server key is sent there",
        );
    }
}

/// A sentence when the server key looks like real money and is sent to Midtrans' sandbox.
pub(super) fn notice(config: &Config) -> Option<&'static str> {
    let midtrans = &config.payments.midtrans;
    let key = midtrans.server_key.as_ref()?.reveal();
    let is_mixed = !midtrans.is_production && midtrans.base_url.is_none() && !is_play(key);
    is_mixed.then_some(
        "MIDTRANS_SERVER_KEY does not begin with SB-, as production keys do not, and MIDTRANS_IS_PRODUCTION is false: it is sent to Midtrans' sandbox, which refuses a production key",
    )
}

fn is_play(key: &str) -> bool {
    key.get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("SB-"))
}

fn has(key: &str, kind: &str) -> bool {
    key.to_ascii_lowercase().contains(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};
    use dermaga_shop::crypto::random_hex;

    /// The names of the settings that are refused, in order.
    fn refused(is_production: bool, settings: &[(&str, &str)]) -> Vec<String> {
        let env = if is_production {
            "production"
        } else {
            "development"
        };
        let (jwt, master) = (random_hex(32), random_hex(32));
        let always = [
            ("DERMAGA_ENV", env),
            ("JWT_SECRET", jwt.as_str()),
            ("DERMAGA_MASTER_KEY", master.as_str()),
        ];
        let environment = always.iter().chain(settings);
        let environment =
            environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let loaded = load(Sources {
            environment: environment.collect(),
            ..Sources::default()
        });
        let problems = loaded.map_or_else(|error| error.0, |_| Vec::new());
        problems.into_iter().map(|problem| problem.name).collect()
    }

    const REAL: (&str, &str) = ("MIDTRANS_SERVER_KEY", "Mid-server-Abc_1-x");
    const PLAY: (&str, &str) = ("MIDTRANS_SERVER_KEY", "SB-Mid-server-1");
    const TRUE: (&str, &str) = ("MIDTRANS_IS_PRODUCTION", "true");
    const FALSE: (&str, &str) = ("MIDTRANS_IS_PRODUCTION", "false");

    #[test]
    fn production_takes_real_money_alone() {
        let (key, flag) = ("MIDTRANS_SERVER_KEY", "MIDTRANS_IS_PRODUCTION");
        let client = |key| ("MIDTRANS_CLIENT_KEY", key);
        let base = |url| ("MIDTRANS_BASE_URL", url);
        let none: &[(&str, &str)] = &[];
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
        let cases: [Case<'_>; 11] = [
            (none, &[]),
            (&[REAL, TRUE], &[]),
            (
                &[
                    REAL,
                    TRUE,
                    client("Mid-client-1"),
                    base("https://pay.example"),
                ],
                &[],
            ),
            (&[REAL], &[flag]),
            (&[REAL, FALSE], &[flag]),
            (&[PLAY, TRUE], &[key]),
            (&[PLAY, FALSE], &[flag, key]),
            (&[("MIDTRANS_SERVER_KEY", "sb-mid-server-1"), TRUE], &[key]),
            (
                &[REAL, TRUE, client("SB-Mid-client-1")],
                &["MIDTRANS_CLIENT_KEY"],
            ),
            (
                &[REAL, TRUE, base("http://pay.example")],
                &["MIDTRANS_BASE_URL"],
            ),
            (
                &[REAL, TRUE, base("HTTP://pay.example")],
                &["MIDTRANS_BASE_URL"],
            ),
        ];
        for (settings, names) in cases {
            assert_eq!(refused(true, settings), names, "{settings:?}");
        }
    }

    #[test]
    fn keys_are_of_their_kind_everywhere() {
        let server = |key| ("MIDTRANS_SERVER_KEY", key);
        let client = |key| ("MIDTRANS_CLIENT_KEY", key);
        for is_production in [true, false] {
            let secret = &[REAL, TRUE, client("Mid-Server-Abc_1-x")];
            assert_eq!(refused(is_production, secret), ["MIDTRANS_CLIENT_KEY"]);
            let same = &[server("odd"), TRUE, client("odd")];
            assert_eq!(refused(is_production, same), ["MIDTRANS_CLIENT_KEY"]);
            let public = &[server("Mid-client-1"), TRUE];
            assert_eq!(refused(is_production, public), ["MIDTRANS_SERVER_KEY"]);
        }
        assert_eq!(refused(false, &[PLAY, client("SB-Mid-client-1")]), [""; 0]);
    }

    #[test]
    fn quotes_are_no_part_of_a_key() {
        for wrong in [
            "\"SB-Mid-server-1\"",
            "'Mid-server-1'",
            "Mid server",
            "",
            "Mid-server-\u{a0}1",
        ] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            key("SB-Mid-server-aB_9").as_deref(),
            Ok("SB-Mid-server-aB_9")
        );
    }

    #[test]
    fn a_real_key_at_the_sandbox_is_noticed() {
        let said = |settings: &[(&str, &str)]| {
            let environment = settings.iter();
            let environment =
                environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let loaded = load(Sources {
                environment: environment.collect(),
                ..Sources::default()
            });
            notice(&loaded.unwrap().config).is_some()
        };
        assert!(said(&[REAL, FALSE]) && said(&[REAL]));
        assert!(!said(&[REAL, TRUE]) && !said(&[PLAY]) && !said(&[]));
        assert!(!said(&[REAL, ("MIDTRANS_BASE_URL", "http://127.0.0.1:1")]));
    }
}
