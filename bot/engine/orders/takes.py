"""Profits taken in parts: reduce-only limit orders that live as long as their position. Pure.

A plan begins with the first fill of an entry that names takes, or with a later target that names others::

    position grows or shrinks   the parts that are left are worked out anew; an order that is too large is
                                cancelled first, one that is too small gets another beside it
    the average entry moves     the prices of takes that are distances from it are worked out anew; orders at
                                other prices are cancelled first
    a take fills                its level is done; it does not come back before a target names other takes
    position flat or turned     the plan ends and its orders are cancelled
    the position is to be left  its orders are cancelled, as they are not wanted beside the exit
    an order is lost            refused, or cancelled by somebody: it is sent again at a later close

The orders are ours and not the venue's own partial TP/SL: Bybit adds such a pair with every call, so a call
that is repeated after a lost answer would double it. An order has its id, and the venue refuses a second one.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from bot.domain.ledger import Fill
from bot.domain.market import Instrument
from bot.domain.messages import CancelOrder, Effect, PlaceOrder
from bot.domain.money import ZERO, floor_to
from bot.domain.orders import Intent, Order, OrderState, Side, Take, sign
from bot.engine.orders.activity import Replaced, Replacing, Resting
from bot.strategy.signal import Target
from bot.strategy.sizing import take_price, takes_on_grid

if TYPE_CHECKING:  # the state holds the plans
    from bot.engine.state import EngineState, SymbolState

CANCEL_AGAIN_MS = 5_000
"""An unanswered cancel is sent again after so long."""
TAKE_TRIES_MAX = 5
"""Refusals in a row after which the takes of a position are sent no more, until a target names others."""
REASON = "take"
_NOTHING_LEFT = Decimal("1e-9")
"""Parts whose sum is so close to 1 close the whole position: 1/3 has no exact float."""

Submit = Callable[["SymbolState", Intent], Sequence[Effect]]


class TakeLevel(msgspec.Struct):
    """A take that is not done: its price, the part of the first position left to take there, and in base.

    The price is 0 while it is not worked out yet: it follows from ``away_bps`` and the average entry price.
    """

    price: Decimal
    part: Decimal
    qty: Decimal = ZERO
    away_bps: Decimal | None = None

    def has(self, order: Intent) -> bool:
        """Return True if an order takes this part, also at a price that was left since."""
        if self.away_bps is not None:
            return order.take_bps == self.away_bps
        return order.take_bps is None and order.take_at == self.price


class TakePlan(msgspec.Struct):
    """The takes of one position."""

    asked: tuple[Take, ...] = ()
    """As the strategy named them, on the grid."""
    side: Side = "Buy"
    """Side that opened the position."""
    decided_ms: int = 0
    """Close at which they were named."""
    levels: list[TakeLevel] = []
    """Those not done, nearest first."""
    kept: Decimal = ZERO
    """Part of the first position that no take closes."""
    sized: Decimal = ZERO
    """Position for which the quantities were worked out, less what the takes have closed since."""
    cancelled_ms: dict[str, int] = {}
    """When the cancel of an order was last sent, by id."""
    refusals: int = 0
    """Refusals by the venue in a row."""
    waits: bool = False
    """True until the next close after an order was lost."""

    def holds(self, takes: tuple[Take, ...], qty: Decimal) -> bool:
        """Return True if these are the takes of the position ``qty`` (signed) already."""
        return self.asked == takes and self.is_of(qty)

    def is_of(self, qty: Decimal) -> bool:
        """Return True if the plan is of the side of a position."""
        return qty > ZERO if self.side == "Buy" else qty < ZERO

    def begin(self, takes: tuple[Take, ...], side: Side, decided_ms: int) -> None:
        """Take the place of an earlier plan; its orders are cancelled, as no level asks for them."""
        self.asked, self.side, self.decided_ms = takes, side, decided_ms
        self.levels = [TakeLevel(take.price or ZERO, take.part_frac, ZERO, take.away_bps) for take in takes]
        kept = 1 - sum((take.part_frac for take in takes), ZERO)
        self.kept = kept if kept > _NOTHING_LEFT else ZERO
        self.sized, self.refusals, self.waits = ZERO, 0, False

    def end(self) -> None:
        """Want nothing any more: the position is closed."""
        self.asked, self.levels, self.sized = (), [], ZERO

    def regrid(self, tick_size: Decimal) -> None:
        """Move the prices to a new grid, as a target's are; the quantities are worked out anew."""
        self.asked = takes_on_grid(self.asked, self.side, tick_size)
        left = [Take(None if each.away_bps else each.price, each.part, each.away_bps) for each in self.levels]
        self.levels = [
            TakeLevel(take.price or ZERO, take.part_frac, ZERO, take.away_bps)
            for take in takes_on_grid(left, self.side, tick_size)
        ]
        self.sized = ZERO

    def size(self, qty: Decimal, rules: Instrument) -> bool:
        """Share a position of ``qty`` out among the levels; return False if a part is below the minimum."""
        self.sized = qty
        if not self.levels:
            return True
        quantities, fits = shares(qty, [level.part for level in self.levels], self.kept, rules)
        for level, each in zip(self.levels, quantities, strict=True):
            level.qty = each
        return fits

    def filled(self, order: Intent, qty: Decimal) -> None:
        """Count a fill of an order. One that no level explains leads to new quantities."""
        for index, level in enumerate(self.levels):
            if not level.has(order):
                continue
            left = level.qty - qty
            if left > ZERO:
                level.part, level.qty = level.part * left / level.qty, left
            else:
                was_last = index == len(self.levels) - 1
                del self.levels[index]
                if was_last:  # it also had the parts that were too small for themselves
                    self.levels = [each for each in self.levels if each.qty]
            if left >= ZERO:
                self.sized -= qty
            return


