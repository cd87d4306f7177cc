"""Chooses and checks everything of a live run that needs no network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from bot.app.inputs import choose_strategy, require_fields, strategy_model
from bot.app.page import check_web
from bot.app.venue.account import check_keys
from bot.app.wiring import WARMUP_BARS, make_forecasters
from bot.domain.errors import BadModel, BadSettings, BadUsage
from bot.domain.market import INTERVALS_MS, interval_name
from bot.settings import Settings
from bot.settings.models import model_for
from bot.strategy import build
from bot.strategy.declared import check_declared, declared_warmup_bars
from bot.strategy.indicators import indicator_warmup_bars, indicators_of

if TYPE_CHECKING:
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import OwnModel

PAIRS: Mapping[str, tuple[str, ...]] = {
    "mainnet": ("paper", "testnet", "demo"),
    "testnet": ("paper", "testnet"),
    "local": ("paper", "local"),
}
"""Feed → the venues that may be traded on its candles."""
_REMOTE_STOP_FRAC = Decimal("0.1")


@dataclass(frozen=True, kw_only=True)
class LivePlan:
    """Everything of a live run that needs no network.

    ``from_ms`` is the first candle of the warm-up. ``fresh`` begins a new account beside the old journal.
    ``web_insecure`` allows a page without TLS that other machines can reach. ``names_model`` False: orders do
    not carry the model's hash; ``watches_drift`` False: nobody measures its drift. Both as in journals of
    older programs.
    """

    settings: Settings
    strategy: type
    strategy_name: str
    params: Mapping[str, str]
    model: "Checkpoint | OwnModel | None"
    fresh: bool = False
    web_insecure: bool = False
    from_ms: int | None = None
    duration_s: float | None = None
    bars_max: int | None = None
    base: "Checkpoint | None" = None
    """The model that the settings name, if ``model`` is one that retraining has put in its place."""
    names_model: bool = True
    watches_drift: bool = True

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order of their bars in one close."""
        return tuple(sorted(set(self.settings.feed.symbols)))

    @property
    def interval_ms(self) -> int:
        """Bar length."""
        return INTERVALS_MS[self.settings.feed.interval]

    @property
    def checkpoint(self) -> "Checkpoint | None":
        """The model, if it was read from a checkpoint; None without one, and for one of the user's own."""
        if self.model is None:
            return None
        from bot.adapters.model.own import OwnModel

        return None if isinstance(self.model, OwnModel) else self.model

    @property
    def warmup_bars(self) -> int:
        """Closed candles before the present that are read first."""
        model_bars = self.model.warmup_bars if self.model is not None else 0
        declared = declared_warmup_bars(self.strategy, self.interval_ms)
        indicators = indicator_warmup_bars(build(self.strategy, self.params))
        return max(WARMUP_BARS, model_bars, declared, indicators)


def make_live_plan(
    settings: Settings,
    *,
    strategy: str | None,
    params: Mapping[str, str],
    from_ms: int | None = None,
    duration_s: float | None = None,
    bars_max: int | None = None,
    fresh: bool = False,
    web_insecure: bool = False,
) -> LivePlan:
    """Choose and check everything; compile the model, which takes seconds on its first run on a machine.

    Raises:
        BotError: a wrong pair, strategy, model or key; its class gives the exit code.
    """
    check_pair(settings)
    plan = plan_of(settings, strategy=strategy or settings.strategy.name, params=params)
    if plan.model is not None:
        make_forecasters(plan.model, plan.symbols)
    _check_retrain(plan)
    if settings.web.port is not None:
        check_web(settings.web, insecure=web_insecure)
    plan = replace(plan, web_insecure=web_insecure)
    return replace(plan, fresh=fresh, from_ms=from_ms, duration_s=duration_s, bars_max=bars_max)


