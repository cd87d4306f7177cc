"""A day from the journal: what `bot trades` shows of it, and its curve."""

from decimal import Decimal
from pathlib import Path

from bot.domain.market import DAY_MS
from bot.service.notify.summary import AccountDay, day_of
from tests.helpers import T0


def test_a_day_has_the_trades_that_closed_in_it_and_all_their_costs(folder: Path) -> None:
    day = day_of(folder, T0 + 2 * DAY_MS)
    assert (day.trades, day.won, day.fills) == (1, 0, 2)
    assert (day.result_quote, day.fees_quote, day.funding_quote) == (
        Decimal("-12.5"),
        Decimal(2),
        Decimal("-0.5"),
    )
    assert day.words == "1 trade closed (0 won, -12.50 after costs), 2 fills, fees 2.00, funding -0.50"


def test_the_curve_of_a_day_keeps_its_extremes_its_ends_and_what_is_unknown(folder: Path) -> None:
    points = day_of(folder, T0 + 2 * DAY_MS).points
    assert len(points) <= 4 * 300
    assert points[0][0] == T0 + DAY_MS
    assert points[-1][0] == T0 + 2 * DAY_MS
    assert [ts_ms for ts_ms, value in points if value == 10_900.0] == [T0 + 2_223 * 60_000]
    assert [ts_ms for ts_ms, _ in points] == sorted(ts_ms for ts_ms, _ in points)


def test_a_quiet_day_says_so() -> None:
    zero = Decimal(0)
    assert AccountDay(0, 0, zero, 0, zero, zero, ()).words == "no fills; fees 0.00, funding +0.00"
