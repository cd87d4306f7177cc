"""A recording written by hand, and an exchange that replays it at moments that the test chooses."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from bot.adapters.recordings.files import RecordingFolder
from bot.adapters.recordings.rows import Back, Begin, Lost, Mark, frame_row, mark_row, state_row
from bot.adapters.state.clock import MachineTime
from bot.simulator.accounts import Accounts
from bot.simulator.config import ExchangeConfig
from bot.simulator.market.loop import Market, open_market

T0 = 1_767_225_600_000
"""2026-01-01."""
SYMBOL = "BTCUSDT"
KLINE, TRADES, BOOK, TICKER = TOPICS = (
    f"kline.1.{SYMBOL}",
    f"publicTrade.{SYMBOL}",
    f"orderbook.50.{SYMBOL}",
    f"tickers.{SYMBOL}",
)
Levels = Mapping[str, str]


class Tape:
    """Writes frames; ``at_ms`` counts from ``T0``."""

    def __init__(self, out: Path, topics: Sequence[str] = TOPICS) -> None:
        self.out = out
        self._rows: list[bytes] = []
        self._u = 0
        self._topics = tuple(topics)
        self.mark(
            0, Begin(feed="mainnet", url="", symbols=(SYMBOL,), topics=self._topics, version="test", part=1)
        )
        self.mark(0, Back(self._topics))

    def mark(self, at_ms: int, mark: Mark) -> None:
        self._rows.append(mark_row((T0 + at_ms) * 1000, mark))

    def lost(self, at_ms: int) -> None:
        self.mark(at_ms, Lost(self._topics, "closed"))

    def frame(self, at_ms: int, topic: str, data: Any, kind: str = "snapshot", **more: object) -> None:
        frame = {"topic": topic, "type": kind, "ts": T0 + at_ms, "data": data, **more}
        self._rows.append(frame_row((T0 + at_ms) * 1000, msgspec.json.encode(frame)))

    def book(self, at_ms: int, bids: Levels, asks: Levels, kind: str = "snapshot") -> None:
        self._u += 1
        data = {"s": SYMBOL, "b": list(bids.items()), "a": list(asks.items()), "u": self._u, "seq": self._u}
        self.frame(at_ms, BOOK, data, kind, cts=T0 + at_ms)

    def trade(self, at_ms: int, price: str, qty: str = "1", side: str = "Buy") -> None:
        row = {
            "T": T0 + at_ms,
            "s": SYMBOL,
            "S": side,
            "v": qty,
            "p": price,
            "L": "PlusTick",
            "i": f"id{at_ms}",
        }
        self.frame(at_ms, TRADES, [row])

    def made(self, at_ms: int, bids: Levels, asks: Levels) -> None:
        """The book as the recorder writes it where a file begins."""
        self.book(at_ms, bids, asks)
        stamp, _, text = self._rows.pop().partition(b" ")
        self._rows.append(state_row(int(stamp), text.decode().rstrip()))

    def ticker(self, at_ms: int, kind: str = "delta", **fields: str) -> None:
        self.frame(at_ms, TICKER, {"symbol": SYMBOL, **fields}, kind, cs=at_ms)

    def kline(self, at_ms: int, start_ms: int, prices: str, *, confirm: bool, volume: str = "5") -> None:
        """``prices``: open, high, low and close with spaces between."""
        names = dict(zip(("open", "high", "low", "close"), prices.split(), strict=True))
        row = {"start": T0 + start_ms, "end": T0 + start_ms + 59_999, "interval": "1", **names}
        row |= {"volume": volume, "turnover": "500", "confirm": confirm, "timestamp": T0 + at_ms}
        self.frame(at_ms, KLINE, [row])

    def write(self) -> Path:
        folder = RecordingFolder(self.out, 10**9, lambda path, size: None)
        folder.begin(T0 * 1000)
        folder.store(b"".join(self._rows))
        folder.close()
        return self.out


class Replayed:
    """An exchange on a recording; ``at`` moves its time."""

    def __init__(self, recording: Path, **changes: Any) -> None:
        self._s = 0.0
        machine = MachineTime(wall_ns=lambda: 0, steady_s=lambda: self._s)
        config = ExchangeConfig(port=0, recording=recording, **changes)
        self.market: Market = open_market(config, machine=machine)
        self.accounts = Accounts(self.market, self.market.clock, config)
        self.account = self.accounts.by_key["test-key"]
        self._began_ms = self.market.clock.market_ms()

    def at(self, at_ms: int) -> "Replayed":
        self._s = (T0 + at_ms - self._began_ms) / 1000.0 + 1e-6
        assert self.market.clock.market_ms() == T0 + at_ms
        self.accounts.refresh(SYMBOL)
        return self

    def order(self, side: str, qty: str, **params: object) -> str:
        kind = {"orderType": "Limit"} if "price" in params else {"orderType": "Market"}
        wire = {"category": "linear", "symbol": SYMBOL, "side": side, "qty": qty, **kind, **params}
        return self.account.create(wire).orderId

    def fills(self, order_id: str = "") -> list[tuple[Decimal, Decimal]]:
        """(price, qty) of executions, in order."""
        rows, _ = self.account.ledger.execution_list({"limit": "100"}, self.market.now_ms())
        found = [row for row in reversed(rows) if row.orderId == order_id or not order_id]
        return [(Decimal(row.execPrice), Decimal(row.execQty)) for row in found if row.execType == "Trade"]

    def status(self, order_id: str) -> str:
        order = self.account.ledger.orders.find(order_id, "")
        assert order is not None
        return order.status
