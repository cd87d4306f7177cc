// A symbol's page: its candles with the open one, the forecast's band, entries, exits and stops, and why.
//
// Live updates never move what the reader looks at: new bars are appended, and only a reader who looks at the last
// bar is taken along.

import { CandlestickSeries, LineStyle, createSeriesMarkers } from "../vendor/lightweight-charts.js";
import { $, colour, make, write, later } from "./dom.js";
import { ask, isFresh, known, on } from "./live.js";
import { chart, seconds } from "./charts.js";
import { Band, Levels } from "./layers.js";
import * as f from "./format.js";

const FIRST_BARS = 500, MOST_BARS = 5000, TAIL_BARS = 5, BAR_PX = 7;

let shown = null, drawn = null, story = null, asked = 0;

export function start() {
  on("status", onStatus);
  on("symbols", rows => { if (shown && rows.some(row => row.symbol === shown)) later(drawSymbol); });
  on("fill", row => { if (row.symbol === shown) extend(); });
  on("again", () => { if (shown) load(story?.bars.length || FIRST_BARS); });
  on("fresh", () => { if (shown) later(drawSymbol); });
  $("candles-latest").addEventListener("click", latest);
}

export function show(symbol) {
  shown = symbol;
  story = null;
  write($("symbol-band"), "");
  if (!symbol) return;
  drawn ??= build();
  drawn.edge = null;
  for (const series of [drawn.candles, drawn.band, drawn.stops]) series.setData([]);
  drawn.markers.setMarkers([]);
  drawSymbol();
  if (known.status) load(FIRST_BARS, { first: true });
}

// Chart

function build() {
  const { made, dress } = chart($("candles"), {
    timeScale: { rightOffset: 6, minBarSpacing: 1 },
    rightPriceScale: { scaleMargins: { top: 0.14, bottom: 0.08 } },
  }, () => paint());
  const band = made.addCustomSeries(new Band(), { autoscaleInfoProvider: nearby });
  const stops = made.addCustomSeries(new Levels(), { autoscaleInfoProvider: nearby });
  const candles = made.addSeries(CandlestickSeries, {});
  drawn = { made, band, stops, candles, markers: createSeriesMarkers(candles, []), lines: [], linesOf: "", edge: null };
  dress();
  made.subscribeCrosshairMove(at => legend(at.time));
  made.timeScale().subscribeVisibleLogicalRangeChange(range => {
    if (!range || !story) return;
    $("candles-latest").hidden = drawn.edge === null || made.timeScale().timeToIndex(drawn.edge, true) <= range.to;
    later(describe);
    if (range.from < 10) older();
  });
  return drawn;
}

function paint() {
  if (!drawn) return;
  const price = colour("price"), card = colour("card");
  drawn.candles.applyOptions({
    upColor: card, borderUpColor: price, wickUpColor: price, downColor: price, borderDownColor: price, wickDownColor: price,
    priceLineColor: colour("soft"), priceLineStyle: LineStyle.Dotted,
  });
  drawn.band.applyOptions({ color: colour("gain", 0.13), edge: colour("gain", 0.35) });
  drawn.stops.applyOptions({ edge: colour("loss", 0.9) });
  drawn.linesOf = "";
  drawMarkers();
  drawLines();
}

// Data

async function load(limit, { first = false } = {}) {
  const mine = ++asked, symbol = shown;
  try {
    const told = await ask(`/api/candles?symbol=${encodeURIComponent(symbol)}&limit=${limit}`);
    if (mine !== asked || symbol !== shown) return;
    take(told, first);
  } catch (error) {
    if (symbol === shown && first) write($("symbol-why"), `No candles: ${error.message}.`);
  }
}

function older() {
  if (story.whole || story.loading || story.bars.length >= MOST_BARS) return;
  story.loading = true;
  load(Math.min(MOST_BARS, 2 * story.bars.length));
}

/** After a close or a fill: only the tail is asked for. */
async function extend() {
  if (!story) return;
  const symbol = shown;
  const told = await ask(`/api/candles?symbol=${encodeURIComponent(symbol)}&limit=${TAIL_BARS}`).catch(() => null);
  if (!told || symbol !== shown || !story) return;
  const from = told.bars[0]?.[0] ?? Infinity;
  if (!story.bars.length || story.bars.at(-1)[0] < from - told.interval_ms) return load(story.bars.length || FIRST_BARS);
  const join = (old, next, key = each => each[0]) => [...new Map([...old, ...next].map(each => [key(each), each])).values()];
  take({
    interval_ms: told.interval_ms, open: told.open,
    bars: join(story.bars, told.bars), band: join(story.band, told.band), stops: join(story.stops, told.stops),
    fills: join(story.fills, told.fills, JSON.stringify),
    note: story.band.length || !told.band.length ? story.note : told.note,  // the tail knows only of itself
  }, false);
}

