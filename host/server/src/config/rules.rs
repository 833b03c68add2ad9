//! Rules about several settings at once, beside those of payments.

use dermaga_shop::files::Place;

use super::{
    Config, database, effects, entry,
    load::{Loaded, Source},
    strength,
};

/// Reports every broken rule by the name of a setting to change.
pub(super) fn check(loaded: &Loaded, problem: &mut impl FnMut(&str, &str)) {
    let config = &loaded.config;
    check_grace(config, problem);
    check_kubeconfig(loaded, problem);
    if config.notifications.smtp.is_some() && config.notifications.from.is_none() {
        problem("MAIL_FROM", "is required together with SMTP_URL");
    }
    if config.is_production() && has_mails_without_end(config) {
        problem(
            "SHOP_URL",
            "is required together with SMTP_URL in production: without it, mails have no link and no header by which their readers end further ones",
        );
    }
    check_tickets(config, problem);
    entry::check(config, problem);
    database::check(config, problem);
    check_lifetimes(config, problem);
    check_connections(loaded, problem);
    check_bonus(loaded, problem);
    effects::check(loaded, problem);
    if config.is_production() {
        check_secrets(config, problem);
        check_webhooks(config, problem);
    }
}

/// A sentence when mails go out by which no further ones can be ended.
pub(super) fn notice(config: &Config) -> Option<&'static str> {
    has_mails_without_end(config).then_some(
        "SHOP_URL is not set beside SMTP_URL: mails have no link and no header by which their readers end further ones, and production does not start so",
    )
}

/// Returns true when mails go out and have no address that ends further ones.
const fn has_mails_without_end(config: &Config) -> bool {
    let mails = &config.notifications;
    mails.smtp.is_some() && mails.shop_url.is_none()
}

/// A session is renewed by its refresh token: an access token that outlives it would be the session.
fn check_lifetimes(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let accounts = &config.accounts;
    if accounts.access_token_lifetime > accounts.refresh_token_lifetime {
        problem(
            "JWT_EXPIRES_IN",
            "must not be more than JWT_REFRESH_EXPIRES_IN",
        );
    }
}

/// The default of the one may be above the other; what was given would be believed.
fn check_connections(loaded: &Loaded, problem: &mut impl FnMut(&str, &str)) {
    let name = "DERMAGA_MAX_CONNECTIONS_PER_ADDRESS";
    let limits = &loaded.config.http.connections;
    if limits.most_per_address > limits.most && effects::is_given(loaded, name) {
        problem(name, "must not be more than DERMAGA_MAX_CONNECTIONS");
    }
}

/// Refuses a demand that no customer could meet. A sandbox writes its mails into the log.
fn check_bonus(loaded: &Loaded, problem: &mut impl FnMut(&str, &str)) {
    let name = "BONUS_REQUIRES_VERIFIED_EMAIL";
    let config = &loaded.config;
    let has_mails = config.notifications.smtp.is_some() || config.payments.sandbox;
    let is_demanded = config.coupons.bonus_requires_verified_email;
    if is_demanded && !has_mails && effects::is_given(loaded, name) {
        problem(
            name,
            "needs SMTP_URL: without mails no address can be confirmed",
        );
    }
}

fn check_tickets(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let tickets = &config.tickets;
    let is_received = tickets.mail_secret.is_some() || tickets.mail_path.is_some();
    if tickets.reply_address.is_some() && !is_received {
        problem(
            "TICKETS_REPLY_ADDRESS",
            "needs TICKETS_MAIL_SECRET or TICKETS_MAIL_PATH, by which its mails come in",
        );
    }
    let files = &config.files;
    if files.access_key.is_some() != files.secret_key.is_some() {
        problem(
            "DERMAGA_S3_ACCESS_KEY",
            "and DERMAGA_S3_SECRET_KEY are required together",
        );
    }
    let is_bucket = matches!(files.place, Some(Place::Bucket { .. }));
    if is_bucket && files.access_key.is_none() {
        problem(
            "DERMAGA_S3_ACCESS_KEY",
            "is required for attachments in a bucket",
        );
    }
}

fn check_webhooks(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let webhooks = &config.webhooks;
    for (name, is_on) in [
        ("DERMAGA_WEBHOOK_ALLOW_HTTP", webhooks.allow_http),
        ("DERMAGA_WEBHOOK_PERMIT_LOOPBACK", webhooks.permit_loopback),
    ] {
        if is_on {
            problem(name, "is for development, and refused in production");
        }
    }
}

fn check_grace(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let billing = &config.subscriptions;
    if billing.grace_min_days > billing.grace_max_days {
        problem(
            "GRACE_PERIOD_MIN_DAYS",
            "must not be more than GRACE_PERIOD_MAX_DAYS",
        );
    } else if billing.grace_period
        && let Err(message) = billing.check_grace_days(billing.grace_days)
    {
        problem("GRACE_PERIOD_DAYS", &message);
    }
}

/// The Kubernetes client merges several files by itself, and looks into the environment alone.
fn check_kubeconfig(loaded: &Loaded, problem: &mut impl FnMut(&str, &str)) {
    let several = |value: &String| value.contains(':');
    let origin = loaded
        .origins
        .iter()
        .find(|o| o.setting.env == "KUBECONFIG");
    let wrong = origin.is_some_and(|origin| {
        origin.source != Source::Environment && origin.value.as_ref().is_some_and(several)
    });
    if wrong {
        problem(
            "KUBECONFIG",
            "must be one file; several can only be named in the environment",
        );
    }
}

fn check_secrets(config: &Config, problem: &mut impl FnMut(&str, &str)) {
    let keys = [
        ("JWT_SECRET", &config.jwt_secrets),
        ("DERMAGA_MASTER_KEY", &config.master_keys),
    ];
    for (name, keys) in keys {
        if keys.iter().any(|key| strength::is_guessable(key.reveal())) {
            problem(
                name,
                "must be random in production, not one word repeated; `openssl rand -hex 32` makes one",
            );
        }
    }
    let password = config.admin_password.as_ref();
    if password.is_some_and(|password| strength::is_repeated(password.reveal())) {
        problem(
            "DERMAGA_ADMIN_PASSWORD",
            "must not be one word repeated in production",
        );
    }
}
