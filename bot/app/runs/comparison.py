"""Compares a live run with the backtest of the same bars: bars, forecasts, intents and fills, to the bit."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec

from bot.domain.errors import Broken
from bot.domain.ledger import Fill, fills_digest
from bot.domain.money import plain
from bot.domain.words import utc_words
from bot.service.record import Line

Fills = Literal["bars", "quotes"]

_SHOWN = 5
"""Differences shown of each kind."""


@dataclass(frozen=True)
class Story:
    """What one run did from its first live bar to its last but one, in a form that can be compared.

    The last bar ends the run: which answers still come depends on the machine, so it is left out.

    ``bars`` and ``forecasts`` by close (and symbol), ``intents`` and ``fills`` in order.
    """

    name: str
    first_ms: int
    """Close of the first bar that was decided on."""
    last_ms: int
    from_ms: int
    """Close of the first bar of the warm-up."""
    bars: Mapping[int, str] = field(default_factory=dict)
    forecasts: Mapping[tuple[int, str], tuple[str, ...]] = field(default_factory=dict)
    intents: Sequence[tuple[str, ...]] = ()
    fills: Sequence[Fill] = ()
    waits_ms: Sequence[int] = ()
    """Time from each order's close to its acceptance, by the exchange's clock."""
    unanswered: int = 0
    """Orders of which nothing more was known at the end than that they had left."""
    before_ms: int = 0
    """The run's last close; what was decided or happened from there on is left out."""

    @property
    def fills_sha256(self) -> str:
        """Hash of the fills, as a backtest prints it."""
        return fills_digest(self.fills)


@dataclass(frozen=True)
class Comparison:
    """One run against the backtest from the same bar."""

    live: Story
    backtest: Story
    differences: Mapping[str, Sequence[str]]

    @property
    def equal(self) -> bool:
        """True if nothing differs."""
        return not any(self.differences.values())


def compare(live: Story, backtest: Story) -> Comparison:
    """Return what differs between two runs of the same bars."""
    shared = [ms for ms in live.bars if live.from_ms <= ms <= live.last_ms]
    differences: dict[str, list[str]] = {"bars": [], "forecasts": [], "intents": [], "fills": []}
    for close_ms in shared:
        if live.bars[close_ms] != backtest.bars.get(close_ms):
            differences["bars"].append(f"close {utc_words(close_ms)}: other bars")
    differences["bars"] += [
        f"close {utc_words(ms)}: not in {live.name}"
        for ms in backtest.bars
        if ms not in live.bars and ms <= live.last_ms
    ]
    for key in sorted(live.forecasts.keys() | backtest.forecasts.keys()):
        if key[0] > live.last_ms:
            continue
        one, two = live.forecasts.get(key), backtest.forecasts.get(key)
        if one != two:
            differences["forecasts"].append(f"{key[1]} at {key[0]}: {_shown(one)}, backtest {_shown(two)}")
    differences["intents"] = _sequences(live.intents, backtest.intents)
    differences["fills"] = _sequences([_fill(f) for f in live.fills], [_fill(f) for f in backtest.fills])
    return Comparison(live, backtest, differences)


def _sequences(one: Sequence[tuple[str, ...]], two: Sequence[tuple[str, ...]]) -> list[str]:
    told = []
    for index in range(max(len(one), len(two))):
        left, right = one[index : index + 1], two[index : index + 1]
        if left != right:
            told.append(f"{index + 1}: {_row(left)}; backtest {_row(right)}")
    return told


def _row(rows: Sequence[tuple[str, ...]]) -> str:
    return " ".join(rows[0]) if rows else "none"


def _fill(fill: Fill) -> tuple[str, ...]:
    numbers = (_number(str(each)) for each in (fill.qty, fill.price, fill.fee_quote))
    return (str(fill.ts_ms), fill.symbol, fill.side, *numbers)


def _shown(values: tuple[str, ...] | None) -> str:
    return "none" if values is None else ", ".join(f"{float.fromhex(value):.17g}" for value in values[:1])


def story_of(name: str, lines: Iterable[Line], like: Story | None = None) -> Story:
    """Turn the lines of a record into a story, of the same span as ``like`` if that is given.

    Raises:
        Broken: fewer than two bars were decided on.
    """
    bars: dict[int, str] = {}
    forecasts: dict[tuple[int, str], tuple[str, ...]] = {}
    intents: list[tuple[int, tuple[str, ...]]] = []
    fills: list[Fill] = []
    live: list[int] = []
    decided: dict[str, int] = {}
    waits: list[int] = []
    unanswered: set[str] = set()
    for line in lines:
        if line["kind"] != "order":
            unanswered.discard(str(line.get("order_id")))
        match line["kind"]:
            case "bars":
                close_ms = msgspec.convert(line["close_ms"], int)
                bars[close_ms] = str(line["sha256"])
                if line["live"]:
                    live.append(close_ms)
                told = msgspec.convert(line.get("forecasts", {}), dict[str, tuple[str, ...]])
                forecasts |= {(close_ms, symbol): values for symbol, values in told.items()}
            case "order":
                decided[str(line["order_id"])] = msgspec.convert(line["decided_ms"], int)
                unanswered.add(str(line["order_id"]))
            case "order_accepted" if str(line["order_id"]) in decided:
                waits.append(msgspec.convert(line["ts_ms"], int) - decided[str(line["order_id"])])
            case "intent":
                intents.append((msgspec.convert(line["decided_ms"], int), _intent(line)))
            case "fill":
                fills.append(msgspec.convert({k: v for k, v in line.items() if k != "kind"}, Fill))
            case _:
                continue
    if len(live) < 2:
        raise Broken(f"{name}: {len(live)} bars were decided on; a comparison needs two")
    first_ms, last_ms, before_ms = (
        (live[0], live[-2], live[-1]) if like is None else (like.first_ms, like.last_ms, like.before_ms)
    )
    return Story(
        name,
        first_ms,
        last_ms,
        min(bars),
        {close_ms: each for close_ms, each in bars.items() if close_ms < before_ms},
        {key: each for key, each in forecasts.items() if key[0] < before_ms},
        [each for decided_ms, each in intents if decided_ms < before_ms],
        tuple(each for each in fills if each.ts_ms < before_ms),
        waits,
        sum(decided[each] < before_ms for each in unanswered),
        before_ms,
    )


