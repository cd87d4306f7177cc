"""One venue, two clocks: a path told as closed bars and as quotes and trades gives the same ledger.

Spread, impact and latency are 0. Prices move on whole ticks; candles turn on even ticks and limit prices are
odd, so that a limit price is gone through or never reached (a touch means less to a bar than to a quote).
Bars are told first. The path is then told tick by tick, and at the moments at which bars liquidated.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from random import Random

import msgspec
import pytest

from bot.domain.market import Bar, RiskTier
from bot.domain.messages import BarsClosed
from bot.domain.money import to_decimal
from bot.exchange.bars.exchange import BarExchange
from bot.exchange.bars.path import Path, path, via
from bot.exchange.bars.walk import arbiter_of
from bot.exchange.events import ExchangeEvent, Executed, OrderChanged, PositionView, WalletView
from bot.exchange.orders import Amend, Cancel, ExchangeOrder, NewOrder, SetLeverage, TradingStop
from bot.exchange.quotes.depth import Depth
from bot.exchange.quotes.exchange import QuoteExchange
from bot.exchange.rulebook.price_band import PriceBand
from bot.exchange.terms import UNLIMITED, Terms
from tests.helpers import instrument

D = Decimal
TAPES, CHUNKS = 2_000, 10
START_MS, BAR_MS, BARS = 1_699_999_980_000, 60_000, 8
NAMES = ("BTCUSDT", "ETHUSDT")
WIDE = PriceBand(D("0.5"), D("0.9"))
TIERS = (
    RiskTier(D(20_000), D("0.005"), D(0), D(100)),
    RiskTier(D(60_000), D("0.01"), D(100), D(50)),
    RiskTier(D(10_000_000), D("0.02"), D(700), D(25)),
)


@dataclass
class Scene:
    """What one seed draws: the account, its symbols, and how wild the market is."""

    seed: int
    rng: Random = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng = Random(self.seed)
        self.hedge = rng.random() < 0.2
        self.mode = rng.choice(["cross", "isolated"])
        # Marks of two symbols come one after the other here and at once in bars, so only one may run a
        # cross account out of margin, and only without gaps do triggers that look at the mark agree.
        self.symbols = NAMES if rng.random() < 0.4 else NAMES[:1]
        self.tight = rng.random() < 0.4 and (self.mode == "isolated" or len(self.symbols) == 1)
        self.gaps = rng.random() < 0.6
        self.wallet = D(2_000) if self.tight else D(1_000_000)
        self.leverage = D(rng.choice([20, 25]) if self.tight else rng.choice([1, 5, 10]))

    @property
    def terms(self) -> Terms:
        return Terms(
            default_half_spread_bps=0.0,
            impact_frac=0.0,
            liquidity="full",
            margin_mode=self.mode,  # type: ignore[arg-type]
            leverage=self.leverage,
        )


class JudgedApart(Exception):
    """The two judged an order at different moments, and the price moved between yes and no.

    Bars judge margin and risk tier of an order at the close, quotes at the open behind a gap; a trigger on
    the last price finds the new mark in bars and the one before it in a stream.
    """


class Told:
    """One exchange and everything that it emitted."""

    def __init__(self, exchange: BarExchange | QuoteExchange) -> None:
        self.x = exchange
        self.events: list[ExchangeEvent] = []

    def drain(self) -> list[ExchangeEvent]:
        new = self.x.drain()
        self.events += new
        return new

    def executions(self, symbol: str) -> list[tuple[object, ...]]:
        return [
            _execution(e) for e in self.events if isinstance(e, Executed) and e.execution.symbol == symbol
        ]

    def orders(self) -> dict[str, tuple[object, ...]]:
        """How each order of the client ended or stands; one that never did anything is left out."""
        last = {
            e.order.link_id: e.order for e in self.events if isinstance(e, OrderChanged) and e.order.link_id
        }
        return {name: _outcome(order) for name, order in last.items() if order.open or order.cum_exec_qty}

    def without_margin(self) -> set[str]:
        """Conditional orders that found no margin at their trigger."""
        orders = [e.order for e in self.events if isinstance(e, OrderChanged)]
        return {order.link_id for order in orders if order.reject_reason == "EC_Others"}

    def protective(self) -> list[tuple[object, ...]]:
        kinds = [
            e.order for e in self.events if isinstance(e, OrderChanged) and e.order.stop_order_type != ""
        ]
        ended = [order for order in kinds if not order.open and order.status != "Triggered"]
        return sorted(_outcome(order) for order in ended if not order.link_id)  # type: ignore[type-var]


def _execution(event: Executed) -> tuple[object, ...]:
    e = event.execution
    return (
        *(e.ts_ms, e.link_id, e.position_idx, e.side, e.qty, e.price, e.value_quote, e.fee_quote, e.fee_frac),
        *(e.maker, e.exec_type, e.create_type, e.stop_order_type, e.closed_size, e.pnl_quote, e.leaves_qty),
    )


def _outcome(order: ExchangeOrder) -> tuple[object, ...]:
    # A trailing stop follows every trade of a stream, but only the turns of a bar's path.
    trigger = D(0) if order.trailing_quote else order.trigger_price
    return (
        *(order.symbol, order.side, order.status, order.qty, order.leaves_qty, trigger),
        *(order.cum_exec_qty, order.cum_exec_value, order.cum_exec_fee, order.closed_pnl, order.closed_qty),
        *(order.cum_entry_value, order.cancel_type, order.reject_reason, order.stop_order_type),
    )


class Pair:
    """The same account twice, moved by bars and by quotes."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.rng = scene, scene.rng
        rules = {
            name: instrument(
                name,
                tick_size=D(1),
                qty_step=D("0.001"),
                min_qty=D("0.001"),
                tiers=TIERS,
                max_leverage=D(100),
            )
            for name in scene.symbols
        }
        self.bars = Told(BarExchange(rules, scene.wallet, scene.terms, seed=scene.seed))
        bands = dict.fromkeys(rules, WIDE)
        self.quotes = Told(QuoteExchange(rules, scene.wallet, scene.terms, bands=bands))
        self.price = dict.fromkeys(scene.symbols, 1_000)
        self.before = dict(self.price)
        self.count = 0
        self.pending: list[NewOrder] = []
        if scene.hedge:
            for name in rules:
                assert self.bars.x.switch_mode(name, True) == self.quotes.x.switch_mode(name, True)

    # The market

    def close(self, number: int) -> None:
        """One bar of every symbol, told to both."""
        start_ms = START_MS + number * BAR_MS
        self.before = dict(self.price)
        made = tuple(self._bar(name, start_ms) for name in self.scene.symbols)
        assert isinstance(self.bars.x, BarExchange)
        stamp_ms = start_ms + self.rng.choice([7_000, 23_000, 41_000]) if self.rng.random() < 0.2 else 0
        rate = D(self.rng.randint(-30, 30)) / 10_000
        if stamp_ms:
            self.bars.x.settle_funding(NAMES[0], stamp_ms, rate)
        roads = {bar.symbol: self._road(bar) for bar in made}
        self.bars.x.close(BarsClosed(start_ms + BAR_MS, BAR_MS, made))
        events = self.bars.drain()
        self._tell(made, roads, events, stamp_ms, rate)
        self.quotes.drain()

    def _bar(self, name: str, start_ms: int) -> Bar:
        rng, last = self.rng, self.price[name]
        opened = last + 2 * rng.randint(-8, 8) if self.scene.gaps and rng.random() < 0.5 else last
        spread = 12 if self.scene.tight else 6
        other, closed = (opened + 2 * rng.randint(-spread, spread) for _ in range(2))
        high, low = max(opened, other, closed), min(opened, other, closed)
        high, low = high + 2 * rng.randint(0, 2), low - 2 * rng.randint(0, 2)
        self.price[name] = closed
        return Bar(name, BAR_MS, start_ms, float(opened), float(high), float(low), float(closed), 100.0)

    def _road(self, bar: Bar) -> tuple[float, ...]:
        """The path of a bar, as the account stands at its open."""
        assert isinstance(self.bars.x, BarExchange)
        arbiter = arbiter_of(self.bars.x._books[bar.symbol], self.scene.seed)
        return path(bar, self.scene.seed) if arbiter is None else via(bar, arbiter.high_first(bar))

    def _tell(
        self,
        bars: tuple[Bar, ...],
        roads: dict[str, tuple[float, ...]],
        events: list[ExchangeEvent],
        stamp_ms: int,
        rate: D,
    ) -> None:
        x = self.quotes.x
        assert isinstance(x, QuoteExchange)
        start_ms = bars[0].start_ms
        if self.scene.mode == "cross":  # a ladder meets the new book, which must find no order of ours first
            jumped = any(order.price for order in x.open_orders(None) if not order.conditional)
            if jumped and self.scene.tight and bars[0].open != self.before[bars[0].symbol]:
                raise JudgedApart
            for bar in bars:
                x.quote(bar.symbol, start_ms, _touch(bar.open))
        for bar in bars:
            self._mark(bar.symbol, start_ms, to_decimal(bar.open))
        for bar in bars:
            x.quote(bar.symbol, start_ms, _touch(bar.open))
        for name in self.scene.symbols:
            for new in [new for new in self.pending if new.symbol == name]:
                refusal = x.place(new, start_ms)
                if refusal is not None and refusal.code in (110007, 110090):
                    raise JudgedApart
        self.pending.clear()
        for bar in bars:
            x.trade(bar.symbol, start_ms, to_decimal(bar.open), UNLIMITED, _touch(bar.open))
        moments = [(at, 0, price, bar, None) for bar in bars for at, price in _ticks(roads[bar.symbol])]
        moments += list(_liquidations(bars, events))  # type: ignore[arg-type]
        if stamp_ms:
            bar = bars[0]
            at = (stamp_ms - start_ms) / BAR_MS
            moments.append((at, -1, Path(roads[bar.symbol]).price(at), bar, "funding"))  # type: ignore[arg-type]
        for at, _, price, bar, kind in sorted(moments, key=lambda each: each[:2]):
            ts_ms = min(start_ms + round(at * BAR_MS), start_ms + BAR_MS - 1)
            if kind is None:
                x.trade(bar.symbol, ts_ms, to_decimal(price), UNLIMITED, _touch(price))
                self._mark(bar.symbol, ts_ms, to_decimal(price))
            elif kind == "funding":
                self._mark(bar.symbol, stamp_ms, to_decimal(price))
                x.settle_funding(bar.symbol, stamp_ms, rate)
            else:
                self._liquidate(bar.symbol, ts_ms, price, kind)

    def _mark(self, symbol: str, ts_ms: int, mark: D) -> None:
        assert isinstance(self.quotes.x, QuoteExchange)
        self.quotes.x.mark(symbol, ts_ms, mark, mark)

    def _liquidate(self, symbol: str, ts_ms: int, price: float, create_type: str) -> None:
        """Tell the mark of the moment at which bars liquidated, a hair further on the way it went."""
        x = self.quotes.x
        assert isinstance(x, QuoteExchange)
        for view in x.positions(symbol):
            if not view.size:
                continue
            long = view.side == "Buy"
            if create_type == "CreateByLiq":
                x.quote(symbol, ts_ms, _touch(price))
                mark = to_decimal(price) * (D("0.9999999") if long else D("1.0000001"))
            elif view.liq_price is not None and abs(view.liq_price - to_decimal(price)) < D("1e-6"):
                mark = view.liq_price
            else:
                continue
            self._mark(symbol, ts_ms, mark)
            return

    # The client

    def act(self, close_ms: int) -> None:
        """Ask the same of both at a close; orders that meet the book do so at the next open."""
        for _ in range(self.rng.choice([0, 1, 1, 2, 3])):
            kind = self.rng.choice(
                ["order"] * 5 + ["conditional", "stops", "stops", "cancel", "amend", "leverage"]
            )
            getattr(self, f"_{kind}")(self.rng.choice(self.scene.symbols), close_ms)
        if self.rng.random() < 0.3:
            name, rate = self.rng.choice(self.scene.symbols), D(self.rng.randint(-30, 30)) / 10_000
            for told in (self.bars, self.quotes):
                told.x.settle_funding(name, close_ms, rate)

    def _same(self, action: object, close_ms: int) -> None:
        """Both take or both refuse an action."""
        answers = []
        for told in (self.bars, self.quotes):
            match action:
                case NewOrder():
                    answers.append(told.x.place(action, close_ms))
                case TradingStop():
                    answers.append(told.x.trading_stop(action, close_ms))
                case SetLeverage():
                    answers.append(told.x.set_leverage(action, close_ms))
                case Amend():
                    answers.append(told.x.amend(action, close_ms))
                case Cancel():
                    answers.append(told.x.cancel(action, close_ms))
        assert answers[0] == answers[1], action

    def _new(self, name: str, **changes: object) -> NewOrder:
        self.count += 1
        rng, name_of = self.rng, f"o{self.count}"
        side = rng.choice(["Buy", "Sell"])
        usual: dict[str, object] = {"order_type": "Market", "qty": self._qty(), "side": side}
        if self.scene.hedge:
            usual["position_idx"] = rng.choice([1, 2])
        elif rng.random() < 0.2:
            usual["reduce_only"] = True
        if "reduce_only" not in usual and rng.random() < 0.4 and not self.scene.hedge:
            usual |= self._tpsl(name, long=side == "Buy")
        return NewOrder(order_id=name_of, link_id=name_of, symbol=name, **(usual | changes))  # type: ignore[arg-type]

    def _qty(self) -> D:
        most = 60_000 if self.scene.tight else 9_000
        return D(self.rng.randint(1, most)) / 1_000

    def _tpsl(self, name: str, *, long: bool) -> dict[str, object]:
        rng, price = self.rng, self.price[name]
        away = [D(rng.randint(18, 40)) for _ in range(2)]
        stop, target = (price - away[0], price + away[1]) if long else (price + away[0], price - away[1])
        found: dict[str, object] = {"stop_loss": D(stop)} if rng.random() < 0.8 else {}
        if not found or rng.random() < 0.5:
            found["take_profit"] = D(target)
        if rng.random() < 0.3:
            found["tpsl_mode"] = "Partial"
        return found

    def _order(self, name: str, close_ms: int) -> None:
        """A market or limit order: accepted by bars now, at the door of the other at the next open."""
        new = self._new(name)
        if self.rng.random() < 0.5:
            limit = D(self.price[name] + 2 * self.rng.randint(-8, 8) + 1)
            tif = self.rng.choice(["GTC", "GTC", "GTC", "IOC", "FOK", "PostOnly"])
            new = self._limit(new, limit, tif)
        if self.bars.x.place(new, close_ms) is None:
            self.pending.append(new)

    @staticmethod
    def _limit(new: NewOrder, limit: D, tif: str) -> NewOrder:
        stops = {}
        if new.stop_loss or new.take_profit:  # judged from the limit
            long = new.side == "Buy"
            stops["stop_loss"] = limit - 31 if long else limit + 31
            stops["take_profit"] = None
        return msgspec.structs.replace(new, order_type="Limit", price=limit, time_in_force=tif, **stops)

    def _conditional(self, name: str, close_ms: int) -> None:
        by = "LastPrice" if self.scene.gaps else self.rng.choice(["LastPrice", "MarkPrice"])
        trigger = D(self.price[name] + self.rng.choice([-1, 1]) * self.rng.randint(1, 14))
        new = self._new(name, trigger_price=trigger, trigger_by=by, stop_loss=None, take_profit=None)
        if self.rng.random() < 0.4 and self.scene.mode == "isolated":  # else its margin looks at the mark
            new = self._limit(new, trigger + (trigger % 2 == 0), "GTC")
        self._same(new, close_ms)

    def _stops(self, name: str, close_ms: int) -> None:
        (view, *_) = [v for v in self.bars.x.positions(name) if v.size] or self.bars.x.positions(name)
        asked = self._tpsl(name, long=view.side != "Sell")
        if asked.get("tpsl_mode") == "Partial":
            size = min(view.size, self._qty()) or D(1)
            asked |= {"sl_size": size, "tp_size": size}
        elif self.rng.random() < 0.3:
            asked = {"trailing_stop": D(self.rng.randint(6, 20))}
            if self.rng.random() < 0.3:
                ahead = self.rng.randint(2, 10)
                asked["active_price"] = D(self.price[name] + (-ahead if view.side == "Sell" else ahead))
        self._same(TradingStop(symbol=name, position_idx=view.idx, **asked), close_ms)  # type: ignore[arg-type]

    def _resting(self, name: str) -> list[ExchangeOrder]:
        """Orders that rest or wait in both."""
        under_way = {new.order_id for new in self.pending}
        return [o for o in self.bars.x.open_orders(name) if o.link_id and o.order_id not in under_way]

    def _cancel(self, name: str, close_ms: int) -> None:
        if there := self._resting(name):
            self._same(Cancel(name, self.rng.choice(there).order_id), close_ms)

    def _amend(self, name: str, close_ms: int) -> None:
        """A smaller quantity or another trigger: what moves in the queue acts at another moment in bars."""
        there = self._resting(name)
        if not there:
            return
        order = self.rng.choice(there)
        if order.conditional:
            move = -1 if order.trigger_direction == 2 else 1
            away = move * self.rng.randint(1, 14)
            self._same(
                Amend(symbol=name, order_id=order.order_id, trigger_price=D(self.price[name] + away)),
                close_ms,
            )
        elif order.leaves_qty > D("0.002"):
            qty = order.cum_exec_qty + (order.leaves_qty / 2).quantize(D("0.001"))
            self._same(Amend(symbol=name, order_id=order.order_id, qty=qty), close_ms)

    def _leverage(self, name: str, close_ms: int) -> None:
        if not self.pending:  # those are bound at another moment
            value = D(self.rng.choice([2, 5, 10, 20, 150]))
            self._same(SetLeverage(name, value, value), close_ms)

    # What must be equal

    def views(self, told: Told) -> tuple[list[tuple[object, ...]], WalletView]:
        shown = [_shown(view) for name in self.scene.symbols for view in told.x.positions(name)]
        return shown, told.x.wallet()

    def compare(self) -> None:
        if self.bars.without_margin() != self.quotes.without_margin():
            raise JudgedApart
        for name in self.scene.symbols:
            assert self.quotes.executions(name) == self.bars.executions(name)
        if not self.pending:
            assert self.views(self.quotes) == self.views(self.bars)
        assert self.quotes.x.account.cash == self.bars.x.account.cash
        assert self.quotes.x.facts.liquidations == self.bars.x.facts.liquidations
        assert self.quotes.x.facts.shortfall_quote == self.bars.x.facts.shortfall_quote


