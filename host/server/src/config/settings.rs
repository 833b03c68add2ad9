//! The one table of settings. Loading, `dermaga config`, `docs/SETTINGS.md` and the proposals for
//! misspelt names all follow from it.

mod instances;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{Days, TimeDelta};
use dermaga_shop::{
    crypto::{Authorities, Secret},
    files::Place,
    money::Rupiah,
    notifications::{Sender, SmtpUrl},
    replies::ReplyAddress,
    subscriptions::MOST_GRACE_DAYS,
};

use super::{
    Environment, addresses, lists, log_filter, midtrans, parse,
    setting::{DAY, KIB, MIB, Setting, seconds, settings},
};
use crate::telemetry::LogFormat;

/// Returns every setting there is, in the order they are documented.
pub fn all_settings() -> impl Iterator<Item = &'static Setting> + Clone {
    [OF_THE_SERVER, instances::OF_INSTANCES, OF_THE_SHOP]
        .into_iter()
        .flatten()
}

/// The server itself: its database, keys and plugins.
const OF_THE_SERVER: &[Setting] = settings! {
    "DERMAGA_ENV" "environment" (Some("development")):
        "`development` or `production`. In production JWT_SECRET and DERMAGA_MASTER_KEY must be given."
        => |c, text| c.environment = parse::word(text, &[("development", Environment::Development), ("production", Environment::Production)])?;
    "DERMAGA_LISTEN" "listen" (Some("127.0.0.1:3000")):
        "Address and port to serve on. Port 0 picks a free one; the ready line on stdout names it."
        => |c, text| c.http.listen = text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:3000".to_owned())?;
    "DERMAGA_DATA_DIR" "data_dir" (Some("./data")):
        "Folder for the database file, compiled plugins, manifests and generated keys."
        => |c, text| c.data_dir = addresses::path(text)?.into();
    "DATABASE_URL" "database_url" (None, secret):
        "`sqlite://path` or `postgres://user:password@host/database`. Without it, `dermaga.db` in the data folder. A parameter behind the `?` that is unknown, or there twice, is refused; so is a `%` without two hexadecimal digits behind it."
        => |c, text| c.database_url = Some(addresses::database(text)?);
    "DERMAGA_DATABASE_CONNECTIONS" "database_connections" (Some("20")):
        "Connections to PostgreSQL that this server keeps open at most, from 2 to 500; requests beyond wait for one. SQLite does not need it."
        => |c, text| c.database.connections = parse::number(text, &(2..=500))?;
    "DERMAGA_DATABASE_ACQUIRE_TIMEOUT" "database_acquire_timeout" (Some("10s")):
        "Time that a request waits for one of the connections to PostgreSQL, from 1s to 1m, before it is answered with 503."
        => |c, text| c.database.acquire = parse::duration(text, &(seconds(1)..=seconds(60)))?;
    "DERMAGA_DATABASE_IDLE_TIMEOUT" "database_idle_timeout" (Some("10m")):
        "Time that a connection to PostgreSQL is kept open without use, from 1s to 1d."
        => |c, text| c.database.idle = parse::duration(text, &(seconds(1)..=seconds(DAY)))?;
    "DERMAGA_DATABASE_STATEMENT_TIMEOUT" "database_statement_timeout" (Some("5m")):
        "Time that a statement may take in PostgreSQL before it is ended, from 1s to 1d. Migrations may take longer. A wait for what a frozen server has locked lasts a minute."
        => |c, text| c.database.statement = parse::duration(text, &(seconds(1)..=seconds(DAY)))?;
    "DERMAGA_DATABASE_TLS" "database_tls" (None):
        "Protection of connections to PostgreSQL: `disable`, `prefer`, `require`, `verify-ca` or `verify-full`; not another one than `sslmode` of DATABASE_URL. Without both, `verify-full` with DERMAGA_DATABASE_CA_FILE and `prefer` without."
        => |c, text| c.database.tls = Some(parse::database_tls(text)?);
    "DERMAGA_DATABASE_CA_FILE" "database_ca_file" (None):
        "File of certificates (PEM) of authorities that may have signed PostgreSQL's certificate, beside those of the system."
        => |c, text| { drop(Authorities::read(addresses::path(text)?)?); c.database.ca_file = Some(text.into()) };
    "DERMAGA_DATABASE_POOLER" "database_pooler" (Some("auto")):
        "Pooler between the servers and PostgreSQL: `none`, also for one that keeps a connection for each session; `transaction` for one that lends a connection for a transaction, such as PgBouncer in that mode; `auto` finds out at start, and takes each pooler for one that lends."
        => |c, text| c.database.pooler = parse::pooler(text)?;
    "DERMAGA_MIGRATE" "migrate" (Some("true")):
        "Bring the database's schema up to date when the server starts. If `false`, run `dermaga migrate`."
        => |c, text| c.migrate = parse::boolean(text)?;

    "JWT_SECRET" "jwt_secret" (None, secret):
        "Signs access tokens; at least 32 bytes. Several, separated by commas, allow rotation: the first signs, all are read. Made in the data folder in development."
        => |c, text| c.jwt_secrets = lists::jwt_secrets(text)?;
    "JWT_EXPIRES_IN" "jwt_expires_in" (Some("24h")):
        "Lifetime of an access token, from 1m to 30d, and no longer than JWT_REFRESH_EXPIRES_IN."
        => |c, text| c.accounts.access_token_lifetime = parse::duration(text, &(seconds(60)..=seconds(30 * DAY)))?;
    "JWT_REFRESH_EXPIRES_IN" "jwt_refresh_expires_in" (Some("7d")):
        "Lifetime of a refresh token, from 1m to 365d."
        => |c, text| c.accounts.refresh_token_lifetime = parse::duration(text, &(seconds(60)..=seconds(365 * DAY)))?;
    "DERMAGA_PASSWORD_RESET_EXPIRES_IN" "password_reset_expires_in" (Some("1h")):
        "Lifetime of a mailed token that replaces a forgotten password, from 1m to 7d."
        => |c, text| c.accounts.password_reset_lifetime = parse::duration(text, &(seconds(60)..=seconds(7 * DAY)))?;
    "DERMAGA_ADMIN_TWO_FACTOR" "admin_two_factor" (Some("false")):
        "Require two-factor sign-in of administrators: one without it reaches no administrators' route until it is turned on."
        => |c, text| c.accounts.admin_two_factor = parse::boolean(text)?;
    "DERMAGA_MASTER_KEY" "master_key" (None, secret):
        "Encrypts instances' secrets in the database: 64 hexadecimal digits. Several, separated by commas, allow rotation: the first encrypts, all decrypt. Made in the data folder in development."
        => |c, text| c.master_keys = lists::master_keys(text)?;
    "DERMAGA_ADMIN_EMAIL" "admin_email" (None):
        "E-mail of the first administrator, made at start when there is none yet."
        => |c, text| c.admin_email = Some(dermaga_shop::accounts::Email::parse(text)?.as_str().to_owned());
    "DERMAGA_ADMIN_PASSWORD" "admin_password" (None, secret):
        "Password of the first administrator."
        => |c, text| { dermaga_shop::accounts::check_rules(text)?; c.admin_password = Some(Secret::new(text)) };

    "DERMAGA_PLUGINS_DIR" "plugins_dir" (None):
        "Folder of plugin components (`*.wasm`) installed at start. Without it, `plugins` beside the binary or the checkout's."
        => |c, text| c.plugins_dir = Some(addresses::path(text)?.into());
    "DERMAGA_TEMPLATES_DIR" "templates_dir" (None):
        "Folder of service templates (`*.toml`) read at start. Without it, `service-templates` beside the binary or the checkout's."
        => |c, text| c.templates_dir = Some(addresses::path(text)?.into());
    "DERMAGA_PLUGIN_TRUSTED_KEYS" "plugins.trusted_keys" (None):
        "Public keys of publishers whose signatures of components are believed, as `NAME:BASE64`, separated by commas."
        => |c, text| c.plugins.trust.keys = lists::public_keys(text)?;
    "DERMAGA_PLUGIN_REQUIRE_SIGNATURE" "plugins.require_signature" (Some("false")):
        "Take and run a component only with a signature by a trusted key; in the plugins folder that is `NAME.wasm.sig` beside `NAME.wasm`."
        => |c, text| c.plugins.trust.required = parse::boolean(text)?;
    "DERMAGA_PLUGIN_BREAKER_FAILURES" "plugins.breaker_failures" (Some("5")):
        "Failures in a row of one function, by its own fault, that suspend that function of a plugin version on a server, up to 1000; 0 never does."
        => |c, text| c.plugins.breaker.failures = parse::number(text, &(0..=1000))?;
    "DERMAGA_PLUGIN_BREAKER_PAUSE" "plugins.breaker_pause" (Some("1m")):
        "Time that a version is suspended before one call tries it again, from 1s to 1d."
        => |c, text| c.plugins.breaker.pause = TimeDelta::from_std(parse::duration(text, &(seconds(1)..=seconds(DAY)))?).unwrap_or(TimeDelta::MAX);
    "DERMAGA_PLUGIN_POLL" "plugins.poll" (Some("2s")):
        "Longest time until a server notices an activation by another one, when the database does not tell it at once, from 1s to 1h."
        => |c, text| c.plugin_poll = parse::duration(text, &(seconds(1)..=seconds(3_600)))?;
    "DERMAGA_PLUGIN_CONCURRENCY" "plugins.concurrency" (Some("32")):
        "Plugin calls that may run at the same time, from 1 to 256."
        => |c, text| c.runtime.concurrency = parse::number(text, &(1..=256))?;
    "DERMAGA_PLUGIN_QUEUE_WAIT" "plugins.queue_wait" (Some("2s")):
        "Time that a plugin call waits for a free place before the request answers 503, up to 1m."
        => |c, text| c.runtime.queue_wait = parse::duration(text, &(seconds(0)..=seconds(60)))?;
    "DERMAGA_PLUGIN_QUICK_FUEL" "plugins.quick_fuel" (Some("10_000_000")):
        "Work a pricing or coupon call may do, in fuel (about one WebAssembly instruction each)."
        => |c, text| c.runtime.limits.quick.fuel = parse::number(text, &(10_000..=10_000_000_000))?;
    "DERMAGA_PLUGIN_QUICK_DEADLINE_MS" "plugins.quick_deadline_ms" (Some("500")):
        "Wall time of a pricing or coupon call in milliseconds: the second fence behind fuel."
        => |c, text| c.runtime.limits.quick.deadline = Duration::from_millis(parse::number(text, &(20..=60_000))?);
    "DERMAGA_PLUGIN_QUICK_MEMORY_MIB" "plugins.quick_memory_mib" (Some("16")):
        "Memory of a pricing or coupon call, in MiB."
        => |c, text| c.runtime.limits.quick.memory_bytes = parse::number(text, &(1..=1024))? * MIB;
    "DERMAGA_PLUGIN_QUICK_OUTPUT_BYTES" "plugins.quick_output_bytes" (Some("20_000")):
        "Bytes a pricing or coupon call may answer."
        => |c, text| c.runtime.limits.quick.output_bytes = parse::number(text, &(1_000..=100_000_000))?;
    "DERMAGA_PLUGIN_HEAVY_FUEL" "plugins.heavy_fuel" (Some("200_000_000")):
        "Work a manifests or health call may do, in fuel."
        => |c, text| c.runtime.limits.heavy.fuel = parse::number(text, &(10_000..=10_000_000_000))?;
    "DERMAGA_PLUGIN_HEAVY_DEADLINE_MS" "plugins.heavy_deadline_ms" (Some("5000")):
        "Wall time of a manifests or health call in milliseconds."
        => |c, text| c.runtime.limits.heavy.deadline = Duration::from_millis(parse::number(text, &(20..=60_000))?);
    "DERMAGA_PLUGIN_HEAVY_MEMORY_MIB" "plugins.heavy_memory_mib" (Some("32")):
        "Memory of a manifests or health call, in MiB."
        => |c, text| c.runtime.limits.heavy.memory_bytes = parse::number(text, &(1..=1024))? * MIB;
    "DERMAGA_PLUGIN_HEAVY_OUTPUT_BYTES" "plugins.heavy_output_bytes" (Some("512_000")):
        "Bytes a manifests or health call may answer."
        => |c, text| c.runtime.limits.heavy.output_bytes = parse::number(text, &(1_000..=100_000_000))?;
    "DERMAGA_PLUGIN_STACK_KIB" "plugins.stack_kib" (Some("512")):
        "Stack of a plugin call, in KiB."
        => |c, text| c.runtime.limits.stack_bytes = parse::number(text, &(64..=1024))? * KIB;
    "DERMAGA_PLUGIN_LOG_LINES" "plugins.log_lines" (Some("64")):
        "Log lines kept of one plugin call, up to 10000; further ones are dropped and counted."
        => |c, text| c.runtime.limits.log_lines = parse::number(text, &(0..=10_000))?;
    "DERMAGA_PLUGIN_LOG_LINE_BYTES" "plugins.log_line_bytes" (Some("1_000")):
        "Bytes kept of one log line of a plugin; the rest is cut."
        => |c, text| c.runtime.limits.log_line_bytes = parse::number(text, &(16..=100_000))?;
    "DERMAGA_PLUGIN_COMPONENT_MIB" "plugins.component_mib" (Some("4")):
        "Largest component of the standard class, in MiB."
        => |c, text| c.runtime.limits.component_bytes = parse::number(text, &(1..=256))? * MIB;
    "DERMAGA_PLUGIN_LARGE_COMPONENT_MIB" "plugins.large_component_mib" (Some("16")):
        "Largest component of a plugin that an administrator granted the large class, in MiB."
        => |c, text| c.runtime.limits.large.component_bytes = parse::number(text, &(1..=256))? * MIB;
    "DERMAGA_PLUGIN_LARGE_MEMORY_MIB" "plugins.large_memory_mib" (Some("64")):
        "Memory of any call to a plugin of the large class, in MiB."
        => |c, text| c.runtime.limits.large.memory_bytes = parse::number(text, &(1..=1024))? * MIB;
};

