"""What people want to know of the account and no decision reads: the day, and since when something holds.

These values are part of a snapshot, so a restart forgets none of them. They are not part of the digest.
"""

import msgspec

from bot.domain.market import DAY_MS
from bot.risk.breaker import Breaker


class Day(msgspec.Struct):
    """The UTC day so far. Money in quote."""

    end_ms: int = 0
    """End of the day that ``base_quote`` belongs to; 0: none was noted, the breaker's start is right."""
    base_quote: float = 0.0
    """Equity at 00:00 UTC, plus what was paid in since and minus what was taken out."""
    trades_day_ms: int = 0
    trades: int = 0
    """Trades closed on the day that begins at ``trades_day_ms``."""

    def before_start_moves(self, breaker: Breaker) -> None:
        """Note the day's true start before the breaker measures losses from another equity."""
        if self.end_ms != breaker.day_end_ms:
            self.end_ms, self.base_quote = breaker.day_end_ms, breaker.day_start_equity

    def paid(self, amount_quote: float, breaker: Breaker) -> None:
        """Count money paid in (> 0) or taken out: it is no part of the result. Call it before the breaker."""
        self.before_start_moves(breaker)
        self.base_quote += amount_quote

    def begin_account(self) -> None:
        """Forget the day of another account."""
        self.end_ms = self.trades_day_ms = self.trades = 0

    def closed(self, ts_ms: int) -> None:
        """Count a closed trade; one that is reported after midnight belongs to a day that is over."""
        day_ms = ts_ms - ts_ms % DAY_MS
        if day_ms > self.trades_day_ms:
            self.trades_day_ms, self.trades = day_ms, 0
        self.trades += day_ms == self.trades_day_ms

    def trades_at(self, now_ms: int) -> int:
        """Return the number of trades closed on the UTC day of ``now_ms``."""
        return self.trades if now_ms < self.trades_day_ms + DAY_MS else 0

    def base_at(self, now_ms: int, breaker: Breaker) -> float | None:
        """Return what the day's result counts from; None while no equity was seen."""
        if not breaker.day_end_ms:
            return None
        if now_ms >= breaker.day_end_ms:  # nobody has valued the account since midnight
            return breaker.last_equity
        return self.base_quote if self.end_ms == breaker.day_end_ms else breaker.day_start_equity
