"""Builders with defaults, so that a test states only what it is about."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from bot.domain.ledger import Fill
from bot.domain.market import MINUTE_MS, Bar, Instrument
from bot.domain.messages import BarsClosed
from bot.domain.orders import Intent, Side
from bot.risk.limits import Limits

T0 = 1_735_689_600_000
"""2025-01-01T00:00Z."""


def bar(
    index: int = 0,
    close: float = 100.0,
    *,
    open: float | None = None,
    high: float | None = None,
    low: float | None = None,
    volume: float = 1_000.0,
    symbol: str = "BTCUSDT",
    interval_ms: int = 5 * MINUTE_MS,
) -> Bar:
    opened = close if open is None else open
    return Bar(
        symbol,
        interval_ms,
        T0 + index * interval_ms,
        opened,
        max(opened, close) if high is None else high,
        min(opened, close) if low is None else low,
        close,
        volume,
    )


def closed(*bars: Bar) -> BarsClosed:
    return BarsClosed(bars[0].close_ms, bars[0].interval_ms, bars)


def walk(closes: Sequence[float], symbol: str = "BTCUSDT", first: int = 0) -> list[Bar]:
    """Bars that open at the last close, with small wicks."""
    bars, last = [], closes[0]
    for index, close in enumerate(closes):
        high, low = max(last, close) * 1.001, min(last, close) * 0.999
        bars.append(bar(first + index, close, open=last, high=high, low=low, symbol=symbol))
        last = close
    return bars


def instrument(symbol: str = "BTCUSDT", **changes: object) -> Instrument:
    exact = Instrument.exact(symbol)
    values = {name: getattr(exact, name) for name in exact.__struct_fields__}
    return Instrument(**(values | {"tick_size": Decimal("0.1"), "qty_step": Decimal("0.001")} | changes))


def intent(side: Side = "Buy", qty: str = "1", **changes: object) -> Intent:
    values: dict[str, object] = {
        "symbol": "BTCUSDT",
        "side": side,
        "qty": Decimal(qty),
        "ref_price": Decimal(100),
        "decided_ms": T0,
    }
    return Intent(**(values | changes))  # type: ignore[arg-type]


def fill(
    side: Side = "Buy",
    qty: str = "1",
    price: str = "100",
    *,
    fee: str = "0",
    exec_id: str = "x1",
    order_id: str = "o1",
    ts_ms: int = T0,
    symbol: str = "BTCUSDT",
) -> Fill:
    return Fill(ts_ms, symbol, side, Decimal(qty), Decimal(price), Decimal(fee), order_id, exec_id)


def patient() -> Limits:
    """Limits under which the fate of an order may stay unknown for days."""
    return Limits(unknown_order_reduce_ms=10**9, unknown_order_halt_ms=10**9)


def unlimited() -> Limits:
    """Limits that nothing reaches, for comparisons with programs that have no risk manager."""
    forever, huge = 2**53, Decimal("1e30")
    return Limits(
        max_order_notional_quote=huge,
        max_position_notional_quote=huge,
        max_total_notional_quote=huge,
        max_leverage=huge,
        price_collar_frac=huge,
        max_slippage_bps=0,
        max_daily_notional_quote=Decimal(0),
        max_signal_age_ms=forever,
        max_data_age_ms=forever,
        max_orders_per_minute=forever,
        max_consecutive_rejects=forever,
        reject_window_ms=0,
        unknown_order_reduce_ms=forever,
        unknown_order_halt_ms=forever,
        max_daily_loss_frac=huge,
        max_drawdown_frac=huge,
        max_consecutive_losses=0,
        on_liquidation="go_on",
    )


def total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))
