"""Pages of what happened: fills, orders, events and closed trades, newest first."""

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from itertools import takewhile

import msgspec

from bot import metrics
from bot.adapters.state.index import JournalIndex
from bot.domain.ledger import Fill
from bot.domain.money import ZERO

Row = dict[str, object]
LEVELS = ("info", "warning", "error")


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows are asked for: at most ``limit``, older than the row with the id ``before``.

    ``level`` is the least severe level of events; empty texts ask for everything.
    """

    limit: int = 100
    before: int | None = None
    symbol: str = ""
    level: str = ""
    kind: str = ""


class Page(msgspec.Struct):
    """Rows, newest first, and whether there are older ones."""

    rows: Sequence[Row]
    more: bool


def fills(index: JournalIndex, query: Query) -> Page:
    """Return executions of ours, each with the reason of its order."""
    where, values = _where(query, ["f.symbol = ?"] if query.symbol else [], [query.symbol], "f.rowid")
    return _page(index.fill_rows(where, values), query)


def orders(index: JournalIndex, query: Query) -> Page:
    """Return orders, open and ended."""
    where, values = _where(query, ["symbol = ?"] if query.symbol else [], [query.symbol])
    return _page(index.order_rows(where, values), query)


def events(index: JournalIndex, query: Query) -> Page:
    """Return events; those of one symbol include those of the whole account."""
    terms: list[str] = []
    given: list[object] = []
    if query.symbol:
        terms.append("symbol IN (?, '')")
        given.append(query.symbol)
    if query.kind:
        terms.append("kind = ?")
        given.append(query.kind)
    if query.level in LEVELS[1:]:
        terms.append("level IN (?, ?)" if query.level == "warning" else "level = ?")
        given += ["warning", "error"] if query.level == "warning" else ["error"]
    where, values = _where(query, terms, given)
    return _page(index.rows("events", where, values), query)


def _where(
    query: Query, terms: list[str], given: list[object], rowid: str = "rowid"
) -> tuple[str, list[object]]:
    """Return the condition in SQL, whose words are all ours, and the values that it binds."""
    values: list[object] = [each for each in given if each != ""]
    if query.before is not None:
        terms, values = [*terms, f"{rowid} < ?"], [*values, query.before]
    condition = f"WHERE {' AND '.join(terms)} " if terms else ""
    return f"{condition}ORDER BY {rowid} DESC LIMIT ?", [*values, query.limit + 1]


def _page(rows: list[Row], query: Query) -> Page:
    return Page([plain(row) for row in rows[: query.limit]], len(rows) > query.limit)


class Trades:
    """Closed trades and open positions of one account, worked out again only after a new fill."""

    def __init__(self) -> None:
        self.opened_ms: dict[str, int] = {}
        """When each open position was opened."""
        self._rows: list[Row] = []
        self._of: object = None

    def refresh(self, index: JournalIndex) -> None:
        """Take the fills and payments that came since the last call."""
        of = (index.journal.folder, *index.newest("fills", "funding"))
        if of == self._of:
            return
        self._of = of
        rows = index.fill_rows("ORDER BY f.rowid")
        fills_ = [Fill(**{name: row[name] for name in _FILL}) for row in rows]  # type: ignore[arg-type]
        closed = metrics.round_trips(fills_, funding=index.funding())
        by_symbol: dict[str, deque[Row]] = {}
        for row in rows:
            by_symbol.setdefault(str(row["symbol"]), deque()).append(row)
        self._rows = [
            {"id": number, **_told(trade, by_symbol[trade.symbol])} for number, trade in enumerate(closed, 1)
        ]
        self.opened_ms = _opened(fills_)

    def page(self, query: Query) -> Page:
        """Return closed trades, each with its reasons, costs and result."""
        before = query.before
        found = [
            row
            for row in reversed(self._rows)
            if (not query.symbol or row["symbol"] == query.symbol) and (before is None or row["id"] < before)  # type: ignore[operator]
        ]
        return Page(found[: query.limit], len(found) > query.limit)

    def all(self) -> list[Row]:
        """Return every closed trade, oldest first."""
        return self._rows


_FILL = tuple(name for name in Fill.__struct_fields__ if name != "fee_known")


def _told(trade: metrics.Trade, fills_of: deque[Row]) -> Row:
    """Return a trade with the reasons of its first and last order, and what slippage cost in it."""
    while fills_of and int(fills_of[0]["ts_ms"]) < trade.entry_ms:  # type: ignore[call-overload]
        fills_of.popleft()
    of = list(takewhile(lambda row: int(row["ts_ms"]) <= trade.exit_ms, fills_of))  # type: ignore[call-overload]
    entry = next((row for row in of if row["side"] == trade.side), None)
    exit_ = next((row for row in reversed(of) if row["side"] != trade.side), None)
    slippage = sum((Decimal(str(row["slippage_quote"])) for row in of), ZERO)
    told = plain(msgspec.structs.asdict(trade))
    for name in ("mae_frac", "mfe_frac", "bars_held"):
        del told[name]
    return told | {
        "return_frac": trade.return_frac,
        "slippage_quote": str(slippage),
        "entry_reason": entry["reason"] if entry is not None else None,
        "exit_reason": exit_["reason"] if exit_ is not None else None,
    }


def _opened(fills_: Sequence[Fill]) -> dict[str, int]:
    held: dict[str, Decimal] = {}
    opened: dict[str, int] = {}
    for fill in fills_:
        before = held.get(fill.symbol, ZERO)
        after = before + (fill.qty if fill.side == "Buy" else -fill.qty)
        held[fill.symbol] = after
        if not after:
            opened.pop(fill.symbol, None)
        elif not before or (before > ZERO) != (after > ZERO):
            opened[fill.symbol] = fill.ts_ms
    return opened


def plain(row: Row) -> Row:
    """Return a row as JSON has it: a Decimal becomes text without an exponent."""
    return {name: format(each, "f") if isinstance(each, Decimal) else each for name, each in row.items()}
