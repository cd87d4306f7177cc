"""Our state against the venue's: adopt the first reading of the account, compare later readings.

The venue is right about what it holds. Each difference is described and the venue's value taken over.
Changes that may be younger than the reading wait for the next one. Orders that the venue does not list
stay live here: only a report of the venue ends an order, and the adapter that reads the account fetches it.
"""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from bot.domain.account import AccountSnapshot, Holding, OpenOrder
from bot.domain.ledger import Cash, Position
from bot.domain.messages import Synced
from bot.domain.money import ZERO, to_decimal, to_money
from bot.domain.orders import Intent, Order, OrderState
from bot.engine.activity import POSITION_CLOSED
from bot.engine.protection import ProtectiveStops
from bot.engine.state import EngineState, SymbolState

ROUNDING_QUOTE = Decimal("0.01")
"""The wallet may differ from ours by so much between two readings before that counts as a difference."""


class Findings(msgspec.Struct):
    """What one reading showed. ``halting`` are the differences that halt the bot."""

    differences: list[str] = msgspec.field(default_factory=list)
    halting: list[str] = msgspec.field(default_factory=list)
    missing: list[Order] = msgspec.field(default_factory=list)
    """Orders that are live here and not listed by the venue."""
    strangers: list[OpenOrder] = msgspec.field(default_factory=list)
    """Orders of ours in symbols that are not traded here."""
    adjusted_quote: Decimal = ZERO


def adopt(state: EngineState, event: Synced) -> Findings:
    """Take over the venue's account: wallet, positions with their stops, working orders."""
    found, account = Findings(), event.account
    state.cash = Cash(account.wallet_quote)
    holdings = {holding.symbol: holding for holding in account.holdings}
    for sym in state.symbols.values():
        _hold(state, sym, holdings.get(sym.symbol))
    state.cash_quote = float(state.cash.balance)
    state.orders.forget_all()
    for theirs in account.orders:
        if theirs.symbol in state.symbols:
            state.orders.adopt(_rebuilt(state, theirs, event.ts_ms))
        else:
            found.strangers.append(theirs)
    _count_foreign(state, account)
    state.adopted_ms = event.ts_ms
    state.synced = True
    state.remark()
    return found


def compare(state: EngineState, event: Synced, name: str) -> Findings:
    """Compare a later reading with our state and take over what differs; ``name`` begins this run's ids."""
    found, account = Findings(), event.account
    holdings = {holding.symbol: holding for holding in account.holdings}
    raced = False
    for sym in state.symbols.values():
        if sym.last_fill_ms >= event.ts_ms:
            raced = True
            state.reconciled["raced"] += 1
        else:
            _compare_holding(state, sym, holdings.get(sym.symbol), found)
    if not raced:
        _compare_wallet(state, account.wallet_quote, found)
    _compare_orders(state, event, name, found)
    _count_foreign(state, account)
    state.remark()
    return found


def _compare_holding(state: EngineState, sym: SymbolState, held: Holding | None, found: Findings) -> None:
    ours, theirs = sym.position.qty, held.qty if held is not None else ZERO
    if ours != theirs:
        difference = f"{sym.symbol} ours {_plain(ours)} venue {_plain(theirs)}"
        found.differences.append(difference)
        found.halting.append(difference)
        state.reconciled["position"] += 1
        _hold(state, sym, held)
    elif held is not None and (held.stop_loss, held.take_profit) != sym.stops.at_venue:
        theirs_shown = _shown((held.stop_loss, held.take_profit))
        found.differences.append(f"{sym.symbol} stops ours {_shown(sym.stops.at_venue)} venue {theirs_shown}")
        state.reconciled["stops"] += 1
        sym.stops.at_venue = (held.stop_loss, held.take_profit)
        if held.stop_loss is not None:
            sym.stops.wanted = sym.stops.at_venue


def _compare_wallet(state: EngineState, wallet: Decimal, found: Findings) -> None:
    """Add what no event explains to the cash, so that our balance equals the wallet to the last digit."""
    balance = state.cash.balance
    drift = wallet - balance
    if not drift:
        return
    state.cash.adjusted += drift
    state.cash_quote = float(state.cash.balance)
    found.adjusted_quote = drift
    if abs(drift) <= ROUNDING_QUOTE:
        state.reconciled["rounding"] += 1
        return
    state.reconciled["wallet"] += 1
    found.differences.append(f"wallet ours {_plain(balance)} venue {_plain(wallet)}")
    if drift > ZERO and state.synced:
        state.breaker.on_deposit(float(drift))


