"""How a run is set up from Python: the keywords that a backtest, a search and a walk-forward share."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from bot.domain.errors import BadUsage
from bot.lab.calling import Time, one_of, path_of, utc_ms
from bot.lab.candles import Source, candles_or_files
from bot.lab.model import Model, model_of
from bot.settings import RiskSettings
from bot.strategy import AnyStrategy

if TYPE_CHECKING:
    from bot.features.fitted import Fitted
    from bot.features.unfitted import Unfitted

Files = str | Path | Sequence[str | Path]


class RunOptions(TypedDict, total=False):
    """Keywords of ``bot.backtest`` that each trial of a search is run with."""

    model: "Model | str | Path | Fitted | Unfitted | Sequence[Fitted | Unfitted] | None"
    start: Time | None
    end: Time | None
    fee_bps: float | None
    slippage_bps: float | None
    equity: float | None
    instrument: str | Path | None
    liquidity: Literal["volume", "full"] | None
    limit_fills: Literal["through", "queue"] | None
    funding: str | Path | None
    form: Literal["step", "bulk", "torch"]
    intrabar: Literal["path", "worst"]
    detail: Files
    mark: Files
    seed: int | None
    limits: Mapping[str, object] | None
    risk: Literal["enforce", "observe"]


def plan_options(
    candles: Source | Sequence[Source],
    strategy: str | type | AnyStrategy | None,
    params: Mapping[str, object],
    given: RunOptions,
) -> dict[str, object]:
    """Return the arguments of ``make_plan``.

    Raises:
        BadUsage: a keyword, a word or a limit that does not exist, or candles that are none.
    """
    unknown = next((name for name in given if name not in RunOptions.__annotations__), None)
    if unknown is not None:
        near = get_close_matches(unknown, RunOptions.__annotations__, n=1)
        hint = f"did you mean {near[0]}?" if near else "arguments of the strategy stand in params"
        raise BadUsage(f"{unknown}: no such argument; {hint}")
    form, intrabar, risk = (
        given.get("form", "step"),
        given.get("intrabar", "path"),
        given.get("risk", "enforce"),
    )
    one_of(form, ("step", "bulk", "torch"), "form")
    one_of(intrabar, ("path", "worst"), "intrabar")
    one_of(risk, ("enforce", "observe"), "risk")
    limits = given.get("limits") or {}
    if not isinstance(limits, Mapping):
        raise BadUsage(f"limits={limits!r}: must be a dict such as {{'max_leverage': 2}}")
    for limit in limits:
        one_of(limit, tuple(RiskSettings.model_fields), "limits")
    instrument, funding = given.get("instrument"), given.get("funding")
    return {
        "data": candles_or_files(candles),
        "strategy": strategy,
        "model": model_of(given.get("model")),
        "param": params,
        "start": utc_ms(given.get("start"), "start"),
        "end": utc_ms(given.get("end"), "end"),
        "fee_bps": given.get("fee_bps"),
        "slippage_bps": given.get("slippage_bps"),
        "equity": given.get("equity"),
        "instrument": None if instrument is None else str(instrument),
        "liquidity": given.get("liquidity"),
        "limit_fills": given.get("limit_fills"),
        "funding": None if funding is None else str(funding),
        "form": form,
        "intrabar": intrabar,
        "detail": _paths(given.get("detail", ()), "detail"),
        "mark": _paths(given.get("mark", ()), "mark"),
        "seed": given.get("seed"),
        "risk": risk,
        "further": {f"risk.{name}": value for name, value in limits.items()},
    }


def unfitted_in(params: Mapping[str, object], model: object) -> str | None:
    """Return the name of an argument that is a model of ``bot.unfitted``, None if there is none."""
    from bot.features.unfitted import Unfitted

    given = model if isinstance(model, list | tuple) else [model]
    named = [*params.items(), *(("model", each) for each in given)]
    return next((name for name, each in named if isinstance(each, Unfitted)), None)


def refuse_unfitted(params: Mapping[str, object], model: object) -> None:
    """Refuse a model that is not fitted yet.

    Raises:
        BadUsage: names the argument.
    """
    name = unfitted_in(params, model)
    if name is not None:
        raise BadUsage(f"{name}: was not fitted; give what bot.fit returns (only bot.walkforward fits it)")


def _paths(given: object, name: str) -> list[Path]:
    return [path_of(each, name) for each in (given if isinstance(given, list | tuple) else [given])]
