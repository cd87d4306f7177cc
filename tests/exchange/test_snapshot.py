"""Venues of this process that go on from their snapshots, and what a snapshot must hold."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import BadInput, BadUsage, Broken
from bot.domain.market import Bar
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Candle,
    Filled,
    FundingPaid,
    FundingRate,
    InstrumentChanged,
    MarkPrice,
    PlaceOrder,
    Quote,
    SetStops,
    StopsChanged,
    VenueEvent,
)
from bot.domain.orders import Approved
from bot.exchange import snapshot
from bot.exchange.orders import NewOrder, TradingStop
from bot.exchange.paper import PaperVenue
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from tests.engine.test_snapshot import bare_floats
from tests.exchange.quotes.desk import rules
from tests.helpers import T0, intent

D = Decimal
SYMBOLS = ("AUSDT", "BUSDT")
BAR_MS = 60_000
Venue = PaperVenue | BarVenue


class Act(NamedTuple):
    """One thing that happens: in the market, or an order of ours."""

    what: str
    symbol: str
    side: Literal["Buy", "Sell"]
    lots: int
    offset: int
    force: Literal["GTC", "IOC", "FOK", "PostOnly"]
    flag: bool


def acts(*kinds: str) -> st.SearchStrategy[list[Act]]:
    one = st.builds(
        Act,
        what=st.sampled_from([*kinds, "market", "limit", "cancel", "stops", "trail", "wait", "pay", "mark"]),
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(["Buy", "Sell"]),
        lots=st.integers(1, 60),
        offset=st.integers(-40, 40),
        force=st.sampled_from(["GTC", "GTC", "IOC", "FOK", "PostOnly"]),
        flag=st.booleans(),
    )
    return st.lists(one, min_size=5, max_size=60)


class Desk:
    """A venue, the market around it, and everything the venue said."""

    def __init__(self, made: Callable[[], Venue]) -> None:
        self.made = made
        self.venue = made()
        self.now_ms = T0
        self.price = dict.fromkeys(SYMBOLS, 1000)  # tenths
        self.paid_ms = T0
        self.count = 0
        self.said: list[object] = []

    def restart(self) -> None:
        """Go on with a new venue that got the old one's snapshot."""
        body = self.venue.snapshot()
        self.venue = self.made()
        self.venue.restore(body)
        assert self.venue.snapshot() == body

    def move(self) -> None:
        """Go on with a new venue, as if its arguments were others."""
        body = self.venue.snapshot()
        known = {symbol: self.venue.exchange.instrument(symbol) for symbol in SYMBOLS}
        self.venue = self.made()
        for instrument in known.values():
            self.venue.advance(InstrumentChanged(0, instrument))
        self.venue.move_in(body)

    def do(self, act: Act) -> None:
        self.now_ms += 700
        told = self._market(act) if act.what in ("bar", "quote", "candle", "mark", "pay", "rules") else None
        events = told if told is not None else self._ours(act)
        self.said.append((list(events), self.venue.wallet_quote, self.venue.equity_quote))

    def _market(self, act: Act) -> Sequence[VenueEvent]:
        venue, symbol = self.venue, act.symbol
        before = self.price[symbol]
        now = self.price[symbol] = max(before + act.offset, 100)
        price, low, high = now / 10, (min(before, now) - act.lots % 5) / 10, (max(before, now) + 3) / 10
        match act.what:
            case "bar":
                self.now_ms += BAR_MS - self.now_ms % BAR_MS
                start_ms = self.now_ms - BAR_MS
                bars = [Bar(symbol, BAR_MS, start_ms, before / 10, high, low, price, 10.0 * act.lots)]
                other = SYMBOLS[symbol == SYMBOLS[0]]
                still = self.price[other] / 10
                if act.flag:
                    bars.append(Bar(other, BAR_MS, start_ms, still, still, still, still, 50.0))
                bars.sort(key=lambda each: each.symbol)
                return venue.advance(BarsClosed(self.now_ms, BAR_MS, tuple(bars)))
            case "quote":
                return venue.advance(Quote(self.now_ms, symbol, price - 0.1, price + 0.1))
            case "candle":
                start_ms = self.now_ms - self.now_ms % BAR_MS
                return venue.advance(
                    Candle(self.now_ms, symbol, BAR_MS, start_ms, price, high, low, price, 1.0 * act.lots)
                )
            case "mark":
                return venue.advance(MarkPrice(self.now_ms, symbol, price))
            case "pay":
                if act.flag:  # otherwise the last stamp again
                    self.paid_ms = self.now_ms
                return venue.advance(FundingRate(self.paid_ms, symbol, D(act.offset) / 10_000))
            case _:
                step = D("0.1") if act.flag else D("0.5")
                return venue.advance(InstrumentChanged(self.now_ms, rules(symbol, tick_size=step)))

    def _ours(self, act: Act) -> Sequence[VenueEvent]:
        venue, symbol, qty = self.venue, act.symbol, D(act.lots) / 4
        price = D(max(self.price[symbol] + act.offset, 1)) / 10
        away = D(1 + act.lots % 7) * (1 if act.side == "Sell" else -1)
        match act.what:
            case "market" | "limit":
                self.count += 1
                wish = intent(
                    act.side,
                    str(qty),
                    symbol=symbol,
                    ref_price=price,
                    order_type="Market" if act.what == "market" else "Limit",
                    price=None if act.what == "market" else price,
                    time_in_force="IOC" if act.what == "market" else act.force,
                    reduce_only=act.flag and act.lots % 3 == 0,
                    stop_loss=max(price + away, D(1)) if act.lots % 2 else None,
                )
                return venue.submit(PlaceOrder(f"o{self.count}", Approved(wish)))
            case "cancel":
                return venue.submit(CancelOrder(f"o{max(self.count - act.lots % 4, 1)}", symbol))
            case "stops":
                stop = max(price + 2 * away, D(1)) if act.flag else None
                return venue.submit(SetStops(symbol, stop, None))
            case "trail":
                asked = TradingStop(symbol=symbol, trailing_stop=D(1 + act.lots % 5))
                venue.exchange.trading_stop(asked, self.now_ms)
            case _:
                self.count += 1
                waits = NewOrder(
                    order_id=f"o{self.count}",
                    link_id=f"o{self.count}",
                    symbol=symbol,
                    side=act.side,
                    order_type="Market",
                    qty=qty,
                    trigger_price=price,
                    trigger_by="MarkPrice" if act.flag else "LastPrice",
                )
                venue.exchange.place(waits, self.now_ms)
        return venue._reports.drain()


