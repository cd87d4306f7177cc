"""What must hold at every moment, whatever fails: each method is called when something has just happened."""

import hashlib
import math
import re
from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.sim.checks.kept import Intended, Kept
from tests.sim.checks.venue import ZERO, VenueTruth
from tests.sim.checks.verdict import Violation
from tests.sim.checks.wire import Line, Said

MAX_SIGNAL_AGE_MS = 15_000
HALT_GRACE_S = 0.25
ROUND_TRIP_S = 0.003
"""No answer comes sooner: an approval that is used again before is used twice."""
NAKED_S = 15.0
"""How long a position may be without its stop: a second to see it, and time to ask again on a bad line."""
CANCEL_S = 15.0
"""After a kill, entries of ours are gone within ten seconds of a reachable venue, and a little."""
FLAT_S = 90.0
"""After a flatten the position is closed within this time; a refused exit is sent again at a close."""
_LINK_ID = re.compile(r"[A-Za-z0-9_]{1,10}\d+-\d+-\d+")
_NUMBERS = ("qty", "price", "stopLoss", "takeProfit", "triggerPrice")


class Always:
    """The checks of every moment. ``now_s`` is the time of the story, ``now_ms`` the venue's.

    Attributes:
        violations: what did not hold, in the order it was seen.
        barred: why no entry may leave, and since when: by name of the operator's command.
        excused_ms: how far the bot's clock may be off because a fault moved the venue's.
    """

    def __init__(
        self,
        truth: VenueTruth,
        symbols: tuple[str, ...],
        now_s: Callable[[], float],
        now_ms: Callable[[], int],
        *,
        mark: Callable[[str], Decimal],
        max_position_quote: Decimal,
        max_orders_per_minute: int,
        maker: bool,
    ) -> None:
        self.truth = truth
        self.kept = Kept()
        self.violations: list[Violation] = []
        self.barred: dict[str, float] = {}
        self.excused_ms = 0.0
        self.conflicting = False
        """True once the venue confirmed candles with another close after the first."""
        self.skewed_ms: list[tuple[int, int]] = []
        """Spans of the market's time in which the venue's clock was off, with a minute around them."""
        self.smaller = False
        """True once new rules of the venue may have made an order smaller than it was approved, or its price
        better."""
        self.most = 20
        """So many violations end the run; ``enough`` is then called."""
        self.enough: Callable[[], None] = lambda: None
        self.digest = hashlib.sha256()
        self.sent: dict[str, list[float]] = {}
        """Times at which each order was written to a connection, by its id."""
        self.said = 0
        self.unheard_s: dict[str, float] = {}
        """How much longer the bot may not know that somebody took a stop away, by symbol.

        The message of it may be lost, and then the next reading of the account tells.
        """
        self.paid_quote = ZERO
        """Money that the owner of the account paid in, less what was taken out."""
        self.moved_s = 0.0
        """When something last changed in the account."""
        self._symbols, self._now_s, self._now_ms, self._mark = symbols, now_s, now_ms, mark
        self._max_position_quote = max_position_quote
        self._max_orders_per_minute = max_orders_per_minute
        # A maker places its target anew until the deadline of the execution, 20 s after the decision.
        self._max_age_ms = MAX_SIGNAL_AGE_MS + (20_000 if maker else 0)
        self._entries: deque[tuple[float, str]] = deque()
        self._naked_s: dict[str, float] = {}
        self._fields: dict[str, tuple[Any, ...]] = {}
        self._executions = 0
        self._worst: dict[str, tuple[Decimal, Decimal]] = {}
        self._able_since_s = math.inf
        self._accepted: set[str] = set()

    def broke(self, number: int, words: str) -> None:
        """Note that an invariant does not hold."""
        self.violations.append(Violation(number, self._now_s(), words))
        self.note("violation", f"{number} {words}")
        if len(self.violations) >= self.most:
            self.enough()

    def note(self, kind: str, words: str) -> None:
        """Enter a fact into the digest of the run."""
        self.digest.update(f"{self._now_s():.6f} {kind} {words}\n".encode())

    # The disk

    def durable(self, path: Path, data: bytes) -> None:
        """Bytes have become sure."""
        self.kept.add(path, data)

    # The wire

    def wrote(self, line: Line, data: bytes) -> list[Said]:
        """The bot writes bytes to a connection; return the messages that they end."""
        every = list(line.feed(data))
        for said in every:
            self.said += 1
            self.note("said", said.text if said.what.startswith(("GET", "POST")) else said.what + said.text)
            for order in _orders(said):
                self._leaves(order)
        return every

    def _leaves(self, order: dict[str, Any]) -> None:
        """An order leaves the process."""
        link_id, now_s = str(order.get("orderLinkId", "")), self._now_s()
        if not _LINK_ID.fullmatch(link_id) or len(link_id) > 36 or not self.truth.is_ours(link_id):
            self.broke(4, f"an order leaves with the id {link_id!r}")
        for name in _NUMBERS:
            value = order.get(name)
            if value not in (None, "") and not (math.isfinite(float(value)) and float(value) >= 0):
                self.broke(21, f"{link_id} leaves with {name} {value}")
        known = self.kept.orders.get(link_id)
        if known is None:
            self.broke(5, f"{link_id} leaves, but no power-proof record has it")
        elif (wrong := self._differs(order, known)) is not None:
            self.broke(6, f"{link_id} was approved with {wrong}")
        if link_id in self._accepted:
            self.broke(6, f"{link_id} leaves again, and the venue has it already")
        first = self.sent.setdefault(link_id, [])
        if first and now_s - first[-1] < ROUND_TRIP_S:
            self.broke(6, f"{link_id} leaves twice, before any answer could have come")
        first.append(now_s)
        if not order.get("reduceOnly"):
            self._enters(link_id, known, is_first=len(first) == 1)

    def _enters(self, link_id: str, known: Intended | None, *, is_first: bool) -> None:
        now_s = self._now_s()
        for why, since_s in self.barred.items():
            if now_s > since_s + HALT_GRACE_S:
                self.broke(16, f"{link_id} leaves {now_s - since_s:.3f} s after {why}")
        if known is not None:
            age_ms = self._now_ms() - known.decided_ms
            if age_ms > self._max_age_ms + 200 + self.excused_ms:
                self.broke(11, f"{link_id} leaves {age_ms} ms after the close that it was decided on")
        if is_first:
            self._entries.append((now_s, link_id))
            while self._entries[0][0] <= now_s - 60.0:
                self._entries.popleft()
            if len(self._entries) > self._max_orders_per_minute:
                self.broke(7, f"{len(self._entries)} entries left within a minute")

    # The venue

    def moved(self) -> None:
        """Something changed in the account: an order, a position, the wallet."""
        self.moved_s = self._now_s()
        newest = list(self.truth.executions())[self._executions :]
        for symbol in self._symbols:
            others = (e for e in newest if not e.link_id or e.link_id in self.truth.amended)
            self._exposed(symbol, sum((e.signed_qty for e in others if e.symbol == symbol), ZERO))
        for order in self.truth.newest_orders():
            self._accepted.add(order.link_id)
        for execution in newest:
            self._executions += 1
            self.note("execution", repr(execution))

    def _exposed(self, symbol: str, by_others: Decimal) -> None:
        """Look at the worst case of a symbol, of which others' executions since the last look moved a part.

        Only what our own orders add may not pass the limit: a price or a stranger may carry a position there.
        """
        mark = self._mark(symbol)
        worst, before = self.truth.worst(symbol, own_only=True), self._worst.get(symbol, (ZERO, ZERO))
        self._worst[symbol] = worst
        # The limit is checked at the price of the decision; 3 % is what these markets move meanwhile.
        most = self._max_position_quote * Decimal("1.03") / mark
        for is_short, (now, was) in enumerate(zip(worst, before, strict=True)):
            way = -1 if is_short else 1
            if way * now > max(most, way * (was + by_others)):
                self.broke(7, f"{symbol}: {now} at {mark} is more than {self._max_position_quote}")

    def beat(self, *, is_able: bool, patience: float = 1.0) -> None:
        """Look at what lasts. ``is_able``: the bot can reach the venue; ``patience`` widens bounds."""
        now_s = self._now_s()
        self._able_since_s = min(self._able_since_s, now_s) if is_able else math.inf
        self._commanded(now_s, patience)
        for symbol in self._symbols:
            naked = bool(self.truth.position(symbol)) and not self.truth.stop(symbol)
            if not naked:
                self.unheard_s.pop(symbol, None)
            if not naked or not is_able or symbol in self.truth.strangers:
                self._naked_s.pop(symbol, None)
                continue
            most_s = NAKED_S * patience + self.unheard_s.get(symbol, 0.0)
            if now_s - self._naked_s.setdefault(symbol, now_s) > most_s:
                self._naked_s[symbol] = math.inf
                held = self.truth.position(symbol)
                self.broke(27, f"{symbol}: {held} held without a stop for {most_s} s")

    def _commanded(self, now_s: float, patience: float) -> None:
        """16, 14: what the operator asked for is done, and no crash undoes it."""
        able_s = now_s - self._able_since_s
        killed_s = now_s - self.barred.get("kill", now_s)
        entries = [o.link_id for s in self._symbols for o in self.truth.open_orders(s) if self._is_entry(o)]
        if entries and min(killed_s, able_s) > CANCEL_S * patience:
            self.broke(16, f"{entries} rest {killed_s:.0f} s after a kill")
            self.barred["kill"] = now_s
        flattened_s = now_s - self.barred.get("flatten", now_s)
        held = {s: self.truth.position(s) for s in self._symbols if self.truth.position(s)}
        if held and min(flattened_s, able_s) > FLAT_S * patience and not self.truth.strangers:
            self.broke(14, f"{held} held {flattened_s:.0f} s after a flatten")
            self.barred["flatten"] = now_s

    def _is_entry(self, order: Any) -> bool:
        return self.truth.is_ours(order.link_id) and not order.reduce_only

    def _differs(self, order: dict[str, Any], known: Intended) -> str | None:
        """Return what was approved instead; None if the order is as it was approved.

        An order that the venue refused because its rules are new leaves again, as much of it as they allow.
        """
        price, qty = order.get("price"), Decimal(order["qty"])
        rounded = qty if self.smaller and qty < known.qty else known.qty
        said = (order["symbol"], order["side"], qty, bool(order.get("reduceOnly")))
        approved = (known.symbol, known.side, rounded, known.reduce_only)
        if said != approved:
            return repr(approved)
        told, meant = (Decimal(price) if price else None), known.price
        if told == meant or (self.smaller and told and meant and (told < meant) == (said[1] == "Buy")):
            return None
        return f"price {meant}"


def _orders(said: Said) -> Iterator[dict[str, Any]]:
    """Yield the orders that a message creates."""
    if said.what == "order.create":
        yield from said.body["args"]
    elif said.what == "POST /v5/order/create":
        yield said.body
    elif said.what in ("POST /v5/order/create-batch", "order.create-batch"):
        yield from (said.body["request"] if "request" in said.body else said.body["args"][0]["request"])
