"""The tree: every section and field with its type, unit, bounds and default."""

import hashlib
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic import PrivateAttr as Private
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.bybit.hosts import Network, check_base_url
from bot.domain import money
from bot.domain.addresses import Address
from bot.domain.alerts import Kind
from bot.domain.errors import BadInput
from bot.domain.market import INTERVALS_MS
from bot.domain.symbols import spelled
from bot.settings.state_dir import PREFIX, STATE_DIR

DEFAULT = "default"
HIDDEN = "(hidden)"
MIN_SECRET_CHARS = 8
"""A shorter text is no secret that a log could hide."""


def _listed(value: object) -> object:
    """A list from one text: ``BTCUSDT,ETHUSDT`` or JSON."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",")]


def _texts(value: object) -> object:
    """Parameters as texts, whatever TOML made of them; the strategy's own annotations give the type."""
    if not isinstance(value, dict):
        return value
    return {k: json.dumps(v) if isinstance(v, bool) else str(v) for k, v in value.items()}


def _allowed_url(value: str) -> str:
    try:
        return check_base_url(value)
    except BadInput as error:
        raise ValueError(str(error)) from None


def _long_enough(value: SecretStr, chars_max: int = 256) -> SecretStr:
    if not 8 <= len(value.get_secret_value()) <= chars_max:
        raise ValueError(f"must have 8 to {chars_max} characters")
    return value


def _addressed(value: object) -> object:
    """Addresses from one text: JSON, or separated by blanks; an address may hold a comma."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if text.startswith("[") else text.split()


def _known_address(value: SecretStr) -> SecretStr:
    try:
        Address.of(value.get_secret_value())
    except BadInput as error:
        raise ValueError(str(error)) from None
    return _long_enough(value, 2_000)


def _known_interval(value: str) -> str:
    if value not in INTERVALS_MS:
        raise ValueError(f"must be one of {', '.join(INTERVALS_MS)}")
    return value


def check_place(value: Path) -> Path:
    """Return a path of a setting. Raises ValueError for one that climbs out of a directory by ``..``."""
    if not str(value).isprintable():
        raise ValueError("must be a path without control characters")
    if ".." in value.parts:
        raise ValueError("must not lead out by '..'; write the whole path")
    return value


def _symbol(value: str) -> str:
    symbol = spelled(value)
    if not _SYMBOL.fullmatch(symbol):
        raise ValueError("must be a symbol of Bybit, such as BTCUSDT")
    return symbol


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.-]{0,39}")
Symbol = Annotated[str, AfterValidator(_symbol)]
"""A symbol, however people write it: ``btcusdt`` and ``BTC/USDT`` are ``BTCUSDT``."""
Secret = Annotated[SecretStr, AfterValidator(_long_enough)]
SecretAddress = Annotated[SecretStr, AfterValidator(_known_address)]
BaseUrl = Annotated[str, AfterValidator(_allowed_url)]
Place = Annotated[Path, AfterValidator(check_place)]
"""A file or directory: below the working directory, or a whole path that its user wrote out."""


class Section(BaseModel):
    """One table of the file. Frozen; refuses keys it does not know; never repeats an input in an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, allow_inf_nan=False
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


class CostsSettings(Section):
    """What trading costs where the venue is simulated (backtest, paper)."""

    taker_bps: Decimal = Field(
        default=Decimal("5.5"), ge=0, le=1000, description="Taker fee, bps of the value."
    )
    maker_bps: Decimal = Field(
        default=Decimal(2), ge=-100, le=1000, description="Maker fee, bps; negative is a rebate."
    )
    slippage_bps: Decimal | None = Field(
        default=None,
        ge=0,
        lt=5000,
        description="Half the spread that a taker pays, bps; unset: the symbol's measured one.",
    )
    impact_frac: float = Field(
        default=1.0, ge=0, lt=100, description="Y of the square-root impact law, of order 1; 0 = no impact."
    )
    liquidity: Literal["volume", "full"] = Field(
        default="volume",
        description="volume: a bar fills at most participation_frac of its volume; full: anything.",
    )
    participation_frac: float = Field(
        default=0.1, gt=0, le=1, description="Most of a bar's volume that our orders may take together."
    )
    latency_ms: int = Field(
        default=0, ge=0, le=60_000, description="From a decision to its arrival at the venue, ms."
    )


class AccountSettings(Section):
    """The simulated account."""

    equity_quote: Decimal = Field(
        default=Decimal(10_000), gt=0, le=Decimal("1e12"), description="Start, in quote currency (USDT)."
    )
    leverage: Decimal = Field(
        default=Decimal(10), ge=1, le=100, description="Leverage setting of every symbol."
    )
    margin_mode: Literal["cross", "isolated"] = Field(
        default="cross", description="How positions share margin."
    )


