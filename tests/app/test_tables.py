from decimal import Decimal
from pathlib import Path

import pyarrow.parquet
from pyarrow import decimal256, float64, int64, string

from bot.app import tables
from bot.metrics import Trade


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
