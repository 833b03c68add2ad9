//! The table of the tests that show the effect of each setting.

/// File, test, and the settings whose effect it shows.
pub(super) const SHOWN_BY: &[(&str, &str, &[&str])] = &[
    (
        CLI,
        "a_production_start_without_keys_is_refused",
        &["DERMAGA_ENV"],
    ),
    (
        HERE,
        "a_server_starts_as_it_is_told",
        &["DERMAGA_LISTEN", "DERMAGA_MIGRATE"],
    ),
    (
        KEYS,
        "what_a_server_keeps_lies_in_its_data_folder",
        &["DERMAGA_DATA_DIR", "DATABASE_URL"],
    ),
    (
        KEYS,
        "a_token_is_good_where_its_secret_is_known",
        &["JWT_SECRET"],
    ),
    (
        KEYS,
        "tokens_live_as_long_as_they_are_given",
        &["JWT_EXPIRES_IN", "JWT_REFRESH_EXPIRES_IN"],
    ),
    (
        RECOVERY,
        "a_token_is_good_as_long_as_the_setting_says",
        &["DERMAGA_PASSWORD_RESET_EXPIRES_IN"],
    ),
    (
        TWO_FACTOR,
        "administrators_need_a_code_where_the_setting_says",
        &["DERMAGA_ADMIN_TWO_FACTOR"],
    ),
    (
        KEYS,
        "credentials_open_where_their_key_is_known",
        &["DERMAGA_MASTER_KEY"],
    ),
    (
        HERE,
        "the_first_administrator_is_the_one_named",
        &["DERMAGA_ADMIN_EMAIL", "DERMAGA_ADMIN_PASSWORD"],
    ),
    (
        KEYS,
        "what_is_sold_comes_from_the_folders_named",
        &["DERMAGA_PLUGINS_DIR", "DERMAGA_TEMPLATES_DIR"],
    ),
    (SMTP_SERVER, "mails_arrive_by_starttls", &["SMTP_CA_FILE"]),
    (
        WAITLIST,
        "a_place_is_held_as_long_as_the_setting_says",
        &["WAITLIST_HOLD_HOURS"],
    ),
    (
        SIGNATURES,
        "only_signed_components_are_taken_and_run",
        &[
            "DERMAGA_PLUGIN_TRUSTED_KEYS",
            "DERMAGA_PLUGIN_REQUIRE_SIGNATURE",
        ],
    ),
    (
        SUSPENSIONS,
        "suspensions_are_as_an_operator_decides",
        &[
            "DERMAGA_PLUGIN_BREAKER_FAILURES",
            "DERMAGA_PLUGIN_BREAKER_PAUSE",
        ],
    ),
    (
        LIFE,
        "the_poll_finds_what_nobody_told",
        &["DERMAGA_PLUGIN_POLL"],
    ),
    (
        PLUGINS,
        "a_call_without_a_place_waits_and_then_answers_busy",
        &["DERMAGA_PLUGIN_CONCURRENCY", "DERMAGA_PLUGIN_QUEUE_WAIT"],
    ),
    (
        PLUGINS,
        "every_limit_of_a_call_is_the_one_that_was_set",
        &[
            "DERMAGA_PLUGIN_QUICK_FUEL",
            "DERMAGA_PLUGIN_QUICK_MEMORY_MIB",
            "DERMAGA_PLUGIN_QUICK_OUTPUT_BYTES",
            "DERMAGA_PLUGIN_HEAVY_FUEL",
            "DERMAGA_PLUGIN_HEAVY_MEMORY_MIB",
            "DERMAGA_PLUGIN_HEAVY_OUTPUT_BYTES",
            "DERMAGA_PLUGIN_STACK_KIB",
        ],
    ),
    (
        PLUGINS,
        "a_deadline_is_the_one_of_its_kind_of_call",
        &[
            "DERMAGA_PLUGIN_QUICK_DEADLINE_MS",
            "DERMAGA_PLUGIN_HEAVY_DEADLINE_MS",
        ],
    ),
    (
        PLUGINS,
        "a_component_may_be_as_large_as_was_set",
        &[
            "DERMAGA_PLUGIN_COMPONENT_MIB",
            "DERMAGA_PLUGIN_LARGE_COMPONENT_MIB",
        ],
    ),
    (
        PLUGINS,
        "a_large_plugin_has_the_memory_that_was_set",
        &["DERMAGA_PLUGIN_LARGE_MEMORY_MIB"],
    ),
    (
        PLUGINS,
        "so_many_lines_of_a_call_are_kept_so_long",
        &["DERMAGA_PLUGIN_LOG_LINES", "DERMAGA_PLUGIN_LOG_LINE_BYTES"],
    ),
    (
        INSTANCES,
        "instances_go_where_the_provisioner_says",
        &["DERMAGA_PROVISIONER", "KUBECONFIG"],
    ),
    (
        CAPACITY,
        "room_is_asked_for_and_kept_free_as_the_settings_say",
        &["DERMAGA_CAPACITY_CHECK", "DERMAGA_CAPACITY_HEADROOM"],
    ),
    (
        INSTANCES,
        "manifests_carry_what_the_operator_decided",
        &[
            "DERMAGA_BASE_DOMAIN",
            "DERMAGA_MANIFESTS_DIR",
            "DERMAGA_INGRESS_CLASS",
            "DERMAGA_INGRESS_NAMESPACE",
            "DERMAGA_STORAGE_CLASS",
        ],
    ),
    (
        ENTRY,
        "an_ingress_has_what_its_controller_reads",
        &[
            "DERMAGA_INGRESS_CONTROLLER",
            "DERMAGA_INGRESS_ISSUER",
            "DERMAGA_INGRESS_TLS_SECRET",
            "DERMAGA_ENTRY_ANNOTATIONS",
            "DERMAGA_ENTRY_TIMEOUT",
            "DERMAGA_ENTRY_BODY_MIB",
        ],
    ),
    (
        ENTRY,
        "a_gateway_gets_routes_in_the_place_of_ingresses",
        &[
            "DERMAGA_ENTRY",
            "DERMAGA_GATEWAY_NAME",
            "DERMAGA_GATEWAY_NAMESPACE",
            "DERMAGA_GATEWAY_SECTION",
            "DERMAGA_GATEWAY_CONTROLLER",
        ],
    ),
    (
        ENTRY,
        "domains_are_as_many_and_proven_where_the_operator_says",
        &["DERMAGA_DOMAINS_PER_INSTANCE", "DERMAGA_NAME_SERVER"],
    ),
    (
        ENTRY,
        "pods_run_where_and_from_where_the_operator_says",
        &[
            "DERMAGA_NODE_SELECTOR",
            "DERMAGA_TOLERATIONS",
            "DERMAGA_PRIORITY_CLASS",
            "DERMAGA_IMAGE_MIRRORS",
            "DERMAGA_IMAGE_PULL_SECRET",
            "DERMAGA_REQUEST_PERCENT",
        ],
    ),
    (
        INSTANCES,
        "secrets_come_from_the_store_that_is_named",
        &["DERMAGA_SECRET_STORE"],
    ),
    (
        INSTANCES,
        "drift_is_repaired_at_the_next_resync",
        &["DERMAGA_RESYNC_SECONDS"],
    ),
    (
        ROLLOUTS,
        "an_upgrade_whose_volume_does_not_grow_is_undone_in_its_minutes",
        &["DERMAGA_ROLLOUT_MINUTES"],
    ),
    (
        INSTANCES,
        "health_is_mended_and_kept_as_the_settings_say",
        &["DERMAGA_HEALING_PATIENCE", "DERMAGA_HEALTH_HISTORY_DAYS"],
    ),
    (
        INSTANCES,
        "so_many_instances_are_worked_on_at_once",
        &["DERMAGA_PROVISIONING_CONCURRENCY"],
    ),
    (
        MONEY,
        "payments_go_where_the_settings_say",
        &[
            "MIDTRANS_SERVER_KEY",
            "MIDTRANS_BASE_URL",
            "MIDTRANS_CLIENT_KEY",
            "MIDTRANS_NOTIFICATION_URL",
            "MIDTRANS_FINISH_URL",
            "MIDTRANS_UNFINISH_URL",
            "MIDTRANS_ERROR_URL",
        ],
    ),
    (
        MONEY,
        "real_money_needs_a_real_key",
        &["MIDTRANS_IS_PRODUCTION"],
    ),
    (
        MONEY,
        "a_silent_gateway_is_waited_for_so_long",
        &["MIDTRANS_TIMEOUT"],
    ),
    (
        MONEY,
        "a_sandbox_is_played_where_it_was_asked_for",
        &["DERMAGA_PAYMENTS_SANDBOX"],
    ),
    (
        MONEY,
        "the_clock_starts_where_it_was_put",
        &["DERMAGA_CLOCK"],
    ),
    (
        MONEY,
        "a_wallet_holds_so_much_at_the_most",
        &["WALLET_BALANCE_CAP"],
    ),
    (
        RENEWALS,
        "the_settings_decide",
        &[
            "AUTO_RENEWAL_ENABLED",
            "GRACE_PERIOD_ENABLED",
            "GRACE_PERIOD_DAYS",
            "SUSPENSION_RETENTION_DAYS",
        ],
    ),
    (
        HERE,
        "a_grace_is_as_long_as_its_bounds_allow",
        &["GRACE_PERIOD_MIN_DAYS", "GRACE_PERIOD_MAX_DAYS"],
    ),
    (
        RENEWALS,
        "a_failed_renewal_is_tried_again_when_the_settings_say",
        &["BILLING_RETRY_ATTEMPTS", "BILLING_RETRY_DELAY_MINUTES"],
    ),
    (
        HERE,
        "jobs_run_when_the_settings_say",
        &[
            "CRON_DAILY_RENEWALS",
            "CRON_GRACE_PERIOD",
            "CRON_LOW_CREDIT_NOTIFICATIONS",
            "CRON_GRACE_PERIOD_REMINDERS",
            "CRON_BILLING_STATS",
            "CRON_COUPON_STATUSES",
            "CRON_WALLET_FLOAT",
            "CRON_LEDGER_SEAL",
            "CRON_LEDGER_VERIFY",
            "CRON_DATABASE_STATISTICS",
            "CRON_IMAGE_AGES",
            "CRON_HEALTH_HISTORY",
            "CRON_TICKET_SILENCE",
            "CRON_ATTACHMENT_ORPHANS",
        ],
    ),
    (
        TICKETS,
        "silence_closes_after_the_days_that_were_set",
        &["TICKETS_SILENCE_DAYS"],
    ),
    (
        TICKET_MAILS,
        "mails_are_taken_as_the_settings_say",
        &[
            "TICKETS_REPLY_ADDRESS",
            "TICKETS_MAIL_SECRET",
            "TICKETS_MAIL_PATH",
        ],
    ),
    (
        BUCKET,
        "servers_share_the_pictures_in_a_bucket",
        &[
            "DERMAGA_ATTACHMENTS",
            "DERMAGA_S3_ENDPOINT",
            "DERMAGA_S3_REGION",
            "DERMAGA_S3_ACCESS_KEY",
            "DERMAGA_S3_SECRET_KEY",
        ],
    ),
    (
        IMAGES,
        "an_old_image_is_an_alert_until_its_template_is_renewed",
        &["DERMAGA_IMAGE_CHECK_DAYS"],
    ),
    (
        METRICS,
        "the_pool_of_postgresql_is_as_large_as_set",
        &["DERMAGA_DATABASE_CONNECTIONS"],
    ),
    (
        DATABASE,
        "connections_are_waited_for_kept_and_used_as_long_as_set",
        &[
            "DERMAGA_DATABASE_ACQUIRE_TIMEOUT",
            "DERMAGA_DATABASE_IDLE_TIMEOUT",
            "DERMAGA_DATABASE_STATEMENT_TIMEOUT",
        ],
    ),
    (
        DATABASE,
        "a_certificate_of_another_authority_is_refused",
        &["DERMAGA_DATABASE_TLS", "DERMAGA_DATABASE_CA_FILE"],
    ),
    (
        DATABASE,
        "a_pooler_is_taken_for_what_is_set",
        &["DERMAGA_DATABASE_POOLER"],
    ),
    (
        PLUGINS,
        "a_request_that_takes_too_long_is_answered",
        &["DERMAGA_REQUEST_TIMEOUT"],
    ),
    (
        HERE,
        "a_receipt_bears_the_shops_name",
        &["SHOP_NAME", "RECEIPT_FONT"],
    ),
    (
        MONEY,
        "a_month_begins_where_the_shop_is",
        &["BILLING_TIMEZONE"],
    ),
    (
        MONEY,
        "paid_credit_is_capped_and_the_float_is_watched",
        &["WALLET_FLOAT_WARNING"],
    ),
    (
        HERE,
        "guesses_are_counted_against_whom_the_proxies_saw",
        &["DERMAGA_TRUSTED_PROXIES"],
    ),
    (
        STRANGERS,
        "half_sent_requests_do_not_stop_the_shop",
        &[
            "DERMAGA_HEADER_TIMEOUT",
            "DERMAGA_MAX_CONNECTIONS_PER_ADDRESS",
        ],
    ),
    (
        STRANGERS,
        "connections_are_limited_in_all",
        &["DERMAGA_IDLE_TIMEOUT", "DERMAGA_MAX_CONNECTIONS"],
    ),
    (
        NOTIFICATIONS,
        "templates_of_the_operator_are_checked_and_used",
        &["DERMAGA_NOTIFICATION_TEMPLATES_DIR"],
    ),
    (
        NOTIFICATIONS,
        "warnings_are_as_early_as_the_settings_say",
        &["LOW_CREDIT_WARNING_ENABLED", "LOW_CREDIT_WARNING_DAYS"],
    ),
    (
        MAILS,
        "mails_go_where_the_settings_say",
        &[
            "SMTP_URL",
            "SMTP_CONNECTIONS",
            "SMTP_RETRY_HOURS",
            "MAIL_FROM",
            "SHOP_URL",
        ],
    ),
    (
        WEBHOOKS,
        "webhooks_are_as_the_settings_say",
        &[
            "DERMAGA_WEBHOOKS_PER_CUSTOMER",
            "DERMAGA_WEBHOOK_TIMEOUT",
            "DERMAGA_WEBHOOK_DISABLE_DAYS",
            "DERMAGA_WEBHOOK_ALLOW_HTTP",
            "DERMAGA_WEBHOOK_PERMIT_LOOPBACK",
        ],
    ),
    (
        WEBHOOK_TLS,
        "an_authority_of_the_operators_own_is_trusted",
        &["DERMAGA_WEBHOOK_CA_FILE"],
    ),
    (
        STRANGERS,
        "accounts_and_top_ups_are_limited",
        &[
            "BONUS_REQUIRES_VERIFIED_EMAIL",
            "DERMAGA_REGISTRATIONS_PER_HOUR",
            "WALLET_OPEN_TOP_UPS",
        ],
    ),
    (
        RATES,
        "each_class_has_the_limit_that_was_set",
        &[
            "DERMAGA_CATALOGUE_REQUESTS_PER_MINUTE",
            "DERMAGA_CUSTOMER_REQUESTS_PER_MINUTE",
            "DERMAGA_ADMIN_REQUESTS_PER_MINUTE",
            "DERMAGA_WEBHOOK_REQUESTS_PER_MINUTE",
        ],
    ),
    (
        ROLLOUT,
        "a_rollout_under_load_loses_nothing",
        &["DERMAGA_DRAIN_TIME"],
    ),
    (
        CORS,
        "only_pages_of_sites_that_are_listed_may_call",
        &["DERMAGA_CORS_ORIGINS"],
    ),
    (
        CLI,
        "logs_are_as_loud_and_as_formatted_as_asked",
        &["DERMAGA_LOG", "DERMAGA_LOG_FORMAT"],
    ),
    (
        TRACES,
        "spans_of_requests_go_to_the_collector",
        &["OTEL_EXPORTER_OTLP_ENDPOINT"],
    ),
];

