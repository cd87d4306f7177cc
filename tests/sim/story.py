"""What a seed draws: the market, the settings, and everything that happens, each from a stream of its own.

Kinds, rates and times are all drawn (swarm testing): a kind that is always there hides the bugs that need a
quiet background. Adding a draw to one stream does not move the others.
"""

import errno
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.sim.owner import ACTS as OWNER_ACTS

Act = Mapping[str, Any]
MINUTE_S = 60.0
T0_MS = 1_764_547_200_000
"""2025-12-01T00:00Z."""
HOUR_MS = 3_600_000
FORBIDDEN_S = 600.0
"""How long a client asks nothing after HTTP 403."""


@dataclass(frozen=True)
class Happening:
    """Something that happens at ``at_s`` after the start: ``kind`` says what, ``how`` the particulars."""

    at_s: float
    kind: str
    how: Act = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{key}={value}" for key, value in self.how.items() if key != "kind")
        return f"{self.at_s:8.1f} s  {self.kind}" + (f"  ({said})" if said else "")


@dataclass(frozen=True)
class Story:
    """One seed's story. ``hours`` is the phase of faults; the quiet phase comes after it."""

    seed: int
    hours: float
    symbols: tuple[str, ...]
    start_ms: int
    ticks_per_s: float
    settings: Act
    params: Mapping[str, str]
    happenings: tuple[Happening, ...]

    @property
    def end_s(self) -> float:
        """When the faults stop."""
        return self.hours * 3600.0

    def with_happenings(self, happenings: Sequence[Happening]) -> "Story":
        """Return the same story with other happenings."""
        return replace(self, happenings=tuple(happenings))


