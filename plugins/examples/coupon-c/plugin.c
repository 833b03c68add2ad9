/* A percentage off a customer's first purchase, up to a largest discount: coupon-first-purchase in C.
 *
 * The functions and types are those of the contract, from `plugin.h`, which the build makes. */

#include "dermaga.h"

static const char SCHEMA[] =
    "{\"type\":\"object\",\"properties\":{"
    "\"percent\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"title\":\"Percent\","
    "\"description\":\"Share of the price, rounded down to a whole rupiah.\"},"
    "\"maxDiscount\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100000000,\"title\":\"Largest discount\","
    "\"description\":\"The most that the coupon gives, in rupiah.\"}},"
    "\"required\":[\"percent\"],\"additionalProperties\":false,"
    "\"examples\":[{\"percent\":30,\"maxDiscount\":50000}]}";

static exports_coupon_place_t places[] = {EXPORTS_COUPON_PLACE_CHECKOUT};
static exports_coupon_fact_t facts[] = {EXPORTS_COUPON_FACT_FIRST_PURCHASE};

void exports_metadata_about(exports_metadata_identity_t *about) {
  about->id = text("coupon-c");
  about->version = text("0.1.0");
  about->title = text("First purchase, in C");
  about->summary = text("Takes a percentage off a customer's first purchase, up to a largest discount.");
}

void exports_coupon_describe(exports_coupon_coupon_description_t *description) {
  description->parameters_schema = text(SCHEMA);
  description->places.ptr = places;
  description->places.len = sizeof places / sizeof *places;
  description->facts.ptr = facts;
  description->facts.len = sizeof facts / sizeof *facts;
}

/* The schema says all there is to say. */
bool exports_coupon_check(text_t *parameters, exports_coupon_list_problem_t *problems) {
  (void)parameters, (void)problems;
  return true;
}

static void refuse(exports_coupon_decision_t *decision, const char *code, const char *message) {
  decision->tag = EXPORTS_COUPON_DECISION_REFUSE;
  decision->val.refuse.code = text(code);
  decision->val.refuse.message = text(message);
}

static void discount(exports_coupon_decision_t *decision, int64_t amount, text_t reason) {
  decision->tag = EXPORTS_COUPON_DECISION_GRANT;
  decision->val.grant.effect.tag = EXPORTS_COUPON_EFFECT_DISCOUNT;
  decision->val.grant.effect.val.discount = amount;
  decision->val.grant.reason = reason;
}

void exports_coupon_evaluate(exports_coupon_evaluation_t *request, exports_coupon_decision_t *decision) {
  int64_t percent, most;
  if (request->place != EXPORTS_COUPON_PLACE_CHECKOUT || !request->purchase.is_some)
    return refuse(decision, "WRONG_PLACE", "This coupon is used when a plan is bought.");
  if (!request->facts.first_purchase.is_some || !request->facts.first_purchase.val)
    return refuse(decision, "NOT_FIRST_PURCHASE", "This coupon is for a first purchase.");
  if (!json_integer(request->parameters, "percent", &percent))
    return refuse(decision, "PARAMETERS_UNREADABLE", "This coupon is not set up correctly. Please tell us about it.");

  int64_t price = request->purchase.val.total;
  int64_t exact = rupiah_percent(price, percent);
  text_t reason = TEXTS(text_number(percent), text("% off "), text_rupiah(price));
  if (exact == 0)
    return refuse(decision, "NOTHING_TO_DISCOUNT", "The price is too low for this coupon to make a difference.");
  if (json_integer(request->parameters, "maxDiscount", &most) && exact > most)
    return discount(decision, most, TEXTS(reason, text(", at most "), text_rupiah(most), text(".")));
  discount(decision, exact, TEXTS(reason, text(".")));
}