def instruments() -> dict[str, object]:
    return {symbol: rules(symbol) for symbol in SYMBOLS}


def paper(**terms: object) -> PaperVenue:
    figures = Terms(**({"leverage": D(25)} | terms))  # type: ignore[arg-type]
    return PaperVenue(instruments(), D(200), figures, stale_ms=2 * BAR_MS)  # type: ignore[arg-type]


def bars(**terms: object) -> BarVenue:
    return BarVenue(instruments(), D(200), Terms(**({"leverage": D(25)} | terms)), seed=3)  # type: ignore[arg-type]


TERMS: list[dict[str, object]] = [
    {},
    {"margin_mode": "isolated"},
    {"latency_ms": 1_500},
    {"liquidity": "full", "leverage": D(50)},
    {"latency_ms": 70_000, "intrabar": "worst"},
    {"limit_fills": "queue", "queue_ahead_ms": 1_000},
]
terms = st.sampled_from(TERMS)
cuts = st.frozensets(st.integers(0, 59), max_size=6)


def compare(made: Callable[[], Venue], tape: list[Act], at: frozenset[int]) -> Desk:
    whole, cut = Desk(made), Desk(made)
    for number, act in enumerate(tape):
        if number in at:
            cut.restart()
        whole.do(act)
        cut.do(act)
    assert cut.said == whole.said
    assert cut.venue.facts == whole.venue.facts
    assert cut.venue.snapshot() == whole.venue.snapshot()
    return cut


