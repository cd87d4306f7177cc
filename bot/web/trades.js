// All trades of a report: sorted by a click on a column's name, filtered, shown in pages.
// The page is complete without this script: it then lists the best, the worst and the last.
(() => {
  "use strict";
  const PAGE = 200;
  const table = document.querySelector("table.trades");
  const kept = document.querySelector("script.trades");
  if (!table || !kept) return;
  const told = JSON.parse(kept.textContent);
  let seconds = 0;
  told.entry = told.entry.map(delta => (seconds += delta));

  // The columns, in the order of TRADE_COLUMNS: where a value is, and how it is written.
  const COLUMNS = [
    ["entry", s => new Date(1000 * s).toISOString().slice(0, 16).replace("T", " ")],
    ["symbol", at => told.symbols[at]],
    ["long", long => (long ? "long" : "short")],
    ["held", lasted],
    ["qty", v => minus(v.toLocaleString("en", { maximumFractionDigits: 20 }))],
    ["from", price],
    ["to", price],
    ["net", signed],
    ["gain", percent],
    ["worst", percent],
    ["best", percent],
    ["fees", v => fixed(v)],
    ["funding", signed],
  ];
  const NET = 7, WORDS = 3;
  const heads = [...table.tHead.rows[0].cells];
  const state = { column: 0, down: false, page: 0, symbol: "", side: "", result: "", text: "" };

  const body = document.createElement("tbody");
  for (const old of [...table.tBodies]) old.remove();
  document.querySelector(".unscripted")?.remove();
  table.append(body);

  // What to see

  function chosen() {
    const text = state.text.trim().toLowerCase();
    const found = [];
    for (let i = 0; i < told.net.length; i++) {
      if (state.symbol && told.symbols[told.symbol[i]] !== state.symbol) continue;
      if (state.side && told.long[i] !== Number(state.side === "long")) continue;
      if (state.result && told.net[i] < 0 !== (state.result === "losses")) continue;
      if (text && !cells(i).some(cell => cell.toLowerCase().includes(text))) continue;
      found.push(i);
    }
    const values = told[COLUMNS[state.column][0]], way = state.down ? -1 : 1;
    const value = i => values[i] ?? -Infinity;
    return found.sort((a, b) => (value(a) < value(b) ? -way : value(a) > value(b) ? way : a - b));
  }

  function cells(i) { return COLUMNS.map(([name, write]) => write(told[name][i])); }

  function draw() {
    const found = chosen();
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * PAGE;
    body.replaceChildren(...found.slice(from, from + PAGE).map(line));
    const to = Math.min(from + PAGE, found.length);
    const part = pages > 1 ? `, ${(from + 1).toLocaleString("en")}–${to.toLocaleString("en")} shown` : "";
    const all = told.net.length, of = found.length < all ? ` of ${all.toLocaleString("en")}` : "";
    const net = found.reduce((sum, i) => sum + told.net[i], 0);
    count.textContent = `${found.length.toLocaleString("en")}${of} trades, net ${signed(net)}${part}`;
    before.hidden = after.hidden = pages === 1;
    before.disabled = state.page === 0;
    after.disabled = state.page === pages - 1;
    heads.forEach((head, at) => {
      if (at === state.column) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  function line(i) {
    const row = document.createElement("tr");
    cells(i).forEach((text, at) => {
      const cell = document.createElement(at ? "td" : "th");
      if (!at) cell.scope = "row";
      if (at === NET) {
        const bold = document.createElement("b");
        bold.className = text.startsWith("−") ? "loss" : "gain";
        bold.textContent = text;
        cell.append(bold);
      } else cell.textContent = text;
      row.append(cell);
    });
    return row;
  }

  // How to choose it

  const bar = Object.assign(document.createElement("div"), { className: "filters" });
  const count = Object.assign(document.createElement("span"), { className: "note" });
  const before = button("Earlier rows", () => { state.page -= 1; draw(); });
  const after = button("Later rows", () => { state.page += 1; draw(); });
  before.textContent = "‹";
  after.textContent = "›";
  if (told.symbols.length > 1) bar.append(select("symbol", "All symbols", told.symbols));
  bar.append(select("side", "Long and short", ["long", "short"]));
  bar.append(select("result", "Gains and losses", ["gains", "losses"]));
  const pager = Object.assign(document.createElement("span"), { className: "pager" });
  pager.append(before, after);
  bar.append(search(), count, pager);
  table.parentElement.before(bar);

  heads.forEach((head, at) => {
    const sorter = button(`Sort by ${head.textContent}`, () => {
      state.down = state.column === at ? !state.down : at >= WORDS;
      state.column = at;
      state.page = 0;
      draw();
    });
    sorter.textContent = head.textContent;
    head.replaceChildren(sorter);
  });

  function button(label, act) {
    const made = Object.assign(document.createElement("button"), { type: "button", title: label });
    made.addEventListener("click", act);
    return made;
  }

  function select(name, all_, values) {
    const made = document.createElement("select");
    made.setAttribute("aria-label", all_);
    made.append(new Option(all_, ""), ...values.map(value => new Option(value, value)));
    made.addEventListener("change", () => { state[name] = made.value; state.page = 0; draw(); });
    return made;
  }

  function search() {
    const made = Object.assign(document.createElement("input"), { type: "search", placeholder: "2025-03, 61,234 …" });
    made.setAttribute("aria-label", "Trades that contain");
    made.addEventListener("input", () => { state.text = made.value; state.page = 0; draw(); });
    return made;
  }

  // How a value is written: as the page writes it without this script (bot/web/numbers.py)

  function minus(text) { return text.replace("-", "−"); }

  function fixed(value, digits = 2) {
    if (value === null) return "–";
    return minus(value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }

  function signed(value) { return value === null || value < 0 || Object.is(value, -0) ? fixed(value) : "+" + fixed(value); }

  function percent(value) { return value === null ? "–" : signed(value) + " %"; }

  function price(value) {
    const digits = value ? 5 - Math.floor(Math.log10(Math.abs(value))) : 0;
    return fixed(value, Math.min(12, Math.max(0, digits)));
  }

  function lasted(seconds) {
    const parts = [];
    for (const [name, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
      if (seconds < size || parts.length === 2) continue;
      parts.push(`${Math.floor(seconds / size).toLocaleString("en")} ${name}`);
      seconds %= size;
    }
    return parts.join(" ") || "0 s";
  }

  draw();
})();
