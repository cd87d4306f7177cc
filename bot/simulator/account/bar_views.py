"""Position and wallet of an account behind closed bars, as answers show them; its mark is the last close."""

from decimal import Decimal

from bot.domain.money import ZERO
from bot.exchange.account import Account, bankruptcy_price, closing_fee, liquidation_price, maintenance
from bot.exchange.book import Book
from bot.exchange.live_orders import PositionView, WalletView


def position_view(
    account: Account[Book], book: Book, sums: tuple[Decimal, Decimal, int], last: Decimal, seq: int
) -> PositionView:
    """One position. ``sums``: realised in all, since it was last flat, time of its last fill."""
    position, qty = book.position, book.position.qty
    entry = position.entry_price or ZERO
    mark = book.last_price() or last
    return PositionView(
        symbol=book.symbol,
        idx=0,
        side="Buy" if qty > ZERO else "Sell" if qty else "",
        size=abs(qty),
        avg_price=entry,
        value_quote=abs(position.entry_value),
        leverage=book.leverage,
        mark_price=mark,
        liq_price=_liq_price(account, book),
        bust_price=bankruptcy_price(entry, book.leverage, qty > ZERO) if qty else ZERO,
        im_quote=account.margin_of(book) if qty else ZERO,
        mm_quote=_maintenance(account, book, mark) if qty else ZERO,
        added_quote=ZERO,
        upl_quote=position.unrealised(mark),
        break_even_price=(position.entry_value - sums[1]) / qty if qty else ZERO,
        stop_loss=book.stop_loss or ZERO,
        take_profit=book.take_profit or ZERO,
        trailing_stop=ZERO,
        cum_realised_quote=sums[0],
        cur_realised_quote=sums[1],
        created_ms=sums[2],
        updated_ms=sums[2],
        opened_ms=sums[2] if qty else 0,
        seq=seq,
    )


def _liq_price(account: Account[Book], book: Book) -> Decimal | None:
    """Of an isolated position; in cross margin it depends on all of them."""
    if account.mode == "cross":
        return None
    return liquidation_price(book.position, book.leverage, book.tiers)


def _maintenance(account: Account[Book], book: Book, mark: Decimal) -> Decimal:
    isolated = account.mode == "isolated"
    value = abs(book.position.entry_value) if isolated else abs(book.position.qty) * mark
    return maintenance(value, book.tiers) + closing_fee(book.position, book.leverage, account.taker_frac)


def wallet_view(account: Account[Book]) -> WalletView:
    """The money."""
    position_im = sum((account.margin_of(book) for book in account.held.values()), ZERO)
    im = account.initial_margin_quote
    marks = account.marks()
    return WalletView(
        equity_quote=account.equity_quote,
        wallet_quote=account.wallet_quote,
        available_quote=account.available_quote,
        im_quote=im,
        mm_quote=account.maintenance_quote(marks),
        order_im_quote=im - position_im,
        position_im_quote=position_im,
        upl_quote=account.equity_quote - account.wallet_quote,
        cum_realised_quote=account.wallet_quote - account.cash.initial,
    )
