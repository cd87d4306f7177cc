"""What must hold behind quotes and trades after any sequence of orders and prices."""

from decimal import Decimal
from typing import Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.ledger import Cash, Position
from bot.exchange.events import Executed, Execution, OrderChanged, PositionChanged, WalletChanged
from bot.exchange.orders import OPEN
from tests.exchange.quotes.desk import D, QuoteDesk, depth, rules

ENDED = {"Filled", "Cancelled", "Deactivated", "Rejected"}


class Act(NamedTuple):
    """One thing to do: a move of the market, or something that a client asks for."""

    what: str
    side: Literal["Buy", "Sell"]
    lots: int
    offset: int
    stop: int
    force: str
    reduce_only: bool


acts = st.builds(
    Act,
    what=st.sampled_from(
        [
            "quote",
            "quote",
            "trade",
            "mark",
            "market",
            "limit",
            "wait",
            "cancel",
            "amend",
            "stops",
            "trail",
            "pay",
        ]
    ),
    side=st.sampled_from(["Buy", "Sell"]),
    lots=st.integers(1, 200),
    offset=st.integers(-60, 60),
    stop=st.integers(0, 60),
    force=st.sampled_from(["GTC", "IOC", "FOK", "PostOnly"]),
    reduce_only=st.booleans(),
)
tapes = st.lists(acts, min_size=5, max_size=60)


class Walk:
    """A desk and the price it walks around."""

    def __init__(self, mode: str, hedge: bool) -> None:
        self.desk = QuoteDesk("300", rules(max_qty=D(1000), max_market_qty=D(1000)), margin_mode=mode)
        self.hedge = hedge
        if hedge:
            self.desk.x.switch_mode("BTCUSDT", hedge=True)
        self.price = D(100)
        self.desk.market("99.9", "100.1")

    def do(self, act: Act) -> None:
        desk, symbol = self.desk, "BTCUSDT"
        near = max(self.price + D(act.offset) / 10, D(1))
        order_id = f"o{max(desk.count - act.lots % 3, 1)}"
        beyond = D(act.stop) / 10 if act.side == "Buy" else -D(act.stop) / 10
        common = {"reduce_only": act.reduce_only, "position_idx": (1 + act.lots % 2) if self.hedge else 0}
        stops = (
            {"stop_loss": near - beyond, "take_profit": near + beyond}
            if act.stop and not act.reduce_only
            else {}
        )
        qty = str(D(act.lots) / 10)
        match act.what:
            case "quote":
                self.price = near
                tenths = D(1 + act.stop % 3) / 10
                desk.x.quote(symbol, desk.tick(), depth(str(near - tenths), str(near + tenths), qty))
            case "trade":
                desk.trade(str(near), qty)
            case "mark":
                desk.mark(str(near))
            case "market":
                desk.send(act.side, qty, **common, **stops)
            case "limit":
                desk.send(act.side, qty, price=near, time_in_force=act.force, **common, **stops)
            case "wait":
                desk.send(act.side, qty, trigger_price=near, **common)
            case "cancel":
                desk.cancel(order_id)
            case "amend":
                desk.amend(order_id, price=near, qty=D(act.lots) / 10)
            case "stops":
                desk.stops(common["position_idx"], stop_loss=near, take_profit=D(0))
            case "trail":
                desk.stops(common["position_idx"], trailing_stop=D(act.stop + 1) / 10)
            case "pay":
                desk.x.settle_funding(symbol, desk.tick(), D(act.offset) / 10_000)
        desk._note()


def walked(tape: list[Act], mode: str, hedge: bool) -> Walk:
    walk = Walk(mode, hedge)
    for act in tape:
        walk.do(act)
    return walk


modes = st.sampled_from(["cross", "isolated"])


