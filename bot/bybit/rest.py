"""Public REST market data: requests as values, answers converted to domain values.

Numbers are text in both directions. Bybit sends rows newest first; the parsers return them oldest first. An
answer that cannot be read raises ``BadInput``; a refusal of the exchange raises its error of ``codes.py``.
"""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec

from bot.bybit.codes import error_for, printable
from bot.domain.errors import BadBar, BadInput
from bot.domain.market import MINUTE_MS, Bar

Category = Literal["linear", "inverse", "spot"]
Prices = Literal["kline", "mark-price-kline"]
"""Trade prices, or the mark prices that margin and liquidation use (without volume)."""

KLINE_LIMIT = 1000
FUNDING_LIMIT = 200

WIRE_INTERVALS: dict[int, str] = {
    **{minutes * MINUTE_MS: str(minutes) for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    1440 * MINUTE_MS: "D",
}
"""Interval in ms → Bybit's name."""


class PublicRequest(msgspec.Struct, frozen=True):
    """An unsigned GET: the path and its query, in order."""

    path: str
    params: tuple[tuple[str, str], ...]

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        return f"{self.path}?{urlencode(self.params)}"


class KlinePage(msgspec.Struct, frozen=True):
    """One page: bars oldest first (the last may still be open), and the server's clock."""

    bars: tuple[Bar, ...]
    server_ms: int | None

    def closed(self, now_ms: int) -> list[Bar]:
        """Return the bars closed by the server's clock, or by ``now_ms`` if the answer has no time."""
        now_ms = now_ms if self.server_ms is None else self.server_ms
        return [bar for bar in self.bars if bar.close_ms <= now_ms]


class FundingSettlement(msgspec.Struct, frozen=True):
    """One settled funding rate: its time, and the fraction of the position's value that longs pay shorts."""

    ts_ms: int
    rate: float


def get_klines(
    symbol: str,
    interval_ms: int,
    first_ms: int,
    last_ms: int,
    *,
    category: Category = "linear",
    prices: Prices = "kline",
) -> PublicRequest:
    """Request the bars that open in ``[first_ms, last_ms]``, at most ``KLINE_LIMIT`` of them.

    If there are more, the server sends the newest, so the caller keeps each window within the limit.
    https://bybit-exchange.github.io/docs/v5/market/kline
    """
    return PublicRequest(
        f"/v5/market/{prices}",
        (
            ("category", category),
            ("symbol", symbol),
            ("interval", WIRE_INTERVALS[interval_ms]),
            ("start", str(first_ms)),
            ("end", str(last_ms)),
            ("limit", str(KLINE_LIMIT)),
        ),
    )


def get_funding(symbol: str, first_ms: int, last_ms: int, *, category: Category = "linear") -> PublicRequest:
    """Request the newest ``FUNDING_LIMIT`` rates settled in ``[first_ms, last_ms]``. Both times are required.

    https://bybit-exchange.github.io/docs/v5/market/history-fund-rate
    """
    return PublicRequest(
        "/v5/market/funding/history",
        (
            ("category", category),
            ("symbol", symbol),
            ("startTime", str(first_ms)),
            ("endTime", str(last_ms)),
            ("limit", str(FUNDING_LIMIT)),
        ),
    )


def get_launch(symbol: str, *, category: Category = "linear") -> PublicRequest:
    """Request the row of one contract, which tells when it was listed.

    https://bybit-exchange.github.io/docs/v5/market/instrument
    """
    return PublicRequest("/v5/market/instruments-info", (("category", category), ("symbol", symbol)))


_Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""The bounds refuse "nan" and "inf", which msgspec's lax decoding accepts as numbers."""
_Turnover = _Number | Literal[""]
_KlineRow = tuple[int, _Number, _Number, _Number, _Number, _Number, _Turnover]
_MarkRow = tuple[int, _Number, _Number, _Number, _Number]


class _Envelope(msgspec.Struct, rename="camel"):
    ret_code: int
    ret_msg: str | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    time: int | None = None


class _KlineResult(msgspec.Struct):
    list: list[_KlineRow]
    symbol: str | None = None


class _MarkResult(msgspec.Struct):
    list: list[_MarkRow]
    symbol: str | None = None


class _FundingRow(msgspec.Struct, rename="camel"):
    symbol: str
    funding_rate: _Number
    funding_rate_timestamp: int


class _FundingResult(msgspec.Struct):
    list: list[_FundingRow]


class _LaunchRow(msgspec.Struct, rename="camel"):
    symbol: str
    launch_time: Annotated[int, msgspec.Meta(ge=0, le=10**15)] | Literal[""] = 0


class _LaunchResult(msgspec.Struct):
    list: list[_LaunchRow]


# Numbers come as text ("5.5"). Lax decoding accepts these but refuses "", "1_0" and " 1".
_envelopes = msgspec.json.Decoder(_Envelope)
_klines = msgspec.json.Decoder(_KlineResult, strict=False)
_marks = msgspec.json.Decoder(_MarkResult, strict=False)
_fundings = msgspec.json.Decoder(_FundingResult, strict=False)
_launches = msgspec.json.Decoder(_LaunchResult, strict=False)


def parse_klines(body: bytes, symbol: str, interval_ms: int) -> KlinePage:
    """Read a page of ``kline``: ``[start, open, high, low, close, volume, turnover]`` per row.

    A blank turnover is unknown, so None.

    Raises:
        BadInput: not the documented answer, another symbol, or a row that cannot be a bar.
        VenueError: the exchange's refusal, by ``retCode``.
    """
    envelope, result = _decode(body, _klines)
    _check_symbol(result.symbol, symbol)
    told = [(*row[:-1], row[-1] if isinstance(row[-1], float) else None) for row in result.list]
    return KlinePage(_bars(symbol, interval_ms, told), envelope.time)


def parse_mark_klines(body: bytes, symbol: str, interval_ms: int) -> KlinePage:
    """Read a page of ``mark-price-kline``: ``[start, open, high, low, close]``. The bars' volume is 0.

    Raises:
        BadInput, VenueError: as ``parse_klines``.
    """
    envelope, result = _decode(body, _marks)
    _check_symbol(result.symbol, symbol)
    return KlinePage(_bars(symbol, interval_ms, [(*row, 0.0, None) for row in result.list]), envelope.time)


def parse_funding(body: bytes, symbol: str) -> tuple[FundingSettlement, ...]:
    """Read a page of ``funding/history``. Returns the rates oldest first.

    Raises:
        BadInput, VenueError: as ``parse_klines``.
    """
    _, result = _decode(body, _fundings)
    for row in result.list:
        _check_symbol(row.symbol, symbol)
    rates = {row.funding_rate_timestamp: row.funding_rate for row in result.list}
    return tuple(FundingSettlement(ts_ms, rates[ts_ms]) for ts_ms in sorted(rates))


def parse_launch(body: bytes, symbol: str) -> int | None:
    """Read when a contract was listed, in ms. None: the row does not tell (spot), or there is no such symbol.

    Raises:
        BadInput, VenueError: as ``parse_klines``.
    """
    _, result = _decode(body, _launches)
    return next((row.launch_time or None for row in result.list if row.symbol == symbol), None)


def _decode(body: bytes, decoder: msgspec.json.Decoder[Any]) -> tuple[_Envelope, Any]:
    try:
        envelope = _envelopes.decode(body)
        if envelope.ret_code != 0:
            raise error_for(envelope.ret_code, envelope.ret_msg or "")
        return envelope, decoder.decode(envelope.result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = printable(body[:60].decode("utf-8", "replace"))
        raise BadInput(f"the answer is not the documented JSON ({error}): {start!r}") from error


def _check_symbol(found: str | None, expected: str) -> None:
    if found is not None and found != expected:
        raise BadInput(f"the answer must be for {expected}, was for {printable(found, 40)!r}")


def _bars(symbol: str, interval_ms: int, rows: list[Any]) -> tuple[Bar, ...]:
    """Return the bars oldest first. A repeated row is taken once.

    Raises:
        BadInput: a row cannot be a bar, or two rows differ about one bar.
    """
    bars: dict[int, Bar] = {}
    for row in rows:
        try:
            bar = Bar(symbol, interval_ms, *row)
        except BadBar as error:
            raise BadInput(f"the answer contains an impossible bar: {error}") from error
        if bars.setdefault(bar.start_ms, bar) != bar:
            raise BadInput(f"the answer has two different bars for {symbol} {bar.start_ms}")
    return tuple(bars[start_ms] for start_ms in sorted(bars))
