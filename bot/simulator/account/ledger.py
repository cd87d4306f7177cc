"""What an account has done: orders, executions, closed profits, cash movements, each kept up to a bound.

Open orders are never forgotten. Queries answer as Bybit's do: newest first, by page, an id beats every
other filter, a cancelled order without a fill leaves the history after a day.
https://bybit-exchange.github.io/docs/v5/order/open-order and .../order/order-list
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

import msgspec

from bot.bybit.wire import ClosedPnlRow, ExecutionPush, TransactionRow
from bot.exchange.orders import ExchangeOrder
from bot.simulator.account.access import RequestRefused
from bot.simulator.account.paging import DAY_MS, limit_of, page, span

KEPT = 20_000
"""Rows of each history, and closed orders."""
RECENT_CLOSED = 500
"""Closed orders that ``realtime`` with ``openOnly=1`` looks back on."""
_SHORT_LIVED = frozenset({"Cancelled", "Rejected", "Deactivated"})
Params = Mapping[str, object]
Row = TypeVar("Row")


class Kept(msgspec.Struct):
    """An order as it last was, and its place in the order of creation."""

    place: int
    order: ExchangeOrder
    ended: bool = False

    @property
    def open(self) -> bool:
        """True while the order may still trade or trigger (``Triggered`` lasts only a moment)."""
        return self.order.open or self.order.status == "Triggered"


class Orders:
    """All orders of an account, in the order of their creation."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._places = 0
        self._all: dict[str, Kept] = {}
        self._open: dict[str, Kept] = {}
        self._links: dict[str, str] = {}
        self._closed: deque[str] = deque()
        self._only_in_history: set[str] = set()
        """Orders that were closed when the venue restarted last: ``realtime`` has lost them."""

    def note(self, order: ExchangeOrder) -> None:
        """Store the present state of an order."""
        known = self._all.get(order.order_id)
        if known is None:
            self._places += 1
            known = self._all[order.order_id] = Kept(self._places, order)
            if order.link_id:
                self._links[order.link_id] = order.order_id
        known.order = order
        if known.open:
            self._open[order.order_id] = known
        elif not known.ended:
            known.ended = True
            self._open.pop(order.order_id, None)
            self._closed.append(order.order_id)
            self._forget()

    def _forget(self) -> None:
        while len(self._closed) > self._kept:
            name = self._closed.popleft()
            self._only_in_history.discard(name)
            gone = self._all.pop(name, None)
            if gone is not None and self._links.get(gone.order.link_id) == gone.order.order_id:
                del self._links[gone.order.link_id]

    def restarted(self) -> None:
        """Drop closed orders from ``realtime``, as a restart of the venue does; the history keeps them."""
        self._only_in_history = {name for name, kept in self._all.items() if not kept.open}

    def find(self, order_id: str, link_id: str) -> ExchangeOrder | None:
        """Return the order with this id or, if no id is given, with this link id; open or closed."""
        name = order_id or self._links.get(link_id, "")
        known = self._all.get(name)
        return None if known is None else known.order

    def realtime(self, params: Params) -> tuple[list[ExchangeOrder], str]:
        """``GET /v5/order/realtime``: open orders, or with ``openOnly=1`` the last closed ones."""
        limit = limit_of(params, 50, 20)
        asked = self._asked(params)
        if asked is not None:
            asked = [kept for kept in asked if kept.order.order_id not in self._only_in_history]
            return _page(asked, limit, params, self._all)
        if not any(params.get(each) for each in ("symbol", "baseCoin", "settleCoin")):
            raise RequestRefused(10001, "params error: one of symbol, baseCoin, settleCoin is required")
        wanted = _filter(params)
        if str(params.get("openOnly") or "0") == "0":
            rows = sorted((k for k in self._open.values() if wanted(k.order)), key=_place, reverse=True)
            return _page(rows, limit, params, self._all)
        lost = self._only_in_history
        names = (name for name in reversed(self._closed) if name in self._all and name not in lost)
        closed = (self._all[name] for name in names)
        recent = _take((k for k in closed if wanted(k.order)), RECENT_CLOSED)
        return _page(sorted(recent, key=_place, reverse=True), limit, params, self._all)

    def history(self, params: Params, now_ms: int) -> tuple[list[ExchangeOrder], str]:
        """``GET /v5/order/history``: closed orders of the last days."""
        limit = limit_of(params, 50, 20)
        asked = self._asked(params)
        if asked is not None:
            shown = [k for k in asked if not k.open and not _lapsed(k.order, now_ms)]
            return _page(shown, limit, params, self._all)
        start_ms, end_ms = span(params, now_ms)
        wanted = _filter(params)
        state = params.get("orderStatus")
        rows = (
            k
            for k in reversed(self._all.values())
            if not k.open
            and start_ms <= k.order.created_ms <= end_ms
            and wanted(k.order)
            and not _lapsed(k.order, now_ms)
            and (not state or k.order.status == state)
        )
        return _page(rows, limit, params, self._all)

    def _asked(self, params: Params) -> list[Kept] | None:
        """Return the order (at most one) that an id in ``params`` names; None if ``params`` has no id."""
        order_id, link_id = str(params.get("orderId") or ""), str(params.get("orderLinkId") or "")
        if not order_id and not link_id:
            return None
        known = self._all.get(order_id or self._links.get(link_id, ""))
        return [] if known is None else [known]


def _place(kept: Kept) -> int:
    return kept.place


def _take(rows: Iterable[Kept], most: int) -> list[Kept]:
    taken = []
    for row in rows:
        taken.append(row)
        if len(taken) == most:
            break
    return taken


