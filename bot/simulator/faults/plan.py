"""A fault plan: what goes wrong, where, when and how often, drawn from a seed.

A plan is TOML or JSON: a ``seed`` and a list ``fault``. Each fault has its own random stream, so adding one
does not reshuffle the others::

    seed = 7

    [[fault]]
    kind = "drop"          # one message in ten of the private stream is lost
    on = "private"
    rate = 0.1

    [[fault]]
    kind = "stall"         # after 10 s every public connection is half-open for 60 s
    on = "public"
    from_s = 10
    for_s = 60

Times are seconds of the machine since the exchange started, or since the fault was posted.
"""

import json
import math
import random
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args

import msgspec

from bot.domain.errors import BadFile, BadInput
from bot.settings.text import read_text

Place = Literal["any", "rest", "public", "private", "trade"]
MessageKind = Literal[
    "drop", "delay", "duplicate", "reorder", "truncate", "mute", "stall", "conflict", "lost_request"
]
RestKind = Literal["slow", "error", "html", "rate_limit", "forbidden", "lost_answer", "missing_bars"]
OnceKind = Literal[
    "reset",
    "refuse",
    "maintenance",
    "skew",
    "status",
    "rules",
    "thin",
    "spike",
    "foreign_order",
    "adl",
    "liquidation",
    "account",
    "restart",
]
ShapeKind = Literal["fields", "reject"]
Kind = MessageKind | RestKind | OnceKind | ShapeKind

KINDS: dict[str, str] = {
    "drop": "a message that leaves on a websocket is lost",
    "delay": "it leaves delay_ms (up to jitter_ms more) later",
    "duplicate": "it leaves copies times more, delay_ms apart",
    "reorder": "it waits up to delay_ms, others overtake it",
    "truncate": "it, or a REST answer, is cut in the middle",
    "mute": "the stream sends nothing, pongs neither, and hears nothing; the connection stays open",
    "stall": "as mute, and the socket is not read any more: half-open; `pongs = true` lets pongs through",
    "conflict": "a second confirm:true with another close follows a confirmed candle after delay_ms",
    "lost_request": "a request, or a message from a client, is lost before it is handled",
    "slow": "a REST answer comes delay_ms (up to jitter_ms more) later",
    "error": "REST answers HTTP status (default 502) without handling the request",
    "html": "REST answers an HTML page with HTTP status (default 200)",
    "rate_limit": "REST answers retCode 10006",
    "forbidden": "REST answers HTTP 403, websockets are refused",
    "lost_answer": "a request is handled and its answer lost: the connection closes, or the reply is dropped",
    "missing_bars": "REST klines lack the rows that the fault's random stream picks",
    "reset": "open connections are cut at once, at from_s",
    "refuse": "new websockets are refused with HTTP 503",
    "maintenance": "REST answers 10016, websockets are closed and refused",
    "skew": "the announced clock is skew_ms off",
    "status": "a symbol's status becomes status_text at from_s, and is Trading again after for_s",
    "rules": "a symbol's instrument fields become changes at from_s",
    "thin": "an order meets no more than qty at each price of the book: partial fills",
    "spike": "others trade once at price_frac of last: resting orders fill, stops fire, no candle shows it; "
    "accounts that closed bars fill (--fills bars) do not see it",
    "foreign_order": "an order that is not the bot's appears in the account: side, qty, price_frac of last",
    "adl": "a position is reduced by auto-deleveraging, qty or all of it",
    "liquidation": "a position is liquidated",
    "account": "switches of every account become changes at from_s, such as fee_coin = MNT, demo = true",
    "restart": "connections are cut and REST answers 10016; closed orders are then only in the history",
    "fields": "fields of a message or a REST answer become changes (a text, JSON, or `gone` to leave it out)",
    "reject": "an order action (match: order.create and so on) is refused with retCode code and words",
}
_ONCE = frozenset(get_args(OnceKind))
MAX_FAULTS = 1000


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. ``match`` is a glob over the REST path or the topic (``op:ping`` and so on).

    Raises:
        BadInput: a number that is not finite or out of range, or a symbol missing where one is needed.
    """

    kind: Kind
    on: Place = "any"
    match: str = "*"
    from_s: float = 0.0
    for_s: float = math.inf
    rate: float = 1.0
    count: int | None = None
    """Happens at most this many times."""
    delay_ms: float = 1_000.0
    jitter_ms: float = 0.0
    copies: int = 1
    status: int | None = None
    pongs: bool = False
    symbol: str = ""
    status_text: str = "Closed"
    side: Literal["Buy", "Sell"] = "Buy"
    qty: str = ""
    price_frac: float = 1.0
    skew_ms: int = 0
    changes: dict[str, str] = {}
    code: int = 10001
    words: str = ""

    def __post_init__(self) -> None:
        finite = (self.from_s, self.rate, self.delay_ms, self.jitter_ms, self.price_frac)
        if not all(math.isfinite(each) and each >= 0 for each in finite) or not self.for_s > 0:
            raise BadInput(f"fault {self.kind}: times, rates and delays must be finite and >= 0")
        if (
            self.rate > 1
            or self.copies < 1
            or self.copies > 100
            or (self.count is not None and self.count < 1)
        ):
            raise BadInput(f"fault {self.kind}: rate must be at most 1, copies 1 to 100, count at least 1")
        if (
            self.kind in ("status", "rules", "spike", "foreign_order", "adl", "liquidation")
            and not self.symbol
        ):
            raise BadInput(f"fault {self.kind}: names no symbol")
        if self.kind == "spike" and not self.price_frac:
            raise BadInput("fault spike: price_frac must be > 0, was 0")

    @property
    def once(self) -> bool:
        """True if the clock starts and ends it; False if it is drawn for each message."""
        return self.kind in _ONCE


class FaultPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seed and a list of faults."""

    seed: int = 0
    fault: tuple[Fault, ...] = ()


