"""Invented candles, and searches on them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.app.context import Context
from bot.app.search.search import Search, plan_search
from bot.cli import main


@pytest.fixture(scope="module")
def candles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("candles")
    words = [
        "data",
        "synth",
        "--out",
        str(place),
        "--interval",
        "15m",
        "--days",
        "75",
        "--price",
        "60000",
        "--seed",
        "4",
    ]
    assert main(words) == 0
    return place / "synth_linear_BTCUSDT_15m.parquet"


Searching = Callable[..., Search]


@pytest.fixture
def searching(candles: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Searching:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))

    def search(
        *grid: str,
        data: Path = candles,
        strategy: str = "tests.app.search.strategies:Fragile",
        param: tuple[str, ...] = (),
        **changes: Any,
    ) -> Search:
        options = {
            **dict.fromkeys(
                ("model", "start", "end", "fee_bps", "slippage_bps", "equity", "liquidity", "seed")
            ),
            "data": (data,),
            "strategy": strategy,
            "param": param,
            "instrument": None,
            "funding": "none",
            "form": "step",
            "intrabar": "path",
            "detail": (),
            "mark": (),
        }
        asked = {"trials": None, "sampler": "grid", "objective": "sharpe", "search_seed": 0, **changes}
        return plan_search(Context(), options, grid or ("hold=5..40:5",), **asked)

    return search
