"""Ordered pure checks: ``check(intent, at, limits) -> Approved | Refused``.

``CHECKS`` is the table that code, tests and documentation walk. Each predicate says "allow only if", so a
NaN, which makes every comparison false, refuses. An exit (an intent with ``reduce_only``) meets only the
checks marked ``exits``: that it is a reduction, and the instrument's own rules. All others hold back
entries alone.
"""

from collections.abc import Callable
from decimal import Decimal
from math import inf, isfinite
from typing import Literal

import msgspec

from bot.domain.errors import BadSettings
from bot.domain.market import HOUR_MS, Instrument
from bot.domain.money import ZERO, floor_to, to_decimal
from bot.domain.orders import Approved, Intent, Refused, Side
from bot.risk.entries import State, entry_block

UNSEEN = 1e300
"""A floor no equity reaches, for "none seen yet"; JSON has no infinity."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the account may risk. Money in quote, fractions of 1, times in milliseconds.

    Every limit is inclusive: at the limit is allowed, beyond it is not.

    Raises:
        BadSettings: a limit that is not a finite number >= 0.
    """

    max_order_notional_quote: Decimal = Decimal(50_000)
    """Value of one entry."""
    max_position_notional_quote: Decimal = Decimal(50_000)
    """Value of one symbol's position if all its live and unknown orders on one side filled."""
    max_total_notional_quote: Decimal = Decimal(100_000)
    """The same, summed over symbols."""
    max_leverage: Decimal = Decimal(3)
    """That sum over equity."""
    price_collar_frac: Decimal = Decimal("0.05")
    """How far an entry's limit or reference price may lie from the mark."""
    max_signal_age_ms: int = 15_000
    """From the close that was decided on to now."""
    max_data_age_ms: int = 90_000
    """Silence of the symbol's market data; a healthy candle topic speaks at least once a minute."""
    max_orders_per_minute: int = 60
    """Entries, over all symbols."""
    max_consecutive_rejects: int = 5
    """The venue's refusals in a row before the breaker halts."""
    max_daily_loss_frac: Decimal = Decimal("0.05")
    """Of the equity at 00:00 UTC."""
    on_daily_loss: Literal["reduce", "halt"] = "reduce"
    """``reduce``: no entries until the next UTC day. ``halt``: until the operator says so."""
    max_drawdown_frac: Decimal = Decimal("0.2")
    """Of the highest equity seen; beyond it the breaker halts."""
    max_consecutive_losses: int = 0
    """Losing trades in a row that start a cooldown; 0 = no cooldown."""
    loss_cooldown_ms: int = HOUR_MS
    """How long entries wait after such a streak."""
    on_halt: Literal["hold", "flatten"] = "hold"
    """What becomes of positions when the breaker halts; protective stops stay at the venue either way."""
    on_liquidation: Literal["halt", "go_on"] = "halt"
    """After the venue took a position away: liquidation or auto-deleveraging."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not isinstance(value, str) and not (isfinite(value) and value >= 0):
                raise BadSettings(f"risk.{name} must be a finite number >= 0, was {value}")


class Exposure(msgspec.Struct, frozen=True):
    """One symbol: the position in base (short is negative) and what its open orders may still do to it.

    ``live_buy_qty`` and ``live_sell_qty`` sum what live *and unknown* orders may still fill, exits included,
    and with them whatever was approved a moment ago in the same step. ``mark`` in quote per base.
    """

    symbol: str
    position: Decimal
    mark: Decimal
    live_buy_qty: Decimal = ZERO
    live_sell_qty: Decimal = ZERO

    def worst_qty(self, side: Side | None = None, qty: Decimal = ZERO) -> Decimal:
        """The largest position, long or short, any subset of fills leads to, with one more order if given."""
        buys, sells = self.live_buy_qty, self.live_sell_qty
        if side == "Buy":
            buys += qty
        elif side == "Sell":
            sells += qty
        return max(abs(self.position + buys), abs(self.position - sells))

    @property
    def worst_notional_quote(self) -> Decimal:
        """``worst_qty`` at the mark."""
        return self.worst_qty() * self.mark


class Standing(msgspec.Struct, kw_only=True):
    """What the breaker knows that entries are judged by. ``Breaker`` is one; a test may make one by hand."""

    state: State = "active"
    reason: str = ""
    day_floor_quote: float = UNSEEN
    """Lowest equity the daily loss limit allows."""
    peak_floor_quote: float = UNSEEN
    """Lowest equity the drawdown limit allows."""
    consecutive_rejects: int = 0
    cooldown_until_ms: int = 0


class RiskView(msgspec.Struct, frozen=True, kw_only=True):
    """The account at the moment of one intent; made only when there is one.

    ``others_notional_quote`` sums ``Exposure.worst_notional_quote`` of the other symbols,
    ``last_data_ms`` is when market data of this symbol last arrived, ``warm`` is True for a strategy that
    needs no model, ``entries_last_minute`` counts entries sent for any symbol.
    """

    now_ms: int
    instrument: Instrument
    exposure: Exposure
    equity_quote: float
    last_data_ms: int
    standing: Standing
    others_notional_quote: Decimal = ZERO
    entries_last_minute: int = 0
    warm: bool = True
    wish_until_ms: int = 0
    """An approved wish is carried on until then: its later orders are no stale signals."""


class Check(msgspec.Struct, frozen=True):
    """One row of the rule book; ``name`` is the reason a refusal carries."""

    name: str
    allows: Callable[[Intent, RiskView, Limits], bool]
    exits: bool = False
    """Whether exits must pass it too."""


def check(intent: Intent, at: RiskView, limits: Limits) -> Approved | Refused:
    """Walk ``CHECKS``; the first that does not allow the intent names the refusal."""
    for name, allows in _FOR_EXITS if intent.reduce_only else _FOR_ENTRIES:
        if not allows(intent, at, limits):
            return Refused(intent, name)
    return Approved(intent)


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
    rules = at.instrument
    return intent.qty <= (rules.max_market_qty if intent.order_type == "Market" else rules.max_qty)


def _closes_all(intent: Intent, at: RiskView) -> bool:
    """Dust, too, must be closable: the whole position may leave whatever its size."""
    return intent.reduce_only and intent.qty == abs(at.exposure.position)


def _min_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return intent.notional_quote >= at.instrument.min_notional_quote


def _stop_side(intent: Intent, at: RiskView, limits: Limits) -> bool:
    price = intent.price if intent.price is not None else intent.ref_price
    low, high = intent.stop_loss, intent.take_profit
    if intent.side == "Sell":
        low, high = high, low
    return (low is None or low < price) and (high is None or price < high)


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


def _breaker(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return entry_block(at.standing.state) is None


def _daily_loss(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.equity_quote >= at.standing.day_floor_quote


def _drawdown(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.equity_quote >= at.standing.peak_floor_quote


def _rejects(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.standing.consecutive_rejects < limits.max_consecutive_rejects


def _loss_streak(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.now_ms >= at.standing.cooldown_until_ms


def _warm(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.warm


def _data_age(intent: Intent, at: RiskView, limits: Limits) -> bool:
    # Both ages are bounded below too: a time from the future is a clock nobody should trade on.
    return abs(at.now_ms - at.last_data_ms) <= limits.max_data_age_ms


def _signal_age(intent: Intent, at: RiskView, limits: Limits) -> bool:
    age_ms = at.now_ms - intent.decided_ms
    return abs(age_ms) <= limits.max_signal_age_ms or (age_ms >= 0 and at.now_ms <= at.wish_until_ms)


def _collar(intent: Intent, at: RiskView, limits: Limits) -> bool:
    price = intent.price if intent.price is not None else intent.ref_price
    return abs(price - at.exposure.mark) <= limits.price_collar_frac * at.exposure.mark


def _order_rate(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.entries_last_minute < limits.max_orders_per_minute


def _order_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return intent.notional_quote <= limits.max_order_notional_quote


def _position_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return _worst_notional(intent, at) <= limits.max_position_notional_quote


def _total_notional(intent: Intent, at: RiskView, limits: Limits) -> bool:
    return at.others_notional_quote + _worst_notional(intent, at) <= limits.max_total_notional_quote


def _leverage(intent: Intent, at: RiskView, limits: Limits) -> bool:
    allowed = min(limits.max_leverage, at.instrument.max_leverage)
    worst = at.others_notional_quote + _worst_notional(intent, at)
    return worst <= allowed * to_decimal(at.equity_quote)


def _worst_notional(intent: Intent, at: RiskView) -> Decimal:
    return at.exposure.worst_qty(intent.side, intent.qty) * at.exposure.mark


CHECKS: tuple[Check, ...] = (
    Check("not_finite", _finite_order, exits=True),
    Check("symbol", _same_symbol, exits=True),
    Check("not_a_reduction", _reduction, exits=True),
    Check("status", _status, exits=True),
    Check("price_step", _price_step, exits=True),
    Check("qty_step", _qty_step, exits=True),
    Check("min_qty", _min_qty, exits=True),
    Check("max_qty", _max_qty, exits=True),
    Check("min_notional", _min_notional),
    Check("stop_side", _stop_side),
    Check("account_not_finite", _finite_account),
    Check("breaker", _breaker),
    Check("daily_loss", _daily_loss),
    Check("drawdown", _drawdown),
    Check("rejects", _rejects),
    Check("loss_streak", _loss_streak),
    Check("cold", _warm),
    Check("stale_data", _data_age),
    Check("stale_signal", _signal_age),
    Check("price_collar", _collar),
    Check("order_rate", _order_rate),
    Check("order_notional", _order_notional),
    Check("position_notional", _position_notional),
    Check("total_notional", _total_notional),
    Check("leverage", _leverage),
)

_FOR_ENTRIES = tuple((rule.name, rule.allows) for rule in CHECKS)
_FOR_EXITS = tuple((rule.name, rule.allows) for rule in CHECKS if rule.exits)
