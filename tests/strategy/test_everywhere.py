"""Shipped strategies trade with their defaults on every shipped symbol, at its lowest and highest price."""

from decimal import Decimal

import numpy as np
import pytest

from bot.adapters.files import shipped
from bot.adapters.files.candles import Candles
from bot.app.wiring import make_limits, make_terms
from bot.domain.orders import Approved
from bot.engine.core import Assignment, Engine
from bot.exchange.venue import BarVenue
from bot.risk.breaker import Breaker
from bot.risk.limits import Exposure, RiskView, check
from bot.service.backtest.history import History
from bot.service.backtest.run import Run, measure, replay
from bot.service.backtest.tape import RunTape
from bot.settings import Settings
from bot.strategy import SHIPPED, build, to_intents
from tests.helpers import T0
from tests.strategy.views import forecast, view

PRICES = {
    "ADAUSDT": (0.22, 3.1),
    "APTUSDT": (1.2, 20.0),
    "ARBUSDT": (0.15, 2.4),
    "ATOMUSDT": (1.7, 44.0),
    "AVAXUSDT": (8.0, 146.0),
    "BCHUSDT": (75.0, 1_600.0),
    "BNBUSDT": (180.0, 1_370.0),
    "BTCUSDT": (15_500.0, 126_000.0),
    "DOGEUSDT": (0.049, 0.74),
    "DOTUSDT": (1.4, 55.0),
    "ETCUSDT": (9.5, 175.0),
    "ETHUSDT": (880.0, 4_950.0),
    "FILUSDT": (0.6, 235.0),
    "LTCUSDT": (40.0, 410.0),
    "NEARUSDT": (0.95, 20.5),
    "SOLUSDT": (8.0, 295.0),
    "TRXUSDT": (0.045, 0.45),
    "UNIUSDT": (2.0, 45.0),
    "WIFUSDT": (0.15, 4.85),
    "XLMUSDT": (0.07, 0.8),
    "XRPUSDT": (0.29, 3.65),
}
"""About the lowest and the highest price of 2021 to 2026."""
HOUR_MS = 3_600_000
SETTINGS = Settings()


def wave(symbol: str, price: float) -> Candles:
    """Hourly bars that rise and fall by 0.5 % around a price, with sudden moves; 100 million quote each."""
    bars = np.arange(700)
    close = price * (1.0 + 0.005 * np.sin(bars / 9.0) + 0.005 * (bars % 97 == 0))
    opened = np.append(close[0], close[:-1])
    rows = np.column_stack(
        [opened, np.maximum(opened, close), np.minimum(opened, close), close, np.full(len(bars), 1e8 / price)]
    )
    return Candles.make(symbol, HOUR_MS, T0 + HOUR_MS * bars, rows)


def test_every_shipped_symbol_has_its_prices_here() -> None:
    assert PRICES.keys() == shipped.instruments().keys()


@pytest.mark.parametrize("name", ["ema_cross", "mean_reversion", "buy_and_hold", "random"])
@pytest.mark.parametrize("end", [0, 1], ids=["lowest", "highest"])
def test_a_strategy_trades_with_its_defaults_and_no_limit_refuses_it(name: str, end: int) -> None:
    equity = SETTINGS.account.equity_quote
    for symbol, prices in PRICES.items():
        rules, bars = shipped.instruments()[symbol], wave(symbol, prices[end])
        one = Assignment(rules, HOUR_MS, build(SHIPPED[name], {}), 11.0)
        venue = BarVenue({symbol: rules}, equity, make_terms(SETTINGS))
        run = Run(Engine([one], equity, make_limits(SETTINGS)), venue, RunTape())
        replay(run, History((bars,)))
        told = measure(run, [bars], trained_to_ms=None, warnings=()).numbers()
        assert told["trades"], symbol
        assert told["refused"] == {}, symbol
        assert "below_minimum" not in told["flat_bars"], symbol  # type: ignore[operator]


@pytest.mark.parametrize("name", ["performer", "vol_target"])
@pytest.mark.parametrize("rv_60m", [1e-6, 3e-5, 2e-3])
def test_what_a_strategy_with_forecasts_wants_is_allowed(name: str, rv_60m: float) -> None:
    limits, equity = make_limits(SETTINGS), SETTINGS.account.equity_quote
    breaker = Breaker()
    breaker.on_equity(T0, float(equity))
    wanted = 0
    for symbol, prices in PRICES.items():
        rules = shipped.instruments()[symbol]
        for price in prices:
            strategy = build(SHIPPED[name], {} if name == "performer" else {"base": "constant"})
            seen = view(price, equity=float(equity), forecast=forecast(0.02, rv_60m), bars_per_hour=12.0)
            target = strategy.on_bar(seen)
            assert target is not None
            for intent in to_intents(
                target, position=Decimal(0), instrument=rules, ref_price=price, decided_ms=T0
            ):
                at = RiskView(
                    now_ms=T0,
                    instrument=rules,
                    exposure=Exposure(symbol, Decimal(0), Decimal(repr(price))),
                    equity_quote=float(equity),
                    last_data_ms=T0,
                    breaker=breaker,
                )
                verdict = check(intent, at, limits)
                assert isinstance(verdict, Approved), (symbol, price, verdict)
                wanted += 1
    assert wanted == 2 * len(PRICES)
