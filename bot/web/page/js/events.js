// The event log, newest first: what happened, and every refusal with its reason. New events come by themselves.

import { $, chips, make, later } from "./dom.js";
import { ask, known, on } from "./live.js";
import * as f from "./format.js";

const PAGE = 100, MOST = 500;
const RANK = { info: 0, warning: 1, error: 2 };

let rows = [], level = "info", kind = "", only = null, more = false, asked = 0;
const kinds = new Set();

export function start() {
  chips($("events-level"), [["info", "All"], ["warning", "Warnings"], ["error", "Errors"]], level, value => { level = value; load(); });
  $("events-kind").addEventListener("change", event => { kind = event.target.value; load(); });
  $("events-more").addEventListener("click", older);
  on("again", load);
  on("event", row => {
    learn([row]);
    if (!fits(row) || rows.some(each => each.id === row.id)) return;
    rows = [row, ...rows].slice(0, MOST);
    later(draw);
  });
}

export function show(symbol) {
  only = symbol;
  if (known.status) load();
}

function fits(row) {
  return RANK[row.level] >= RANK[level] && (!kind || row.kind === kind) && (!only || !row.symbol || row.symbol === only);
}

async function load() { await read(null); }
async function older() { await read(rows.at(-1)?.id ?? null); }

async function read(before) {
  const mine = ++asked;
  const query = new URLSearchParams({ level, limit: PAGE, ...(kind && { kind }), ...(only && { symbol: only }), ...(before !== null && { before }) });
  const body = await ask(`/api/events?${query}`).catch(() => null);
  if (!body || mine !== asked) return;
  learn(body.rows);
  rows = before === null ? body.rows.filter(fits) : [...rows, ...body.rows.filter(fits)].slice(0, MOST);
  more = body.more && rows.length < MOST;
  later(draw);
}

function learn(some) {
  const before = kinds.size;
  for (const row of some) kinds.add(row.kind);
  if (kinds.size === before) return;
  const options = [...kinds].sort().map(name => make("option", { value: name }, name.replaceAll("_", " ")));
  $("events-kind").replaceChildren(make("option", { value: "" }, "every kind"), ...options);
  $("events-kind").value = kind;
}

function draw() {
  $("events-more").hidden = !more;
  const list = $("events-list");
  if (!rows.length) return list.replaceChildren(make("li", { class: "empty" }, level !== "info" || kind ? "No event of this choice." : only ? `No event of ${only} yet.` : "No event yet."));
  list.replaceChildren(...rows.map(row => make("li", { class: row.level },
    make("time", { datetime: new Date(row.ts_ms).toISOString(), title: f.utc(row.ts_ms) }, f.when(row.ts_ms)),
    make("b", { title: row.level }, row.kind.replaceAll("_", " ")),
    make("span", {}, row.text))));
}
