"""What must hold after any sequence of orders and bars."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.ledger import Cash, Position
from bot.domain.market import Bar, Instrument
from bot.domain.messages import (
    Filled,
    FundingPaid,
    FundingRate,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    VenueEvent,
)
from bot.domain.orders import NEXT, Order, OrderState
from bot.exchange import Terms
from tests.exchange.bars.desk import BarDesk, D, exact, free
from tests.helpers import bar, instrument, intent

COSTLY = free(
    taker_fee_frac=D("0.00055"),
    maker_fee_frac=D("-0.0001"),
    default_half_spread_bps=2.0,
    impact_frac=1.0,
    liquidity="volume",
)


class Act(NamedTuple):
    """One thing to try between two bars."""

    what: str
    side: str
    lots: int
    offset: int
    stop: int
    force: str
    reduce_only: bool


acts = st.builds(
    Act,
    what=st.sampled_from(["market", "limit", "cancel", "stops", "funding"]),
    side=st.sampled_from(["Buy", "Sell"]),
    lots=st.integers(1, 60),
    offset=st.integers(-40, 40),
    stop=st.integers(0, 60),
    force=st.sampled_from(["GTC", "IOC", "FOK", "PostOnly"]),
    reduce_only=st.booleans(),
)


@st.composite
def tapes(draw: st.DrawFn) -> list[Bar]:
    """Bars on a grid of 0.1 around 100, with gaps between close and open."""
    made, last = [], 1000
    for index in range(draw(st.integers(2, 14))):
        opened = last + draw(st.integers(-15, 15))
        moves = [opened + draw(st.integers(-60, 60)) for _ in range(3)]
        opened, *moves = (max(tenths, 10) for tenths in (opened, *moves))
        last = moves[-1]
        tenths = [opened, *moves]
        volume = draw(st.sampled_from([0.0, 3.0, 50.0, 5000.0]))
        made.append(
            bar(
                index, last / 10, open=opened / 10, high=max(tenths) / 10, low=min(tenths) / 10, volume=volume
            )
        )
    return made


scripts = st.lists(st.lists(acts, max_size=3), min_size=14, max_size=14)
terms = st.sampled_from(
    [
        free(),
        COSTLY,
        free(margin_mode="isolated", leverage=D(25)),
        free(latency_ms=70_000, liquidity="volume"),
        free(intrabar="worst", leverage=D(50)),
        Terms(leverage=D(50)),
        free(liquidity="volume", limit_fills="queue", queue_ahead_ms=1_000, latency_ms=70_000),
    ]
)
rules = st.sampled_from([instrument(min_qty=D("0.001"), min_notional_quote=D(5)), exact()])


def act(desk: BarDesk, step: Act, close: float) -> None:
    price = D(repr(close)) + D(step.offset) / 10
    if step.what == "cancel":
        desk.cancel(f"o{desk.count - step.lots % 3}")
    elif step.what == "stops":
        away = D(step.stop) / 10
        desk.stops(str(D(repr(close)) - away), str(D(repr(close)) + away) if step.reduce_only else None)
    elif step.what == "funding":
        desk.see(FundingRate(desk.venue.now_ms, "BTCUSDT", D(step.offset) / 10_000))
    else:
        changes: dict[str, object] = {"reduce_only": step.reduce_only}
        if step.what == "limit" and price > 0:
            changes |= {"price": str(price), "time_in_force": step.force}
        if step.stop > 30 and not step.reduce_only:
            gap = D(step.stop - 30) / 10
            changes["stop_loss"] = D(repr(close)) + (-gap if step.side == "Buy" else gap)
        if changes.get("stop_loss", D(1)) > 0:  # type: ignore[operator]
            desk.send(step.side, str(D(step.lots) / 4), **changes)  # type: ignore[arg-type]


def play(
    tape: Sequence[Bar], script: Sequence[Sequence[Act]], terms: Terms, rule: Instrument, seed: int = 0
) -> tuple[BarDesk, list[list[VenueEvent]]]:
    """Run a script over a tape: the desk, and what it said bar by bar."""
    desk = BarDesk(terms, "400", instruments=[rule], seed=seed)
    said = []
    for step, b in zip(script, tape, strict=False):
        said.append(desk.bar(b))
        for each in step:
            act(desk, each, b.close)
    return desk, said


@given(tapes(), scripts, terms, rules)
def test_cash_and_fills_balance_exactly(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument
) -> None:
    desk, _ = play(tape, script, terms, rule)
    mark = Fraction(desk.venue.positions["BTCUSDT"].entry_price or 1) if desk.qty else Fraction(1)
    money, held = Fraction(400), Fraction(0)
    for event in desk.said:
        if isinstance(event, Filled):
            fill = event.fill
            signed = Fraction(fill.qty) * (1 if fill.side == "Buy" else -1)
            money -= twelfth(signed * Fraction(fill.price)) + Fraction(fill.fee_quote)
            held += signed
        elif isinstance(event, FundingPaid):
            money += Fraction(event.amount_quote)
    assert held == Fraction(desk.qty)
    position = desk.venue.positions.get("BTCUSDT", Position())
    equity = Fraction(desk.wallet) + held * mark - Fraction(position.entry_value)
    assert equity == money + held * mark


def twelfth(value: Fraction) -> Fraction:
    """``value`` on the grid of money, half to even, without decimals."""
    return Fraction(round(value * 10**12), 10**12)


@given(tapes(), scripts, terms, rules)
def test_the_events_alone_rebuild_the_account(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument
) -> None:
    desk, _ = play(tape, script, terms, rule)
    desk.settle(desk.venue.now_ms)
    cash, position = Cash(D(400)), Position()
    for event in desk.said:
        if isinstance(event, Filled):
            cash.realised += position.apply(event.fill.side, event.fill.qty, event.fill.price)
            cash.fees += event.fill.fee_quote
        elif isinstance(event, FundingPaid):
            cash.funding += event.amount_quote
    assert position == Position() or position.qty == 0
    assert cash.balance == desk.wallet == desk.venue.equity_quote


@given(tapes(), scripts, terms, rules)
def test_every_order_walks_as_the_table_allows_and_ends(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument
) -> None:
    desk, _ = play(tape, script, terms, rule)
    desk.settle(desk.venue.now_ms)
    orders = {f"o{i}": Order(f"o{i}", intent()) for i in range(1, desk.count + 1)}
    for event in desk.said:
        order = orders.get(
            event.fill.order_id if isinstance(event, Filled) else getattr(event, "order_id", "")
        )
        if order is None:
            continue
        if isinstance(event, OrderAccepted):
            order.move(OrderState.OPEN)
        elif isinstance(event, OrderRejected):
            order.move(OrderState.REJECTED)
        elif isinstance(event, OrderCancelled):
            order.move(OrderState.CANCELLED)
        elif isinstance(event, Filled):
            order.filled_qty += event.fill.qty
            order.move(OrderState.PARTIAL)
    for order in orders.values():  # filled orders end without a word: they are those with fills and no cancel
        assert not NEXT[order.state] or order.state is OrderState.PARTIAL
    assert desk.venue.open_orders == []


@given(tapes(), scripts, terms, rules, st.integers(1, 13))
def test_the_future_cannot_change_the_past(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument, cut: int
) -> None:
    changed = [
        b if i < cut else bar(i, b.close * 1.5, open=b.open, high=b.high * 2, low=b.low * 0.5, volume=9.0)
        for i, b in enumerate(tape)
    ]
    _, said = play(tape, script, terms, rule)
    _, other = play(changed, script, terms, rule)
    assert said[:cut] == other[:cut]


@given(tapes(), scripts, terms, rules, st.integers(0, 99))
def test_the_same_seed_is_the_same_run(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument, seed: int
) -> None:
    assert play(tape, script, terms, rule, seed)[0].said == play(tape, script, terms, rule, seed)[0].said


@given(tapes(), scripts, terms, rules)
def test_events_of_a_bar_are_in_time_order_inside_the_bar_and_ids_are_unique(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument
) -> None:
    desk, said = play(tape, script, terms, rule)
    for b, events in zip(tape, said, strict=False):
        times = [event.ts_ms for event in events]
        assert times == sorted(times)
        assert all(b.start_ms <= ts_ms < b.close_ms for ts_ms in times)
    ids = [fill.exec_id for fill in desk.fills]
    assert len(ids) == len(set(ids))


@given(tapes(), scripts, st.sampled_from([free(), free(liquidity="volume"), free(intrabar="worst")]), rules)
def test_without_slippage_no_price_is_better_than_its_bar(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument
) -> None:
    _, said = play(tape, script, terms, rule)
    for b, events in zip(tape, said, strict=False):
        for event in events:
            if not isinstance(event, Filled):
                continue
            fill, low, high = event.fill, D(repr(b.low)), D(repr(b.high))
            assert fill.price >= low if fill.side == "Buy" else fill.price <= high
            if not fill.maker:  # a maker pays its own price, also where the market jumped over it
                assert low <= fill.price <= high


@given(tapes(), scripts, rules)
def test_slippage_only_ever_costs(tape: list[Bar], script: list[list[Act]], rule: Instrument) -> None:
    desk, _ = play(tape, script, COSTLY, rule)
    assert all(fill.slippage_quote >= 0 for fill in desk.fills)
    assert all(fill.slippage_quote == 0 for fill in desk.fills if fill.maker)


@given(tapes(), scripts, rules)
def test_a_bars_fills_never_exceed_its_share_of_volume(
    tape: list[Bar], script: list[list[Act]], rule: Instrument
) -> None:
    _, said = play(tape, script, COSTLY, rule)
    for b, events in zip(tape, said, strict=False):
        ours = [e.fill.qty for e in events if isinstance(e, Filled) and e.fill.cause != "liquidation"]
        assert sum(ours, D(0)) <= D(repr(b.volume)) / 10


@given(tapes(), scripts, terms, rules)
def test_no_order_fills_beyond_its_limit_or_its_quantity(
    tape: list[Bar], script: list[list[Act]], terms: Terms, rule: Instrument
) -> None:
    desk = BarDesk(terms, "400", instruments=[rule])
    placed, filled = {}, {}
    for step, b in zip(script, tape, strict=False):
        desk.bar(b)
        for each in step:
            act(desk, each, b.close)
        placed |= {order.order_id: order for order in desk.venue.open_orders}
    for fill in desk.fills:
        if fill.order_id not in placed:
            continue
        order = placed[fill.order_id]
        filled[fill.order_id] = filled.get(fill.order_id, D(0)) + fill.qty
        assert filled[fill.order_id] <= order.qty
        if order.order_type == "Limit":
            assert fill.price <= order.price if order.side == "Buy" else fill.price >= order.price


@given(tapes(), scripts, terms)
def test_fill_prices_are_on_the_tick_grid(tape: list[Bar], script: list[list[Act]], terms: Terms) -> None:
    rule = instrument()
    desk, _ = play(tape, script, terms, rule)
    assert all(fill.price % rule.tick_size == 0 for fill in desk.fills if terms.latency_ms == 0)


@settings(max_examples=40)
@given(tapes(), scripts, rules)
def test_a_path_is_the_same_whoever_holds_what(
    tape: list[Bar], script: list[list[Act]], rule: Instrument
) -> None:
    """Two desks, one with a bystander's small orders besides: the first one's fills are the same."""
    alone, _ = play(tape, script, free(), rule)
    other = BarDesk(free(), "400", instruments=[rule, instrument("ETHUSDT")])
    for index, (step, b) in enumerate(zip(script, tape, strict=False)):
        other.bar(b, bar(index, 50.0, symbol="ETHUSDT"))
        for each in step:
            act(other, each, b.close)
    assert [f for f in other.fills if f.symbol == "BTCUSDT"] == alone.fills
