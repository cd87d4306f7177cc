// Crosshair, values under it, and zoom on the time axis, for all time charts of the page together.
// The page is complete without this script: it redraws from the JSON beside each chart.
(() => {
  "use strict";
  const WIDTH = 1000, CANDLES = 160, MARKERS = 150;
  const SHAPES = ["buy", "sell", "liquidation"], SIDES = ["buy", "sell", "liquidated"];
  const charts = [...document.querySelectorAll("figure.time")].map(open);
  if (!charts.length) return;
  const whole = { from: charts[0].from, to: charts[0].to };
  let view = { ...whole };

  const button = document.createElement("button");
  button.className = "whole";
  button.textContent = "Show all";
  button.hidden = true;
  button.onclick = () => zoom(whole.from, whole.to);
  document.body.append(button);

  function open(figure) {
    const chart = JSON.parse(figure.querySelector("script").textContent);
    chart.frame = figure.querySelector(".frame");
    chart.plot = figure.querySelector(".plot");
    for (const series of [...chart.layers, chart.marks].filter(Boolean)) {
      let seconds = 0;
      series.t = series.t.map(delta => chart.from + 1000 * (seconds += delta));
    }
    chart.plot.insertAdjacentHTML("beforeend",
      `<rect class="chosen" height="${chart.height}" hidden/><line class="cursor" y2="${chart.height}" hidden/>`);
    chart.tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
    chart.frame.append(chart.tip);
    listen(chart);
    return chart;
  }

  // Pointer

  function listen(chart) {
    let start = null;
    const at = event => {
      const box = chart.plot.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    const moment = share => view.from + share * (view.to - view.from);
    chart.frame.addEventListener("pointerdown", event => {
      if (event.button) return;
      start = at(event);
      chart.frame.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    chart.frame.addEventListener("pointermove", event => {
      const share = at(event);
      show(chart, moment(share), share);
      if (start !== null) choose(chart, start, share);
    });
    chart.frame.addEventListener("pointerup", event => {
      const share = at(event), from = start;
      start = null;
      chart.plot.querySelector(".chosen").setAttribute("hidden", "");
      if (from !== null && Math.abs(share - from) > 0.01)
        zoom(moment(Math.min(from, share)), moment(Math.max(from, share)));
    });
    chart.frame.addEventListener("pointercancel", () => { start = null; hide(); });
    chart.frame.addEventListener("pointerleave", hide);
    chart.frame.addEventListener("dblclick", () => zoom(whole.from, whole.to));
  }

  function choose(chart, a, b) {
    const rect = chart.plot.querySelector(".chosen");
    rect.removeAttribute("hidden");
    rect.setAttribute("x", `${100 * Math.min(a, b)}%`);
    rect.setAttribute("width", `${100 * Math.abs(a - b)}%`);
  }

  function hide() {
    for (const chart of charts) {
      chart.tip.hidden = true;
      chart.plot.querySelector(".cursor").setAttribute("hidden", "");
    }
  }

  function show(chart, ms, share) {
    for (const each of charts) {
      const line = each.plot.querySelector(".cursor");
      line.removeAttribute("hidden");
      line.setAttribute("x1", `${100 * share}%`);
      line.setAttribute("x2", `${100 * share}%`);
    }
    chart.tip.textContent = [stamp(ms), ...values(chart, ms)].join("\n");
    chart.tip.hidden = false;
    const left = chart.plot.getBoundingClientRect().left - chart.frame.getBoundingClientRect().left;
    const x = left + share * chart.plot.getBoundingClientRect().width;
    const width = chart.tip.offsetWidth;
    chart.tip.style.left = `${x + width + 14 < chart.frame.clientWidth ? x + 12 : x - width - 12}px`;
  }

  function values(chart, ms) {
    const out = [];
    for (const layer of chart.layers) {
      const i = layer.shape === "price" ? first(layer.t, ms) : first(layer.t, ms + 1) - 1;
      if (i < 0 || i >= layer.t.length || layer.c[i] === null) continue;
      const name = layer.name ? layer.name + "  " : "";
      if (layer.o) out.push(...["o", "h", "l", "c"].map(k => `${k.toUpperCase()}  ${exact(layer[k][i], chart)}`));
      else out.push(name + exact(layer.c[i], chart));
    }
    return out.concat(nearFills(chart, ms));
  }

  function nearFills(chart, ms) {
    const marks = chart.marks;
    if (!marks) return [];
    const near = (view.to - view.from) / 120;
    const from = first(marks.t, ms - near), to = first(marks.t, ms + near);
    if (to - from > 6) return [`${to - from} fills here`];
    const fill = i => `${SIDES[marks.s[i]]} ${marks.q[i]} at ${exact(marks.v[i], chart)}`;
    return Array.from({ length: to - from }, (_, k) => fill(from + k));
  }

  /** Index of the first element that is >= value. */
  function first(sorted, value) {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] < value) low = middle + 1; else high = middle;
    }
    return low;
  }

  // Zoom

  function zoom(from, to) {
    if (to - from < 60000) return;
    view = { from, to };
    button.hidden = from === whole.from && to === whole.to;
    charts.forEach(draw);
    hide();
  }

  function draw(chart) {
    const layers = chart.layers.map(visible);
    const marks = chart.marks && visible(chart.marks);
    const frame = range(chart, layers, marks);
    chart.plot.querySelector(".under").innerHTML = shade(chart) + halt(chart) + grid(chart, frame);
    const many = marks && marks.t.length > MARKERS;
    chart.plot.querySelector(".lines").innerHTML =
      layers.map(layer => curve(layer, chart, frame)).join("") + (many ? density(marks, chart) : "");
    chart.plot.querySelector(".marks").innerHTML = marks && !many ? markers(marks, frame) : "";
  }

  /** The part of a series in view, with one point more on each side so that lines reach the edge. */
  function visible(series) {
    const from = Math.max(0, first(series.t, view.from) - 1);
    const to = Math.min(series.t.length, first(series.t, view.to) + 1);
    const out = { ...series };
    for (const key of ["t", "o", "h", "l", "c", "v", "q", "s"]) if (series[key]) out[key] = series[key].slice(from, to);
    if (!series.v) { out.h ??= out.c; out.l ??= out.c; }
    else {
      const keep = out.t.map((t, i) => t >= view.from && t <= view.to ? i : -1).filter(i => i >= 0);
      for (const key of ["t", "v", "q", "s"]) out[key] = keep.map(i => out[key][i]);
    }
    return out;
  }

  function range(chart, layers, marks) {
    let low = chart.zero ? 0 : Infinity, high = chart.zero ? 0 : -Infinity;
    const take = value => { if (value !== null) { if (value < low) low = value; if (value > high) high = value; } };
    for (const layer of layers) { layer.h.forEach(take); layer.l.forEach(take); }
    if (marks) marks.v.forEach(take);
    if (low > high) { low = 0; high = 1; }
    const air = high > low ? 0.06 * (high - low) : Math.abs(low) * 0.01 || 1;
    const bottom = chart.zero && low === 0 && high > 0 ? low : low - air;
    const top = chart.zero && high === 0 && low < 0 ? high : high + air;
    return {
      low: bottom, high: top,
      x: t => (t - view.from) * WIDTH / (view.to - view.from),
      y: v => (top - v) * chart.height / (top - bottom),
    };
  }

  function curve(layer, chart, frame) {
    if (layer.shape === "price" && layer.t.length <= CANDLES) return candles(layer, frame);
    const points = key => layer.t.map((t, i) => [frame.x(t), layer[key][i] === null ? null : layer[key][i]]);
    const band = (top, bottom) => {
      const up = points("h").filter(p => p[1] !== null).map(([x, v]) => [x, frame.y(top(v))]);
      const down = points("l").filter(p => p[1] !== null).map(([x, v]) => [x, frame.y(bottom(v))]);
      return up.length ? path(up.concat(down.reverse())) + "Z" : "";
    };
    if (layer.shape === "area")
      return `<path class="${layer.style} area" d="${band(v => Math.max(v, 0), v => Math.min(v, 0))}"/>`;
    const line = path(points("c").map(([x, v]) => [x, v === null ? null : frame.y(v)]));
    const around = layer.h === layer.c ? "" : `<path class="${layer.style} band" d="${band(v => v, v => v)}"/>`;
    return `${around}<path class="${layer.style} line" d="${line}"/>`;
  }

  function path(points) {
    let pen = "M", out = "";
    for (const [x, y] of points) {
      if (y === null) { pen = "M"; continue; }
      out += pen + x.toFixed(1) + " " + y.toFixed(1);
      pen = "L";
    }
    return out;
  }

  function candles(layer, frame) {
    const gaps = layer.t.slice(1).map((t, i) => t - layer.t[i]).sort((a, b) => a - b);
    const width = (gaps[gaps.length >> 1] || 3600000) * WIDTH / (view.to - view.from);
    const paths = { up: "", down: "" };
    layer.t.forEach((t, i) => {
      const x = frame.x(t) - width / 2, [o, h, l, c] = ["o", "h", "l", "c"].map(k => frame.y(layer[k][i]));
      const top = Math.min(o, c), height = Math.max(Math.abs(o - c), 0.8), half = 0.35 * width;
      paths[c <= o ? "up" : "down"] += `M${x.toFixed(1)} ${h.toFixed(1)}V${l.toFixed(1)}` +
        `M${(x - half).toFixed(2)} ${top.toFixed(1)}h${(2 * half).toFixed(2)}v${height.toFixed(1)}h${(-2 * half).toFixed(2)}Z`;
    });
    return Object.entries(paths).map(([name, d]) => `<path class="candle ${name}" d="${d}"/>`).join("");
  }

  function markers(marks, frame) {
    return marks.t.map((t, i) => {
      const shape = SHAPES[marks.s[i]], x = (frame.x(t) * 100 / WIDTH).toFixed(2);
      return `<use href="#${shape}" class="${shape}" x="${x}%" y="${frame.y(marks.v[i]).toFixed(1)}"/>`;
    }).join("");
  }

  function density(marks, chart) {
    const columns = 250, counts = new Array(columns).fill(0), width = WIDTH / columns;
    for (const t of marks.t)
      counts[Math.min(columns - 1, Math.floor((t - view.from) / (view.to - view.from) * columns))]++;
    const top = Math.max(1, ...counts);
    const bar = (n, i) => n ? `M${i * width} ${chart.height}v${-24 * n / top}h${width}v${24 * n / top}Z` : "";
    return `<path class="density" d="${counts.map(bar).join("")}"/>`;
  }

  function halt(chart) {
    if (chart.halted === null || chart.halted <= view.from || chart.halted > view.to) return "";
    const at = `${100 * (chart.halted - view.from) / (view.to - view.from)}%`;
    return `<line class="halt" x1="${at}" x2="${at}" y2="${chart.height}"/>` +
      (chart.height >= 200 ? `<text class="halt-label" x="${at}" dx="6" y="14">halted</text>` : "");
  }

  function shade(chart) {
    if (chart.shade === null || chart.shade <= view.from) return "";
    const width = `${Math.min(100, 100 * (chart.shade - view.from) / (view.to - view.from))}%`;
    return `<rect class="shade" width="${width}" height="${chart.height}"/>` +
      `<line class="shade-end" x1="${width}" x2="${width}" y2="${chart.height}"/>` +
      (chart.height >= 200 ? '<text class="shade-label" x="6" y="14">in-sample</text>' : "");
  }

  // Axes

  function grid(chart, frame) {
    const step = niceStep(frame.high - frame.low, Math.max(4, Math.floor(chart.height / 45)));
    let out = "";
    for (let i = Math.ceil(frame.low / step - 1e-9); i <= Math.floor(frame.high / step + 1e-9); i++) {
      const y = frame.y(i * step);
      out += `<line class="${i ? "grid" : "zero"}" x2="100%" y1="${y}" y2="${y}"/>` +
        `<text class="tick" x="-8" y="${y + 4}" text-anchor="end">${label(i * step, step, chart.unit)}</text>`;
    }
    timeTicks().forEach(([ms, text], i) => {
      const x = `${100 * (ms - view.from) / (view.to - view.from)}%`;
      out += `<text class="tick${i % 2 ? " other" : ""}" x="${x}" y="${chart.height + 17}" text-anchor="middle">${text}</text>` +
        `<line class="grid" x1="${x}" x2="${x}" y1="${chart.height}" y2="${chart.height + 4}"/>`;
    });
    return out;
  }

  function niceStep(span, count) {
    const magnitude = 10 ** Math.floor(Math.log10(span / count));
    for (const factor of [1, 2, 2.5, 5]) if (factor * magnitude * count >= span * (1 - 1e-9)) return factor * magnitude;
    return 10 * magnitude;
  }

  function label(value, step, unit) {
    if (unit === "percent") { value *= 100; step *= 100; }
    let digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    if (Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits++;
    const text = grouped(value || 0, digits);
    return unit === "percent" ? text + " %" : text;
  }

  function grouped(value, digits) {
    const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return text.replace("-", "−");
  }

  function exact(value, chart) {
    if (value === null) return "–";
    if (chart.unit === "percent") return grouped(100 * value, 2) + " %";
    if (chart.unit === "money") return grouped(value, Math.abs(value) < 1e5 ? 2 : 0);
    return grouped(value, Math.min(12, Math.max(0, value ? 5 - Math.floor(Math.log10(Math.abs(value))) : 0)));
  }

  function timeTicks() {
    const M = 60000, H = 60 * M, D = 24 * H, span = view.to - view.from;
    const steps = [M, 2 * M, 5 * M, 10 * M, 15 * M, 30 * M, H, 2 * H, 3 * H, 6 * H, 12 * H, D, 2 * D, 7 * D, 14 * D];
    const step = steps.find(s => span <= 8 * s);
    const out = [];
    if (step) {
      const origin = step >= 7 * D ? 4 * D : 0;
      for (let ms = Math.ceil((view.from - origin) / step) * step + origin; ms <= view.to; ms += step)
        out.push([ms, ms % D ? new Date(ms).toISOString().slice(11, 16) : day(ms)]);
      return out;
    }
    const months = [1, 2, 3, 6, 12, 24, 60].find(n => span <= 8 * n * 2629746000) || 120;
    const start = new Date(view.from);
    let index = Math.ceil((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months) * months;
    for (let ms; (ms = Date.UTC(Math.floor(index / 12), index % 12)) <= view.to; index += months)
      if (ms >= view.from) out.push([ms, months >= 12 || index % 12 === 0 ? `${Math.floor(index / 12)}` : month(ms)]);
    return out;
  }

  function day(ms) { return `${new Date(ms).getUTCDate()} ${month(ms)}`; }
  function month(ms) { return new Date(ms).toLocaleString("en", { month: "short", timeZone: "UTC" }); }
  function stamp(ms) { return new Date(ms).toISOString().slice(0, 16).replace("T", " ") + " UTC"; }
})();
