"""Takes a promoted model into a running daemon: notices it, reads past candles, warms it, hands it over.

All of it runs beside the loop: files are read in a thread, candles come over REST, and the newer model sees
them a few at a time with pauses in between. Between two bars the daemon then asks ``after`` for the swap.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from math import nan
from pathlib import Path
from typing import Any

import msgspec

from bot.adapters.feed.download import SHORT_PAGE_RETRIES
from bot.adapters.feed.requests import fetch_rates, fetch_span, for_each
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.lineage import RECORD
from bot.adapters.net.public_rest import PublicRest
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.successors import header_arguments, lineage_at, successor_of
from bot.app.wiring import make_forecasters
from bot.domain.errors import BotError
from bot.domain.market import HOUR_MS, Bar
from bot.domain.messages import Event, FundingRate, ModelSwapped
from bot.engine.core import Engine
from bot.service.rewarming import Close, Rewarming

LOOK_S = 2.0
"""Between two looks at the record of retrained models."""
_AGAIN_S = 30.0
"""Pause after past candles could not be read."""
_SYMBOLS_AT_ONCE = 16
"""Symbols whose past is in memory at a time; no forecast depends on another symbol's bars."""
_REQUESTS_AT_ONCE = 2
"""Pages of candles that may be read in one turn of the loop."""
_BARS_AT_ONCE, _WORK_S = 128, 0.003
"""Bars that the newer model sees, and how long it may take over them, without a pause."""
_PAUSE_S = 0.003
_RATES_BEFORE_MS = 24 * HOUR_MS

Note = Callable[[str, dict[str, object]], None]


class _Newest(Enum):
    """What the newest model of the record is to this run, and what follows from it."""

    IN_USE = "nothing newer is wanted: a model that is being warmed is given up"
    REFUSED = "it was refused before: a model that is being warmed is given up"
    COMING = "it is being warmed: that goes on"
    OF_ANOTHER_KIND = "it cannot take over: it is refused, and that is said"
    NEW = "it is warmed"


