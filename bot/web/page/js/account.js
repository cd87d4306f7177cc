// Positions, open orders, trades, all orders and fills: one table under tabs. On a symbol's page: only that symbol's.

import { $, make, write, later } from "./dom.js";
import { ask, isKnown, known, on } from "./live.js";
import { open as steer } from "./steering.js";
import { table } from "./table.js";
import * as f from "./format.js";

const LIMIT = 1000;
const side = row => (row.side === "Buy" ? "gain" : "loss");
const symbol = { id: "symbol", label: "Symbol", width: 108, value: r => r.symbol, text: r => r.symbol, style: () => "name" };
const time = (id, label, read) => ({ id, label: `${label} (UTC)`, width: 118, late: true, value: read, text: r => f.when(read(r)), hint: r => f.utc(read(r)) });
const decimal = (id, label, write, more = {}) => ({ id, label, num: true, width: 88, value: r => f.number(r[id]), text: r => write(r[id], r), ...more });
const words = (id, label, read, more = {}) => ({ id, label, width: 110, grow: true, value: read, text: r => read(r) || f.UNKNOWN, hint: r => read(r) ?? "", style: () => "soft", ...more });
const price = (value, row) => f.priceOf(row.symbol, value);
const orMarket = (value, row) => (value === null ? "market" : price(value, row));
const signed = value => f.money(value, { sign: true });
const cost = value => f.money(value, { fine: true });

const CLOSE = { id: "close", label: "", width: 70, fill: closeCell };

const TABS = {
  positions: {
    label: "Positions", live: true, empty: "No open position.", rows: () => known.status?.positions ?? [], sort: null,
    columns: [
      symbol,
      decimal("qty", "Size", v => f.quantity(v, { sign: true }), { style: r => f.tint(r.qty, 0) }),
      decimal("entry_price", "Entry", price, { least: 480 }),
      decimal("mark", "Mark", price, { least: 560 }),
      decimal("unrealised", "Result", signed, { style: r => f.tint(r.unrealised) }),
      decimal("stop_loss", "Stop", price, { least: 480 }),
      decimal("take_profit", "Target", price, { least: 900 }),
      { ...time("since_ms", "Since", r => r.since_ms), num: true, least: 700 },
      CLOSE,
    ],
  },
  open: {
    label: "Open orders", live: true, empty: "No open order.", rows: () => known.status?.open_orders ?? [], sort: null,
    columns: [
      symbol,
      { id: "side", label: "Side", width: 56, value: r => r.side, text: r => r.side, style: side },
      decimal("qty", "Size", f.quantity),
      decimal("filled_qty", "Filled", f.quantity),
      decimal("price", "Price", orMarket),
      { id: "state", label: "State", width: 76, value: r => r.state, text: r => r.state, style: r => (r.state === "unknown" ? "warn" : "") },
      words("reason", "Why", r => r.reason ?? (r.reduce_only ? "reduces the position" : "entry"), { least: 700 }),
    ],
  },
  trades: {
    label: "Trades", from: "trades", on: ["fill"], export: "trades", empty: "No closed trade yet.", sort: { id: "exit_ms", down: true },
    columns: [
      time("exit_ms", "Closed", r => r.exit_ms),
      symbol,
      { id: "side", label: "Side", width: 52, value: r => r.side, text: r => (r.side === "Buy" ? "long" : "short"), style: side },
      decimal("qty", "Size", f.quantity, { least: 700 }),
      decimal("entry_price", "Entry", price, { least: 560 }),
      decimal("exit_price", "Exit", price, { least: 560 }),
      decimal("held", "Held", f.span, { least: 1560, value: held, text: r => f.span(held(r)) }),
      decimal("pnl_quote", "Net", signed, { style: r => f.tint(r.pnl_quote), about: "After fees, with funding, quote" }),
      decimal("return_frac", "Net %", v => f.percent(v, { sign: true }), { width: 74, least: 480, style: r => f.tint(r.return_frac, 5e-5) }),
      decimal("costs", "Costs", cost, { width: 72, least: 900, about: "Fees, and slippage in the prices", value: costs, text: r => cost(costs(r)), hint: costsInWords }),
      words("entry_reason", "Why in", r => r.entry_reason, { least: 1240 }),
      words("exit_reason", "Why out", r => r.exit_reason, { least: 700 }),
    ],
  },
  orders: {
    label: "Orders", from: "orders", on: ["order", "fill"], export: "orders", empty: "No order yet.", sort: { id: "decided_ms", down: true },
    columns: [
      time("decided_ms", "Decided", r => r.decided_ms),
      symbol,
      { id: "side", label: "Side", width: 52, value: r => r.side, text: r => r.side, style: side },
      decimal("qty", "Size", f.quantity),
      decimal("price", "Price", orMarket, { least: 560 }),
      { id: "state", label: "State", width: 84, value: r => r.state, text: r => r.state, hint: r => r.words ?? "", style: r => (["rejected", "unknown"].includes(r.state) ? "warn" : "") },
      words("reason", "Why", r => r.reason, { least: 700 }),
      words("words", "The venue said", r => r.words, { least: 1000 }),
    ],
  },
  fills: {
    label: "Fills", from: "fills", on: ["fill"], export: "fills", empty: "No fill yet.", sort: { id: "ts_ms", down: true },
    columns: [
      time("ts_ms", "Time", r => r.ts_ms),
      symbol,
      { id: "side", label: "Side", width: 52, value: r => r.side, text: r => r.side, style: side },
      decimal("qty", "Size", f.quantity),
      decimal("price", "Price", price),
      decimal("fee_quote", "Fee", cost),
      decimal("slippage_quote", "Slippage", cost, { least: 700 }),
      { id: "maker", label: "As", width: 64, least: 700, value: r => r.maker, text: r => (r.maker ? "maker" : "taker") },
      words("reason", "Why", r => r.reason ?? r.cause, { least: 560 }),
    ],
  },
};

