// The head of the page: mode, state in words, figures, and what a reader must not miss (halt, lost connection).

import { $, make, write, later } from "./dom.js";
import { known, fresh, isFresh, isKnown, marketNow, marketSpeed, on } from "./live.js";
import * as f from "./format.js";

const LATE_LAG_MS = 5000;
const TONES = { trading: "good", halted: "bad", stalled: "warn", reducing: "warn", paused: "warn" };

/** Name, hint, text and class of each figure, and the zone if it is a time. */
const FIGURES = [
  ["Equity", "The account's value, at present marks", s => [f.money(s.equity), "lead"]],
  ["Today", "Change since 00:00 UTC", s => [f.money(s.day_pnl, { sign: true }), `lead ${f.tint(s.day_pnl)}`, day(s)]],
  ["Open result", "Unrealised result of all positions", s => [f.money(open(s), { sign: true }), f.tint(open(s))]],
  ["Net position", "Long minus short, at marks", s => [f.money(s.net_notional), ""]],
  ["Trades today", "Closed since 00:00 UTC", s => [f.count(s.trades_today), ""]],
  ["Last bar", "Close of the last bar taken, UTC", s => [f.when(s.last_bar_ms), "", f.utc(s.last_bar_ms)], "UTC"],
  ["Next close", "Until the next bar closes and is decided on", s => [next(s), ""]],
  ["Feed lag", "From the exchange's stamp to the bot", s => [f.span(lag(s)), lag(s) > LATE_LAG_MS ? "warn" : ""]],
];

export function start() {
  $("figures").append(...FIGURES.map(([name, about, , zone]) => make("div", { title: about },
    make("dt", {}, make("span", {}, name), zone ? ` ${zone}` : ""), make("dd", {}, f.UNKNOWN))));
  $("theme").addEventListener("click", turnTheme);
  nameTheme();
  on("status", () => { title(); later(draw); });
  on("fresh", () => { title(); later(draw); });
  setInterval(() => later(drawFigures), 1000);
}

function open(status) {
  if ("unrealised" in status) return status.unrealised;
  if (!status.positions) return null;
  const all = status.positions.map(each => each.unrealised);
  return all.includes(null) ? null : all.reduce((sum, each) => sum + each, 0);
}

function day(status) {
  return `${f.percent(status.day_pnl_frac, { sign: true })} since 00:00 UTC`;
}

function next(status) {
  const now = marketNow();
  if (!isFresh() || now === null || !status.next_close_ms) return f.UNKNOWN;
  return f.countdown((status.next_close_ms - now) / marketSpeed());
}

/** In wall time: the market's may run faster. */
function lag(status) {
  const told = f.number(status.feed_lag_ms);
  return told === null ? null : told / marketSpeed();
}

function draw() {
  const status = known.status;
  document.documentElement.classList.toggle("stale", status !== null && !isFresh());
  drawState(status);
  drawNotices(status);
  drawFigures();
}

function drawFigures() {
  if (!known.status) return;
  FIGURES.forEach(([, about, show], i) => {
    const [text, style, more] = show(known.status);
    const tile = $("figures").children[i];
    write(tile.lastChild, text, more ?? "", style);
  });
}

function drawState(status) {
  const mode = String(status?.mode ?? f.UNKNOWN);
  write($("mode"), mode.toUpperCase(), isKnown() ? `orders: ${mode}; candles: ${status.feed ?? "unknown"}; strategy: ${status.strategy ?? "unknown"}` : "", `badge ${mode}`);
  const [tone, word, words] = stateNow(status);
  $("state").className = `state ${tone}`;
  write($("state").children[1], word);
  write($("state").children[2], words, words);
}

/** Tone, word and explanation of the state. Old states are not shown as present ones. */
function stateNow(status) {
  if (fresh.link === "refused") return ["bad", "no access", fresh.refusal];
  if (!status) return ["", fresh.link === "lost" ? "no connection" : "connecting", ""];
  const was = isKnown() ? `was ${status.state}` : "";
  if (fresh.link === "lost") return ["warn", "not connected", was];
  if (fresh.daemon === "down") return ["bad", "not running", was];
  if (fresh.daemon === "hangs") return ["bad", "does not answer", was];
  return [TONES[status.state] ?? "", status.state, stripped(status)];
}

