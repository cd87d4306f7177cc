"""Ordered pure checks: ``check(intent, at, limits) -> Approved | Refused``.

Code, tests and documentation all read the table ``CHECKS``. Each check is written as "allow only if", so a
NaN, which makes every comparison false, refuses. An exit (an intent with ``reduce_only``) must pass only the
checks marked ``exits``: that it reduces the position, and the instrument's own rules. All other checks apply
to entries only.
"""

from collections.abc import Callable
from decimal import Decimal
from math import inf, isfinite
from typing import Literal

import msgspec

from bot.domain.errors import BadSettings
from bot.domain.ledger import Position
from bot.domain.margin import exact_tiers, liquidation_price
from bot.domain.market import HOUR_MS, Instrument
from bot.domain.money import ZERO, floor_to, to_decimal
from bot.domain.orders import Approved, Intent, Refused, Side
from bot.risk.entries import TradingState, entry_block

_ALL_OF_IT = Decimal("1.000000001")
"""All of the equity, with room for the rounding of a quantity that a strategy computes as a float."""
UNSEEN = 1e300
"""Stands for "no equity seen yet", because JSON has no infinity. No equity reaches this number."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The risk limits of the account. Money in quote, fractions of 1, times in milliseconds.

    Every limit is inclusive: a value equal to the limit is allowed.

    Raises:
        BadSettings: a limit is not a finite number >= 0.
    """

    max_order_notional_quote: Decimal = Decimal(50_000)
    """Value of one entry."""
    max_position_notional_quote: Decimal = Decimal(50_000)
    """Value of one symbol's position if all its live and unknown orders on one side were filled."""
    max_total_notional_quote: Decimal = Decimal(100_000)
    """Sum of these position values over all symbols."""
    max_leverage: Decimal = Decimal(3)
    """That sum divided by equity."""
    price_collar_frac: Decimal = Decimal("0.05")
    """Largest distance of an entry's limit or reference price from the mark."""
    max_slippage_bps: int = 100
    """Furthest that a market entry may be filled from the best price at its arrival; 0 = the venue's bound.

    Exits carry no bound of ours: a position that cannot be left is worse than a bad price. The venue's own
    protection (5 % beyond the last price, and its price limits) holds for them too.
    """
    max_daily_notional_quote: Decimal = ZERO
    """Value of all entries of one UTC day: filled, live and unknown. 0 = no limit."""
    max_signal_age_ms: int = 15_000
    """Time from the close of the decision until the entry leaves the process, waiting in queues included."""
    max_data_age_ms: int = 90_000
    """Time since the symbol's last market data. A healthy candle topic sends at least once a minute."""
    max_orders_per_minute: int = 60
    """Entries per minute, over all symbols."""
    max_consecutive_rejects: int = 5
    """Number of rejects by the venue in a row, within ``reject_window_ms``, at which the breaker halts."""
    reject_window_ms: int = HOUR_MS
    """How long a reject counts; an accepted order ends the row at once."""
    max_daily_loss_frac: Decimal = Decimal("0.05")
    """Loss since 00:00 UTC, as a fraction of the equity at 00:00 UTC."""
    on_daily_loss: Literal["reduce", "halt"] = "reduce"
    """``reduce``: no entries until the next UTC day. ``halt``: halt until the operator lifts it."""
    max_drawdown_frac: Decimal = Decimal("0.2")
    """Loss from the highest equity, as a fraction of it. Beyond this limit the breaker halts."""
    max_consecutive_losses: int = 0
    """Number of losing trades in a row that starts a cooldown; 0 = no cooldown."""
    loss_cooldown_ms: int = HOUR_MS
    """How long the cooldown stops entries."""
    unknown_order_reduce_ms: int = 30_000
    """How long the fate of an order may be unknown before entries stop; to prove an absence takes 12 s."""
    unknown_order_halt_ms: int = 300_000
    """How long it may be unknown before the breaker halts."""
    on_halt: Literal["hold", "flatten"] = "hold"
    """Positions at a halt: keep or close them. Protective stops stay at the venue in both cases."""
    on_liquidation: Literal["halt", "go_on"] = "halt"
    """Whether to halt after the venue closed a position by liquidation or auto-deleveraging."""
    isolated_leverage: Decimal = ZERO
    """Leverage of isolated positions: the further it is from 1, the nearer is their liquidation. 0: cross."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not isinstance(value, str) and not (isfinite(value) and value >= 0):
                raise BadSettings(f"risk.{name} must be a finite number >= 0, was {value}")


class Exposure(msgspec.Struct, frozen=True):
    """One symbol: the position in base (negative when short) and what its open orders may still change.

    ``live_buy_qty`` and ``live_sell_qty`` sum the quantities that live *and unknown* orders may still fill,
    including exits and orders approved a moment ago in the same step. ``mark`` is in quote per base.
    ``foreign_qty`` is the part of the venue's position that is not ours; it is never on the other side.
    """

    symbol: str
    position: Decimal
    mark: Decimal
    live_buy_qty: Decimal = ZERO
    live_sell_qty: Decimal = ZERO
    foreign_qty: Decimal = ZERO

    def worst_qty(self, side: Side | None = None, qty: Decimal = ZERO) -> Decimal:
        """Return the largest position, long or short, that any subset of fills can lead to.

        ``side`` and ``qty`` add one more order.
        """
        buys, sells = self.live_buy_qty, self.live_sell_qty
        if side == "Buy":
            buys += qty
        elif side == "Sell":
            sells += qty
        held = self.position + self.foreign_qty
        return max(abs(held + buys), abs(held - sells))

    @property
    def worst_notional_quote(self) -> Decimal:
        """Value of ``worst_qty`` at the mark."""
        return self.worst_qty() * self.mark


class BreakerState(msgspec.Struct, kw_only=True):
    """The state of the breaker that the checks read. ``Breaker`` extends it; a test may make one by hand."""

    state: TradingState = "active"
    reason: str = ""
    day_floor_quote: float = UNSEEN
    """Lowest equity the daily loss limit allows."""
    peak_floor_quote: float = UNSEEN
    """Lowest equity the drawdown limit allows."""
    consecutive_rejects: int = 0
    cooldown_until_ms: int = 0


class RiskView(msgspec.Struct, frozen=True, kw_only=True):
    """The account at the moment of one intent. Made only when there is an intent.

    ``others_notional_quote`` sums ``Exposure.worst_notional_quote`` of the other symbols. ``last_data_ms`` is
    the arrival of this symbol's last market data. ``warm`` is True for a strategy that needs no model.
    ``entries_last_minute`` counts the entries sent for all symbols.
    """

    now_ms: int
    instrument: Instrument
    exposure: Exposure
    equity_quote: float
    last_data_ms: int
    breaker: BreakerState
    others_notional_quote: Decimal = ZERO
    entries_last_minute: int = 0
    entered_today_quote: Decimal = ZERO
    """Value of today's entries: what was filled, and what live and unknown ones may still fill."""
    warm: bool = True
    stopped: bool = False
    """Whether the symbol's strategy raised: nobody wants this entry any more."""
    entry_value_quote: Decimal = ZERO
    """Σ quantity × price of the symbol's open position; negative when short."""
    stop_at_venue: Decimal | None = None
    """The stop that the open position has; an entry that adds to it and names none keeps it."""
    target_until_ms: int = 0
    """Until this time an already approved target may place more orders; they are not stale signals."""


