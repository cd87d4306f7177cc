from decimal import Decimal
from pathlib import Path

import pyarrow.parquet
from pyarrow import decimal256, float64, int64, string

from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import JournalWriter
from bot.app.state import tables
from bot.domain.messages import Filled, OrderAccepted, PlaceOrder
from bot.domain.orders import Approved
from bot.journal.entries import Effects
from bot.metrics import Trade
from tests.adapters.state.test_journal import HEADER
from tests.helpers import T0, fill, intent


def test_a_table_without_rows_has_the_types_of_one_with_rows() -> None:
    empty = tables.to_arrow(tables.trade_columns([], [], {"order_id": [], "reason": []}))
    assert empty.schema.field("pnl_quote").type == decimal256(58, 18)
    assert empty.schema.field("bars_held").type == int64()
    assert empty.schema.field("mae_frac").type == float64()
    assert empty.schema.field("exit_reason").type == string()
    assert {*Trade.__struct_fields__} < {*empty.column_names}


def test_money_keeps_every_digit_in_parquet_and_in_json(tmp_path: Path) -> None:
    columns = {"price": [Decimal("0.000000012345678901"), None], "qty": [Decimal("1e20"), Decimal("-3")]}
    assert tables.write(columns, tmp_path / "x.parquet") == 2
    assert pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pydict() == columns
    assert tables.rows(columns)[0] == {"price": "1.2345678901E-8", "qty": "1E+20"}


def test_a_filled_order_is_so_since_its_last_fill_and_a_cancelled_one_since_its_end() -> None:
    orders: dict[str, list[object]] = {
        "order_id": ["o1", "o2", "o3"],
        "qty": [Decimal(2), Decimal(2), Decimal(1)],
        "state": ["open", "cancelled", "open"],
        "state_ms": [T0, T0 + 50, T0 + 1],
    }
    fills = [
        fill(order_id="o1", ts_ms=T0 + 10),
        fill(order_id="o2", ts_ms=T0 + 20),
        fill(order_id="o1", ts_ms=T0 + 30),
    ]
    told = tables.with_fills(orders, fills)
    assert told["state"] == ["filled", "cancelled", "open"]
    assert told["state_ms"] == [T0 + 30, T0 + 50, T0 + 1]


def test_the_journals_index_tells_the_same_time(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal" / "paper-1")
    writer.begin(HEADER)
    writer.append(Effects((PlaceOrder("o1", Approved(intent("Buy", "2"))),)))
    writer.append(OrderAccepted(T0, "o1"))
    for number in (1, 2):
        writer.append(Filled(fill(exec_id=f"x{number}", ts_ms=T0 + 10 * number)))
    writer.close()
    (row,) = JournalIndex(writer.journal).order_rows()
    assert (row["state"], row["state_ms"], row["filled_qty"]) == ("filled", T0 + 20, Decimal(2))
