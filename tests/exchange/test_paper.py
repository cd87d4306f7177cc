"""Paper trading on live quotes."""

from decimal import Decimal

import msgspec
import pytest

from bot.domain.ledger import Fill
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Candle,
    Filled,
    FundingPaid,
    FundingRate,
    InstrumentChanged,
    MarkPrice,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    PlaceOrder,
    Quote,
    RejectCause,
    SetStops,
    StopsChanged,
    StopsRejected,
    VenueEvent,
)
from bot.domain.orders import Approved
from bot.exchange.paper import PaperVenue
from bot.exchange.quotes.depth import Depth
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from tests.exchange.quotes.desk import rules
from tests.helpers import T0, bar, closed, intent

D = Decimal


class Paper:
    """A paper venue, the time, and everything it said."""

    def __init__(self, **changes: object) -> None:
        usual: dict[str, object] = {"liquidity": "full", "leverage": D(10)}
        self.venue = PaperVenue({"BTCUSDT": rules()}, D(10_000), Terms(**(usual | changes)))  # type: ignore[arg-type]
        self.ts_ms = T0
        self.count = 0
        self.said: list[VenueEvent] = []

    def see(self, event: object) -> list[VenueEvent]:
        told = list(self.venue.advance(event))  # type: ignore[arg-type]
        self.said.extend(told)
        return told

    def quote(self, bid: float, ask: float, after_ms: int = 100) -> list[VenueEvent]:
        self.ts_ms += after_ms
        return self.see(Quote(self.ts_ms, "BTCUSDT", bid, ask))

    def candle(self, high: float, low: float, close: float, volume: float) -> list[VenueEvent]:
        self.ts_ms += 100
        return self.see(Candle(self.ts_ms, "BTCUSDT", 60_000, T0, 100.0, high, low, close, volume))

    def send(self, side: str, qty: str, **changes: object) -> list[VenueEvent]:
        self.count += 1
        if "price" in changes:
            changes = {"order_type": "Limit", "time_in_force": "GTC"} | changes
        wish = intent(side, qty, **{k: D(v) if _is_price(k) else v for k, v in changes.items()})  # type: ignore[arg-type]
        told = list(self.venue.submit(PlaceOrder(f"o{self.count}", Approved(wish))))
        self.said.extend(told)
        return told

    def stops(self, stop_loss: str | None, take_profit: str | None = None) -> list[VenueEvent]:
        levels = [D(level) if level is not None else None for level in (stop_loss, take_profit)]
        told = list(self.venue.submit(SetStops("BTCUSDT", *levels)))
        self.said.extend(told)
        return told

    @property
    def fills(self) -> list[Fill]:
        return [event.fill for event in self.said if isinstance(event, Filled)]

    def ends(self) -> list[tuple[str, str]]:
        return [(e.order_id, e.reason) for e in self.said if isinstance(e, OrderCancelled)]


def _is_price(name: str) -> bool:
    return name in ("price", "stop_loss", "take_profit")


def quoted(**changes: object) -> Paper:
    paper = Paper(**changes)
    paper.quote(99.5, 100.5)
    return paper


def test_a_market_order_fills_at_the_live_touch_at_once() -> None:
    paper = quoted()
    told = paper.send("Buy", "2")
    assert [type(event) for event in told] == [OrderAccepted, Filled]
    fill = paper.fills[0]
    assert (fill.order_id, fill.qty, fill.price, fill.maker, fill.cause) == (
        "o1",
        2,
        D("100.5"),
        False,
        "order",
    )
    assert fill.fee_quote == D("0.11055")
    assert fill.slippage_quote == 1
    paper.send("Sell", "2")
    assert paper.fills[1].price == D("99.5")


