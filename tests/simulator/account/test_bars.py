"""Bars fill a client's orders as a backtest fills an engine's: to the bit, and told in Bybit's words."""

from decimal import Decimal
from itertools import count
from random import Random
from typing import Any

import pytest

from bot.domain.ledger import Fill, fills_digest
from bot.domain.messages import BarsClosed, Filled, FundingPaid, FundingRate, PlaceOrder, SetStops, VenueEvent
from bot.domain.orders import Approved, Intent
from bot.exchange import BarExchange, BarVenue, Terms
from bot.simulator.account.access import RequestRefused
from bot.simulator.account.account import Account
from bot.simulator.account.messages import AccountPush
from bot.simulator.config import AccessRules
from bot.simulator.http.queries import QUERIES
from tests.helpers import T0, bar, instrument
from tests.simulator.stage import KEY

D = Decimal
TERMS = Terms(leverage=D(10))
QUEUED = Terms(leverage=D(10), limit_fills="queue", queue_ahead_ms=1_000)
WIRE = {"category": "linear", "symbol": "BTCUSDT"}
BAR_MS = 300_000


class Bars:
    """A desk behind closed bars and, beside it, the backtest's exchange given the same."""

    def __init__(self, terms: Terms = TERMS) -> None:
        self.told: list[AccountPush] = []
        rules = {"BTCUSDT": instrument()}
        self.backtest = BarVenue(rules, D(10_000), terms, seed=7)
        self.expected: list[VenueEvent] = []
        self.count = 0
        ids = (f"exec-{n}" for n in count())
        self.engine = BarExchange(rules, D(10_000), terms, seed=7, ids=ids)
        self.engine.expect("BTCUSDT", D(100))
        self.desk = Account(
            KEY,
            self.engine,
            AccessRules(),
            fees=(terms.taker_fee_frac, terms.maker_fee_frac),
            now_ms=lambda: self.closed_ms + 25,
            prices=lambda symbol: None,
            instruments=rules,
            rng=Random(3),
            emit=self.told.extend,
        )

    @property
    def closed_ms(self) -> int:
        """When the last bar closed."""
        return T0 + self.count * BAR_MS

    def bar(self, **prices: float) -> None:
        made = bar(self.count, **prices)
        closed = BarsClosed(made.close_ms, made.interval_ms, (made,))
        self.count += 1
        self.expected += self.backtest.advance(closed)
        self.engine.close(closed)
        self.desk.settle()

    def send(self, **params: Any) -> int:
        try:
            self.desk.create({**WIRE, **params})
        except RequestRefused as refused:
            return refused.code
        return 0

    def beside(self, name: str, intent: Intent) -> None:
        self.expected += self.backtest.submit(PlaceOrder(name, Approved(intent)))

    def fills(self) -> list[Fill]:
        return [
            Fill(int(r.execTime), r.symbol, r.side, D(r.execQty), D(r.execPrice), D(r.execFee), "", "")  # type: ignore[arg-type]
            for r in self.desk.ledger.executions
            if r.execType != "Funding"
        ]

    def ask(self, path: str, **params: Any) -> Any:
        return QUERIES[path][1](self.desk, {**WIRE, **params}, self.closed_ms).result

    def stops(self) -> tuple[D, D]:
        (view,) = self.engine.positions("BTCUSDT")
        return view.stop_loss, view.take_profit


@pytest.fixture
def bars() -> Bars:
    made = Bars()
    made.bar(open=100, high=101, low=99, close=100)
    return made


@pytest.mark.parametrize(
    ("seed", "terms"), [(seed, TERMS) for seed in range(12)] + [(seed, QUEUED) for seed in range(4)]
)
def test_any_walk_of_orders_fills_to_the_bit(seed: int, terms: Terms) -> None:
    stage, rng = Bars(terms), Random(seed)
    price = 100.0
    for step in range(120):
        opened, price = price, round(price * (1 + rng.uniform(-0.02, 0.02)), 2)
        high, low = max(opened, price) + round(rng.random(), 2), min(opened, price) - round(rng.random(), 2)
        stage.bar(open=opened, high=round(high, 2), low=round(low, 2), close=price, volume=50.0)
        if rng.random() < 0.1:
            rate = D("0.0001") * rng.choice([-1, 1])
            ts_ms = stage.closed_ms
            stage.expected += stage.backtest.advance(FundingRate(ts_ms, "BTCUSDT", rate))
            stage.engine.settle_funding("BTCUSDT", ts_ms, rate)
            stage.desk.settle()
        if rng.random() < 0.5:
            _same_order(stage, rng, step, price)
    expected = [event.fill for event in stage.expected if isinstance(event, Filled)]
    assert len(expected) > 10
    assert fills_digest(stage.fills()) == fills_digest(expected)
    assert stage.engine.wallet().wallet_quote == stage.backtest.wallet_quote
    paid = sum(event.amount_quote for event in stage.expected if isinstance(event, FundingPaid))
    told = sum(-D(r.execFee) for r in stage.desk.ledger.executions if r.execType == "Funding")
    assert told == paid


