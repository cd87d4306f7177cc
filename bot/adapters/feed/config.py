"""The configuration of a feed, and its metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from bot.bybit.hosts import PUBLIC_WS, local_public_ws
from bot.domain.market import INTERVALS_MS
from bot.settings import FeedSettings

AUTO_TICKERS_UP_TO = 50
"""``quotes = auto`` subscribes tickers for up to this many symbols; each sends ten messages a second."""


@dataclass(frozen=True, kw_only=True)
class FeedConfig:
    """One feed: its source, its bars, its patience. Times are the machine's unless they name a bar.

    Args:
        ws_url: the public stream.
        symbols, interval_ms: which candles.
        bars_before: number of closed candles read as warm-up.
        from_ms: if given, all candles from this start are read instead.
        seen_ms: symbol → the close up to which an earlier process has seen its candles. None of these is told
            again.
        tickers: subscribe quotes and mark prices too.
        healthy_ms: a connection that lives this long counts as a success.
        gap_after_ms: a bar that REST does not show for this long counts as not existing.
        risk_tiers: read the venue's margin tiers too (one request for each symbol).
        refresh_ms: time between two readings of the instruments; 0: they are read once.
        traded_before: symbols that an earlier run traded; one that is not listed any more has ended.
    """

    ws_url: str
    symbols: tuple[str, ...]
    interval_ms: int
    bars_before: int = 0
    from_ms: int | None = None
    seen_ms: Mapping[str, int] = field(default_factory=dict)
    tickers: bool = True
    close_deadline_ms: int = 5_000
    barrier_ms: int = 1_500
    silence_ms: int = 75_000
    connect_timeout_ms: int = 10_000
    ping_ms: int = 15_000
    pong_timeout_ms: int = 8_000
    backoff_ms: int = 500
    max_backoff_ms: int = 60_000
    healthy_ms: int = 30_000
    symbols_per_connection: int = 200
    gap_after_ms: int = 30_000
    risk_tiers: bool = False
    refresh_ms: int = 3_600_000
    traded_before: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        feed: FeedSettings,
        *,
        local_url: str,
        bars_before: int = 0,
        from_ms: int | None = None,
        risk_tiers: bool = False,
    ) -> "FeedConfig":
        """Return the configuration that the settings describe; ``local_url`` is the local exchange's REST."""
        symbols = tuple(sorted(set(feed.symbols)))
        few = len(symbols) <= AUTO_TICKERS_UP_TO
        return cls(
            ws_url=local_public_ws(local_url) if feed.kind == "local" else PUBLIC_WS[feed.kind],
            symbols=symbols,
            interval_ms=INTERVALS_MS[feed.interval],
            bars_before=bars_before,
            from_ms=from_ms,
            tickers=feed.quotes == "tickers" or (feed.quotes == "auto" and few),
            close_deadline_ms=feed.close_deadline_ms,
            barrier_ms=feed.barrier_ms,
            silence_ms=feed.silence_ms,
            connect_timeout_ms=feed.connect_timeout_ms,
            ping_ms=feed.ping_ms,
            pong_timeout_ms=feed.pong_timeout_ms,
            backoff_ms=feed.backoff_ms,
            max_backoff_ms=feed.max_backoff_ms,
            symbols_per_connection=feed.symbols_per_connection,
            risk_tiers=risk_tiers,
        )


@dataclass
class FeedMetrics:
    """Counts of a feed."""

    bars: int = 0
    """Bars emitted, each once."""
    bars_late: int = 0
    """Bars emitted too late to decide on them (warm-up, backfill, after the barrier)."""
    closes_live: int = 0
    """Closes emitted in time."""
    bars_fetched: int = 0
    """Bars that REST brought while the feed was live."""
    rates: int = 0
    gaps: int = 0
    """Gaps emitted: runs of bars that do not exist."""
    repeats: int = 0
    conflicts: int = 0
    """Bars that came twice with different numbers; the first was used."""
    conflicts_lost: int = 0
    """Conflicts in which REST shows the numbers that were not used."""
    bad_messages: int = 0
    bad_bars: int = 0
    reconnects: int = 0
    refusals: int = 0
    """Subscriptions the venue refused."""
    renewals: int = 0
    """Silent topics subscribed again on a live connection."""
    stale: int = 0
    """Symbols silent right now."""
    rest_failures: int = 0
    lag_ms: float = 0.0
    """Time from the latest close to the arrival of its last confirmed candle."""
    lag_max_ms: float = 0.0

    def facts(self) -> dict[str, float]:
        """Return the counts by name."""
        return asdict(self)
