"""Positions and wallet as the venue's answers show them."""

from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange.account import (
    Account,
    bankruptcy_price,
    closing_fee,
    liquidation_price,
    maintenance,
)
from bot.exchange.live_book import Pocket
from bot.exchange.live_orders import PositionView, WalletView

_BREAK_EVEN_FEE = Decimal("0.00055")


def position_view(pocket: Pocket, account: Account[Pocket]) -> PositionView:
    """One position with its margins."""
    book, qty = pocket.book, pocket.position.qty
    entry = pocket.position.entry_price or ZERO
    mark = book.mark if book.mark is not None else book.price() or ZERO
    stop, target, trail = (pocket.protective(kind) for kind in ("StopLoss", "TakeProfit", "TrailingStop"))
    return PositionView(
        symbol=book.symbol,
        idx=pocket.idx,
        side="Buy" if qty > ZERO else "Sell" if qty else "",
        size=abs(qty),
        avg_price=entry,
        value_quote=abs(pocket.position.entry_value),
        leverage=pocket.leverage,
        mark_price=mark,
        liq_price=_liq_price(pocket, account) if qty else None,
        bust_price=bankruptcy_price(entry, pocket.leverage, qty > ZERO) if qty else ZERO,
        im_quote=account.margin_of(pocket) if qty else ZERO,
        mm_quote=_maintenance(pocket, account) if qty else ZERO,
        added_quote=pocket.added_quote,
        upl_quote=pocket.position.unrealised(mark),
        break_even_price=_break_even(pocket, account.taker_frac) if qty else ZERO,
        stop_loss=stop.trigger_price if stop is not None else ZERO,
        take_profit=target.trigger_price if target is not None else ZERO,
        trailing_stop=trail.trailing_quote if trail is not None else ZERO,
        cum_realised_quote=pocket.cum_realised,
        cur_realised_quote=pocket.cur_realised,
        created_ms=pocket.created_ms,
        updated_ms=pocket.updated_ms,
        opened_ms=pocket.opened_ms,
        seq=pocket.seq,
    )


def wallet_view(account: Account[Pocket]) -> WalletView:
    """The account's money now."""
    position_im = sum((account.margin_of(pocket) for pocket in account.held.values()), ZERO)
    order_im = sum(
        (order.reserved_quote for pocket in account.books.values() for order in pocket.orders), ZERO
    )
    return WalletView(
        equity_quote=account.equity_quote,
        wallet_quote=account.wallet_quote,
        available_quote=account.available_quote,
        im_quote=position_im + order_im,
        mm_quote=sum((_maintenance(pocket, account) for pocket in account.held.values()), ZERO),
        order_im_quote=order_im,
        position_im_quote=position_im,
        upl_quote=account.equity_quote - account.wallet_quote,
        cum_realised_quote=account.wallet_quote - account.cash.initial,
    )


def _maintenance(pocket: Pocket, account: Account[Pocket]) -> Decimal:
    """positionMM: at the mark, at entry if isolated; the fee to close included."""
    position, mark = pocket.position, pocket.book.mark
    value = abs(position.entry_value)
    if account.mode == "cross" and mark is not None:
        value = abs(position.qty) * mark
    return maintenance(value, pocket.tiers) + closing_fee(position, pocket.leverage, account.taker_frac)


def _liq_price(pocket: Pocket, account: Account[Pocket]) -> Decimal | None:
    """Isolated: the price of liquidation. Cross: where it comes if this symbol alone moves (an estimate)."""
    position, instrument = pocket.position, pocket.book.instrument
    if account.mode == "isolated":
        level = liquidation_price(position, pocket.leverage, pocket.tiers, pocket.added_quote)
    else:
        marks = account.marks()
        own, value = marks[pocket.key], abs(position.qty) * marks[pocket.key]
        fee = closing_fee(position, pocket.leverage, account.taker_frac)
        frac, deduction = next(
            ((frac, less) for limit, frac, less in pocket.tiers if value <= limit), pocket.tiers[-1][1:]
        )
        others = account.equity_quote - position.unrealised(own)
        others -= account.maintenance_quote(marks) - maintenance(value, pocket.tiers) - fee
        room = position.entry_value - others - deduction + fee
        level = room / (position.qty - abs(position.qty) * frac)
    inside = level is not None and max(instrument.min_price, ZERO) < level < instrument.max_price
    return level if inside else None


def _break_even(pocket: Pocket, taker_frac: Decimal) -> Decimal:
    """(entry × qty − realised) / (qty − |qty| × max(taker, 0.00055))."""
    qty = pocket.position.qty
    fee = abs(qty) * max(taker_frac, _BREAK_EVEN_FEE)
    return (pocket.position.entry_value - pocket.cur_realised) / (qty - fee)
