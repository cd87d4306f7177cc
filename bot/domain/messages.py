"""What enters the engine (``Event``) and what leaves it (``Effect``): two closed unions.

Every event carries its time in ``ts_ms``: from the shell's clock when it arrives, or from the data in a
replay. Events of one instant T come in this order: ``BarsClosed`` at T, then ``FundingRate`` settled at T,
then fills at T. So the decision after T is the first to see a rate settled at T, live and offline alike,
and funding settles before the orders of the same instant.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Literal

import msgspec

from bot.domain.account import AccountSnapshot
from bot.domain.ledger import Fill
from bot.domain.market import Bar, Instrument
from bot.domain.money import ZERO
from bot.domain.orders import Approved, Intent, Refused


class BarsClosed(msgspec.Struct, frozen=True, tag=True):
    """All bars of one interval that closed at ``close_ms``, in symbol order; one batched decision.

    ``seen_ms`` is when a live feed handed them over; 0 in a replay, where that is the close itself.
    ``live`` is False for bars that came too late to act on (warm-up, backfill, a symbol late for its close):
    features and strategies see them, and no order follows.
    """

    close_ms: int
    interval_ms: int
    bars: tuple[Bar, ...]
    seen_ms: int = 0
    live: bool = True

    @property
    def ts_ms(self) -> int:
        """The close."""
        return self.close_ms


class Candle(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A bar that is still open, as of ``ts_ms``; it never enters a feature window."""

    ts_ms: int
    symbol: str
    interval_ms: int
    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Quote(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Best bid and ask."""

    ts_ms: int
    symbol: str
    bid: float
    ask: float


class MarkPrice(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The venue's mark price, from tickers or mark candles."""

    ts_ms: int
    symbol: str
    price: float


class FundingRate(msgspec.Struct, frozen=True, tag=True):
    """The rate settled at ``ts_ms``: longs pay shorts when it is positive."""

    ts_ms: int
    symbol: str
    rate: Decimal


class Gap(msgspec.Struct, frozen=True, tag=True):
    """Bars ``[from_ms, to_ms)`` are missing and the feed cannot fetch them."""

    ts_ms: int
    symbol: str
    interval_ms: int
    from_ms: int
    to_ms: int


class FundingPaid(msgspec.Struct, frozen=True, tag=True):
    """The venue settled funding: ``amount_quote`` > 0 received, < 0 paid. Once per (symbol, ``ts_ms``).

    It changes cash and leaves the position as it is.
    """

    ts_ms: int
    symbol: str
    amount_quote: Decimal


class Transferred(msgspec.Struct, frozen=True, tag=True):
    """Money came into the account (> 0) or left it (< 0), and no trade did it: neither profit nor loss.

    ``transfer_id`` is the venue's and names the transfer once; ``kind`` is the venue's word for it.
    """

    ts_ms: int
    amount_quote: Decimal
    transfer_id: str
    kind: str = ""


class Filled(msgspec.Struct, frozen=True, tag=True):
    """An execution. Beside ``Synced``, the only event that changes a position."""

    fill: Fill

    @property
    def ts_ms(self) -> int:
        """When it was executed."""
        return self.fill.ts_ms


class OrderAccepted(msgspec.Struct, frozen=True, tag=True):
    """The venue has the order."""

    ts_ms: int
    order_id: str


class RejectCause(Enum):
    """Why an order never came to the venue's book."""

    VENUE = "venue"
    """The venue refused it. Too many of these in a row within a time halt the bot."""
    POST_ONLY = "post_only"
    """It would have crossed, which PostOnly forbids: the market moved, nothing is wrong with the order."""
    MISSED = "missed"
    """The market moved past the order's stop or limits, or what it needs is gone: no fault of the order."""
    NOT_SENT = "not_sent"
    """It never left this process, so the venue said nothing about it."""


class OrderRejected(msgspec.Struct, frozen=True, tag=True):
    """The order is refused for good. ``code`` is the venue's retCode, ``reason`` its words for people."""

    ts_ms: int
    order_id: str
    code: int
    reason: str
    cause: RejectCause = RejectCause.VENUE


class OrderUnknown(msgspec.Struct, frozen=True, tag=True):
    """The connection died: nobody can tell yet whether the venue has the order."""

    ts_ms: int
    order_id: str


class OrderCancelled(msgspec.Struct, frozen=True, tag=True):
    """The rest of the order is cancelled; ``reason`` is the venue's word, such as ``CancelByUser``."""

    ts_ms: int
    order_id: str
    reason: str


class OrderRepriced(msgspec.Struct, frozen=True, tag=True):
    """The venue holds the order at another price than we sent: it moves a limit price into its price band.

    Bybit says nothing about it in its answer; only the order's row shows the price.
    https://bybit-exchange.github.io/docs/v5/account/set-price-limit
    """

    ts_ms: int
    order_id: str
    price: Decimal


class OrderResized(msgspec.Struct, frozen=True, tag=True):
    """The venue holds the order at another quantity than before, what has filled included.

    A client that is not ours has amended it, or it was sent again, smaller, after a refusal.
    """

    ts_ms: int
    order_id: str
    qty: Decimal


class StopsChanged(msgspec.Struct, frozen=True, tag=True):
    """The venue's protective orders of a position are now these; ``trailing_stop`` is a distance, or 0."""

    ts_ms: int
    symbol: str
    stop_loss: Decimal | None
    take_profit: Decimal | None
    trailing_stop: Decimal = ZERO


class StopsRejected(msgspec.Struct, frozen=True, tag=True):
    """The venue refused to change the protective orders of a position; those it has stay as they are."""

    ts_ms: int
    symbol: str
    code: int
    reason: str


class Synced(msgspec.Struct, frozen=True, tag=True):
    """A complete reading of the venue's account. Every execution in it was emitted as ``Filled`` before.

    ``first`` is True for the first reading of a process. An engine that has never seen the account takes it
    over; every other reading is compared with the engine's state. ``ts_ms`` is when the reading began; later
    changes at the venue may be missing from it.
    """

    ts_ms: int
    account: AccountSnapshot
    first: bool = False


class Line(StrEnum):
    """What entries depend on beside the orders themselves. While one is down, no entry leaves."""

    FEED = "feed"
    """The feed's data."""
    VENUE = "venue"
    """The private line to a remote venue, and a reading of its account."""
    DIVERGENCE = "divergence"
    """The prices of feed and venue lie close enough together."""
    START = "start"
    """The daemon has started to decide."""
    STALL = "stall"
    """The process has not stood still since the last close in time."""
    STOPPING = "stopping"
    """No stop was asked for."""


LINES: Mapping[str, tuple[str, str]] = {
    Line.FEED: ("the feed is down", "the feed is back"),
    Line.VENUE: ("the private line to the venue is down", "the private line to the venue is back"),
    Line.DIVERGENCE: (
        "prices of feed and venue lie too far apart",
        "prices of feed and venue lie close together",
    ),
    Line.START: ("the bot is starting", "the bot has started"),
    Line.STALL: ("the process stood still; bars may be missing", "bars come in time again"),
    Line.STOPPING: ("the bot is stopping", "the bot goes on"),
}
"""Words of a line that is down, and of one that is up."""


class LinkDown(msgspec.Struct, frozen=True, tag=True):
    """A line is down: entries stop until its ``LinkUp``."""

    ts_ms: int
    what: Line


class LinkUp(msgspec.Struct, frozen=True, tag=True):
    """The line is back and caught up."""

    ts_ms: int
    what: Line


class InstrumentChanged(msgspec.Struct, frozen=True, tag=True):
    """New rules or a new status for a symbol."""

    ts_ms: int
    instrument: Instrument


class TimePassed(msgspec.Struct, frozen=True, tag=True):
    """The clock has reached a time that the engine waits for, and no other event has said so.

    Without it a quiet market would delay what the engine does after a time, such as sending an exit again.
    """

    ts_ms: int


Giver = Literal["", "terminal", "page", "program"]
"""Who gave a command; empty in older journals. ``program``: the bot itself, such as at its end."""


class Command(msgspec.Struct, frozen=True, tag=True):
    """A command of the operator. ``close`` leaves the position in ``symbol``; the others need no symbol."""

    ts_ms: int
    what: Literal["pause", "resume", "flatten", "halt", "unhalt", "close"]
    symbol: str = ""
    by: Giver = ""


class StartHalt(msgspec.Struct, frozen=True):
    """Why a process begins halted: ``cause`` is a value of ``risk.breaker.Cause``."""

    cause: str
    detail: str = ""


class ProcessStarted(msgspec.Struct, frozen=True, tag=True):
    """A process has taken over the state that the journal holds; the first event of every process.

    What only the ended process could know is unknown again: lines to feed and venue, the account of a
    remote venue, and whether its last orders left. ``process`` counts the starts of one account.
    """

    ts_ms: int
    process: int
    halts: tuple[StartHalt, ...] = ()


MarketEvent = BarsClosed | Candle | Quote | MarkPrice | FundingRate | Gap | InstrumentChanged
VenueEvent = (
    Filled
    | FundingPaid
    | Transferred
    | OrderAccepted
    | OrderRejected
    | OrderUnknown
    | OrderCancelled
    | OrderRepriced
    | OrderResized
    | StopsChanged
    | StopsRejected
    | Synced
)


class StrategyFailure(msgspec.Struct, frozen=True, kw_only=True):
    """What a strategy raised: at which bar, in which line of the user's file, with which words.

    ``bar_ms`` is the bar's open time. ``file`` is a name without folders, so that a replay in another place
    says the same. ``trace`` is the way to the error, outermost call first: ``file:line in function``.
    """

    bar_ms: int
    strategy: str
    method: Literal["on_bar", "on_close", "state"] = "on_bar"
    file: str
    line: int
    error: str
    trace: tuple[str, ...] = ()


class StrategyBroke(msgspec.Struct, frozen=True, tag=True):
    """A strategy raised outside of an event: what it remembers could not be kept."""

    ts_ms: int
    symbol: str
    failure: StrategyFailure


class ModelSwapped(msgspec.Struct, frozen=True, tag=True):
    """A newer model takes the place of the one that forecasts bars of ``interval_ms``, between two bars.

    ``model`` is the hash of its weights; ``state`` is its memory, little-endian bytes, after the bars that
    the symbols have seen until now. The other fields have one value a symbol, in the order of the symbols, as
    in ``engine.forecasting.ForecasterRecord``. Together they make a replay decide the same.
    """

    ts_ms: int
    interval_ms: int
    model: str
    next_start_ms: tuple[int, ...]
    bars_seen: tuple[int, ...]
    owed_until_ms: tuple[int, ...]
    withheld_until_ms: tuple[int, ...]
    state: bytes


WorldEvent = (
    MarketEvent | LinkDown | LinkUp | Command | ProcessStarted | StrategyBroke | ModelSwapped | TimePassed
)
Event = WorldEvent | VenueEvent


class PlaceOrder(msgspec.Struct, frozen=True, tag=True):
    """Send this order. ``order_id`` becomes ``orderLinkId``; it is computed, so a retry is harmless."""

    order_id: str
    approved: Approved

    @property
    def intent(self) -> Intent:
        """What was approved."""
        return self.approved.intent


class CancelOrder(msgspec.Struct, frozen=True, tag=True):
    """Cancel the rest of an order."""

    order_id: str
    symbol: str


class SetStops(msgspec.Struct, frozen=True, tag=True):
    """Change an open position's protective orders (Bybit ``position/trading-stop``); None removes it."""

    symbol: str
    stop_loss: Decimal | None
    take_profit: Decimal | None


class SetTrailing(msgspec.Struct, frozen=True, tag=True):
    """Let a stop of an open position follow the best price at this distance, in quote per base; 0 removes it.

    It follows from now on, or once the price reaches ``from_price``. Stop loss and take profit stay as they
    are (Bybit ``position/trading-stop``).
    """

    symbol: str
    distance: Decimal
    from_price: Decimal | None = None


class Verdict(msgspec.Struct, frozen=True, tag=True):
    """For the record: what risk decided about an intent."""

    ts_ms: int
    verdict: Approved | Refused


class RiskChanged(msgspec.Struct, frozen=True, tag=True):
    """For the record and the alarm: the breaker moved. A halt must outlive the process."""

    ts_ms: int
    state: Literal["active", "reducing", "halted"]
    reason: str


class Reconciled(msgspec.Struct, frozen=True, tag=True):
    """For the record and the alarm: our state was compared with the venue's; the differences, in words.

    ``adjusted_quote`` is what changed the wallet beside trades and funding: a transfer, a rounding, or money
    that somebody else moved.
    """

    ts_ms: int
    first: bool
    differences: tuple[str, ...] = ()
    adjusted_quote: Decimal = ZERO


class StrategyStopped(msgspec.Struct, frozen=True, tag=True):
    """For the record and the alarm: a strategy raised, so its symbol takes no entries until ``unhalt``."""

    ts_ms: int
    symbol: str
    failure: StrategyFailure


VenueEffect = PlaceOrder | CancelOrder | SetStops | SetTrailing
Effect = VenueEffect | Verdict | RiskChanged | Reconciled | StrategyStopped
