"""What queries find: pages, filters, ids, and what is forgotten when."""

from decimal import Decimal
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.simulator.account.access import RequestRefused
from bot.simulator.account.ledger import Orders, RecentRows
from bot.simulator.account.paging import DAY_MS, span
from tests.simulator.stage import NOW_MS, Stage

LINEAR = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.price("64000")
    return made


def pages(stage: Stage, path: str, *, escaped: bool = False, **params: str) -> list[list[str]]:
    """The order ids of every page; the cursor goes back raw or escaped once more."""
    found, cursor = [], ""
    while True:
        answer = stage.ask(path, **LINEAR, **params, cursor=quote(cursor) if escaped else cursor)["result"]
        if not answer["list"]:
            assert answer["nextPageCursor"] == ""
            return found
        found.append([row["orderId"] for row in answer["list"]])
        cursor = answer["nextPageCursor"]


@pytest.mark.parametrize("escaped", [False, True])
def test_pages_join_newest_first_and_the_last_one_has_a_cursor_too(stage: Stage, escaped: bool) -> None:
    made = [stage.rest()["result"]["orderId"] for _ in range(7)]
    found = pages(stage, "/order/realtime", limit="3", escaped=escaped)
    assert [len(page) for page in found] == [3, 3, 1]
    assert [order_id for page in found for order_id in page] == made[::-1]


def test_orders_made_between_two_pages_do_not_repeat_or_hide_any(stage: Stage) -> None:
    made = [stage.rest()["result"]["orderId"] for _ in range(4)]
    first = stage.ask("/order/realtime", **LINEAR, limit="2")["result"]
    stage.rest()
    rest = stage.ask("/order/realtime", **LINEAR, limit="9", cursor=first["nextPageCursor"])["result"]
    assert [row["orderId"] for row in first["list"] + rest["list"]] == made[::-1]


@pytest.mark.parametrize("cursor", ["nonsense", "a%3Ab", "%25%25", "x:1,y:", "1:1:1:" + "9" * 40])
def test_a_foreign_cursor_is_refused(stage: Stage, cursor: str) -> None:
    stage.rest()
    assert stage.ask("/order/realtime", **LINEAR, cursor=cursor)["retCode"] == 10001


def test_a_closed_order_is_found_by_its_ids_only(stage: Stage) -> None:
    made = stage.rest(orderLinkId="mine")["result"]
    stage.order("cancel", orderLinkId="mine")
    assert stage.rows("/order/realtime") == []
    assert stage.rows("/order/realtime", orderLinkId="mine")[0]["orderStatus"] == "Cancelled"
    assert (
        stage.rows("/order/realtime", orderId=made["orderId"], orderLinkId="other")[0]["orderLinkId"]
        == "mine"
    )
    assert [row["orderLinkId"] for row in stage.rows("/order/realtime", openOnly="1")] == ["mine"]


def test_realtime_needs_to_know_where_to_look(stage: Stage) -> None:
    assert stage.ask("/order/realtime", category="linear")["retCode"] == 10001
    assert stage.ask("/order/realtime", category="linear", settleCoin="USDT")["retCode"] == 0


def test_filters_tell_conditional_orders_from_others(stage: Stage) -> None:
    stage.rest()
    stage.buy(triggerPrice="70000", triggerDirection=1)
    kinds = {
        wanted: [row["orderStatus"] for row in stage.rows("/order/realtime", orderFilter=wanted)]
        for wanted in ("Order", "StopOrder")
    }
    assert kinds == {"Order": ["New"], "StopOrder": ["Untriggered"]}


def test_an_order_cancelled_without_a_fill_leaves_the_history_after_a_day(stage: Stage) -> None:
    stage.rest()
    stage.order("cancel-batch", request=[])
    stage.ask("/order/cancel-all", **LINEAR)
    stage.buy()
    both = [row["orderStatus"] for row in stage.rows("/order/history")]
    stage.now_ms += DAY_MS + 1
    assert (both, [row["orderStatus"] for row in stage.rows("/order/history")]) == (
        ["Filled", "Cancelled"],
        ["Filled"],
    )
    stage.now_ms += 7 * DAY_MS
    assert stage.rows("/order/history") == []


