"""Our state against the venue's: take over an account never read before, compare every other reading.

The venue is right about what it holds. Each difference is named:

* A position that no execution explains is due to our live orders if they can still fill it: then their
  executions are on their way, and nothing is changed before they come. So no fill counts twice. A stop of
  ours may have closed a position: its executions are waited for, up to ``STOPPED_WAIT_MS``.
* Any other difference of a position is foreign (``domain/netting.py``). Its symbol takes no entries while a
  foreign position is there. The bot halts only if a part of *our* position is gone: somebody else closed it.
* Executions that came in another order than they happened realised other amounts here. Where the venue's
  entry prices explain the wallet, they are taken over, and nothing differs.
* The wallet's is taken over. More money than explained raises the breaker's levels; less counts as a loss.
  Transfers come as ``Transferred`` before the reading, so they are explained.

Changes that may be younger than the reading wait for the next one. Orders that the venue does not list
stay live here: only a report of the venue ends an order, and the adapter that reads the account fetches it.
An order of ours that ended here and is listed again (the venue had hidden it) is ours again; it is cancelled
if it could open a position, because nobody has decided it now, or could take a profit a second time.
"""

from decimal import Decimal

import msgspec

from bot.domain.account import Holding, OpenOrder
from bot.domain.ledger import Cash, Position
from bot.domain.messages import Synced
from bot.domain.money import ZERO, plain, to_decimal, to_money
from bot.domain.netting import split
from bot.domain.orders import Intent, Order, OrderState, sign
from bot.engine.orders.activity import POSITION_CLOSED
from bot.engine.orders.protection import NO_STOPS, ProtectiveStops, Stops, Trail
from bot.engine.orders.takes import TakePlan
from bot.engine.state import EngineState, SymbolState

ROUNDING_QUOTE = Decimal("0.01")
"""The wallet may differ from ours by so much between two readings before that counts as a difference."""

STOPPED_WAIT_MS = 30_000
"""How long the executions of a stop are waited for after a reading showed that the position is gone."""


class Findings(msgspec.Struct):
    """What one reading showed. ``halting`` are the differences that halt the bot."""

    differences: list[str] = msgspec.field(default_factory=list)
    halting: list[str] = msgspec.field(default_factory=list)
    missing: list[Order] = msgspec.field(default_factory=list)
    """Orders that are live here and not listed by the venue."""
    strangers: list[OpenOrder] = msgspec.field(default_factory=list)
    """Orders of ours that are to be cancelled: in symbols not traded here, or back after they had ended."""
    adjusted_quote: Decimal = ZERO


def adopt(state: EngineState, event: Synced, *, adopts_positions: bool) -> Findings:
    """Take over an account: wallet, our orders, and the positions that orders of ours opened.

    The rest of a position is foreign, unless ``adopts_positions``: then all of it becomes ours.
    """
    found, account = Findings(), event.account
    if account.replaced:
        found.differences.append(f"{account.replaced}; levels of loss begin anew")
    state.cash = Cash(account.wallet_quote)
    holdings = {holding.symbol: holding for holding in account.holdings}
    for sym in state.symbols.values():
        held = holdings.get(sym.symbol)
        own = ZERO if held is None else held.qty if adopts_positions else held.own_qty
        _hold(state, sym, held, own)
        _set_foreign(state, sym, (held.qty if held is not None else ZERO) - own, found)
        sym.compared_ms, sym.due_qty = event.ts_ms, ZERO
        sym.takes = TakePlan()
    state.cash_quote = float(state.cash.balance)
    state.orders.forget_all()
    for theirs in account.orders:
        if theirs.symbol in state.symbols:
            state.orders.adopt(_rebuilt(state, theirs, event.ts_ms))
        else:
            found.strangers.append(theirs)
    _note(state, event)
    state.adopted_ms = event.ts_ms
    state.remark()
    return found


def compare(state: EngineState, event: Synced, name: str) -> Findings:
    """Compare a reading with our state and take over what differs; ``name`` begins this run's ids."""
    found, account = Findings(), event.account
    holdings = {holding.symbol: holding for holding in account.holdings}
    listed = {order.order_id: order for order in account.orders}
    settled = True
    for sym in state.symbols.values():
        if sym.last_fill_ms >= event.ts_ms:
            state.reconciled["raced"] += 1
            settled = False
        else:
            _compare_holding(state, sym, event, holdings.get(sym.symbol), listed, found)
            sym.compared_ms = event.ts_ms
            settled = settled and not sym.due_qty
    if settled:  # else the wallet may hold the money of executions that have not come
        _compare_entries(state, account.wallet_quote, holdings)
        _compare_wallet(state, account.wallet_quote, found)
    _compare_orders(state, event, name, found)
    _note(state, event)
    state.remark()
    return found


def left_aside(state: EngineState, event: Synced) -> list[str]:
    """Name what a first reading shows and nobody will trade: other symbols, contracts that have ended."""
    found = [
        f"{each.symbol} {plain(each.qty)}: not traded here, counted as risk"
        for each in event.account.holdings
        if each.symbol not in state.symbols
    ]
    return found + [ended_words(sym) for sym in state.symbols.values() if sym.instrument.status != "Trading"]


