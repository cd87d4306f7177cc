// What lightweight-charts does not draw itself: a band between two prices, levels that change in steps, and upright
// lines at moments. A point with ``hole`` ends what came before it.

import { customSeriesDefaultOptions } from "../vendor/lightweight-charts.js";

class Layer {
  renderer() { return this; }
  update(series, options) { this.series = series; this.options = options; }
  isWhitespace(point) { return point.low === undefined; }
  priceValueBuilder(point) { return [point.low, point.high, point.high]; }
  defaultOptions() {
    return { ...customSeriesDefaultOptions, color: "", edge: "", lastValueVisible: false, priceLineVisible: false };
  }

  draw(target, toY) {
    if (!this.series.visibleRange) return;
    target.useMediaCoordinateSpace(({ context }) => {
      context.fillStyle = this.options.color;
      context.strokeStyle = this.options.edge;
      context.lineWidth = 1;
      for (const run of this.runs(toY)) this.trace(context, run);
    });
  }

  /** The points in view and one on each side, without the holes. */
  runs(toY) {
    const { bars, visibleRange: { from, to } } = this.series, runs = [[]];
    for (const { x, originalData: point } of bars.slice(Math.max(0, from - 1), to + 1)) {
      if (!point.hole) runs.at(-1).push({ x, high: toY(point.high), low: toY(point.low) });
      else runs.push([]), runs.at(-2).end = x;
    }
    return runs.filter(run => run.length);
  }
}

/** A series of { time, low, high }, drawn as a filled band. */
export class Band extends Layer {
  trace(context, run) {
    context.beginPath();
    run.forEach(({ x, high }) => context.lineTo(x, high));
    for (const { x, low } of [...run].reverse()) context.lineTo(x, low);
    context.closePath();
    context.fill();
    context.stroke();
  }
}

/** A series of { time, low, high } with low = high: each level holds until the next point. */
export class Levels extends Layer {
  trace(context, run) {
    context.setLineDash([4, 3]);
    context.beginPath();
    let y = run[0].high;
    for (const { x, high } of run) {
      context.lineTo(x, y);
      context.lineTo(x, y = high);
    }
    if (run.end !== undefined) context.lineTo(run.end, y);
    context.stroke();
  }
}

/** Upright lines at moments, behind a series: restarts of the daemon. */
export class Moments {
  times = [];
  stroke = "";
  attached({ chart, requestUpdate }) { this.chart = chart; this.requestUpdate = requestUpdate; }
  paneViews() { return [{ zOrder: () => "bottom", renderer: () => this }]; }
  set(times, stroke) { this.times = times; this.stroke = stroke; this.requestUpdate?.(); }

  draw(target) {
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      context.strokeStyle = this.stroke;
      context.setLineDash([2, 3]);
      for (const time of this.times) {
        const x = this.chart.timeScale().timeToCoordinate(time);
        if (x === null) continue;
        context.beginPath();
        context.moveTo(x, 0);
        context.lineTo(x, mediaSize.height);
        context.stroke();
      }
    });
  }
}
