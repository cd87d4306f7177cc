// A table that draws only the rows in view, so that 600 live rows cost as much as 30. Headers sort.
//
// A column: { id, label, text(row), value(row) to sort by, num, hint(row), style(row), width px, grow, least (px of
// page width from which the column is shown), late (newest first), fill(cell, row) for buttons }.

import { make, write, later } from "./dom.js";

const ROW_PX = 30, EXTRA_ROWS = 6, CALM_MS = 2000;

/** Make a table in ``box``; returns { set(rows, what to say without rows) }. ``key`` names a row;
 * ``onopen`` is what a click on it does, with ``byKey`` also Enter. */
export function table(box, { label, columns, key, sort = null, empty = "Nothing here yet.", onopen = null, byKey = false }) {
  let rows = [], ordered = [], order = sort, sortedAt = 0, shown = [], changed = true, start = 0, height = 0;
  const pool = [], head = make("tr"), group = make("colgroup"), body = make("tbody");
  const top = make("tr", { class: "spacer", "aria-hidden": "true" }, make("td"));
  const bottom = make("tr", { class: "spacer", "aria-hidden": "true" }, make("td"));
  const grid = make("table", { "aria-label": label }, group, make("thead", {}, head), body);
  const blank = make("p", { class: "empty" }, empty);
  const view = make("div", { class: "rows", tabindex: "0", role: "region", "aria-label": label }, grid, blank);
  body.append(top, bottom);
  box.replaceChildren(view);
  let inside = false;
  view.addEventListener("scroll", () => later(draw), { passive: true });
  view.addEventListener("pointerenter", () => { inside = true; });
  view.addEventListener("pointerleave", () => { inside = false; });
  new ResizeObserver(() => { height = view.clientHeight; changed = true; later(draw); }).observe(view);
  addEventListener("resize", choose);
  choose();

  /** Take the columns that the page is wide enough for. */
  function choose() {
    const fitting = columns.filter(column => !column.least || innerWidth >= column.least);
    if (fitting.length === shown.length) return;
    shown = fitting;
    group.replaceChildren(...shown.map(column => {
      const col = make("col");
      if (!column.grow) col.style.width = `${column.width}px`;
      return col;
    }));
    grid.style.minWidth = `${shown.reduce((sum, column) => sum + column.width, 0)}px`;
    head.replaceChildren(...shown.map(header));
    for (const row of pool.splice(0)) row.remove();
    changed = true;
    for (const spacer of [top, bottom]) spacer.firstChild.colSpan = shown.length;
    later(draw);
  }

  function header(column) {
    const cell = make("th", { scope: "col", class: column.num ? "num" : "", title: column.about });
    if (!column.value) cell.append(column.label);
    else cell.append(make("button", { type: "button", onclick: () => turn(column) }, column.label));
    return cell;
  }

  function turn(column) {
    const down = order?.id === column.id ? !order.down : Boolean(column.num || column.late);
    order = { id: column.id, down };
    sortedAt = 0;
    changed = true;
    view.scrollTop = 0;
    later(draw);
  }

  function arrange() {
    const column = order && columns.find(each => each.id === order.id);
    const names = new Set(rows.map(key));
    const same = ordered.length === rows.length && ordered.every(row => names.has(key(row)));
    if (same && column && (inside || performance.now() - sortedAt < CALM_MS) && sortedAt) {
      const now = new Map(rows.map(row => [key(row), row]));  // keep the order calm; take the new numbers
      ordered = ordered.map(row => now.get(key(row)));
      return;
    }
    sortedAt = performance.now();
    ordered = column ? [...rows].sort(comparing(column, order.down)) : rows;
  }

  function draw() {
    const first = Math.max(0, Math.floor(view.scrollTop / ROW_PX) - EXTRA_ROWS);
    if (changed) renew();
    else if (first === start) return;
    const last = Math.min(ordered.length, first + Math.ceil(height / ROW_PX) + 2 * EXTRA_ROWS);
    while (pool.length < last - first) pool.push(body.insertBefore(line(), bottom));
    turnPool(first - start);
    start = first;
    pool.forEach((row, i) => {
      const out = first + i >= last;
      if (row.hidden !== out) row.hidden = out;
      if (!out && (changed || row.item !== ordered[first + i])) fill(row, ordered[first + i], first + i);
    });
    changed = false;
    spread(top, first * ROW_PX);
    spread(bottom, Math.max(0, ordered.length - last) * ROW_PX);
  }

  /** After new rows, columns or order. */
  function renew() {
    arrange();
    shown.forEach((column, i) => {
      const way = order?.id === column.id ? (order.down ? "descending" : "ascending") : "none";
      if (column.value) head.children[i].setAttribute("aria-sort", way);
    });
    blank.hidden = ordered.length > 0;
    grid.setAttribute("aria-rowcount", String(ordered.length + 1));
  }

  /** While scrolling, rows that leave on one side come in on the other; the rest need no new text. */
  function turnPool(by) {
    if (by === 0 || Math.abs(by) >= pool.length) return;
    if (by > 0) {
      const left = pool.splice(0, by);
      bottom.before(...left);
      pool.push(...left);
    } else {
      const left = pool.splice(by);
      top.after(...left);
      pool.unshift(...left);
    }
  }

  function line() {
    const row = make("tr", {}, ...shown.map(column => make("td", { class: column.num ? "num" : "" })));
    if (!onopen) return row;
    row.classList.add("opens");
    row.addEventListener("click", event => { if (!event.target.closest("button, a")) onopen(row.item); });
    if (!byKey) return row;
    row.tabIndex = 0;
    row.addEventListener("keydown", event => { if (event.key === "Enter" && event.target === row) onopen(row.item); });
    return row;
  }

  function fill(row, item, index) {
    row.item = item;
    row.setAttribute("aria-rowindex", String(index + 2));
    shown.forEach((column, i) => {
      const cell = row.children[i];
      if (column.fill) return column.fill(cell, item);
      const style = [column.num ? "num" : "", column.style?.(item) ?? ""].filter(Boolean).join(" ");
      write(cell, column.text(item), column.hint?.(item) ?? "", style);
    });
  }

  return {
    set(next, instead = empty) { rows = next; changed = true; blank.textContent = instead; later(draw); },
  };
}

function spread(spacer, px) {
  spacer.firstChild.style.height = `${px}px`;
  spacer.hidden = px === 0;
}

/** Unknown values come last, whichever way the column is sorted. */
function comparing(column, down) {
  const way = down ? -1 : 1;
  return (a, b) => {
    const x = column.value(a), y = column.value(b);
    const noX = x === null || x === undefined, noY = y === null || y === undefined;
    if (noX || noY) return noX - noY;
    return x < y ? -way : x > y ? way : 0;
  };
}
