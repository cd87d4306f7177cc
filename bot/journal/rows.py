"""Rows for readers: what an entry means for fills, orders, equity, funding and events. Pure."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple

from bot.domain.ledger import FillCause
from bot.domain.messages import (
    LINES,
    Command,
    Effect,
    Filled,
    FundingPaid,
    Line,
    LinkDown,
    LinkUp,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    ProcessStarted,
    Reconciled,
    RiskChanged,
    StopsRejected,
    StrategyStopped,
    Transferred,
    Verdict,
)
from bot.domain.money import plain
from bot.domain.orders import Refused
from bot.domain.refusals import refusal_words
from bot.journal.entries import Answer, Closed, Effects, Entry, Marked, Quarantined

Level = Literal["info", "warning", "error"]


class FillRow(NamedTuple):
    """An execution; money in quote."""

    ts_ms: int
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    fee_quote: Decimal
    order_id: str
    exec_id: str
    maker: bool
    cause: FillCause
    slippage_quote: Decimal


class OrderRow(NamedTuple):
    """An order that was approved, as it left."""

    order_id: str
    decided_ms: int
    symbol: str
    side: str
    order_type: str
    qty: Decimal
    price: Decimal | None
    time_in_force: str
    reduce_only: bool
    stop_loss: Decimal | None
    take_profit: Decimal | None
    reason: str
    model: str
    """Hash of the model whose forecasts the strategy saw; empty without one, or if it is not known."""


class OrderEnd(NamedTuple):
    """An answer to an order, and the venue's words. ``state``: accepted, rejected, cancelled or unknown."""

    order_id: str
    ts_ms: int
    state: str
    words: str


class EquityRow(NamedTuple):
    """The account's value after the decisions of a close, quote; None if it was not a number."""

    ts_ms: int
    equity: float | None
    notional: float | None


class FundingRow(NamedTuple):
    """Funding of one settlement: received > 0, paid < 0, quote."""

    ts_ms: int
    symbol: str
    amount_quote: Decimal


class EventRow(NamedTuple):
    """Something that people want to know of; ``symbol`` is empty if it is about the whole account."""

    ts_ms: int
    level: Level
    kind: str
    text: str
    symbol: str = ""


class TransferRow(NamedTuple):
    """Money that came into the account (> 0) or left it (< 0) and that no trade moved, quote."""

    ts_ms: int
    amount_quote: Decimal
    kind: str


Row = FillRow | OrderRow | OrderEnd | EquityRow | FundingRow | TransferRow | EventRow


def rows_of(entry: Entry) -> Iterator[Row]:
    """Yield the rows of one entry; most entries have none."""
    match entry:
        case Answer(event):
            yield from rows_of(event)
        case Effects(effects):
            for effect in effects:
                yield from _of_effect(effect)
        case Marked():
            yield EquityRow(entry.ts_ms, entry.equity, entry.notional)
        case Filled(fill):
            yield FillRow(
                fill.ts_ms, fill.symbol, fill.side, fill.qty, fill.price, fill.fee_quote,
                fill.order_id, fill.exec_id, fill.maker, fill.cause, fill.slippage_quote,
            )  # fmt: skip
        case FundingPaid():
            yield FundingRow(entry.ts_ms, entry.symbol, entry.amount_quote)
        case OrderAccepted() | OrderUnknown() | OrderCancelled() | OrderRejected():
            yield from _of_answer(entry)
        case StopsRejected():
            words = f"{entry.symbol} {entry.code}: {entry.reason}"
            yield EventRow(entry.ts_ms, "error", "stops_rejected", words, entry.symbol)
        case Transferred():
            yield TransferRow(entry.ts_ms, entry.amount_quote, entry.kind)
            way = "in" if entry.amount_quote > 0 else "out"
            words = f"{abs(entry.amount_quote)} {way} {entry.kind}".rstrip()
            yield EventRow(entry.ts_ms, "info", "transferred", words)
        case LinkDown() | LinkUp():
            down = isinstance(entry, LinkDown)
            kind = "line_down" if down else "line_up"
            words = LINES[entry.what][0 if down else 1]
            usual = entry.what in (Line.START, Line.STOPPING)
            yield EventRow(entry.ts_ms, "warning" if down and not usual else "info", kind, words)
        case Command():
            what = f"{entry.what} {entry.symbol}".rstrip()
            who = f" by the {entry.by}" if entry.by else ""
            yield EventRow(entry.ts_ms, "info", "command", what + who, entry.symbol)
        case _:
            yield from _of_process(entry)


def _of_process(entry: Entry) -> Iterator[Row]:
    match entry:
        case ProcessStarted():
            causes = ", ".join(f"{halt.cause} {halt.detail}".strip() for halt in entry.halts)
            text = f"process {entry.process}" + (f", halted: {causes}" if causes else "")
            yield EventRow(entry.ts_ms, "error" if causes else "info", "started", text)
        case Closed():
            level: Level = "info" if entry.cause == "stopped" else "error"
            yield EventRow(entry.ts_ms, level, "ended", f"{entry.cause}: {entry.reason}")
        case Quarantined():
            yield EventRow(0, "error", "quarantined", f"segment {entry.segment}, {entry.error}")
        case _:
            return


def _of_answer(event: OrderAccepted | OrderUnknown | OrderCancelled | OrderRejected) -> Iterator[Row]:
    match event:
        case OrderAccepted():
            yield OrderEnd(event.order_id, event.ts_ms, "accepted", "")
        case OrderUnknown():
            yield OrderEnd(event.order_id, event.ts_ms, "unknown", "")
            yield EventRow(event.ts_ms, "error", "order_unknown", event.order_id)
        case OrderCancelled():
            yield OrderEnd(event.order_id, event.ts_ms, "cancelled", event.reason)
        case OrderRejected():
            words = f"{event.code}: {event.reason}"
            yield OrderEnd(event.order_id, event.ts_ms, "rejected", words)
            yield EventRow(event.ts_ms, "warning", "order_rejected", f"{event.order_id} {words}")


def _of_effect(effect: Effect) -> Iterator[Row]:
    match effect:
        case PlaceOrder(order_id, approved):
            i = approved.intent
            yield OrderRow(
                order_id, i.decided_ms, i.symbol, i.side, i.order_type, i.qty, i.price, i.time_in_force,
                i.reduce_only, i.stop_loss, i.take_profit, i.reason, i.model,
            )  # fmt: skip
        case Verdict(ts_ms, Refused(intent) as refused):
            what = f"{intent.side} {plain(intent.qty)} {intent.symbol}"
            yield EventRow(ts_ms, "warning", "refused", f"{what}: {refusal_words(refused)}", intent.symbol)
        case RiskChanged():
            level: Level = "error" if effect.state == "halted" else "info"
            words = _reason_words(effect.reason)
            yield EventRow(effect.ts_ms, level, f"risk_{effect.state}", words)
        case StrategyStopped(ts_ms, symbol, failure):
            where = f"{failure.file}:{failure.line}: {failure.error}"
            yield EventRow(
                ts_ms, "error", "strategy_stopped", f"{symbol} {failure.strategy}: {where}", symbol
            )
        case Reconciled() if effect.differences:
            yield EventRow(effect.ts_ms, "error", "reconciled", "; ".join(effect.differences))
        case _:
            return


def _reason_words(reason: str) -> str:
    """Return why the breaker holds entries back; a line that is down in words."""
    kind, _, line = reason.partition(": ")
    if kind == "link_down" and line in LINES:
        return f"{LINES[line][0]} ({reason})"
    return reason or "nothing holds entries back"
