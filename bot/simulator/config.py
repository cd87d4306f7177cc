"""The configuration of one local exchange."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from bot.domain.market import MINUTE_MS
from bot.exchange.terms import Terms

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
MAX_SYMBOLS = 1000


class AccessRules(msgspec.Struct, frozen=True, kw_only=True):
    """Choices where the documentation is silent or contradicts itself."""

    missing_headers: Literal["http401", "retcode"] = "http401"
    key_before_signature: bool = True
    rate_limits: bool = True
    order_quota: int = 60
    """Orders, amendments and cancels a second: 10 for an ordinary user, 20, 40, 60 for VIP 1, 2, 3.

    A client on the same machine is so fast that 10 would stop it, unlike a client over the internet.
    """
    post_only_refused: Literal["Cancelled", "Rejected"] = "Cancelled"
    """Status, on the order topic, of a PostOnly order that would have taken liquidity."""
    position_before_wallet: bool = True
    """Which of the two pushes after a fill comes first."""
    limit_price_action: Literal["adjust", "reject"] = "adjust"
    """What becomes of a limit price beyond the band: moved silently (Bybit's default) or refused.

    ``POST /v5/account/set-limit-px-action`` changes it for one account.
    """
    fee_coin: Literal["", "MNT"] = ""
    """The coin in which fees are taken, as the account's switch ``fmsef`` decides; "": the settle coin."""
    demo: bool = False
    """Demo trading: no trade stream, some paths are missing, closed orders are kept 7 days."""
    page_max: int = 1_000
    """Most rows of a page of ``instruments-info``, whatever ``limit`` says."""


class ExchangeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one ``bot exchange``. It serves loopback only, so no host can be chosen.

    ``data`` are candle files; without them the market is invented for ``symbols``. ``start_ms`` sets the
    exchange's clock to a moment of the files; without it the files are shifted to the present. ``fills``:
    orders are matched with a book whose prices arrive one by one, or with closed bars as in a backtest.
    """

    port: int = 8650
    """0: any free port."""
    data: tuple[Path, ...] = ()
    recording: Path | None = None
    """Folder that `bot record` filled, replayed at its own times; ``data`` are then candles before it."""
    instruments: Path | None = None
    """Rules in the form of ``bot/shipped/instruments.json``; unset: the shipped ones."""
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    interval_ms: int = MINUTE_MS
    """Base candles of an invented market."""
    speed: float = 1.0
    start_ms: int | None = None
    seed: int = 0
    faults: Path | None = None
    """File of a fault plan (``faults/plan.py``)."""
    control: Path | None = None
    """Path of the control socket; unset: none."""
    fills: Literal["quotes", "bars"] = "quotes"
    ticks_per_s: float = 0.0
    """Trades of a symbol in one second of the machine's time; 0: 4, and 1 from 21 symbols on.

    A recording's frames are looked at so often; 0: 20 times a second.
    """
    confirm_delay_ms: float = 20.0
    """Machine time from a close to its confirmed candles; at most a tenth of a bar."""
    ack_delay_ms: float = 2.0
    """Machine time before an answer on a websocket leaves; a client here needs it to register its request."""
    funding: bool = True
    """Whether funding settles; False: rates are 0, as in a backtest without a funding file."""
    history_bars: int = 2_500
    """Candles to leave before the present when files are shifted; at least the shipped model's warm-up."""
    ip_limit: bool = False
    """Whether more than 600 requests in 5 s are answered with 403."""
    queue_max: int = 20_000
    """A client with more waiting messages than this is disconnected."""
    idle_s: float = 600.0
    """A private or trade stream without messages is closed after this; ``?max_active_time=`` overrides."""
    key: str = "test-key"
    secret: str = "test-secret"  # noqa: S105 (the published key of a toy exchange on loopback)
    more_keys: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Secrets of further accounts by key. Each account has its own wallet."""
    wallet_quote: Decimal = Decimal(100_000)
    terms: Terms | None = None
    """Fees, leverage, margin mode, and what bars cost; unset: the usual fees and each symbol's spread."""
    rules: AccessRules = AccessRules()
    """Choices where Bybit's documentation says nothing."""

    @property
    def ticks(self) -> float:
        """Trades of a symbol a second, also if none were configured."""
        if self.recording is not None:
            return self.ticks_per_s or 20.0
        return self.ticks_per_s or (4.0 if len(self.data or self.symbols) <= 20 else 1.0)