class Succession:
    """The way of a promoted model into one running engine.

    Args:
        engine: whose model may be replaced.
        plan: its plan; ``plan.base`` is the model that the settings name.
        rest: of the feed, for past candles.
        arguments: of the engine as the journal's header has them.
        note: is told what happened: name and facts.
        trouble: what was wrong with a promoted model at the start, in words; empty if nothing was.
    """

    def __init__(
        self,
        engine: Engine,
        plan: LivePlan,
        rest: PublicRest,
        arguments: msgspec.Raw,
        note: Note,
        trouble: str = "",
    ) -> None:
        assert plan.base is not None, "there is a model to take the place of"
        assert plan.checkpoint is not None
        self._engine, self._plan, self._rest, self._note = engine, plan, rest, note
        self._arguments = arguments
        self._lineage = lineage_at(plan.settings.state_dir)
        self._base = plan.base
        self._model = plan.checkpoint
        self._trouble = trouble
        self._stamp: object = None
        self._refused: set[str] = set()
        self._rolled_back: frozenset[str] = frozenset()
        self._coming: Checkpoint | None = None
        self._warming: Rewarming | None = None
        self._pending = True

    def facts(self) -> dict[str, object]:
        """Return what the status says: the model in use, and the one that is being warmed, if any."""
        coming = self._coming
        return {
            "model_hash": self._model.hash,
            "model_trained_to_ms": self._model.trained_to_ms,
            "model_base_hash": self._base.hash,
            "model_coming_hash": None if coming is None else coming.hash,
            "model_trouble": self._trouble or None,
        }

    def is_rolled_back(self, model_hash: str) -> bool:
        """Return True if the record says so of a model, as it was when it was last read."""
        return model_hash in self._rolled_back

    async def run(self) -> None:
        """Look for a newer model until cancelled."""
        while True:
            try:
                await self._look()
            except BotError as error:
                self._say_trouble(str(error))
                self._forget()
                await asyncio.sleep(_AGAIN_S)
            await asyncio.sleep(LOOK_S)

    def after(self, event: Event) -> tuple[ModelSwapped, msgspec.Raw] | None:
        """Hear an event that the engine has handled; return a swap to take, and the header's arguments."""
        if self._warming is None:
            return None
        swap = self._warming.after(event)
        if swap is None:
            return None
        assert self._coming is not None
        self._engine.offer(self._warming.successor)
        self._arguments = header_arguments(self._arguments, self._coming)
        self._note("model_swapped", {"before": self._model.hash, "model": self._coming.hash})
        self._model, self._trouble = self._coming, ""
        self._forget()
        return swap, self._arguments

    def _forget(self) -> None:
        self._coming = self._warming = None

    def _say_trouble(self, words: str) -> None:
        if words and words != self._trouble:
            self._note("model_not_taken", {"reason": words, "model": self._model.hash})
        self._trouble = words

    async def _look(self) -> None:
        """Read which model is the newest, and do what follows from it: see ``_Newest``."""
        if self._warming is not None and self._warming.is_apart:
            self._forget()
        stamp = _stamp(self._lineage.folder / RECORD)
        if stamp == self._stamp and not self._is_open:
            return
        newest, trouble = await asyncio.to_thread(self._newest)
        self._stamp, self._pending = stamp, False
        if trouble or newest.hash == self._model.hash:
            self._say_trouble(trouble)
        match self._judged(newest):
            case _Newest.IN_USE | _Newest.REFUSED:
                self._forget()
            case _Newest.COMING:
                pass
            case _Newest.OF_ANOTHER_KIND:
                self._refuse(newest)
            case _Newest.NEW:
                self._pending = True  # until it has taken over, or another one has come
                await self._warm(newest)

    @property
    def _is_open(self) -> bool:
        """True while a model is on its way: each look then reads the record, changed or not."""
        return self._pending or self._coming is not None

    def _judged(self, newest: Checkpoint) -> "_Newest":
        if newest.hash == self._model.hash:
            return _Newest.IN_USE
        if newest.hash in self._refused:
            return _Newest.REFUSED
        if self._coming is not None and newest.hash == self._coming.hash:
            return _Newest.COMING
        return _Newest.NEW if _kind(newest) == _kind(self._model) else _Newest.OF_ANOTHER_KIND

    def _newest(self) -> tuple[Checkpoint, str]:
        """Read the record; return the model to use, and in words what is wrong with a newer one, if any.

        A model in use that is damaged on the disk goes on as it is in memory.

        Raises:
            StoreFailed: the record is damaged.
        """
        newest, trouble = self._lineage.current(self._base)
        line = self._lineage.line(self._base.hash)
        self._rolled_back = line.rolled_back
        if trouble and line.current == self._model.hash:
            return self._model, trouble
        return newest, trouble

    def _refuse(self, newest: Checkpoint) -> None:
        self._refused.add(newest.hash)
        self._say_trouble(
            f"model {newest.hash[:12]} is for other features, bars or horizons than the one in use"
        )

    async def _warm(self, newest: Checkpoint) -> None:
        """Show a newer model past candles up to the present.

        Raises:
            VenueError: they cannot be read.
        """
        plan, interval_ms = self._plan, newest.interval_ms
        successor, shadow = await asyncio.to_thread(self._made, newest)
        warming = Rewarming(self._engine, interval_ms, shadow, successor)
        self._coming, self._warming = newest, warming  # from here on it hears every close
        decides = self._engine.state.forecasters[interval_ms]
        due = list(zip(plan.symbols, decides.next_start_ms, strict=True))
        for first in range(0, len(due), _SYMBOLS_AT_ONCE):
            closes = await self._past(newest, dict(due[first : first + _SYMBOLS_AT_ONCE]))
            if not await self._shown(warming, closes):
                return
        warming.has_read()

    async def _shown(self, warming: Rewarming, closes: Iterator[Close]) -> bool:
        """Show past closes in small portions; return False once ``warming`` is given up."""
        loop = asyncio.get_running_loop()
        began_s, seen = loop.time(), 0
        for close in closes:
            if self._warming is not warming:
                return False
            warming.see(close)
            seen += len(close[0])
            if seen >= _BARS_AT_ONCE or loop.time() - began_s >= _WORK_S:
                await asyncio.sleep(_PAUSE_S)
                began_s, seen = loop.time(), 0
        return self._warming is warming

    def _made(self, newest: Checkpoint) -> tuple[Any, Any]:
        symbols = self._plan.symbols
        (shadow,) = make_forecasters(newest, symbols).values()
        return successor_of(self._plan, newest), shadow

    async def _past(self, model: Checkpoint, due: dict[str, int]) -> Iterator[Close]:
        """Return the closes before ``due`` (the next open time of each symbol), enough to warm the model."""
        step = model.interval_ms
        bars: dict[str, deque[Bar]] = {}
        rates: dict[str, list[FundingRate]] = {}

        async def fetch(symbol: str) -> None:
            to_ms = due[symbol]
            if not to_ms:  # it has had no bar yet
                return
            from_ms = max(0, to_ms - model.warmup_bars * step)
            span = (from_ms, to_ms)
            bars[symbol] = deque(await fetch_span(self._rest, symbol, step, span, repeats=SHORT_PAGE_RETRIES))
            rates[symbol] = await fetch_rates(self._rest, symbol, from_ms - _RATES_BEFORE_MS, to_ms + 1)

        await for_each(due, fetch, _REQUESTS_AT_ONCE)
        return closes_of(bars, rates)


def closes_of(bars: dict[str, deque[Bar]], rates: dict[str, list[FundingRate]]) -> Iterator[Close]:
    """Yield bars of several symbols close by close, symbols in order, each with its last rate before.

    Takes the bars out of ``bars`` one close at a time: hundreds of thousands take long to sort, and to free.
    """
    settled = {symbol: [rate.ts_ms for rate in found] for symbol, found in rates.items()}
    left = [bars[symbol] for symbol in sorted(bars)]
    while left := [each for each in left if each]:
        close_ms = min(each[0].close_ms for each in left)
        found = tuple(each.popleft() for each in left if each[0].close_ms == close_ms)
        yield (
            found,
            tuple(_before(rates.get(b.symbol, ()), settled.get(b.symbol, ()), close_ms) for b in found),
        )


def _before(rates: Sequence[FundingRate], times: Sequence[int], close_ms: int) -> float:
    """Return the last rate settled before a close; NaN if none is known."""
    place = bisect_left(times, close_ms)
    return float(rates[place - 1].rate) if place else nan


def _kind(model: Checkpoint) -> tuple[object, ...]:
    """Return what a model must have in common with the one whose place it takes."""
    return model.feature_set.hash, model.interval_ms, model.horizons


def _stamp(path: Path) -> object:
    with suppress(OSError):
        told = path.stat()
        return told.st_ino, told.st_mtime_ns, told.st_size
    return None
