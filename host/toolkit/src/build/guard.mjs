// Evaluated before the plugin, in the engine that goes into its component. The engine's clock and
// randomness are frozen at build time, so that using them is an error.
import { log } from "LOG";

// During the build there is no host to log to.
let isBuilt = false;
export const built = () => {
  isBuilt = true;
};

function refuse(what, instead) {
  const message = `${what} is not there: a plugin is a function of its arguments. ${instead}`;
  if (isBuilt) log("error", message);
  throw new Error(message);
}

const TIME = "Take the moment that the call brings.";
const CHANCE = "Two calls with the same arguments answer the same.";
const WAIT = "A call ends when its function returns.";

const refuser = (what, instead) => () => refuse(what, instead);

const EngineDate = Date;
EngineDate.now = refuser("Date.now()", TIME);
globalThis.Date = new Proxy(EngineDate, {
  apply: refuser("Date()", TIME),
  construct(target, args, newTarget) {
    if (args.length === 0) refuse("new Date()", TIME);
    return Reflect.construct(target, args, newTarget);
  },
});
EngineDate.prototype.constructor = globalThis.Date;

Math.random = refuser("Math.random()", CHANCE);

function forbid(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: false, writable: false });
}

forbid("crypto", Object.freeze({
  getRandomValues: refuser("crypto.getRandomValues()", CHANCE),
  randomUUID: refuser("crypto.randomUUID()", CHANCE),
}));
forbid("performance", Object.freeze({
  now: refuser("performance.now()", TIME),
  get timeOrigin() { return refuse("performance.timeOrigin", TIME); },
}));
for (const name of ["setTimeout", "setInterval", "fetch"]) {
  forbid(name, refuser(`${name}()`, WAIT));
}