@settings(max_examples=120, deadline=None)
@given(acts("quote", "quote", "candle", "bar", "rules"), terms, cuts)
def test_a_paper_venue_that_is_restored_anywhere_goes_on_as_if_nothing_had_happened(
    tape: list[Act], terms: dict[str, object], at: frozenset[int]
) -> None:
    compare(lambda: paper(**terms), tape, at)


@settings(max_examples=120, deadline=None)
@given(acts("bar", "bar", "bar", "rules"), terms, cuts)
def test_a_bar_venue_that_is_restored_anywhere_goes_on_as_if_nothing_had_happened(
    tape: list[Act], terms: dict[str, object], at: frozenset[int]
) -> None:
    compare(lambda: bars(**terms), tape, at)


@settings(max_examples=60, deadline=None)
@given(acts("quote", "quote", "candle", "bar", "bar", "rules"), st.sampled_from([paper, bars]), terms, cuts)
def test_an_account_that_moves_to_equal_arguments_goes_on_as_if_nothing_had_happened(
    tape: list[Act], kind: Callable[..., Venue], terms: dict[str, object], at: frozenset[int]
) -> None:
    whole, moved = (Desk(lambda: kind(**terms)) for _ in range(2))
    for number, act in enumerate(tape):
        if number in at:
            moved.move()
        whole.do(act)
        moved.do(act)
    assert moved.said == whole.said
    assert moved.venue.facts == whole.venue.facts


@pytest.mark.parametrize("made", [paper, bars])
def test_the_tapes_go_where_it_matters(made: Callable[..., Venue]) -> None:
    seen: Counter[str] = Counter()
    kinds = ["quote", "bar", "bar", "market", "limit", "cancel", "stops", "trail", "wait", "pay", "mark"]
    for seed in range(150):
        rng = random.Random(seed)
        desk = Desk(lambda: made(**TERMS[seed % len(TERMS)]))  # noqa: B023 - used at once
        for _ in range(60):
            force = rng.choice(["GTC", "GTC", "IOC", "FOK", "PostOnly"])
            side, symbol = rng.choice(["Buy", "Sell"]), rng.choice(SYMBOLS)
            flag, lots, offset = rng.random() < 0.5, rng.randint(1, 60), rng.randint(-40, 40)
            desk.do(Act(rng.choice(kinds), symbol, side, lots, offset, force, flag))  # type: ignore[arg-type]
        for events, _, _ in desk.said:  # type: ignore[attr-defined]
            for each in events:
                seen[type(each).__name__] += 1
                if isinstance(each, Filled):
                    seen[each.fill.cause] += 1
                    seen["maker"] += each.fill.maker
        seen["liquidations"] += desk.venue.facts.liquidations
    wanted = {"Filled", "FundingPaid", "OrderCancelled", "OrderRejected", "StopsChanged", "StopsRejected"}
    wanted |= {"maker", "order", "stop_loss", "liquidation", "liquidations"}
    assert wanted <= {name for name, count in seen.items() if count > 5}, seen


# What is in it

KEPT: list[tuple[object, type[msgspec.Struct]]] = [
    (paper(), snapshot.PaperRecord),
    (paper().exchange, snapshot.QuoteExchangeRecord),
    (paper().exchange._books["AUSDT"], snapshot.QuoteBookRecord),
    (paper().exchange._books["AUSDT"].slots[0], snapshot.SlotRecord),
    (paper().exchange.account, snapshot.AccountRecord),
    (paper().exchange._ledger, snapshot.LedgerRecord),
    (paper()._reports, snapshot.ReportsRecord),
    (paper()._touches["AUSDT"], snapshot.TouchRecord),
    (bars(), snapshot.BarVenueRecord),
    (bars().exchange, snapshot.BarExchangeRecord),
    (bars().exchange._books["AUSDT"], snapshot.BarBookRecord),
]


