// A table of a search: sorted by a click on a column's name, filtered, shown in pages.
// The page is complete without this script: it then lists the first rows.
(() => {
  "use strict";
  const PAGE = 200;
  const table = document.querySelector("table.sortable");
  const kept = document.querySelector("script.sortable");
  if (!table || !kept) return;
  const { columns, number } = JSON.parse(kept.textContent);
  const what = kept.dataset.what;
  const heads = [...table.tHead.rows[0].cells];
  const lines = new Map([...document.querySelectorAll("path[data-trial]")].map(path => [Number(path.dataset.trial), path]));
  const state = { column: null, down: false, page: 0, text: "", chosen: columns.map(() => "") };

  const body = document.createElement("tbody");
  for (const old of [...table.tBodies]) old.remove();
  document.querySelector(".unscripted")?.remove();
  table.append(body);

  // What to see

  function passes(i) {
    const text = state.text.trim().toLowerCase();
    const fits = columns.every((column, at) => !state.chosen[at] || column.text[i] === state.chosen[at]);
    return fits && (!text || columns.some(column => column.text[i].toLowerCase().includes(text)));
  }

  /** Numbers of rows in the order of a column; one without a value comes last, whatever the order. */
  function ordered(rows) {
    if (state.column === null) return rows;
    const keys = columns[state.column].key, way = state.down ? -1 : 1;
    return rows.sort((a, b) => {
      const x = keys[a], y = keys[b];
      if (x === null || y === null) return x === y ? a - b : x === null ? 1 : -1;
      return x < y ? -way : x > y ? way : a - b;
    });
  }

  function draw() {
    const found = ordered(number.map((_, i) => i).filter(passes));
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * PAGE, to = Math.min(from + PAGE, found.length);
    body.replaceChildren(...found.slice(from, to).map(line));
    const part = pages > 1 ? `, ${words(from + 1)}–${words(to)} shown` : "";
    const of = found.length < number.length ? ` of ${words(number.length)}` : "";
    count.textContent = `${words(found.length)}${of} ${what}${part}`;
    before.hidden = after.hidden = pages === 1;
    before.disabled = state.page === 0;
    after.disabled = state.page === pages - 1;
    const shown = new Set(found.map(i => number[i]));
    for (const [trial, path] of lines) path.toggleAttribute("hidden", !shown.has(trial));
    heads.forEach((head, at) => {
      if (at === state.column) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  function line(i) {
    const row = document.createElement("tr");
    columns.forEach((column, at) => {
      const cell = document.createElement(at ? "td" : "th");
      if (!at) cell.scope = "row";
      cell.textContent = column.text[i];
      row.append(cell);
    });
    const path = lines.get(number[i]);
    if (path) {
      row.addEventListener("pointerenter", () => { path.classList.add("hot"); path.parentNode.append(path); });
      row.addEventListener("pointerleave", () => path.classList.remove("hot"));
    }
    return row;
  }

  function words(value) { return value.toLocaleString("en"); }

  // How to choose it

  const bar = Object.assign(document.createElement("div"), { className: "filters" });
  const count = Object.assign(document.createElement("span"), { className: "note" });
  const before = button("Earlier rows", () => { state.page -= 1; draw(); });
  const after = button("Later rows", () => { state.page += 1; draw(); });
  before.textContent = "‹";
  after.textContent = "›";
  columns.forEach((column, at) => { if (column.choices.length > 1) bar.append(select(column, at)); });
  const pager = Object.assign(document.createElement("span"), { className: "pager" });
  pager.append(before, after);
  bar.append(search(), count, pager);
  table.parentElement.before(bar);

  heads.forEach((head, at) => {
    const sorter = button(`Sort by ${head.textContent}`, () => {
      state.down = state.column === at ? !state.down : columns[at].down;
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

  function select(column, at) {
    const made = document.createElement("select");
    made.setAttribute("aria-label", column.name);
    made.append(new Option(`${column.name}: all`, ""), ...column.choices.map(each => new Option(`${column.name}: ${each}`, each)));
    made.addEventListener("change", () => { state.chosen[at] = made.value; state.page = 0; draw(); });
    return made;
  }

  function search() {
    const made = Object.assign(document.createElement("input"), { type: "search", placeholder: "contains …" });
    made.setAttribute("aria-label", `Rows of ${what} that contain`);
    made.addEventListener("input", () => { state.text = made.value; state.page = 0; draw(); });
    return made;
  }

  draw();
})();
