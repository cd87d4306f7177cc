"""What the journal says happened, folded from plain JSON: fills, funding, cash, bars.

An execution or a funding may stand in it more than once: a new process asks the venue for what it may have
missed. It counts once here, as it must in the engine. That the engine counts it once shows in the money: a
second booking would be taken back by the next reading of the account, which the journal tells, too.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

ZERO = Decimal(0)
MINUTE_MS = 60_000
Json = dict[str, Any]


@dataclass
class _Held:
    """One symbol's position: signed quantity and what it cost, quote."""

    qty: Decimal = ZERO
    cost: Decimal = ZERO

    def trade(self, signed: Decimal, price: Decimal) -> Decimal:
        """Take a fill; return what it realised."""
        closed = ZERO
        if self.qty and (self.qty > 0) != (signed > 0):
            part = min(abs(signed), abs(self.qty)) * (1 if self.qty > 0 else -1)
            share = self.cost * part / self.qty
            closed = part * price - share
            self.qty -= part
            self.cost -= share
            signed += part
        self.qty += signed
        self.cost += signed * price
        return closed


@dataclass
class History:
    """The fold. Money in quote.

    Attributes:
        filled: what each order filled.
        cash_quote: realised results minus fees plus funding.
        adjusted_quote: what reconciliations took over from the wallet without a booking.
        exits_refused: verdicts on exits.
        denied: orders that never came to the venue's book, as the bot believes, and why.
        bar_breaks: places where the bars of a symbol do not follow each other.
    """

    executions: set[str] = field(default_factory=set)
    filled: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(lambda: ZERO))
    funding: dict[tuple[str, int], Decimal] = field(default_factory=dict)
    cash_quote: Decimal = ZERO
    adjusted_quote: Decimal = ZERO
    differences: list[str] = field(default_factory=list)
    exits_refused: set[str] = field(default_factory=set)
    denied: dict[str, str] = field(default_factory=dict)
    bars: list[tuple[str, int, tuple[float, ...]]] = field(default_factory=list)
    bar_breaks: list[str] = field(default_factory=list)
    _held: defaultdict[str, _Held] = field(default_factory=lambda: defaultdict(_Held))
    _warming: bool = False
    _next_ms: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, entries: Iterable[Json]) -> "History":
        """Fold a journal."""
        history = cls()
        for entry in entries:
            history._take(entry["event"] if entry["type"] == "Answer" else entry)
        return history

    def _take(self, entry: Json) -> None:
        match entry["type"]:
            case "Filled":
                self._fill(entry["fill"])
            case "FundingPaid":
                amount = Decimal(entry["amount_quote"])
                if (entry["symbol"], entry["ts_ms"]) not in self.funding:
                    self.funding[entry["symbol"], entry["ts_ms"]] = amount
                    self.cash_quote += amount
            case "OrderRejected" if entry["cause"] == "venue":
                self.denied[entry["order_id"]] = f"rejected: {entry['code']} {entry['reason']}"
            case "OrderCancelled" if entry["reason"] == "NeverExisted":
                self.denied[entry["order_id"]] = "it never existed"
            case "ProcessStarted":
                self._warming = True
            case "BarsClosed":
                self._warming &= not entry["live"]
                for each in entry["bars"]:
                    self._bar(each)
            case "Gap":
                self._next_ms[entry["symbol"]] = entry["to_ms"]
            case "Effects":
                for effect in entry["effects"]:
                    self._effect(effect)

    def _fill(self, fill: Json) -> None:
        qty, price = Decimal(fill["qty"]), Decimal(fill["price"])
        if fill["exec_id"] in self.executions:
            return
        self.executions.add(fill["exec_id"])
        self.filled[fill["order_id"]] += qty
        signed = qty if fill["side"] == "Buy" else -qty
        self.cash_quote += self._held[fill["symbol"]].trade(signed, price) - Decimal(fill["fee_quote"])

    def _bar(self, bar: Json) -> None:
        symbol, start_ms = bar["symbol"], bar["start_ms"]
        expected_ms = self._next_ms.get(symbol, start_ms)
        # A warm-up leaves out what REST does not show, as a candle file does; no order follows from it.
        if start_ms < expected_ms or (start_ms > expected_ms and not self._warming):
            self.bar_breaks.append(
                f"{symbol}: the bar of {start_ms} comes where that of {expected_ms} belongs"
            )
        self._next_ms[symbol] = start_ms + MINUTE_MS
        numbers = tuple(float(bar[name]) for name in ("open", "high", "low", "close", "volume"))
        self.bars.append((symbol, start_ms, numbers))

    def _effect(self, effect: Json) -> None:
        match effect["type"]:
            case "Verdict":
                verdict = effect["verdict"]
                if verdict["type"] == "Refused" and verdict["intent"]["reduce_only"]:
                    self.exits_refused.add(verdict["reason"])
            case "Reconciled":
                self.adjusted_quote += Decimal(effect["adjusted_quote"])
                self.differences += effect["differences"]