@settings(max_examples=150, deadline=None)
@given(tapes, modes, st.booleans())
def test_cash_and_positions_are_the_sum_of_what_was_told(tape: list[Act], mode: str, hedge: bool) -> None:
    desk = walked(tape, mode, hedge).desk
    cash, positions = Cash(D(300)), {idx: Position() for idx in ((1, 2) if hedge else (0,))}
    for execution in desk.executions:
        if execution.exec_type == "Funding":
            cash.funding -= execution.fee_quote
        else:
            cash.realised += positions[execution.position_idx].apply(
                execution.side, execution.qty, execution.price
            )
            cash.fees += execution.fee_quote
    account = desk.x.account
    assert account.cash == cash
    for idx, position in positions.items():
        view = desk.position(idx)
        signed = view.size if view.side != "Sell" else -view.size
        assert (signed, view.value_quote) == (position.qty, abs(position.entry_value))
        assert position.qty >= 0 if idx == 1 else position.qty <= 0 if idx == 2 else True
    upl = sum((desk.position(idx).upl_quote for idx in positions), D(0))
    assert abs(desk.x.wallet().equity_quote - cash.balance - upl) < D("1e-9")
    realised = sum((desk.position(idx).cum_realised_quote for idx in positions), D(0))
    assert realised == cash.balance - 300


@settings(max_examples=150, deadline=None)
@given(tapes, modes, st.booleans())
def test_orders_end_once_and_their_numbers_agree(tape: list[Act], mode: str, hedge: bool) -> None:
    desk = walked(tape, mode, hedge).desk
    ended: set[str] = set()
    done: dict[str, Decimal] = {}
    for told in desk.said:
        if isinstance(told, Executed) and told.order is not None:
            done[told.order.order_id] = done.get(told.order.order_id, D(0)) + told.execution.qty
            assert not _beyond(told.execution)
    for told in desk.said:
        if not isinstance(told, OrderChanged):
            continue
        order = told.order
        assert order.order_id not in ended
        if order.status in ENDED:
            ended.add(order.order_id)
            assert order.leaves_qty == 0
            assert order.cum_exec_qty == done.get(order.order_id, 0)
        elif order.status != "Triggered":
            assert order.leaves_qty == order.qty - order.cum_exec_qty > 0
    still = {order.order_id for order in desk.x.open_orders(None)}
    assert not still & ended
    assert all(order.status in OPEN for order in desk.x.open_orders(None))
    flat = {view.idx for view in desk.x.positions("BTCUSDT") if not view.size}
    assert not [
        o for o in desk.x.open_orders(None) if o.position_idx in flat and o.create_type != "CreateByUser"
    ]


def _beyond(execution: Execution) -> bool:
    """Whether an order was filled at a price worse than its own."""
    if execution.create_type in ("CreateByLiq", "CreateByTakeOver_PassThrough"):
        return False
    if execution.side == "Buy":
        return execution.price > execution.order_price
    return execution.price < execution.order_price


@settings(max_examples=60, deadline=None)
@given(tapes, tapes, tapes, modes)
def test_the_future_cannot_change_the_past(
    past: list[Act], one: list[Act], other: list[Act], mode: str
) -> None:
    before = walked(past, mode, False).desk.said
    assert walked(past + one, mode, False).desk.said[: len(before)] == before
    assert walked(past + other, mode, False).desk.said[: len(before)] == before


@settings(max_examples=60, deadline=None)
@given(tapes, modes, st.booleans())
def test_orders_then_positions_then_the_wallet(tape: list[Act], mode: str, hedge: bool) -> None:
    ranks = {OrderChanged: 0, Executed: 1, PositionChanged: 2, WalletChanged: 3}
    last = 3
    for told in walked(tape, mode, hedge).desk.said:
        rank = ranks[type(told)]
        assert rank >= last or last == 3
        last = rank
    assert last == 3


@settings(max_examples=60, deadline=None)
@given(tapes)
def test_an_isolated_position_loses_its_margin_at_most(tape: list[Act]) -> None:
    desk = walked(tape, "isolated", False).desk
    taken = [e for e in desk.executions if e.exec_type == "BustTrade"]
    for execution in taken:
        margin = abs(execution.price * execution.qty) / 9 + execution.fee_quote
        assert -execution.pnl_quote <= margin + D("0.1") * execution.qty
    assert desk.x.facts.bankruptcies == 0 or not taken
