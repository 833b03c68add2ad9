// A percentage off a customer's first purchase, up to a largest discount: coupon-first-purchase in
// JavaScript. Names are those of the contract in camelCase; rupiah are BigInt.

const parametersSchema = {
  type: "object",
  properties: {
    percent: {
      type: "integer",
      minimum: 1,
      maximum: 100,
      title: "Percent",
      description: "Share of the price, rounded down to a whole rupiah.",
    },
    maxDiscount: {
      type: "integer",
      minimum: 1,
      maximum: 100_000_000,
      title: "Largest discount",
      description: "The most that the coupon gives, in rupiah.",
    },
  },
  required: ["percent"],
  additionalProperties: false,
  examples: [{ percent: 30, maxDiscount: 50_000 }],
};

export const metadata = {
  about: () => ({
    id: "coupon-javascript",
    version: "0.1.0",
    title: "First purchase, in JavaScript",
    summary: "Takes a percentage off a customer's first purchase, up to a largest discount.",
  }),
};

export const coupon = {
  describe: () => ({
    parametersSchema: JSON.stringify(parametersSchema),
    places: ["checkout"],
    facts: ["first-purchase"],
  }),

  // The schema says all there is to say. A problem would be thrown: throw [{ field, message }].
  check(_parameters) {},

  evaluate({ parameters, purchase, facts }) {
    if (!purchase) {
      return refuse("WRONG_PLACE", "This coupon is used when a plan is bought.");
    }
    if (facts.firstPurchase !== true) {
      return refuse("NOT_FIRST_PURCHASE", "This coupon is for a first purchase.");
    }
    const { percent, maxDiscount } = JSON.parse(parameters);
    const exact = (purchase.total * BigInt(percent)) / 100n;
    if (exact === 0n) {
      return refuse("NOTHING_TO_DISCOUNT", "The price is too low for this coupon to make a difference.");
    }
    const share = `${percent}% off ${rupiah(purchase.total)}`;
    if (maxDiscount !== undefined && exact > BigInt(maxDiscount)) {
      return discount(BigInt(maxDiscount), `${share}, at most ${rupiah(maxDiscount)}.`);
    }
    return discount(exact, `${share}.`);
  },
};

const refuse = (code, message) => ({ tag: "refuse", val: { code, message } });

const discount = (amount, reason) => ({
  tag: "grant",
  val: { effect: { tag: "discount", val: amount }, reason },
});

/** As Indonesians write it: `Rp1.250.000`. */
const rupiah = (amount) => `Rp${String(amount).replace(/\B(?=(\d{3})+$)/g, ".")}`;