def ended_words(sym: SymbolState) -> str:
    """Name a contract that takes no entries any more, and what the account holds in it."""
    held = sym.position.qty + sym.foreign_qty
    return f"{sym.symbol} is {sym.instrument.status}: no entries; it holds {plain(held)}"


def foreign_words(sym: SymbolState) -> str:
    """Name the foreign part of a position for people."""
    if not sym.foreign_qty:
        return f"{sym.symbol} foreign 0: entries are allowed again"
    return f"{sym.symbol} foreign {plain(sym.foreign_qty)}: not ours, no entries in {sym.symbol}"


def _note(state: EngineState, event: Synced) -> None:
    """Note what every reading tells beside the comparison."""
    account = event.account
    state.synced = state.account_known = True
    state.account_uid = account.uid or state.account_uid
    state.wallet_ms, state.wallet_quote = event.ts_ms, account.wallet_quote
    # Positions and orders that are not ours use margin and add risk.
    state.foreign_notional_quote = sum(
        (abs(each.qty) * each.entry_price for each in account.holdings if each.symbol not in state.symbols),
        ZERO,
    )
    state.foreign_orders = account.foreign_orders


def _compare_holding(
    state: EngineState,
    sym: SymbolState,
    event: Synced,
    held: Holding | None,
    listed: dict[str, OpenOrder],
    found: Findings,
) -> None:
    theirs = held.qty if held is not None else ZERO
    gap = theirs - sym.position.qty - sym.foreign_qty
    sym.due_qty = _due(state, sym, gap, listed)
    foreign, ours = split(gap - sym.due_qty, sym.foreign_qty, sym.position.qty)
    if ours and _may_be_stopped(sym, event.ts_ms):
        sym.due_qty, foreign, ours = gap, ZERO, ZERO
    else:
        sym.waiting_ms = 0
    if sym.due_qty:
        state.reconciled["due"] += 1
        gap -= sym.due_qty
    if ours:
        sym.taken_qty, sym.taken_ms = ours, event.ts_ms
        difference = f"{sym.symbol} ours {plain(sym.position.qty)} venue {plain(theirs)}"
        found.differences.append(difference)
        found.halting.append(difference)
        state.reconciled["position"] += 1
        _hold(state, sym, held, sym.position.qty + ours)
    if foreign:
        state.reconciled["foreign"] += 1
        _set_foreign(state, sym, sym.foreign_qty + foreign, found)
    if held is not None and not gap and not sym.waiting_ms:
        _compare_stops(state, sym, (held.stop_loss, held.take_profit), found)
        _compare_trailing(state, sym, held.trailing_stop, found)


def _may_be_stopped(sym: SymbolState, read_ms: int) -> bool:
    """True while a stop of ours may have closed what is missing, and its executions may still come."""
    if sym.stops.at_venue == NO_STOPS and not sym.stops.trail_at_venue:
        return False
    sym.waiting_ms = sym.waiting_ms or read_ms
    return read_ms - sym.waiting_ms < STOPPED_WAIT_MS


def _due(state: EngineState, sym: SymbolState, gap: Decimal, listed: dict[str, OpenOrder]) -> Decimal:
    """Return the part of a difference that executions of our live orders may explain, still to come."""
    due = ZERO
    for order in (*state.orders.of(sym.symbol), *state.orders.takes_of(sym.symbol)):
        signed = sign(order.intent.side)
        if signed * gap > ZERO:
            theirs = listed.get(order.order_id)
            most = order.intent.qty if theirs is None else theirs.filled_qty
            due += signed * max(most - order.filled_qty, ZERO)
    return due if abs(due) < abs(gap) else gap


def _compare_stops(state: EngineState, sym: SymbolState, theirs: Stops, found: Findings) -> None:
    ours = sym.stops.at_venue
    if theirs == ours:
        return
    if not sym.position.qty:  # the stops of a foreign position; ours are gone from it
        sym.stops.at_venue = NO_STOPS
        return
    found.differences.append(f"{sym.symbol} stops ours {_shown(ours)} venue {_shown(theirs)}")
    state.reconciled["stops"] += 1
    sym.stops.at_venue = theirs
    if theirs[0] is not None:
        sym.stops.wanted = theirs


def _compare_trailing(state: EngineState, sym: SymbolState, theirs: Decimal, found: Findings) -> None:
    stops, ours = sym.stops, sym.stops.trail_at_venue
    stops.trail_at_venue = theirs
    if theirs == ours or not sym.position.qty:
        return
    if stops.trail is not None and theirs == stops.trail.distance:  # only its report had not come
        return
    found.differences.append(f"{sym.symbol} trailing stop ours {plain(ours)} venue {plain(theirs)}")
    state.reconciled["stops"] += 1
    if theirs:
        stops.trail = Trail(theirs)


