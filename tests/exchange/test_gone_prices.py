"""No fill has a price that was gone: triggers and orders meet the book of after the trade that moved it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.messages import Candle
from bot.exchange.quotes.depth import Depth
from bot.exchange.rulebook.price_band import PriceBand
from tests.exchange.quotes.desk import D, QuoteDesk, holding, opened
from tests.exchange.test_paper import Paper, quoted
from tests.helpers import T0


def gap(desk: QuoteDesk, price: str, mark: str | None = None) -> QuoteDesk:
    """A trade far from the last one, with the book that it left behind."""
    p = D(price)
    after = Depth([(p - D("0.5"), D(100))], [(p + D("0.5"), D(100))])
    moved = D(mark) if mark is not None else None
    desk.x.trade("BTCUSDT", desk.tick(), p, D(1), after, mark=moved, index=moved)
    return desk._note()


@pytest.mark.parametrize(
    ("position", "stop", "to", "fill"),
    [
        ("1", {"stop_loss": "98"}, "90", "89.5"),
        ("-1", {"stop_loss": "102"}, "110", "110.5"),
        ("1", {"take_profit": "105"}, "110", "109.5"),
        ("-1", {"take_profit": "95"}, "90", "90.5"),
        ("1", {"trailing_stop": "2"}, "90", "89.5"),
        ("-1", {"trailing_stop": "2"}, "110", "110.5"),
    ],
)
def test_a_gap_through_a_trigger_fills_at_the_book_behind_the_gap(
    position: str, stop: dict[str, str], to: str, fill: str
) -> None:
    desk = holding(position)
    assert desk.stops(**stop) is None
    gap(desk, to)
    assert desk.fills()[-1] == ("1", fill)


@pytest.mark.parametrize(
    ("side", "trigger", "to", "fill"), [("Buy", "105", "110", "110.5"), ("Sell", "95", "90", "89.5")]
)
def test_a_conditional_order_meets_the_book_behind_the_gap(
    side: str, trigger: str, to: str, fill: str
) -> None:
    desk = opened()
    assert desk.send(side, "1", trigger_price=trigger) is None
    gap(desk, to)
    assert desk.fills() == [("1", fill)]


@pytest.mark.parametrize(
    ("side", "trigger", "to", "fill"), [("Buy", "105", "120", "120.5"), ("Sell", "95", "80", "79.5")]
)
def test_a_conditional_order_is_bounded_by_the_mark_behind_the_gap(
    side: str, trigger: str, to: str, fill: str
) -> None:
    desk = opened(band=PriceBand())
    assert desk.send(side, "1", trigger_price=trigger) is None
    gap(desk, to, mark=to)
    assert desk.fills() == [("1", fill)]


def test_a_conditional_order_stays_unfilled_when_the_mark_has_not_followed_the_gap() -> None:
    desk = opened(band=PriceBand())
    desk.sell("1", trigger_price="95")
    gap(desk, "80")
    assert (desk.fills(), desk.last("o1").reject_reason) == ([], "EC_NoImmediateQtyToFill")


def test_a_conditional_order_needs_margin_that_is_left_behind_the_gap() -> None:
    desk = opened("100")
    desk.buy("4")
    assert desk.send("Buy", "1", trigger_price="80") is None
    gap(desk, "80", mark="80")
    assert len(desk.fills()) == 1
    assert desk.last("o2").reject_reason == "EC_Others"


def test_a_conditional_limit_order_rests_when_the_gap_left_its_price_behind() -> None:
    desk = opened()
    desk.sell("1", trigger_price="98", price="97")
    gap(desk, "90")
    assert desk.fills() == []
    assert desk.last("o1").status == "New"


def test_a_trade_outside_the_touch_moves_the_touch_when_no_book_comes_with_it() -> None:
    desk = holding("1")
    desk.stops(stop_loss="98")
    desk.trade("90")
    assert desk.fills()[-1] == ("1", "89.5")


def test_on_paper_a_gap_in_the_candle_fills_behind_the_gap() -> None:
    paper = quoted()
    paper.send("Buy", "1", stop_loss="98")
    paper.candle(100, 90, 90, 5)
    assert (paper.fills[-1].price, paper.fills[-1].cause) == (D("89.5"), "stop_loss")


prices = st.integers(60, 140)
sides = st.sampled_from(["Buy", "Sell"])
tapes = st.lists(st.tuples(prices, st.integers(1, 6)), min_size=3, max_size=25)
plans = st.lists(
    st.tuples(sides, st.sampled_from(["market", "limit", "trigger", "stops", "trailing"]), prices, prices),
    max_size=12,
)


@given(tapes, plans)
def test_no_taker_fill_is_better_than_the_book_of_its_moment(
    tape: list[tuple[int, int]], plan: list[tuple[str, str, int, int]]
) -> None:
    desk = opened("1000000")
    steps = iter(plan)
    for price, spread in tape:
        _act(desk, next(steps, None))
        before = len(desk.executions)
        half = D(spread) / 2
        book = Depth([(D(price) - half, D(1000))], [(D(price) + half, D(1000))])
        desk.x.trade("BTCUSDT", desk.tick(), D(price), D(5), book)
        desk._note()
        for each in desk.executions[before:]:
            best = book.best(each.side)
            assert best is not None
            if not each.maker:
                assert each.price >= best if each.side == "Buy" else each.price <= best
            else:  # a maker pays its own price, which the market reached or went through
                assert each.price == each.order_price
                reached = min(best, D(price)) if each.side == "Buy" else max(best, D(price))
                assert each.price >= reached if each.side == "Buy" else each.price <= reached


def _act(desk: QuoteDesk, what: tuple[str, str, int, int] | None) -> None:
    if what is None:
        return
    side, kind, one, two = what
    if kind == "market":
        desk.send(side, "1")
    elif kind == "limit":
        desk.send(side, "1", price=str(one))
    elif kind == "trigger":
        desk.send(side, "1", trigger_price=str(one))
    elif kind == "stops":
        desk.stops(stop_loss=str(one), take_profit=str(two))
    else:
        desk.stops(trailing_stop=str(1 + one % 7))


@given(
    st.lists(st.tuples(prices, prices, prices), min_size=1, max_size=15),
    st.sampled_from(["Buy", "Sell"]),
    st.integers(1, 15),
    st.integers(1, 15),
)
def test_on_paper_a_trigger_fills_no_better_than_the_price_that_pulled_it(
    candles: list[tuple[int, int, int]], side: str, below: int, above: int
) -> None:
    long = side == "Buy"
    stop, target = (100 - below, 100 + above) if long else (100 + above, 100 - below)
    paper = quoted()
    paper.send(side, "1", stop_loss=str(stop), take_profit=str(target))
    for at, (one, two, close) in enumerate(candles, 1):
        filled = len(paper.fills)
        high, low = max(one, two, close), min(one, two, close)
        _minute(paper, at, high, low, close)
        for fill in paper.fills[filled:]:
            assert fill.cause in ("stop_loss", "take_profit")
            reached = D(low if (fill.cause == "stop_loss") == long else high)
            met = D(stop if fill.cause == "stop_loss" else target)
            if fill.cause == "stop_loss":  # the first price at or behind the stop, or worse
                assert fill.price < met if long else fill.price > met
            else:  # never beyond what the market reached
                assert fill.price < reached if long else fill.price > reached


def _minute(paper: Paper, at: int, high: int, low: int, close: int) -> None:
    paper.ts_ms += 100
    start_ms = T0 + at * 60_000
    candle = Candle(paper.ts_ms, "BTCUSDT", 60_000, start_ms, float(close), high, low, float(close), 5.0)
    paper.see(candle)


def test_a_touch_that_moves_keeps_its_spread_and_is_rounded_away_from_the_trade() -> None:
    depth = Depth.touch(Decimal("99.5"), Decimal("100.2"), Decimal(3))
    moved = depth.moved_to(Decimal(90), Decimal("0.1"))
    assert (moved.bids, moved.asks) == ([(D("89.6"), 3)], [(D("90.4"), 3)])
    assert depth.moved_to(Decimal(100), Decimal("0.1")) is depth
