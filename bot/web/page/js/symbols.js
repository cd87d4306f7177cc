// All symbols in one table: price, position, result, forecast, and why each has or has no order.

import { $, chips, write, later } from "./dom.js";
import { known, on } from "./live.js";
import { table } from "./table.js";
import * as f from "./format.js";

/** States that are not "flat" stand out: what a symbol does, or why it does nothing. */
const STATES = { long: "gain", short: "loss", entering: "gain", leaving: "loss", warming: "warn", foreign: "warn", stopped: "warn", "not traded": "warn" };
const HOURLY = "Forecast deviation of the next hour's return";
const COLUMNS = [
  { id: "symbol", label: "Symbol", width: 110, value: r => r.symbol, fill: nameCell },
  { id: "state", label: "State", width: 74, least: 620, value: r => r.state, text: r => r.state ?? f.UNKNOWN, style: r => STATES[r.state] ?? "soft" },
  { id: "price", label: "Price", num: true, width: 100, value: r => r.price, text: r => f.priceOf(r.symbol, r.price) },
  { id: "change", label: "Day", num: true, width: 74, about: "Change of the price over the last 24 hours", value: r => r.change_frac,
    text: r => f.percent(r.change_frac, { sign: true }), style: r => f.tint(r.change_frac, 5e-5) },
  { id: "value", label: "Position", num: true, width: 100, least: 560, about: "Value of the position at the mark, quote", value: worth,
    text: r => (held(r) ? f.money(worth(r), { sign: true }) : ""), hint: r => (held(r) ? `${f.quantity(r.qty, { sign: true })} since ${f.moment(r.since_ms)}` : "") },
  { id: "result", label: "Result", num: true, width: 80, about: "Unrealised, quote", value: r => (held(r) ? r.unrealised : null),
    text: r => (held(r) ? f.money(r.unrealised, { sign: true }) : ""), style: r => f.tint(held(r) ? r.unrealised : null) },
  { id: "stop", label: "Stop", num: true, width: 100, least: 900, value: r => f.number(r.stop_loss), text: r => (held(r) ? f.priceOf(r.symbol, r.stop_loss) : "") },
  { id: "sigma", label: "σ 1 h", num: true, width: 70, least: 760, about: HOURLY, value: r => r.forecast?.sigma_frac ?? null, text: r => f.percent(r.forecast?.sigma_frac) },
  { id: "why", label: "Last decision", width: 130, grow: true, least: 700, value: r => r.why ?? null, text: r => r.why ?? f.UNKNOWN, hint: r => r.why ?? "", style: () => "soft" },
];

function held(row) { return Boolean(f.number(row.qty)); }
function worth(row) {
  if (!held(row) || f.number(row.mark) === null) return null;
  return f.number(row.qty) * row.mark;
}

const ONLY = { all: () => true, held, waiting: row => STATES[row.state] === "warn" };
let grid, only = "all";

export function start() {
  grid = table($("market-table"), {
    label: "Symbols", columns: COLUMNS, key: row => row.symbol, sort: { id: "symbol", down: false },
    empty: "No symbol fits the filter.", onopen: row => { location.hash = `#/s/${row.symbol}`; },
  });
  chips($("market-only"), [["all", "All"], ["held", "With position"], ["waiting", "Not ready"]], only, value => { only = value; later(draw); });
  $("market-filter").addEventListener("input", () => later(draw));
  on("symbols", () => later(draw));
}

/** The name is a link, so that the keyboard reaches each symbol's page. */
function nameCell(cell, row) {
  let link = cell.firstChild;
  if (!link) cell.append(link = document.createElement("a"));
  if (link.textContent === row.symbol) return;
  link.href = `#/s/${row.symbol}`;
  link.textContent = row.symbol;
  cell.className = "name";
}

function draw() {
  if ($("market").hidden && known.symbols.size < 2) return;
  const words = $("market-filter").value.trim().toUpperCase().split(/\s+/).filter(Boolean);
  const all = [...known.symbols.values()];
  const fits = row => ONLY[only](row) && words.every(word => `${row.symbol} ${row.why ?? ""}`.toUpperCase().includes(word));
  const rows = all.filter(fits);
  write($("market-count"), rows.length === all.length ? `${all.length}` : `${rows.length} of ${all.length}`);
  grid.set(rows);
}
