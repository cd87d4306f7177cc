// How every chart of the page looks: colours of the theme, quiet grid, times in UTC.

import { createChart, ColorType, CrosshairMode, LineStyle, TickMarkType } from "../vendor/lightweight-charts.js";
import { colour } from "./dom.js";
import * as f from "./format.js";

/** Make a chart in ``box`` that follows its size and the theme. ``paint(chart)`` colours its series. */
export function chart(box, options, paint) {
  const made = createChart(box, {
    autoSize: true,
    layout: { attributionLogo: false, fontSize: 11, fontFamily: getComputedStyle(document.body).fontFamily },
    localization: { locale: "en", timeFormatter: seconds => f.moment(1000 * seconds) },
    crosshair: { mode: CrosshairMode.Normal },
    ...options,
    timeScale: { timeVisible: true, secondsVisible: false, tickMarkFormatter: tick, borderVisible: false, ...options.timeScale },
    rightPriceScale: { borderVisible: false, ...options.rightPriceScale },
  });
  const dress = () => { made.applyOptions(look()); paint(made); };
  addEventListener("theme", dress);
  return { made, dress };
}

function look() {
  const rule = colour("rule", 0.55), soft = colour("soft"), zero = colour("zero");
  return {
    layout: {
      background: { type: ColorType.Solid, color: colour("card") }, textColor: soft,
      panes: { separatorColor: colour("rule"), separatorHoverColor: colour("rule") },
    },
    grid: { vertLines: { color: rule }, horzLines: { color: rule } },
    crosshair: {
      vertLine: { color: zero, style: LineStyle.Dashed, labelBackgroundColor: soft },
      horzLine: { color: zero, style: LineStyle.Dashed, labelBackgroundColor: soft },
    },
  };
}

function tick(seconds, kind) {
  const at = new Date(1000 * seconds);
  switch (kind) {
    case TickMarkType.Year: return String(at.getUTCFullYear());
    case TickMarkType.Month: return at.toLocaleString("en", { month: "short", timeZone: "UTC" });
    case TickMarkType.DayOfMonth: return f.day(1000 * seconds);
    default: return f.clock(1000 * seconds).slice(0, 5);
  }
}

/** Whole seconds, as the charts count time. */
export const seconds = ms => Math.floor(ms / 1000);
