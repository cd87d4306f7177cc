"""What changes between two closes: told once to each asker, a bounded part at a time."""

from decimal import Decimal

import msgspec
import pytest

from bot.domain.messages import Candle, Command, PlaceOrder, Verdict
from bot.domain.orders import Approved, Refused
from bot.domain.refusals import ENTERING, REFUSALS, refusal_words
from bot.engine.core import Assignment, Engine
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.risk.limits import CHECKS
from bot.service.driver import Driver
from bot.service.record import RunTotals
from bot.service.views.live import LiveBoard, LiveRow
from bot.strategy.shipped.baselines import BuyAndHold, Flat
from tests.helpers import bar, closed, instrument, intent, unlimited

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")


class Bench:
    def __init__(self, strategy: type = Flat, symbols: tuple[str, ...] = SYMBOLS) -> None:
        rules = {symbol: instrument(symbol) for symbol in symbols}
        assignments = [Assignment(each, 300_000, strategy(), 11.0) for each in rules.values()]
        self.engine = Engine(assignments, Decimal(100_000), unlimited())
        self.board = LiveBoard(self.engine, 100)
        self.driver = Driver(self.engine, BarVenue(rules, Decimal(100_000), Terms()), RunTotals())

    def close(self, index: int) -> None:
        self.driver.take(closed(*(bar(index, symbol=symbol) for symbol in self.engine.state.symbols)))

    def ask(self, since: int = 0, most: int = 100) -> tuple[int, bool, dict[str, LiveRow]]:
        seq, more, rows = self.board.rows(since, most)
        return seq, more, {row.symbol: row for row in rows}


def candle(symbol: str, index: int, close: float) -> Candle:
    of = bar(index)
    return Candle(of.start_ms + 1, symbol, 300_000, of.start_ms, 100.0, 102.0, 99.0, close, 5.0)


def test_only_what_changed_is_told() -> None:
    bench = Bench()
    bench.close(0)
    seq, more, rows = bench.ask()
    assert (list(rows), more) == (list(SYMBOLS), False)
    assert bench.ask(seq)[2] == {}
    bench.board.saw(candle("BUSDT", 1, 101.0))
    after, _, rows = bench.ask(seq)
    assert (list(rows), rows["BUSDT"].price) == (["BUSDT"], 101.0)
    assert list(bench.ask(seq)[2]) == ["BUSDT"]  # somebody else asks from where he was
    assert bench.ask(after)[2] == {}


def test_a_close_ends_the_open_candle_and_says_why_nothing_is_held() -> None:
    bench = Bench()
    bench.close(0)
    bench.board.saw(candle("AUSDT", 1, 101.0))
    assert bench.ask()[2]["AUSDT"].open == (bar(1).start_ms, 100.0, 102.0, 99.0, 101.0, 5.0)
    bench.close(1)
    row = bench.ask()[2]["AUSDT"]
    assert (row.open, row.price, row.close_ms) == (None, 100.0, bar(1).close_ms)
    assert (row.state, row.why) == ("flat", "the strategy has no signal")


def test_an_entry_that_has_come_and_gone_is_not_said_to_be_under_way() -> None:
    bench = Bench()
    bench.close(0)
    sym = bench.engine.state.symbols["AUSDT"]
    sym.flat_reason = ENTERING  # the bar of the entry; it was filled and left before the next close
    bench.board.effects(
        [Verdict(bar(0).close_ms, Approved(intent(symbol="AUSDT", reason="the exit's reason")))]
    )
    assert bench.ask()[2]["AUSDT"].why == "the exit's reason"


def test_a_position_has_its_numbers_and_its_age() -> None:
    bench = Bench(BuyAndHold)
    bench.close(0)
    assert {row.state for row in bench.ask()[2].values()} == {"entering"}
    bench.close(1)
    row = bench.ask()[2]["AUSDT"]
    assert (row.state, row.mark) == ("long", 100.0)
    assert Decimal(row.qty) > 0
    assert row.unrealised is not None
    assert row.since_ms == bench.engine.state.opened_ms["AUSDT"]


