"""Carries out a fault plan at the hooks of ``hooks.FaultHooks``, and faults posted while it runs.

Faults of messages are drawn for each message. Faults of the exchange itself (its clock, its rules, its
maintenance, somebody else's orders) begin and end by the clock: ``run`` waits for the next such moment.
"""

import asyncio
import contextlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from bot.bybit.serve import envelope
from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.faults.order_timer import OrderTimer
from bot.simulator.faults.plan import Fault, FaultPlan, Place, RunningFault, first
from bot.simulator.faults.world import World
from bot.simulator.ws.connection import Connection

_SWALLOWS = frozenset(
    {"drop", "delay", "duplicate", "reorder", "truncate", "conflict", "lost_answer", "fields"}
)
_DEAF = frozenset({"mute", "stall"})
_INSTEAD = frozenset(
    {"error", "html", "rate_limit", "forbidden", "slow", "lost_request", "maintenance", "restart"}
)
_AFTERWARDS = frozenset({"lost_answer", "truncate", "missing_bars", "fields"})
_CLOSED_DOOR = frozenset({"refuse", "forbidden", "maintenance", "restart"})
_HTML = b"<html><head><title>Bybit</title></head><body>The site is under maintenance.</body></html>"
_MAX_POSTED = 10_000


class PlannedFaults(FaultHooks):
    """A fault plan in action.

    Args:
        plan: the faults from the start.
        now_s: a steady time in seconds that runs with the event loop's.

    Attributes:
        world: the object that faults of the exchange act on; None: such faults are refused.
    """

    def __init__(self, plan: FaultPlan, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self._seed = plan.seed
        self._posted = 0
        self._connections: dict[Connection, bool] = {}
        """Open connections; True: its socket is not read."""
        self._begun: set[str] = set()
        self._changed = asyncio.Event()
        """Set when ``run`` must look for the next moment anew: a fault or a connection came, or one ended."""
        self.world: World | None = None
        self.timer: OrderTimer | None = None
        """Called with every websocket message, if set."""
        self.faults: list[RunningFault] = []
        self.counts: Counter[str] = Counter()
        """Kind → how often it has happened."""
        for fault in plan.fault:
            self.post(fault)

    def post(self, fault: Fault) -> str:
        """Start a fault, with its times counted from now; return its name."""
        name = f"f{self._posted}"
        self._posted += 1
        self.faults = [each for each in self.faults if each.ends_s > self.now_s() or each.fault.once]
        self.faults = [*self.faults[-_MAX_POSTED:], RunningFault(fault, name, str(self._seed), self.now_s())]
        self._changed.set()
        return name

    def clear(self) -> None:
        """End every fault and undo its changes."""
        for each in self.faults:
            self._end(each)
        self.faults = []
        self._listen()

    # Hooks

    def rest(self, request: web.Request) -> FaultAction | None:
        """Refuse, lose or delay a request before it is handled."""
        hit = self._strike(_INSTEAD, "rest", request.path)
        if hit is None:
            return None
        fault = hit.fault
        match fault.kind:
            case "slow":
                return FaultAction(delay_s=hit.wait_s())
            case "lost_request":
                return FaultAction(status=0)
            case "error":
                return FaultAction(status=fault.status or 502, body=b"Bad Gateway", content_type="text/plain")
            case "html":
                return FaultAction(status=fault.status or 200, body=_HTML, content_type="text/html")
            case "forbidden":
                return FaultAction(status=403, body=b"access too frequent", content_type="text/plain")
            case "rate_limit":
                return self._refusal(10006, "Too many visits. Exceeded the API Rate Limit.")
            case _:
                return self._refusal(10016, "Internal System Error.")

    def _refusal(self, code: int, text: str) -> FaultAction:
        time_ms = self.world.now_ms() if self.world is not None else 0
        return FaultAction(body=envelope({}, code, text, time_ms=time_ms))

    def answered(self, request: web.Request, body: bytes) -> bytes | FaultAction:
        """Lose, cut or thin out the answer to a request that has been handled."""
        hit = self._strike(_AFTERWARDS, "rest", request.path)
        if hit is None:
            return body
        match hit.fault.kind:
            case "lost_answer":
                return FaultAction(status=0)
            case "truncate":
                return body[: len(body) // 2]
            case "fields":
                return reshaped(body, hit.fault.changes)
            case _:
                return _without_rows(body, hit) if request.path.endswith("kline") else body

    def order_action(self, op: str) -> tuple[int, str] | None:
        """Refuse an order action: its code and words."""
        hit = self._strike(frozenset({"reject"}), "any", op)
        return None if hit is None else (hit.fault.code, hit.fault.words)

    def ws_connect(self, kind: str) -> FaultAction | None:
        """Refuse a websocket."""
        place = _place(kind)
        hit = self._strike(_CLOSED_DOOR, place, "connect")
        if hit is None:
            return None
        status = 403 if hit.fault.kind == "forbidden" else hit.fault.status or 503
        return FaultAction(status=status, body=b"refused", content_type="text/plain")

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        """Lose, delay, repeat, shuffle, cut or contradict a message that leaves."""
        if not self.faults:
            return None
        place = _place(getattr(connection, "stream", ""))
        now_s = self.now_s()
        for each in self.faults:
            fault = each.fault
            deaf = fault.kind in _DEAF and not (fault.pongs and topic == "op:ping")
            if deaf and each.strikes(now_s, place, topic):
                self._deafened(fault)
                return []
        hit = self._strike(_SWALLOWS, place, topic)
        if hit is None:
            return None
        match hit.fault.kind:
            case "delay":
                return [(hit.wait_s(), text)]
            case "reorder":
                return [(hit.rng.random() * hit.fault.delay_ms / 1000.0, text)]
            case "duplicate":
                gap_s = hit.fault.delay_ms / 1000.0
                return [(0.0, text)] + [(gap_s * (n + 1), text) for n in range(hit.fault.copies)]
            case "truncate":
                return [(0.0, text[: len(text) // 2])]
            case "conflict":
                return _contradicted(text, hit)
            case "fields":
                return [(0.0, reshaped(text.encode(), hit.fault.changes).decode())]
            case _:
                return []

    def ws_in(self, connection: object, text: str) -> str | None:
        """Lose what a client says."""
        if self.timer is not None:
            self.timer.came(getattr(connection, "stream", ""), text)
        place = _place(getattr(connection, "stream", ""))
        now_s = self.now_s()
        for each in self.faults:
            fault = each.fault
            deaf = fault.kind in _DEAF and not (fault.pongs and '"ping"' in text)
            if (deaf or fault.kind == "lost_request") and each.strikes(now_s, place, "in"):
                self._deafened(fault)
                return None
        return text

    def _deafened(self, fault: Fault) -> None:
        """Count a message that nobody heard; a fault with a count may end with it."""
        self.counts[fault.kind] += 1
        if fault.count is not None:
            self._changed.set()

    def leaves(self, connection: Connection, text: str) -> None:
        """A message is about to be written to the socket."""
        if self.timer is not None:
            self.timer.leaves(connection.stream, text)

    def opened(self, connection: Connection) -> None:
        """A websocket has been opened."""
        self._connections[connection] = False
        self._changed.set()

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.pop(connection, None)

    def connected(self) -> dict[str, int]:
        """Open websockets by kind."""
        return dict(Counter(str(_place(each.stream)) for each in self._connections))

    def _strike(self, kinds: frozenset[str], on: Place, name: str) -> RunningFault | None:
        hit = first(self.faults, kinds, self.now_s(), on, name)
        if hit is not None:
            self.counts[hit.fault.kind] += 1
        return hit

    # By the clock

    async def run(self) -> None:
        """Begin and end faults by the clock until cancelled."""
        while True:
            self._changed.clear()
            self.step()
            wait_s = self._next_s() - self.now_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s if math.isfinite(wait_s) else None):
                    await self._changed.wait()

    def _next_s(self) -> float:
        """Return when the next fault begins or ends by the clock; inf if none does."""
        moments = [math.inf]
        for each in self.faults:
            if each.fault.once and each.name not in self._begun:
                moments.append(each.started_s)
            if each.fault.once or each.fault.kind == "stall":
                now_s = self.now_s()
                moments += [at_s for at_s in (each.started_s, each.ends_s) if at_s > now_s]
        return min(moments)

    def step(self) -> None:
        """Begin and end the faults that are due now."""
        now_s = self.now_s()
        for each in list(self.faults):
            if each.fault.once and each.name not in self._begun and now_s >= each.started_s:
                self._begun.add(each.name)
                self.counts[each.fault.kind] += 1
                self._begin(each.fault)
            if each.fault.once and now_s >= each.ends_s:
                self._end(each)
                self.faults.remove(each)
        self._listen()

    def _listen(self) -> None:
        """Stop reading the sockets that a stall covers; read the others again."""
        now_s = self.now_s()
        stalls = [each for each in self.faults if each.fault.kind == "stall" and each.active(now_s)]
        for connection, deaf in list(self._connections.items()):
            place = _place(connection.stream)
            wanted = any(not s.fault.pongs and s.fault.on in ("any", place) for s in stalls)
            transport = connection.request.transport
            if wanted == deaf or transport is None or transport.is_closing():
                continue
            self._connections[connection] = wanted
            if wanted:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def _begin(self, fault: Fault) -> None:
        match fault.kind:
            case "reset":
                self._cut(fault.on)
            case "maintenance" | "restart":
                self._cut(fault.on)
                if self.world is not None:
                    self.world.begin(fault)
            case "refuse" | "forbidden":
                pass
            case _:
                assert self.world is not None, "an exchange binds its faults before it runs"
                self.world.begin(fault)

    def _end(self, each: RunningFault) -> None:
        if each.name in self._begun:
            self._begun.discard(each.name)
            if self.world is not None:
                self.world.end(each.fault)

    def _cut(self, on: Place) -> None:
        for connection in list(self._connections):
            if on in ("any", _place(connection.stream)):
                connection.abort()


def _place(stream: str) -> Place:
    if stream == "private":
        return "private"
    return "trade" if stream == "trade" else "public"


def _without_rows(body: bytes, hit: RunningFault) -> bytes:
    """Return a kline answer without some of its closed rows."""
    answer = json.loads(body)
    rows: Sequence[list[str]] = answer.get("result", {}).get("list") or ()
    share = hit.fault.rate if hit.fault.rate < 1.0 else 0.5
    kept = [row for i, row in enumerate(rows) if i == 0 or hit.rng.random() >= share]
    if len(kept) == len(rows):
        return body
    answer["result"]["list"] = kept
    return json.dumps(answer, separators=(",", ":")).encode()


def reshaped(body: bytes, changes: Mapping[str, str]) -> bytes:
    """Return a JSON text in which every field of a name in ``changes`` has that text, or is gone.

    A text that begins with ``[`` or ``{`` stands for that JSON.
    """
    try:
        values = {
            name: json.loads(text) if text[:1] in ("[", "{") else text for name, text in changes.items()
        }
        return json.dumps(_reshaped(json.loads(body), values), separators=(",", ":")).encode()
    except ValueError:
        return body


def _reshaped(value: object, changes: Mapping[str, object]) -> object:
    if isinstance(value, list):
        return [_reshaped(each, changes) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _reshaped(each, changes) for name, each in value.items() if changes.get(name) != "gone"}
    return kept | {name: changes[name] for name in kept.keys() & changes.keys()}


def _contradicted(text: str, hit: RunningFault) -> list[tuple[float, str]] | None:
    """Return a confirmed candle, and later the same candle with its high or its low as close."""
    message = json.loads(text)
    rows = message.get("data")
    if not isinstance(rows, list) or not any(isinstance(r, dict) and r.get("confirm") for r in rows):
        return [(0.0, text)]
    for row in rows:
        row["close"] = row["low"] if row["close"] != row["low"] else row["high"]
    other = json.dumps(message, separators=(",", ":"))
    return [(0.0, text), (hit.wait_s(), other)]
