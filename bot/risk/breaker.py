"""The breaker: a state (active, reducing or halted) that follows from a set of causes.

::

    cause               forces     added by                        removed by
    paused              reducing   pause                           resume
    link_down: <what>   reducing   link_down(what)                 link_up(what)
    account_unread      reducing   await_account                   account_read
    unprotected: <sym>  reducing   unprotected(symbol)             protected(symbol)
    unknown_order: <id> reducing   fate_unknown(order_id)          fate_known(order_id)
    drift: <measure>    reducing   drifted(measures)               drifted(fewer measures)
    daily_loss          reducing*  equity below the day's floor    the next UTC day
    drawdown            halted     equity below the peak's floor   unhalt
    bad_equity          halted     equity NaN, infinite or <= 0    unhalt
    rejects             halted     too many refusals in a row,     unhalt
                                   within reject_window_ms
    operator            halted     halt                            unhalt
    liquidation, adl    halted     halt(cause, detail)             unhalt
    foreign, reconcile  halted     halt(cause, detail)             unhalt
    unknown_order       halted     halt(cause, order_id)           unhalt
    crash_loop          halted     halt(cause)                     unhalt
    replay, poison      halted     halt(cause, detail)             unhalt

    * halted, and left with unhalt, when the limits say ``on_daily_loss = "halt"``

Several causes may hold at once. The state is the worst one that any cause forces, so removing one cause
never removes another. The breaker is a plain value: with ``encode`` and ``Breaker.restore`` a halt, the
day's start and the peak survive the process. Causes that belong to one process (links, an account that is
not yet read, a missing stop) are not saved; the next process finds them again.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from math import inf

import msgspec

from bot.domain.errors import BadInput, BotError
from bot.domain.market import DAY_MS
from bot.domain.messages import Line
from bot.domain.money import ZERO
from bot.risk.entries import TradingState
from bot.risk.limits import UNSEEN, BreakerState, Limits


class Cause(StrEnum):
    """Why the breaker reduces or halts. A kept cause is its value, or ``<value>: <detail>``."""

    PAUSED = "paused"
    LINK_DOWN = "link_down"
    ACCOUNT_UNREAD = "account_unread"
    UNPROTECTED = "unprotected"
    UNKNOWN_ORDER = "unknown_order"
    """Nobody knows for too long whether the venue has an order."""
    DRIFT = "drift"
    """The market no longer looks like the model's training data, or forecasts no longer come true."""
    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    BAD_EQUITY = "bad_equity"
    REJECTS = "rejects"
    OPERATOR = "operator"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    FOREIGN = "foreign"
    """Somebody else traded a symbol of ours."""
    RECONCILE = "reconcile"
    """A reading of the account showed a difference that nobody may trade on."""
    CRASH_LOOP = "crash_loop"
    REPLAY = "replay"
    """The journal, replayed at a start, led to other decisions than those written in it."""
    POISON = "poison"
    """An event whose handling raised ended an earlier process; it is left out since."""

    def named(self, detail: str = "") -> str:
        """Return the text that the breaker keeps."""
        return f"{self.value}: {detail}" if detail else self.value

    @classmethod
    def of(cls, text: str) -> "Cause":
        """Return the cause of a kept text.

        Raises:
            ValueError: no cause begins the text.
        """
        return cls(text.partition(":")[0])


_LASTING = frozenset({Cause.PAUSED, Cause.DAILY_LOSS})
"""Causes for reducing that survive the process."""