@pytest.mark.parametrize(("owner", "record"), KEPT, ids=[record.__name__ for _, record in KEPT])
def test_every_field_is_in_the_snapshot_or_left_out_for_a_reason(
    owner: object, record: type[msgspec.Struct]
) -> None:
    fields = set(getattr(type(owner), "__slots__", ())) or set(vars(owner))
    left_out = snapshot.LEFT_OUT[type(owner).__name__]
    assert fields == {*record.__struct_fields__, *left_out}
    assert not set(record.__struct_fields__) & set(left_out)


def test_the_other_parts_of_an_exchange_hold_nothing_that_changes() -> None:
    parts = {"_account", "_ledger", "_protection", "_books"}
    for exchange in (paper().exchange, bars().exchange):
        for each in (exchange._protection, exchange._matching, exchange._liquidator, exchange._settings):
            assert set(vars(each)) <= parts


@pytest.mark.parametrize("record", [snapshot.PaperRecord, snapshot.BarVenueRecord])
def test_no_float_that_may_be_nan_is_written_as_a_number(record: type[msgspec.Struct]) -> None:
    assert set(bare_floats(msgspec.inspect.type_info(record))) <= {"Bar"}


@pytest.mark.fault(49)
@pytest.mark.invariant(13)
@pytest.mark.parametrize("made", [paper, bars])
def test_funding_of_one_stamp_is_paid_once_over_a_restart(made: Callable[[], Venue]) -> None:
    desk = Desk(made)
    for what in ("quote", "bar", "market", "bar", "pay"):
        desk.do(Act(what, "AUSDT", "Buy", 40, 10, "GTC", True))
    desk.restart()
    desk.do(Act("pay", "AUSDT", "Buy", 40, 10, "GTC", False))  # the last stamp again
    desk.do(Act("bar", "AUSDT", "Buy", 40, 0, "GTC", False))
    desk.restart()
    desk.do(Act("pay", "AUSDT", "Buy", 40, 10, "GTC", False))
    paid = [each for told in desk.said for each in told[0] if isinstance(each, FundingPaid)]  # type: ignore[index]
    assert len(paid) == 1


def test_positions_stay_in_the_order_in_which_they_were_opened() -> None:
    one, other = paper(), paper()
    for symbol in ("BUSDT", "AUSDT"):
        one.advance(Quote(T0, symbol, 99.9, 100.1))
        one.submit(PlaceOrder(symbol, Approved(intent("Buy", "1", symbol=symbol))))
    other.restore(one.snapshot())
    assert list(other.exchange.account.held) == list(one.exchange.account.held) == ["BUSDT/0", "AUSDT/0"]


def test_the_ids_go_on_counting() -> None:
    desk = Desk(bars)
    tape = [
        Act("bar", "AUSDT", "Buy", 50, 0, "GTC", True),
        Act("market", "AUSDT", "Buy", 4, 0, "GTC", False),
        Act("bar", "AUSDT", "Buy", 50, 1, "GTC", True),
    ]
    for act in tape:
        desk.do(act)
    desk.restart()
    for act in tape:
        desk.do(act)
    fills = [each.fill for told in desk.said for each in told[0] if isinstance(each, Filled)]  # type: ignore[index]
    assert [fill.exec_id for fill in fills] == ["exec-1", "exec-2"]


def test_a_symbol_that_came_later_is_in_the_snapshot() -> None:
    one, other = paper(), paper()
    one.advance(InstrumentChanged(T0, rules("CUSDT")))
    other.restore(one.snapshot())
    assert other.exchange.symbols == ["AUSDT", "BUSDT", "CUSDT"]
    assert other.snapshot() == one.snapshot()


def test_stops_and_wallet_survive() -> None:
    one, other = paper(), paper()
    one.advance(Quote(T0, "AUSDT", 99.9, 100.1))
    wish = intent("Buy", "2", symbol="AUSDT", stop_loss=D(95))
    events = one.submit(PlaceOrder("o1", Approved(wish)))
    assert any(isinstance(each, StopsChanged) for each in events)
    other.restore(one.snapshot())
    fall = Candle(T0 + 9, "AUSDT", BAR_MS, T0, 100.0, 100.0, 94.0, 94.0, 1.0)
    for venue in (one, other):
        fills = [each.fill for each in venue.advance(fall) if isinstance(each, Filled)]
        assert [(fill.cause, fill.qty) for fill in fills] == [("stop_loss", 2)]
    assert other.wallet_quote == one.wallet_quote < 200