def test_open_orders_outlive_any_number_of_closed_ones() -> None:
    stage = Stage()
    stage.desk.ledger.orders = Orders(kept=5)
    stage.price("64000")
    working = stage.rest(orderLinkId="works")["result"]["orderId"]
    for _ in range(20):
        stage.buy("0.001")
    assert [row["orderId"] for row in stage.rows("/order/realtime")] == [working]
    assert len(stage.rows("/order/history")) == 5


def test_a_page_goes_on_when_its_last_order_was_forgotten() -> None:
    stage = Stage()
    stage.desk.ledger.orders = Orders(kept=4)
    stage.price("64000")
    for _ in range(4):
        stage.buy("0.001")
    first = stage.ask("/order/history", **LINEAR, limit="4")["result"]
    stage.buy("0.001")
    rest = stage.ask("/order/history", **LINEAR, limit="4", cursor=first["nextPageCursor"])["result"]
    assert rest["list"] == []


def test_executions_are_found_by_order_whenever_they_were(stage: Stage) -> None:
    made = stage.buy(orderLinkId="mine")["result"]["orderId"]
    stage.now_ms += 30 * DAY_MS
    assert stage.rows("/execution/list") == []
    assert (
        len(stage.rows("/execution/list", orderId=made))
        == len(stage.rows("/execution/list", orderLinkId="mine"))
        == 1
    )


def test_the_transaction_log_adds_up_to_the_wallet(stage: Stage) -> None:
    stage.buy("0.5")
    stage.price("65000")
    stage.engine.settle_funding("BTCUSDT", stage.now_ms, Decimal("0.0003"))
    stage.desk.settle()
    stage.order(side="Sell", orderType="Market", qty="0.7")
    stage.ask(
        "/account/demo-apply-money",
        adjustType=0,
        utaDemoApplyMoney=[{"coin": "USDT", "amountStr": "50"}],
    )
    log = stage.ask("/account/transaction-log")["result"]["list"]
    assert [row["type"] for row in log] == ["TRANSFER_IN", "TRADE", "SETTLEMENT", "TRADE"]
    change = sum(Decimal(row["change"]) for row in log)
    assert Decimal(100_000) + change == stage.engine.wallet().wallet_quote == Decimal(log[0]["cashBalance"])
    assert [row["size"] for row in log[1:]] == ["-0.2", "0.5", "0.5"]


def test_a_closing_order_has_one_row_of_profit(stage: Stage) -> None:
    stage.buy("2")
    fills = [(Decimal("64999.9"), Decimal(1)), (Decimal("64999.8"), Decimal(1))]
    stage.price("65000")
    depth = stage.engine._books["BTCUSDT"].depth
    stage.engine.quote("BTCUSDT", stage.now_ms, type(depth)(fills, depth.asks))
    stage.order(side="Sell", orderType="Market", qty="2", reduceOnly=True)
    (row,) = stage.rows("/position/closed-pnl")
    assert (row["fillCount"], row["closedSize"], row["avgEntryPrice"]) == ("2", "2", "64000.1")
    # (64999.85 − 64000.1) × 2 − 0.00055 × 2 × (64000.1 + 64999.85)
    assert Decimal(row["closedPnl"]) == Decimal("1857.600055")


@given(st.integers(0, 30), st.integers(1, 7), st.integers(1, 20))
def test_any_history_is_paged_without_gap_or_repeat(rows: int, limit: int, kept: int) -> None:
    history: RecentRows[int] = RecentRows(kept)
    for number in range(rows):
        history.note(number, number)
    found: list[int] = []
    cursor = ""
    while True:
        page, cursor = history.page({"cursor": cursor}, lambda row: True, None, limit)
        found += page
        if not page:
            break
    assert found == list(range(rows))[::-1][:kept]


def test_time_ranges_are_the_days_beside_what_is_given() -> None:
    week = 7 * DAY_MS
    assert span({}, NOW_MS)[0] == NOW_MS - week
    assert span({"startTime": "1000"}, NOW_MS) == (1000, 1000 + week)
    assert span({"endTime": str(NOW_MS)}, NOW_MS) == (NOW_MS - week, NOW_MS)
    for start, end, code in ((0, week, 0), (1, week + 2, 181010), (5, 4, 10001)):
        try:
            span({"startTime": str(start) if start else "0", "endTime": str(end)}, NOW_MS)
            found = 0
        except RequestRefused as refused:
            found = refused.code
        assert found == code
