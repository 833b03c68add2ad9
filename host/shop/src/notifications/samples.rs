//! Facts of an imagined notification of each kind, for previews and to try templates with.

use serde_json::{Value, json};

use crate::outbox::Topic;

const ID: &str = "01990000-0000-7000-8000-000000000000";

/// Returns facts as notifications of this kind have them.
pub(super) fn facts(topic: Topic) -> Value {
    match topic {
        Topic::AdminBillingSummary => json!({
            "date": "2027-01-31", "since": "2027-01-30T15:59:00.000Z", "until": "2027-01-31T15:59:00.000Z",
            "paid": 12, "paidAmount": 1_800_000, "topUps": 9, "topUpAmount": 2_250_000,
            "pending": 2, "active": 46, "pastDue": 3, "suspended": 1, "lowCredit": 5, "warningDays": 3,
        }),
        Topic::SubscriptionEnded => json!({
            "subscriptionId": ID, "service": "Ghost", "plan": "Small", "because": "UNPAID", "reason": null, "undone": false,
            "endedAt": "2027-03-21T05:00:00Z",
        }),
        Topic::TopUpReceived => json!({ "amount": 250_000, "number": "TXMP-101" }),
        Topic::InstanceFailed => json!({
            "instanceId": ID, "subscriptionId": ID, "name": "ghost-3f9a", "message": "The database does not start.",
        }),
        Topic::TicketAnswered => json!({
            "ticketId": ID, "number": "#042", "subject": "Domain", "answer": "It leads to us now. Try again, please.",
            "canReply": true,
        }),
        Topic::ImageOld => json!({
            "service": "ghost", "image": "app", "reference": "ghost:6.1", "reason": "Its support ended on 2027-01-01.",
        }),
        Topic::PasswordChanged => json!({ "at": "2027-01-31T05:00:00Z", "byMail": true }),
        Topic::SessionsEnded => json!({ "at": "2027-01-31T05:00:00Z", "all": true }),
        Topic::AccountChanged => {
            json!({ "change": "ROLE", "role": "ADMINISTRATOR", "at": "2027-01-31T05:00:00Z" })
        }
        Topic::TwoFactorChanged => {
            json!({ "change": "CODE_USED", "codesLeft": 9, "at": "2027-01-31T05:00:00Z" })
        }
        Topic::AccountLookedAt => json!({
            "reason": "You asked why your invoice shows two plans.", "at": "2027-01-31T05:00:00Z", "until": "2027-01-31T05:15:00Z",
        }),
        Topic::EmailConfirmation => json!({
            "token": "dGhpcyBpcyBhbiBleGFtcGxl", "link": "https://shop.example.com/verify-email?token=dGhpcyBpcyBhbiBleGFtcGxl",
        }),
        Topic::PasswordReset => json!({
            "token": "dGhpcyBpcyBhbiBleGFtcGxl", "link": "https://shop.example.com/reset-password?token=dGhpcyBpcyBhbiBleGFtcGxl",
            "until": "2027-01-31T05:00:00Z",
        }),
        Topic::ApiTokenCreated => json!({
            "tokenId": ID, "token": "pipeline", "scope": "READ", "at": "2027-01-31T05:00:00Z",
        }),
        Topic::NewDevice => json!({
            "device": "Firefox on Linux", "address": "203.0.113.7", "at": "2027-01-31T05:00:00Z",
        }),
        Topic::WebhookDisabled => json!({
            "webhookId": ID, "url": "https://example.com/hook", "because": "FAILING", "at": "2027-01-31T05:00:00Z",
        }),
        Topic::LowCreditWarning
        | Topic::RenewalSuccess
        | Topic::RenewalFailure
        | Topic::SubscriptionSuspended
        | Topic::GracePeriodReminder
        | Topic::InstanceReady
        | Topic::PriceChange
        | Topic::QuotaFree => of_subscription(),
    }
}

fn of_subscription() -> Value {
    json!({
        "subscriptionId": ID, "instanceId": ID, "planId": ID, "service": "Ghost", "plan": "Small",
        "periodEnd": "2027-02-28T05:00:00Z", "graceUntil": "2027-03-07T05:00:00Z",
        "effectiveAt": "2027-02-28T05:00:00Z", "due": 150_000, "missing": 25_000, "paid": 150_000,
        "months": 1, "oldPrice": 150_000, "newPrice": 165_000, "droppedPrice": null, "dataUntil": "2027-03-21T05:00:00Z",
        "heldUntil": "2027-03-01T05:00:00Z", "hours": 24, "isFrozen": false,
    })
}
