"""Curves and fills with defaults."""

from decimal import Decimal, localcontext

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bot.domain.ledger import Fill
from bot.domain.market import DAY_MS, HOUR_MS
from bot.domain.orders import Side

RTOL = 1e-12  # a few hundred float64 operations in another order
MIDNIGHT = 19_800 * DAY_MS

daily_moves = hnp.arrays(
    np.int64,
    st.integers(2, 400),
    elements=st.integers(-300, 300),
).map(lambda thousandths: thousandths / 1e3)


def fill(side: Side, qty: str, price: str, *, ts_ms: int = 0, fee: str = "0", symbol: str = "X") -> Fill:
    return Fill(
        ts_ms=ts_ms,
        symbol=symbol,
        side=side,
        qty=Decimal(qty),
        price=Decimal(price),
        fee_quote=Decimal(fee),
        order_id="o",
        exec_id="e",
    )


def cash_of(fills: list[Fill]) -> Decimal:
    with localcontext(prec=200):
        return sum(
            (f.qty * f.price * (1 if f.side == "Sell" else -1) - f.fee_quote for f in fills), Decimal(0)
        )


def close_to(ours: float | None, theirs: float) -> bool:
    if not np.isfinite(theirs):
        return ours is None
    return ours is not None and bool(np.isclose(ours, theirs, rtol=RTOL, atol=1e-14))


def curve(
    returns: np.ndarray, *, from_hour: float = 0.0, to_hour: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Hourly values of whole days with these returns, after and before idle parts of a day."""
    daily = np.cumprod(np.append(1000.0, 1.0 + returns))
    ts = MIDNIGHT + np.arange(len(daily)) * DAY_MS
    lead = [MIDNIGHT - round(from_hour * HOUR_MS)] if from_hour else []
    tail = [int(ts[-1]) + round(to_hour * HOUR_MS)] if to_hour else []
    values = [*daily[:1].repeat(len(lead)), *daily, *daily[-1:].repeat(len(tail))]
    return np.array([*lead, *ts, *tail]), np.array(values)
