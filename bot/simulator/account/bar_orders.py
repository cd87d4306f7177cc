"""Orders and executions of an account behind closed bars, in the words of the order and execution topics."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from bot.domain.ledger import Fill
from bot.domain.messages import FundingPaid
from bot.domain.money import ZERO, ceil_to, floor_to, to_money
from bot.exchange.book import Book
from bot.exchange.live_orders import ExecType, Execution, LiveOrder, NewOrder
from bot.exchange.terms import Terms

_PROTECTION = Decimal("0.05")


class Facts(msgspec.Struct, frozen=True):
    """What every execution needs beside itself: the terms, its name, its place."""

    terms: Terms
    ids: Iterator[str]
    seq: int


def trade(facts: Facts, fill: Fill, order: LiveOrder, closed: Decimal, realised: Decimal) -> Execution:
    """An execution with exactly the fill's digits; a liquidation is a BustTrade."""
    kind: ExecType = "BustTrade" if fill.cause == "liquidation" else "Trade"
    terms = facts.terms
    return Execution(
        exec_id=next(facts.ids),
        exec_type=kind,
        order_id=order.order_id,
        link_id=order.link_id,
        symbol=fill.symbol,
        position_idx=0,
        side=fill.side,
        order_type=order.order_type,
        stop_order_type=order.stop_order_type,
        create_type=order.create_type,
        order_price=order.price,
        order_qty=order.qty,
        leaves_qty=order.leaves_qty,
        price=fill.price,
        qty=fill.qty,
        value_quote=to_money(fill.qty * fill.price),
        fee_quote=fill.fee_quote,
        fee_frac=terms.maker_fee_frac if fill.maker else terms.taker_fee_frac,
        maker=fill.maker,
        closed_size=closed,
        pnl_quote=realised,
        mark_price=fill.price,
        index_price=None,
        base_price=None,
        ts_ms=fill.ts_ms,
        match_seq=facts.seq,
    )


def funding(facts: Facts, paid: FundingPaid, rate: Decimal, qty: Decimal, mark: Decimal) -> Execution:
    """A funding payment, under the side of the position."""
    return Execution(
        exec_id=next(facts.ids),
        exec_type="Funding",
        order_id=next(facts.ids),
        link_id="",
        symbol=paid.symbol,
        position_idx=0,
        side="Buy" if qty > ZERO else "Sell",
        order_type="UNKNOWN",
        stop_order_type="",
        create_type="",
        order_price=ZERO,
        order_qty=ZERO,
        leaves_qty=ZERO,
        price=mark,
        qty=abs(qty),
        value_quote=to_money(abs(qty) * mark),
        fee_quote=-paid.amount_quote,
        fee_frac=rate,
        maker=False,
        closed_size=ZERO,
        pnl_quote=ZERO,
        mark_price=mark,
        index_price=None,
        base_price=None,
        ts_ms=paid.ts_ms,
        match_seq=facts.seq,
    )


def client_order(new: NewOrder, book: Book, last: Decimal, now_ms: int) -> LiveOrder:
    """A client's order as the order topic shows it; a market order at its protective price."""
    tick = book.instrument.tick_size
    buy = new.side == "Buy"
    protective = floor_to(last * (1 + _PROTECTION), tick) if buy else ceil_to(last * (1 - _PROTECTION), tick)
    made = venue_order(new.order_id, new.symbol, now_ms, last)
    made.link_id, made.side, made.order_type = new.link_id, new.side, new.order_type
    made.qty = made.leaves_qty = new.qty or abs(book.position.qty)
    made.price = protective if new.price is None else new.price
    made.time_in_force = new.time_in_force
    made.reduce_only, made.close_on_trigger = new.reduce_only, new.close_on_trigger
    made.stop_loss, made.take_profit = new.stop_loss or ZERO, new.take_profit or ZERO
    made.tpsl_mode = "Full" if new.stop_loss or new.take_profit else ""
    made.create_type = new.create_type
    return made


def venue_order(order_id: str, symbol: str, now_ms: int, last: Decimal) -> LiveOrder:
    """A reduce-only market order of the venue, to be filled in."""
    return LiveOrder(
        order_id=order_id,
        link_id="",
        symbol=symbol,
        side="Sell",
        order_type="Market",
        qty=ZERO,
        price=last,
        time_in_force="IOC",
        position_idx=0,
        reduce_only=True,
        close_on_trigger=True,
        trigger_price=ZERO,
        trigger_direction=0,
        trigger_by="",
        stop_loss=ZERO,
        take_profit=ZERO,
        sl_trigger_by="LastPrice",
        tp_trigger_by="LastPrice",
        tpsl_mode="",
        sl_order_type="Market",
        tp_order_type="Market",
        sl_limit_price=ZERO,
        tp_limit_price=ZERO,
        create_type="CreateByUser",
        created_ms=now_ms,
        updated_ms=now_ms,
        last_price_on_created=last,
    )