function held(row) { return row.exit_ms - row.entry_ms; }
function costs(row) {
  const parts = [row.fees_quote, row.slippage_quote].map(f.number);
  return parts[0] === null ? null : parts[0] + (parts[1] ?? 0);
}
function costsInWords(row) {
  return `fees ${cost(row.fees_quote)}, slippage ${cost(row.slippage_quote)} (in the prices), funding ${f.money(row.funding_quote, { sign: true, fine: true })}`;
}

function closeCell(cell, row) {
  let button = cell.firstChild;
  if (!button) cell.append(button = make("button", { type: "button", class: "quiet small", onclick: () => steer("close", button.dataset.symbol) }, "Close"));
  if (button.dataset.symbol === row.symbol) return;
  button.dataset.symbol = row.symbol;
  button.setAttribute("aria-label", `Close the position in ${row.symbol}`);
}

let tab = "positions", only = null, grid = null, rows = [], asked = 0;

export function start() {
  $("account-tabs").append(...Object.entries(TABS).map(([name, { label }]) => make("button", {
    type: "button", role: "tab", id: `tab-${name}`, class: "tab", "aria-controls": "account-table",
    onclick: () => choose(name), onkeydown: event => step(event, name),
  }, make("span", {}, label), make("span", { class: "number" }))));
  on("status", () => later(drawLive));
  on("again", refill);
  on("fill", row => take("fill", "fills", row));
  on("order", row => take("order", "orders", row));
  choose(tab);
}

export function show(name) {
  only = name;
  later(drawLive);
  refill();
}

function choose(name) {
  tab = name;
  const { label, columns, empty, sort, live } = TABS[name];
  rows = [];
  grid = table($("account-table"), { label, columns, empty, sort, key: nameOf, onopen: explain, byKey: true });
  $("account-table").classList.toggle("live", Boolean(live));
  $("account-table").setAttribute("aria-labelledby", `tab-${name}`);
  for (const each of Object.keys(TABS)) {
    $(`tab-${each}`).setAttribute("aria-selected", String(each === name));
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  const link = $("account-export");
  link.hidden = !TABS[name].export;
  if (TABS[name].export) link.href = `/api/export/${TABS[name].export}.csv`;
  write($("account-note"), "");
  $("account-detail").replaceChildren();
  if (live) drawLive();
  else refill();
}

/** Arrow keys move between tabs. */
function step(event, name) {
  const names = Object.keys(TABS), way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!way) return;
  const next = names[(names.indexOf(name) + way + names.length) % names.length];
  choose(next);
  $(`tab-${next}`).focus();
}

function drawLive() {
  for (const name of ["positions", "open"]) {
    const all = TABS[name].rows(), mine = only ? all.filter(row => row.symbol === only) : all;
    write($(`tab-${name}`).lastChild, isKnown() ? String(mine.length) : "");
    if (tab === name) grid.set(mine, isKnown() ? undefined : "Not known: the daemon has not answered.");
  }
}

/** What names a row: a fill, an order, a trade or a position. */
function nameOf(row) {
  return row.exec_id ?? row.order_id ?? `${row.symbol} ${row.exit_ms ?? ""} ${row.entry_ms ?? ""}`;
}

/** The whole row in words, also what the page is too narrow for. */
function explain(row) {
  const parts = TABS[tab].columns.filter(column => column.text).map(column => {
    const hint = column.hint?.(row), text = column.text(row);
    return [column.label, hint && hint !== text && column.late ? `${text} (${hint})` : hint && hint.length > text.length ? hint : text];
  }).filter(([, text]) => text !== f.UNKNOWN && text !== "");
  if (row.order_id) parts.push(["Order", row.order_id]);
  $("account-detail").replaceChildren(...parts.map(([name, text]) => make("span", {}, make("i", {}, name), ` ${text}`)));
}

/** Show a new row at once, and ask for what follows from it: the state of its order, the trade that it closed. */
function take(topic, name, row) {
  if (tab === name && (!only || row.symbol === only)) {
    rows = [row, ...rows.filter(each => nameOf(each) !== nameOf(row))];
    grid.set(rows);
  }
  if (TABS[tab].on?.includes(topic)) soon();
}

let timer = null;

function soon() {
  if (timer === null) timer = setTimeout(() => { timer = null; refill(); }, 200);
}

async function refill() {
  const { from } = TABS[tab];
  if (!from || !known.status) return;
  const mine = ++asked, of = tab;
  try {
    const body = await ask(`/api/${from}?limit=${LIMIT}${only ? `&symbol=${encodeURIComponent(only)}` : ""}`);
    if (mine !== asked || of !== tab) return;
    rows = body.rows.filter(row => !only || row.symbol === only);
    grid.set(rows);
    write($("account-note"), body.more ? `The newest ${rows.length} are shown; CSV has all.` : "");
  } catch (error) {
    if (mine === asked) write($("account-note"), `Not read: ${error.message}.`);
  }
}