def _page(
    rows: Iterable[Kept], limit: int, params: Params, everyone: Mapping[str, Kept]
) -> tuple[list[ExchangeOrder], str]:
    def after(name: str, created_ms: int) -> Callable[[Kept], bool]:
        last = everyone.get(name)
        if last is None:  # forgotten meanwhile
            return lambda kept: kept.order.created_ms < created_ms
        place = last.place
        return lambda kept: kept.place < place

    def name(kept: Kept) -> str:
        return f"{kept.order.order_id}:{kept.order.created_ms}"

    taken, cursor = page(rows, limit, str(params.get("cursor") or ""), name, after)
    return [kept.order for kept in taken], cursor


def _filter(params: Params) -> Callable[[ExchangeOrder], bool]:
    symbol, base, settle = params.get("symbol"), params.get("baseCoin"), params.get("settleCoin")
    kind = params.get("orderFilter")

    def wanted(order: ExchangeOrder) -> bool:
        if symbol:
            if order.symbol != symbol:
                return False
        elif (base and order.symbol != f"{base}USDT") or (settle and settle != "USDT"):
            return False
        conditional = bool(order.trigger_price)
        return not kind or (kind == "Order" and not conditional) or (kind != "Order" and conditional)

    return wanted


def _lapsed(order: ExchangeOrder, now_ms: int) -> bool:
    """Return True if an order ended without a fill more than a day ago: the history no longer shows it."""
    return order.status in _SHORT_LIVED and not order.cum_exec_qty and order.updated_ms < now_ms - DAY_MS


class HistoryEntry(msgspec.Struct, Generic[Row], frozen=True):
    """One entry of a history: its sequence number, its time, its row."""

    place: int
    ts_ms: int
    row: Row


class RecentRows(Generic[Row]):
    """Rows in the order of their events; beyond a bound the oldest are dropped."""

    def __init__(self, kept: int = KEPT) -> None:
        self._rows: deque[HistoryEntry[Row]] = deque(maxlen=kept)
        self._places = 0

    def __iter__(self) -> Iterator[Row]:
        return (entry.row for entry in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def note(self, ts_ms: int, row: Row) -> None:
        """Add a row."""
        self._places += 1
        self._rows.append(HistoryEntry(self._places, ts_ms, row))

    def page(
        self, params: Params, wanted: Callable[[Row], bool], times: tuple[int, int] | None, limit: int
    ) -> tuple[list[Row], str]:
        """The newest rows that are wanted, within ``times`` if given."""
        first_ms, last_ms = times if times is not None else (0, 1 << 62)
        rows = (e for e in reversed(self._rows) if first_ms <= e.ts_ms <= last_ms and wanted(e.row))

        def after(place: str, _: int) -> Callable[[HistoryEntry[Row]], bool]:
            if not place.isdecimal():
                raise RequestRefused(10001, "params error: cursor invalid")
            number = int(place)
            return lambda entry: entry.place < number

        taken, cursor = page(
            rows, limit, str(params.get("cursor") or ""), lambda entry: f"{entry.place}:1", after
        )
        return [entry.row for entry in taken], cursor


class AccountRecords:
    """The four histories of one account."""

    def __init__(self, kept: int = KEPT) -> None:
        self.orders = Orders(kept)
        self.executions: RecentRows[ExecutionPush] = RecentRows(kept)
        self.closed: RecentRows[ClosedPnlRow] = RecentRows(kept)
        self.log: RecentRows[TransactionRow] = RecentRows(kept)

    def execution_list(self, params: Params, now_ms: int) -> tuple[list[ExecutionPush], str]:
        """``GET /v5/execution/list``: 1 to 100 (50) rows, newest first; ids beat the other filters."""
        limit = limit_of(params, 100, 50)
        order_id, link_id = params.get("orderId"), params.get("orderLinkId")
        if order_id:
            return self.executions.page(params, lambda row: row.orderId == order_id, None, limit)
        if link_id:
            return self.executions.page(params, lambda row: row.orderLinkId == link_id, None, limit)
        symbol, base, kind = params.get("symbol"), params.get("baseCoin"), params.get("execType")
        settle = params.get("settleCoin")

        def wanted(row: ExecutionPush) -> bool:
            return (
                (not symbol or row.symbol == symbol)
                and (not base or row.symbol == f"{base}USDT")
                and (not kind or row.execType == kind)
                and (not settle or settle == "USDT")
            )

        return self.executions.page(params, wanted, span(params, now_ms), limit)

    def closed_list(self, params: Params, now_ms: int) -> tuple[list[ClosedPnlRow], str]:
        """``GET /v5/position/closed-pnl``: 1 to 100 (50) rows, newest first."""
        symbol = params.get("symbol")
        limit = limit_of(params, 100, 50)
        return self.closed.page(
            params, lambda row: not symbol or row.symbol == symbol, span(params, now_ms), limit
        )

    def transactions(self, params: Params, now_ms: int) -> tuple[list[TransactionRow], str]:
        """``GET /v5/account/transaction-log``: 1 to 50 (20) rows; of the last day if no time is given."""
        limit = limit_of(params, 50, 20)
        kind, coin, base = params.get("type"), params.get("currency"), params.get("baseCoin")

        def wanted(row: TransactionRow) -> bool:
            return (
                (not kind or row.type == kind)
                and (not coin or row.currency == coin)
                and (not base or row.symbol == f"{base}USDT")
            )

        return self.log.page(params, wanted, span(params, now_ms, default_days=1), limit)