def _same_order(stage: Bars, rng: Random, step: int, price: float) -> None:
    """One order to both: market or limit, with or without stops, or a closing one."""
    side = rng.choice(["Buy", "Sell"])
    long = side == "Buy"
    kind = rng.choice(["Market", "Limit"])
    limit = D(str(round(price * rng.uniform(0.99, 1.01), 1))) if kind == "Limit" else None
    stop = D(str(round(price * (0.95 if long else 1.05), 1))) if rng.random() < 0.5 else None
    tif = rng.choice(["GTC", "IOC", "PostOnly", "FOK"]) if limit is not None else "IOC"
    reduce_only = stop is None and rng.random() < 0.3
    qty = D(rng.randint(1, 40)) / 10
    params: dict[str, Any] = {"side": side, "orderType": kind, "qty": str(qty), "timeInForce": tif}
    params |= {"price": str(limit)} if limit is not None else {}
    params |= {"stopLoss": str(stop)} if stop is not None else {}
    params |= {"reduceOnly": True} if reduce_only else {}
    stage.send(**params)
    stage.beside(
        f"o{step}",
        Intent(
            symbol="BTCUSDT",
            side=side,  # type: ignore[arg-type]
            qty=qty,
            ref_price=D(100),
            decided_ms=0,
            order_type=kind,  # type: ignore[arg-type]
            price=limit,
            time_in_force=tif,  # type: ignore[arg-type]
            reduce_only=reduce_only,
            stop_loss=stop,
        ),
    )


def test_an_order_is_new_until_its_bar_closes(bars: Bars) -> None:
    assert bars.send(side="Buy", orderType="Market", qty="1", orderLinkId="mine") == 0
    assert bars.ask("/v5/order/realtime", orderLinkId="mine")["list"][0].orderStatus == "New"
    bars.bar(open=100, high=101, low=99, close=100)
    found = bars.ask("/v5/order/history", orderLinkId="mine")["list"][0]
    assert (found.orderStatus, found.timeInForce, found.orderType) == ("Filled", "IOC", "Market")
    assert [message.kind for message in bars.told[-4:]] == ["order", "execution", "position", "wallet"]


def test_stops_are_orders_that_wait_and_say_why_they_filled(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="1", stopLoss="98", takeProfit="110")
    bars.bar(open=100, high=101, low=99, close=100)
    waiting = bars.ask("/v5/order/realtime")["list"]
    assert {(o.stopOrderType, o.orderStatus, o.triggerPrice) for o in waiting} == {
        ("StopLoss", "Untriggered", "98"),
        ("TakeProfit", "Untriggered", "110"),
    }
    bars.bar(open=100, high=100, low=97, close=97.5)
    execution = bars.ask("/v5/execution/list")["list"][0]
    assert (execution.stopOrderType, execution.createType) == ("StopLoss", "CreateByStopLoss")
    assert bars.ask("/v5/order/realtime")["list"] == []
    assert bars.ask("/v5/position/list")["list"][0].side == ""
    assert bars.ask("/v5/position/closed-pnl")["list"][0].closedSize == "1"


def test_stops_move_by_trading_stop_as_in_a_backtest(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="1")
    bars.bar(open=100, high=101, low=99, close=100)
    bars.desk.trading_stop({**WIRE, "positionIdx": 0, "stopLoss": "97"})
    assert bars.stops() == (97, 0)
    with pytest.raises(RequestRefused, match="not modified"):
        bars.desk.trading_stop({**WIRE, "positionIdx": 0, "stopLoss": "97"})
    bars.desk.trading_stop({**WIRE, "positionIdx": 0, "stopLoss": "0"})
    assert bars.stops() == (0, 0)


