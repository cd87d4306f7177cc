"""The configuration of a remote venue."""

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from bot.adapters.net.link import LinkPolicy
from bot.adapters.net.signed_rest import RestPolicy
from bot.bybit.hosts import SIGNED, SignedUrls, local_urls
from bot.bybit.session import Patience
from bot.domain.errors import BadInput, BadSettings
from bot.domain.market import DAY_MS
from bot.settings import Settings

RemoteKind = Literal["testnet", "demo", "local"]


@dataclass(frozen=True, kw_only=True)
class VenueConfig:
    """One account at one venue. Times are milliseconds of the loop's time unless said otherwise."""

    kind: RemoteKind
    urls: SignedUrls
    symbols: tuple[str, ...]
    prefix: str = "bot"
    leverage: Decimal = Decimal(1)
    margin_mode: Literal["cross", "isolated"] = "cross"
    recv_window_ms: int = 5_000
    order_timeout_ms: int = 5_000
    reconcile_ms: int = 60_000
    max_clock_offset_ms: int = 500
    max_divergence_frac: Decimal = Decimal("0.03")
    foreign: Literal["count", "refuse"] = "count"
    foreign_positions: Literal["hold", "adopt", "refuse"] = "hold"
    lock_folder: Path | None = None
    """Where the account is locked against a second bot; None: it is not."""
    holder: str = ""
    """Who this is, for the message that a second bot gets."""
    traded_before: frozenset[str] = frozenset()
    """Symbols that an earlier run traded; one that is not listed any more has ended and stops alone."""
    feed_is_venue: bool = True
    """True if candles come from the traded market. If not, its quotes are polled and compared."""
    ping_ms: int = 15_000
    pong_timeout_ms: int = 8_000
    link: LinkPolicy = field(default_factory=LinkPolicy)
    connect_budget: tuple[tuple[float, int], ...] = ((300.0, 11), (3600.0, 59))
    """Most failures to connect in any span of time: (seconds, failures)."""
    quotes_ms: int = 1_000
    """Time between two polls of the venue's prices, if the feed is another market."""
    instruments_ms: int = DAY_MS
    """Time between two readings of the contracts' rules, which change without notice."""
    modes_ms: int = 600_000
    """Time between two looks at margin mode, position mode and the leverage of every symbol; each new
    connection of the private stream looks too, and a refusal that speaks of the position mode."""
    protect_ms: int = 1_000
    """Time after a fill by which the position must have a stop at the venue."""
    confirm_ms: int = 2_000
    """If no row shows a due end of an order for this long, the order is asked about."""
    overlap_ms: int = 120_000
    """How far before the last reading executions are read again, in the venue's milliseconds. An order that
    is older than ours by more than this is a foreign one."""
    absent_grace_ms: int = 5_000
    absent_spacing_ms: int = 1_000

    @property
    def patience(self) -> Patience:
        """How long the private stream and the trade socket wait."""
        return Patience(self.ping_ms, self.pong_timeout_ms, self.link.connect_timeout_ms)

    @classmethod
    def of(cls, settings: Settings) -> "VenueConfig":
        """Return the configuration that the settings describe.

        Raises:
            BadSettings: the venue is in this process, or its address is not one for signed calls.
        """
        venue, feed = settings.venue, settings.feed
        if venue.kind == "paper":
            raise BadSettings("venue.kind: paper is no remote venue")
        try:
            urls = local_urls(settings.local.url) if venue.kind == "local" else SIGNED[venue.kind]
        except BadInput as error:
            raise BadSettings(f"local.url: {error}") from None
        same = {"testnet": "testnet", "demo": "mainnet", "local": "local"}  # demo trades at mainnet's prices
        return cls(
            kind=venue.kind,
            urls=urls,
            symbols=feed.symbols,
            prefix=venue.prefix,
            leverage=settings.account.leverage,
            margin_mode=settings.account.margin_mode,
            recv_window_ms=venue.recv_window_ms,
            order_timeout_ms=venue.order_timeout_ms,
            reconcile_ms=venue.reconcile_ms,
            max_clock_offset_ms=venue.max_clock_offset_ms,
            max_divergence_frac=venue.max_divergence_frac,
            foreign=venue.foreign,
            foreign_positions=venue.foreign_positions,
            feed_is_venue=feed.kind == same[venue.kind],
            ping_ms=feed.ping_ms,
            pong_timeout_ms=feed.pong_timeout_ms,
            link=LinkPolicy(
                connect_timeout_ms=feed.connect_timeout_ms,
                backoff_ms=feed.backoff_ms,
                max_backoff_ms=feed.max_backoff_ms,
            ),
        )

    @property
    def rest(self) -> RestPolicy:
        """Return the patience of signed requests."""
        return RestPolicy(recv_window_ms=self.recv_window_ms, timeout_ms=self.order_timeout_ms)