@pytest.mark.fault(59)
@pytest.mark.fault(59)
def test_a_market_order_takes_nothing_beyond_its_bound() -> None:
    paper = quoted()
    levels = [(D("100.5"), D(1)), (D("101.5"), D(1)), (D("101.6"), D(9))]
    paper.venue.exchange.quote("BTCUSDT", paper.ts_ms, Depth([(D("99.5"), D(9))], levels))
    order = PlaceOrder("o9", Approved(intent("Buy", "5"), max_slippage_bps=100))  # to 101.505
    told = list(paper.venue.submit(order))
    assert [(e.fill.qty, e.fill.price) for e in told if isinstance(e, Filled)] == [
        (1, D("100.5")),
        (1, D("101.5")),
    ]
    assert [e.reason for e in told if isinstance(e, OrderCancelled)] == ["EC_NoImmediateQtyToFill"]


def test_an_entry_whose_stop_the_price_has_passed_on_the_way_is_a_missed_one() -> None:
    paper = quoted(latency_ms=200)
    paper.send("Buy", "1", stop_loss="99")
    told = paper.quote(98.0, 98.2) + paper.candle(98.5, 98.0, 98.1, 5.0) + paper.quote(98.0, 98.2)
    (refused,) = [event for event in told if isinstance(event, OrderRejected)]
    assert (refused.code, refused.cause) == (10001, RejectCause.MISSED)
    assert paper.fills == []


@pytest.mark.fault(52)
def test_with_latency_it_fills_at_the_quote_of_its_arrival() -> None:
    paper = quoted(latency_ms=150)
    assert paper.send("Buy", "2") == []
    assert paper.quote(100, 101) == []
    told = paper.quote(101, 102)
    assert [type(event) for event in told] == [OrderAccepted, Filled]
    assert (paper.fills[0].price, paper.fills[0].ts_ms) == (101, T0 + 250)


def test_an_order_that_meets_a_stale_quote_is_cancelled() -> None:
    paper = quoted()
    paper.see(MarkPrice(T0 + 5_101, "BTCUSDT", 100.0))
    told = paper.send("Buy", "2")
    assert [type(event) for event in told] == [OrderAccepted, OrderCancelled]
    assert paper.ends() == [("o1", "NoMarketData")]
    assert Paper().send("Buy", "1")[1:] == [OrderCancelled(0, "o1", "NoMarketData")]


def test_what_the_venue_refuses_is_rejected_with_its_code() -> None:
    (told,) = quoted().send("Buy", "0.0001")
    assert isinstance(told, OrderRejected)
    assert told.code == 10001
    paper = quoted()
    paper.send("Buy", "1")
    paper.count = 0
    (told,) = paper.send("Buy", "1")
    assert isinstance(told, OrderRejected)
    assert told.code == 110072


def test_a_resting_order_fills_as_maker_when_the_quote_comes_to_it() -> None:
    paper = quoted()
    paper.send("Buy", "2", price="99")
    paper.quote(98.5, 99.1)
    assert paper.fills == []
    paper.quote(98.4, 99.0)
    assert (paper.fills[0].price, paper.fills[0].maker) == (99, True)


def test_a_cancel_takes_the_rest_back() -> None:
    paper = quoted()
    paper.send("Buy", "2", price="99")
    assert paper.venue.submit(CancelOrder("o1", "BTCUSDT")) == [
        OrderCancelled(paper.ts_ms, "o1", "CancelByUser")
    ]
    assert paper.venue.submit(CancelOrder("o1", "BTCUSDT")) == []


def test_post_only_that_would_take_says_so() -> None:
    paper = quoted()
    paper.send("Buy", "2", price="101", time_in_force="PostOnly")
    assert paper.ends() == [("o1", "EC_PostOnlyWillTakeLiquidity")]


def test_a_stop_of_the_order_closes_at_the_touch_when_a_trade_reaches_it() -> None:
    paper = quoted()
    told = paper.send("Buy", "2", stop_loss="95", take_profit="120")
    assert told[-1] == StopsChanged(paper.ts_ms, "BTCUSDT", D(95), D(120))
    paper.quote(94.5, 95.5)
    assert paper.fills[1:] == []
    told = paper.candle(100, 94.9, 96, 5)
    fill = paper.fills[1]
    assert (fill.side, fill.price, fill.cause) == ("Sell", D("94.5"), "stop_loss")
    assert told[-1] == StopsChanged(paper.ts_ms, "BTCUSDT", None, None)


