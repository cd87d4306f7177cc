// How numbers and times are written. Unknown (null, undefined, NaN) is "–", never 0.

export const UNKNOWN = "–";
const MINUTE_MS = 60_000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS;

/** A finite number, or null. Decimal strings are read. */
export function number(value) {
  if (value === null || value === undefined || value === "") return null;
  const read = Number(value);
  return Number.isFinite(read) ? read : null;
}

/** 1,234.56; with ``fine``, an amount below a cent keeps two digits that say something: 0.0034. */
export function money(value, { sign = false, fine = false } = {}) {
  const amount = number(value);
  if (amount === null) return UNKNOWN;
  const size = Math.abs(amount);
  const digits = fine && size > 0 && size < 0.01 ? Math.min(12, 1 - Math.floor(Math.log10(size))) : 2;
  return fixed(amount, digits, sign);
}

/** A fraction as percent: 1.25 %. */
export function percent(frac, { digits = 2, sign = false } = {}) {
  const value = number(frac);
  return value === null ? UNKNOWN : fixed(100 * value, digits, sign) + " %";
}

/** Six significant digits without an exponent: 61,234.5 or 0.0123457. */
export function price(value) {
  const amount = number(value);
  if (amount === null) return UNKNOWN;
  return fixed(amount, priceDigits(amount));
}

export function priceDigits(amount) {
  if (!amount) return 2;
  return Math.min(12, Math.max(0, 5 - Math.floor(Math.log10(Math.abs(amount)))));
}

const stepDigits = new Map();

/** Learn the grid of a symbol's prices, as the venue tells it: "0.1". */
export function learnStep(symbol, step) {
  if (number(step)) stepDigits.set(symbol, (String(step).split(".")[1] ?? "").replace(/0+$/, "").length);
}

/** How many decimals the prices of a symbol have: its grid's, so that a column lines up and never jumps. */
export function digitsOf(symbol, amount) {
  return stepDigits.get(symbol) ?? priceDigits(amount);
}

/** A price of a symbol, with the decimals of its grid: 61,234.0. An average is rounded to the grid, too. */
export function priceOf(symbol, value) {
  const amount = number(value);
  return amount === null ? UNKNOWN : fixed(amount, digitsOf(symbol, amount));
}

/** Every digit of a decimal string without trailing zeros, grouped: 1,234.005. */
export function quantity(value, { sign = false } = {}) {
  if (number(value) === null) return UNKNOWN;
  const text = typeof value === "string" && !/e/i.test(value) ? value : plain(Number(value));
  const [, minus, whole, part = ""] = text.match(/^([-+]?)(\d*)(?:\.(\d*))?$/) ?? [];
  if (whole === undefined) return text;
  const kept = part.replace(/0+$/, "");
  const grouped = whole.replace(/^0+(?=\d)/, "").replace(/\B(?=(\d{3})+$)/g, ",") || "0";
  const front = minus === "-" ? "−" : sign && number(value) > 0 ? "+" : "";
  return front + grouped + (kept ? "." + kept : "");
}

/** With a fixed number of digits: prices of one axis line up. */
export function decimal(value, digits) {
  return number(value) === null ? UNKNOWN : fixed(number(value), digits);
}

export function count(value) {
  const amount = number(value);
  return amount === null ? UNKNOWN : fixed(amount, 0);
}

const FORMS = new Map();

function fixed(value, digits, sign = false) {
  const key = digits + (sign ? "+" : "");
  let form = FORMS.get(key);
  if (!form) {
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    FORMS.set(key, form = new Intl.NumberFormat("en", sign ? { ...options, signDisplay: "exceptZero" } : { ...options, signDisplay: "negative" }));
  }
  return form.format(value).replace("-", "−");
}

function plain(value) {
  return value.toLocaleString("en", { useGrouping: false, maximumFractionDigits: 12 });
}

/** "gain", "loss" or "" for a class; what is shown as 0.00 has no colour. */
export function tint(value, least = 0.005) {
  const amount = number(value);
  return amount === null || Math.abs(amount) < least ? "" : amount < 0 ? "loss" : "gain";
}

// Times: UTC, and said to be. A table's header, a chart's title or the figure's name says it for what stands below;
// elsewhere ``moment`` says it. The hint adds what the reader's own clock showed.

const two = value => String(value).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

let present = () => Date.now();

/** Say which clock "today" is read from: the market's, which at a local exchange is not the wall's. */
export function tellTimeBy(clock) { present = () => clock() ?? Date.now(); }

/** 21:53:09 */
export function clock(ms) {
  if (number(ms) === null) return UNKNOWN;
  const at = new Date(ms);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
}

/** 21:53:09 today, else 27 Nov 21:53, with the year if it is not this one. */
export function when(ms, now = present()) {
  if (number(ms) === null) return UNKNOWN;
  if (Math.floor(ms / DAY_MS) === Math.floor(now / DAY_MS)) return clock(ms);
  return `${day(ms, now)} ${clock(ms).slice(0, 5)}`;
}

/** 21:53:09 UTC: a time that stands alone. */
export function moment(ms, now = present()) {
  return number(ms) === null ? UNKNOWN : `${when(ms, now)} UTC`;
}

/** 27 Nov, or 27 Nov 2025. */
export function day(ms, now = present()) {
  if (number(ms) === null) return UNKNOWN;
  const at = new Date(ms);
  const year = at.getUTCFullYear() === new Date(now).getUTCFullYear() ? "" : ` ${at.getUTCFullYear()}`;
  return `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}${year}`;
}

/** For a hint: 2026-11-28 21:53:09 UTC (22:53:09 by your clock). */
export function utc(ms) {
  if (number(ms) === null) return "unknown";
  const at = new Date(ms), told = at.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  if (!at.getTimezoneOffset()) return told;
  return `${told} (${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())} by your clock)`;
}

/** Time until something: 3:07, or 1:03:07. Past: 0:00. */
export function countdown(ms) {
  if (number(ms) === null) return UNKNOWN;
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** A span in its two largest units: 3 d 4 h, 2 h 5 min, 40 s, 35 ms. */
export function span(ms) {
  if (number(ms) === null) return UNKNOWN;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const parts = [];
  let left = ms;
  for (const [name, size] of [["d", DAY_MS], ["h", HOUR_MS], ["min", MINUTE_MS], ["s", 1000]]) {
    if (left < size || parts.length === 2) continue;
    parts.push(`${Math.floor(left / size)} ${name}`);
    left %= size;
  }
  return parts.join(" ");
}

const WRITE = {
  quote: money,
  frac: value => percent(value),
  times: value => money(value) + " ×",
  x: value => money(value) + " ×",
  bps: value => money(value) + " bps",
  ms: span,
  count,
};

/** A value in the unit of a limit. */
export function inUnit(value, unit) {
  return number(value) === null ? UNKNOWN : (WRITE[unit] ?? money)(Number(value));
}