def shares(
    qty: Decimal, parts: Sequence[Decimal], kept: Decimal, rules: Instrument
) -> tuple[list[Decimal], bool]:
    """Return the quantity of each part, on the grid and never more than ``qty`` together.

    A part below the contract's minimum goes to the last one, with what rounding leaves; a last one that stays
    below it goes to the one before. The second value is False if a part was moved so.
    """
    whole = kept + sum(parts, ZERO)
    made = [floor_to(qty * part / whole, rules.qty_step) for part in parts[:-1]]
    small = [not each or each < rules.min_qty for each in made]
    made = [ZERO if is_small else each for each, is_small in zip(made, small, strict=True)]
    taken = floor_to(qty * (whole - kept) / whole, rules.qty_step) if kept else qty
    last = max(taken - sum(made, ZERO), ZERO)
    if last == qty or last >= rules.min_qty:  # the whole of a position may be closed, whatever its size
        return [*made, last], not any(small)
    for index in reversed(range(len(made))):
        if made[index]:
            made[index] += last
            break
    return [*made, ZERO], False


def follow(
    state: "EngineState", sym: "SymbolState", submit: Submit, *, at_close: bool = False
) -> list[Effect]:
    """Bring a symbol's take orders in line with its plan, and the plan with its position."""
    plan, orders = sym.takes, state.orders.takes_of(sym.symbol)
    if plan.asked and not plan.is_of(sym.position.qty):
        plan.end()
    live = {order.order_id for order in orders}
    plan.cancelled_ms = {each: ms for each, ms in plan.cancelled_ms.items() if each in live}
    if at_close and plan.refusals < TAKE_TRIES_MAX:
        plan.waits = False
    leaves = state.flattening or state.breaker.wants_flat or sym.activity.exit is not None
    grows = not at_close and not all(order.intent.reduce_only for order in state.orders.of(sym.symbol))
    if not leaves:
        _size(state, sym)
        _price(sym, orders, grows=grows)
    effects = _cancel_unwanted(state, plan, orders, () if leaves else plan.levels)
    if not leaves and _may_place(state, sym, plan):
        effects += _place_missing(state, sym, orders, submit, grows=grows)
    if not plan.asked and not orders:
        state.taking = tuple(each for each in state.taking if each is not sym)
    return effects


def _size(state: "EngineState", sym: "SymbolState") -> None:
    """Work the quantities out anew if anything but a take has changed the position, or is about to."""
    plan = sym.takes
    leaving = sum((o.leaves_qty for o in state.orders.of(sym.symbol) if o.intent.reduce_only), ZERO)
    room = max(abs(sym.position.qty) - leaving, ZERO)
    if plan.levels and room != plan.sized and not plan.size(room, sym.instrument) and room:
        state.refusals["take_below_minimum"] += 1


def price_of(take: Take, sym: "SymbolState") -> Decimal:
    """Return the price of a take of the open position."""
    if take.price is not None:
        return take.price
    assert take.away_bps is not None, "a take has a price or a distance"
    assert sym.position.entry_price is not None, "only called for an open position"
    return take_price(take.away_bps, sym.side, sym.position.entry_price, sym.instrument.tick_size)


def _price(sym: "SymbolState", orders: Sequence[Order], *, grows: bool) -> None:
    """Work the prices of distances out from the average entry price.

    While an entry still fills (``grows``), a level that has an order keeps its price: an entry of many small
    fills must not move it as many times.
    """
    plan, entry = sym.takes, sym.position.entry_price
    for level in plan.levels:
        if level.away_bps is None or entry is None:
            continue
        if not grows or not any(level.has(order.intent) for order in orders):
            level.price = take_price(level.away_bps, plan.side, entry, sym.instrument.tick_size)


