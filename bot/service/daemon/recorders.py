"""Everything that sees the run beside the journal, as one recorder."""

from collections.abc import Iterable

from bot.domain.messages import Effect, Event
from bot.ports import Recorder
from bot.service.alarms import Alarms
from bot.service.record import RunTotals
from bot.service.views.forecasts import ForecastBoard
from bot.service.views.live import LiveBoard


class DaemonRecorder:
    """The daemon's ``ports.Recorder``: the totals, the alarms, the boards, then the one that was given."""

    def __init__(
        self,
        totals: RunTotals,
        alarms: Alarms,
        board: LiveBoard,
        forecasts: ForecastBoard,
        record: Recorder | None,
    ) -> None:
        self._totals = totals
        self._forecasts = forecasts
        self._board = board
        self._alarms = alarms
        self._record = record

    def event(self, event: Event) -> None:
        """Count and record an event."""
        self._totals.event(event)
        self._alarms.event(event)
        if self._record is not None:
            self._record.event(event)

    def effects(self, effects: Iterable[Effect]) -> None:
        """Count and record effects."""
        effects = tuple(effects)
        self._totals.effects(effects)
        self._alarms.effects(effects)
        self._board.effects(effects)
        if self._record is not None:
            self._record.effects(effects)

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Record the account's value after a close, and remember its forecasts."""
        self._forecasts.closed(ts_ms)
        if self._record is not None:
            self._record.marked(ts_ms, equity, notional)
