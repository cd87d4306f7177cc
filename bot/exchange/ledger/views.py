"""Positions and wallet as the venue's answers show them."""

from decimal import Decimal

from bot.domain.margin import liquidation_price, maintenance
from bot.domain.money import ZERO
from bot.exchange.events import PositionView, WalletView
from bot.exchange.ledger.book import PositionSlot
from bot.exchange.ledger.margin import MarginAccount, bankruptcy_price, closing_fee

_BREAK_EVEN_FEE = Decimal("0.00055")


def position_view(slot: PositionSlot, account: MarginAccount) -> PositionView:
    """One position with its margins."""
    book, qty = slot.book, slot.position.qty
    entry = slot.position.entry_price or ZERO
    mark = book.mark_or_price() or ZERO
    stop, target, trail = (slot.protective(kind) for kind in ("StopLoss", "TakeProfit", "TrailingStop"))
    return PositionView(
        symbol=book.symbol,
        idx=slot.idx,
        side="Buy" if qty > ZERO else "Sell" if qty else "",
        size=abs(qty),
        avg_price=entry,
        value_quote=abs(slot.position.entry_value),
        leverage=slot.leverage,
        mark_price=mark,
        liq_price=_liq_price(slot, account) if qty else None,
        bust_price=bankruptcy_price(entry, slot.leverage, qty > ZERO) if qty else ZERO,
        im_quote=account.margin_of(slot) if qty else ZERO,
        mm_quote=account.maintenance_of(slot) if qty else ZERO,
        added_quote=slot.added_quote,
        upl_quote=slot.position.unrealised(mark),
        break_even_price=_break_even(slot, account.taker_frac) if qty else ZERO,
        stop_loss=stop.trigger_price if stop is not None else ZERO,
        take_profit=target.trigger_price if target is not None else ZERO,
        trailing_stop=trail.trailing_quote if trail is not None else ZERO,
        cum_realised_quote=slot.cum_realised,
        cur_realised_quote=slot.cur_realised,
        created_ms=slot.created_ms,
        updated_ms=slot.updated_ms,
        opened_ms=slot.opened_ms,
        seq=slot.seq,
    )


def wallet_view(account: MarginAccount) -> WalletView:
    """The account's money now."""
    position_im = sum((account.margin_of(slot) for slot in account.held.values()), ZERO)
    order_im = account.initial_margin_quote - position_im
    return WalletView(
        equity_quote=account.equity_quote,
        wallet_quote=account.wallet_quote,
        available_quote=account.available_quote,
        im_quote=position_im + order_im,
        mm_quote=sum((account.maintenance_of(slot) for slot in account.held.values()), ZERO),
        order_im_quote=order_im,
        position_im_quote=position_im,
        upl_quote=account.equity_quote - account.wallet_quote,
        cum_realised_quote=account.wallet_quote - account.cash.initial,
    )


def _liq_price(slot: PositionSlot, account: MarginAccount) -> Decimal | None:
    """Isolated: the liquidation price. Cross: an estimate of it, as if only this symbol's price moved."""
    position, instrument = slot.position, slot.book.instrument
    if account.mode == "isolated":
        level = liquidation_price(position, slot.leverage, slot.book.tiers, slot.added_quote)
    else:
        marks = account.marks()
        own, value = marks[slot.key], abs(position.qty) * marks[slot.key]
        fee = closing_fee(position, slot.leverage, account.taker_frac)
        frac, deduction = next(
            ((frac, less) for limit, frac, less in slot.book.tiers if value <= limit), slot.book.tiers[-1][1:]
        )
        others = account.equity_quote - position.unrealised(own)
        others -= account.maintenance_quote(marks) - maintenance(value, slot.book.tiers) - fee
        room = position.entry_value - others - deduction + fee
        level = room / (position.qty - abs(position.qty) * frac)
    inside = level is not None and max(instrument.min_price, ZERO) < level < instrument.max_price
    return level if inside else None


def _break_even(slot: PositionSlot, taker_frac: Decimal) -> Decimal:
    """(entry × qty − realised) / (qty − |qty| × max(taker, 0.00055))."""
    qty = slot.position.qty
    fee = abs(qty) * max(taker_frac, _BREAK_EVEN_FEE)
    return (slot.position.entry_value - slot.cur_realised) / (qty - fee)
