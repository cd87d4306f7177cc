"""The order table: our orders as the venue knows them, the executions seen, and the positions they make.

Rows and answers go in, events come out. The laws of the table:

* A status only rises (sent → open → partly filled → ended), and ``cumExecQty`` never falls.
* An execution is emitted once, however often and in whatever order it comes. No other part of the program
  remembers execution ids of a remote venue.
* The end of an order is emitted when its ``cumExecQty`` equals its emitted executions, not before. So a fill
  that races a cancel is never lost, in whatever order the three messages come.
* An order of unknown fate leaves that state by evidence only: an answer, a row, an execution, or an absence
  that is proven (``absence``).
* A proof of absence may be wrong: the venue may hide an order for longer than the proof takes. A row or an
  execution of such an order makes it live again (``returned`` counts them); the next reading shows it.
"""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from bot.bybit import wire
from bot.bybit.account.fees import fee_quote, funding_quote, is_other_coin
from bot.bybit.account.rows import (
    cause_of,
    check_execution,
    end_reason,
    executed_qty,
    is_api_trade,
    is_end,
    number,
    number_or_none,
    price_or_none,
    reject_cause,
    time_ms,
)
from bot.bybit.codes import refusal_cause
from bot.domain.account import KnownAccount
from bot.domain.errors import Broken
from bot.domain.ledger import Fill
from bot.domain.messages import (
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    OrderResized,
    OrderUnknown,
    RejectCause,
    VenueEvent,
)
from bot.domain.money import ZERO
from bot.domain.netting import closing
from bot.domain.orders import NEXT, Intent, Order, OrderState, Side, sign

SEEN_MAX = 65_536
"""Execution ids kept to recognise duplicates; a reading of the account looks back over far fewer."""
ENDED_MAX = 4_096
"""Ended orders kept to recognise their late rows."""

_S = OrderState
_NOTHING: tuple[VenueEvent, ...] = ()


class SentOrder(msgspec.Struct):
    """One order of ours and the evidence about it. ``sent_ms`` is when it was sent, by the venue's clock."""

    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    sent_ms: int
    intent: Intent | None = None
    state: OrderState = _S.SENT
    since_ms: int = 0
    """The venue cannot have created the order before this time; 0: not known."""
    venue_id: str = ""
    sized_ms: int = 0
    """When the venue had the order at this quantity, by its latest row or execution."""
    price: Decimal | None = None
    """The limit price at the venue, if a row showed another than the intent's."""
    emitted_qty: Decimal = ZERO
    """Sum of the executions emitted."""
    cum_qty: Decimal = ZERO
    """The highest ``cumExecQty`` that any row showed."""
    end: str | None = None
    """Why the order ended, in the venue's word; emitted once the quantities agree."""
    refused: bool = False
    """The order ended by a refusal and was never in the market."""

    @property
    def unsettled(self) -> bool:
        """True if rows and executions disagree: some message about the order has not come."""
        return self.emitted_qty != self.cum_qty or self.end is not None


