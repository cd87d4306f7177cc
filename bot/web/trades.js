// All trades of a report.
// The page is complete without this script: it then lists the best, the worst and the last.
(() => {
  "use strict";
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

  /** Net results are bold and coloured. */
  function bold(text) {
    return Object.assign(document.createElement("b"), { className: text.startsWith("−") ? "loss" : "gain", textContent: text });
  }

  listed(table, {
    columns: COLUMNS.map(([name, write], at) => ({
      text: i => write(told[name][i]),
      key: i => told[name][i],
      number: at > WORDS ? i => told[name][i] ?? NaN : undefined,
      isDown: at >= WORDS,
      choices: { symbol: told.symbols, long: ["long", "short"] }[name],
      bold: at === NET ? bold : undefined,
    })),
    total: told.net.length,
    what: "trades",
    tell: rows => `trades, net ${signed(rows.reduce((sum, i) => sum + told.net[i], 0))}`,
    place: "2025-03, 61,234 …",
    sorted: 0,
  });

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
})();
