"""Parse a request's parameters into the actions of the exchange: orders, changes, stops.

Only the form is checked here (missing, unreadable or contradictory parameters, retCode 10001). ``exchange``
checks sizes, prices, margins and positions. Numbers come as text; some clients send JSON numbers.
https://bybit-exchange.github.io/docs/v5/order/create-order
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, NamedTuple, cast

from bot.domain.market import Instrument
from bot.domain.money import ZERO, floor_to
from bot.domain.orders import OrderType, Side, TimeInForce
from bot.exchange.orders import (
    AddMargin,
    Amend,
    NewOrder,
    SetLeverage,
    SlippageKind,
    TpslMode,
    TradingStop,
    TriggerBy,
)
from bot.simulator.account.access import RequestRefused

Params = Mapping[str, object]
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,24}(\.[0-9]{1,24})?|[+-]?\.[0-9]{1,24}")
_NOT_HERE = ("orderIv",)
_SLIPPAGE: Mapping[str, tuple[Decimal, Decimal]] = {
    "TickSize": (Decimal(1), Decimal(10_000)),
    "Percent": (Decimal("0.01"), Decimal(10)),
}
"""Least and most of ``slippageTolerance``, each kind."""
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "PostOnly")
_TRIGGERS = ("LastPrice", "MarkPrice", "IndexPrice")


def bad(what: str) -> RequestRefused:
    """Return a refusal of a parameter."""
    return RequestRefused(10001, f"params error: {what}")


def category_of(params: Params) -> str:
    """Return ``linear``, the only category that trades here.

    Raises:
        RequestRefused: 10001, missing or another.
    """
    category = params.get("category")
    if category == "linear":
        return "linear"
    if category in ("spot", "inverse", "option"):
        raise RequestRefused(10001, f"Not supported category: {category} is not traded here")
    raise bad("category invalid")


def text(params: Params, name: str) -> str:
    """A text parameter, "" if it is absent."""
    value = params.get(name)
    if value is None:
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    raise bad(f"{name} invalid")


def symbol_of(params: Params) -> str:
    """The symbol, upper case as given.

    Raises:
        RequestRefused: 10001, missing.
    """
    symbol = text(params, "symbol")
    if not symbol:
        raise bad("symbol invalid")
    return symbol


def side_of(params: Params) -> Side:
    """``Buy`` or ``Sell``.

    Raises:
        RequestRefused: 10001, anything else.
    """
    return cast(Side, choice(params, "side", ("Buy", "Sell"), "missing"))


def number(params: Params, name: str) -> Decimal | None:
    """A decimal parameter; None if it is absent or empty.

    Raises:
        RequestRefused: 10001, not a plain decimal number.
    """
    value = params.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise bad(f"{name} invalid")
    written = value if isinstance(value, str) else format(Decimal(repr(value)), "f")
    if _NUMBER.fullmatch(written) is None:
        raise bad(f"{name} invalid")
    return Decimal(written)


def price(params: Params, name: str) -> Decimal | None:
    """A price; None if absent, empty or zero.

    Raises:
        RequestRefused: 10001, unreadable or below zero.
    """
    value = number(params, name)
    if value is None or not value:
        return None
    if value < ZERO:
        raise bad(f"{name} invalid")
    return value


def flag(params: Params, name: str) -> bool:
    """A boolean parameter, False if absent; ``"true"`` and ``"false"`` count too."""
    value = params.get(name)
    if value is None or value == "":
        return False
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise bad(f"{name} invalid")


def choice(params: Params, name: str, allowed: tuple[str, ...], default: str) -> str:
    """Return a parameter that must be one of the given words.

    Raises:
        RequestRefused: 10001, another word.
    """
    value = text(params, name) or default
    if value not in allowed:
        raise bad(f"{name} invalid")
    return value


def small_int(params: Params, name: str, allowed: tuple[int, ...], default: int) -> int:
    """Return a parameter that must be one of the given whole numbers, as a number or as text.

    Raises:
        RequestRefused: 10001, another.
    """
    value = params.get(name)
    if value is None or value == "":
        return default
    if isinstance(value, bool) or str(value) not in {str(each) for each in allowed}:
        raise bad(f"{name} invalid")
    return int(str(value))


def link_id_of(params: Params) -> str:
    """``orderLinkId``: up to 36 of letters, digits, ``-`` and ``_``; "" if absent.

    Raises:
        RequestRefused: 10001, anything else.
    """
    link_id = text(params, "orderLinkId")
    if link_id and _LINK_ID.fullmatch(link_id) is None:
        raise bad("orderLinkId must be 1 to 36 of letters, digits, - and _")
    return link_id


def best_offer(params: Params) -> tuple[Literal["Queue", "Counterparty"], int] | None:
    """Return side and level (1 to 5) of the book from which a limit order takes its price.

    Raises:
        RequestRefused: 10001, one without the other, or not with a limit order.
    """
    if not params.get("bboSideType") and not params.get("bboLevel"):
        return None
    side = choice(params, "bboSideType", ("Queue", "Counterparty"), "missing")
    level = small_int(params, "bboLevel", (1, 2, 3, 4, 5), 0)
    if not level or text(params, "orderType") != "Limit" or price(params, "triggerPrice") is not None:
        raise bad("bboSideType and bboLevel 1 to 5 go together, with a limit order that has no trigger")
    return cast(Literal["Queue", "Counterparty"], side), level


def _slippage(params: Params, order_type: str) -> tuple[SlippageKind, Decimal]:
    kind, much = text(params, "slippageToleranceType"), number(params, "slippageTolerance")
    if kind in ("", "UNKNOWN") and not much:
        return "", ZERO
    least, most = _SLIPPAGE.get(kind, (ZERO, ZERO))
    whole = kind != "TickSize" or much is None or not much % 1
    if order_type != "Market" or much is None or not least <= much <= most or not whole:
        raise bad("slippageTolerance must be 1 to 10000 TickSize or 0.01 to 10 Percent of a market order")
    return cast(SlippageKind, kind), much


def new_order(params: Params, order_id: str) -> NewOrder:
    """Parse the order of an ``order/create`` request.

    A quantity of 0 (only with reduceOnly and closeOnTrigger) asks for the whole position; the caller
    knows how large that is.

    Raises:
        RequestRefused: 10001, the parameter that is wrong.
    """
    symbol = symbol_of(params)
    side = side_of(params)
    order_type = cast(OrderType, choice(params, "orderType", ("Market", "Limit"), "missing"))
    for name in _NOT_HERE:
        if params.get(name):
            raise bad(f"{name} is not supported by this exchange")
    reduce_only, close_on_trigger = flag(params, "reduceOnly"), flag(params, "closeOnTrigger")
    limit = price(params, "price") if order_type == "Limit" else None
    if order_type == "Limit" and limit is None:
        raise bad("price is required for a limit order")
    tif = choice(params, "timeInForce", _TIMES_IN_FORCE, "GTC")
    trigger = price(params, "triggerPrice")
    direction = small_int(params, "triggerDirection", (0, 1, 2), 0)
    if trigger is not None and not direction:
        raise bad("triggerDirection is required with triggerPrice")
    slippage_type, slippage = _slippage(params, order_type)
    stop_loss, take_profit = price(params, "stopLoss"), price(params, "takeProfit")
    protected = stop_loss is not None or take_profit is not None
    if reduce_only and protected:
        raise bad("reduce-only orders take no TP/SL")
    stops = _stops(params)
    return NewOrder(
        order_id=order_id,
        link_id=link_id_of(params),
        symbol=symbol,
        side=side,
        order_type=order_type,
        qty=_qty(params, reduce_only and close_on_trigger),
        price=limit,
        time_in_force="IOC" if order_type == "Market" else cast(TimeInForce, tif),
        position_idx=small_int(params, "positionIdx", (0, 1, 2), 0),
        reduce_only=reduce_only,
        close_on_trigger=close_on_trigger,
        trigger_price=trigger,
        trigger_direction=direction if trigger is not None else 0,
        trigger_by=_trigger_by(params, "triggerBy"),
        stop_loss=stop_loss,
        take_profit=take_profit,
        sl_trigger_by=stops.sl_trigger_by,
        tp_trigger_by=stops.tp_trigger_by,
        tpsl_mode=stops.mode if protected else "",
        sl_limit_price=stops.sl_limit_price,
        tp_limit_price=stops.tp_limit_price,
        sl_order_type=stops.sl_order_type,
        tp_order_type=stops.tp_order_type,
        slippage_type=slippage_type,
        slippage=slippage,
    )


def _trigger_by(params: Params, name: str) -> TriggerBy:
    return cast(TriggerBy, choice(params, name, _TRIGGERS, "LastPrice"))


def _qty(params: Params, closes_all: bool) -> Decimal:
    qty = number(params, "qty")
    if qty is None:
        raise bad("qty invalid")
    if qty < ZERO or (not qty and not closes_all):
        raise RequestRefused(10001, "The number of contracts exceeds minimum limit allowed")
    return qty


class _Stops(NamedTuple):
    """The TP/SL parameters of a request."""

    mode: TpslMode
    sl_trigger_by: TriggerBy
    tp_trigger_by: TriggerBy
    sl_order_type: OrderType
    tp_order_type: OrderType
    sl_limit_price: Decimal | None
    tp_limit_price: Decimal | None


def _stops(params: Params) -> _Stops:
    """Mode, triggers and kinds of TP/SL; a limit price counts only with the order type Limit, as at Bybit."""
    sl_kind, tp_kind = _stop_kind(params, "slOrderType"), _stop_kind(params, "tpOrderType")
    sl_limit, tp_limit = price(params, "slLimitPrice"), price(params, "tpLimitPrice")
    return _Stops(
        mode=cast(TpslMode, choice(params, "tpslMode", ("Full", "Partial"), "Full")),
        sl_trigger_by=_trigger_by(params, "slTriggerBy"),
        tp_trigger_by=_trigger_by(params, "tpTriggerBy"),
        sl_order_type=sl_kind,
        tp_order_type=tp_kind,
        sl_limit_price=sl_limit if sl_kind == "Limit" else None,
        tp_limit_price=tp_limit if tp_kind == "Limit" else None,
    )


def _stop_kind(params: Params, name: str) -> OrderType:
    return cast(OrderType, choice(params, name, ("Market", "Limit"), "Market"))


def amend(params: Params, symbol: str, order_id: str) -> Amend:
    """Parse ``order/amend``: an absent value stays, a stop or target of "0" is removed.

    Raises:
        RequestRefused: 10001, unreadable, or nothing to change.
    """
    asked = Amend(
        symbol=symbol,
        order_id=order_id,
        qty=number(params, "qty"),
        price=price(params, "price"),
        trigger_price=price(params, "triggerPrice"),
        stop_loss=number(params, "stopLoss"),
        take_profit=number(params, "takeProfit"),
    )
    if asked == Amend(symbol=symbol, order_id=order_id):
        raise bad("nothing to amend")
    if asked.qty is not None and asked.qty <= ZERO:
        raise RequestRefused(10001, "The number of contracts exceeds minimum limit allowed")
    return asked


def set_leverage(params: Params) -> SetLeverage:
    """Parse ``position/set-leverage``.

    Raises:
        RequestRefused: 10001, not two numbers above 0.
    """
    symbol = symbol_of(params)
    buy, sell = number(params, "buyLeverage"), number(params, "sellLeverage")
    if buy is None or sell is None or buy <= ZERO or sell <= ZERO:
        raise bad("buyLeverage and sellLeverage must be numbers above 0")
    return SetLeverage(symbol, buy, sell)


def add_margin(params: Params) -> AddMargin:
    """Parse ``position/add-margin``.

    Raises:
        RequestRefused: 10001, no amount.
    """
    amount = number(params, "margin")
    if not amount:
        raise bad("margin invalid")
    return AddMargin(symbol_of(params), small_int(params, "positionIdx", (0, 1, 2), 0), amount)


def trading_stop(params: Params, instrument: Instrument | None) -> TradingStop:
    """Parse ``position/trading-stop``: an absent value stays, "0" removes.

    A trailing distance is cut to the tick of ``instrument``, since triggers lie on the price grid.

    Raises:
        RequestRefused: 10001, unreadable.
    """
    stops = _stops(params)
    trailing = _signless(params, "trailingStop")
    if trailing and instrument is not None:
        trailing = floor_to(trailing, instrument.tick_size)
    return TradingStop(
        symbol=symbol_of(params),
        position_idx=small_int(params, "positionIdx", (0, 1, 2), 0),
        stop_loss=_signless(params, "stopLoss"),
        take_profit=_signless(params, "takeProfit"),
        trailing_stop=trailing,
        active_price=_signless(params, "activePrice"),
        tpsl_mode=stops.mode,
        sl_size=number(params, "slSize"),
        tp_size=number(params, "tpSize"),
        sl_trigger_by=stops.sl_trigger_by,
        tp_trigger_by=stops.tp_trigger_by,
        sl_order_type=stops.sl_order_type,
        tp_order_type=stops.tp_order_type,
        sl_limit_price=stops.sl_limit_price,
        tp_limit_price=stops.tp_limit_price,
    )


def _signless(params: Params, name: str) -> Decimal | None:
    value = number(params, name)
    if value is not None and value < ZERO:
        raise bad(f"{name} invalid")
    return value