/// Money, people, messages and requests.
const OF_THE_SHOP: &[Setting] = settings! {
    "MIDTRANS_SERVER_KEY" "midtrans.server_key" (None, secret):
        "Midtrans' server key. Without it customers cannot top up (503 `PAYMENTS_NOT_CONFIGURED`), unless the sandbox is on."
        => |c, text| c.payments.midtrans.server_key = Some(Secret::new(midtrans::key(text)?));
    "MIDTRANS_CLIENT_KEY" "midtrans.client_key" (None):
        "Midtrans' client key. It is public and given with every top-up, for the payment page's JavaScript. A server key is refused here."
        => |c, text| c.payments.midtrans.client_key = Some(midtrans::key(text)?);
    "MIDTRANS_IS_PRODUCTION" "midtrans.is_production" (Some("false")):
        "Move real money: `true` for Midtrans' production, `false` for its sandbox. A production start with a server key requires `true`, and keys that do not begin with `SB-`."
        => |c, text| c.payments.midtrans.is_production = parse::boolean(text)?;
    "MIDTRANS_BASE_URL" "midtrans.base_url" (None, address):
        "Another server that speaks Midtrans' HTTP, instead of Midtrans' own; for tests. In production it begins with https://."
        => |c, text| c.payments.midtrans.base_url = Some(addresses::server(text)?);
    "MIDTRANS_NOTIFICATION_URL" "midtrans.notification_url" (None, address):
        "Address to which Midtrans sends its notices: this shop's `/api/wallet/webhook/midtrans`, as seen from outside. Without it, the one of Midtrans' dashboard."
        => |c, text| c.payments.midtrans.notification_url = Some(addresses::server(text)?);
    "MIDTRANS_FINISH_URL" "midtrans.finish_url" (None, address):
        "Page that a customer sees after paying. Without it, the one of Midtrans' dashboard; the same holds for the next two."
        => |c, text| c.payments.midtrans.finish_url = Some(addresses::url(text)?);
    "MIDTRANS_UNFINISH_URL" "midtrans.unfinish_url" (None, address):
        "Page for a customer who leaves the payment page without paying."
        => |c, text| c.payments.midtrans.unfinish_url = Some(addresses::url(text)?);
    "MIDTRANS_ERROR_URL" "midtrans.error_url" (None, address):
        "Page for a customer whose payment failed."
        => |c, text| c.payments.midtrans.error_url = Some(addresses::url(text)?);
    "MIDTRANS_TIMEOUT" "midtrans.timeout" (Some("8s")):
        "Time that one question to Midtrans may take, from 1s to 1m. A question without an answer is asked up to three times."
        => |c, text| c.payments.midtrans.timeout = parse::duration(text, &(seconds(1)..=seconds(60)))?;
    "DERMAGA_PAYMENTS_SANDBOX" "payments.sandbox" (Some("false")):
        "Let a server without MIDTRANS_SERVER_KEY play the gateway itself, with a page where a person presses Pay. `serve --dev` and `demo` turn it on; a production start refuses it."
        => |c, text| c.payments.sandbox = parse::boolean(text)?;
    "DERMAGA_CLOCK" "clock" (None):
        "For rehearsals: how far the shop's clock is from the system's (`+31d`, `-2h`), or the moment from which it runs when the server starts (`2027-01-31T10:00:00+07:00`). With `--dev` it can be moved later by PUT /api/admin/clock. A production start refuses it."
        => |c, text| c.clock = Some(text.parse()?);
    "WALLET_BALANCE_CAP" "wallet.balance_cap" (None):
        "Most paid credit that one customer may hold, in rupiah; a top-up that would lead to more is refused. Without it there is no limit."
        => |c, text| c.wallet.balance_cap = Some(Rupiah::new(parse::number(text, &(10_000..=1_000_000_000_000))?));
    "SHOP_NAME" "shop_name" (Some("Dermaga")):
        "Name of the shop on receipts. Up to 60 characters."
        => |c, text| c.wallet.shop_name = parse::name(text)?;
    "RECEIPT_FONT" "receipt_font" (None):
        "A TrueType or OpenType font file for letters on receipts that the included one (DejaVu Sans Mono: Latin, Greek, Cyrillic, Arabic and more) lacks, such as Chinese."
        => |c, text| c.wallet.receipt_font = Some(parse::font(addresses::path(text)?)?);
    "BILLING_TIMEZONE" "billing.timezone" (Some("Asia/Jakarta")):
        "Time zone of the shop's days and months and of its jobs: a name of the IANA time zone database. When clocks are moved, a wall time that is repeated is the first of the two, and one that is skipped is the end of the gap; jobs of every hour follow the time that passes."
        => |c, text| c.billing_timezone = parse::time_zone(text)?;
    "AUTO_RENEWAL_ENABLED" "billing.auto_renewal" (Some("true")):
        "Charge subscriptions for their next period when one is over. If `false`, they continue uncharged; those whose renewal is turned off end all the same."
        => |c, text| c.subscriptions.auto_renewal = parse::boolean(text)?;
    "GRACE_PERIOD_ENABLED" "billing.grace_period" (Some("true")):
        "Keep a subscription running for a while when the wallet cannot pay for it. If `false`, it is suspended at once."
        => |c, text| c.subscriptions.grace_period = parse::boolean(text)?;
    "GRACE_PERIOD_DAYS" "billing.grace_period_days" (Some("7")):
        "Days of that grace after the end of the period, within the bounds of the next two. A grace that has begun keeps its own."
        => |c, text| c.subscriptions.grace_days = parse::number(text, &(1..=MOST_GRACE_DAYS))?;
    "GRACE_PERIOD_MIN_DAYS" "billing.grace_period_min_days" (Some("1")):
        "Fewest days of a grace, 1 to 90: for GRACE_PERIOD_DAYS, and for the `graceDays` that an administrator sets."
        => |c, text| c.subscriptions.grace_min_days = parse::number(text, &(1..=MOST_GRACE_DAYS))?;
    "GRACE_PERIOD_MAX_DAYS" "billing.grace_period_max_days" (Some("30")):
        "Most days of a grace, 1 to 90; for both as well."
        => |c, text| c.subscriptions.grace_max_days = parse::number(text, &(1..=MOST_GRACE_DAYS))?;
    "SUSPENSION_RETENTION_DAYS" "billing.suspension_retention_days" (Some("14")):
        "Days that a suspended subscription keeps its data, 1 to 365. Then it ends."
        => |c, text| c.subscriptions.retention = Days::new(parse::number(text, &(1..=365))?);
    "BILLING_RETRY_ATTEMPTS" "billing.retry_attempts" (Some("3")):
        "Attempts to repeat, on its day, a renewal that failed through no fault of the customer (a plugin that fails), 0 to 20."
        => |c, text| c.subscriptions.retries = parse::number(text, &(0..=20))?;
    "BILLING_RETRY_DELAY_MINUTES" "billing.retry_delay_minutes" (Some("30")):
        "Minutes between those attempts, 1 to 1440."
        => |c, text| c.subscriptions.retry_delay = TimeDelta::minutes(parse::number(text, &(1..=1440))?);
    "CRON_DAILY_RENEWALS" "cron.daily_renewals" (Some("0 2 * * *")):
        "When subscriptions whose period is over are charged for the next one, or end."
        => |c, text| c.schedules.daily_renewals = text.parse()?;
    "CRON_GRACE_PERIOD" "cron.grace_period" (Some("0 3 * * *")):
        "When subscriptions whose grace is over are suspended, and those end that were suspended for SUSPENSION_RETENTION_DAYS."
        => |c, text| c.schedules.grace_period = text.parse()?;
    "LOW_CREDIT_WARNING_ENABLED" "billing.low_credit_warning" (Some("true")):
        "Warn customers whose next period is due soon and whose balance is too small for it."
        => |c, text| c.subscriptions.low_credit_warning = parse::boolean(text)?;
    "LOW_CREDIT_WARNING_DAYS" "billing.low_credit_warning_days" (Some("3")):
        "Days before the period at which they are warned, 1 to 30. Without such warnings, for the summary and the list of administrators alone."
        => |c, text| c.subscriptions.low_credit_days = parse::number(text, &(1..=30))?;
    "CRON_LOW_CREDIT_NOTIFICATIONS" "cron.low_credit_notifications" (Some("0 9 * * *")):
        "When customers are warned of a balance that is too small."
        => |c, text| c.schedules.low_credit_notifications = text.parse()?;
    "CRON_GRACE_PERIOD_REMINDERS" "cron.grace_period_reminders" (Some("0 18 * * *")):
        "When customers are reminded of a grace that ends."
        => |c, text| c.schedules.grace_period_reminders = text.parse()?;
    "CRON_BILLING_STATS" "cron.billing_stats" (Some("0 23 * * *")):
        "When administrators get a summary of the time since the last one, and the figures of days that are over are kept for statistics."
        => |c, text| c.schedules.billing_stats = text.parse()?;
    "CRON_COUPON_STATUSES" "cron.coupon_statuses" (Some("0 * * * *")):
        "When coupons whose time, uses or budget are over are marked so. They are refused at once, whatever this says."
        => |c, text| c.schedules.coupon_statuses = text.parse()?;
    "CRON_WALLET_FLOAT" "cron.wallet_float" (Some("*/10 * * * *")):
        "When the paid credit of all customers is compared with WALLET_FLOAT_WARNING."
        => |c, text| c.schedules.wallet_float = text.parse()?;
    "CRON_LEDGER_SEAL" "cron.ledger_seal" (Some("10 0 * * *")):
        "When the ledger is sealed: the end of each wallet's chain is recorded, so that a lost end is noticed, and the sum of each thousand entries of a wallet, for statements."
        => |c, text| c.schedules.ledger_seal = text.parse()?;
    "CRON_LEDGER_VERIFY" "cron.ledger_verify" (Some("40 3 * * *")):
        "When the books are proven, for the alert BOOKS_BROKEN, as `dermaga ledger verify` does."
        => |c, text| c.schedules.ledger_verify = text.parse()?;
    "CRON_DATABASE_STATISTICS" "cron.database_statistics" (Some("40 4 * * *")):
        "When SQLite looks at the sizes of its tables, by which it chooses indexes; it does so at the start, too. PostgreSQL does it by itself."
        => |c, text| c.schedules.database_statistics = text.parse()?;
    "CRON_IMAGE_AGES" "cron.image_ages" (Some("20 5 * * *")):
        "When the images on sale are compared with the days that templates name, for the alert IMAGE_OLD."
        => |c, text| c.schedules.image_ages = text.parse()?;
    "DERMAGA_IMAGE_CHECK_DAYS" "image_check_days" (Some("90")):
        "Days after which an image counts as old without a look for a newer one, by checked_on in its template, from 1 to 3650."
        => |c, text| c.image_check_days = parse::number(text, &(1..=3650))?;
    "WAITLIST_HOLD_HOURS" "waitlist_hold_hours" (Some("24")):
        "Hours for which a place of a plan that was sold out is held for the customer who waited, from 1 to 720; then it goes to the next."
        => |c, text| c.catalog.waitlist_hold = TimeDelta::hours(parse::number(text, &(1..=720))?);
    "CRON_HEALTH_HISTORY" "cron.health_history" (Some("20 4 * * *")):
        "When the history of instances' health that is older than DERMAGA_HEALTH_HISTORY_DAYS is removed."
        => |c, text| c.schedules.health_history = text.parse()?;
    "CRON_TICKET_SILENCE" "cron.ticket_silence" (Some("30 * * * *")):
        "When answered tickets are closed whose customers have not written for TICKETS_SILENCE_DAYS."
        => |c, text| c.schedules.ticket_silence = text.parse()?;
    "CRON_ATTACHMENT_ORPHANS" "cron.attachment_orphans" (Some("15 * * * *")):
        "When pictures are removed whose uploads were cut off an hour ago or earlier."
        => |c, text| c.schedules.attachment_orphans = text.parse()?;
    "WALLET_FLOAT_WARNING" "wallet.float_warning" (None):
        "Paid credit of all customers together, in rupiah, from which administrators are warned by an alert. Without it there is no warning."
        => |c, text| c.wallet.float_warning = Some(parse::number(text, &(1..=1_000_000_000_000_000_i64))?.into());

    "DERMAGA_NOTIFICATION_TEMPLATES_DIR" "notifications.templates_dir" (None):
        "Folder of templates that replace the included texts of notifications, by their names (`top-up-received.id.txt`, `layout.html`). Read at start and by POST /api/admin/notifications/templates/reload."
        => |c, text| c.notifications.templates = Some(addresses::path(text)?.into());
    "SMTP_URL" "mail.smtp_url" (None, secret):
        "Server that takes the shop's mails: `smtp://user:password@host:587` asks for STARTTLS, `smtps://` for TLS from the first byte, `smtp://host?tls=none` for neither. Without it, notifications are in inboxes only."
        => |c, text| c.notifications.smtp = Some(SmtpUrl::parse(text)?);
    "SMTP_CONNECTIONS" "mail.smtp_connections" (Some("8")):
        "Connections to the mail server at the same time, from 1 to 100."
        => |c, text| c.notifications.connections = parse::number(text, &(1..=100))?;
    "SMTP_CA_FILE" "mail.smtp_ca_file" (None):
        "File of certificates (PEM) of authorities that may have signed the mail server's certificate, beside those of the system."
        => |c, text| c.notifications.authorities = Some(Authorities::read(addresses::path(text)?)?);
    "SMTP_RETRY_HOURS" "mail.smtp_retry_hours" (Some("72")):
        "Hours for which a mail is tried again that the mail server does not take for now, or while it is away, from 1 to 720."
        => |c, text| c.notifications.retry = TimeDelta::hours(parse::number(text, &(1..=720))?);
    "MAIL_FROM" "mail.from" (None):
        "Sender of the shop's mails, such as `Toko <toko@example.com>`. Required together with SMTP_URL."
        => |c, text| c.notifications.from = Some(Sender::parse(text)?);
    "SHOP_URL" "shop_url" (None, address):
        "Address of the shop as customers see it, for links in mails: to /verify-email and /reset-password, pages that you make, and to /api. Without it, mails have codes, and no link that ends further ones. Required together with SMTP_URL in production."
        => |c, text| c.notifications.shop_url = Some(addresses::url(text)?);

    "DERMAGA_WEBHOOKS_PER_CUSTOMER" "webhooks.per_customer" (Some("5")):
        "Webhooks that one customer may have, from 1 to 100."
        => |c, text| c.webhooks.per_customer = parse::number(text, &(1..=100))?;
    "DERMAGA_WEBHOOK_TIMEOUT" "webhooks.timeout" (Some("15s")):
        "Time that a webhook may take to answer an event, from 1s to 30s. Then the event is sent again later."
        => |c, text| c.webhooks.timeout = parse::duration(text, &(seconds(1)..=seconds(30)))?;
    "DERMAGA_WEBHOOK_DISABLE_DAYS" "webhooks.disable_days" (Some("5")):
        "Days that a webhook may fail without a success between, from 1 to 30. Then it is disabled, and its owner gets a notification."
        => |c, text| c.webhooks.disable_after = TimeDelta::days(parse::number(text, &(1..=30))?);
    "DERMAGA_WEBHOOK_CA_FILE" "webhooks.ca_file" (None):
        "File of certificates (PEM) of authorities that may have signed certificates of webhooks' servers, beside those of the system."
        => |c, text| c.webhooks.authorities = Some(Authorities::read(addresses::path(text)?)?);
    "DERMAGA_WEBHOOK_ALLOW_HTTP" "webhooks.allow_http" (Some("false")):
        "Allow webhooks addresses that begin with http://, for development. A production start refuses it."
        => |c, text| c.webhooks.allow_http = parse::boolean(text)?;
    "DERMAGA_WEBHOOK_PERMIT_LOOPBACK" "webhooks.permit_loopback" (Some("false")):
        "Allow webhooks on the shop's own machine, for development; other private addresses never. A production start refuses it."
        => |c, text| c.webhooks.permit_loopback = parse::boolean(text)?;
    "TICKETS_SILENCE_DAYS" "tickets.silence_days" (Some("14")):
        "Days without a word of the customer after which an answered ticket is closed, up to 365; 0 never."
        => |c, text| c.tickets.silence = Some(parse::number(text, &(0..=365))?).filter(|days| *days > 0).map(TimeDelta::days);
    "TICKETS_REPLY_ADDRESS" "tickets.reply_address" (None):
        "Address that answers to mails about tickets go to, such as `tiket@reply.example.com`; each ticket adds `+`, its number and a token. Its mail server hands them over by TICKETS_MAIL_SECRET or TICKETS_MAIL_PATH. Without it, customers answer on the page."
        => |c, text| c.tickets.reply_address = Some(ReplyAddress::parse(text)?);
    "TICKETS_MAIL_SECRET" "tickets.mail_secret" (None, secret):
        "Signs received mails that are sent to POST /api/tickets/mail: `whsec_` and 24 bytes or more in Base64, as in the Standard Webhooks specification."
        => |c, text| c.tickets.mail_secret = Some(parse::signing_secret(text)?);
    "TICKETS_MAIL_PATH" "tickets.mail_path" (None, secret):
        "Last part of the path /api/tickets/mail/... for received mails without a signature: 32 to 200 letters and digits; `openssl rand -hex 32` makes one."
        => |c, text| c.tickets.mail_path = Some(parse::path_secret(text)?);
    "DERMAGA_ATTACHMENTS" "attachments.place" (None):
        "Place of the pictures of tickets: a folder, or `s3://bucket/prefix`, which several servers need. Without it, `attachments` in the data folder."
        => |c, text| c.files.place = Some(Place::parse(text)?);
    "DERMAGA_S3_ENDPOINT" "attachments.s3_endpoint" (None, address):
        "Address of the service that has the bucket, such as `https://s3.example.com`, without user and query. Without it, Amazon's."
        => |c, text| c.files.endpoint = Some(addresses::buckets(text)?);
    "DERMAGA_S3_REGION" "attachments.s3_region" (Some("us-east-1")):
        "Region of the bucket."
        => |c, text| c.files.region = parse::region(text)?;
    "DERMAGA_S3_ACCESS_KEY" "attachments.s3_access_key" (None):
        "Name of the key that may read, write and delete in the bucket."
        => |c, text| c.files.access_key = Some(Secret::new(text));
    "DERMAGA_S3_SECRET_KEY" "attachments.s3_secret_key" (None, secret):
        "The secret of that key."
        => |c, text| c.files.secret_key = Some(Secret::new(text));

    "DERMAGA_REGISTRATIONS_PER_HOUR" "registrations_per_hour" (Some("20")):
        "Accounts that may be made from one address (a /64 of IPv6) within an hour, from 1 to 1000000. Each server counts by itself."
        => |c, text| c.accounts.registrations_per_hour = parse::number(text, &(1..=1_000_000))?;
    "BONUS_REQUIRES_VERIFIED_EMAIL" "bonus_requires_verified_email" (Some("auto")):
        "Hold welcome bonuses back until the new customer's e-mail address is confirmed: `true`, `false`, or `auto` for true in production alone. They need SMTP_URL then. Each address has them once, whatever is between `+` and `@`; dots are not looked at, so that one more or less makes another address."
        => |c, text| c.coupons.bonus_requires_verified_email = parse::word(text, &[("true", true), ("false", false), ("auto", c.is_production())])?;
    "WALLET_OPEN_TOP_UPS" "wallet.open_top_ups" (Some("10")):
        "Top-ups of one customer that may wait to be paid at the same time, from 1 to 1000."
        => |c, text| c.payments.open_top_ups = parse::number(text, &(1..=1000))?;
    "DERMAGA_HEADER_TIMEOUT" "header_timeout" (Some("10s")):
        "Time that a client may take to send the head of a request before the connection is closed, from 1s to 10m."
        => |c, text| c.http.connections.header_timeout = parse::duration(text, &(seconds(1)..=seconds(600)))?;
    "DERMAGA_IDLE_TIMEOUT" "idle_timeout" (Some("75s")):
        "Time that a connection is kept open between two requests, or while its client reads nothing of an answer, from 1s to 1h."
        => |c, text| c.http.connections.idle_timeout = parse::duration(text, &(seconds(1)..=seconds(3_600)))?;
    "DERMAGA_MAX_CONNECTIONS" "max_connections" (Some("10_000")):
        "Connections at the same time, from 16 to 1000000; never more than the process may open files for. Further ones are answered 503."
        => |c, text| c.http.connections.most = parse::number(text, &(16..=1_000_000))?;
    "DERMAGA_MAX_CONNECTIONS_PER_ADDRESS" "max_connections_per_address" (Some("256")):
        "Connections at the same time from one address (a /64 of IPv6), from 1 to 1000000; further ones are answered 429. No more than DERMAGA_MAX_CONNECTIONS. Refused beside DERMAGA_TRUSTED_PROXIES: the connections of all are theirs."
        => |c, text| c.http.connections.most_per_address = parse::number(text, &(1..=1_000_000))?;
    "DERMAGA_REQUEST_TIMEOUT" "request_timeout" (Some("30s")):
        "Time that a request may take before it answers 408, from 1s to 10m."
        => |c, text| c.http.request_timeout = parse::duration(text, &(seconds(1)..=seconds(600)))?;
    "DERMAGA_DRAIN_TIME" "drain_time" (Some("0s")):
        "Time that a server that is stopped still takes requests after `/readyz` has begun to answer 503, from 0s to 1m. Behind a balancer it must be longer than the balancer takes to notice."
        => |c, text| c.http.drain_time = parse::duration(text, &(seconds(0)..=seconds(60)))?;
    "DERMAGA_CATALOGUE_REQUESTS_PER_MINUTE" "rates.catalogue" (Some("100")):
        "Requests without an account that one address (a /64 of IPv6) may send in a minute: the catalogue, the documents, signing in; from 1 to 1000000. All servers on one PostgreSQL count together, here and below."
        => |c, text| c.rates.catalogue = parse::number(text, &(1..=1_000_000))?;
    "DERMAGA_CUSTOMER_REQUESTS_PER_MINUTE" "rates.customers" (Some("60")):
        "Requests that one customer may send in a minute, with all sessions and API tokens, from 1 to 1000000."
        => |c, text| c.rates.customers = parse::number(text, &(1..=1_000_000))?;
    "DERMAGA_ADMIN_REQUESTS_PER_MINUTE" "rates.administrators" (Some("200")):
        "Requests that one administrator may send in a minute, from 1 to 1000000."
        => |c, text| c.rates.administrators = parse::number(text, &(1..=1_000_000))?;
    "DERMAGA_WEBHOOK_REQUESTS_PER_MINUTE" "rates.webhooks" (Some("1000")):
        "Notices of the payment gateway and received mails that one address may send in a minute, from 1 to 1000000."
        => |c, text| c.rates.webhooks = parse::number(text, &(1..=1_000_000))?;
    "DERMAGA_TRUSTED_PROXIES" "trusted_proxies" (Some("0")):
        "Reverse proxies in front of this server that append to `X-Forwarded-For`; clients' addresses are read from there, for throttling. 0 believes the connection alone."
        => |c, text| c.http.trusted_proxies = parse::number(text, &(0..=10))?;
    "DERMAGA_CORS_ORIGINS" "cors_origins" (None):
        "Sites whose pages may call the API from a browser, as `https://toko.example.com`, separated by commas. Without it, pages of the server's own address alone. Cookies are never used, and `*` is refused."
        => |c, text| c.http.origins = text.parse()?;
    "DERMAGA_LOG" "log" (Some("info")):
        "Filter of the log on stderr: a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), or a filter such as `info,dermaga=debug`. Each request is a line of `info`, a probe that succeeds one of `debug`."
        => |c, text| c.telemetry.log = log_filter::parse(text)?;
    "DERMAGA_LOG_FORMAT" "log_format" (Some("text")):
        "`text` or `json`, one event a line."
        => |c, text| c.telemetry.log_format = parse::word(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])?;
    "OTEL_EXPORTER_OTLP_ENDPOINT" "otlp_endpoint" (None, address):
        "Address of an OpenTelemetry collector, such as `http://otel-collector:4318`, to which the server sends traces by OTLP over HTTP (`/v1/traces` is added). Without it, none are made."
        => |c, text| c.telemetry.otlp_endpoint = Some(addresses::server(text)?);
};