def _shown(view: PositionView) -> tuple[object, ...]:
    names = [name for name in view.__struct_fields__ if name not in ("seq",)]
    return tuple(getattr(view, name) for name in names)


def _touch(price: float) -> Depth:
    exact = to_decimal(price)
    floor = exact.to_integral_value("ROUND_FLOOR")
    ceil = exact.to_integral_value("ROUND_CEILING")
    return Depth.touch(floor, ceil, UNLIMITED)


def _ticks(prices: tuple[float, ...]) -> Iterator[tuple[float, float]]:
    """Every tick of the path after the open: (place, price)."""
    for index, (here, there) in enumerate(pairwise(prices)):
        step = 1 if there > here else -1
        if here == there:
            yield (index + 1) / 3, there
        for level in range(int(here) + step, int(there) + step, step) if here != there else ():
            yield (index + (level - here) / (there - here)) / 3, float(level)


def _liquidations(
    bars: tuple[Bar, ...], events: list[ExchangeEvent]
) -> Iterator[tuple[float, int, float, Bar, str]]:
    """When bars liquidated: (place, rank, price of the path, bar, createType)."""
    by_name = {bar.symbol: bar for bar in bars}
    for event in events:
        if isinstance(event, Executed) and event.execution.create_type in (
            "CreateByLiq",
            "CreateByTakeOver_PassThrough",
        ):
            e = event.execution
            bar = by_name[e.symbol]
            yield (e.ts_ms - bar.start_ms) / BAR_MS, -1, float(e.mark_price), bar, e.create_type