def parse_fault(value: object) -> Fault:
    """Make a fault from plain values.

    Raises:
        BadInput: an unknown kind or key, or a value of another type.
    """
    try:
        return msgspec.convert(value, Fault)
    except msgspec.ValidationError as error:
        raise BadInput(f"{error}; kinds are {', '.join(KINDS)}") from None


def read_plan(path: Path) -> FaultPlan:
    """Read a plan from a TOML or JSON file.

    Raises:
        BadFile: cannot be read, or is not a plan.
    """
    try:
        text = read_text(path)
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        plan = msgspec.convert(values, FaultPlan)
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.ValidationError as error:
        raise BadFile(f"{path}: {error}; kinds of faults are {', '.join(KINDS)}") from None
    except (ValueError, BadInput) as error:
        raise BadFile(f"{path}: {error}") from None
    if len(plan.fault) > MAX_FAULTS:
        raise BadFile(f"{path}: {len(plan.fault)} faults, at most {MAX_FAULTS} are taken")
    return plan


class RunningFault:
    """An active fault: its time window, its random stream, and how often it happened."""

    __slots__ = ("fault", "happened", "name", "rng", "started_s")

    def __init__(self, fault: Fault, name: str, seed: str, posted_s: float) -> None:
        self.fault = fault
        self.name = name
        self.rng = random.Random(f"{seed}:{name}:{fault.kind}")  # noqa: S311 (must be reproducible)
        self.started_s = posted_s + fault.from_s
        self.happened = 0

    @property
    def ends_s(self) -> float:
        """Return when it ends by itself."""
        return self.started_s + self.fault.for_s

    def active(self, now_s: float) -> bool:
        """True if its window is open and its count is not used up."""
        fault = self.fault
        return self.started_s <= now_s < self.ends_s and (fault.count is None or self.happened < fault.count)

    def strikes(self, now_s: float, on: Place, name: str) -> bool:
        """Return True if it strikes this message or request; it draws from its stream only if it could."""
        fault = self.fault
        if not self.active(now_s) or fault.on not in ("any", on) or not fnmatchcase(name, fault.match):
            return False
        if fault.rate < 1.0 and self.rng.random() >= fault.rate:
            return False
        self.happened += 1
        return True

    def wait_s(self) -> float:
        """Return ``delay_ms`` plus a random part of ``jitter_ms``, in seconds."""
        fault = self.fault
        return (fault.delay_ms + self.rng.random() * fault.jitter_ms) / 1000.0


def first(
    faults: Sequence[RunningFault], kinds: frozenset[str], now_s: float, on: Place, name: str
) -> RunningFault | None:
    """Return the first fault of ``kinds`` that strikes."""
    return next((each for each in faults if each.fault.kind in kinds and each.strikes(now_s, on, name)), None)
