// The model: which one, how fast, and how well it forecast on the last days beside a simple baseline.

import { $, make, write } from "./dom.js";
import { ask, isFresh, isKnown, on } from "./live.js";
import * as f from "./format.js";

const EVERY_MS = 60_000, DAYS = 7;

export function start() {
  on("again", load);
  setInterval(() => { if (isFresh() && !document.hidden) load(); }, EVERY_MS);
}

async function load() {
  const told = await ask("/api/model").catch(() => undefined);
  if (told === undefined) return;
  const model = told?.hash ? told : null;
  write($("model-name"), model ? model.hash.slice(0, 12) : "", model ? model.hash : "");
  if (!model) {
    const words = isKnown() ? "This strategy uses no model." : "Not known: the daemon has not answered.";
    $("model-body").replaceChildren(make("p", { class: "empty" }, words));
    return;
  }
  $("model-body").replaceChildren(facts(model), days(model.days ?? []));
}

function facts(model) {
  const micro = value => (f.number(value) === null ? f.UNKNOWN : `${f.count(value)} µs`);
  return make("dl", { class: "pairs" },
    ...pair("Trained to", f.day(model.trained_to_ms), f.utc(model.trained_to_ms)),
    ...pair("A decision takes", f.number(model.step_p50_us) === null ? "not measured yet" : `${micro(model.step_p50_us)} · p99 ${micro(model.step_p99_us)}`, "From a close to its decisions: half of them, and 99 of 100, take no longer"),
    ...(model.drift ? pair("Drift", model.drift, "How far the market and the forecasts are from the model's training, each measure beside its bound") : []),
    ...(model.retraining ? pair("Retraining", model.retraining, "When the model is fitted again, and what became of the last time") : []));
}

function pair(name, text, hint) {
  return [make("dt", {}, name), make("dd", { title: hint }, text)];
}

/** Error of the volatility forecast by day; the better of the two is marked. */
function days(rows) {
  if (!rows.length) return make("p", { class: "empty" }, "No full day to judge the forecasts on yet.");
  const head = make("tr", {},
    make("th", { scope: "col" }, "Day (UTC)"),
    make("th", { scope: "col", class: "num", title: "QLIKE of the next hour's realised variance: lower is better" }, "QLIKE"),
    make("th", { scope: "col", class: "num", title: "The same of a regression on past volatility and the hour of day" }, "har_hour"),
    make("th", { scope: "col", class: "num", title: "Realised over forecast variance: 1 is right, above 1 the market moved more than forecast" }, "Real / forecast"));
  const three = value => (f.number(value) === null ? f.UNKNOWN : f.number(value).toFixed(3));
  const lines = rows.slice(0, DAYS).map(row => make("tr", {},
    make("td", { title: `${row.hours ?? "?"} hours` }, new Date(row.day_ms).toISOString().slice(5, 10)),
    make("td", { class: `num ${f.number(row.qlike) !== null && row.qlike <= row.qlike_har_hour ? "gain" : ""}` }, three(row.qlike)),
    make("td", { class: "num soft" }, three(row.qlike_har_hour)),
    make("td", { class: "num" }, f.number(row.calibration) === null ? f.UNKNOWN : f.number(row.calibration).toFixed(2))));
  return make("table", { class: "small", "aria-label": "Forecasts of the last days" }, make("thead", {}, head), make("tbody", {}, ...lines));
}
