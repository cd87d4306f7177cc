"""Sections that decide what is traded, at which cost, within which limits."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bot.settings.forms import Place, ScheduleText, Section, texts


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
    limit_fills: Literal["through", "queue"] = Field(
        default="through",
        description="through: closed bars fill a limit order once a price goes beyond it; queue: an "
        "estimated queue decides.",
    )
    queue_ahead_ms: int = Field(
        default=60_000,
        ge=0,
        le=86_400_000,
        description="limit_fills = queue: before a new limit order waits what trades in this time, ms.",
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
    params: Annotated[dict[str, str], BeforeValidator(texts)] = Field(
        default={}, description="Its parameters; BOT_STRATEGY__PARAMS__FAST=12 in the environment."
    )


class ModelSettings(Section):
    """Which model forecasts."""

    path: Place | None = Field(default=None, description="Model name or directory; unset: the shipped one.")


class RetrainSettings(Section):
    """How the model in use is fitted again on newer bars, and what it takes to replace it."""

    schedule: ScheduleText = Field(
        default="",
        description="When a daemon does it: daily@03:00, weekly@sun 03:00, 12h, 7d (UTC); empty: never.",
    )
    window_days: int = Field(
        default=180,
        ge=1,
        le=3_650,
        description="Bars of so many days are used, the judged ones included, days.",
    )
    judge_days: int = Field(
        default=14,
        ge=2,
        le=365,
        description="Newest days that candidate and model in use are judged on, days.",
    )
    judge_days_min: int = Field(
        default=5, ge=2, le=365, description="Fewer that the model in use has not seen judge nothing, days."
    )
    promote: Literal["refitted", "judged"] = Field(
        default="refitted",
        description="refitted: fitted again on the judged days, too; judged: the very model that was judged.",
    )
    keep: int = Field(default=5, ge=2, le=100, description="Promoted models that stay for a rollback.")


class DriftSettings(Section):
    """When the market no longer looks like the model's training data, or forecasts no longer come true."""

    on_drift: Literal["reduce", "tell"] = Field(
        default="reduce", description="reduce: no entries until it is gone; tell: only say so."
    )
    half_life_days: float = Field(
        default=14.0, ge=1, le=365, description="After so many days an hour counts half, days."
    )
    min_days: float = Field(
        default=7.0, ge=1, le=365, description="Least evidence that is judged, days of recent hours."
    )
    max_psi: float = Field(
        default=1.25, gt=0, le=100, description="Mean population stability index of the features, no unit."
    )
    max_qlike_excess: float = Field(
        default=0.05,
        gt=0,
        le=100,
        description="QLIKE of the hour's variance above that of har_hour, no unit.",
    )
    max_band_gap_frac: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Distance of the share of outcomes in a 50, 80 or 95 % band from its level, fraction.",
    )
    recover_frac: float = Field(
        default=0.8, gt=0, le=1, description="Drift is gone below this part of a bound, fraction of it."
    )


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
