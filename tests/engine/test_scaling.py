"""Scaling in and out, and brackets: average entry price, results, and stops that cover what is held."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.engine.core import Assignment, Engine
from bot.exchange.orders import ExchangeOrder
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.service.backtest.tape import RunTape
from bot.service.driver import Driver
from bot.strategy.signal import Target
from tests.engine.scripted import Script
from tests.exchange.bars.desk import FREE, free
from tests.helpers import bar, closed, instrument, unlimited

D = Decimal
BTC = "BTCUSDT"


class Traded:
    """A backtest of a script over bars at these prices; an order fills at the next price."""

    def __init__(self, wishes: dict[int, Target], terms: Terms = FREE) -> None:
        rules = instrument()
        self.engine = Engine(
            [Assignment(rules, 300_000, Script(wishes), 12.0)], D(10_000), unlimited(), name="t"
        )
        self.venue = BarVenue({rules.symbol: rules}, D(10_000), terms)
        self.tape = RunTape()
        self.driver = Driver(self.engine, self.venue, self.tape)
        self.count = 0

    def see(self, price: float, low: float | None = None, volume: float = 1_000.0) -> None:
        made = bar(self.count, price, low=low, volume=volume)
        self.driver.take(closed(made))
        self.count += 1

    @property
    def position(self) -> tuple[Decimal, Decimal | None]:
        held = self.engine.state.symbols[BTC].position
        return held.qty, held.entry_price

    @property
    def protective(self) -> dict[str, ExchangeOrder]:
        return {o.stop_order_type: o for o in self.venue.exchange.open_orders(BTC) if o.stop_order_type}

    @property
    def gained(self) -> Decimal:
        return self.engine.state.cash.balance - 10_000


def test_scaling_in_moves_the_average_and_scaling_out_books_the_part() -> None:
    """1 at 100 and 2 at 103 are 3 at 102; 2 leave at 106, 1 at 99."""
    wishes = {0: Target(1.0, stop_loss=90.0), 1: Target(3.0, stop_loss=92.0), 2: Target(1.0), 3: Target(0.0)}
    run = Traded(wishes)
    run.see(100.0)
    run.see(100.0)
    assert run.position == (D(1), D(100))
    assert (run.protective["StopLoss"].qty, run.protective["StopLoss"].trigger_price) == (D(1), D(90))
    run.see(103.0)
    assert run.position == (D(3), D(102))
    assert (run.protective["StopLoss"].qty, run.protective["StopLoss"].trigger_price) == (D(3), D(92))
    run.see(106.0)
    assert run.position == (D(1), D(102))
    assert run.gained == 2 * (106 - 102)
    assert (run.protective["StopLoss"].qty, run.protective["StopLoss"].trigger_price) == (D(1), D(92))
    run.see(99.0)
    assert run.position == (D(0), None)
    assert run.gained == 8 + (99 - 102)
    assert not run.protective


def test_a_smaller_target_only_reduces() -> None:
    run = Traded({0: Target(3.0), 2: Target(1.0)})
    for _ in range(4):
        run.see(100.0)
    sent = [effect for effect in run.tape.fills if effect.side == "Sell"]
    assert [fill.qty for fill in sent] == [D(2)]


def test_a_bracket_protects_a_partly_filled_entry_at_once_and_grows_with_it() -> None:
    wishes = {0: Target(5.0, limit_price=99.0, stop_loss=95.0, take_profit=110.0)}
    run = Traded(wishes, free(liquidity="volume", participation_frac=0.1))
    run.see(100.0)
    for filled in (D(1), D(3)):
        run.see(100.0, low=98.0, volume=10.0 if filled == 1 else 20.0)
        assert run.position == (filled, D(99))
        for kind, price in (("StopLoss", D(95)), ("TakeProfit", D(110))):
            assert (run.protective[kind].qty, run.protective[kind].trigger_price) == (filled, price)
        assert run.engine.state.symbols[BTC].stops.at_venue == (D(95), D(110))
    run.see(94.0, volume=1e6)
    last = run.tape.fills[-1]  # the rest of the entry fills on the way down, and the stop takes all of it
    assert (last.qty, last.price, last.cause) == (D(5), D(94), "stop_loss")
    assert run.position == (D(0), None)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(90, 110)), min_size=2, max_size=12))
def test_any_way_of_scaling_gives_the_entry_price_and_the_result_worked_out_in_fractions(
    steps: list[tuple[int, int]],
) -> None:
    run = Traded({index: Target(float(qty)) for index, (qty, _) in enumerate(steps)})
    held, entry, gained = 0, Fraction(0), Fraction(0)
    run.see(100.0)
    for (wanted, _), (_, price) in zip(steps, [*steps[1:], (0, 100)], strict=True):
        run.see(float(price))
        if held * wanted < 0 or not wanted or (held and abs(wanted) < abs(held)):
            left = wanted if held * wanted > 0 else 0
            gained += (held - left) * (price - entry)
            held = left
        if held != wanted:
            entry = (held * entry + (wanted - held) * price) / wanted
            held = wanted
        qty, average = run.position
        assert qty == held
        assert average is None if not held else abs(Fraction(average or 0) - entry) < Fraction(1, 10**6)
    assert abs(Fraction(run.gained) - gained) < Fraction(1, 10**5)
