"""What a stopped or dead bot left at its venue, by the replay with which its next start begins.

::

    newest account of each venue kind → snapshot → replay of the last segment → positions, stops, orders

So quantities, averages and what is foreign come from the engine's own rules. Nothing is locked, written or
sent. What cannot be replayed is None, with the reason in ``unknown``: never "no position".
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from bot.adapters.state.directory import HaltFile
from bot.adapters.state.journal import Journal, Segment, account_folders
from bot.app.state.journals import KINDS
from bot.domain.errors import BotError
from bot.domain.messages import ProcessStarted
from bot.risk.breaker import Cause

_PAPER = (
    "paper: nothing acts while no bot runs; `bot run` goes on with this account, and stops and orders then "
    "meet the prices of the bars that were missed"
)
_REMOTE = (
    "the venue may have changed since: stops and orders may have filled, and others may have traded; "
    "`bot run` reads the account there and compares"
)
_NOT_KNOWN: Mapping[str, object] = dict.fromkeys(
    ("equity", "positions", "open_orders", "unknown_orders", "foreign_positions", "foreign_orders")
)


def left_behind(state_dir: Path, redact: Callable[[str], str] = str) -> list[dict[str, object]]:
    """Return what each account's last bot left; the account that was written to last comes first.

    Older accounts of the same venue kind are over. ``redact`` takes secrets out of the words of an error.
    """
    found = []
    for kind in KINDS:
        for folder in account_folders(state_dir, kind)[-1:]:
            journal = Journal(folder)
            if journal.numbers():
                written_ns = journal.path(journal.numbers()[-1]).stat().st_mtime_ns
                found.append((written_ns, {"mode": kind, **_left(journal, state_dir, redact)}))
    return [told for _, told in sorted(found, key=lambda each: -each[0])]


def of_stopped(state_dir: Path, redact: Callable[[str], str] = str) -> dict[str, object]:
    """Return the fields of ``bot status --json`` of a bot that does not run; ``others``: more accounts."""
    left = left_behind(state_dir, redact)
    nothing = {**_NOT_KNOWN, "unknown": f"{state_dir} holds no journal; `bot run` begins one"}
    first: dict[str, object] = left[0] if left else nothing
    if HaltFile(state_dir).is_set():
        first = {**first, "risk_state": "halted", "halt_reason": Cause.OPERATOR.value}
    return {**first, "others": left[1:]}


def _left(journal: Journal, state_dir: Path, redact: Callable[[str], str]) -> dict[str, object]:
    """Return what the bot of one account left, or why that is not known."""
    account = {"account": journal.account}
    try:
        segment = journal.last()
        if segment is None:
            return {**account, **_NOT_KNOWN, "unknown": "its journal has only begun"}
        return {**account, **_replayed(journal, segment, state_dir)}
    except (BotError, ValueError) as error:  # ValueError: a setting that this program no longer takes
        words = " ".join(redact(str(error)).split())
        return {**account, **_NOT_KNOWN, "unknown": words}


def _replayed(journal: Journal, segment: Segment, state_dir: Path) -> dict[str, object]:
    """Replay the last segment as a start does, and tell the engine's account."""
    from bot.app.runs.live.arguments import Arguments, plan_from
    from bot.app.runs.live.recovery import ending_of, replay_segment
    from bot.service.views import status

    arguments = Arguments.decode(segment.header.arguments)
    plan = plan_from(arguments, state_dir)
    replayed = replay_segment(segment, journal.snapshot(segment.header), arguments, plan)
    engine = replayed.engine
    state, kind = engine.state, plan.settings.venue.kind
    told: dict[str, object] = {
        "venue": kind,
        "strategy": plan.strategy_name,
        "symbols": list(plan.symbols),
        "model_hash": arguments.model_hash,
        "as_of_ms": state.now_ms or None,
        "last_bar_ms": replayed.totals.last_ms or None,
        "feed_lag_ms": None,
        "ended": ending_of(segment) or "crashed or killed",
        **status.risk(engine),
    }
    if replayed.quarantined:
        why = f"an event of its journal cannot be handled: {replayed.quarantined[0].error}"
        return {**told, **_NOT_KNOWN, "unknown": why}
    if replayed.difference is not None:
        return {**told, **_NOT_KNOWN, "unknown": f"its journal replays otherwise: {replayed.difference}"}
    if not state.account_known:
        return {**told, **_NOT_KNOWN, "unknown": "the bot ended before it had read the venue's account"}
    # orders that had no answer yet have an unknown fate, as for the next process
    engine.handle(ProcessStarted(state.now_ms, segment.header.process + 1))
    note = _PAPER if kind == "paper" else _REMOTE
    return {**told, **status.account(engine), "unknown": None, "note": note}