def test_a_refusal_is_the_last_word() -> None:
    bench = Bench()
    bench.close(0)
    refused = Refused(intent(symbol="AUSDT"), "leverage", Decimal(4), Decimal(3))
    bench.board.effects([Verdict(1, refused)])
    bench.engine.state.symbols["AUSDT"].refused = True
    assert bench.ask()[2]["AUSDT"].why == refusal_words(refused)
    assert bench.board.events == 1


def test_one_answer_is_bounded_and_no_symbol_is_forgotten() -> None:
    symbols = tuple(f"S{number:03}USDT" for number in range(60))
    bench = Bench(symbols=symbols)
    bench.close(0)
    seq, more, told = bench.ask(most=25)
    assert (len(told), more) == (25, True)
    for _ in range(2):
        seq, more, rows = bench.ask(seq, 25)
        assert not set(told) & set(rows)
        told |= rows
    assert (sorted(told), more) == (list(symbols), False)
    assert bench.ask(seq, 25)[2] == {}


def test_under_a_flood_every_symbol_gets_its_turn() -> None:
    symbols = tuple(f"S{number:03}USDT" for number in range(60))
    bench, seq, told = Bench(symbols=symbols), 0, set()
    bench.close(0)
    for turn in range(3):
        for symbol in symbols:
            bench.board.saw(candle(symbol, 1, 100.0 + turn / 10))
        seq, _, rows = bench.ask(seq, 20)
        told |= set(rows)
    assert len(told) == 60


def test_every_check_has_its_words() -> None:
    assert set(REFUSALS) == {each.name for each in CHECKS}


def test_asking_changes_nothing() -> None:
    bench = Bench(BuyAndHold)
    bench.close(0)
    before = bench.engine.state.digest()
    bench.ask()
    assert bench.engine.state.digest() == before


@pytest.mark.parametrize("what", ["halt", "pause"])
def test_one_position_is_closed_at_the_market_whatever_holds_entries_back(what: str) -> None:
    bench = Bench(BuyAndHold)
    bench.close(0)
    bench.close(1)
    bench.driver.take(Command(bar(1).close_ms + 1, what))  # type: ignore[arg-type]
    effects = bench.engine.handle(Command(bar(1).close_ms + 2, "close", "BUSDT", "page"))
    (order,) = [each for each in effects if isinstance(each, PlaceOrder)]
    held = bench.engine.state.symbols["BUSDT"].position.qty
    assert (order.intent.symbol, order.intent.side, order.intent.qty) == ("BUSDT", "Sell", held)
    assert (order.intent.reduce_only, order.intent.reason) == (True, "operator")


def test_an_exit_that_one_bar_cannot_fill_is_sent_again_until_the_symbol_is_flat() -> None:
    bench = Bench(BuyAndHold)
    bench.close(0)
    bench.close(1)
    bench.driver.take(Command(bar(1).close_ms + 1, "pause"))
    sym = bench.engine.state.symbols["BUSDT"]
    held = sym.position.qty
    thin = msgspec.structs.replace(bar(2, symbol="BUSDT"), volume=float(held) * 5)  # a tenth may be ours
    bench.driver.take(Command(bar(1).close_ms + 2, "close", "BUSDT", "page"))
    bench.driver.take(closed(thin))
    assert 0 < sym.position.qty < held
    for index in range(3, 6):
        bench.driver.take(closed(msgspec.structs.replace(thin, start_ms=bar(index).start_ms)))
    assert not sym.position.qty
    assert bench.engine.state.symbols["AUSDT"].position.qty


@pytest.mark.parametrize("symbol", ["NOPE", "AUSDT"])
def test_closing_what_is_not_there_does_nothing(symbol: str) -> None:
    bench = Bench()
    bench.close(0)
    assert bench.engine.handle(Command(bar(0).close_ms + 1, "close", symbol)) == ()
