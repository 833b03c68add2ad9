/* __TITLE__: a coupon rule.
 *
 * Change, in this order: `about`, the schema, places and facts, `evaluate`. Raise the version with
 * every change. The host limits uses and the period of validity; a rule never does.
 *
 * The types and functions of the contract are in target/bindings/plugin.h after the first build;
 * `dermaga.h` beside it has texts, rupiah and JSON. There is no C library. */

#include "dermaga.h"

/* JSON Schema of the parameters that an administrator sets; the host checks them against it before
 * any call. */
static const char SCHEMA[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"percent\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"title\":\"Percent\","
    "\"description\":\"Share of the price that is taken off.\"}},"
    "\"required\":[\"percent\"],\"additionalProperties\":false}";

/* Places to present it: EXPORTS_COUPON_PLACE_WALLET, _CHECKOUT, _REGISTRATION. */
static exports_coupon_place_t places[] = {EXPORTS_COUPON_PLACE_CHECKOUT};

void exports_metadata_about(exports_metadata_identity_t *about) {
  about->id = text("__ID__");
  about->version = text("0.1.0");
  about->title = text("__TITLE__");
  about->summary = text("Takes a share off the price of a purchase.");
}

/* The facts that the rule needs of the customer go to `facts`: EXPORTS_COUPON_FACT_PAST_REDEMPTIONS,
 * _FIRST_PURCHASE, _ACCOUNT_AGE. The host tells what is listed and nothing else. */
void exports_coupon_describe(exports_coupon_coupon_description_t *description) {
  description->parameters_schema = text(SCHEMA);
  description->places.ptr = places;
  description->places.len = sizeof places / sizeof *places;
  description->facts.len = 0;
}

/* Rules on the parameters that the schema cannot express: fill `problems` and return false. */
bool exports_coupon_check(text_t *parameters, exports_coupon_list_problem_t *problems) {
  (void)parameters, (void)problems;
  return true;
}

static void refuse(exports_coupon_decision_t *decision, const char *code, const char *message) {
  decision->tag = EXPORTS_COUPON_DECISION_REFUSE;
  decision->val.refuse.code = text(code);
  decision->val.refuse.message = text(message);
}

/* At checkout the effects are `discount` and `free_periods`, elsewhere `credit`. */
static void discount(exports_coupon_decision_t *decision, int64_t amount, text_t reason) {
  decision->tag = EXPORTS_COUPON_DECISION_GRANT;
  decision->val.grant.effect.tag = EXPORTS_COUPON_EFFECT_DISCOUNT;
  decision->val.grant.effect.val.discount = amount;
  decision->val.grant.reason = reason;
}

/* The rule. It may use its arguments only. */
void exports_coupon_evaluate(exports_coupon_evaluation_t *request, exports_coupon_decision_t *decision) {
  int64_t percent;
  if (request->place != EXPORTS_COUPON_PLACE_CHECKOUT || !request->purchase.is_some)
    return refuse(decision, "WRONG_PLACE", "This coupon is used when a plan is bought.");
  if (!json_integer(request->parameters, "percent", &percent))
    return refuse(decision, "PARAMETERS_UNREADABLE", "This coupon is not set up correctly. Please tell us about it.");

  int64_t price = request->purchase.val.total;
  int64_t amount = rupiah_percent(price, percent);
  if (amount == 0)
    return refuse(decision, "NOTHING_TO_DISCOUNT", "The price is too low to take anything off.");
  discount(decision, amount, TEXTS(text_number(percent), text("% off "), text_rupiah(price), text(".")));
}
