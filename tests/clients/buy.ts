// Buys a plan with the client that openapi-typescript makes of the document; the compiler checks every name and type.
// usage: node buy.js BASE
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const base = process.argv[2]!;
const anonymous = createClient<paths>({ baseUrl: base });

function got<T>(answer: { data?: { data: T }; error?: { message: string } }): T {
  if (answer.data === undefined) throw new Error(answer.error?.message ?? "no answer");
  return answer.data.data;
}

async function until<T>(what: string, ask: () => Promise<T>, isDone: (found: T) => boolean): Promise<T> {
  for (let attempt = 0; attempt < 600; attempt++) {
    const found = await ask();
    if (isDone(found)) return found;
    await new Promise((resume) => setTimeout(resume, 100));
  }
  throw new Error(`${what} never came`);
}

const person = { email: `klien-ts-${Date.now()}@example.com`, password: "kata sandi yang panjang", name: "Klien" };
const session = got(await anonymous.POST("/api/auth/register", { body: person }));
const shop = createClient<paths>({ baseUrl: base, headers: { Authorization: `Bearer ${session.accessToken}` } });

const topUp = got(await shop.POST("/api/wallet/topup", { body: { amount: 100_000, paymentMethod: "QRIS" } }));
await fetch(topUp.redirectUrl, { method: "POST", body: "action=pay" });
await until("the money",
  async () => got(await shop.GET("/api/wallet/info")), (wallet) => wallet.totalBalance === 100_000);

const plans = got(await shop.GET("/api/catalog/services/{slug}/plans", { params: { path: { slug: "n8n" } } }));
const plan = plans.find((one) => one.slug === "basic")!;
const quote = got(await shop.POST("/api/subscriptions/quote", { body: { planId: plan.id } }));
const bought = got(await shop.POST("/api/subscriptions", { body: { planId: plan.id, quoteId: quote.id } }));
const path = { id: bought.instanceId };
const instance = await until("the instance",
  async () => got(await shop.GET("/api/instances/{id}", { params: { path } })), (found) => found.status === "WRITTEN");
const wallet = got(await shop.GET("/api/wallet/info"));
if (wallet.totalBalance !== 100_000 - quote.due) throw new Error(`${wallet.totalBalance} is left`);

const refused = await shop.POST("/api/subscriptions", { body: { planId: "01890a5d-ac96-774b-bcce-b302099a8057" } });
if (refused.error?.error.code !== "NOT_FOUND") throw new Error("an unknown plan was sold");
console.log(`bought ${instance.name} with TypeScript for Rp${quote.due}`);