def _compare_entries(state: EngineState, wallet: Decimal, holdings: dict[str, Holding]) -> None:
    """Take over the entry prices of the venue if they explain the wallet: executions came in another order.

    What an execution realises follows from those before it. Equity is the same in any order, but not how it
    is divided between the wallet and the open position.
    """
    moves: list[tuple[SymbolState, Decimal]] = []
    for sym in state.open:
        held = holdings.get(sym.symbol)
        if held is not None and held.qty == sym.position.qty and not sym.foreign_qty:
            moves.append((sym, to_money(held.qty * held.entry_price) - sym.position.entry_value))
    moved = sum((move for _, move in moves), ZERO)
    drift = wallet - state.cash.balance
    if abs(drift) <= ROUNDING_QUOTE or abs(drift - moved) > ROUNDING_QUOTE:
        return
    state.reconciled["reordered"] += 1
    for sym, move in moves:
        sym.position.entry_value += move
        state.cash.realised += move
        sym.trade_quote += move
        state.rebook(sym)


def _compare_wallet(state: EngineState, wallet: Decimal, found: Findings) -> None:
    """Add what no event explains to the cash, so that our balance equals the wallet to the last digit."""
    balance = state.cash.balance
    drift = wallet - balance
    if not drift:
        return
    equity = state.equity
    state.cash.adjusted += drift
    state.cash_quote = float(state.cash.balance)
    found.adjusted_quote = drift
    if abs(drift) <= ROUNDING_QUOTE:
        state.reconciled["rounding"] += 1
        return
    state.reconciled["wallet"] += 1
    found.differences.append(f"wallet ours {plain(balance)} venue {plain(wallet)}")
    if drift > ZERO:
        state.day.paid(float(drift), state.breaker)
        state.breaker.on_transfer(float(drift), equity)


def _compare_orders(state: EngineState, event: Synced, name: str, found: Findings) -> None:
    listed = {theirs.order_id: theirs for theirs in event.account.orders}
    for order in list(state.orders.live.values()):
        theirs = listed.pop(order.order_id, None)
        if theirs is None:
            if state.symbols[order.intent.symbol].due_qty * sign(order.intent.side) > ZERO:
                continue  # it has ended; its executions are on their way
            known_ms = max(order.sent_ms, order.opened_ms)
            if order.state in (OrderState.OPEN, OrderState.PARTIAL) and known_ms < event.ts_ms:
                found.missing.append(order)
                found.differences.append(f"order {order.order_id} ours {_left(order)} venue none")
                state.reconciled["order"] += 1
    for theirs in listed.values():
        if state.orders.ended_ms.get(theirs.order_id, -1) >= event.ts_ms:
            continue  # it ended after the reading began
        if theirs.order_id.startswith(f"{name}-") and not state.orders.knows(theirs.order_id):
            # Ids also repeat if the state directory was lost.
            found.halting.append(f"another bot sent {theirs.order_id}")
            found.differences.append(found.halting[-1])
            continue
        if theirs.symbol not in state.symbols:
            found.strangers.append(theirs)
            continue
        found.differences.append(
            f"order {theirs.order_id} ours none venue {theirs.side} {plain(theirs.qty - theirs.filled_qty)}"
        )
        state.reconciled["order"] += 1
        takes = bool(state.symbols[theirs.symbol].takes.asked)
        if state.orders.knows(theirs.order_id) and (takes or not theirs.reduce_only):
            state.reconciled["returned"] += 1
            found.strangers.append(theirs)
        state.orders.adopt(_rebuilt(state, theirs, event.ts_ms))


def _set_foreign(state: EngineState, sym: SymbolState, qty: Decimal, found: Findings) -> None:
    """Set the foreign part of a symbol's position, and name it if it changed."""
    if qty != sym.foreign_qty:
        state.move_foreign(sym, qty - sym.foreign_qty)
        found.differences.append(foreign_words(sym))


def _hold(state: EngineState, sym: SymbolState, held: Holding | None, qty: Decimal) -> None:
    """Set our part of a symbol's position, at the entry price that the venue shows for the whole of it."""
    if held is not None and sym.mark != sym.mark:  # no price of its market yet
        sym.mark = float(held.entry_price)
    if held is None or not qty:
        sym.position = Position()
        sym.stops = ProtectiveStops(sent_ms=sym.stops.sent_ms)
        state.advance(sym, POSITION_CLOSED)
    else:
        sym.position = Position(qty, to_money(qty * held.entry_price))
        stops = (held.stop_loss, held.take_profit)
        sym.stops = ProtectiveStops(
            at_venue=stops,
            wanted=stops,
            sent_ms=sym.stops.sent_ms,
            trail=Trail(held.trailing_stop) if held.trailing_stop else None,
            trail_at_venue=held.trailing_stop,
        )
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


def _left(order: Order) -> str:
    return f"{order.intent.side} {plain(order.leaves_qty)}"


def _shown(stops: tuple[Decimal | None, Decimal | None]) -> str:
    return "/".join("none" if price is None else plain(price) for price in stops)
