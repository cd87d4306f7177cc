"""An engine that goes on from its snapshot, and what a snapshot must hold."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from math import inf, isnan, nan

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import BadInput, BadUsage
from bot.domain.ledger import Cash, Position
from bot.domain.messages import Command, Effect, Event, Quote, StrategyFailure
from bot.engine import snapshot
from bot.engine.core import Assignment, Engine
from bot.engine.indicators import Indicators
from bot.engine.orders.activity import IDLE, Exiting
from bot.engine.orders.execution import ExecutionCosts
from bot.engine.orders.open_orders import OpenOrders
from bot.engine.orders.protection import ProtectiveStops
from bot.engine.orders.retry import ExitRetry
from bot.engine.orders.takes import TakePlan
from bot.engine.orders.unknown import UnknownOrder
from bot.engine.snapshot import EngineRecord, SymbolRecord, ViewRecord
from bot.engine.state import EngineState, SymbolState
from bot.engine.told import Day
from bot.features.indicators import Op, close, sma
from bot.risk.breaker import Breaker
from bot.risk.limits import Limits
from bot.strategy import SHIPPED
from bot.strategy.longer import LongerBar, LongerBars
from bot.strategy.signal import Target, View
from bot.strategy.sized import TrailingVolatility
from tests.engine.scripted import engine, limit_engine, long_at, orders
from tests.engine.test_invariants import World
from tests.helpers import T0, bar, closed, instrument, intent

ARGUMENTS = {
    "Engine": {
        "state",
        "_forecasters",
        "_successors",  # models that an event may name; a replay offers them again
        "_venue_prices",
        "_redact",
        "_awaits_account",
        "_trader",
        "_closes",
        "_venue_events",
    },
    "CloseHandler": {"_state", "_trader", "_forecasters", "_trade_from_ms", "_venue_prices", "_redact"},
    "StopKeeper": {"_state", "_stop_frac", "_isolated_leverage"},
    "Trader": {"_state", "_limits", "_name", "_execution", "stops", "_check"},
    "VenueEventHandler": {"_state", "_trader", "_limits", "_name", "_adopts"},
}
"""What the parts of the engine hold beside its state: arguments and each other, nothing that changes."""
COUNTERS = {"refusals", "reconciled", "costs", "flat_bars", "day", "causes_ms", "opened_ms"}
"""What only reports read: it is in the snapshot and not in the digest."""
ALWAYS_FINITE = {
    "Bar",
    "LongerBar",
    "TrailingVolatility",
    "Target",
    "Breaker",
    "Day",
    "ExecutionCosts",
}
"""Structs that refuse or never hold NaN and infinity, so their floats are JSON numbers."""


class RestartedWorld(World):
    """A world whose engine is made anew from its snapshot after some events."""

    def __init__(self, seed: int, cuts: frozenset[int]) -> None:
        super().__init__(seed)
        self.seed, self.cuts = seed, cuts
        self.effects: list[Effect] = []
        self.digests: list[str] = []

    def tell(self, event: Event) -> None:
        super().tell(event)
        self.digests.append(self.engine.state.digest())
        if len(self.digests) in self.cuts:
            body = self.engine.snapshot()
            self.engine = World(self.seed).engine
            for sym in self.engine.state.symbols.values():
                sym.strategy.rng = self.rng  # type: ignore[attr-defined]
            self.engine.restore(body)
            assert self.engine.snapshot() == body

    def judge(self, event: Event, effect: Effect, was: str) -> None:
        super().judge(event, effect, was)
        self.effects.append(effect)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 200), st.frozensets(st.integers(1, 150), max_size=6))
def test_an_engine_that_is_restored_anywhere_goes_on_as_if_nothing_had_happened(
    seed: int, steps: int, cuts: frozenset[int]
) -> None:
    whole, restarted = RestartedWorld(seed, frozenset()), RestartedWorld(seed, cuts)
    for _ in range(steps):
        whole.step()
        restarted.step()
    assert restarted.effects == whole.effects
    assert restarted.digests == whole.digests
    assert restarted.engine.snapshot() == whole.engine.snapshot()


# What is in it


@pytest.mark.parametrize(
    ("kind", "record"),
    [(EngineState, EngineRecord), (SymbolState, SymbolRecord), (View, ViewRecord)],
)
def test_every_field_is_in_the_snapshot_or_left_out_for_a_reason(
    kind: type, record: type[msgspec.Struct]
) -> None:
    fields = set(getattr(kind, "__struct_fields__", None) or kind.__slots__)  # type: ignore[attr-defined]
    left_out = snapshot.LEFT_OUT[kind.__name__]
    assert fields == {*record.__struct_fields__, *left_out}
    assert not set(record.__struct_fields__) & set(left_out)


def test_nothing_that_changes_lives_outside_the_state() -> None:
    one = engine({})
    for part in (one, one._trader, one._trader.stops, one._closes, one._venue_events):
        assert set(vars(part)) == ARGUMENTS[type(part).__name__]


def test_no_float_that_may_be_nan_is_written_as_a_number() -> None:
    assert set(bare_floats(msgspec.inspect.type_info(EngineRecord))) == ALWAYS_FINITE


def bare_floats(kind: msgspec.inspect.Type, owner: str = "", seen: set[type] | None = None) -> Iterator[str]:
    """Yield the structs with a float that is no ``Real``."""
    seen = set() if seen is None else seen
    inner: list[msgspec.inspect.Type] = []
    match kind:
        case msgspec.inspect.StructType():
            if kind.cls not in seen:
                seen.add(kind.cls)
                for field in kind.fields:
                    yield from bare_floats(field.type, kind.cls.__name__, seen)
        case msgspec.inspect.FloatType():
            yield owner
        case msgspec.inspect.UnionType():
            words = [each.values for each in kind.types if isinstance(each, msgspec.inspect.LiteralType)]
            if not any("nan" in each for each in words):
                inner = list(kind.types)
        case msgspec.inspect.DictType():
            inner = [kind.key_type, kind.value_type]
        case msgspec.inspect.TupleType():
            inner = list(kind.item_types)
        case msgspec.inspect.VarTupleType() | msgspec.inspect.ListType():
            inner = [kind.item_type]
        case _:
            assert not hasattr(kind, "item_type"), kind
    for each in inner:
        yield from bare_floats(each, owner, seen)


def test_a_mark_that_is_not_known_stays_unknown() -> None:
    one, other = engine({}), engine({})
    other.state.symbols["BTCUSDT"].mark = 7.0
    other.restore(one.snapshot())
    sym = other.state.symbols["BTCUSDT"]
    assert isnan(sym.mark)
    assert isnan(sym.view.entry_price)


def test_an_idle_symbol_is_idle_by_identity() -> None:
    one, other = engine({}), engine({})
    other.restore(one.snapshot())
    assert other.state.symbols["BTCUSDT"].activity is IDLE


def test_the_limits_of_the_new_engine_are_in_force() -> None:
    one, other = engine({}), engine({}, Limits(max_drawdown_frac=Decimal("0.1")))
    one.handle(closed(bar(0)))
    other.restore(one.snapshot())
    assert other.state.breaker.peak_floor_quote == 9_000.0


# Its digest


class Declaring:
    indicators: Mapping[str, Op] = {"fast": sma(close, 2)}


OTHER_VALUES: dict[str, object] = {
    "cash": Cash(Decimal(1)),
    "orders": OpenOrders(seen={"x": None}),
    "breaker": Breaker(peak_equity=5.0),
    "legs": (7, 7),
    "entries_ms": [7],
    "funding_seen": [7],
    "foreign_notional_quote": Decimal(7),
    "foreign_qty": Decimal(7),
    "due_qty": Decimal(7),
    "taken_qty": Decimal(7),
    "account_uid": "x",
    "wallet_quote": Decimal(7),
    "transfers": {"x": None},
    "costs": ExecutionCosts(reprices=7),
    "refusals": {"x": 7},
    "reconciled": {"x": 7},
    "instrument": instrument(tick_size=Decimal(7)),
    "activity": Exiting(Target(0.0)),
    "position": Position(Decimal(7)),
    "trade_quote": Decimal(7),
    "stops": ProtectiveStops(tries=7),
    "takes": TakePlan(refusals=7),
    "flat_bars": {"x": 7},
    "retries": {"x": ExitRetry(intent(), 7, 7)},
    "unknown": {"x": UnknownOrder(7)},
    "expiring": {"x": 7},
    "bar": bar(7),
    "stopped": {"x": StrategyFailure(bar_ms=7, strategy="X", file="x.py", line=7, error="x")},
    "day": Day(trades=7),
    "causes_ms": {"x": 7},
    "opened_ms": {"x": 7},
    "longer": {"x": LongerBars((LongerBar("4h", 7),))},
    "volatilities": {"x": TrailingVolatility(7)},
    "indicators": {"BTCUSDT": Indicators(Declaring(), 300_000)},
}
"""Another value for each field that is not a number."""


def _unseen(state: EngineState, place: object, names: set[str]) -> Iterator[str]:
    """Change one field of ``place`` after the other, and name those whose change the digest does not see."""
    for name in sorted(names):
        before, digest = getattr(place, name), state.digest()
        plain = not before if isinstance(before, bool) else 7
        setattr(place, name, plain if isinstance(before, int | float) else OTHER_VALUES[name])
        if state.digest() == digest:
            yield name
        setattr(place, name, before)


def test_the_digest_sees_every_field_but_the_counters() -> None:
    one, order = limit_engine({0: Target(2.0, limit_price=99.0)})
    assert order
    state, sym = one.state, one.state.symbols["BTCUSDT"]
    by_name = {"symbols", "forecasters", "open", "working", "foreign"}
    unseen = {
        *_unseen(state, state, set(EngineRecord.__struct_fields__) - by_name),
        *_unseen(state, sym, set(SymbolRecord.__struct_fields__) - {"strategy", "view"}),
        *_unseen(state, sym.view, set(ViewRecord.__struct_fields__) - {"forecast"}),
    }
    assert unseen == COUNTERS
    before = state.digest()
    state.orders.ended["filled"] = 7
    assert state.digest() == before
    state.open = state.working = (sym,)
    assert state.digest() != before
    state.open = state.working = ()
    state.foreign = (sym,)
    assert state.digest() != before


def test_the_digest_sees_what_a_strategy_remembers() -> None:
    digests = set()
    for first in (100.0, 101.0):
        one = Engine([_traded(SHIPPED["ema_cross"]())], Decimal(10_000), Limits())
        one.handle(closed(bar(0, first)))
        one.handle(closed(bar(1)))
        sym = one.state.symbols["BTCUSDT"]
        sym.mark = one.state.equity = 0.0
        digests.add(one.state.digest())
    assert len(digests) == 2


# What does not fit


def test_every_changed_byte_is_found() -> None:
    one = engine({0: Target(2.0)})
    long_at(one)
    body = one.snapshot()
    for place in range(len(body)):
        for flip in (0x01, 0x20, 0x80):
            damaged = bytearray(body)
            damaged[place] ^= flip
            with pytest.raises(BadInput):
                engine({}).restore(bytes(damaged))


def test_a_snapshot_that_ends_early_is_found() -> None:
    body = engine({}).snapshot()
    for end in range(len(body)):
        with pytest.raises(BadInput):
            engine({}).restore(body[:end])


def test_a_snapshot_of_another_version_is_refused() -> None:
    body = engine({}).snapshot().replace(b"bot-engine-1", b"bot-engine-0")
    with pytest.raises(BadInput, match="has the form 'bot-engine-0', expected 'bot-engine-1'"):
        engine({}).restore(body)


def test_a_snapshot_of_other_symbols_is_refused_and_changes_nothing() -> None:
    one, other = engine({}), engine({}, symbol="ETHUSDT")
    before = other.snapshot()
    with pytest.raises(BadInput, match="the snapshot is of BTCUSDT, this engine trades ETHUSDT"):
        other.restore(one.snapshot())
    assert other.snapshot() == before


def test_a_snapshot_of_another_interval_is_refused() -> None:
    other = Engine([Assignment(instrument(), 60_000, Silent(), 12.0)], Decimal(1), Limits())
    with pytest.raises(BadInput, match="BTCUSDT at 300000 ms a bar, this engine at 60000 ms"):
        other.restore(engine({}).snapshot())


# Strategies


class Silent:
    """Remembers nothing and does not say so."""

    def on_bar(self, view: View) -> Target | None:
        return None


class Keeping(Silent):
    """Remembers one value."""

    def __init__(self, value: object = None) -> None:
        self.value = value

    def state(self) -> object:
        return self.value

    def restore(self, state: object) -> None:
        self.value = state


class Losing(Keeping):
    """Fails when it is given its state."""

    def restore(self, state: object) -> None:
        raise KeyError("value")


class Named(Silent):
    """Has a field called state."""

    def __init__(self) -> None:
        self.state = "long"


def _traded(strategy: object, symbol: str = "BTCUSDT") -> Assignment:
    return Assignment(instrument(symbol), 300_000, strategy, 12.0)  # type: ignore[arg-type]


def _trading(*strategies: object) -> Engine:
    symbols = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
    traded = [_traded(each, symbol) for each, symbol in zip(strategies, symbols, strict=False)]
    return Engine(traded, Decimal(10_000), Limits())


@pytest.mark.parametrize("value", [None, 3, 0.1, nan, inf, "text", [1, [2.5]], {"a": [nan], "b": None}])
def test_a_strategy_gets_back_what_it_gave(value: object) -> None:
    one, kept = _trading(Keeping(value)), Keeping()
    _trading(kept).restore(one.snapshot())
    assert repr(kept.value) == repr(value)


def test_strategies_without_state_are_named_and_keep_what_they_have() -> None:
    one = _trading(Silent(), Keeping(1), Named())
    assert one.forgetful() == ("AUSDT", "CUSDT")
    other = _trading(Silent(), Keeping(), Named())
    other.restore(one.snapshot())


@pytest.mark.parametrize("value", [object(), {1: "a"}, [{2: 3}], b"bytes", Decimal(1), {1, 2}])
def test_a_state_that_json_cannot_hold_is_refused_with_the_class(value: object) -> None:
    with pytest.raises(BadUsage, match=r"Keeping\.state\(\) of AUSDT cannot be kept \(TypeError: ") as caught:
        _trading(Keeping(value)).snapshot()
    assert "\n" not in str(caught.value)


def test_a_state_that_holds_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(BadUsage, match="Circular reference"):
        _trading(Keeping(loop)).snapshot()


def test_a_restore_that_fails_names_the_class() -> None:
    body = _trading(Losing(1)).snapshot()
    with pytest.raises(BadInput, match=r"Losing\.restore\(\) of AUSDT failed \(KeyError: 'value'\)"):
        _trading(Losing()).restore(body)


def test_a_strategy_that_lost_its_methods_is_named() -> None:
    with pytest.raises(BadInput, match=r"Silent of AUSDT has no state\(\) and restore\(\)"):
        _trading(Silent()).restore(_trading(Keeping(1)).snapshot())


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_strategies_decide_after_a_restore_as_without_one(name: str) -> None:
    made: Callable[[], Engine] = lambda: Engine(  # noqa: E731
        [_traded(SHIPPED[name](**_QUICK.get(name, {})))], Decimal(10_000), Limits()
    )
    prices = [100.0 + (index * index) % 17 + (index % 5) for index in range(60)]
    whole, cut = made(), made()
    assert not whole.forgetful()
    for index, price in enumerate(prices):
        event = closed(bar(index, price))
        expected = whole.handle(event)
        assert cut.handle(event) == expected
        for order in orders(expected):
            for one in (whole, cut):
                one.handle(Quote(T0 + index, "BTCUSDT", price - 0.1, price + 0.1))
            assert order.order_id in whole.state.orders.live
        body = cut.snapshot()
        cut = made()
        cut.restore(body)
        assert cut.state.digest() == whole.state.digest()
    if name in _QUICK:
        assert whole.state.orders.live


_QUICK: dict[str, dict[str, object]] = {
    "ema_cross": {"fast": 2, "slow": 5},
    "mean_reversion": {"lookback": 2, "vol_bars": 5, "entry_z": 0.6, "exit_z": 0.1},
    "buy_and_hold": {},
    "random": {"hold_bars": 3},
}
"""Strategies without a model, with parameters that trade within a few bars."""


def test_a_halt_and_a_flatten_survive() -> None:
    one, other = engine({0: Target(2.0)}), engine({})
    long_at(one)
    one.handle(Command(T0 + 1, "flatten"))
    one.handle(Command(T0 + 2, "halt"))
    other.restore(one.snapshot())
    assert other.state.breaker.state == "halted"
    assert other.state.flattening
    assert other.handle(closed(bar(1))) == one.handle(closed(bar(1)))