class OrderTable:
    """Our live orders, the executions seen, and the positions they make.

    Args:
        prefix: our order ids are ``{prefix}{run}-{seq}-{leg}``.
        symbols: the traded symbols; executions of other symbols are foreign and only counted.
        quote: the coin in which fees are expected.
    """

    def __init__(self, prefix: str, symbols: Iterable[str], quote: str = "USDT") -> None:
        self._own = re.compile(re.escape(prefix) + r"\d+-\d+-\d+")
        self.symbols = frozenset(symbols)
        self._quote = quote
        self._ended: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._seen: dict[str, tuple[str, ...]] = {}
        self._strays: dict[str, list[wire.ExecutionFields]] = {}
        self._leaving: list[str] = []
        self._given_up: dict[str, SentOrder] = {}
        self._booked: frozenset[str] = frozenset()
        """Executions that an earlier process booked."""
        self.live: dict[str, SentOrder] = {}
        self.positions: dict[str, Decimal] = {}
        """Signed position by symbol: the adopted one plus every execution since."""
        self._believed: dict[str, tuple[int, Decimal]] = {}
        """By symbol: what a reading before this time showed though no execution explained it, signed."""
        self.adopted = False
        """True once the account was taken over. Executions before that are part of the account as read."""
        self.emit_after_ms: int | None = None
        """Executions before the take-over are emitted, and not booked, if they are younger than this."""
        self.last_execution_ms = 0
        self.executions = 0
        """Number of new executions seen. If it moves during a reading, the reading is not of one instant."""
        self.duplicates = 0
        self.foreign_fills = 0
        self.prices_moved = 0
        """Orders that the venue holds at another limit price than we sent."""
        self.sizes_moved = 0
        """How often the venue showed an order of ours at another quantity than before."""
        self.fees_in_other_coins = 0
        """Executions whose fee the venue took in another coin; booked at their worth (``fees``)."""
        self.amounts_unknown = 0
        """Executions whose fee or funding the venue did not tell: not booked, the next wallet shows it."""
        self.returned = 0
        """Orders that came back after a proof of their absence."""

    # Requests of ours

    def is_own(self, link_id: str) -> bool:
        """True if an ``orderLinkId`` is ours, of this process or an earlier one."""
        return link_id in self.live or self._own.fullmatch(link_id) is not None

    def send(self, order_id: str, intent: Intent, now_ms: int) -> SentOrder:
        """Enter an order before any byte of it leaves.

        Raises:
            Broken: the id was given before.
        """
        if order_id in self.live or order_id in self._ended:
            raise Broken(f"order id {order_id} was given twice")
        sent = SentOrder(order_id, intent.symbol, intent.side, intent.qty, now_ms, intent, since_ms=now_ms)
        self.live[order_id] = sent
        return sent

    def knows(self, row: wire.OrderFields) -> bool:
        """True if this process has, or had, the order of ``row``."""
        return row.orderLinkId in self.live or row.orderLinkId in self._ended or row.orderId in self._ids

    def recall(self, order: Order, now_ms: int) -> None:
        """Enter an order of an earlier process; only the venue knows its fate."""
        intent = order.intent
        self.live[order.order_id] = SentOrder(
            order.order_id, intent.symbol, intent.side, intent.qty, now_ms, intent, _S.UNKNOWN
        )

    def resume(self, known: KnownAccount, now_ms: int) -> None:
        """Go on from what an earlier process knew: each new execution moves the table and is emitted."""
        self.adopted = True
        self.positions = dict(known.positions)
        self._booked = frozenset(known.executions)
        for order in known.orders:
            self.recall(order, now_ms)
            self.live[order.order_id].emitted_qty = self.live[order.order_id].cum_qty = order.filled_qty

    # Answers to requests

    def accepted(self, order_id: str, venue_id: str, ts_ms: int) -> list[VenueEvent]:
        """Note that the venue has the order."""
        order = self.live.get(order_id)
        if order is None:
            return []
        return [*self._open(order, ts_ms), *self._name(order, venue_id)]

    def refused(
        self, order_id: str, code: int, reason: str, ts_ms: int, cause: RejectCause | None = None
    ) -> list[VenueEvent]:
        """Note that the venue will never have the order. Rows that prove otherwise win.

        Without a ``cause``, code and words tell it.
        """
        order = self.live.get(order_id)
        if order is None or order.state not in (_S.SENT, _S.UNKNOWN) or order.cum_qty or order.emitted_qty:
            return []
        self._end(order, _S.REJECTED)
        cause = cause or refusal_cause(code, reason)
        return [OrderRejected(ts_ms, order_id, code, reason, cause), *self._release()]

    def withdrawn(
        self, order_id: str, reason: str, ts_ms: int, *, may_return: bool = False
    ) -> list[VenueEvent]:
        """Note that the order was never sent, or, with ``may_return``, that it seems not to exist there."""
        order = self.live.get(order_id)
        if order is None:
            return []
        if may_return:
            self._give_up(order)
        self._end(order, _S.CANCELLED)
        return [OrderCancelled(ts_ms, order_id, reason), *self._release()]

    def lost(self, order_id: str, ts_ms: int) -> list[VenueEvent]:
        """Note that no answer came: the fate of the order is unknown, unless a row has shown it already."""
        order = self.live.get(order_id)
        if order is None or order.state is not _S.SENT:
            return []
        order.state = _S.UNKNOWN
        return [OrderUnknown(ts_ms, order_id)]

    # Rows of the venue

    def on_order(self, row: wire.OrderFields, ts_ms: int) -> list[VenueEvent]:
        """Take one order row, pushed or queried. Rows of foreign orders change nothing.

        Raises:
            BadInput: the quantity is no number; nothing is changed.
        """
        order = self._order_of(row)
        if order is None and (executed_qty(row) or not is_end(row)):
            order = self._revived(row.orderLinkId)
        if order is None:
            return []
        price = price_or_none(row.price) if row.orderType == "Limit" else None
        order.cum_qty = max(order.cum_qty, executed_qty(row))
        events = self._resize(
            order, number_or_none(row.qty), time_ms(row.updatedTime), ts_ms, may_shrink=not is_end(row)
        )
        if not is_end(row):
            events += self._open(order, ts_ms)
            events += self._reprice(order, price, ts_ms)
        elif order.end is None:
            order.end = end_reason(row)
            order.refused = row.orderStatus == "Rejected"
        events += self._name(order, row.orderId)
        return events + self._settle(order, ts_ms) + self._release()

    def on_execution(self, row: wire.ExecutionFields) -> list[VenueEvent]:
        """Take one execution, pushed or queried. An execution taken before gives no event.

        Raises:
            BadInput: the numbers cannot be those of an execution; nothing is changed.
        """
        if row.symbol in self.symbols:  # of any other contract the wallet tells what it did
            check_execution(row)
        exec_id = self._new(row)
        if exec_id is None:
            self.duplicates += 1
            return []
        if row.execType != "Funding" and self._is_stray(row):
            row.execId = exec_id
            self._strays.setdefault(row.orderId, []).append(row)
            return []
        return self._execute(row, exec_id) + self._release()

    def adopt_order(self, row: wire.OrderFields, now_ms: int) -> None:
        """Take over an open order; its executions so far are part of the account as read."""
        side: Side = "Buy" if row.side == "Buy" else "Sell"
        known = self.live.get(row.orderLinkId)
        order = known or SentOrder(row.orderLinkId, row.symbol, side, number(row.qty), now_ms)
        order.qty = number(row.qty)
        order.cum_qty = order.emitted_qty = executed_qty(row)
        order.state = _S.PARTIAL if order.cum_qty else _S.OPEN
        order.venue_id = row.orderId
        self._ids[row.orderId] = order.order_id
        self.live[order.order_id] = order

    def forget(self, order_id: str, now_state: OrderState = _S.CANCELLED) -> None:
        """Drop an ended order of an earlier process; its executions are part of the account as read."""
        order = self.live.get(order_id)
        if order is not None:
            self._end(order, now_state)

    def expected(self, symbol: str) -> Decimal:
        """Return the position by all executions seen, including those that wait for their order."""
        waiting = (row for rows in self._strays.values() for row in rows if row.symbol == symbol)
        moves = (number(row.execQty) * (1 if row.side == "Buy" else -1) for row in waiting)
        return sum(moves, self.positions.get(symbol, ZERO))

    def ended(self) -> list[str]:
        """Return the orders that ended since the last call."""
        leaving, self._leaving = self._leaving, []
        return leaving

    # Inside

    def _order_of(self, row: wire.OrderFields | wire.ExecutionFields) -> SentOrder | None:
        return self.live.get(row.orderLinkId) or self.live.get(self._ids.get(row.orderId, ""))

    def _open(self, order: SentOrder, ts_ms: int) -> list[VenueEvent]:
        if order.state not in (_S.SENT, _S.UNKNOWN):
            return []
        order.state = _S.OPEN
        return [OrderAccepted(ts_ms, order.order_id)]

    def _reprice(self, order: SentOrder, price: Decimal | None, ts_ms: int) -> list[VenueEvent]:
        """Follow the price that an order really has: the venue moves it into the price band unasked."""
        if price is None or order.intent is None or order.intent.order_type != "Limit":
            return []
        if price == (order.price or order.intent.price):
            return []
        order.price = price
        self.prices_moved += 1
        return [OrderRepriced(ts_ms, order.order_id, price)]

    def _resize(
        self, order: SentOrder, qty: Decimal | None, at_ms: int, ts_ms: int, *, may_shrink: bool
    ) -> list[VenueEvent]:
        """Follow the quantity that an order has at the venue since ``at_ms``: somebody may have amended it.

        A message that was overtaken by a later one changes nothing. At its end an order that only reduces was
        cut to the position; ``end_reason`` has the word for that.
        """
        late = at_ms < order.sized_ms or at_ms == order.sized_ms > 0
        grows = qty is not None and qty > order.qty and at_ms >= order.sized_ms
        shrinks = qty is not None and order.cum_qty <= qty < order.qty and may_shrink and not late
        order.sized_ms = max(order.sized_ms, at_ms)
        if qty is None or not (grows or shrinks):
            return []
        order.qty = qty
        self.sizes_moved += 1
        return [OrderResized(ts_ms, order.order_id, qty)]

    def _grow(self, order: SentOrder, row: wire.ExecutionFields, filled: Decimal) -> list[VenueEvent]:
        """Follow the quantity that an execution tells; it is at least what has been ``filled``."""
        told = number_or_none(row.orderQty) or ZERO
        at_ms = max(int(row.execTime), order.sized_ms) if filled > order.qty else int(row.execTime)
        return self._resize(order, max(told, filled), at_ms, int(row.execTime), may_shrink=False)

    def _name(self, order: SentOrder, venue_id: str) -> list[VenueEvent]:
        """Learn the venue's id of an order, and take the executions that waited for this id."""
        if not venue_id or order.venue_id:
            return []
        order.venue_id = venue_id
        if order.order_id in self.live:
            self._ids[venue_id] = order.order_id
        waiting = self._strays.pop(venue_id, [])
        return [event for row in waiting for event in self._execute(row, row.execId)] + self._release()

    def _settle(self, order: SentOrder, ts_ms: int) -> list[VenueEvent]:
        """Emit the end of an order if all of its executions were emitted."""
        if order.order_id not in self.live:
            return []
        if order.emitted_qty >= order.qty:
            self._end(order, _S.FILLED)
            return []
        if order.end is None or order.emitted_qty != order.cum_qty:
            return []
        if order.refused and not order.cum_qty and order.state in (_S.SENT, _S.UNKNOWN):
            self._end(order, _S.REJECTED)
            return [OrderRejected(ts_ms, order.order_id, 0, order.end, reject_cause(order.end))]
        self._end(order, _S.CANCELLED)
        return [OrderCancelled(ts_ms, order.order_id, order.end)]

    def _give_up(self, order: SentOrder) -> None:
        self._given_up[order.order_id] = msgspec.structs.replace(order, state=_S.UNKNOWN, end=None)
        if len(self._given_up) > ENDED_MAX:
            del self._given_up[next(iter(self._given_up))]

    def _revived(self, order_id: str) -> SentOrder | None:
        """Make an order live again whose absence was proven; None if there is none of this id."""
        order = self._given_up.pop(order_id, None)
        if order is not None:
            self.returned += 1
            self._ended.pop(order_id, None)
            self.live[order_id] = order
        return order

    def _end(self, order: SentOrder, to: OrderState) -> None:
        if to not in NEXT[order.state]:
            raise Broken(f"order {order.order_id}: {order.state.value} cannot become {to.value}")
        order.state = to
        del self.live[order.order_id]
        self._leaving.append(order.order_id)
        self._ended[order.order_id] = order.venue_id
        if len(self._ended) > ENDED_MAX:
            self._ids.pop(self._ended.pop(next(iter(self._ended))), None)

    def _new(self, row: wire.ExecutionFields) -> str | None:
        """Return the id of a new execution, None for a known one. Empty and reused ids get a name of ours."""
        facts = (row.symbol, row.orderId, row.side, row.execQty, row.execPrice, row.execTime)
        exec_id = row.execId or "-".join(facts)
        if self._seen.get(exec_id, facts) != facts:
            exec_id = "-".join((exec_id, *facts))
        if exec_id in self._seen or exec_id in self._booked:
            return None
        self._seen[exec_id] = facts
        if len(self._seen) > SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        self.executions += 1
        self.last_execution_ms = max(self.last_execution_ms, time_ms(row.execTime))
        return exec_id

    def _is_stray(self, row: wire.ExecutionFields) -> bool:
        """True if this execution may belong to one of our orders whose venue id is still unknown."""
        if row.orderLinkId or row.orderId in self._ids or not is_api_trade(row):
            return False
        return self.adopted and any(self._unnamed(row.symbol, row.side))

    def _unnamed(self, symbol: str, side: str) -> Iterator[SentOrder]:
        return (o for o in self.live.values() if not o.venue_id and o.symbol == symbol and o.side == side)

    def _release(self) -> list[VenueEvent]:
        """Emit the waiting executions that can belong to no order of ours any more."""
        events: list[VenueEvent] = []
        for venue_id, rows in list(self._strays.items()):
            if not any(self._unnamed(rows[0].symbol, rows[0].side)):
                del self._strays[venue_id]
                events += [event for row in rows for event in self._execute(row, row.execId)]
        return events

    def _execute(self, row: wire.ExecutionFields, exec_id: str) -> list[VenueEvent]:
        ts_ms = time_ms(row.execTime)
        if not self.adopted:  # the account that will be taken over contains this execution
            missed = self.emit_after_ms is not None and ts_ms > self.emit_after_ms
            if missed and row.symbol in self.symbols and row.execType != "Funding":
                return [Filled(self._fill(row, exec_id, None))]
            return []
        if row.symbol not in self.symbols:
            self.foreign_fills += 1
            return []
        if row.execType == "Funding":
            return self._funding(row, ts_ms)
        order = self._order_of(row) or self._revived(row.orderLinkId)
        fill = self._fill(row, exec_id, order)
        self._move(fill)
        if order is None:
            self.foreign_fills += not self.is_own(fill.order_id) and fill.cause == "order"
            return [Filled(fill)]
        grown = self._grow(order, row, order.emitted_qty + fill.qty)
        order.emitted_qty += fill.qty
        order.cum_qty = max(order.cum_qty, order.emitted_qty)
        order.state = _S.PARTIAL
        return [*grown, Filled(fill), *self._name(order, row.orderId), *self._settle(order, ts_ms)]

    def _funding(self, row: wire.ExecutionFields, ts_ms: int) -> list[VenueEvent]:
        amount = funding_quote(row)
        if amount is None:  # the next reading of the wallet shows it
            self.amounts_unknown += 1
            return []
        return [FundingPaid(ts_ms, row.symbol, amount)]

    def believe(self, symbol: str, qty: Decimal, before_ms: int) -> None:
        """Take a position over that no execution explains; late executions of before do not move it again."""
        moved = qty - self.positions.get(symbol, ZERO)
        self.positions[symbol] = qty
        self._believed[symbol] = before_ms, moved

    def _move(self, fill: Fill) -> None:
        signed = sign(fill.side) * fill.qty
        before_ms, believed = self._believed.get(fill.symbol, (0, ZERO))
        if fill.ts_ms < before_ms:
            seen = closing(signed, -believed)
            self._believed[fill.symbol] = before_ms, believed - seen
            signed -= seen
        self.positions[fill.symbol] = self.positions.get(fill.symbol, ZERO) + signed

    def _fill(self, row: wire.ExecutionFields, exec_id: str, order: SentOrder | None) -> Fill:
        qty, price = number(row.execQty), number(row.execPrice)
        fee = fee_quote(row, self._quote)
        self.fees_in_other_coins += is_other_coin(row, self._quote)
        self.amounts_unknown += fee is None
        return Fill(
            ts_ms=int(row.execTime),
            symbol=row.symbol,
            side="Buy" if row.side == "Buy" else "Sell",
            qty=qty,
            price=price,
            fee_quote=fee if fee is not None else ZERO,
            order_id=order.order_id if order is not None else row.orderLinkId or row.orderId,
            exec_id=exec_id,
            maker=row.isMaker,
            cause=cause_of(row) if order is None else "order",
            fee_known=fee is not None,
        )
