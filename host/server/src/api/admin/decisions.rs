//! `/admin/decisions`.

use axum::extract::State;
use dermaga_shop::{
    ids::{DecisionId, SubscriptionId, UserId},
    plugins::{self, DecisionFilter, DecisionView, Outcome, Replay},
    wallet::TransactionNumber,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{
        Cursor, Envelope, Id, PageQuery, Paged, Reply, Success, When, failure_responses, lists,
        range, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Replaying: NotFound, InvalidState, PluginUnavailable, PluginBusy);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(decisions))
        .routes(routes!(decision))
        .routes(routes!(replay))
}

/// Filter of a list of decisions.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DecisionQuery {
    /// Plugin id.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    plugin: Option<String>,
    /// Function, for example `evaluate`.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    function: Option<String>,
    #[garde(skip)]
    user_id: Option<UserId>,
    /// SHA-256 of the component that decided, lower-case hexadecimal.
    #[garde(inner(custom(is_digest)))]
    #[param(pattern = "^[0-9a-f]{64}$")]
    digest: Option<String>,
    /// Version of the plugin, for example `1.2.0`.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    version: Option<String>,
    /// `answered`, refusals included, or `failed`.
    #[param(inline)]
    #[garde(skip)]
    outcome: Option<Outcome>,
    /// Made at or after this moment, or on this date or later where the shop is.
    #[garde(skip)]
    #[param(inline)]
    since: Option<When>,
    /// Made before this moment, or on this date or earlier.
    #[garde(skip)]
    #[param(inline)]
    until: Option<When>,
    /// The subscription that was priced, discounted or rendered.
    #[garde(skip)]
    subscription_id: Option<SubscriptionId>,
    /// A coupon's code; its recorded refusals included.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    coupon_code: Option<String>,
    /// The number of a transaction, such as `TXMP-101`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^TXMP-[0-9]{1,19}$")]
    transaction: Option<TransactionNumber>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Decisions>>,
}

fn is_digest(text: &str, (): &()) -> garde::Result {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() == 64 && text.bytes().all(is_hex) {
        Ok(())
    } else {
        Err(garde::Error::new(
            "must be 64 lower-case hexadecimal digits",
        ))
    }
}

/// Lists the decisions of plugins, newest first.
#[utoipa::path(get, path = "/admin/decisions", tag = "admin: plugins", params(PageQuery, DecisionQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of decisions", body = Envelope<Vec<DecisionView>>)))]
async fn decisions(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<DecisionQuery>,
) -> Reply<Vec<DecisionView>> {
    let zone = state.clock.zone();
    let (since, until) = range(("since", query.since), ("until", query.until), zone)?;
    let coupon = query.coupon_code;
    let coupon = coupon.map(|code| dermaga_shop::text::tidy(&code).to_ascii_uppercase());
    let filter = DecisionFilter {
        plugin_id: query.plugin.as_deref(),
        function: query.function.as_deref(),
        user_id: query.user_id,
        digest: query.digest.as_deref(),
        version: query.version.as_deref(),
        outcome: query.outcome,
        since,
        until,
        subscription_id: query.subscription_id,
        coupon: coupon.as_deref(),
        transaction: query.transaction.map(TransactionNumber::get),
    };
    let found = plugins::recorded(&state.db, &filter, page.span(query.cursor)?).await?;
    Ok(Success::walk::<lists::Decisions>(
        "The decisions.",
        page,
        found,
        DecisionView::place,
    ))
}

/// Returns a decision: question, answer, digest of the plugin, and cost. Of a deleted account, digests stand for question
/// and answer.
#[utoipa::path(get, path = "/admin/decisions/{id}", tag = "admin: plugins", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The decision", body = Envelope<DecisionView>), Missing))]
async fn decision(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<DecisionId>,
) -> Reply<DecisionView> {
    let decision = plugins::decision(&state.db, id).await?;
    Ok(Success::ok("The decision.", decision))
}

/// Runs a decision again by the same bytes on the same input and compares byte for byte. One that was erased with its
/// account has no input any more (`INVALID_STATE`).
#[utoipa::path(post, path = "/admin/decisions/{id}/replay", tag = "admin: plugins", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "Identical, or where it differs", body = Envelope<Replay>), Replaying))]
async fn replay(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<DecisionId>,
) -> Reply<Replay> {
    let replay = plugins::replay(&state.plugins, id).await?;
    let message = if replay.identical {
        "The same decision, byte for byte."
    } else {
        "The decision differs."
    };
    Ok(Success::ok(message, replay))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_in_one_way() {
        let good = "0123456789abcdef".repeat(4);
        is_digest(&good, &()).unwrap();
        let upper = good.to_uppercase();
        let wide = "é".repeat(32);
        for bad in [
            "",
            &good[1..],
            &format!("{good}0"),
            &upper,
            &good.replace('f', "g"),
            &wide,
        ] {
            assert!(is_digest(bad, &()).is_err(), "{bad}");
        }
    }
}
