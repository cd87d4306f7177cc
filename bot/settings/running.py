"""Sections of the running program: where candles come from, where orders go, and what is written and told."""

from decimal import Decimal
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from bot.domain.addresses import Address
from bot.domain.alerts import Kind
from bot.settings.forms import (
    BaseUrl,
    Place,
    Secret,
    SecretAddress,
    Section,
    Symbol,
    addressed,
    known_interval,
    listed,
    once,
)


class LogSettings(Section):
    """What the program says on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line shown."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: columns on a terminal, else JSON."
    )
    file: Place | None = Field(
        default=None, description="The daemon writes its log there as JSON, too (mode 0600)."
    )
    max_bytes: int = Field(
        default=10 << 20,
        ge=1 << 12,
        le=1 << 40,
        description="A larger file is moved aside: FILE.1, FILE.2, ….",
    )
    keep: int = Field(default=5, ge=0, le=1_000, description="Files moved aside that stay.")


class LocalSettings(Section):
    """The exchange on this machine (`bot exchange`), and where the daemon finds it."""

    url: BaseUrl = Field(
        default="http://127.0.0.1:8650", description="Its address; websockets are beside it."
    )


class FeedSettings(Section):
    """Where candles come from while the daemon runs. Times of the network are wall time."""

    kind: Literal["mainnet", "testnet", "local"] = Field(
        default="mainnet",
        description="local: `bot exchange` on this machine. Public data only, never signed.",
    )
    symbols: Annotated[tuple[Symbol, ...], BeforeValidator(listed), AfterValidator(once)] = Field(
        default=("BTCUSDT",),
        min_length=1,
        max_length=1000,
        description="Linear perpetuals; BTCUSDT,ETHUSDT in the environment.",
    )
    interval: Annotated[str, AfterValidator(known_interval)] = Field(default="5m", description="Bar length.")
    quotes: Literal["auto", "tickers", "none"] = Field(
        default="auto",
        description="Bid, ask, mark from tickers; auto: up to 50 symbols; none: marks are closes.",
    )
    close_deadline_ms: int = Field(
        default=5_000,
        ge=100,
        le=60_000,
        description="REST is asked for a bar not confirmed so long after its close, ms.",
    )
    barrier_ms: int = Field(
        default=1_500,
        ge=0,
        le=60_000,
        description="A close is decided so long after it at the latest; later symbols skip it, ms.",
    )
    silence_ms: int = Field(
        default=75_000, ge=1_000, le=600_000, description="A candle topic silent for longer is stale, ms."
    )
    connect_timeout_ms: int = Field(
        default=10_000, ge=100, le=120_000, description="For a connection and for acknowledged topics, ms."
    )
    ping_ms: int = Field(default=15_000, ge=100, le=60_000, description="Between two pings, ms.")
    pong_timeout_ms: int = Field(
        default=8_000, ge=100, le=60_000, description="A pong later than this means a dead line, ms."
    )
    backoff_ms: int = Field(
        default=500,
        ge=10,
        le=60_000,
        description="First bound of the random wait before a reconnect; doubles, ms.",
    )
    max_backoff_ms: int = Field(default=60_000, ge=10, le=600_000, description="Its last bound, ms.")
    symbols_per_connection: int = Field(
        default=200, ge=1, le=1000, description="Symbols that share one websocket."
    )


class VenueSettings(Section):
    """Where orders go. There is no venue that trades real money. Times of the network are wall time."""

    kind: Literal["paper", "testnet", "demo", "local"] = Field(
        default="paper", description="paper: simulated in this process; local: `bot exchange`."
    )
    api_key: Secret | None = Field(default=None, description="Environment only: BOT_VENUE__API_KEY.")
    api_secret: Secret | None = Field(default=None, description="Environment only: BOT_VENUE__API_SECRET.")
    api_key_file: Place | None = Field(
        default=None,
        description="TOML file with api_key and api_secret, readable by its owner alone (chmod 600).",
    )
    fills: Literal["quotes", "bars"] = Field(
        default="quotes",
        description="paper: filled at the live bid and ask, or from closed bars as a backtest does.",
    )
    prefix: str = Field(
        default="bot",
        pattern=r"^[A-Za-z0-9_]{1,10}$",
        description="First part of every order id; one account, one prefix a bot.",
    )
    recv_window_ms: int = Field(
        default=5_000, ge=100, le=10_000, description="An order older than this on arrival is refused, ms."
    )
    order_timeout_ms: int = Field(
        default=5_000, ge=100, le=60_000, description="Without an answer the order counts as unknown, ms."
    )
    reconcile_ms: int = Field(
        default=60_000,
        ge=1_000,
        le=3_600_000,
        description="Between two readings of the account, ms.",
    )
    max_clock_offset_ms: int = Field(
        default=500,
        ge=10,
        le=5_000,
        description="Furthest the corrected clock may be from the venue's, ms.",
    )
    max_divergence_frac: Decimal = Field(
        default=Decimal("0.03"),
        gt=0,
        le=1,
        description="How far the venue's price may stray from its usual distance to the feed's.",
    )
    protective_stop_frac: Decimal | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Stop of entries that name none, from their price; unset: 0.1 at remote venues, and in "
        "isolated margin at most 0.4 / account.leverage.",
    )
    foreign: Literal["count", "refuse"] = Field(
        default="count",
        description="Orders and positions not ours: count them as risk, or refuse to start.",
    )
    foreign_positions: Literal["hold", "adopt", "refuse"] = Field(
        default="hold",
        description="Position not ours in a traded symbol: no entries there, make it ours, or do not start.",
    )


class DaemonSettings(Section):
    """How the daemon starts, stops and speaks."""

    on_stop: Literal["hold", "flatten"] = Field(
        default="hold", description="What SIGTERM does with positions; protective stops stay either way."
    )
    stop_timeout_ms: int = Field(
        default=8_000, ge=500, le=9_500, description="A clean stop takes no longer, ms."
    )
    max_step_ms: int = Field(
        default=2_000, ge=10, le=60_000, description="A longer step of the engine loses its entries, ms."
    )
    restarts_max: int = Field(
        default=5, ge=1, le=1000, description="Starts within ten minutes before the bot halts itself."
    )


class JournalSettings(Section):
    """What the bot keeps of each run, in the state directory."""

    quiet_every_ms: int = Field(
        default=5_000,
        ge=0,
        le=60_000,
        description="Between two prices of a symbol without position and order, ms; 0 keeps all.",
    )
    segment_bytes: int = Field(
        default=8 << 20,
        ge=1 << 12,
        le=1 << 30,
        description="A segment is closed, with a snapshot, after so many bytes.",
    )
    keep_bytes: int = Field(
        default=1 << 30,
        ge=1 << 20,
        le=1 << 40,
        description="Of an account that can be replayed; market events of older segments go.",
    )
    keep_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Market events of segments older than this go, too; unset: only keep_bytes counts.",
    )


class NotifySettings(Section):
    """Messages to people, through apprise; without an address there are none."""

    urls: Annotated[tuple[SecretAddress, ...], BeforeValidator(addressed), Field(max_length=20)] = Field(
        default=(),
        description="Environment only: BOT_NOTIFY__URLS='tgram://TOKEN/CHAT error=mailto://…'.",
    )
    urls_file: Place | None = Field(
        default=None,
        description="File with one address a line, readable by its owner alone (chmod 600).",
    )
    level: Literal["info", "warning", "error"] = Field(
        default="info", description="Least severe alert that is sent."
    )
    events: Annotated[tuple[Kind, ...], BeforeValidator(listed)] = Field(
        default=tuple(kind for kind in get_args(Kind) if kind != "refusal"),
        description=f"Kinds of alerts that are sent, of {', '.join(get_args(Kind))}.",
    )
    name: str = Field(
        default="",
        max_length=40,
        description="Begins each message, where several bots write to one place; empty: venue and account.",
    )
    per_minute: int = Field(
        default=10, ge=1, le=60, description="Messages to one address; what comes beyond is told together."
    )
    waiting_max: int = Field(
        default=500, ge=10, le=10_000, description="Alerts that may wait for one address; more are dropped."
    )
    retry_ms: int = Field(
        default=2_000, ge=10, le=60_000, description="Wait after a failed message; doubles, ms."
    )
    max_retry_ms: int = Field(default=300_000, ge=10, le=3_600_000, description="Longest such wait, ms.")

    def addresses(self) -> list[Address]:
        """Return the addresses, with what each of them gets."""
        return [Address.of(url.get_secret_value()) for url in self.urls]


class WebSettings(Section):
    """The page in the browser, and metrics: served by a process of its own."""

    port: int | None = Field(
        default=None, ge=0, le=65_535, description="Its port; 0: any free one; unset: the daemon has no page."
    )
    host: str = Field(
        default="127.0.0.1",
        pattern=r"^[0-9A-Za-z.:_-]{1,253}$",
        description="Where it listens; beyond this machine needs tls_cert and tls_key, or --web-insecure.",
    )
    token_file: Place | None = Field(
        default=None, description="Its secret, made if it is missing; unset: web-token in state_dir."
    )
    tls_cert: Place | None = Field(default=None, description="Certificate chain (PEM) for https.")
    tls_key: Place | None = Field(default=None, description="Private key (PEM) of tls_cert.")


class FetchSettings(Section):
    """Downloads from the exchange's public REST."""

    network: Literal["mainnet", "testnet", "local"] = Field(
        default="mainnet",
        description="Whose candles; testnet prices are not the market. local: `bot exchange` at local.url.",
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="Another address of a network's data: https to a Bybit host, or http to 127.0.0.1. Not "
        "of local.",
    )
    requests_per_second: float = Field(
        default=10.0, gt=0, le=100, description="Bybit allows 120 per address."
    )
    max_retries: int = Field(
        default=6, ge=0, le=20, description="Attempts after the first, for each request."
    )
    timeout_ms: int = Field(default=10_000, ge=100, le=120_000, description="For one answer, ms.")
