// First purchase, in JavaScript: a coupon rule.
//
// Change, in this order: `about`, the schema, places and facts, `evaluate`. Raise the version with
// every change. The host limits uses and the period of validity; a rule never does.
//
// Names are those of the contract in camelCase (target/contract/coupon.wit, after the first build);
// rupiah are BigInt. There is no clock, no randomness, no fetch and no console.

// JSON Schema of the parameters that an administrator sets; the host checks them against it before
// any call.
const parametersSchema = {
  type: "object",
  properties: {
    percent: {
      type: "integer",
      minimum: 1,
      maximum: 100,
      title: "Percent",
      description: "Share of the price that is taken off.",
    },
    maxDiscount: {
      type: "integer",
      minimum: 1,
      maximum: 100_000_000,
      title: "Largest discount",
      description: "The most that is taken off, in rupiah.",
    },
  },
  required: ["percent"],
  additionalProperties: false,
};

export const metadata = {
  about: () => ({
    id: "coupon-javascript",
    version: "0.1.0",
    title: "First purchase, in JavaScript",
    summary: "Takes a share off the price of a first purchase.",
  }),
};

export const coupon = {
  describe: () => ({
    parametersSchema: JSON.stringify(parametersSchema),
    // Places to present it: "wallet", "checkout", "registration".
    places: ["checkout"],
    // Facts that the rule needs of the customer: "past-redemptions", "first-purchase",
    // "account-age". The host tells what is listed here and nothing else.
    facts: ["first-purchase"],
  }),

  // Rules on the parameters that the schema cannot express: throw [{ field, message }].
  check(_parameters) {},

  // The rule. It may use its arguments only.
  evaluate({ parameters, purchase, facts }) {
    if (!purchase) {
      return refuse("WRONG_PLACE", "This coupon is used when a plan is bought.");
    }
    if (facts.firstPurchase !== true) {
      return refuse("NOT_FIRST_PURCHASE", "This coupon is for a first purchase.");
    }
    const { percent, maxDiscount } = JSON.parse(parameters);
    const amount = (purchase.total * BigInt(percent)) / 100n;
    if (amount === 0n) {
      return refuse("NOTHING_TO_DISCOUNT", "The price is too low to take anything off.");
    }
    const share = `${percent}% off ${rupiah(purchase.total)}`;
    if (maxDiscount !== undefined && amount >= BigInt(maxDiscount)) {
      return discount(BigInt(maxDiscount), `${share}, at most ${rupiah(maxDiscount)}.`);
    }
    return discount(amount, `${share}.`);
  },
};

const refuse = (code, message) => ({ tag: "refuse", val: { code, message } });

// At checkout the effects are "discount" and "free-periods", elsewhere "credit".
const discount = (amount, reason) => ({
  tag: "grant",
  val: { effect: { tag: "discount", val: amount }, reason },
});

/** As Indonesians write it: `Rp1.250.000`. */
const rupiah = (amount) => `Rp${String(amount).replace(/\B(?=(\d{3})+$)/g, ".")}`;