def test_stops_are_set_moved_and_removed() -> None:
    paper = quoted()
    (told,) = paper.stops("95")
    assert told == StopsRejected(paper.ts_ms, "BTCUSDT", 10001, "can not set tp/sl/ts for zero position")
    paper.send("Buy", "2")
    assert paper.stops("95") == [StopsChanged(paper.ts_ms, "BTCUSDT", D(95), None)]
    assert paper.stops("95") == [StopsChanged(paper.ts_ms, "BTCUSDT", D(95), None)]
    assert paper.stops(None, "110") == [StopsChanged(paper.ts_ms, "BTCUSDT", None, D(110))]
    assert paper.stops(None) == [StopsChanged(paper.ts_ms, "BTCUSDT", None, None)]
    assert paper.venue.exchange.open_orders(None) == []


def test_the_volume_limits_what_is_filled_between_two_closes() -> None:
    paper = Paper(liquidity="volume", participation_frac=0.1)
    paper.see(closed(bar(0, 100.0, volume=50.0)))
    paper.ts_ms = T0 + 300_000
    paper.quote(99.5, 100.5)
    paper.send("Buy", "3")
    paper.quote(99.5, 100.5)
    paper.send("Buy", "3")
    assert [fill.qty for fill in paper.fills] == [3, 2]
    assert paper.ends() == [("o2", "EC_NoImmediateQtyToFill")]
    paper.quote(99.5, 100.5)
    paper.send("Buy", "3")
    assert len(paper.fills) == 2


def test_the_volume_of_a_candle_limits_what_a_trade_fills() -> None:
    paper = quoted(liquidity="volume", participation_frac=0.1)
    paper.candle(100, 100, 100, 10)
    paper.send("Buy", "5", price="99")
    paper.candle(100, 98, 98, 30)
    assert [fill.qty for fill in paper.fills] == [1, 1]  # the low and the close share 10 % of 20


@pytest.mark.fault(52)
def test_marks_liquidate() -> None:
    paper = quoted(margin_mode="isolated")
    paper.send("Buy", "2")
    paper.see(MarkPrice(paper.ts_ms + 1, "BTCUSDT", 90.0))
    assert paper.fills[-1].cause == "liquidation"
    assert paper.venue.facts.liquidations == 1


def test_without_marks_the_close_is_the_mark() -> None:
    paper = quoted(margin_mode="isolated")
    paper.send("Buy", "2")
    paper.see(closed(bar(0, 89.0)))
    assert paper.fills[-1].cause == "liquidation"


def late(close: float, *, index: int = 0) -> BarsClosed:
    event = closed(bar(index, close))
    return BarsClosed(event.close_ms, event.interval_ms, event.bars, live=False)


def test_bars_from_before_an_order_move_nothing() -> None:
    paper = quoted()
    paper.send("Buy", "2", stop_loss="95")
    paper.see(late(94.0, index=-1))
    assert len(paper.fills) == 1


def test_a_bar_that_comes_late_meets_what_rested_meanwhile() -> None:
    paper = quoted()
    paper.send("Buy", "2", stop_loss="95")
    paper.see(late(94.0))
    stopped = paper.fills[-1]
    assert (stopped.cause, len(paper.fills)) == ("stop_loss", 2)
    assert stopped.price <= 95