def plan_of(settings: Settings, *, strategy: str, params: Mapping[str, str]) -> LivePlan:
    """Choose strategy and model; refuse a model for other bars.

    Raises:
        BotError: a wrong strategy, parameter or model.
    """
    cls = choose_strategy(strategy)
    own = settings.strategy.params if strategy == settings.strategy.name else {}
    given = {**own, **params}
    interval_ms = INTERVALS_MS[settings.feed.interval]
    made = build(cls, given)  # what cannot be is found before anything is connected
    check_declared(made, interval_ms)
    indicators_of(made)
    model = strategy_model(cls, settings.model.path) if getattr(cls, "needs_forecast", False) else None
    if model is not None:
        require_fields(model, made, strategy)
    if model is not None and model.interval_ms != interval_ms:
        raise BadModel(
            f"feed.interval is {settings.feed.interval}, but the model is for "
            f"{interval_name(model.interval_ms)} bars; {model_for(interval_ms)}, or set --interval "
            f"{interval_name(model.interval_ms)}"
        )
    return LivePlan(settings=settings, strategy=cls, strategy_name=strategy, params=given, model=model)


def _check_retrain(plan: LivePlan) -> None:
    """Refuse a schedule of retrainings where there is no model that can be retrained.

    Raises:
        BadUsage: the strategy has none, or one of the user's own.
    """
    schedule = plan.settings.retrain.schedule
    if not schedule or plan.checkpoint is not None:
        return
    why = "uses no model" if plan.model is None else "has a model of its own, which only your code can fit"
    raise BadUsage(
        f"--retrain (retrain.schedule) {schedule!r}: strategy {plan.strategy_name} {why}; leave the schedule "
        "out, or give --retrain ''"
    )


def check_pair(settings: Settings) -> None:
    """Refuse a feed whose candles do not fit the venue, and a venue without keys.

    Raises:
        BadUsage: the pair does not fit.
        BadSettings: keys are missing, a stop can never act, or the feed has no quotes for the fills.
    """
    feed, venue = settings.feed.kind, settings.venue.kind
    if venue not in PAIRS[feed]:
        raise BadUsage(f"--feed {feed} goes with --venue {' or '.join(PAIRS[feed])}, not with {venue}")
    if venue != "paper":
        check_keys(settings)
        _check_stop(settings)
    if venue == "paper" and settings.venue.fills == "quotes" and not _has_tickers(settings):
        raise BadSettings("venue.fills: quotes need feed.quotes = tickers; set that, or venue.fills = bars")
    if venue == "paper" and settings.venue.fills == "quotes" and settings.costs.limit_fills == "queue":
        raise BadSettings(
            "costs.limit_fills: queue needs fills from bars; set venue.fills = bars, or limit_fills = through"
        )


def stop_frac_of(settings: Settings) -> Decimal | None:
    """Return the distance of the stop of entries that name none, as a fraction of their price; None: no stop.

    An isolated position is liquidated before its price has moved by 1 / leverage; at the highest leverage of
    a contract maintenance takes half of that way. The stop that nobody has set acts before.
    """
    account, venue = settings.account, settings.venue
    if venue.protective_stop_frac is not None or venue.kind == "paper":
        return venue.protective_stop_frac or None
    if account.margin_mode == "cross":
        return _REMOTE_STOP_FRAC
    return min(_REMOTE_STOP_FRAC, Decimal("0.4") / account.leverage)


def _check_stop(settings: Settings) -> None:
    """Refuse a stop that can never act.

    Raises:
        BadSettings: an isolated position is liquidated before its price comes to the stop.
    """
    account, frac = settings.account, settings.venue.protective_stop_frac
    if account.margin_mode == "isolated" and frac is not None and frac * account.leverage >= 1:
        raise BadSettings(
            f"venue.protective_stop_frac: a stop {frac} away never acts: in isolated margin at leverage "
            f"{account.leverage} (account.leverage) a position is liquidated before; lower one of them"
        )


def _has_tickers(settings: Settings) -> bool:
    from bot.adapters.feed.config import AUTO_TICKERS_UP_TO

    few = len(settings.feed.symbols) <= AUTO_TICKERS_UP_TO
    return settings.feed.quotes == "tickers" or (settings.feed.quotes == "auto" and few)
