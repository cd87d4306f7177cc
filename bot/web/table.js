// A table of many rows: sorted by a click on a column's name, filtered, shown in pages. Two clicks sort the
// two ways, a third one restores the given order. trades.js and rows.js say what their rows are.
"use strict";

/**
 * Show a table, whose head is on the page already.
 *
 * columns: {text(i), key(i), isDown, choices, number(i), bold(text)} each: what row i shows; what it is sorted
 * by (null comes last); whether the first click sorts large values to the top; texts to choose from, if they
 * are few; the number that is shown (default: read from the text; NaN: none); an element for the text.
 * total: how many rows. tell(rows): what the rows are, in words. place: an example for the field that searches
 * all columns. sorted: the column at the start. seen(rows): called with the rows that pass all filters.
 * made(element, i): called with each row that is drawn.
 */
function listed(table, { columns, total, what, tell, place, sorted = null, seen = () => {}, made = () => {} }) {
  const PAGE = 200;
  const heads = [...table.tHead.rows[0].cells];
  const names = heads.map(head => head.textContent);
  const state = { column: sorted, isDown: false, page: 0 };

  const body = document.createElement("tbody");
  for (const old of [...table.tBodies]) old.remove();
  document.querySelector(".unscripted")?.remove();
  table.append(body);

  // What to see

  /** Return whether a row passes the filter of a column: a part of its text, <1, >=1, or 1..2. */
  function test(column, text) {
    const wanted = text.trim().toLowerCase();
    const limit = wanted.match(/^(<=|>=|<|>|=)\s*(.*)$/), ends = wanted.split("..");
    if (limit) {
      const [, sign, end] = limit, bound = read(end);
      if (!end) return null;
      const holds = { "<": v => v < bound, "<=": v => v <= bound, ">": v => v > bound, ">=": v => v >= bound, "=": v => v === bound };
      if (!Number.isNaN(bound)) return i => holds[sign](column.number(i));
    } else if (ends.length === 2) {
      const low = ends[0] ? read(ends[0]) : -Infinity, high = ends[1] ? read(ends[1]) : Infinity;
      if (low <= high) return i => column.number(i) >= low && column.number(i) <= high;
    }
    return wanted ? i => column.text(i).toLowerCase().includes(wanted) : null;
  }

  function passing() {
    const tests = fields.map((field, at) => {
      if (!field.value) return null;
      return field.type === "search" ? test(columns[at], field.value) : i => columns[at].text(i) === field.value;
    });
    const text = anywhere.value.trim().toLowerCase();
    if (text) tests.push(i => columns.some(column => column.text(i).toLowerCase().includes(text)));
    const asked = tests.filter(Boolean), found = [];
    for (let i = 0; i < total; i++) if (asked.every(passes => passes(i))) found.push(i);
    return found;
  }

  function ordered(rows) {
    if (state.column === null) return rows;
    const { key } = columns[state.column], way = state.isDown ? -1 : 1;
    return [...rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
      return x < y ? -way : x > y ? way : a - b;
    });
  }

  function draw() {
    const found = passing();
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * PAGE, to = Math.min(from + PAGE, found.length);
    body.replaceChildren(...ordered(found).slice(from, to).map(line));
    const of = found.length < total ? ` of ${total.toLocaleString("en")}` : "";
    const part = pages > 1 ? `, ${(from + 1).toLocaleString("en")}–${to.toLocaleString("en")} shown` : "";
    count.textContent = `${found.length.toLocaleString("en")}${of} ${tell(found)}${part}`;
    before.hidden = after.hidden = pages === 1;
    before.disabled = state.page === 0;
    after.disabled = state.page === pages - 1;
    clear.hidden = !anywhere.value && fields.every(field => !field.value);
    heads.forEach((head, at) => {
      if (at === state.column) head.setAttribute("aria-sort", state.isDown ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    seen(found);
  }

  function line(i) {
    const row = document.createElement("tr");
    columns.forEach((column, at) => {
      const cell = document.createElement(at ? "td" : "th");
      if (!at) cell.scope = "row";
      cell.append(column.bold ? column.bold(column.text(i)) : column.text(i));
      row.append(cell);
    });
    made(row, i);
    return row;
  }

  // How to choose it

  function changed() { state.page = 0; draw(); }

  function button(label, text, act) {
    const made = Object.assign(document.createElement("button"), { type: "button", title: label, textContent: text });
    made.addEventListener("click", act);
    return made;
  }

  function field(label, placeholder) {
    const made = Object.assign(document.createElement("input"), { type: "search", placeholder });
    made.setAttribute("aria-label", label);
    made.addEventListener("input", changed);
    return made;
  }

  function select(label, choices) {
    const made = document.createElement("select");
    made.setAttribute("aria-label", label);
    made.append(new Option("all", ""), ...choices.map(each => new Option(each, each)));
    made.addEventListener("change", changed);
    return made;
  }

  const bar = Object.assign(document.createElement("div"), { className: "filters" });
  const count = Object.assign(document.createElement("span"), { className: "note" });
  count.setAttribute("aria-live", "polite");
  const before = button("Earlier rows", "‹", () => { state.page -= 1; draw(); });
  const after = button("Later rows", "›", () => { state.page += 1; draw(); });
  const anywhere = field(`${what[0].toUpperCase()}${what.slice(1)} that contain`, place);
  const clear = button("Show all rows", "Clear filters", () => {
    for (const each of [anywhere, ...fields]) each.value = "";
    changed();
    anywhere.focus();
  });
  const pager = Object.assign(document.createElement("span"), { className: "pager" });
  pager.append(before, after);
  bar.append(anywhere, clear, count, pager);
  const hint = Object.assign(document.createElement("p"), { className: "note hint" });
  hint.textContent = "A filter below a name is a part of the text, a range such as 1..2, or a limit such as >= 1.";
  table.parentElement.before(bar, hint);

  heads.forEach((head, at) => {
    head.replaceChildren(button(`Sort by ${names[at]}`, names[at], () => {
      const first = columns[at].isDown;
      if (state.column !== at) Object.assign(state, { column: at, isDown: first });
      else if (state.isDown === first) state.isDown = !first;
      else Object.assign(state, { column: null, isDown: false });
      changed();
    }));
  });

  const filters = table.tHead.insertRow();
  filters.className = "columns";
  const fields = columns.map((column, at) => {
    column.number ??= remembered(i => read(column.text(i)));
    const label = `Filter ${names[at]}`;
    const made = column.choices?.length > 1 ? select(label, column.choices) : field(label, isNumbers(column) ? "> 0" : "text");
    filters.insertCell().append(made);
    return made;
  });

  /** Return whether the first value that is known is a number. */
  function isNumbers(column) {
    let i = 0;
    while (i < total - 1 && column.key(i) === null) i++;
    return total > 0 && !Number.isNaN(column.number(i));
  }

  function remembered(value) {
    const known = new Map();
    return i => {
      if (!known.has(i)) known.set(i, value(i));
      return known.get(i);
    };
  }

  /** Read a number as the page writes it: 1,234.5, −3 or 12 %; NaN if the text is none. */
  function read(text) {
    const plain = text.replace(/[,%\s+]/g, "").replace("−", "-");
    return plain === "" ? NaN : Number(plain);
  }

  draw();
}