/** The words without the state they begin with: it stands before them already. */
function stripped(status) {
  return wordsOf(status).replaceAll("`", "");
}

function wordsOf(status) {
  return String(status.state_words ?? "").replace(new RegExp(`^(${status.state}|held back)(: |; | by )`), "");
}

function drawNotices(status) {
  const notices = [stale(status), halt(status), ...(status?.state === "halted" ? [] : [...held(status), ...stopped(status)])].filter(Boolean);
  const texts = notices.map(([, text]) => text).join("\n");
  const box = $("notices");
  if (box.dataset.texts === texts) return;
  box.dataset.texts = texts;
  box.replaceChildren(...notices.map(([tone, text, strong]) => make("p", { class: `notice ${tone}` }, make("b", {}, strong), " ", ...worded(text))));
}

/** Words with commands in backquotes, as people know them from terminals. */
function worded(text) {
  return text.split("`").map((part, i) => (i % 2 ? make("code", {}, part) : part));
}

function stale(status) {
  if (fresh.link === "refused") return ["bad", `${fresh.refusal}.`, "No access."];
  if (!status || isFresh()) return null;
  const of = isKnown() ? `The numbers below are as of ${f.moment(fresh.asOf, Date.now())}.` : "Its numbers are not known.";
  if (fresh.link === "lost") return ["warn", `${of} Connecting again.`, "Connection lost."];
  if (fresh.daemon === "hangs") return ["bad", `${of} Protective stops rest at the venue. In a terminal: \`bot kill\`.`, "The daemon does not answer."];
  return ["bad", `${of} Start it again with \`bot run\`; its journal is shown meanwhile.`, "The daemon is not running."];
}

function halt(status) {
  if (status?.state !== "halted") return null;
  return ["bad", reasons(status).map(sentence).join(" ") || "The cause is not known.", "Halted."];
}

function held(status) {
  return reasons(status).map(each => ["warn", sentence(each), "Held back:"]);
}

/** Strategies that raised, unless the words of another notice name them already. */
function stopped(status) {
  const rows = status?.strategies_stopped ?? [];
  if (!rows.length || reasons(status).length) return [];
  const names = rows.map(each => each.symbol), few = names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${names.length - 3} more` : "");
  const text = `${rows[0].words}. No entries in ${few}; exits and stops go on. What to do: mend the strategy, start the bot again, then \`bot unhalt\`.`;
  return [["warn", text, rows.length > 1 ? "Strategies stopped:" : "Strategy stopped:"]];
}

/** What holds entries back, in words. A pause is not among them: the state says it. */
function reasons(status) {
  const causes = (status?.held_back_by ?? []).filter(each => (each.cause ?? each) !== "paused");
  return causes.some(each => typeof each === "string") ? [{ words: wordsOf(status) }] : causes;
}

function sentence({ words, to_do: advice }) {
  return advice ? `${words}. What to do: ${advice}.` : `${words}.`;
}

/** The tab says the most important thing. */
function title() {
  const status = known.status;
  if (!status) return;
  const mark = !isFresh() ? "not live" : status.state === "halted" ? "HALTED" : f.money(status.equity);
  document.title = `${mark} · ${String(status.mode ?? f.UNKNOWN).toUpperCase()} · bot`;
}

// Theme: the system's, light, dark.

const THEMES = ["", "light", "dark"];

function turnTheme() {
  const root = document.documentElement;
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "") + 1) % THEMES.length];
  if (next) root.dataset.theme = next; else delete root.dataset.theme;
  try { localStorage.setItem("theme", next); } catch { /* it holds until the page is closed */ }
  nameTheme();
  dispatchEvent(new Event("theme"));
}

function nameTheme() {
  const theme = document.documentElement.dataset.theme ?? "";
  write($("theme"), { "": "◐ Auto", light: "○ Light", dark: "● Dark" }[theme], "Colours: as the system, light, dark");
  $("theme").setAttribute("aria-label", `Colours: ${theme || "as the system"}`);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));