class RiskSettings(Section):
    """What may be risked; every limit is inclusive. Exits are never held back by a limit on entries."""

    max_order_notional_quote: Decimal = Field(
        default=Decimal(50_000), ge=0, description="Value of one entry, quote."
    )
    max_position_notional_quote: Decimal = Field(
        default=Decimal(50_000),
        ge=0,
        description="Value of one symbol's position with its open orders filled, quote.",
    )
    max_total_notional_quote: Decimal = Field(
        default=Decimal(100_000), ge=0, description="The same summed over symbols, quote."
    )
    max_leverage: Decimal = Field(default=Decimal(3), ge=0, le=100, description="That sum over equity.")
    price_collar_frac: Decimal = Field(
        default=Decimal("0.05"),
        ge=0,
        le=1,
        description="Furthest an entry's price may lie from the mark, fraction.",
    )
    max_slippage_bps: int = Field(
        default=100,
        ge=0,
        le=1000,
        description="Furthest a market entry may fill from the best price, bps; 0 = the venue's own bound.",
    )
    max_daily_notional_quote: Decimal = Field(
        default=Decimal(0), ge=0, description="Value of all entries of one UTC day, quote; 0 = no limit."
    )
    max_signal_age_ms: int = Field(
        default=15_000,
        ge=0,
        le=3_600_000,
        description="From the close that was decided on until the entry leaves, ms.",
    )
    max_data_age_ms: int = Field(
        default=90_000, ge=0, le=86_400_000, description="Silence of a symbol's market data, ms."
    )
    max_orders_per_minute: int = Field(default=60, ge=0, le=6000, description="Entries over all symbols.")
    max_consecutive_rejects: int = Field(
        default=5, ge=0, le=1000, description="The venue's refusals in a row before the breaker halts."
    )
    reject_window_ms: int = Field(
        default=3_600_000, ge=1_000, le=604_800_000, description="How long a refusal counts, ms."
    )
    max_daily_loss_frac: Decimal = Field(
        default=Decimal("0.05"), ge=0, le=1, description="Loss since 00:00 UTC, fraction of the equity then."
    )
    on_daily_loss: Literal["reduce", "halt"] = Field(
        default="reduce", description="reduce: no entries until the next UTC day; halt: until `bot unhalt`."
    )
    max_drawdown_frac: Decimal = Field(
        default=Decimal("0.2"),
        ge=0,
        le=1,
        description="Loss from the highest equity, fraction; beyond it: halt.",
    )
    max_consecutive_losses: int = Field(
        default=0, ge=0, le=1000, description="Losing trades in a row that start a cooldown; 0 = none."
    )
    loss_cooldown_ms: int = Field(
        default=3_600_000, ge=0, le=604_800_000, description="How long entries wait after such a streak, ms."
    )
    unknown_order_reduce_ms: int = Field(
        default=30_000, ge=0, le=3_600_000, description="Fate of an order unknown for longer: no entries, ms."
    )
    unknown_order_halt_ms: int = Field(
        default=300_000, ge=0, le=86_400_000, description="Fate of an order unknown for longer: halt, ms."
    )
    on_halt: Literal["hold", "flatten"] = Field(
        default="hold", description="What becomes of positions at a halt; protective stops stay either way."
    )


class StrategySettings(Section):
    """Which strategy decides."""

    name: str = Field(
        default="performer",
        min_length=1,
        description="A shipped name (performer, vol_target, ema_cross, …) or mypkg.module:Class.",
    )
    params: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(
        default={}, description="Its parameters; BOT_STRATEGY__PARAMS__FAST=12 in the environment."
    )


class ModelSettings(Section):
    """Which model forecasts."""

    path: Place | None = Field(default=None, description="A model directory; unset: the one that ships.")