function take(told, first) {
  const whole = story !== null && told.bars.length <= story.bars.length;
  story = { ...told, whole, loading: false };
  const last = told.open ?? told.bars.at(-1);
  if (last) {
    const digits = f.digitsOf(shown, last[4]);
    const priceFormat = { type: "custom", minMove: 10 ** -digits, formatter: value => f.decimal(value, digits) };
    for (const series of [drawn.candles, drawn.band, drawn.stops]) series.applyOptions({ priceFormat });
  }
  follow(() => {
    drawn.candles.setData(bars());
    drawn.band.setData([...ahead(), ...points(told.band)].sort((a, b) => a.time - b.time));
    drawn.stops.setData(points(told.stops));
  });
  write($("symbol-band"), told.note ?? "");
  drawMarkers();
  drawLines();
  if (first) latest();
  legend(null);
}

/** Change the series; take a reader who looks at the last bar along, and leave any other where he is. */
function follow(change) {
  const scale = drawn.made.timeScale(), range = scale.getVisibleLogicalRange(), edge = drawn.edge;
  const was = edge === null ? null : scale.timeToIndex(edge, true);
  change();
  drawn.edge = bars().at(-1)?.time ?? null;
  if (!range || was === null || drawn.edge === null) return;
  const to = range.from <= was && was <= range.to ? drawn.edge : edge;
  const by = scale.timeToIndex(to, true) - was;
  scale.setVisibleLogicalRange({ from: range.from + by, to: range.to + by });
}

/** Rows of time, low and high (or one level) as points; null makes a hole. Of one bar, the last counts. */
function points(rows) {
  const out = new Map();
  let low = 0, high = 0;
  for (const row of rows) {
    const read = f.number(row[1]), hole = read === null;
    if (!hole) { low = read; high = f.number(row[2] ?? row[1]); }
    const time = seconds(floor(row[0]));  // on the grid of the bars: another moment would widen the axis
    out.set(time, { time, low, high, hole });
  }
  return [...out.values()].sort((a, b) => a.time - b.time);
}

/** The times between the last bar and the end of the band: without them the axis would leave them out. */
function ahead() {
  const taken = new Set(story.band.map(([ts]) => ts)), last = story.bars.at(-1)?.[0] ?? Infinity, out = [];
  for (let ts = last + story.interval_ms; ts < (story.band.at(-1)?.[0] ?? 0) && out.length < MOST_BARS; ts += story.interval_ms)
    if (!taken.has(ts)) out.push({ time: seconds(ts) });
  return out;
}

/** A far stop must not press the candles flat: the axis takes in what is at most one height of them away. */
function nearby(original) {
  const info = original(), range = drawn.made.timeScale().getVisibleRange();
  if (!info?.priceRange || !range || !story) return info;
  const seen = bars().filter(bar => bar.time >= range.from && bar.time <= range.to);
  if (!seen.length) return null;
  const low = Math.min(...seen.map(bar => bar.low)), high = Math.max(...seen.map(bar => bar.high)), room = high - low;
  const { minValue, maxValue } = info.priceRange;
  return { ...info, priceRange: { minValue: minValue < low - room ? low : minValue, maxValue: maxValue > high + room ? high : maxValue } };
}

function bars() {
  const all = story.open && story.open[0] > (story.bars.at(-1)?.[0] ?? 0) ? [...story.bars, story.open] : story.bars;
  return all.map(candle);
}

const candle = ([ts, open, high, low, close]) => ({ time: seconds(ts), open, high, low, close });

function latest() {
  const count = story?.bars.length ?? 0, last = story?.bars.at(-1)?.[0] ?? 0;
  const ahead = Math.max(0, Math.round(((story?.band.at(-1)?.[0] ?? 0) - last) / (story?.interval_ms ?? 1)));
  const inView = Math.max(30, Math.min(160, $("candles").clientWidth / BAR_PX));
  const to = count + Math.min(inView / 4, ahead) + 2;
  drawn.made.timeScale().setVisibleLogicalRange({ from: to - Math.min(inView, Math.max(count + ahead, 30)), to });
}

// What changes between closes

function onStatus(status) {
  if (!shown) return;
  const last = story?.bars.at(-1);
  if (story && last && status.last_bar_ms && status.last_bar_ms > last[0] + story.interval_ms && story.seen !== status.last_bar_ms) {
    story.seen = status.last_bar_ms;
    extend();
  }
}