def test_a_late_bar_that_opens_beyond_a_stop_fills_it_near_its_open() -> None:
    paper = quoted()
    paper.send("Buy", "2", stop_loss="95")
    gap = bar(1, 80.0)
    gap = msgspec.structs.replace(gap, open=90.0, high=max(gap.high, 90.0))
    paper.see(BarsClosed(gap.close_ms, gap.interval_ms, (gap,), live=False))
    assert D("89") < paper.fills[-1].price <= D("90")


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_a_late_bar_liquidates_as_a_backtest_does_where_nobody_saw_the_marks(mode: str) -> None:
    wick = msgspec.structs.replace(bar(0, 100.0), low=80.0)
    paper = quoted(margin_mode=mode)
    paper.send("Buy", "900")
    paper.see(MarkPrice(paper.ts_ms + 1, "BTCUSDT", 100.0))
    paper.see(BarsClosed(wick.close_ms, wick.interval_ms, (wick,), live=False))
    bars = BarVenue({"BTCUSDT": rules()}, D(10_000), paper.venue.terms)
    bars.advance(closed(bar(-1, 100.0)))
    bars.submit(PlaceOrder("o1", Approved(intent("Buy", "900"))))
    bars.advance(closed(wick))
    assert paper.fills[-1].cause == "liquidation"
    assert paper.venue.facts.liquidations == bars.exchange.facts.liquidations == 1


def test_a_late_bar_whose_marks_were_seen_liquidates_nothing() -> None:
    wick = msgspec.structs.replace(bar(0, 100.0), low=80.0)
    paper = quoted(margin_mode="isolated")
    paper.send("Buy", "900")
    for second in range(5, 300, 5):
        paper.see(MarkPrice(T0 + second * 1000, "BTCUSDT", 100.0))
    paper.see(BarsClosed(wick.close_ms, wick.interval_ms, (wick,), live=False))
    assert (len(paper.fills), paper.venue.facts.liquidations) == (1, 0)


def test_the_mark_stays_what_it_is_after_a_late_bar() -> None:
    paper = quoted(margin_mode="isolated")
    paper.send("Buy", "900")
    paper.see(MarkPrice(T0 + 400_000, "BTCUSDT", 101.0))
    dip = msgspec.structs.replace(bar(0, 100.0), low=95.0)
    paper.see(BarsClosed(dip.close_ms, dip.interval_ms, (dip,), live=False))
    assert paper.venue.exchange.positions("BTCUSDT")[0].mark_price == 101


def test_what_a_candle_has_shown_is_not_met_again_when_its_bar_comes_late() -> None:
    paper = quoted()
    paper.candle(100, 94, 100, 10)
    paper.send("Buy", "2", stop_loss="95")
    seen = bar(0, 100.0)
    seen = msgspec.structs.replace(seen, low=94.0)
    paper.see(BarsClosed(seen.close_ms, seen.interval_ms, (seen,), live=False))
    assert len(paper.fills) == 1


def test_funding_is_paid_on_what_was_held_at_the_stamp() -> None:
    paper = quoted()
    paper.send("Buy", "2")
    paper.see(MarkPrice(paper.ts_ms + 1, "BTCUSDT", 100.0))
    told = paper.see(FundingRate(paper.ts_ms + 2, "BTCUSDT", D("0.0001")))
    assert told == [FundingPaid(paper.ts_ms + 2, "BTCUSDT", D("-0.02"))]
    assert paper.venue.wallet_quote == 10_000 - D("0.11055") - D("0.02")


def test_new_rules_reach_the_venue() -> None:
    paper = quoted()
    paper.see(InstrumentChanged(paper.ts_ms, rules(status="Closed")))
    (told,) = paper.send("Buy", "1")
    assert isinstance(told, OrderRejected)
    assert told.code == 110074


@pytest.mark.parametrize("quote", [(0.0, 1.0), (101.0, 100.0), (99.0, float("inf"))])
def test_a_quote_that_cannot_be_is_ignored(quote: tuple[float, float]) -> None:
    paper = quoted()
    paper.quote(*quote)
    paper.send("Buy", "1")
    assert paper.fills[0].price == D("100.5")


