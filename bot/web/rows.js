// The tables of a search; rows light up their lines in the picture above, and filters hide lines there.
(() => {
  "use strict";
  const tables = document.querySelectorAll("table.sortable");
  document.querySelectorAll("script.sortable").forEach((kept, at) => sortable(tables[at], kept));

  function sortable(table, kept) {
    const { columns, number } = JSON.parse(kept.textContent);
    const what = kept.dataset.what;
    const lines = new Map([...document.querySelectorAll("path[data-trial]")].map(path => [Number(path.dataset.trial), path]));

    function light(row, i) {
      const path = lines.get(number[i]);
      const on = () => { path.classList.add("hot"); path.parentNode.append(path); };
      const off = () => path.classList.remove("hot");
      if (!path) return;
      row.tabIndex = row.previousElementSibling ? -1 : 0;
      for (const event of ["pointerenter", "focus"]) row.addEventListener(event, on);
      for (const event of ["pointerleave", "blur"]) row.addEventListener(event, off);
    }

    /** With the keyboard: one stop for all rows, and arrows from row to row. */
    table.addEventListener("keydown", event => {
      const row = event.target;
      const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
      if (row.tagName !== "TR" || !next) return;
      event.preventDefault();
      next.tabIndex = 0;
      next.focus();
      row.tabIndex = -1;
    });

    listed(table, {
      columns: columns.map(column => ({
        text: i => column.text[i],
        key: i => column.key[i],
        isDown: column.down,
        choices: column.choices,
      })),
      total: number.length,
      what,
      tell: () => what,
      place: "contains …",
      seen: rows => {
        const shown = new Set(rows.map(i => number[i]));
        for (const [trial, path] of lines) path.toggleAttribute("hidden", !shown.has(trial));
      },
      made: light,
    });
  }
})();
