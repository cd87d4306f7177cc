// Steering: each button opens a dialog that names what will happen, asks for the confirmation, and shows the result.

import { $, make, later } from "./dom.js";
import { ask, fresh, known, isFresh, on } from "./live.js";

const BUTTONS = [["pause", "Pause"], ["resume", "Resume"], ["unhalt", "Unhalt"], ["flatten", "Flatten"], ["kill", "Kill"]];
const TITLES = { pause: "Pause", resume: "Resume", unhalt: "Unhalt: let entries leave again", flatten: "Flatten: close all positions", kill: "Kill: halt and cancel all orders", close: "Close" };
/** Actions that move or free money ask for the word to be typed. */
const TYPED = new Set(["flatten", "kill", "unhalt", "close"]);

export function start() {
  $("actions").append(...BUTTONS.map(([name, label]) =>
    make("button", { type: "button", class: `act ${name}`, id: `act-${name}`, onclick: () => open(name) }, label)));
  on("status", () => later(draw));
  on("fresh", () => later(draw));
  draw();
}

function draw() {
  for (const [name] of BUTTONS) {
    const button = $(`act-${name}`), action = known.status?.actions?.[name];
    button.hidden = !isOffered(name);
    const barrier = whyNot(name, action);
    button.disabled = barrier !== null;
    button.title = barrier ?? action.will;
  }
}

/** The server offers what would change something. Before it has said so: what always may be asked for. */
function isOffered(name) {
  return known.status?.actions?.[name]?.offered ?? (name !== "resume" && name !== "unhalt");
}

/** Why an action cannot be asked for now; null if it can. A kill reaches a daemon that hangs or is dead, too. */
function whyNot(name, action) {
  if (!known.status) return "Not connected yet.";
  if (known.status.may_steer === false) return "Read-only: open the link that bot run printed; it carries the token.";
  if (name === "kill" ? fresh.link !== "live" : !isFresh()) return "Not possible without a live connection. In a terminal: bot kill.";
  if (!action) return "Not possible now.";
  return action.enabled === false ? action.why ?? "Not possible now." : null;
}

/** Ask for an action, or for the close of one symbol's position. */
export function open(name, symbol = null) {
  const action = known.status?.actions?.[name];
  const barrier = whyNot(name, action);
  const dialog = $("dialog");
  const title = make("h2", { id: "dialog-title" }, symbol ? `${TITLES[name]} ${symbol}` : TITLES[name]);
  const cancel = make("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel");
  if (barrier !== null) {
    dialog.replaceChildren(title, make("p", {}, barrier), make("div", { class: "choices" }, cancel));
    dialog.showModal();
    return;
  }
  const word = action.confirm, typed = TYPED.has(name);
  const input = make("input", { id: "dialog-word", type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", oninput: check });
  const go = make("button", { type: "submit", class: `act solid ${name}` }, symbol ? `Close ${symbol}` : TITLES[name].split(":")[0]);
  const result = make("p", { class: "result", role: "status" });
  const form = make("form", { method: "dialog", onsubmit: send },
    title,
    make("p", { class: "will" }, symbol ? willClose(action.will, symbol) : action.will),
    isFresh() ? "" : make("p", { class: "will warn" }, "The daemon does not answer: what it holds now is not known."),
    typed ? make("label", { for: "dialog-word" }, "Type ", make("code", {}, word), " to confirm") : "",
    typed ? input : "",
    result,
    make("div", { class: "choices" }, cancel, go));
  dialog.replaceChildren(form);
  check();
  dialog.showModal();
  (typed ? input : go).focus();

  function check() { go.disabled = typed && input.value.trim() !== word; }

  async function send(event) {
    event.preventDefault();
    if (go.disabled) return;
    go.disabled = input.disabled = true;
    show("", "Sent; waiting for the answer …");
    try {
      const answer = await post(name, symbol ? { confirm: word, symbol } : { confirm: word });
      show("good", answer.done ?? answer.words ?? "Done.");
      go.hidden = true;
      cancel.textContent = "Close";
      cancel.focus();
    } catch (error) {
      show("bad", `Not done: ${error.message}.`);
      go.disabled = input.disabled = false;
    }
  }

  function show(tone, text) {
    result.className = `result ${tone}`;
    result.textContent = text;
  }
}

function willClose(will, symbol) {
  const position = (known.status?.positions ?? []).find(each => each.symbol === symbol);
  return position ? `${symbol} ${position.qty}: ${will}` : will;
}

function post(name, body) {
  return ask(`/api/${name}`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), timeout: 40_000,
  });
}
