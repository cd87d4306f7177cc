"""What a person should hear of a running bot: trouble, fills, closed trades, the end of a day.

``Alarms`` is what the daemon feeds; ``voice.py`` says each alert once, to the log, the status and whoever
notifies. ``trouble.py`` looks at halts, refusals and differences, ``fills.py`` at executions, ``days.py`` at
the end of a UTC day, ``sizes.py`` at limits that the account has outgrown. Nothing here decides anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.domain.alerts import Alert, Level
from bot.domain.messages import Effect, Event
from bot.engine.core import Engine
from bot.ports import Alarm
from bot.service.alarms.days import DayWatch
from bot.service.alarms.fills import FillWatch
from bot.service.alarms.notes import alert_of
from bot.service.alarms.sizes import SizeWatch
from bot.service.alarms.trouble import TroubleWatch
from bot.service.alarms.voice import Voice

__all__ = ["Alarms"]


class Alarms:
    """Hears everything that the driver records, and says what a person should know.

    Args:
        engine: whose breaker and orders it looks at.
        log: alerts go there, each with its level.
        hooks: whoever else wants them.
    """

    def __init__(self, engine: Engine, log: Any, hooks: Sequence[Alarm] = ()) -> None:
        self.voice = Voice(log, hooks)
        self._trouble = TroubleWatch(engine, self.voice)
        self._fills = FillWatch(engine.state, self.voice)
        self._days = DayWatch(engine.state, self.voice)
        self._sizes = SizeWatch(engine, self.voice)

    @property
    def recent(self) -> Sequence[Alert]:
        """The latest warnings and errors, oldest first."""
        return self.voice.recent

    def event(self, event: Event) -> None:
        """Say what an event means for a person; the engine has not handled it yet."""
        self._sizes.look()
        self._fills.event(event)
        self._days.event(event)
        self._trouble.event(event)

    def effects(self, effects: Iterable[Effect]) -> None:
        """Say what decisions mean for a person."""
        self._trouble.effects(effects)

    def look(self, *, started: bool) -> None:
        """Say what the last event has changed.

        ``started`` is False while the daemon has not begun to decide: lines are then down as at every start.
        """
        self._fills.settle()
        self._trouble.look(started=started)
        self._sizes.look()
        self._days.look()

    def turn(self, now_ms: int) -> None:
        """Say what is due by the clock alone."""
        self._trouble.remind(now_ms)
        self._days.turn(now_ms)

    def note(self, ts_ms: int, name: str, facts: Mapping[str, object]) -> None:
        """Log a note of feed or venue; one that asks for a person is an alert."""
        if name == "feed_link_lost":
            self._trouble.link_lost = str(facts.get("reason", ""))
        alert = alert_of(name, facts)
        if alert is None:
            self.voice.log.info(name, **facts)
            return
        level, words, do = alert
        plain = {key: value for key, value in facts.items() if isinstance(value, str | int | float)}
        self.voice.say(ts_ms, level, name, words, do=do, **plain)

    # The process

    def started(self, ts_ms: int, identity: Mapping[str, object], ended_before: str | None) -> None:
        """Say that this process runs, and how the one before it ended (None: there was none)."""
        run, venue, strategy = (str(identity.get(name)) for name in ("run", "venue", "strategy"))
        symbols = identity.get("symbols", ())
        level: Level = "warning" if ended_before == "" else "info"
        before = ended_before or "without a word: a crash, a kill or a power cut"
        before = "a fresh account" if ended_before is None else f"the last one ended: {before}"
        self.voice.say(
            ts_ms,
            level,
            "started",
            f"process {run} begins: {strategy}, orders to {venue}; {before}",
            feed=str(identity.get("feed")),
            venue=venue,
            symbols=tuple(map(str, symbols)) if isinstance(symbols, list | tuple) else (),
            strategy=strategy,
            run=run,
        )

    def ended(self, ts_ms: int, reason: str) -> None:
        """Say that the process ends because somebody asked it to."""
        self.voice.say(ts_ms, "info", "ended", f"the bot has stopped: {reason}", reason=reason)

    def failed(self, ts_ms: int, reason: str) -> None:
        """Say that the process ends by an error."""
        do = "see the last lines of the log; stops of positions at a remote venue stay there"
        self.voice.say(ts_ms, "error", "ended", f"the bot ends by an error: {reason}", do=do, reason=reason)

    def journal_lost(self, ts_ms: int, reason: str) -> None:
        """Say that the journal cannot be written any more."""
        words = f"halted, resting entries are taken back, then the bot ends: {reason}"
        self.voice.say(ts_ms, "error", "journal_lost", words, do="make room on the disk, then start again")
