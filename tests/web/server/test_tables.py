"""Pages of what happened: reasons, costs, filters, and a place to go on from."""

from decimal import Decimal

import msgspec
import pytest

from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import JournalWriter
from bot.domain.messages import (
    Command,
    Filled,
    FundingPaid,
    LinkDown,
    OrderRejected,
    PlaceOrder,
    StopsRejected,
    Transferred,
    Verdict,
)
from bot.domain.orders import Approved, Refused
from bot.journal.entries import Effects
from bot.web.server import tables
from bot.web.server.tables import Query, Trades
from tests.helpers import T0, fill, intent


def order(writer: JournalWriter, number: int, side: str, reason: str, *, reduce: bool = False) -> None:
    wanted = intent(side, "2", reason=reason, reduce_only=reduce)  # type: ignore[arg-type]
    writer.append(Effects((PlaceOrder(f"bot1-{number}-0", Approved(wanted)),)))


def filled(writer: JournalWriter, number: int, side: str, price: str, ms: int, qty: str = "2") -> None:
    ids = {"exec_id": f"x{number}{qty}", "order_id": f"bot1-{number}-0"}
    made = fill(side, qty, price, fee="0.1", ts_ms=T0 + ms, **ids)  # type: ignore[arg-type]
    writer.append(Filled(msgspec.structs.replace(made, slippage_quote=Decimal("0.02"))))


def test_a_trade_has_its_reasons_and_its_costs(writer: JournalWriter) -> None:
    order(writer, 1, "Buy", "cross_up")
    filled(writer, 1, "Buy", "100", 0)
    writer.append(FundingPaid(T0 + 5, "BTCUSDT", Decimal("-0.3")))
    order(writer, 2, "Sell", "cross_down", reduce=True)
    filled(writer, 2, "Sell", "103", 10, "1.5")
    filled(writer, 2, "Sell", "103", 20, "0.5")
    order(writer, 3, "Sell", "short")
    filled(writer, 3, "Sell", "103", 30)
    index, trades = JournalIndex(writer.journal), Trades()
    trades.refresh(index)
    (trade,) = trades.page(Query()).rows
    # 2 × (103 − 100) − 3 fees of 0.1 − 0.3 funding
    assert trade["pnl_quote"] == "5.4"
    assert trade["fees_quote"] == "0.3"
    assert trade["slippage_quote"] == "0.06"
    assert (trade["entry_reason"], trade["exit_reason"]) == ("cross_up", "cross_down")
    assert trades.opened_ms == {"BTCUSDT": T0 + 30}


def test_a_fill_knows_its_order_and_a_stop_of_the_venue_its_cause(writer: JournalWriter) -> None:
    order(writer, 1, "Buy", "cross_up")
    filled(writer, 1, "Buy", "100", 0)
    stop = msgspec.structs.replace(fill("Sell", "2", "98", exec_id="s", order_id="venue"), cause="stop_loss")
    writer.append(Filled(stop))
    writer.append(Filled(fill("Sell", "9", "98", exec_id="foreign", order_id="by-hand")))
    last, first = tables.fills(JournalIndex(writer.journal), Query()).rows
    assert (first["reason"], first["is_entry"]) == ("cross_up", True)
    assert (last["reason"], last["is_entry"]) == ("stop loss", False)


def test_an_order_says_how_far_it_came(writer: JournalWriter) -> None:
    for number in range(3):
        order(writer, number, "Buy", "in")
    filled(writer, 1, "Buy", "100", 0)
    writer.append(OrderRejected(T0, "bot1-2-0", 110007, "no <b>money</b>"))
    rejected, done, sent = tables.orders(JournalIndex(writer.journal), Query()).rows
    assert (sent["state"], sent["filled_qty"]) == ("sent", "0")
    assert (done["state"], done["filled_qty"]) == ("filled", "2")
    assert (rejected["state"], rejected["words"]) == ("rejected", "110007: no <b>money</b>")


def test_refusals_and_commands_are_events_in_words(writer: JournalWriter) -> None:
    refused = Refused(intent("Buy", "3"), "order_notional", Decimal(60_000), Decimal(50_000))
    writer.append(Effects((Verdict(T0, refused),)))
    writer.append(Command(T0, "close", "BTCUSDT", "page"))
    writer.append(Command(T0, "pause"))
    writer.append(Transferred(T0, Decimal(-30), "t1", "TRANSFER_OUT"))
    index = JournalIndex(writer.journal)
    texts = [row["text"] for row in tables.events(index, Query()).rows]
    assert texts == [
        "30 out TRANSFER_OUT",
        "pause",
        "close BTCUSDT by the page",
        "Buy 3 BTCUSDT: the order's value is above its limit: 60000, allowed 50000 (order_notional)",
    ]
    of_eth = tables.events(index, Query(symbol="ETHUSDT")).rows
    assert [row["kind"] for row in of_eth] == ["transferred", "command"]  # of the whole account


def test_events_are_filtered_by_level_and_kind(writer: JournalWriter) -> None:
    writer.append(Command(T0, "pause"))
    writer.append(LinkDown(T0, "feed"))  # type: ignore[arg-type]
    writer.append(StopsRejected(T0, "BTCUSDT", 10001, "no"))
    index = JournalIndex(writer.journal)
    kinds = {
        level: [row["kind"] for row in tables.events(index, Query(level=level)).rows]
        for level in ("", "info", "warning", "error")
    }
    assert kinds[""] == kinds["info"] == ["stops_rejected", "line_down", "command"]
    assert kinds["warning"] == ["stops_rejected", "line_down"]
    assert kinds["error"] == ["stops_rejected"]
    assert len(tables.events(index, Query(kind="line_down")).rows) == 1


@pytest.mark.parametrize("table", [tables.events, tables.fills, tables.orders])
def test_a_page_goes_on_where_the_last_one_ended(table: object, writer: JournalWriter) -> None:
    for number in range(5):
        writer.append(Command(T0 + number, "pause"))
        order(writer, number, "Buy", "in")
        filled(writer, number, "Buy", "100", number)
    index = JournalIndex(writer.journal)
    seen: list[object] = []
    before, more = None, True
    while more:
        page = table(index, Query(limit=2, before=before))  # type: ignore[operator]
        seen += [row["id"] for row in page.rows]
        before, more = page.rows[-1]["id"], page.more
    assert seen == [5, 4, 3, 2, 1]


def test_no_text_of_a_question_becomes_sql(writer: JournalWriter) -> None:
    writer.append(Command(T0, "pause"))
    index = JournalIndex(writer.journal)
    for text in ("' OR 1=1 --", '"; DROP TABLE events', "%"):
        assert tables.events(index, Query(kind=text)).rows == []
        assert tables.orders(index, Query(symbol=text)).rows == []
    assert len(tables.events(index, Query()).rows) == 1
