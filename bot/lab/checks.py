"""``check_lookahead`` and ``check_warmup``: ``bot check`` as functions, also for a class of a notebook."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.app.checks import lookahead, warmup
from bot.app.checks.lookahead import Finding, Lookahead
from bot.app.checks.running import LOOKAHEAD_BARS, WARMUP_CHECK_BARS, bars_for, choose, cuts_for, read_sources
from bot.app.checks.subjects import Subject
from bot.app.checks.warmup import Warmup
from bot.domain.errors import BadUsage
from bot.domain.words import counted
from bot.lab.calling import context_of, in_python, one_line
from bot.lab.candles import Source, candles_or_files
from bot.lab.model import Model, model_of
from bot.lab.options import refuse_unfitted
from bot.service.moments import minute_cell

if TYPE_CHECKING:
    import pyarrow as pa

    from bot.app.checks.copies import Original
    from bot.features.fitted import Fitted

_SHOWN = 8
"""Changed values of a finding that a notebook shows."""
_FINDINGS = 4


@one_line
def check_lookahead(
    candles: Source | Sequence[Source],
    strategy: str | type | None = None,
    *,
    params: Mapping[str, object] | None = None,
    model: "Model | str | Path | Fitted | Sequence[Fitted] | None" = None,
    features: str | Callable[..., object] | None = None,
    instrument: str | Path | None = None,
    cuts: int | None = None,
    last_bars: int | None = None,
    seed: int = 0,
    config: str | Path | None = None,
    **parameters: object,
) -> "CheckResult":
    """Change the future at several closes, and return what changed before them.

    ``bot.check_lookahead(candles, Breakout, bars=36).clean``, ``bot.check_lookahead(candles, features=mine)``

    A strategy (its targets, orders and forecasts), a model (features and forecasts), or a function of candles
    runs on copies whose later bars are gone, three times as high, or a third: the checks of ``bot check
    lookahead``. A clean result is no proof. What a class knows from elsewhere, such as a table of the
    notebook, is not changed; the notes name such tables.

    Args:
        candles: of ``read_candles``, or files; a list checks several symbols on one account.
        strategy: a class, the name of a shipped one, or ``path/file.py:Class``. Default: the settings'.
        params: arguments of the strategy's constructor, for names that this function has itself.
        model: checked alone if no strategy is given, else used by the strategy. Default: the shipped one.
        features: a function of candles that returns one row a bar, or ``path/file.py:function``; checked
            alone.
        instrument: a file of rules, or ``exact`` for no steps and minima. Default: the shipped rules.
        cuts: closes to change the future at. Default: 16; of features 40, with a model 6.
        last_bars: last bars to read, 60 or more. Default: enough.
        seed: of the other futures.
        config: a settings file, as ``bot -c FILE``.
        parameters: arguments of the strategy's constructor.

    Raises:
        BadUsage: arguments that name nothing or contradict each other.
        TooFewBars: too few candles to cut.
        StrategyFailed: the strategy raised on the candles as they are.
    """
    given = {**(params or {}), **parameters}
    subject = _subject(strategy, given, model, features, instrument, config)
    _at_least("cuts", cuts, 1)
    sources = _sources(candles, subject, last_bars, LOOKAHEAD_BARS)
    chosen = cuts_for(subject) if cuts is None else cuts
    return CheckResult(lookahead.check_lookahead(subject, sources, cuts=chosen, seed=seed))


@one_line
def check_warmup(
    candles: Source | Sequence[Source],
    strategy: str | type | None = None,
    *,
    params: Mapping[str, object] | None = None,
    model: "Model | str | Path | Fitted | Sequence[Fitted] | None" = None,
    features: str | Callable[..., object] | None = None,
    instrument: str | Path | None = None,
    starts: int = 3,
    tolerance: float | None = None,
    last_bars: int | None = None,
    config: str | Path | None = None,
    **parameters: object,
) -> "CheckResult":
    """Cut the beginning of the history, and return after how many bars results no longer depend on it.

    ``bot.check_warmup(candles, Breakout, bars=36).numbers["needed_bars"]``

    Compares this with the bars that a run reads before ``start``, as ``bot check warmup`` does. A clean
    result is no proof.

    Args:
        candles: of ``read_candles``, or files; a list checks several symbols on one account.
        strategy: a class, the name of a shipped one, or ``path/file.py:Class``. Default: the settings'.
        params: arguments of the strategy's constructor, for names that this function has itself.
        model: checked alone if no strategy is given, else used by the strategy. Default: the shipped one.
        features: a function of candles that returns one row a bar, or ``path/file.py:function``; checked
            alone.
        instrument: a file of rules, or ``exact`` for no steps and minima. Default: the shipped rules.
        starts: bars at which the history is begun.
        tolerance: relative difference that counts as none, above 0 and at most 1. Default: 1e-6; with a
            model's forecasts 0.01.
        last_bars: last bars to read, 60 or more. Default: enough.
        config: a settings file, as ``bot -c FILE``.
        parameters: arguments of the strategy's constructor.

    Raises:
        BadUsage: arguments that name nothing or contradict each other.
        TooFewBars: too few candles to begin later.
        StrategyFailed: the strategy raised on the candles as they are.
    """
    given = {**(params or {}), **parameters}
    subject = _subject(strategy, given, model, features, instrument, config)
    _at_least("starts", starts, 1)
    if tolerance is not None and not 0.0 < tolerance <= 1.0:
        raise BadUsage(f"tolerance={tolerance!r}: must be above 0 and at most 1")
    sources = _sources(candles, subject, last_bars, WARMUP_CHECK_BARS)
    return CheckResult(warmup.check_warmup(subject, sources, starts=starts, tolerance=tolerance))


def _subject(
    strategy: object,
    params: Mapping[str, object],
    model: object,
    features: str | Callable[..., object] | None,
    instrument: str | Path | None,
    config: str | Path | None,
) -> Subject:
    if strategy is not None and not isinstance(strategy, str | type):
        raise BadUsage(
            f"strategy: a check makes new instances for each run, got one of {type(strategy).__name__}; give "
            "the class, and its parameters as arguments"
        )
    if features is not None and not isinstance(features, str) and not callable(features):
        raise BadUsage(f"features: must be a function of candles, or file.py:function, was {features!r}")
    refuse_unfitted(params, model)
    context, chosen = context_of(config), model_of(model)
    return choose(
        context,
        strategy=strategy,
        params=params,
        model=context.model_dir(chosen) if isinstance(chosen, Path) else chosen,
        features=features,
        instrument=None if instrument is None else str(instrument),
    )


def _sources(
    candles: Source | Sequence[Source], subject: Subject, last_bars: int | None, default: int
) -> "list[Original]":
    _at_least("last_bars", last_bars, 60)
    return read_sources(candles_or_files(candles), bars_for(subject, last_bars, default))


def _at_least(name: str, given: int | None, least: int) -> None:
    if given is not None and given < least:
        raise BadUsage(f"{name}={given}: must be {least} or more")


class CheckResult:
    """What a check of the future, or of the beginning, found. A clean result is no proof."""

    def __init__(self, found: Lookahead | Warmup) -> None:
        self._found = found

    @property
    def clean(self) -> bool:
        """Whether nothing was found. This is no proof: ``words`` says what stays unseen."""
        return self._found.clean

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, each with its kind, words that say what to do, and the first values that changed."""
        found = self._found
        if isinstance(found, Lookahead):
            return tuple(found.findings)
        if found.clean:
            return ()
        count, first = len(found.differences), found.differences
        return (Finding(kind="beginning", words=in_python(found.advice), count=count, differences=first),)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know beside the findings: what it knows from elsewhere, what said nothing."""
        return tuple(self._found.notes)

    @property
    def words(self) -> str:
        """The result in words; of a clean one, what it does not prove."""
        if not self.clean:
            many = counted(len(self.findings), "finding")
            return f"{self._found.subject}: {many}; its results cannot be believed"
        if isinstance(self._found, Lookahead):
            return f"nothing said at a close changed with later bars. {lookahead.NO_PROOF}"
        told = f"{self._found.words}; a run reads {self._found.given:,} before start"
        return f"{told}. {warmup.NO_PROOF}"

    @property
    def numbers(self) -> dict[str, Any]:
        """Everything that ``bot check … --json`` prints, by the same names."""
        return {**self._found.told(), "proof": self.words if self.clean else ""}

    @cached_property
    def table(self) -> "pa.Table":
        """One row a changed value: the kind of the finding, its close in ms, symbol, field, before, after.

        Values are texts; null: nothing was said.
        """
        import pyarrow as pa

        rows = [(each.kind, value) for each in self.findings for value in each.differences]
        return pa.table(
            {
                "kind": pa.array([kind for kind, _ in rows], pa.string()),
                "close_ms": pa.array([value.ts_ms for _, value in rows], pa.int64()),
                "symbol": pa.array([value.symbol for _, value in rows], pa.string()),
                "field": pa.array([value.field for _, value in rows], pa.string()),
                "before": pa.array([_text(value.before) for _, value in rows], pa.string()),
                "after": pa.array([_text(value.after) for _, value in rows], pa.string()),
            }
        )

    def __repr__(self) -> str:
        found = self._found
        which = "lookahead" if isinstance(found, Lookahead) else "warmup"
        lines = [f"check of {which}, {found.subject}, {counted(found.bars, 'bar')}: {self._verdict()}"]
        for each in self.findings[:_FINDINGS]:
            lines.append(f"{each.kind}: {each.words}")
            shown = each.differences[-_SHOWN:] if each.kind == "future" else each.differences[:_SHOWN]
            for value in shown:
                before, after = (_text(side) or "–" for side in (value.before, value.after))
                told = f"{value.symbol}  {value.field}: {before} → {after}"
                lines.append(f"  {minute_cell(value.ts_ms)}  {told}")
        if len(self.findings) > _FINDINGS:
            lines.append(f"… {counted(len(self.findings) - _FINDINGS, 'more finding')}; .findings has all")
        return "\n".join([*lines, *(f"note: {each}" for each in self.notes), self.words])

    def _verdict(self) -> str:
        return "clean, which is no proof" if self.clean else "not clean"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


def _text(value: float | str | None) -> str | None:
    return value if value is None or isinstance(value, str) else f"{value:.10g}"