Judge = Callable[[Intent, RiskView, Limits], Approved | Refused]
"""Decides about one intent: ``check``, or an observing one (``observing.Observer``)."""


class Check(msgspec.Struct, frozen=True):
    """One row of ``CHECKS``. ``name`` is the reason of a refusal."""

    name: str
    allows: Callable[[Intent, RiskView, Limits], bool]
    exits: bool = False
    """Whether exits must pass this check too."""
    numbers: Callable[[Intent, RiskView, Limits], tuple[Decimal | None, Decimal | None]] | None = None
    """What an intent wants and what is allowed, for people; None if the check compares no numbers."""

    def refuse(self, intent: Intent, at: RiskView, limits: Limits) -> Refused:
        """Return the refusal with its numbers."""
        if self.numbers is None:
            return Refused(intent, self.name)
        return Refused(intent, self.name, *self.numbers(intent, at, limits))


def check(intent: Intent, at: RiskView, limits: Limits) -> Approved | Refused:
    """Apply ``CHECKS`` in order. The first check that does not allow the intent is the refusal's reason."""
    for rule, allows in _FOR_EXITS if intent.reduce_only else _FOR_ENTRIES:
        if not allows(intent, at, limits):
            return rule.refuse(intent, at, limits)
    return approve(intent, at, limits)