function drawSymbol() {
  const row = known.symbols.get(shown);
  write($("symbol-title"), shown ?? "");
  write($("symbol-price"), f.priceOf(shown, row?.price), "Last price");
  write($("symbol-change"), f.percent(row?.change_frac, { sign: true }), "Over the last 24 hours", f.tint(row?.change_frac, 5e-5));
  write($("symbol-facts"), facts(row), "The band was forecast an hour before: if forecasts are right, nine of ten prices lie in it");
  write($("symbol-why"), row?.why ? `Last decision: ${row.why}` : "");
  describe();
  if (row) moveOpen(row);
  drawLines();
}

/** For readers who do not see the chart. */
function describe() {
  const range = story && drawn.made.timeScale().getVisibleRange();
  const moment = at => `${f.day(1000 * at)} ${f.clock(1000 * at)} UTC`;
  const span = range ? ` from ${moment(range.from)} to ${moment(range.to)}` : "";
  $("candles").setAttribute("aria-label", `Candles of ${shown}${span}, last price ${f.priceOf(shown, known.symbols.get(shown)?.price)}`);
}

function facts(row) {
  const out = [];
  if (row?.forecast?.sigma_frac) out.push(`next hour σ ${f.percent(row.forecast.sigma_frac)}, band 90 %`);
  if (story?.interval_ms) out.push(`${f.span(story.interval_ms)} bars, times in UTC`);
  return out.join(" · ");
}

/** Draw the candle as it stands now. It is only moved by numbers that are fresh. */
function moveOpen(row) {
  if (!story || !isFresh() || !row.open || row.open[0] <= (story.bars.at(-1)?.[0] ?? 0)) return;
  story.open = row.open;
  const now = candle(row.open);
  if (now.time === drawn.edge) drawn.candles.update(now);
  else follow(() => drawn.candles.update(now));
}

// Orders on the chart

function drawMarkers() {
  if (!story?.bars.length) return drawn?.markers.setMarkers([]);
  const gain = colour("gain"), loss = colour("loss"), first = story.bars[0][0];
  const marks = new Map();
  for (const fill of story.fills) {
    const ts = floor(fill.ts_ms);
    if (ts < first) continue;
    const buy = fill.side === "Buy", id = `${ts} ${fill.side} ${fill.is_entry}`;
    marks.set(id, {
      time: seconds(ts), position: buy ? "belowBar" : "aboveBar", color: buy ? gain : loss,
      shape: fill.is_entry ? (buy ? "arrowUp" : "arrowDown") : "circle", size: fill.is_entry ? 1 : 0.7,
    });
  }
  drawn.markers.setMarkers([...marks.values()].sort((a, b) => a.time - b.time));
}

const floor = ms => Math.floor(ms / story.interval_ms) * story.interval_ms;

/** Entry, stop and target of the open position, as level lines. */
function drawLines() {
  if (!drawn) return;
  const row = known.symbols.get(shown), held = f.number(row?.qty);
  const wanted = held ? [["entry", row.entry_price, "ink"], ["stop", row.stop_loss, "loss"], ["target", row.take_profit, "gain"]] : [];
  const of = JSON.stringify([shown, wanted]);
  if (drawn.linesOf === of) return;
  drawn.linesOf = of;
  for (const line of drawn.lines) drawn.candles.removePriceLine(line);
  drawn.lines = wanted.filter(([, value]) => f.number(value) !== null).map(([title, value, name]) => drawn.candles.createPriceLine({
    price: f.number(value), title, color: colour(name, 0.8), lineWidth: 1, axisLabelVisible: true,
    lineStyle: name === "ink" ? LineStyle.Solid : LineStyle.Dashed,
  }));
}

/** The bar under the pointer in numbers, with its orders and why they were sent. */
function legend(time) {
  if (!story) return write($("candles-legend"), "");
  const bar = time ? bars().find(each => each.time === time) : null;
  if (!bar) return $("candles-legend").replaceChildren();
  const names = [["O", bar.open], ["H", bar.high], ["L", bar.low], ["C", bar.close]];
  const numbers = names.map(([name, value]) => make("span", {}, make("i", {}, name), ` ${f.priceOf(shown, value)} `));
  const fills = story.fills.filter(fill => seconds(floor(fill.ts_ms)) === time).slice(0, 4).map(fill =>
    make("span", { class: fill.side === "Buy" ? "gain" : "loss" },
      `${fill.is_entry ? "entry" : "exit"}: ${fill.side} ${f.quantity(fill.qty)} at ${f.priceOf(shown, fill.price)}${fill.reason ? ` (${fill.reason})` : ""}`));
  $("candles-legend").replaceChildren(make("span", { title: f.utc(1000 * time) }, f.moment(1000 * time)), ...numbers, ...fills);
}
