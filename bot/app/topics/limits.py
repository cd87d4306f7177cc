"""``bot help limits``: every check of risk, every cause of the breaker, and where each acts."""

from collections.abc import Mapping
from typing import Literal

from bot.app.topics.page import Entry, Page, Section
from bot.domain.refusals import REFUSALS, SETTINGS
from bot.risk.breaker import Cause
from bot.risk.limits import CHECKS
from bot.risk.words import what_to_do

Where = Literal["live and backtest", "live only", "backtest only"]
BOTH: Where = "live and backtest"
LIVE: Where = "live only"
BACKTEST: Where = "backtest only"

_MORE: Mapping[str, str] = {
    "rejects": " within risk.reject_window_ms",
    "loss_streak": ", for risk.loss_cooldown_ms",
    "leverage": ", and the contract's own",
}
"""What else bounds a check beside its setting. The others follow from the contract or the bot's state."""
LIVE_CHECKS: Mapping[str, str] = {
    "foreign_position": "a backtest has its account for itself",
    "stale_data": "a bar of a backtest is never late",
    "stale_signal": "a decision of a backtest leaves at its own close",
}
"""Checks that a backtest passes by itself, and why."""
SPOT_CHECKS = ("spot_short", "spot_borrowed")
"""Checks of candles whose file name says spot; the bot trades perpetuals only."""
CAUSES: Mapping[Cause, tuple[str, Where, str]] = {
    Cause.PAUSED: ("no entries", LIVE, "`bot pause`, until `bot resume`."),
    Cause.LINK_DOWN: ("no entries", LIVE, "The feed or the line to the venue is down, until it is back."),
    Cause.ACCOUNT_UNREAD: ("no entries", LIVE, "The venue's account is not read yet, until it is."),
    Cause.UNPROTECTED: ("no entries", LIVE, "The venue refuses the stop of a position, until it has one."),
    Cause.UNKNOWN_ORDER: (
        "no entries, then halt",
        LIVE,
        "The fate of an order is unknown for risk.unknown_order_reduce_ms; halt after "
        "risk.unknown_order_halt_ms.",
    ),
    Cause.DRIFT: (
        "no entries",
        BOTH,
        "A measure of the model's drift is beyond its bound in [drift], until it is well below it again.",
    ),
    Cause.DAILY_LOSS: (
        "no entries, or halt",
        BOTH,
        "A loss since 00:00 UTC beyond risk.max_daily_loss_frac; risk.on_daily_loss chooses.",
    ),
    Cause.DRAWDOWN: ("halt", BOTH, "A loss from the highest equity beyond risk.max_drawdown_frac."),
    Cause.BAD_EQUITY: ("halt", BOTH, "The value of the account is not a positive number."),
    Cause.REJECTS: (
        "halt",
        BOTH,
        "The venue refused risk.max_consecutive_rejects orders in a row within risk.reject_window_ms.",
    ),
    Cause.OPERATOR: ("halt", LIVE, "`bot kill`."),
    Cause.LIQUIDATION: ("halt", BOTH, "The venue liquidated a position."),
    Cause.ADL: ("halt", LIVE, "The venue reduced a position by auto-deleveraging."),
    Cause.FOREIGN: ("halt", LIVE, "Somebody else closed a part of our position."),
    Cause.RECONCILE: ("halt", LIVE, "The account and the bot's books differ in what nobody may trade on."),
    Cause.CRASH_LOOP: ("halt", LIVE, "daemon.restarts_max starts within ten minutes."),
    Cause.POISON: ("halt", LIVE, "An event that crashed an earlier process was left out."),
    Cause.REPLAY: ("halt", LIVE, "A replay of the journal decided otherwise than the journal says."),
}
"""Cause of the breaker → what it forces, where it can act, and when."""
OTHERS: Mapping[str, tuple[Where, str]] = {
    "risk.max_slippage_bps": (BOTH, "A market entry fills no further from the best price; the rest ends."),
    "risk.on_halt": (BOTH, "Whether a halt keeps positions or closes them."),
    "costs.participation_frac": (BOTH, "Most of a bar's volume that orders take; also on paper with bars."),
    "feed.silence_ms": (LIVE, "A symbol that is silent for longer is stale; entries wait for its data."),
    "feed.barrier_ms": (LIVE, "A symbol whose bar comes later than this skips the close."),
    "daemon.max_step_ms": (LIVE, "A decision that took longer loses its entries."),
    "venue.max_divergence_frac": (LIVE, "Entries stop while the prices of feed and venue lie further apart."),
    "venue.max_clock_offset_ms": (LIVE, "Entries stop while the clocks differ by more."),
    "venue.protective_stop_frac": (LIVE, "A stop for each entry that names none; at remote venues."),
}
"""Limits beside the checks."""


def page() -> Page:
    """Return checks, causes and other limits, each with where it acts."""
    return Page(
        "limits",
        "An intent becomes an order only if every check allows it. Limits are inclusive. An exit must pass "
        "the checks marked `for exits and entries` and no others, so no limit keeps a position from being "
        "closed. A backtest uses the same checks on the same settings; some can never refuse there. A halt "
        "ends its figures; `bot backtest --risk observe` only notes when each limit would have acted.",
        [
            Section("Checks, in this order", [_check(each.name, each.exits) for each in CHECKS]),
            Section(
                "What holds all entries back, or halts the bot",
                [
                    Entry(cause.value, _with_advice(cause, words), {"forces": forces, "acts": where})
                    for cause, (forces, where, words) in CAUSES.items()
                ],
                "A halt lasts until `bot unhalt`, also after a restart. Stops at the venue stay.",
            ),
            Section(
                "Other limits",
                [Entry(name, words, {"acts": where}) for name, (where, words) in OTHERS.items()],
            ),
        ],
    )


def _check(name: str, exits: bool) -> Entry:
    words = f"Refuses when {REFUSALS[name][0]}."
    if name in LIVE_CHECKS:
        words += f" Cannot refuse in a backtest: {LIVE_CHECKS[name]}."
    if name in SPOT_CHECKS:
        words += " Only where the candle file's name says spot."
    facts = {"for": "exits and entries" if exits else "entries", "acts": acts(name)}
    return Entry(name, words, facts | ({"setting": bound(name)} if name in SETTINGS else {}))


def bound(name: str) -> str:
    """Return the settings that bound a check."""
    return f"risk.{SETTINGS[name]}{_MORE.get(name, '')}"


def acts(name: str) -> Where:
    """Return where a check can refuse."""
    if name in SPOT_CHECKS:
        return BACKTEST
    return LIVE if name in LIVE_CHECKS else BOTH


def _with_advice(cause: Cause, words: str) -> str:
    advice = what_to_do(cause.value)
    return f"{words} What to do: {advice}." if advice else words