def test_a_candle_or_quote_that_comes_late_is_ignored() -> None:
    paper = quoted()
    paper.send("Buy", "1", stop_loss="95")
    paper.see(Quote(T0, "BTCUSDT", 1.0, 2.0))
    paper.candle(101, 99, 100, 5)
    paper.see(Candle(paper.ts_ms, "BTCUSDT", 60_000, T0 - 60_000, 90.0, 90.0, 90.0, 90.0, 1.0))
    paper.send("Buy", "1")
    assert [fill.price for fill in paper.fills] == [D("100.5"), D("100.5")]


def test_the_same_events_give_the_same_fills() -> None:
    def run() -> list[VenueEvent]:
        paper = quoted(latency_ms=150)
        paper.send("Buy", "2", stop_loss="95")
        for step in range(20):
            paper.quote(99.5 - step, 100.5 - step)
            paper.candle(100.0, 99.0 - step, 99.0 - step, 10.0 * step)
        return paper.said

    assert run() == run()
    assert len([event for event in run() if isinstance(event, Filled)]) == 2


# Funding whose interval changes

HOUR = 3_600_000


def rate(paper: Paper, ts_ms: int, text: str = "0.0001") -> list[VenueEvent]:
    return paper.see(FundingRate(ts_ms, "BTCUSDT", D(text)))


def paid(paper: Paper) -> list[tuple[int, Decimal]]:
    return [(e.ts_ms, e.amount_quote) for e in paper.said if isinstance(e, FundingPaid)]


def marked(paper: Paper, hour: int, price: float) -> None:
    """A minute before the hour the mark and the quotes are at ``price``; then the hour is over."""
    paper.ts_ms = T0 + hour * HOUR - 60_000
    paper.quote(price - 1, price + 1, after_ms=0)
    paper.see(MarkPrice(paper.ts_ms, "BTCUSDT", price))


def test_rates_that_come_late_are_paid_at_their_own_marks_and_positions() -> None:
    paper = Paper()
    marked(paper, 1, 100.0)
    paper.send("Buy", "10")
    for hour, price in ((2, 110.0), (3, 120.0), (4, 130.0)):
        marked(paper, hour, price)
        if hour == 4:  # a minute before the fourth hour the position is closed
            paper.send("Sell", "10")
    for hour in (1, 2, 3, 4):
        rate(paper, T0 + hour * HOUR)
        rate(paper, T0 + hour * HOUR)  # a rate is paid once, however often it is told
    # 10 x mark x 0.0001, at the marks 100, 110, 120; nothing is held at the fourth
    assert paid(paper) == [(T0 + h * HOUR, -D(f"0.1{h - 1}")) for h in (1, 2, 3)]


def test_a_rate_of_an_outage_is_paid_at_the_close_of_the_bar_that_ended_then() -> None:
    paper = Paper()
    marked(paper, 0, 100.0)
    paper.send("Buy", "10")
    paper.ts_ms = T0 + 3 * HOUR
    paper.see(MarkPrice(paper.ts_ms + 5_000, "BTCUSDT", 200.0))  # the stream is back before the bars are
    for hour, price in ((1, 110.0), (2, 120.0)):
        late = closed(bar(12 * hour - 1, price))  # five minutes that end at the hour
        paper.see(msgspec.structs.replace(late, live=False))
        rate(paper, T0 + hour * HOUR)
    assert paid(paper) == [(T0 + HOUR, D("-0.11")), (T0 + 2 * HOUR, D("-0.12"))]


def test_a_limit_price_beyond_the_band_is_moved_and_the_engine_is_told() -> None:
    paper = Paper(liquidity="volume")
    paper.see(closed(bar(0, 100.0, volume=1.0)))  # a tenth of a base is offered until the next close
    paper.ts_ms = T0 + HOUR
    paper.quote(99.0, 101.0)
    paper.see(MarkPrice(paper.ts_ms, "BTCUSDT", 100.0))
    told = paper.send("Buy", "1", price="120")
    moved = [event for event in told if isinstance(event, OrderRepriced)]
    assert moved == [OrderRepriced(paper.ts_ms, "o1", D("105"))]
    assert paper.fills[0].price == 101
