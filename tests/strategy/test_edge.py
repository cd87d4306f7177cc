import bot
from bot.strategy import PerformerStrategy, Target, View
from bot.strategy.edge import Edge, last_edge_words, missing_edge_words
from bot.strategy.shipped.baselines import Flat
from tests.helpers import bar, closed
from tests.research import series
from tests.service.alarms.heard import Heard
from tests.service.views.test_live import Bench
from tests.strategy.views import forecast, view


def shown(*rets: float, live: bool = True, **params: float) -> PerformerStrategy:
    strategy = PerformerStrategy(**params)
    for ret in rets:
        strategy.on_bar(view(forecast=forecast(ret), live=live))
    return strategy


def test_a_strategy_that_stayed_flat_says_what_it_would_have_needed_also_maker_first() -> None:
    # 2.5 round trips of 12 bps are 30, of a maker's 4 bps 10.
    assert missing_edge_words(shown(5e-4, -12e-4, 2e-4), 12.0, 4.0) == (
        "an entry needs a forecast of more than 30.0 bps over 60m, because a round trip costs 12.0; the "
        "largest of 3 was -12.0. Maker first, with every order filled as a maker's (4.0 bps a round trip), "
        "it would need 10.0: enough"
    )
    assert missing_edge_words(shown(9e-4), 12.0, 4.0).endswith("10.0: not enough either")


def test_the_need_named_is_the_one_that_decides() -> None:
    strategy = shown()
    for costs, least in ((12.0, 30.0), (0.0, 0.5)):  # without costs the smallest edge is left
        assert strategy.entry_bps(costs) == least
        for bps, enters in ((least - 0.01, False), (least + 0.01, True)):
            seen = view(forecast=forecast(bps * 1e-4), round_trip_bps=costs)
            assert bool(strategy.on_bar(seen).qty) is enters


def test_nothing_is_missing_if_a_forecast_was_large_enough_or_none_was_needed() -> None:
    assert missing_edge_words(shown(5e-4, 31e-4), 12.0, 4.0) == ""
    assert missing_edge_words(shown(), 12.0, 4.0) == ""
    assert missing_edge_words(Flat(), 12.0, 4.0) == last_edge_words(Flat(), 12.0) == ""


def test_forecasts_of_the_warm_up_and_of_a_side_that_is_not_allowed_do_not_count() -> None:
    assert shown(5e-4, live=False).edge.bars == 0
    assert shown(-5e-4, direction="long").edge.largest_bps == 0.0


def test_the_last_forecast_is_told_beside_the_largest() -> None:
    assert last_edge_words(shown(-12e-4, 2e-4), 12.0) == (
        "the forecast of 60m is +2.0 bps, an entry needs more than 30.0; the largest of 2 was -12.0"
    )


def test_what_was_seen_is_no_part_of_what_a_strategy_remembers() -> None:
    assert shown(5e-4).state() is None


class Waiting:
    """Sees one small forecast at each close and never enters."""

    edge_horizon = "60m"

    def __init__(self) -> None:
        self.edge = Edge()

    def entry_bps(self, round_trip_bps: float) -> float:
        return 2.0 * round_trip_bps

    def on_bar(self, view: View) -> Target:
        if view.live:
            self.edge.see(3.0)
        return Target(0.0, "cost")


def test_a_backtest_that_stayed_flat_says_what_was_missing_with_its_own_costs() -> None:
    told = bot.backtest(series.candles(50), Waiting, fee_bps=5, slippage_bps=1, funding=None)
    (note,) = [each for each in told.warnings if "flat to the end" in each]
    assert note.startswith("BTCUSDT: flat to the end; an entry needs a forecast of more than 24.0 bps")
    assert "the largest of 50 was +3.0" in note
    assert note.endswith(
        "with every order filled as a maker's (4.0 bps a round trip), it would need 8.0: not enough either"
    )


def test_the_status_of_a_flat_symbol_says_the_forecast_and_the_need() -> None:
    bench = Bench(Waiting, ("AUSDT",))
    bench.close(0)
    assert bench.ask()[2]["AUSDT"].why == (
        "the expected gain is below the cost of a round trip: the forecast of 60m is +3.0 bps, an entry "
        "needs more than 22.0; the largest of 1 was +3.0"
    )


def test_the_summary_of_a_flat_day_says_the_forecast_and_the_need() -> None:
    heard = Heard(Bench(Waiting, ("AUSDT",)).engine)
    for index in (0, 287, 288):
        heard.take(closed(bar(index, symbol="AUSDT")))
    (day,) = [each for each in heard.hooked if each.name == "daily_summary"]
    assert "positions: none; AUSDT: the forecast of 60m is +3.0 bps, an entry needs more than" in day.words