class Breaker(BreakerState):
    """The account's risk state between orders. Methods return True if ``state`` or ``reason`` changed.

    ``limits`` are the limits in force. After reading a breaker from disk, set the present limits with
    ``use``. Equity is a float in quote: the account's value at the mark.
    """

    limits: Limits = Limits()
    reducing: tuple[str, ...] = ()
    """Causes that stop entries, oldest first."""
    halting: tuple[str, ...] = ()
    """Causes that halt the run until the operator removes them."""
    day_end_ms: int = 0
    day_start_equity: float = 0.0
    peak_equity: float = 0.0
    last_equity: float = 0.0
    consecutive_losses: int = 0
    entered_day_ms: int = 0
    entered_quote: Decimal = ZERO
    """Value of the entries filled on the UTC day that begins at ``entered_day_ms``."""
    rejects_ms: tuple[int, ...] = ()
    """Times of the rejects in a row that still count."""
    last_reject: str = ""
    """The venue's code and words of the latest reject."""
    floor_quote: float = UNSEEN
    """The higher of the two floors, so that most bars need only one comparison."""

    @property
    def is_paused(self) -> bool:
        """True while the operator wants no entries."""
        return Cause.PAUSED in self.reducing

    @property
    def wants_flat(self) -> bool:
        """Whether positions should be closed as well."""
        return self.state == "halted" and self.limits.on_halt == "flatten"

    @classmethod
    def restore(cls, body: bytes, limits: Limits) -> "Breaker":
        """Read back what ``encode`` returned, and put ``limits`` in force.

        Raises:
            BadInput: ``body`` is not an encoded breaker. Nobody may trade when a halt cannot be read.
        """
        try:
            kept = msgspec.json.decode(body, type=cls)
            for text in (*kept.halting, *kept.reducing):
                Cause.of(text)
        except (msgspec.MsgspecError, BotError, ValueError) as error:
            raise BadInput(f"the saved breaker cannot be read: {error}") from error
        kept._drop_passing_causes()
        kept.use(limits)
        return kept

    def encode(self) -> bytes:
        """Return, as a JSON object, the state that must survive the process."""
        kept = msgspec.json.decode(msgspec.json.encode(self), type=Breaker)
        kept._drop_passing_causes()
        return msgspec.json.encode(kept)

    def use(self, limits: Limits) -> None:
        """Put other limits in force. The rest of the state does not change."""
        self.limits = limits
        if self.day_end_ms:
            self._set_floors()

    def on_equity(self, ts_ms: int, equity: float) -> bool:
        """Take the account's value at ``ts_ms``. ``ts_ms`` must not go back across the end of a day."""
        if ts_ms >= self.day_end_ms or self.peak_equity < equity:
            return self._move_floors(ts_ms, equity)
        if equity >= self.floor_quote:
            self.last_equity = equity
            return False
        return self._breach(equity)

    def on_closed_trade(self, pnl_quote: Decimal, ts_ms: int) -> bool:
        """Take a closed trade's profit after costs. A streak of losses starts the cooldown."""
        self.consecutive_losses = self.consecutive_losses + 1 if pnl_quote < ZERO else 0
        if 0 < self.limits.max_consecutive_losses <= self.consecutive_losses:
            self.consecutive_losses = 0
            self.cooldown_until_ms = ts_ms + self.limits.loss_cooldown_ms
        return False

    def on_entry(self, ts_ms: int, value_quote: Decimal) -> None:
        """Count a fill of an entry towards the limit of its UTC day."""
        day_ms = ts_ms - ts_ms % DAY_MS
        if day_ms < self.entered_day_ms:  # reported after midnight: it belongs to a day that is over
            return
        before = self.entered_quote if day_ms == self.entered_day_ms else ZERO
        self.entered_day_ms, self.entered_quote = day_ms, before + value_quote

    def entered_today(self, now_ms: int) -> Decimal:
        """Return the value of the entries filled on the UTC day of ``now_ms``."""
        return self.entered_quote if now_ms < self.entered_day_ms + DAY_MS else ZERO

    def on_reject(self, ts_ms: int, words: str = "") -> bool:
        """Count an order that the venue rejected, with its code and words.

        Too many in a row within ``reject_window_ms`` halt the run.
        """
        after_ms = ts_ms - self.limits.reject_window_ms
        self.rejects_ms = (*(at_ms for at_ms in self.rejects_ms if at_ms >= after_ms), ts_ms)
        self.consecutive_rejects = len(self.rejects_ms)
        self.last_reject = words
        if self.consecutive_rejects < self.limits.max_consecutive_rejects:
            return False
        return self.halt(Cause.REJECTS)

    def on_accept(self) -> None:
        """Reset the count of rejects: the venue accepted an order."""
        if self.consecutive_rejects:
            self._forget_rejects()

    def pause(self) -> bool:
        """Stop entries: the operator's command."""
        return self._reduce(Cause.PAUSED)

    def resume(self) -> bool:
        """Undo ``pause``. Other causes stay."""
        return self._lift(Cause.PAUSED)

    def link_down(self, what: str) -> bool:
        """Stop entries because a connection to the venue is down or silent."""
        return self._reduce(Cause.LINK_DOWN, what)

    def link_up(self, what: str) -> bool:
        """Remove the cause of ``link_down``: the connection works again."""
        return self._lift(Cause.LINK_DOWN, what)

    def await_account(self) -> bool:
        """Stop entries until the venue's account has been read."""
        return self._reduce(Cause.ACCOUNT_UNREAD)

    def account_read(self) -> bool:
        """Remove the cause of ``await_account``."""
        return self._lift(Cause.ACCOUNT_UNREAD)

    def unprotected(self, symbol: str) -> bool:
        """Stop entries: a position has no stop at the venue, and the venue does not accept one."""
        return self._reduce(Cause.UNPROTECTED, symbol)

    def protected(self, symbol: str) -> bool:
        """Remove the cause of ``unprotected``: the position has a stop or is closed."""
        return self._lift(Cause.UNPROTECTED, symbol)

    def fate_unknown(self, order_id: str) -> bool:
        """Stop entries: nobody knows for too long whether the venue has an order."""
        return self._reduce(Cause.UNKNOWN_ORDER, order_id)

    def fate_known(self, order_id: str) -> bool:
        """Remove the cause of ``fate_unknown``; a halt stays."""
        return self._lift(Cause.UNKNOWN_ORDER, order_id)

    def drifted(self, measures: Mapping[str, str]) -> bool:
        """Stop entries while there are measures of drift beyond their bound: name → its numbers.

        What is no longer among them is lifted; the numbers of one that stays do not change.
        """
        kept = {_measure_of(cause): cause for cause in self.reducing if Cause.of(cause) is Cause.DRIFT}
        before = (self.state, self.reason)
        for name, cause in kept.items():
            if name not in measures:
                self._lift(Cause.DRIFT, cause.partition(": ")[2])
        for name, numbers in measures.items():
            if name not in kept:
                self._reduce(Cause.DRIFT, f"{name}, {numbers}")
        return (self.state, self.reason) != before

    def on_transfer(self, amount_quote: float, equity: float) -> None:
        """Move the levels with money paid in (> 0) or out (< 0): it is neither profit nor loss.

        ``equity`` is the account's value before it. The levels change in proportion to the equity, so a loss
        of a tenth before the transfer is a loss of a tenth after it.
        """
        if not self.day_end_ms:
            return
        after = equity + amount_quote
        if 0.0 < equity < inf and 0.0 < after < inf:
            factor = after / equity
            self.day_start_equity *= factor
            self.peak_equity *= factor
        else:
            self.day_start_equity += amount_quote
            self.peak_equity += amount_quote
        self.last_equity = after
        self._set_floors()

    def begin_account(self) -> None:
        """Forget the levels of another account; the next equity begins them anew. Halts and a pause stay."""
        self.day_end_ms = 0
        self.day_start_equity = self.peak_equity = self.last_equity = 0.0
        self.day_floor_quote = self.peak_floor_quote = self.floor_quote = UNSEEN

    def halt(self, cause: Cause = Cause.OPERATOR, detail: str = "") -> bool:
        """Halt until ``unhalt``. Of several halts with one cause, only the first detail is kept."""
        if not any(Cause.of(other) is cause for other in self.halting):
            self.halting = (*self.halting, cause.named(detail))
        return self._settle()

    def begin_process(self) -> None:
        """Forget the causes that belonged to an ended process; its lines are down until they are back."""
        self._drop_passing_causes()
        for what in (Line.START, Line.FEED):
            self.link_down(what)

    def unhalt(self) -> bool:
        """Remove every halt, by the operator's command, and measure losses from the present equity."""
        if Cause.DAILY_LOSS in self.halting:
            self.day_start_equity = self.last_equity
        self.halting = ()
        self._forget_rejects()
        self.peak_equity = self.last_equity
        if self.day_end_ms:
            self._set_floors()
        return self._settle()

    def _forget_rejects(self) -> None:
        self.consecutive_rejects = 0
        self.rejects_ms = ()

    def _move_floors(self, ts_ms: int, equity: float) -> bool:
        """Set the floors anew for a new day or a new peak."""
        if not 0.0 < equity < inf:
            return self.halt(Cause.BAD_EQUITY)
        moved = False
        if ts_ms >= self.day_end_ms:
            day_ms = ts_ms - ts_ms % DAY_MS
            # The last equity known at or before midnight, so that a loss while the bot was off also counts.
            self.day_start_equity = equity if ts_ms == day_ms or not self.day_end_ms else self.last_equity
            self.day_end_ms = day_ms + DAY_MS
            moved = self._lift(Cause.DAILY_LOSS)
        self.peak_equity = max(self.peak_equity, equity)
        self._set_floors()
        if equity >= self.floor_quote:
            self.last_equity = equity
            return moved
        return self._breach(equity) or moved

    def _set_floors(self) -> None:
        start, peak = self.day_start_equity, self.peak_equity
        self.day_floor_quote = start - float(self.limits.max_daily_loss_frac) * abs(start)
        self.peak_floor_quote = peak - float(self.limits.max_drawdown_frac) * abs(peak)
        self.floor_quote = max(self.day_floor_quote, self.peak_floor_quote)

    def _breach(self, equity: float) -> bool:
        """Handle an equity that is below a floor or is not a positive finite number."""
        if not 0.0 < equity < inf:
            return self.halt(Cause.BAD_EQUITY)
        self.last_equity = equity
        moved = False
        if equity < self.day_floor_quote:
            halts = self.limits.on_daily_loss == "halt"
            moved = self.halt(Cause.DAILY_LOSS) if halts else self._reduce(Cause.DAILY_LOSS)
        if equity < self.peak_floor_quote:
            moved = self.halt(Cause.DRAWDOWN) or moved
        return moved

    def _drop_passing_causes(self) -> None:
        self.reducing = tuple(cause for cause in self.reducing if cause in _LASTING)
        self._settle()

    def _reduce(self, cause: Cause, detail: str = "") -> bool:
        text = cause.named(detail)
        if text not in self.reducing:
            self.reducing = (*self.reducing, text)
        return self._settle()

    def _lift(self, cause: Cause, detail: str = "") -> bool:
        text = cause.named(detail)
        if text not in self.reducing:
            return False
        self.reducing = tuple(other for other in self.reducing if other != text)
        return self._settle()

    def _settle(self) -> bool:
        """Set the state, and as its reason the oldest cause that forces it. Return True if one changed."""
        state: TradingState = "halted" if self.halting else "reducing" if self.reducing else "active"
        reason = next(iter(self.halting or self.reducing), "")
        moved = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        return moved


def _measure_of(cause: str) -> str:
    """Return the name of the measure in a kept cause of drift."""
    return cause.partition(": ")[2].partition(",")[0]
