"""The journals of a state directory: which accounts there are, whether they check, what they replay to."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot.adapters.state.journal import FOLDER, Journal, JournalWriter, Segment, account_folders
from bot.domain.errors import BadUsage, StoreFailed
from bot.domain.messages import Command, ModelSwapped, RiskChanged, StrategyStopped
from bot.journal.entries import EVENTS, Closed, Effects, Entry, Forgiven, Quarantined

if TYPE_CHECKING:
    from bot.service.replaying import Difference

KINDS = ("paper", "local", "demo", "testnet")


def journals(state_dir: Path) -> list[Journal]:
    """Return the journals of all accounts, those of one venue kind oldest first."""
    return [Journal(folder) for kind in KINDS for folder in account_folders(state_dir, kind)]


def state_dir_of(journal: Journal) -> Path:
    """Return the state directory that a journal lies in."""
    return journal.folder.parent.parent


def choose_journal(state_dir: Path, account: str | None) -> Journal:
    """Return the journal of an account such as ``paper-1``; None: the one that was written to last.

    Raises:
        BadUsage: there is no such account.
    """
    there = journals(state_dir)
    names = ", ".join(each.account for each in there)
    if account is not None:
        for each in there:
            if each.account == account:
                return each
        raise BadUsage(f"{state_dir / FOLDER}: no account {account!r}; there are {names or 'none yet'}")
    begun = [(_written_ns(each), each.account, each) for each in there if each.numbers()]
    if not begun:
        raise BadUsage(f"{state_dir / FOLDER}: no journal yet; `bot run` begins one, but a replay keeps none")
    return max(begun)[2]


def _written_ns(journal: Journal) -> int:
    return journal.path(journal.numbers()[-1]).stat().st_mtime_ns


@dataclass(frozen=True)
class Checked:
    """What a check of a whole journal found: counts, and bytes of an unfinished write at its end."""

    segments: int
    entries: int
    bytes: int
    torn_bytes: int
    condensed: int
    closed: bool


def verify(journal: Journal) -> Checked:
    """Check every line, chain and snapshot of a journal.

    Raises:
        StoreFailed: the first damage, with its file and line.
    """
    segments = entries = size = torn = condensed = 0
    closed = False
    for segment in journal.all():
        journal.snapshot(segment.header)
        if torn:
            raise StoreFailed(f"{segment.path}: follows a segment with {torn} torn bytes")
        segments, entries, size = segments + 1, entries + 1 + len(segment.entries), size + segment.size
        torn, condensed = segment.torn_bytes, condensed + (segment.header.condensed is not None)
        closed = bool(segment.entries) and isinstance(segment.entries[-1].entry, Closed)
    return Checked(segments, entries, size, torn, condensed, closed)


@dataclass(frozen=True)
class SegmentReplayed:
    """One segment after its replay. ``difference`` is the first decision that came out otherwise."""

    segment: int
    inputs: int
    difference: "Difference | str | None"


def replay(journal: Journal) -> Iterator[SegmentReplayed]:
    """Replay every segment that can be, from its own snapshot and with its own arguments.

    The state at the end of a segment must also be the one with which the next begins.

    Raises:
        StoreFailed: the journal is damaged.
        BotError: an engine of the journal cannot be built any more.
    """
    from bot.app.runs.live.arguments import Arguments, plan_from
    from bot.app.runs.live.recovery import not_restored, replay_segment
    from bot.app.runs.live.successors import at_end

    segments = [each for each in journal.all() if each.header.condensed is None]
    quarantined = [each.entry for s in segments for each in s.entries if isinstance(each.entry, Quarantined)]
    for index, segment in enumerate(segments):
        number = segment.header.segment
        skipped = {each.entry: each.error for each in quarantined if each.segment == number}
        arguments = Arguments.decode(segment.header.arguments)
        snapshot = journal.snapshot(segment.header)
        plan = plan_from(arguments, state_dir_of(journal))
        done = replay_segment(segment, snapshot, arguments, plan, skipped)
        difference: Difference | str | None = done.difference
        following = segments[index + 1] if index + 1 < len(segments) else None
        if difference is None and following is not None:
            after = journal.snapshot(following.header)
            ended = at_end(arguments, done.engine, plan)
            same = Arguments.decode(following.header.arguments).decides_as(ended)
            if same and after is not None and (lost := not_restored(done.engine, after)):
                difference = f"the state at its end is not the one of {following.path.name}: {lost} differs"
        yield SegmentReplayed(number, done.inputs, difference)


def models_in_journals(state_dir: Path) -> set[str]:
    """Return the hashes of the models that the next start of an account needs to replay its journal.

    A journal that cannot be read names none: its next start fails by that first.
    """
    from bot.app.runs.live.arguments import Arguments

    found: set[str | None] = set()
    for each in journals(state_dir):
        with suppress(StoreFailed):
            last = each.last()
            if last is not None:
                found.add(Arguments.decode(last.header.arguments).model_hash)
                found |= {at.entry.model for at in last.entries if isinstance(at.entry, ModelSwapped)}
    return {each for each in found if each is not None}


def lift_halts(state_dir: Path) -> list[str]:
    """Lift the halts that the next start would find, and forgive crashed starts; return the causes.

    The state directory must be locked.

    Raises:
        StoreFailed: a journal is damaged, or cannot be written.
    """
    lifted: set[str] = set()
    for kind in KINDS:
        for folder in account_folders(state_dir, kind)[-1:]:
            journal = Journal(folder)
            last = journal.last()
            if last is None:
                continue
            if last.entries and _is_unhalt(last.entries[-1].entry):
                continue
            lifted |= {*_halting(journal, last), *(f"strategy of {each}" for each in _stopped(journal, last))}
            writer = JournalWriter(folder)
            writer.resume(last)
            last_ms = _last_event_ms(last)
            writer.append(Forgiven(last_ms))
            writer.append(Command(last_ms, "unhalt", by="terminal"))
            writer.sync()
            writer.close()
    return sorted(lifted)


def _last_event_ms(segment: Segment) -> int:
    """Return the time of the latest event, by the exchange's clock; 0 if the segment has none."""
    events = (each.entry for each in reversed(segment.entries))
    return next((event.ts_ms for event in events if isinstance(event, EVENTS)), 0)


def _is_unhalt(entry: Entry) -> bool:
    return isinstance(entry, Command) and entry.what == "unhalt"


def _stopped(journal: Journal, last: Segment) -> set[str]:
    """Return the symbols whose strategies have raised, at the end of a journal."""
    snapshot = journal.snapshot(last.header)
    found = set(snapshot.stopped) if snapshot is not None else set()
    for each in last.entries:
        if _is_unhalt(each.entry):
            found = set()
        elif isinstance(each.entry, Effects):
            found |= {effect.symbol for effect in each.entry.effects if isinstance(effect, StrategyStopped)}
    return found


def _halting(journal: Journal, last: Segment) -> tuple[str, ...]:
    """Return the causes of the halt in force at the end of a journal; none if it is not halted."""
    changes = [
        effect
        for each in last.entries
        if isinstance(each.entry, Effects)
        for effect in each.entry.effects
        if isinstance(effect, RiskChanged)
    ]
    if changes:
        return (changes[-1].reason,) if changes[-1].state == "halted" else ()
    snapshot = journal.snapshot(last.header)
    return snapshot.halting if snapshot is not None else ()
