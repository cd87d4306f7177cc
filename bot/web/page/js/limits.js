// Limits as bars of used over bound: the fullest first.

import { $, make, write } from "./dom.js";
import { ask, isFresh, isKnown, on } from "./live.js";
import * as f from "./format.js";

const FEW = 6, EVERY_MS = 2000, NEAR = 0.7;

let rows = [], all = false;

export function start() {
  $("limits-all").addEventListener("click", () => {
    all = !all;
    $("limits-all").setAttribute("aria-expanded", String(all));
    write($("limits-all"), all ? "Fewer" : "All");
    draw();
  });
  on("again", load);
  setInterval(() => { if (isFresh() && !document.hidden) load(); }, EVERY_MS);
}

async function load() {
  const told = await ask("/api/limits").catch(() => null);
  if (!told) return;
  rows = [...(told.rows ?? told)].sort((a, b) => (b.used_frac ?? -1) - (a.used_frac ?? -1));
  draw();
}

function draw() {
  const list = $("limits-list"), shown = all ? rows : rows.slice(0, FEW);
  $("limits-all").hidden = rows.length <= FEW;
  if (!rows.length) return list.replaceChildren(make("li", { class: "soft" }, isKnown() ? "No limit is set." : "Not known: the daemon has not answered."));
  if (list.firstChild?.children.length === 0) list.replaceChildren();
  while (list.children.length > shown.length) list.lastChild.remove();
  while (list.children.length < shown.length) list.append(line());
  shown.forEach((row, i) => fill(list.children[i], row));
}

/** max_daily_loss_frac: daily loss. The unit stands with the numbers. */
function nameOf(row) {
  return row.name.replace(/^max_/, "").replace(/_(frac|quote|ms|bps|count)$/, "").replaceAll("_", " ");
}

function line() {
  return make("li", {}, make("span", { class: "what" }), make("span", { class: "used" }), make("div", { class: "meter", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100" }, make("i")));
}

function fill(item, row) {
  const [what, used, meter] = item.children, share = f.number(row.used_frac);
  const bound = f.number(row.bound) === null ? "no limit" : f.inUnit(row.bound, row.unit);
  write(what, nameOf(row), `${row.name}. At the bound: ${row.words}`);
  write(used, `${f.inUnit(row.used, row.unit)} / ${bound}`);
  meter.className = `meter ${share >= 1 ? "full" : share >= NEAR ? "near" : ""}`;
  meter.firstChild.style.width = `${100 * Math.min(1, Math.max(0, share ?? 0))}%`;
  meter.setAttribute("aria-label", nameOf(row));
  meter.setAttribute("aria-valuenow", share === null ? "0" : String(Math.round(100 * Math.min(1, share))));
  meter.setAttribute("aria-valuetext", `${used.textContent}`);
}
