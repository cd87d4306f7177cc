// Equity and drawdown over the whole life of the account, restarts included; the last point is live.

import { AreaSeries, BaselineSeries, LineStyle } from "../vendor/lightweight-charts.js";
import { $, colour, write, later } from "./dom.js";
import { ask, isFresh, known, marketNow, on } from "./live.js";
import { chart, seconds } from "./charts.js";
import { Moments } from "./layers.js";
import * as f from "./format.js";

const POINTS = 1500, AGAIN_MS = 120_000, CLOSE_MS = 5000, LIVE_MS = 2000;

let drawn = null, story = null, moved = 0, read = 0, chosen = false;

export function start() {
  drawn = build();
  on("again", load);
  on("status", status => {
    later(moveLast);
    if (story && status.last_bar_ms !== story.bar && performance.now() - read > CLOSE_MS) load();
  });
  setInterval(() => { if (isFresh()) load(); }, AGAIN_MS);
  for (const name of ["wheel", "pointerdown"]) $("equity-chart").addEventListener(name, () => { chosen = true; }, { passive: true });
  $("equity-chart").addEventListener("dblclick", () => { chosen = false; fit(); });
}

function build() {
  const { made, dress } = chart($("equity-chart"), {
    timeScale: { rightOffset: 1, minBarSpacing: 0.05, fixLeftEdge: true },
    rightPriceScale: { scaleMargins: { top: 0.1, bottom: 0.06 } },
    handleScale: { mouseWheel: true, pinch: true },
  }, () => paint());
  const plain = { priceLineVisible: false, lineWidth: 1.5 };
  const equity = made.addSeries(AreaSeries, { ...plain, priceFormat: { type: "custom", minMove: 0.01, formatter: v => f.money(v) } });
  const below = made.addSeries(BaselineSeries, {
    ...plain, lineWidth: 1, lastValueVisible: false, baseValue: { type: "price", price: 0 },
    priceFormat: { type: "custom", minMove: 0.0001, formatter: v => f.percent(v, { digits: 1 }) },
  }, 1);
  const restarts = new Moments();
  equity.attachPrimitive(restarts);
  made.panes()[0].setStretchFactor(3);
  made.panes()[1].setStretchFactor(1);
  drawn = { made, equity, below, restarts };
  dress();
  return drawn;
}

function paint() {
  if (!drawn) return;
  const gain = colour("gain"), loss = colour("loss");
  drawn.equity.applyOptions({ lineColor: gain, topColor: colour("gain", 0.16), bottomColor: colour("gain", 0.01) });
  drawn.below.applyOptions({
    topLineColor: loss, topFillColor1: colour("loss", 0), topFillColor2: colour("loss", 0),
    bottomLineColor: loss, bottomFillColor1: colour("loss", 0.08), bottomFillColor2: colour("loss", 0.35), lineStyle: LineStyle.Solid,
  });
  markRestarts();
}

/** Show the whole life, until the reader chooses a part; a double click ends that. */
function fit() {
  if (!chosen) drawn.made.timeScale().fitContent();
}

/** Asked for again after a close, but not more often than a person looks. */
async function load() {
  read = performance.now();
  const bar = known.status?.last_bar_ms;
  const told = await ask(`/api/equity?points=${POINTS}`).catch(() => null);
  if (!told) return;
  const points = [];
  for (const [ts, equity, drawdown] of told.points) {
    const time = seconds(ts);
    if (equity === null || points.at(-1)?.time >= time) continue;
    points.push({ time, equity, drawdown });
  }
  story = { points, bar, restarts: told.restarts_ms ?? [], peak: Math.max(...points.map(each => each.equity)) };
  drawn.equity.setData(points.map(each => ({ time: each.time, value: each.equity })));
  drawn.below.setData(points.map(each => (each.drawdown === null ? { time: each.time } : { time: each.time, value: each.drawdown })));
  fit();
  markRestarts();
  facts();
}

/** Restarts lie between points; a line stands at the point that follows. */
function markRestarts() {
  if (!story) return;
  const times = story.restarts.map(ms => story.points.find(each => each.time >= seconds(ms))?.time).filter(Boolean);
  drawn.restarts.set(times, colour("zero"));
}

function facts() {
  if (!story.points.length) return write($("equity-facts"), "no bar yet");
  const first = story.points[0], judged = story.points.filter(each => each.drawdown !== null);
  const deepest = judged.length ? Math.min(...judged.map(each => each.drawdown)) : null;
  write($("equity-facts"), `since ${f.day(1000 * first.time)} (UTC), deepest ${f.percent(deepest)}`, `${f.utc(1000 * first.time)}; restarts since then: ${story.restarts.length} (dotted lines)`);
}

function moveLast() {
  const equity = f.number(known.status?.equity), now = marketNow();
  if (!story?.points.length || equity === null || now === null || !isFresh() || performance.now() - moved < LIVE_MS) return;
  const time = seconds(now);
  if (time <= story.points.at(-1).time || time < (story.live ?? 0)) return;
  moved = performance.now();
  // The live point replaces itself: it stands one step behind the last point of the journal.
  story.live ??= time;
  story.peak = Math.max(story.peak, equity);
  drawn.equity.update({ time: story.live, value: equity });
  drawn.below.update({ time: story.live, value: equity / story.peak - 1 });
  fit();
}
