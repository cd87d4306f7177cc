// What the page knows, and how fresh it is. The only file that talks to the server's stream.
//
// The server sends a beat every second. Without one for LOST_MS the connection counts as lost: numbers turn grey
// with the time they are of, and the page connects again by itself. A beat also says whether the daemon behind
// the server answers; if it does not, its numbers are as old as its last answer.

import { learnStep } from "./format.js";

const LOST_MS = 2500, LOOK_MS = 250, RETRY_MS = [300, 1000, 2000, 3000];

/** Status and symbols as last heard; null until then. */
export const known = { status: null, symbols: new Map() };

/** How fresh that is. ``link``: connecting, live, lost or refused. ``asOf``: wall ms of the last true numbers. */
export const fresh = { link: "connecting", daemon: "up", asOf: null, refusal: "" };

const listeners = new Map();

/** Call ``act`` on a topic: status, symbols, fill, order, event, fresh, or again (connected anew: ask for everything). */
export function on(topic, act) {
  listeners.set(topic, [...(listeners.get(topic) ?? []), act]);
}

function tell(topic, value) {
  for (const act of listeners.get(topic) ?? []) act(value);
}

/** Ask for JSON. Raises an Error whose message is one line for people. */
export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { signal: AbortSignal.timeout(options.timeout ?? 15_000), ...options });
  } catch {
    throw new Error("the page's server does not answer");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const error = new Error(body?.error ?? `refused (${answer.status})`);
  error.code = answer.status;
  throw error;
}

/** True once the daemon has said something; a server beside a dead daemon has nothing to tell. */
export function isKnown() {
  return known.status?.state !== undefined;
}

/** True while the numbers shown are the daemon's present ones. */
export function isFresh() {
  return fresh.link === "live" && fresh.daemon === "up";
}

// The market's clock: at a local exchange it is not the wall's, and it may run faster.

const MEASURE_MS = 1000;
let told = null, speed = 1;

/** Milliseconds of the market's clock now, or null before the first status. */
export function marketNow() {
  if (!told) return null;
  return told.market + (performance.now() - told.heard) * speed;
}

/** Market time over wall time: 1 but at a local exchange that runs faster. */
export function marketSpeed() { return speed; }

function takeTime(market, says) {
  const heard = performance.now(), apart = told ? heard - told.heard : 0;
  if (told && apart < MEASURE_MS) return;
  const measured = told ? (market - told.market) / apart : 1;
  speed = says ?? (measured > 1.5 || (measured > 0 && measured < 0.7) ? measured : 1);  // less is jitter
  told = { market, heard };
}

// Connection

let stream = null, failures = 0, retry = null, heardWall = 0, heardSteady = 0;
/** What this connection has told so far: newer than an answer that was asked for when it opened. */
let news = { status: false, symbols: new Set() };

export function connect() {
  setInterval(look, LOOK_MS);
  for (const name of ["visibilitychange", "pageshow", "focus", "online"]) addEventListener(name, look);
  document.addEventListener("visibilitychange", look);
  open();
}

function open() {
  clearTimeout(retry);
  retry = null;
  stream?.close();
  stream = new EventSource("/api/stream");
  news = { status: false, symbols: new Set() };
  const mine = stream;
  const read = (name, act) => stream.addEventListener(name, message => {
    if (mine === stream) { heard(); act(JSON.parse(message.data)); }
  });
  stream.onopen = () => { if (mine === stream) refill(); };
  stream.onerror = () => { if (mine === stream) reopen(); };
  read("beat", onBeat);
  read("status", status => { news.status = true; takeStatus(status); });
  read("symbols", rows => { for (const row of rows) news.symbols.add(row.symbol); takeSymbols(rows); });
  for (const name of ["fill", "order", "event"]) read(name, row => tell(name, row));
}

function reopen() {
  if (retry !== null) return;
  stream?.close();
  retry = setTimeout(open, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
}

/** Ask for everything: what happened while the page was away never came over the stream. */
async function refill() {
  const mine = stream;
  try {
    const [status, symbols] = await Promise.all([ask("/api/status"), ask("/api/symbols")]);
    if (mine !== stream) return;
    if (!news.status) takeStatus(status);
    for (const symbol of known.symbols.keys()) if (!news.symbols.has(symbol)) known.symbols.delete(symbol);
    takeSymbols(symbols.filter(row => !news.symbols.has(row.symbol)));
    heard();
    failures = 0;
    tell("again");
  } catch (error) {
    if (mine !== stream) return;
    if (error.code === 401 || error.code === 403) change({ link: "refused", refusal: error.message });
    reopen();
  }
}

function heard() {
  heardWall = Date.now();
  heardSteady = performance.now();
}

function onBeat(beat) {
  if (known.status === null) return;  // nothing to call fresh yet
  change({ link: "live", daemon: beat.daemon, asOf: beat.seen_ms ?? fresh.asOf });
}

function takeStatus(status) {
  known.status = status;
  if (status.now_ms && status.daemon !== "hangs" && status.daemon !== "down") takeTime(status.now_ms, status.speed);
  change({ link: "live", daemon: status.daemon ?? "up", asOf: status.seen_ms ?? null });
  tell("status", status);
}

function takeSymbols(rows) {
  for (const row of rows) {
    known.symbols.set(row.symbol, row);
    learnStep(row.symbol, row.price_step);
  }
  tell("symbols", rows);
}

/** Notice silence, also after sleep: either clock may have stood still. */
function look() {
  if (fresh.link !== "live" && fresh.link !== "lost") return;
  const silent = Math.max(Date.now() - heardWall, performance.now() - heardSteady);
  if (silent <= LOST_MS) return;
  change({ link: "lost" });
  if (silent > 2 * LOST_MS) reopen();
}

function change(facts) {
  const before = { ...fresh };
  Object.assign(fresh, facts);
  if (Object.keys(facts).some(name => facts[name] !== before[name])) tell("fresh");
}