def _cancel_unwanted(
    state: "EngineState", plan: TakePlan, orders: Sequence[Order], levels: Sequence[TakeLevel]
) -> list[Effect]:
    """Cancel the orders of no level, those at another price than their level's, and those that are too large.

    All orders of a level are cancelled if together they would take more than is wanted there.
    """
    left = {order.order_id: order for order in orders}
    for level in levels:
        there = [order for order in orders if level.has(order.intent)]
        if sum((order.leaves_qty for order in there), ZERO) <= level.qty:
            for order in there:
                if order.intent.take_at == level.price:
                    del left[order.order_id]
    effects: list[Effect] = []
    for order in left.values():
        asked_ms = plan.cancelled_ms.get(order.order_id)
        waits = asked_ms is not None and state.now_ms < asked_ms + CANCEL_AGAIN_MS
        if not waits and order.state is not OrderState.UNKNOWN:
            plan.cancelled_ms[order.order_id] = state.now_ms
            effects.append(CancelOrder(order.order_id, order.intent.symbol))
    return effects


def _may_place(state: "EngineState", sym: "SymbolState", plan: TakePlan) -> bool:
    """Return True if orders may be sent: the account is known, nothing is halted, no market order is live."""
    if plan.waits or not plan.levels or not state.synced or state.breaker.state == "halted":
        return False
    return all(order.intent.order_type == "Limit" for order in state.orders.of(sym.symbol))


def _place_missing(
    state: "EngineState", sym: "SymbolState", orders: Sequence[Order], submit: Submit, *, grows: bool
) -> list[Effect]:
    """Send what is missing at each level.

    While an entry still fills (``grows``), a level that has an order gets another only at closes: an entry of
    many small fills must not lead to as many orders. All orders together never take more than the position:
    others wait for the end of those that are being cancelled.
    """
    plan, rules = sym.takes, sym.instrument
    free = abs(sym.position.qty) - sum((order.leaves_qty for order in orders), ZERO)
    effects: list[Effect] = []
    for level in plan.levels:
        there = [order for order in orders if level.has(order.intent)]
        if any(order.order_id in plan.cancelled_ms for order in there) or (there and grows):
            continue
        missing = level.qty - sum((order.leaves_qty for order in there), ZERO)
        while ZERO < missing <= free and (missing >= rules.min_qty or missing == abs(sym.position.qty)):
            qty = min(missing, floor_to(rules.max_qty, rules.qty_step))
            sent = submit(sym, _order(sym, level, qty))
            effects += sent
            missing, free = missing - qty, free - qty
            if not any(isinstance(each, PlaceOrder) for each in sent):
                plan.waits = True
                return effects
    return effects


def _order(sym: "SymbolState", level: TakeLevel, qty: Decimal) -> Intent:
    plan = sym.takes
    return Intent(
        symbol=sym.symbol,
        side="Sell" if plan.side == "Buy" else "Buy",
        qty=qty,
        ref_price=level.price,
        decided_ms=plan.decided_ms,
        order_type="Limit",
        price=level.price,
        time_in_force="GTC",
        reduce_only=True,
        reason=REASON,
        take_at=level.price,
        take_bps=level.away_bps,
    )


# What the venue says about them


def took(state: "EngineState", sym: "SymbolState", order: Intent, fill: Fill) -> None:
    """Count a fill of a take order; a target that is still carried out does not buy it back."""
    sym.takes.filled(order, fill.qty)
    match sym.activity:
        case Resting(execution):
            execution.target = _less(execution.target, sym, fill)
        case Replacing(target, decided_ms, urgent, leaving):
            state.advance(sym, Replaced(_less(target, sym, fill), decided_ms, urgent, leaving))
        case _:
            pass


def _less(target: Target, sym: "SymbolState", fill: Fill) -> Target:
    """Return a target that made the position larger, smaller by what a take has closed since."""
    signed = sign(fill.side) * float(fill.qty)
    before = sym.position_base - signed
    if target.qty * before <= 0.0 or abs(target.qty) <= abs(before):
        return target
    return msgspec.structs.replace(target, qty=target.qty + signed)


def lost(sym: "SymbolState", order: Order, *, refused: bool) -> None:
    """Wait for the next close after a take order was refused, or cancelled by somebody else."""
    plan = sym.takes
    plan.refusals += refused
    if refused or order.order_id not in plan.cancelled_ms:
        plan.waits = True