def play(seed: int) -> Pair:
    pair = Pair(Scene(seed))
    for number in range(BARS):
        pair.close(number)
        pair.compare()
        pair.act(START_MS + (number + 1) * BAR_MS)
    pair.close(BARS)
    pair.compare()
    assert pair.quotes.orders() == pair.bars.orders()
    assert pair.quotes.protective() == pair.bars.protective()
    return pair


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_bars_and_quotes_keep_the_same_ledger(chunk: int) -> None:
    apart = 0
    for seed in range(chunk, TAPES, CHUNKS):
        try:
            play(seed)
        except JudgedApart:
            apart += 1
    assert apart <= TAPES / CHUNKS * 0.03


def test_the_tapes_reach_every_kind() -> None:
    seen: set[str] = set()
    for seed in range(700):
        try:
            pair = play(seed)
        except JudgedApart:
            continue
        for event in pair.bars.events:
            if isinstance(event, Executed):
                seen |= {
                    event.execution.create_type,
                    event.execution.exec_type,
                    f"maker {event.execution.maker}",
                }
            elif isinstance(event, OrderChanged):
                seen |= {event.order.cancel_type, event.order.reject_reason, event.order.stop_order_type}
    assert seen >= {
        *("CreateByUser", "CreateByStopLoss", "CreateByTakeProfit", "CreateByTrailingStop", "CreateByLiq"),
        *("CreateByPartialStopLoss", "CreateByPartialTakeProfit", "CreateByTakeOver_PassThrough"),
        *("Trade", "Funding", "BustTrade", "maker True", "maker False", "Stop"),
        *("EC_NoImmediateQtyToFill", "EC_CancelForNoFullFill", "EC_PostOnlyWillTakeLiquidity"),
        *("CancelByUser", "CancelByReduceOnly", "CancelByTpSlTsClear", "CancelByPrepareLiq"),
        *("CancelByOCOTpCanceledBySlTriggered", "CancelByOCOSlCanceledByTpTriggered"),
    }