def _compare_orders(state: EngineState, event: Synced, name: str, found: Findings) -> None:
    listed = {theirs.order_id: theirs for theirs in event.account.orders}
    for order in list(state.orders.live.values()):
        theirs = listed.pop(order.order_id, None)
        if theirs is None:
            if order.state in (OrderState.OPEN, OrderState.PARTIAL) and order.sent_ms < event.ts_ms:
                found.missing.append(order)
                found.differences.append(f"order {order.order_id} ours {_left(order)} venue none")
                state.reconciled["order"] += 1
        elif theirs.filled_qty > order.filled_qty and order.intent.symbol in _quiet(state, event.ts_ms):
            filled = f"ours {_plain(order.filled_qty)} venue {_plain(theirs.filled_qty)}"
            found.differences.append(f"order {order.order_id} filled {filled}")
            state.reconciled["order"] += 1
            order.filled_qty = theirs.filled_qty
    for theirs in listed.values():
        if state.orders.ended_ms.get(theirs.order_id, -1) >= event.ts_ms:
            continue  # it ended after the reading began
        if theirs.order_id.startswith(f"{name}-") and not state.orders.knows(theirs.order_id):
            found.halting.append(
                f"another bot sent {theirs.order_id}"
            )  # ids repeat if the state directory was lost
            found.differences.append(found.halting[-1])
            continue
        if theirs.symbol not in state.symbols:
            found.strangers.append(theirs)
            continue
        found.differences.append(
            f"order {theirs.order_id} ours none venue {theirs.side} {_plain(theirs.qty - theirs.filled_qty)}"
        )
        state.reconciled["order"] += 1
        state.orders.adopt(_rebuilt(state, theirs, event.ts_ms))


def _quiet(state: EngineState, since_ms: int) -> Iterator[str]:
    return (sym.symbol for sym in state.symbols.values() if sym.last_fill_ms < since_ms)


def _hold(state: EngineState, sym: SymbolState, held: Holding | None) -> None:
    """Set a symbol's position to the venue's."""
    if held is None:
        sym.position = Position()
        sym.stops = ProtectiveStops(sent_ms=sym.stops.sent_ms)
        state.advance(sym, POSITION_CLOSED)
    else:
        sym.position = Position(held.qty, to_money(held.qty * held.entry_price))
        stops = (held.stop_loss, held.take_profit)
        sym.stops = ProtectiveStops(at_venue=stops, wanted=stops, sent_ms=sym.stops.sent_ms)
        if sym.mark != sym.mark:  # no price of its market yet
            sym.mark = float(held.entry_price)
    sym.trade_quote = ZERO
    sym.view.bars_held = 0
    state.rebook(sym)


def _rebuilt(state: EngineState, theirs: OpenOrder, read_ms: int) -> Order:
    """Return the venue's order as one of ours; its intent holds what the venue reports."""
    sym = state.symbols[theirs.symbol]
    mark = to_decimal(sym.mark) if sym.mark == sym.mark else Decimal(1)
    resting = theirs.order_type == "Limit" and theirs.price is not None
    intent = Intent(
        symbol=theirs.symbol,
        side=theirs.side,
        qty=theirs.qty,
        ref_price=theirs.price if theirs.price is not None else mark,
        decided_ms=read_ms,
        order_type="Limit" if resting else "Market",
        price=theirs.price,
        time_in_force="GTC" if resting else "IOC",
        reduce_only=theirs.reduce_only,
        reason="adopted",
    )
    state_now = OrderState.PARTIAL if theirs.filled_qty else OrderState.OPEN
    return Order(theirs.order_id, intent, state_now, theirs.filled_qty, sent_ms=read_ms)


def _count_foreign(state: EngineState, account: AccountSnapshot) -> None:
    """Count positions and orders of the account that are not ours: they use margin and add risk."""
    state.foreign_notional_quote = sum(
        (abs(each.qty) * each.entry_price for each in account.holdings if each.symbol not in state.symbols),
        ZERO,
    )
    state.foreign_orders = account.foreign_orders


def _left(order: Order) -> str:
    return f"{order.intent.side} {_plain(order.leaves_qty)}"


def _shown(stops: tuple[Decimal | None, Decimal | None]) -> str:
    return "/".join("none" if price is None else _plain(price) for price in stops)


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"