_INTENT = (
    "decided_ms", "verdict", "symbol", "side", "qty", "ref_price", "order_type", "price", "time_in_force",
    "reduce_only", "stop_loss", "take_profit", "expires_ms", "trailing_stop", "trailing_from", "take_at",
    "reason",
)  # fmt: skip


def _intent(line: Line) -> tuple[str, ...]:
    return tuple(_number(line.get(name)) for name in _INTENT)


def _number(value: object) -> str:
    """Return a value as text; trailing zeros of a number are dropped."""
    if isinstance(value, str):
        with suppress(InvalidOperation):
            return plain(Decimal(value))
    return str(value)


def numbers(compared: Comparison, fills: Fills) -> dict[str, object]:
    """Return one comparison as JSON; with fills from a book also what explains their difference."""
    live, backtest = compared.live, compared.backtest
    told: dict[str, object] = {
        "venue": live.name,
        "first_ms": live.first_ms,
        "last_ms": live.last_ms,
        "bars": sum(ms >= live.first_ms for ms in live.bars),
        "warmup_bars": sum(ms < live.first_ms for ms in live.bars),
        "forecasts": len(live.forecasts),
        "intents": len(live.intents),
        "fills": len(live.fills),
        "fills_sha256": live.fills_sha256,
        "backtest_fills": len(backtest.fills),
        "backtest_fills_sha256": backtest.fills_sha256,
        "order_wait_max_ms": max(live.waits_ms, default=None),
        "different": {name: len(found) for name, found in compared.differences.items()},
        "differences": [f"{name} {each}" for name, f in compared.differences.items() for each in f[:_SHOWN]],
    }
    if fills == "quotes":
        told["explained"] = explain(live, backtest)
    return told


def explain(live: Story, backtest: Story) -> dict[str, object]:
    """Compare fills at a book with fills from closed bars, matched by bar, symbol and side.

    ``shortfall_bps_*``: how much worse the average live price was. ``late_ms_mean``: time from the open of
    the bar, where a backtest fills, to the first live execution.
    """
    one, two = _groups(live), _groups(backtest)
    both = sorted(one.keys() & two.keys())
    worse = [one[key].worse_bps(two[key]) for key in both]
    late = [one[key].first_ms - two[key].first_ms for key in both]
    return {
        "matched": len(both),
        "only_live": len(one) - len(both),
        "only_backtest": len(two) - len(both),
        "shortfall_bps_mean": sum(worse) / len(worse) if worse else None,
        "shortfall_bps_worst": max(worse, default=None),
        "late_ms_mean": sum(late) / len(late) if late else None,
        "fees": float(sum((fill.fee_quote for fill in live.fills), Decimal(0))),
        "backtest_fees": float(sum((fill.fee_quote for fill in backtest.fills), Decimal(0))),
    }


def _groups(story: Story) -> "dict[FillKey, FillGroup]":
    return grouped(story.fills, sorted(ms for ms in story.bars if ms >= story.first_ms))


FillKey = tuple[int, str, str]
"""Open of the bar in which it was filled, symbol, side."""


@dataclass
class FillGroup:
    """The executions of one bar, symbol and side."""

    fills: list[Fill] = field(default_factory=list)

    @property
    def qty(self) -> Decimal:
        """Their quantity, in base."""
        return sum((fill.qty for fill in self.fills), Decimal(0))

    @property
    def price(self) -> float:
        """Their average price, quote per base."""
        return float(sum((fill.qty * fill.price for fill in self.fills), Decimal(0)) / self.qty)

    @property
    def fee_quote(self) -> Decimal:
        """Their fees."""
        return sum((fill.fee_quote for fill in self.fills), Decimal(0))

    @property
    def first_ms(self) -> int:
        """Time of the first."""
        return self.fills[0].ts_ms

    def worse_bps(self, other: "FillGroup") -> float:
        """Return how much worse this average price is than the other, in bps."""
        sign = 1.0 if self.fills[0].side == "Buy" else -1.0
        return sign * (self.price / other.price - 1.0) * 10_000.0


def grouped(fills: Iterable[Fill], closes: Sequence[int]) -> dict[FillKey, FillGroup]:
    """Return executions by the bar in which they were filled; ``closes`` are sorted, each opens a bar."""
    groups: dict[FillKey, FillGroup] = {}
    for fill in fills:
        index = bisect_right(closes, fill.ts_ms)
        opened = closes[index - 1] if index else 0
        groups.setdefault((opened, fill.symbol, fill.side), FillGroup()).fills.append(fill)
    return groups
