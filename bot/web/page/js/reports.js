// Reports beside the page: HTML files of runs and backtests in the state directory, newest first. Each opens in a tab.

import { $, make, write } from "./dom.js";
import { ask, on } from "./live.js";
import * as f from "./format.js";

const EVERY_MS = 30_000, FEW = 5;

let rows = [], all = false;

export function start() {
  $("reports-all").addEventListener("click", () => {
    all = !all;
    $("reports-all").setAttribute("aria-expanded", String(all));
    write($("reports-all"), all ? "Fewer" : "All");
    draw();
  });
  on("again", load);
  addEventListener("focus", load);  // who comes back from a terminal has perhaps just written one
  setInterval(() => { if (!document.hidden) load(); }, EVERY_MS);
}

async function load() {
  try {
    rows = await ask("/api/reports");
    draw();
  } catch (error) {
    say(`Not read: ${error.message}.`);
  }
}

function draw() {
  $("reports-all").hidden = rows.length <= FEW;
  write($("reports-count"), rows.length ? String(rows.length) : "");
  if (!rows.length) return say("No report yet. A report that is written into the folder ", make("code", {}, "reports"),
    " of the state directory is listed here. In a terminal: ", make("code", {}, "bot report --out .data/reports/run.html"));
  $("reports-list").replaceChildren(...(all ? rows : rows.slice(0, FEW)).map(row => make("li", {},
    make("a", { href: row.path, target: "_blank", rel: "noopener", title: `${size(row.bytes)}; opens in a tab of its own` }, row.name),
    make("span", { class: "soft" }, `${row.file} · `, make("time", { datetime: new Date(row.written_ms).toISOString(), title: `Written ${f.utc(row.written_ms)}` }, written(row.written_ms))))));
}

/** With its date, also of today: 29 Nov 03:42 UTC. */
function written(ms) {
  return `${f.day(ms, Date.now())} ${f.clock(ms).slice(0, 5)} UTC`;
}

function say(...words) {
  $("reports-list").replaceChildren(make("li", { class: "soft" }, ...words));
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
