#!/usr/bin/env python3
"""Measure how long a bot's loop waits while its journal begins a new segment, after a swap of models too.

    python scripts/bench/segments.py [--symbols 50,200] [--model DIR] [--times 5]

A bot on paper with the shipped model, without a network: each symbol has its warm-up behind it, then quotes
come all the time and a ticker measures how late the loop is. A new segment begins ``--times`` times because
the old one must end, and as often because a model takes over (the same one: its memory is written, too).

Prints one JSON object for each number of symbols: the largest wait of each time in ms, how long the entry of
a swap alone took, and how long it took until the new segment had begun.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bot.adapters.files import shipped
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.clock import ReplayClock
from bot.app.context import Context
from bot.app.runs.live.arguments import arguments_of
from bot.app.runs.live.plan import make_live_plan
from bot.app.runs.live.recovery import account_folder, take_over
from bot.app.runs.live.successors import begin_with, successor_of
from bot.app.wiring import make_forecasters
from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, Quote
from bot.service.driver import Driver
from bot.service.journaling import JournalKeeper, JournalParts
from bot.service.process.quiet import Collector
from bot.simulator.market.invented import symbols

T0 = 1_735_689_600_000
WARM_BARS = 300
"""Enough for bars in every window that is not longer; the size of a snapshot does not depend on it."""


def closes(names: tuple[str, ...], step: int) -> Iterator[BarsClosed]:
    """Yield closes of random walks."""
    rng, prices = np.random.default_rng(1), np.full(len(names), 100.0)
    for number in range(WARM_BARS):
        start_ms, after = T0 + number * step, prices * np.exp(rng.normal(0.0, 1e-3, len(names)))
        rows = zip(names, prices.tolist(), after.tolist(), strict=True)
        bars = tuple(Bar(name, step, start_ms, a, max(a, b), min(a, b), b, 10.0) for name, a, b in rows)
        yield BarsClosed(start_ms + step, step, bars, live=False)
        prices = after


class Bot:
    """A bot on paper that has seen its past."""

    def __init__(self, count: int, model: Path | None, place: Path) -> None:
        names = symbols(count)
        given = {"state_dir": place, "feed.kind": "local", "feed.symbols": names, "feed.interval": "5m"}
        given |= {"venue.kind": "paper", "venue.fills": "bars", "model.path": model}
        settings = Context().settings({name: value for name, value in given.items() if value is not None})
        plan = make_live_plan(settings, strategy="vol_target", params={})
        self.plan = begin_with(plan, account_folder(plan))[0]
        example = shipped.instruments()["BTCUSDT"]
        rules = {name: msgspec.structs.replace(example, symbol=name) for name in names}
        arguments = arguments_of(self.plan, rules, ReplayClock(T0), "bench")
        standing = take_over(self.plan, arguments, now_ms=T0, wall_ms=T0, halted_by_file=False)
        assert standing.venue is not None
        parts = JournalParts(
            writer=standing.writer,
            header=standing.header,
            venue_snapshot=standing.venue.snapshot,
            history_closes=self.plan.warmup_bars,
            wall_s=time.time,
        )
        self.writer, self.engine, self.names = standing.writer, standing.engine, names
        self.keeper = JournalKeeper(parts, self.engine, Stopwatch())
        self.driver = Driver(self.engine, standing.venue, standing.totals, self.keeper)
        self.keeper.begin()
        self.see(closes(names, self.plan.interval_ms))

    def see(self, events: Any) -> None:
        for event in events:
            self.driver.take(event)
            self.keeper.after(event)

    async def measure(self, times: int) -> dict[str, Any]:
        """Begin segments while quotes come."""
        late: list[float] = []
        loop = asyncio.get_running_loop()
        Collector().settle(loop.time())  # as the daemon does

        async def tick() -> None:
            while True:
                began = loop.time()
                await asyncio.sleep(0.002)
                late.append(loop.time() - began - 0.002)

        async def quotes() -> None:
            while True:
                self.see(Quote(self.engine.state.now_ms, name, 100.0, 100.1) for name in self.names[:5])
                await asyncio.sleep(0.005)

        tasks = [tick(), quotes(), self.keeper.write_ahead(lambda begin: begin())]
        running = [asyncio.ensure_future(each) for each in tasks]
        found: dict[str, list[dict[str, float]]] = {"full": [], "swap": []}
        for kind in found:
            for _ in range(times):
                await asyncio.sleep(0.3)
                found[kind].append(await self._one(kind, late))
        for each in running:
            each.cancel()
        return {kind: {name: [row[name] for row in rows] for name in rows[0]} for kind, rows in found.items()}

    async def _one(self, kind: str, late: list[float]) -> dict[str, float]:
        checkpoint, step = self.plan.checkpoint, self.plan.interval_ms
        assert checkpoint is not None
        (shadow,) = make_forecasters(checkpoint, self.plan.symbols).values()
        shadow.restore(self.engine.state.forecasters[step].record())
        self.engine.offer(successor_of(self.plan, checkpoint))
        swap, before = shadow.swap(self.engine.state.now_ms, step), self.writer.end.segment
        await asyncio.sleep(0.05)
        late.clear()
        began = time.perf_counter()
        if kind == "swap":
            self.see([swap])
        else:
            self.keeper._wants_segment = True  # as if its last byte had been written
        entry = time.perf_counter() - began
        while self.writer.end.segment == before:  # noqa: ASYNC110 (the keeper tells nobody)
            await asyncio.sleep(0.001)
        took = time.perf_counter() - began
        await asyncio.sleep(0.01)
        times = {"loop_waited": max(late), "entry": entry, "until_begun": took}
        return {f"{name}_ms": round(1e3 * each, 1) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--symbols", default="50,200", help="how many, several with commas (default 50,200)")
    parser.add_argument(
        "--model", type=Path, help="model directory of 5-minute bars; default: the shipped one"
    )
    parser.add_argument("--times", type=int, default=5, help="segments of each kind (default 5)")
    options = parser.parse_args()
    for count in map(int, options.symbols.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            bot = Bot(count, options.model and options.model.resolve(), Path(folder))
            found = asyncio.run(bot.measure(options.times))
            bot.writer.close()
        told = {"symbols": count, "cores": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 2), **found}
        print(json.dumps(told))


if __name__ == "__main__":
    main()
