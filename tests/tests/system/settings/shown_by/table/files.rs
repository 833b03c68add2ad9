//! Files of the tests that the table names.

pub(super) const CAPACITY: &str = "tests/tests/system/api/capacity.rs";
pub(super) const CLI: &str = "host/server/tests/process/cli.rs";
pub(super) const ROLLOUT: &str = "host/server/tests/process/rollout.rs";
pub(super) const DATABASE: &str = "host/server/tests/process/database.rs";
pub(super) const TRACES: &str = "host/server/tests/process/traces.rs";

pub(super) const LIFE: &str = "tests/tests/system/api/plugin_lifecycle.rs";
pub(super) const SUSPENSIONS: &str = "tests/tests/system/api/plugin_suspensions.rs";
pub(super) const SIGNATURES: &str = "tests/tests/system/api/plugin_signatures.rs";

pub(super) const MAILS: &str = "tests/tests/system/api/mails.rs";
pub(super) const WEBHOOKS: &str = "tests/tests/system/api/webhook_endpoints.rs";
pub(super) const WEBHOOK_TLS: &str = "tests/tests/system/api/webhook_tls.rs";
pub(super) const NOTIFICATIONS: &str = "tests/tests/system/api/notifications.rs";

pub(super) const TICKETS: &str = "tests/tests/system/api/ticket_administration.rs";
pub(super) const TICKET_MAILS: &str = "tests/tests/system/api/ticket_mails.rs";
pub(super) const BUCKET: &str = "tests/tests/system/bucket.rs";

pub(super) const METRICS: &str = "tests/tests/system/api/metrics.rs";

pub(super) const RENEWALS: &str = "tests/tests/system/journeys/renewal.rs";

pub(super) const CORS: &str = "tests/tests/system/api/cors.rs";
pub(super) const RATES: &str = "tests/tests/system/api/rate_limits.rs";
pub(super) const RECOVERY: &str = "tests/tests/system/api/recovery.rs";
pub(super) const TWO_FACTOR: &str = "tests/tests/system/api/two_factor.rs";
pub(super) const SMTP_SERVER: &str = "tests/tests/system/smtp_server.rs";
pub(super) const WAITLIST: &str = "tests/tests/system/api/waitlist.rs";
pub(super) const STRANGERS: &str = "tests/tests/system/hostile/strangers.rs";

pub(super) const KEYS: &str = "tests/tests/system/settings/keys.rs";
pub(super) const PLUGINS: &str = "tests/tests/system/settings/plugins.rs";
pub(super) const IMAGES: &str = "tests/tests/system/settings/images.rs";
pub(super) const ENTRY: &str = "tests/tests/system/settings/entry.rs";
pub(super) const INSTANCES: &str = "tests/tests/system/settings/instances.rs";
pub(super) const ROLLOUTS: &str = "tests/tests/system/api/rollouts.rs";
pub(super) const MONEY: &str = "tests/tests/system/settings/money.rs";
pub(super) const HERE: &str = "tests/tests/system/settings.rs";
