import os
from pathlib import Path

import pytest

from bot.cli.wiring import Plan
from bot.service.history import History
from bot.settings import load
from bot.strategy import Flat


def plan(**costs: object) -> Plan:
    settings = load(
        overrides={f"costs.{name}": value for name, value in costs.items()},
        environ={},
        dotenv=Path(os.devnull),
    )
    return Plan(
        settings=settings,
        history=History(()),
        instruments={},
        strategy=Flat,
        strategy_name="flat",
        params={},
    )


def test_a_round_trip_costs_fee_and_half_spread_twice() -> None:
    assert plan(taker_bps=5.5, slippage_bps=1).round_trip_bps("BTCUSDT") == pytest.approx(13.0)


def test_without_a_given_slippage_each_symbol_has_its_measured_spread() -> None:
    terms = plan().terms
    assert terms.half_spread_frac("BTCUSDT") < terms.half_spread_frac("ADAUSDT")
    assert terms.half_spread_frac("NEVERSEEN") == terms.half_spread_frac("NEITHER") > 0


def test_no_slippage_means_neither_spread_nor_impact() -> None:
    terms = plan(slippage_bps=0).terms
    assert (terms.half_spread_frac("BTCUSDT"), terms.impact_frac) == (0, 0.0)
    assert plan(slippage_bps=1).terms.impact_frac == 1.0