# Other arguments


def with_position(made: Callable[[], Venue]) -> Desk:
    desk = Desk(made)
    for what in ("quote", "bar", "market", "bar"):
        desk.do(Act(what, "AUSDT", "Buy", 40, 10, "GTC", True))
    assert list(desk.venue.exchange.account.held) == ["AUSDT/0"]
    return desk


def other(made: Callable[[], Venue], symbols: Sequence[str], **terms: object) -> Venue:
    """A new venue of the same kind that trades other symbols on other terms."""
    known = {symbol: rules(symbol, tick_size=D("0.2")) for symbol in symbols}
    figures = Terms(**({"leverage": D(10), "margin_mode": "isolated"} | terms))  # type: ignore[arg-type]
    return type(made())(known, D(7), figures)


@pytest.mark.parametrize("made", [paper, bars])
def test_an_account_moves_to_more_symbols_and_other_terms(made: Callable[[], Venue]) -> None:
    old = with_position(made).venue
    new = other(made, ("CUSDT", "AUSDT"))
    new.move_in(old.snapshot())
    assert new.wallet_quote == old.wallet_quote
    assert new.exchange.symbols == ["CUSDT", "AUSDT"]  # nothing was held in BUSDT
    view, before = new.exchange.positions()[0], old.exchange.positions()[0]
    assert (view.symbol, view.size, view.avg_price) == (before.symbol, before.size, before.avg_price)
    assert (view.leverage, new.exchange.account.mode) == (10, "isolated")
    assert new.exchange.instrument("AUSDT").tick_size == D("0.2")
    slot = new.exchange._books["AUSDT"].slots[0]
    assert 0 < slot.safe_low == pytest.approx(float(view.liq_price))  # type: ignore[arg-type]
    new.snapshot()


@pytest.mark.parametrize("made", [paper, bars])
def test_a_position_never_stays_behind(made: Callable[[], Venue]) -> None:
    old = with_position(made).venue
    new = other(made, ("CUSDT",))
    new.move_in(old.snapshot())
    assert [view.symbol for view in new.exchange.positions()] == ["AUSDT"]
    assert new.equity_quote == old.equity_quote


# What does not fit


@pytest.mark.parametrize("made", [paper, bars])
def test_every_changed_byte_is_found(made: Callable[[], Venue]) -> None:
    desk = Desk(made)
    for what in ("quote", "bar", "limit", "market"):
        desk.do(Act(what, "AUSDT", "Buy", 5, 0, "GTC", True))
    body = desk.venue.snapshot()
    for place in range(0, len(body), 3):
        damaged = bytearray(body)
        damaged[place] ^= 0x01
        with pytest.raises(BadInput):
            made().restore(bytes(damaged))


def test_a_snapshot_of_other_symbols_or_another_venue_is_refused() -> None:
    other = PaperVenue({"CUSDT": rules("CUSDT")}, D(1))
    with pytest.raises(BadInput, match="the snapshot is of AUSDT, BUSDT; this venue also has CUSDT"):
        other.restore(paper().snapshot())
    with pytest.raises(BadInput, match="has the form 'bot-bar-venue-1', expected 'bot-paper-venue-1'"):
        paper().restore(bars().snapshot())


def test_a_snapshot_inside_a_match_is_a_broken_promise() -> None:
    venue = paper()
    venue.exchange.adjust_wallet(D(5), T0)
    with pytest.raises(Broken, match="inside a match"):
        venue.snapshot()


def test_a_venue_with_ids_of_the_caller_has_no_snapshot() -> None:
    venue = BarVenue(instruments(), D(400), ids=iter(["x"]))  # type: ignore[arg-type]
    with pytest.raises(BadUsage, match="ids are the caller's"):
        venue.snapshot()