const CAPACITY: &str = "tests/tests/system/api/capacity.rs";
const CLI: &str = "host/server/tests/process/cli.rs";
const ROLLOUT: &str = "host/server/tests/process/rollout.rs";
const DATABASE: &str = "host/server/tests/process/database.rs";
const TRACES: &str = "host/server/tests/process/traces.rs";

const LIFE: &str = "tests/tests/system/api/plugin_lifecycle.rs";
const SUSPENSIONS: &str = "tests/tests/system/api/plugin_suspensions.rs";
const SIGNATURES: &str = "tests/tests/system/api/plugin_signatures.rs";

const MAILS: &str = "tests/tests/system/api/mails.rs";
const WEBHOOKS: &str = "tests/tests/system/api/webhook_endpoints.rs";
const WEBHOOK_TLS: &str = "tests/tests/system/api/webhook_tls.rs";
const NOTIFICATIONS: &str = "tests/tests/system/api/notifications.rs";

const TICKETS: &str = "tests/tests/system/api/ticket_administration.rs";
const TICKET_MAILS: &str = "tests/tests/system/api/ticket_mails.rs";
const BUCKET: &str = "tests/tests/system/bucket.rs";

const METRICS: &str = "tests/tests/system/api/metrics.rs";

const RENEWALS: &str = "tests/tests/system/journeys/renewal.rs";

const CORS: &str = "tests/tests/system/api/cors.rs";
const RATES: &str = "tests/tests/system/api/rate_limits.rs";
const RECOVERY: &str = "tests/tests/system/api/recovery.rs";
const TWO_FACTOR: &str = "tests/tests/system/api/two_factor.rs";
const SMTP_SERVER: &str = "tests/tests/system/smtp_server.rs";
const WAITLIST: &str = "tests/tests/system/api/waitlist.rs";
const STRANGERS: &str = "tests/tests/system/hostile/strangers.rs";

const KEYS: &str = "tests/tests/system/settings/keys.rs";
const PLUGINS: &str = "tests/tests/system/settings/plugins.rs";
const IMAGES: &str = "tests/tests/system/settings/images.rs";
const ENTRY: &str = "tests/tests/system/settings/entry.rs";
const INSTANCES: &str = "tests/tests/system/settings/instances.rs";
const ROLLOUTS: &str = "tests/tests/system/api/rollouts.rs";
const MONEY: &str = "tests/tests/system/settings/money.rs";
const HERE: &str = "tests/tests/system/settings.rs";
