"""Rules of TP/SL and trailing stops of a position: which requests ``position/trading-stop`` accepts.

Bybit's rules (order/create, position/trading-stop): ``Full`` is one pair of the position's size, closed at
the market; ``Partial`` adds up to 20 orders of a size of their own, market or limit, and tpSize must equal
slSize. https://bybit-exchange.github.io/docs/v5/position/trading-stop
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from bot.domain.market import Instrument
from bot.domain.money import ZERO
from bot.exchange.orders import TAKE_PROFITS, ExchangeOrder, TradingStop, TriggerBy
from bot.exchange.rulebook import refusals
from bot.exchange.rulebook.price_band import in_range
from bot.exchange.rulebook.refusals import Missed, Refusal

PARTIAL_MAX = 20


def refuse_side(
    long: bool,
    base: Decimal,
    stop_loss: Decimal | None,
    take_profit: Decimal | None,
    instrument: Instrument,
) -> Refusal | None:
    """Refuse a stop or target on the wrong side of ``base`` (a price, or an order's limit price)."""
    side = "Buy" if long else "Sell"
    if stop_loss is not None and not (stop_loss < base if long else stop_loss > base):
        return Missed(10001, f"sl:{stop_loss} set for {side} position on the wrong side of base_price:{base}")
    if take_profit is not None and not (take_profit > base if long else take_profit < base):
        return Missed(
            10001, f"tp:{take_profit} set for {side} position on the wrong side of base_price:{base}"
        )
    for price in (stop_loss, take_profit):
        if price is not None and (refusal := in_range(price, instrument)):
            return refusal
    return None


class ProtectedPosition(NamedTuple):
    """A position and the protective orders that wait beside it."""

    instrument: Instrument
    qty: Decimal
    """Signed."""
    last: Decimal
    sl_base: Decimal
    """Price that the stop loss asked for would look at."""
    tp_base: Decimal
    waiting: Iterable[ExchangeOrder]

    def full(self, kind: str) -> ExchangeOrder | None:
        """The one full-size stop loss, take profit or trailing stop."""
        return next((order for order in self.waiting if order.stop_order_type == kind), None)


def refuse(position: ProtectedPosition, asked: TradingStop) -> Refusal | None:
    """The first rule that ``asked`` breaks, None if it breaks none."""
    instrument, long = position.instrument, position.qty > ZERO
    wrong = refuse_side(long, position.sl_base, asked.stop_loss or None, None, instrument) or refuse_side(
        long, position.tp_base, None, asked.take_profit or None, instrument
    )
    if wrong is not None:
        return wrong
    trailing, tick = asked.trailing_stop, instrument.tick_size
    if trailing and (not ZERO < trailing < position.last or (tick and trailing % tick)):
        return refusals.BAD_DISTANCE
    for price in (asked.active_price, asked.sl_limit_price, asked.tp_limit_price):
        if price and (refusal := in_range(price, instrument)):
            return refusal
    refusal = refuse_kinds(
        asked.tpsl_mode,
        (asked.sl_order_type, asked.sl_limit_price),
        (asked.tp_order_type, asked.tp_limit_price),
    )
    if refusal is not None:
        return refusal
    if asked.tpsl_mode == "Partial":
        return _refuse_partial(position, asked)
    return refusals.NOT_MODIFIED if _same(position, asked) else None


def refuse_moved(
    order: ExchangeOrder, price: Decimal, trigger: Decimal, base: Decimal, instrument: Instrument
) -> Refusal | None:
    """A TP/SL order that is amended keeps its limit price on the grid and its trigger on its side."""
    off_grid = in_range(price, instrument) if price != order.price else None
    if off_grid is not None:
        return off_grid
    target = order.stop_order_type in TAKE_PROFITS
    stop, goal = (None, trigger) if target else (trigger, None)
    return refuse_side(order.side == "Sell", base, stop, goal, instrument)


def refuse_kinds(
    mode: str, stop_loss: tuple[str, Decimal | None], take_profit: tuple[str, Decimal | None]
) -> Refusal | None:
    """TP/SL limit orders need ``Partial`` mode and a limit price; each leg is (order type, limit price)."""
    for kind, limit in (stop_loss, take_profit):
        if kind != "Limit":
            continue
        if mode != "Partial":
            return refusals.FULL_IS_MARKET
        if not limit:
            return refusals.NO_STOP_LIMIT
    return None


def _refuse_partial(position: ProtectedPosition, asked: TradingStop) -> Refusal | None:
    if (asked.stop_loss and not asked.sl_size) or (asked.take_profit and not asked.tp_size):
        return refusals.NO_SIZE
    if asked.stop_loss and asked.take_profit and asked.sl_size != asked.tp_size:
        return refusals.UNEQUAL_SIZES
    sizes = [size for size in (asked.sl_size, asked.tp_size) if size is not None]
    if not all(is_size(size, position.qty, position.instrument) for size in sizes):
        return refusals.BAD_SIZE
    there = sum(order.tpsl_mode == "Partial" for order in position.waiting)
    more = bool(asked.stop_loss) + bool(asked.take_profit)
    if there + more > PARTIAL_MAX:
        return refusals.TOO_MANY_PARTIAL
    return refusals.NOT_MODIFIED if not more and asked.trailing_stop is None else None


def is_size(size: Decimal, position_qty: Decimal, instrument: Instrument) -> bool:
    """Return True if a TP/SL order may have this size: a multiple of the step, or the whole position."""
    least, step = instrument.min_qty, instrument.qty_step
    stepped = size >= least and size > ZERO and not (step and size % step)
    return stepped or size == abs(position_qty)


def _same(position: ProtectedPosition, asked: TradingStop) -> bool:
    """Return True if the request would change nothing."""
    trail = position.full("TrailingStop")
    return (
        _equal(position.full("StopLoss"), asked.stop_loss, asked.sl_trigger_by)
        and _equal(position.full("TakeProfit"), asked.take_profit, asked.tp_trigger_by)
        and (
            asked.trailing_stop is None
            or (
                (trail.trailing_quote if trail is not None else ZERO) == asked.trailing_stop
                and (
                    asked.active_price is None
                    or (trail is not None and trail.active_price == asked.active_price)
                )
            )
        )
    )


def _equal(present: ExchangeOrder | None, trigger: Decimal | None, trigger_by: TriggerBy) -> bool:
    if trigger is None:
        return True
    if present is None:
        return not trigger
    return present.trigger_price == trigger and present.trigger_by == trigger_by