def test_a_cancel_of_an_order_under_way_comes_after_it_and_is_taken_once(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Limit", qty="1", price="90", orderLinkId="early")
    bars.desk.cancel({**WIRE, "orderLinkId": "early"})
    with pytest.raises(RequestRefused) as refused:
        bars.desk.cancel({**WIRE, "orderLinkId": "early"})
    assert refused.value.code == 110001
    bars.bar(open=100, high=101, low=99, close=100)
    found = bars.desk.ledger.orders.find("", "early")
    assert found is not None
    assert (found.status, found.cancel_type) == ("Cancelled", "CancelByUser")


def test_a_resting_order_is_cancelled(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Limit", qty="1", price="90", orderLinkId="rests")
    bars.bar(open=100, high=101, low=99, close=100)
    bars.desk.cancel({**WIRE, "orderLinkId": "rests"})
    found = bars.ask("/v5/order/history", orderLinkId="rests")["list"][0]
    assert (found.orderStatus, found.cancelType) == ("Cancelled", "CancelByUser")


def test_a_conditional_order_fires_inside_a_bar(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="1", triggerPrice="102", triggerDirection=1)
    bars.bar(open=100, high=101.9, low=99, close=101)
    assert bars.fills() == []
    bars.bar(open=101, high=103, low=100, close=102)
    assert [fill.price for fill in bars.fills()] == [D("102.1")]  # half a spread of 1 bps, up to the tick


def test_a_trailing_stop_follows_the_best_price_of_the_path(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="1")
    bars.bar(open=100, high=100, low=100, close=100)
    bars.desk.trading_stop({**WIRE, "trailingStop": "5"})
    bars.bar(open=100, high=110, low=100, close=110)
    bars.bar(open=110, high=110, low=104, close=104)
    assert [fill.price for fill in bars.fills()][1:] == [D("104.8")]  # 110 − 5, less half a spread and impact


def test_a_partial_pair_cancels_its_other_half(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="2")
    bars.bar(open=100, high=101, low=99, close=100)
    pair = {"tpslMode": "Partial", "stopLoss": "95", "takeProfit": "105", "slSize": "1", "tpSize": "1"}
    bars.desk.trading_stop({**WIRE, **pair})
    bars.bar(open=100, high=106, low=100, close=106)
    rows = {r.stopOrderType: r for r in bars.ask("/v5/order/history")["list"] if r.stopOrderType}
    assert rows["PartialTakeProfit"].orderStatus == "Filled"
    assert rows["PartialStopLoss"].cancelType == "CancelByOCOSlCanceledByTpTriggered"
    assert bars.engine.positions("BTCUSDT")[0].size == 1


def test_an_amended_order_acts_at_the_next_open_again(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Limit", qty="1", price="90", orderLinkId="rests")
    bars.bar(open=100, high=101, low=99, close=100)
    bars.desk.amend({**WIRE, "orderLinkId": "rests", "price": "98"})
    bars.bar(open=100, high=100, low=97, close=97)
    assert [fill.price for fill in bars.fills()] == [98]


def test_both_sides_of_hedge_mode_are_held(bars: Bars) -> None:
    bars.desk.switch_mode({**WIRE, "mode": 3})
    bars.send(side="Buy", orderType="Market", qty="1", positionIdx=1)
    bars.send(side="Sell", orderType="Market", qty="2", positionIdx=2)
    bars.bar(open=100, high=101, low=99, close=100)
    assert [(v.side, v.size) for v in bars.engine.positions("BTCUSDT")] == [("Buy", 1), ("Sell", 2)]


def test_the_bar_that_was_open_when_the_exchange_began_is_entered_where_it_stood() -> None:
    stage = Bars()
    late = BarExchange({"BTCUSDT": instrument()}, D(10_000), TERMS, seed=7)
    late.expect("BTCUSDT", D(100))
    late.start(T0 + 30_000)
    stage.desk.engine = stage.engine = late
    stage.send(side="Buy", orderType="Market", qty="1")
    stage.bar(open=100, high=101, low=99, close=100)
    assert [fill.ts_ms for fill in stage.fills()] == [T0 + 30_000]


def test_setting_stops_on_both_sides_of_the_wire_is_one_call(bars: Bars) -> None:
    bars.send(side="Sell", orderType="Market", qty="1")
    bars.beside("o", Intent("BTCUSDT", "Sell", D(1), D(100), 0))
    bars.bar(open=100, high=101, low=99, close=100)
    bars.desk.trading_stop({**WIRE, "stopLoss": "103", "takeProfit": "95"})
    bars.expected += bars.backtest.submit(SetStops("BTCUSDT", D(103), D(95)))
    bars.bar(open=100, high=104, low=99, close=103)
    expected = [event.fill for event in bars.expected if isinstance(event, Filled)]
    assert fills_digest(bars.fills()) == fills_digest(expected)
    assert len(expected) == 2


def test_a_rate_of_zero_is_not_told(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="1")
    bars.bar(open=100, high=101, low=99, close=100)
    for early_ms, rate in ((1, "0"), (0, "0.001")):
        bars.engine.settle_funding("BTCUSDT", bars.closed_ms - early_ms, D(rate))
    bars.desk.settle()
    funding = bars.ask("/v5/execution/list", execType="Funding")["list"]
    assert [(row.feeRate, row.execFee, row.side) for row in funding] == [("0.001", "0.1", "Buy")]


def test_one_stop_is_changed_without_the_other(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="1", stopLoss="90", takeProfit="110")
    bars.bar(open=100, high=101, low=99, close=100)
    bars.desk.trading_stop({**WIRE, "takeProfit": "120"})
    assert bars.stops() == (90, 120)


def test_fees_are_part_of_what_a_position_has_realised(bars: Bars) -> None:
    bars.send(side="Buy", orderType="Market", qty="1")
    bars.bar(open=100, high=101, low=99, close=100)
    fee = D(bars.ask("/v5/execution/list")["list"][0].execFee)
    assert bars.engine.positions("BTCUSDT")[0].cur_realised_quote == -fee
