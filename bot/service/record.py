"""A run's totals, and the record of a run for a comparison: one line for each decision, in memory.

The record is for ``bot check parity``: hashes of the bars, forecasts to the bit, verdicts, orders, fills,
risk. What must survive stands in the journal.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from bot.domain.ledger import fill_line
from bot.domain.messages import (
    BarsClosed,
    Effect,
    Event,
    Filled,
    FundingPaid,
    FundingRate,
    Gap,
    LinkDown,
    LinkUp,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    OrderResized,
    OrderUnknown,
    PlaceOrder,
    RiskChanged,
    StopsChanged,
    StopsRejected,
    Verdict,
)
from bot.domain.money import ZERO
from bot.domain.orders import Approved
from bot.engine.core import Engine
from bot.ports import Recorder
from bot.service.journaling import forecasts_digest
from bot.service.views.forecasts import FULL_SYMBOLS

_packed_bar = struct.Struct("<q5d").pack

Line = dict[str, object]


@dataclass
class RunTotals:
    """A run's totals, of bounded size. A ``ports.Recorder``."""

    bars: int = 0
    closes: int = 0
    first_ms: int = 0
    last_ms: int = 0
    orders: int = 0
    fills: int = 0
    fees: Decimal = ZERO
    funding: Decimal = ZERO

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()

    @property
    def fills_sha256(self) -> str:
        """Equal to ``ledger.fills_digest`` of all fills so far."""
        return self._digest.hexdigest()

    def event(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, BarsClosed):
            self.last_ms = max(self.last_ms, event.close_ms)
            if event.live:
                self.first_ms = self.first_ms or event.close_ms
                self.bars += len(event.bars)
                self.closes += 1
        elif isinstance(event, Filled):
            self.fills += 1
            self.fees += event.fill.fee_quote
            self._digest.update(fill_line(event.fill))
        elif isinstance(event, FundingPaid):
            self.funding += event.amount_quote

    def effects(self, effects: Iterable[Effect]) -> None:
        """Count orders."""
        self.orders += sum(isinstance(effect, PlaceOrder) for effect in effects)

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Do nothing: totals keep no curve."""


class Recorders:
    """Several recorders as one. A ``ports.Recorder``."""

    def __init__(self, *recorders: Recorder) -> None:
        self._all = recorders

    def event(self, event: Event) -> None:
        """Hand an event to each."""
        for each in self._all:
            each.event(event)

    def effects(self, effects: Iterable[Effect]) -> None:
        """Hand effects to each."""
        kept = tuple(effects)
        for each in self._all:
            each.effects(kept)

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Hand a point of the curve to each."""
        for each in self._all:
            each.marked(ts_ms, equity, notional)


class RunRecord:
    """A ``ports.Recorder`` that keeps the lines of a run in memory."""

    def __init__(self, engine: Engine) -> None:
        self.lines: list[Line] = []
        self._symbols = engine.state.symbols
        self._bars: BarsClosed | None = None
        self._unwritten: list[Effect] = []

    def event(self, event: Event) -> None:
        """Write bars by their hash, and events of the venue and of lines."""
        if self._unwritten:
            self._write_effects()
        match event:
            case BarsClosed():
                self._write_bars()  # a close of the warm-up, which is not marked
                self._bars = event
            case Filled(fill):
                self.write({"kind": "fill", **_plain(fill)})
            case (
                FundingPaid()
                | OrderAccepted()
                | OrderRejected()
                | StopsRejected()
                | OrderRepriced()
                | OrderResized()
                | OrderUnknown()
                | OrderCancelled()
                | StopsChanged()
            ):
                self.write({"kind": _words(event), **_plain(event)})
            case Gap() | LinkDown() | LinkUp() | FundingRate():
                self.write({"kind": _words(event), **_plain(event)})
            case _:
                return

    def effects(self, effects: Iterable[Effect]) -> None:
        """Write verdicts, order ids and breaker changes once the effects were sent."""
        self._unwritten += effects

    def _write_effects(self) -> None:
        effects, self._unwritten = self._unwritten, []
        self._write_bars()  # the bars of the decision come first
        for effect in effects:
            match effect:
                case Verdict(ts_ms, verdict):
                    reason = "approved" if isinstance(verdict, Approved) else verdict.reason
                    self.write(
                        {"kind": "intent", "ts_ms": ts_ms, "verdict": reason, **_plain(verdict.intent)}
                    )
                case PlaceOrder(order_id, _):
                    self.write(
                        {"kind": "order", "order_id": order_id, "decided_ms": effect.intent.decided_ms}
                    )
                case RiskChanged():
                    self.write({"kind": "risk", **_plain(effect)})
                case _:
                    continue

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Write the effects of a close that was decided on."""
        self._write_effects()

    def write(self, line: Line) -> None:
        """Keep one line."""
        self.lines.append(line)

    def _write_bars(self) -> None:
        event, self._bars = self._bars, None
        if event is None:
            return
        line: Line = {"kind": "bars", "close_ms": event.close_ms, "live": event.live}
        line |= {"bars": len(event.bars), "sha256": bars_digest(event)}
        forecasts = {
            bar.symbol: forecast
            for bar in event.bars
            if bar.symbol in self._symbols
            and (forecast := self._symbols[bar.symbol].view.forecast) is not None
        }
        if forecasts:
            line["forecasts_sha256"] = forecasts_digest(forecasts)
        if len(forecasts) <= FULL_SYMBOLS:
            line["forecasts"] = {
                symbol: [value.hex() for value in forecast.numbers] for symbol, forecast in forecasts.items()
            }
        self.write(line)


def bars_digest(event: BarsClosed) -> str:
    """Return the sha256 of the bars of one close: name, blank, start and OHLCV as 64-bit words of each."""
    parts: list[bytes] = []
    for bar in event.bars:
        parts.append(f"{bar.symbol} ".encode())
        parts.append(_packed_bar(bar.start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _plain(value: msgspec.Struct) -> Line:
    plain = msgspec.to_builtins(value)
    assert isinstance(plain, dict)
    plain.pop("type", None)
    return plain


def _words(event: Event) -> str:
    """``OrderRejected`` → ``order_rejected``."""
    name = type(event).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