class ExecutionSettings(Section):
    """How an entry or exit becomes orders."""

    policy: Literal["taker", "maker"] = Field(
        default="taker",
        description="taker: market orders; maker: PostOnly at the touch first, a taker at the deadline.",
    )
    reprice_ms: int = Field(
        default=2_000, ge=100, le=600_000, description="maker: least time between two prices, ms."
    )
    max_reprices: int = Field(default=5, ge=0, le=100, description="maker: new prices before only waiting.")
    deadline_ms: int = Field(
        default=20_000, ge=0, le=3_600_000, description="maker: what is left is then taken at the market, ms."
    )


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
    symbols: Annotated[tuple[Symbol, ...], BeforeValidator(_listed), AfterValidator(_once)] = Field(
        default=("BTCUSDT",),
        min_length=1,
        max_length=1000,
        description="Linear perpetuals; BTCUSDT,ETHUSDT in the environment.",
    )
    interval: Annotated[str, AfterValidator(_known_interval)] = Field(default="5m", description="Bar length.")
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
        description="Stop of entries that name none, from their price; unset: 0.1 at remote venues.",
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

    urls: Annotated[tuple[SecretAddress, ...], BeforeValidator(_addressed), Field(max_length=20)] = Field(
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
    events: Annotated[tuple[Kind, ...], BeforeValidator(_listed)] = Field(
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

    network: Network = Field(
        default="mainnet", description="Whose candles; testnet prices are not the market."
    )
    base_url: BaseUrl | None = Field(
        default=None,
        description="Another address of the same data: https to a Bybit host, or http to 127.0.0.1.",
    )
    requests_per_second: float = Field(
        default=10.0, gt=0, le=100, description="Bybit allows 120 per address."
    )
    max_retries: int = Field(
        default=6, ge=0, le=20, description="Attempts after the first, for each request."
    )
    timeout_ms: int = Field(default=10_000, ge=100, le=120_000, description="For one answer, ms.")


class Settings(BaseSettings):
    """All settings. Make one with ``load``; the constructor alone reads neither files nor environment."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_nested_max_split=2,  # a section, a key, and in strategy.params a name that may hold "__" itself
        enable_decoding=False,  # lists come as BTCUSDT,ETHUSDT too; ``_listed`` reads both forms
        dotenv_filtering="only_existing",
    )

    state_dir: Place = Field(
        default=STATE_DIR, description="Everything the program writes: journals, reports, locks."
    )
    data_dir: Place = Field(default=Path(".data/candles"), description="Candle and funding files.")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of every random choice.")
    log: LogSettings = LogSettings()
    costs: CostsSettings = CostsSettings()
    account: AccountSettings = AccountSettings()
    risk: RiskSettings = RiskSettings()
    strategy: StrategySettings = StrategySettings()
    model: ModelSettings = ModelSettings()
    execution: ExecutionSettings = ExecutionSettings()
    local: LocalSettings = LocalSettings()
    feed: FeedSettings = FeedSettings()
    venue: VenueSettings = VenueSettings()
    daemon: DaemonSettings = DaemonSettings()
    journal: JournalSettings = JournalSettings()
    notify: NotifySettings = NotifySettings()
    web: WebSettings = WebSettings()
    fetch: FetchSettings = FetchSettings()

    _origins: dict[str, str] = Private(default_factory=dict)
    _notes: list[str] = Private(default_factory=list)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the constructor take its arguments alone; ``load`` names the other sources."""
        return (init_settings,)

    @classmethod
    def from_sources(cls, *sources: PydanticBaseSettingsSource) -> "Settings":
        """Merge ``sources``, the strongest first, and check the result."""
        return cls(_build_sources=(sources, {}))  # type: ignore[call-arg]  # mypy sees the fields alone

    @property
    def hash(self) -> str:
        """Names these settings: sha256 of every value but the secrets; 5.50 and 5.5 are the same."""
        values = {key: _canonical(value) for key, value in _leaves(self) if key not in SECRETS}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def effective(self) -> list[tuple[str, object, str]]:
        """Every (dotted key, value, origin); secrets are hidden."""
        return [
            (key, HIDDEN if key in SECRETS and value else plain(value), self._origin(key))
            for key, value in _leaves(self)
        ]

    def notes(self) -> tuple[str, ...]:
        """What the user should know about where values come from; none of it keeps a run from starting."""
        return tuple(self._notes)

    def secrets(self) -> list[str]:
        """The secret values themselves, for the redactor; of an address also its parts."""
        venue = (self.venue.api_key, self.venue.api_secret)
        whole = [value.get_secret_value() for value in venue if value is not None]
        parts = [part for address in self.notify.addresses() for part in address.secrets()]
        return whole + [part for part in parts if len(part) >= MIN_SECRET_CHARS]

    def _origin(self, key: str) -> str:
        inside = (origin for name, origin in self._origins.items() if name.startswith(key + "."))
        return self._origins.get(key) or next(inside, DEFAULT)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _fields(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


FIELDS: dict[str, FieldInfo] = dict(_fields(Settings))
"""Dotted key → its pydantic field."""
TABLES = frozenset(key.rpartition(".")[0] for key in FIELDS if "." in key)
"""The sections' names."""
VENUE_SECRETS = frozenset({"venue.api_key", "venue.api_secret"})
SECRETS = VENUE_SECRETS | {"notify.urls"}
SECRET_FILES = {
    "venue.api_key": "venue.api_key_file",
    "venue.api_secret": "venue.api_key_file",
    "notify.urls": "notify.urls_file",
}
"""Secret → the setting that names a private file for it."""
LOCAL_KEYS = {"api_key": "test-key", "api_secret": "test-secret"}
"""Key and secret of ``bot exchange``."""


def plain(value: object) -> object:
    """JSON's form of a value; a Decimal stays one."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _canonical(value: object) -> object:
    value = plain(value)
    return money.plain(value) if isinstance(value, Decimal) else value
