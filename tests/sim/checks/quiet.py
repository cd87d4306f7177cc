"""What must hold once the faults have ended and the bot had its time: the bot knows the truth, and trades."""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.sim.checks.always import Always
from tests.sim.checks.history import MINUTE_MS, History
from tests.sim.checks.kept import entries
from tests.sim.checks.venue import ZERO

Status = Mapping[str, Any]
Bar = Callable[[str, int], tuple[float, ...]]


def check_quiet(
    seen: Always,
    status: Status,
    place: Path,
    symbols: tuple[str, ...],
    bar: Bar,
) -> None:
    """Check a bot that had ``T_settle`` without faults; ``bar`` gives OHLCV of the exchange's bars."""
    history = History.read(entries(place))
    _alive(seen, status)
    _positions(seen, status, symbols)
    _orders(seen, status, symbols, history)
    _money(seen, status, history)
    _executions(seen, symbols, history)
    _bars(seen, history, bar)
    for verdict in history.exits_refused - _RULES:
        seen.broke(28, f"an exit was refused: {verdict}")


def _alive(seen: Always, status: Status) -> None:
    """19: connected, warm, reconciled, without an order of unknown fate, trading."""
    if status["state"] != "trading":
        seen.broke(19, f"is {status['state']}: {status['state_words']}")
    if status["venue_up"] is not True:  # the trade socket may wait longer: REST does its work
        seen.broke(19, f"venue_up is {status['venue_up']}")
    if status["unknown_orders"]:
        seen.broke(8, f"{status['unknown_orders']} orders of unknown fate")


def _positions(seen: Always, status: Status, symbols: tuple[str, ...]) -> None:
    """1: the bot's position is the exchange's, and the sum of the executions."""
    told: Counter[str] = Counter()
    for each in (*status["positions"], *status["foreign_positions"]):
        told[each["symbol"]] += Decimal(each["qty"])  # type: ignore[assignment]
    for symbol in symbols:
        truth = seen.truth.position(symbol)
        if told[symbol] != truth:
            seen.broke(1, f"{symbol}: the bot knows of {told[symbol]}, the exchange has {truth}")
        total = sum(
            (e.signed_qty for e in seen.truth.executions() if e.symbol == symbol and e.kind != "Funding"),
            ZERO,
        )
        if total != truth:
            seen.broke(0, f"{symbol}: executions sum to {total}, the exchange holds {truth}")


def _orders(seen: Always, status: Status, symbols: tuple[str, ...], history: History) -> None:
    """4, 9, 14: one order an intent; the bot's orders and what they filled are the exchange's."""
    links = Counter(order.link_id for order in seen.truth.orders() if order.link_id)
    for link_id, times in links.items():
        if times > 1:
            seen.broke(4, f"{link_id} was accepted {times} times")
    told = {each["order_id"]: Decimal(each["filled_qty"]) for each in status["open_orders"]}
    there = {
        order.link_id: order.cum_exec_qty
        for symbol in symbols
        for order in seen.truth.open_orders(symbol)
        if seen.truth.is_ours(order.link_id)
    }
    if told != there:
        seen.broke(14, f"the bot knows the open orders {told}, the exchange has {there}")
    for order in seen.truth.orders():
        if order.link_id in history.denied and order.status != "Rejected":
            why = history.denied[order.link_id]
            seen.broke(
                8, f"the bot believed of {order.link_id}: {why}; the exchange has it as {order.status}"
            )
        if seen.truth.is_ours(order.link_id) and history.filled[order.link_id] != order.cum_exec_qty:
            seen.broke(
                9, f"{order.link_id}: the journal has fills of {history.filled[order.link_id]}, the exchange "
                f"of {order.cum_exec_qty}"
            )  # fmt: skip


def _money(seen: Always, status: Status, history: History) -> None:
    """12: the bot's cash is the exchange's wallet, and what was booked explains it to a rounding."""
    told, truth = Decimal(str(status["cash"])), seen.truth.wallet()
    if abs(told - truth) > Decimal("0.000001"):
        seen.broke(12, f"the bot has {told} in cash, the exchange {truth}")
    if seen.truth.strangers:
        return
    adjusted = history.adjusted_quote - seen.paid_quote
    if abs(adjusted) > _CENT:
        seen.broke(12, f"{adjusted} were taken over from the wallet, and no booking explains them")
    folded = seen.truth.began_with + seen.paid_quote + history.cash_quote
    if abs(folded - truth) > _CENT:
        seen.broke(12, f"the journal sums to {folded} in cash, the exchange has {truth}")
    for words in history.differences:
        if not any(words.startswith(symbol) for symbol in seen.truth.closed):
            seen.broke(14, f"the bot's state was not the exchange's: {words}")


def _executions(seen: Always, symbols: tuple[str, ...], history: History) -> None:
    """2, 3, 13: each execution and each funding was booked, and exists. ``_money`` sees a second booking."""
    there = {each.exec_id: each for each in seen.truth.executions() if each.kind != "Funding"}
    for exec_id in history.executions - there.keys():
        seen.broke(3, f"execution {exec_id} was booked, and the exchange has none")
    for exec_id, execution in there.items():
        if exec_id not in history.executions and seen.truth.is_ours(execution.link_id):
            seen.broke(14, f"execution {exec_id} of {execution.link_id} was never booked")
    truth = {key: amount for key, amount in seen.truth.funding().items() if key[0] in symbols}
    for key, amount in history.funding.items():
        if key not in truth:
            seen.broke(13, f"funding {key} was booked, and the exchange has none")
        elif abs(amount - truth[key]) > _CENT:
            seen.broke(13, f"funding {key} was booked as {amount}, the exchange has {truth[key]}")
    for key in truth.keys() - history.funding.keys():
        seen.broke(13, f"funding {key} of {truth[key]} was never booked")


def _bars(seen: Always, history: History, bar: Bar) -> None:
    """10: the bars are contiguous, each is used once, and each is the exchange's own."""
    for words in history.bar_breaks:
        seen.broke(10, words)
    for symbol, start_ms, numbers in history.bars:
        close_ms = start_ms + MINUTE_MS
        if any(from_ms < close_ms < to_ms for from_ms, to_ms in seen.skewed_ms):
            continue  # the venue's clock said that a bar had closed which had not
        truth = bar(symbol, start_ms)
        # The venue may confirm a candle twice, with its high or low as close; the first to come is used.
        told = (*truth[:3], numbers[3], truth[4]) if seen.conflicting and numbers[3] in truth[1:3] else truth
        if numbers != told:
            seen.broke(10, f"{symbol}: the bar of {start_ms} is not the exchange's")


_CENT = Decimal("0.01")
_RULES = frozenset(
    {
        "approved",
        "not_finite",
        "symbol",
        "not_a_reduction",
        "status",
        "price_step",
        "qty_step",
        "min_qty",
        "max_qty",
    }
)
"""Verdicts on an exit that come from the instrument's own rules and the order itself."""