def approve(intent: Intent, at: RiskView, limits: Limits) -> Approved:
    """Return the approval of an intent that passed its checks, with the bounds that hold after it."""
    if intent.reduce_only:
        return Approved(intent)
    leave_by_ms = max(intent.decided_ms + limits.max_signal_age_ms, at.target_until_ms)
    return Approved(intent, leave_by_ms, limits.max_slippage_bps if intent.order_type == "Market" else 0)


def _finite_order(intent: Intent, at: RiskView, limits: Limits) -> bool:
    for number in (intent.price, intent.stop_loss, intent.take_profit):
        if number is not None and not number.is_finite():
            return False
    return intent.qty.is_finite() and intent.ref_price.is_finite() and at.exposure.position.is_finite()


def _same_symbol(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return intent.symbol == at.instrument.symbol == at.exposure.symbol


def _reduction(intent: Intent, at: RiskView, limits: Limits) -> bool:
    position = at.exposure.position
    against = position > ZERO if intent.side == "Sell" else position < ZERO
    return not intent.reduce_only or (against and intent.qty <= abs(position))


def _status(intent: Intent, at: RiskView, limits: Limits) -> bool:
    status = at.instrument.status
    return status == "Trading" or (intent.reduce_only and status == "Delivering")


def _price_step(intent: Intent, at: RiskView, limits: Limits) -> bool:
    rules = at.instrument
    for price in (intent.price, intent.stop_loss, intent.take_profit):
        if price is not None and not (
            rules.min_price <= price <= rules.max_price and floor_to(price, rules.tick_size) == price
        ):
            return False
    return True


def _qty_step(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return _closes_all(intent, at) or floor_to(intent.qty, at.instrument.qty_step) == intent.qty


def _min_qty(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return _closes_all(intent, at) or intent.qty >= at.instrument.min_qty


def _max_qty(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return intent.qty <= _largest(intent, at)


def _largest(intent: Intent, at: RiskView) -> Decimal:
    rules = at.instrument
    return rules.max_market_qty if intent.order_type == "Market" else rules.max_qty


def _closes_all(intent: Intent, at: RiskView) -> bool:
    """True for an exit of the whole position. It may have any size, so that a small rest can be closed."""
    return intent.reduce_only and intent.qty == abs(at.exposure.position)


def _min_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return intent.notional_quote >= at.instrument.min_notional_quote


def _stop_side(intent: Intent, at: RiskView, limits: Limits) -> bool:
    price = intent.price if intent.price is not None else intent.ref_price
    low, high = intent.stop_loss, intent.take_profit
    if intent.side == "Sell":
        low, high = high, low
    if not ((low is None or low < price) and (high is None or price < high)):
        return False
    prices = [take.price for take in intent.takes or () if take.price is not None]
    return all(price < at if intent.side == "Buy" else at < price for at in prices)


def _stop_liquidation(intent: Intent, at: RiskView, limits: Limits) -> bool:
    if not limits.isolated_leverage:  # nearly always
        return True
    stop_loss = _stop_to_come(intent, at)
    return stop_loss is None or comes_first(stop_loss, intent.side, _liquidation(intent, at, limits))


def _stop_to_come(intent: Intent, at: RiskView) -> Decimal | None:
    return at.stop_at_venue if intent.stop_loss is None and _adds(intent, at) else intent.stop_loss


def _adds(intent: Intent, at: RiskView) -> bool:
    held = at.exposure.position
    return bool(held) and (held > ZERO) == (intent.side == "Buy")


def _liquidation(intent: Intent, at: RiskView, limits: Limits) -> Decimal | None:
    """Return the price at which the isolated position is liquidated that the entry leads to."""
    position = Position()
    if _adds(intent, at):  # a position on the other side is closed before
        position = Position(at.exposure.position, at.entry_value_quote)
    position.apply(intent.side, intent.qty, intent.price if intent.price is not None else intent.ref_price)
    return isolated_liquidation(position, limits.isolated_leverage, at.instrument)


def isolated_liquidation(position: Position, leverage: Decimal, rules: Instrument) -> Decimal | None:
    """Return where an isolated position is liquidated; None: nowhere. ``leverage`` is 0 in cross margin."""
    if not leverage or rules.market == "spot":
        return None
    return liquidation_price(position, min(leverage, rules.max_leverage), exact_tiers(rules.tiers))


def comes_first(stop_loss: Decimal, side: Side, liquidation: Decimal | None) -> bool:
    """Return True if a position on ``side`` meets its stop before its liquidation."""
    if liquidation is None:
        return True
    return stop_loss > liquidation if side == "Buy" else stop_loss < liquidation


def _finite_account(intent: Intent, at: RiskView, limits: Limits) -> bool:
    seen = at.exposure
    return (
        0.0 < at.equity_quote < inf
        and seen.mark.is_finite()
        and seen.mark > ZERO
        and seen.live_buy_qty.is_finite()
        and seen.live_sell_qty.is_finite()
        and at.others_notional_quote.is_finite()
    )


def _spot_short(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.instrument.market != "spot" or intent.side == "Buy"


def _spot_borrowed(intent: Intent, at: RiskView, limits: Limits) -> bool:
    if at.instrument.market != "spot":
        return True
    worst = at.others_notional_quote + _worst_notional(intent, at)
    return worst <= to_decimal(at.equity_quote) * _ALL_OF_IT


def _breaker(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return entry_block(at.breaker.state) is None


def _foreign_position(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.exposure.foreign_qty == ZERO


def _daily_loss(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.equity_quote >= at.breaker.day_floor_quote


def _drawdown(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.equity_quote >= at.breaker.peak_floor_quote


def _rejects(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.breaker.consecutive_rejects < limits.max_consecutive_rejects


def _loss_streak(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.now_ms >= at.breaker.cooldown_until_ms


def _warm(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.warm


def _strategy_works(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return not at.stopped


def _data_age(intent: Intent, at: RiskView, limits: Limits) -> bool:
    # ``abs``: a time in the future also fails, because one of the clocks is then wrong.
    return abs(at.now_ms - at.last_data_ms) <= limits.max_data_age_ms


def _signal_age(intent: Intent, at: RiskView, limits: Limits) -> bool:
    age_ms = at.now_ms - intent.decided_ms
    return abs(age_ms) <= limits.max_signal_age_ms or (age_ms >= 0 and at.now_ms <= at.target_until_ms)


def _collar(intent: Intent, at: RiskView, limits: Limits) -> bool:
    price = intent.price if intent.price is not None else intent.ref_price
    return abs(price - at.exposure.mark) <= limits.price_collar_frac * at.exposure.mark


def _order_rate(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.entries_last_minute < limits.max_orders_per_minute


def _order_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return intent.notional_quote <= limits.max_order_notional_quote


def _daily_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    limit = limits.max_daily_notional_quote
    return not limit or at.entered_today_quote + intent.notional_quote <= limit


def _position_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return _worst_notional(intent, at) <= limits.max_position_notional_quote


def _total_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.others_notional_quote + _worst_notional(intent, at) <= limits.max_total_notional_quote


def _leverage(intent: Intent, at: RiskView, limits: Limits) -> bool:
    allowed = min(limits.max_leverage, at.instrument.max_leverage)
    worst = at.others_notional_quote + _worst_notional(intent, at)
    return worst <= allowed * to_decimal(at.equity_quote)


def _known(value: float) -> Decimal | None:
    return to_decimal(value) if isfinite(value) else None


def _leverage_wanted(intent: Intent, at: RiskView) -> Decimal:
    return (at.others_notional_quote + _worst_notional(intent, at)) / to_decimal(at.equity_quote)


def _off_mark(intent: Intent, at: RiskView) -> Decimal:
    price = intent.price if intent.price is not None else intent.ref_price
    return abs(price - at.exposure.mark) / at.exposure.mark


def _worst_notional(intent: Intent, at: RiskView) -> Decimal:
    return at.exposure.worst_qty(intent.side, intent.qty) * at.exposure.mark


CHECKS: tuple[Check, ...] = (
    Check("not_finite", _finite_order, exits=True),
    Check("symbol", _same_symbol, exits=True),
    Check("not_a_reduction", _reduction, exits=True),
    Check("status", _status, exits=True),
    Check("price_step", _price_step, exits=True),
    Check("qty_step", _qty_step, exits=True),
    Check("min_qty", _min_qty, exits=True, numbers=lambda i, at, _: (i.qty, at.instrument.min_qty)),
    Check("max_qty", _max_qty, exits=True, numbers=lambda i, at, _: (i.qty, _largest(i, at))),
    Check(
        "min_notional",
        _min_notional,
        numbers=lambda i, at, _: (i.notional_quote, at.instrument.min_notional_quote),
    ),
    Check("stop_side", _stop_side),
    Check("account_not_finite", _finite_account),
    Check(
        "stop_liquidation",
        _stop_liquidation,
        numbers=lambda i, at, lim: (_stop_to_come(i, at), _liquidation(i, at, lim)),
    ),
    Check("spot_short", _spot_short),
    Check(
        "spot_borrowed",
        _spot_borrowed,
        numbers=lambda i, at, _: (_leverage_wanted(i, at), Decimal(1)),
    ),
    Check("breaker", _breaker),
    Check("foreign_position", _foreign_position),
    Check(
        "daily_loss",
        _daily_loss,
        numbers=lambda _, at, __: (_known(at.equity_quote), _known(at.breaker.day_floor_quote)),
    ),
    Check(
        "drawdown",
        _drawdown,
        numbers=lambda _, at, __: (_known(at.equity_quote), _known(at.breaker.peak_floor_quote)),
    ),
    Check(
        "rejects",
        _rejects,
        numbers=lambda _, at, lim: (
            Decimal(at.breaker.consecutive_rejects),
            Decimal(lim.max_consecutive_rejects),
        ),
    ),
    Check("loss_streak", _loss_streak),
    Check("cold", _warm),
    Check("strategy_stopped", _strategy_works),
    Check(
        "stale_data",
        _data_age,
        numbers=lambda _, at, lim: (Decimal(at.now_ms - at.last_data_ms), Decimal(lim.max_data_age_ms)),
    ),
    Check(
        "stale_signal",
        _signal_age,
        numbers=lambda i, at, lim: (Decimal(at.now_ms - i.decided_ms), Decimal(lim.max_signal_age_ms)),
    ),
    Check("price_collar", _collar, numbers=lambda i, at, lim: (_off_mark(i, at), lim.price_collar_frac)),
    Check(
        "order_rate",
        _order_rate,
        numbers=lambda _, at, lim: (Decimal(at.entries_last_minute + 1), Decimal(lim.max_orders_per_minute)),
    ),
    Check(
        "order_notional",
        _order_notional,
        numbers=lambda i, _, lim: (i.notional_quote, lim.max_order_notional_quote),
    ),
    Check(
        "daily_notional",
        _daily_notional,
        numbers=lambda i, at, lim: (at.entered_today_quote + i.notional_quote, lim.max_daily_notional_quote),
    ),
    Check(
        "position_notional",
        _position_notional,
        numbers=lambda i, at, lim: (_worst_notional(i, at), lim.max_position_notional_quote),
    ),
    Check(
        "total_notional",
        _total_notional,
        numbers=lambda i, at, lim: (
            at.others_notional_quote + _worst_notional(i, at),
            lim.max_total_notional_quote,
        ),
    ),
    Check(
        "leverage",
        _leverage,
        numbers=lambda i, at, lim: (
            _leverage_wanted(i, at),
            min(lim.max_leverage, at.instrument.max_leverage),
        ),
    ),
)

NEEDS_ROOM = frozenset({"spot_borrowed", "total_notional", "leverage"})
"""Checks whose answer changes once positions of other symbols are closed."""
_FOR_ENTRIES = tuple((rule, rule.allows) for rule in CHECKS)
_FOR_EXITS = tuple((rule, rule.allows) for rule in CHECKS if rule.exits)
