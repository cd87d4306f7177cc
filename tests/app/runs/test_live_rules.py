"""Whose rules of a contract count: those of the venue that takes the orders."""

import asyncio
import random

import pytest

from bot.adapters.net.public_rest import RequestPace, public_rest
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.clock import WallClock
from bot.app.runs.live.connecting import Ground, make_feed
from bot.app.runs.live.plan import make_live_plan
from bot.settings import Settings


@pytest.mark.parametrize(
    ("feed", "venue", "told"),
    [
        ("mainnet", "testnet", False),
        ("mainnet", "demo", False),
        ("mainnet", "paper", True),
        ("testnet", "testnet", True),
        ("local", "local", True),
    ],
)
def test_a_feed_of_another_market_tells_no_new_rules(feed: str, venue: str, told: bool) -> None:
    keys = {"api_key": "test-key", "api_secret": "test-secret"}
    settings = Settings.model_validate({"feed": {"kind": feed}, "venue": {"kind": venue, **keys}})
    plan = make_live_plan(settings, strategy="ema_cross", params={})

    async def refresh_ms() -> int:
        url = "http://127.0.0.1:1"
        async with public_rest(url, WallClock(), RequestPace(), random.Random(1)) as rest:
            ground = Ground(
                machine=None,
                rng=random.Random(1),
                address=None,
                rest=rest,
                clock=WallClock(),
                stopwatch=Stopwatch(),
                notes=None,
            )
            made = make_feed(plan, ground)
        return made.config.refresh_ms

    assert bool(asyncio.run(refresh_ms())) is told