def draw(seed: int, hours: float) -> Story:
    """Return the story of a seed."""
    rng = random.Random(f"market:{seed}")
    symbols = rng.choice([("BTCUSDT",), ("BTCUSDT",), ("BTCUSDT", "ETHUSDT")])
    # Funding settles at 08:00: most stories pass it, at different times.
    before_s = rng.choice([0.2, 0.5, 0.8, 2.0]) * hours * 3600.0
    start_ms = T0_MS + 8 * HOUR_MS - int(before_s // 60) * 60_000 - rng.choice([7_000, 20_000, 43_000])
    happenings: list[Happening] = []
    for name, make in STREAMS.items():
        happenings += make(random.Random(f"{name}:{seed}"), hours * 3600.0, symbols)
    return Story(
        seed=seed,
        hours=hours,
        symbols=symbols,
        start_ms=start_ms,
        ticks_per_s=rng.choice([0.2, 0.2, 0.2, 0.5]),
        settings=_settings(random.Random(f"settings:{seed}")),
        params={
            "seed": str(seed),
            "hold_bars": str(rng.choice([1, 1, 1, 2])),
            "limit_share": rng.choice(["0", "0.3", "0.6"]),
            "stop_frac": rng.choice(["0.001", "0.02"]),
            **_orders(random.Random(f"orders:{seed}")),
        },
        happenings=tuple(sorted(happenings, key=lambda each: each.at_s)),
    )


def with_failing_write(story: Story, nth: int, *, arrives: bool) -> Story:
    """Return a story in which only the bot's ``nth`` write to the exchange breaks its connection.

    ``arrives``: the exchange still gets the bytes.
    """
    return story.with_happenings([Happening(0.0, "write_fails", {"nth": nth, "arrives": arrives})])


def _orders(rng: random.Random) -> dict[str, str]:
    """Return how many entries have orders that live as long as their position."""
    return {name: rng.choice(["0", "0.3", "0.6"]) for name in ("take_share", "trail_share")}


def _settings(rng: random.Random) -> Act:
    return {
        "execution.policy": rng.choice(["taker", "taker", "maker"]),
        "feed.quotes": rng.choice(["none", "none", "tickers"]),
        "risk.on_halt": rng.choice(["hold", "hold", "flatten"]),
        "risk.max_position_notional_quote": "25000",
        "risk.max_orders_per_minute": 20,
        "risk.max_daily_loss_frac": "0.5",
        "risk.max_drawdown_frac": "0.5",
        "daemon.on_stop": rng.choice(["hold", "hold", "flatten"]),
        "daemon.restarts_max": 1000,
        "risk.max_consecutive_rejects": rng.choice([5, 1000]),
        "venue.reconcile_ms": rng.choice([20_000, 60_000, 60_000]),
    }


# Streams of happenings

Make = Callable[[random.Random, float, tuple[str, ...]], list[Happening]]


def _messages(rng: random.Random, end_s: float, symbols: tuple[str, ...]) -> list[Happening]:
    """Faults that strike single messages, at rates from none to many, for parts of the story."""
    made = []

    def add(kind: str, places: tuple[str, ...], rates: tuple[float, ...], **more: Any) -> None:
        rate = rng.choice(rates)
        from_s = rng.uniform(0.0, end_s * 0.5)
        for_s = rng.uniform(0.2, 1.0) * end_s
        on = rng.choice(places)
        if rate:
            made.append(_fault(from_s, kind, on=on, rate=rate, for_s=for_s, **more))

    streams = ("any", "private", "public", "trade")
    for kind in ("drop", "duplicate", "reorder", "delay"):
        add(kind, streams, (0, 0, 0, 0.005, 0.05), delay_ms=rng.choice([50, 500, 3000]))
    if rng.random() < 0.15:  # orders go by REST
        made.append(_fault(0.0, "refuse", on="trade", for_s=rng.choice([0.5, 1.0]) * end_s))
    add("lost_answer", ("trade", "rest", "any"), (0, 0, 0.02, 0.2))
    add("lost_request", ("trade", "rest", "any"), (0, 0, 0.02, 0.2))
    add("error", ("rest",), (0, 0, 0.02, 0.2), status=rng.choice([500, 502, 503]))
    add("html", ("rest",), (0, 0, 0.02))
    add("truncate", ("any", "rest", "private"), (0, 0, 0.02))
    add("rate_limit", ("rest",), (0, 0, 0.05))
    add("slow", ("rest",), (0, 0, 0.1), delay_ms=rng.choice([200, 2000, 9000]))
    add("missing_bars", ("rest",), (0, 0, 0.3))
    add("conflict", ("public",), (0, 0, 0.1))
    code, words = rng.choice([(10001, "params error"), (110007, "insufficient"), (110094, "too small")])
    add("reject", ("any",), (0, 0, 0.1), match="order.create", code=code, words=words)
    topic, changes = rng.choice(
        [("execution", {"feeCurrency": ""}), ("position", {"liqPrice": "gone"}), ("order", {"new": "1"})]
    )
    add("fields", ("private",), (0, 0, 1.0), match=topic, changes=changes)
    return made


def _outages(rng: random.Random, end_s: float, symbols: tuple[str, ...]) -> list[Happening]:
    """Faults of connections and of the exchange's service, at random moments."""
    made = []
    for at_s in _moments(rng, end_s, rng.choice([0, 240, 600, 2400])):
        kind = rng.choice(
            ["reset", "stall", "refuse", "mute", "maintenance", "restart", "skew", "partition", "net_reset"]
        )
        on, for_s = rng.choice(["any", "public", "private", "trade"]), rng.choice([1, 10, 60, 180])
        if kind in ("partition", "net_reset"):
            made.append(Happening(at_s, kind, {"for_s": for_s} if kind == "partition" else {}))
        elif kind == "skew":
            made.append(_fault(at_s, kind, for_s=for_s, skew_ms=rng.choice([-3000, -400, 300, 900, 5000])))
        elif kind == "stall":
            made.append(_fault(at_s, kind, on=on, for_s=for_s, pongs=rng.random() < 0.3))
        else:
            made.append(_fault(at_s, kind, on=on, for_s=for_s))
    if rng.random() < 0.15:  # a client that is told 403 keeps away for ten minutes
        made.append(
            _fault(rng.uniform(0.0, end_s), "forbidden", on=rng.choice(["rest", "any"]), for_s=60, count=1)
        )
    return made


def _venue(rng: random.Random, end_s: float, symbols: tuple[str, ...]) -> list[Happening]:
    """What happens at the venue: rules that change, thin books, somebody else's acts in the account."""
    made = []
    for at_s in _moments(rng, end_s, rng.choice([0, 0, 600, 1800])):
        symbol = rng.choice(symbols)
        match rng.choice(
            [
                "status",
                "rules",
                "funding",
                "thin",
                "account",
                "foreign_order",
                "foreign_order",
                "adl",
                "liquidation",
            ]
        ):
            case "status":
                text = rng.choice(["Closed", "PreLaunch", "Delivering"])
                made.append(
                    _fault(at_s, "status", symbol=symbol, status_text=text, for_s=rng.choice([30, 200]))
                )
            case "rules":
                changes = rng.choice(
                    [
                        {"min_notional_quote": "50"},
                        {"max_market_qty": "0.05"},
                        {"qty_step": "0.01"},
                        {"tick_size": "5"},
                    ]
                )
                made.append(
                    _fault(at_s, "rules", symbol=symbol, changes=changes, for_s=rng.choice([60, 600]))
                )
            case "funding":
                every_ms = str(rng.choice([1, 2, 4]) * HOUR_MS)
                made.append(_fault(at_s, "rules", symbol=symbol, changes={"funding_interval_ms": every_ms}))
            case "thin":
                made.append(
                    _fault(at_s, "thin", qty=rng.choice(["0.01", "0.1"]), for_s=rng.choice([60, 300]))
                )
            case "foreign_order":
                how = {
                    "symbol": symbol,
                    "side": rng.choice(["Buy", "Sell"]),
                    "qty": rng.choice(["0.01", "0.05"]),
                }
                made.append(_fault(at_s, "foreign_order", **how, price_frac=rng.choice([0.0, 0.0, 0.9, 1.1])))
            case "account":
                changes = rng.choice(
                    [
                        {"page_max": "2"},
                        {"position_before_wallet": "false"},
                        {"post_only_refused": "Rejected"},
                    ]
                )
                made.append(_fault(at_s, "account", changes=changes, for_s=rng.choice([60, 600])))
            case "adl":
                made.append(_fault(at_s, "adl", symbol=symbol, qty=rng.choice(["", "0.01"])))
            case _:
                made.append(_fault(at_s, "liquidation", symbol=symbol))
    if rng.random() < 0.3:  # somebody takes stops away by hand
        moments = _moments(rng, end_s, end_s / 4)
        made += [Happening(at_s, "stop_removed", {"symbol": rng.choice(symbols)}) for at_s in moments]
    return made


def _owner(rng: random.Random, end_s: float, symbols: tuple[str, ...]) -> list[Happening]:
    """What the owner of the account does by hand; a margin mode comes back after a while."""
    made = []
    for at_s in _moments(rng, end_s, rng.choice([0, 0, 120, 600, 1800])):
        what, by = rng.choice(OWNER_ACTS), rng.choice([0.5, 0.9, 1.1, 2.0, 5.0])
        made.append(Happening(at_s, "owner", {"what": what, "symbol": rng.choice(symbols), "by": by}))
        if what == "margin_mode":
            made.append(Happening(at_s + rng.choice([30.0, 150.0]), "margin_mode_back"))
    return made


def _spikes(rng: random.Random, end_s: float, symbols: tuple[str, ...]) -> list[Happening]:
    """Single trades of others far from the market."""
    moments = _moments(rng, end_s, rng.choice([0, 600, 1800]))
    made = []
    for at_s in moments:
        frac = rng.choice([0.98, 0.998, 1.002, 1.02])
        made.append(_fault(at_s, "spike", symbol=rng.choice(symbols), price_frac=frac))
    return made


def _machine(rng: random.Random, end_s: float, symbols: tuple[str, ...]) -> list[Happening]:
    """What happens to the bot's machine: power, signals, standstills, its clock and its disk."""
    made = []
    for at_s in _moments(rng, end_s, rng.choice([0, 300, 900, 2700])):
        kind = rng.choice(
            ["power_cut", "power_cut", "sigkill", "sigterm", "freeze", "suspend", "clock_step", "disk"]
        )
        match kind:
            case "power_cut" | "sigkill" | "sigterm":
                made.append(Happening(at_s, kind, {"down_s": rng.choice([0.0, 5.0, 30.0, 120.0])}))
            case "freeze" | "suspend":
                made.append(Happening(at_s, kind, {"for_s": rng.choice([0.5, 8.0, 90.0, 400.0])}))
            case "clock_step":
                made.append(Happening(at_s, kind, {"by_ms": rng.choice([-60_000, -1_500, 1_500, 60_000])}))
            case _:
                number = rng.choice([errno.ENOSPC, errno.EIO])
                made.append(Happening(at_s, kind, {"errno": number, "for_s": rng.choice([1.0, 20.0, 120.0])}))
    return made


def _operator(rng: random.Random, end_s: float, symbols: tuple[str, ...]) -> list[Happening]:
    """What the operator does; a pause or a halt is lifted a while later."""
    made = []
    for at_s in _moments(rng, end_s, rng.choice([0, 600, 1800])):
        what = rng.choice(["pause", "flatten", "kill", "kill_file"])
        made.append(Happening(at_s, what))
        if what != "flatten":
            undo = "resume" if what == "pause" else "unhalt"
            made.append(Happening(at_s + rng.choice([60.0, 120.0, 300.0]), undo))
    return made


STREAMS: Mapping[str, Make] = {
    "messages": _messages,
    "outages": _outages,
    "venue": _venue,
    "owner": _owner,
    "spikes": _spikes,
    "machine": _machine,
    "operator": _operator,
}


def _moments(rng: random.Random, end_s: float, mean_s: float) -> list[float]:
    """Draw moments with ``mean_s`` between them; 0: none."""
    made: list[float] = []
    at_s = rng.expovariate(1.0 / mean_s) if mean_s else end_s
    while at_s < end_s:
        made.append(at_s)
        at_s += rng.expovariate(1.0 / mean_s)
    return made


def _fault(at_s: float, kind: str, **how: Any) -> Happening:
    return Happening(at_s, kind, {"kind": kind, **how})
