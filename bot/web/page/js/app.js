// The page: starts each panel, and shows the symbol that the address names (#/s/BTCUSDT).

import { $, later } from "./dom.js";
import { connect, known, marketNow, on } from "./live.js";
import { tellTimeBy } from "./format.js";
import * as head from "./head.js";
import * as steering from "./steering.js";
import * as symbols from "./symbols.js";
import * as candles from "./candles.js";
import * as account from "./account.js";
import * as equity from "./equity.js";
import * as limits from "./limits.js";
import * as model from "./model.js";
import * as events from "./events.js";
import * as reports from "./reports.js";

tellTimeBy(marketNow);
const panels = [head, steering, symbols, candles, account, equity, limits, model, events, reports];
for (const panel of panels) panel.start();

/** A part of an address without its escapes (a browser writes 币 as %E5%B8%81); null if they are no text. */
function decoded(part) {
  try { return decodeURIComponent(part); } catch { return null; }
}

/** The symbol of the address; of a bot with one symbol, that one. */
function symbolShown() {
  const [, written] = location.hash.match(/^#\/s\/([^/]+)$/) ?? [];
  const named = written && decoded(written);
  if (named && /^[\p{L}\p{N}][\p{L}\p{N}.-]{0,39}$/u.test(named)) return named;
  return known.symbols.size === 1 ? known.symbols.keys().next().value : null;
}

let shown, place = location.hash;

/** Show what the address names. New data may come before the event of a new address: either brings the change. */
function route() {
  const symbol = symbolShown(), moved = location.hash !== place, was = shown;
  place = location.hash;
  $("market").hidden = symbol !== null || known.symbols.size === 0;
  $("symbol").hidden = symbol === null;
  $("symbol-back").hidden = known.symbols.size < 2;
  if (moved) scrollTo(0, 0);
  if (symbol === shown) return;
  shown = symbol;
  for (const panel of panels) panel.show?.(symbol);
  if (moved) focusAfter(was);
}

/** Take the keyboard along: what it stood on is hidden now. */
function focusAfter(was) {
  const link = shown ? $("symbol-back") : was && document.querySelector(`#market-table a[href="#/s/${was}"]`);
  (link && !link.hidden ? link : $("main")).focus({ preventScroll: true });
}

addEventListener("hashchange", route);
on("symbols", () => later(route));
route();
connect();
