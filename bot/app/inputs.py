"""What a run is made of, read and checked: candle files, rules, a strategy, a model, parameters."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from bot.adapters.files import shipped
from bot.adapters.files.candles import Candles, funding_beside, is_funding, read_candles, read_funding
from bot.adapters.files.joining import join_candles, refuse_twice
from bot.adapters.state.clock import WallClock
from bot.domain.errors import BadModel, BadUsage, StrategyFailed
from bot.domain.market import Instrument, interval_name
from bot.service.backtest.finer import FinerBars, MarkBars
from bot.service.backtest.history import History
from bot.settings.models import model_for
from bot.strategy import SHIPPED
from bot.strategy.failing import place_of

if TYPE_CHECKING:  # the model's modules load a compiler: only runs with a model pay for it
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import OwnModel, Part
    from bot.features.fitted import Fitted


ANY_VARIANCE = "variance"
"""Among the columns that a strategy reads: the variance of the longer horizon, whichever that is."""
FILE_PREFIX = "strategy_file_"
"""How the names of modules begin that a user named by their file."""


def read_history(data: Sequence[Path | Candles], funding: str | None) -> History:
    """Read candle files and their funding: ``None`` = the file beside each, ``none`` = none, else one file.

    Several files of one symbol are joined. A funding file among several files (a pattern matched it, too) is
    passed over if it is the one beside candles that are given: it is read with them.

    Candles that were read before are taken as they are.

    Raises:
        BadFile: a file that is not as documented.
        BadBar: two files that differ about a bar.
        BadUsage: the same candles twice, one funding file for several symbols, or two intervals of one
            symbol.
    """
    now_ms = WallClock().now_ms()  # an unclosed candle is no bar
    parts: dict[str, list[Candles]] = {}
    beside_given = {funding_beside(each) for each in data if isinstance(each, Path)}
    for given in data:
        if isinstance(given, Path) and is_funding(given) and given in beside_given:
            continue
        each = given if isinstance(given, Candles) else read_candles(given, now_ms=now_ms)
        parts.setdefault(each.symbol, []).append(each)
    for same in parts.values():
        refuse_twice(same)
    candles = tuple(join_candles(each) for each in parts.values())
    spot = {each.symbol for each in candles if each.market == "spot"}
    if funding is None:
        beside = [funding_beside(each.path) for each in candles if each.symbol not in spot]
        return History(candles, tuple(read_funding(path) for path in beside if path is not None))
    if funding == "none":
        return History(candles)
    rates = read_funding(Path(funding))
    if rates.symbol not in {each.symbol for each in candles}:
        raise BadUsage(
            f"--funding {funding}: rates of {rates.symbol}, but no candles of that symbol are given"
        )
    if rates.symbol in spot:
        raise BadUsage(f"--funding {funding}: the candles of {rates.symbol} are spot, which pays no funding")
    return History(candles, (rates,))


def rules_of(candles: Sequence[Candles], given: str | None) -> dict[str, Instrument]:
    """Return the rules of each candle file's symbol, as ``choose_instruments``, in the market of its name.

    Raises:
        BadUsage: a symbol whose rules are not known.
    """
    rules = choose_instruments(sorted(each.symbol for each in candles), given)
    return {each.symbol: replace(rules[each.symbol], market=each.market) for each in candles}


def choose_instruments(symbols: Sequence[str], given: str | None) -> dict[str, Instrument]:
    """Return rules by symbol: the shipped ones, those of a file, or ``exact`` for no steps and no minima.

    Raises:
        BadUsage: a symbol whose rules are not known.
    """
    if given == "exact":
        return {symbol: Instrument.exact(symbol) for symbol in symbols}
    known = shipped.instruments() if given is None else shipped.read_instruments(Path(given))
    missing = [symbol for symbol in symbols if symbol not in known]
    if missing:
        place = "ship with the program" if given is None else f"are in {given}"
        raise BadUsage(
            f"no instrument rules for {', '.join(missing)} {place}; "
            "give --instrument FILE (`bot data fetch --instruments` writes one), or --instrument exact for "
            "no steps and minima"
        )
    return {symbol: known[symbol] for symbol in symbols}


def choose_strategy(name: str) -> type:
    """Return a shipped strategy by name, or a user's class: ``package.module:Class``, ``path/file.py:Class``.

    A module is imported once; a file is read each time.

    Raises:
        BadUsage: there is no such strategy, module or class.
        StrategyFailed: the module raised.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    module_name, colon, class_name = name.rpartition(":")
    if not colon:
        near = get_close_matches(name, SHIPPED, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"shipped are {', '.join(SHIPPED)}"
        raise BadUsage(f"no strategy {name!r}; {hint} (your own is written {_own_form(name)})")
    is_file = module_name.endswith(".py")
    if "/" in module_name and not is_file:
        form = _own_form(module_name, class_name)
        raise BadUsage(f"--strategy {name}: name the module, or its file with .py: --strategy {form}")
    folder = str(Path(module_name).parent) if is_file else ""  # a user's module: in the working directory
    sys.path.insert(0, folder)
    try:
        module = read_module(Path(module_name)) if is_file else importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise BadUsage(
            f"--strategy {name}: cannot import {module_name} ({error}{_looked_in(error)})"
        ) from error
    except FileNotFoundError as error:
        raise BadUsage(f"--strategy {name}: no such file; looked in {Path.cwd()}") from error
    except (ImportError, SyntaxError, OSError) as error:
        raise BadUsage(f"--strategy {name}: cannot import {module_name} ({error})") from error
    except Exception as error:  # the code of a user may raise anything
        raise StrategyFailed(f"{place_of(error)} (while {module_name} was imported)") from error
    finally:
        sys.path.remove(folder)
    found = getattr(module, class_name, None)
    if found is None:
        raise BadUsage(f"--strategy {name}: {_no_class(module, module_name, class_name)}")
    check_strategy(found, f"--strategy {name}: {class_name}")
    return cast(type, found)


def check_strategy(found: object, where: str) -> None:
    """Refuse what is no class of a strategy.

    Raises:
        BadUsage: it has not exactly one of ``on_bar`` and ``on_close``; ``where`` begins the message.
    """
    methods = _methods(found) if isinstance(found, type) else []
    if not methods:
        raise BadUsage(
            f"{where} must be a class with a method on_bar(view), or on_close(view) for all symbols at once"
        )
    if len(methods) > 1:
        raise BadUsage(f"{where} has on_bar and on_close; keep one: on_close is called once for all symbols")


def _methods(cls: type) -> list[str]:
    return [name for name in ("on_bar", "on_close") if callable(getattr(cls, name, None))]


def read_module(path: Path) -> ModuleType:
    """Run a user's file as a module of a name of its own, so that it hides no other module."""
    name = FILE_PREFIX + path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and annotations look their module up
    spec.loader.exec_module(module)
    return module


def _own_form(written: str, class_name: str = "Class") -> str:
    """Return the form of a user's own strategy: with the module of ``written``, if it has a file here."""
    dotted = written.removesuffix(".py").removeprefix("./").replace("/", ".")
    module, _, last = dotted.rpartition(".")
    for name, of_class in ((dotted, class_name), (module, last)):
        if all(part.isidentifier() for part in name.split(".")) and _file_of(name).is_file():
            return f"{name}:{of_class}"
    return f"package.module:{class_name}"


def _file_of(module_name: str) -> Path:
    return Path(*module_name.split(".")).with_suffix(".py")


def _looked_in(error: ModuleNotFoundError) -> str:
    """Return where a module of the user was looked for, with the name of a file that is nearly the same."""
    near = get_close_matches(error.name or "", [path.stem for path in Path().glob("*.py")], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"; looked in {Path.cwd()} and on Python's path{hint}"


def _no_class(module: ModuleType, written: str, class_name: str) -> str:
    """Return which classes of a module are strategies, for one that it does not have."""
    own = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and _methods(value)
    ]
    near = get_close_matches(class_name, own, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(own)}" if own else ""
    return f"{written} has no class {class_name or 'named after the colon'}{hint}"


def load_model(path: "Path | Checkpoint | None", candles: Sequence[Candles]) -> "Checkpoint":
    """Load a model directory (None: the shipped one), or take a loaded one; refuse a model for other bars.

    Raises:
        BadModel: damaged, or of another interval.
    """
    from bot.adapters.model import checkpoint

    model = path if isinstance(path, checkpoint.Checkpoint) else checkpoint.load(path or shipped.model_path())
    if model.feature_set.is_joined:
        raise BadModel(
            "the model reads a second symbol's bars, which no run can give it yet; train one without"
        )
    for each in candles:
        if each.interval_ms != model.interval_ms:
            raise BadModel(
                f"{each.path}: {interval_name(each.interval_ms)} bars, but the model is for "
                f"{interval_name(model.interval_ms)}; {model_for(each.interval_ms)}, or use candles of "
                f"{interval_name(model.interval_ms)}"
            )
    return model


def choose_model(
    given: "Path | Checkpoint | Sequence[Part] | None", candles: Sequence[Candles]
) -> "Checkpoint | OwnModel":
    """Return the model that ``load_model`` gives, or the user's own models as one.

    Raises:
        BadModel: damaged, or of another interval.
        BadUsage: models of the user's own that do not make one, or are for other bars.
    """
    if not isinstance(given, Sequence):
        return load_model(given, candles)
    from bot.adapters.model.own import own_model

    made = [own_model(given, interval_ms) for interval_ms in {each.interval_ms for each in candles}]
    if len(made) > 1:
        raise BadUsage("model: forecasts bars of one length, but the candles have two; give those of one")
    return made[0]


def models_on(strategy: type) -> "tuple[Fitted, ...]":
    """Return the models of the user's own that a class has as ``forecaster``; empty if it has none.

    Raises:
        BadUsage: it is something else.
    """
    given = getattr(strategy, "forecaster", None)
    if given is None:
        return ()
    from bot.features.fitted import Fitted

    parts = tuple(given) if isinstance(given, list | tuple) else (given,)
    if not parts or not all(isinstance(each, Fitted) for each in parts):
        raise BadUsage(
            f"{strategy.__name__}.forecaster: must be what bot.fit returns for a target of a forecast, or a "
            f"list of several, was {given!r}"
        )
    return parts


def strategy_model(strategy: type, path: Path | None) -> "Checkpoint | OwnModel":
    """Return the model that a strategy's forecasts come from: the class's own, else that of the directory.

    Raises:
        BadModel, BadUsage: it is damaged, or the class's own do not make one.
    """
    parts = models_on(strategy)
    if not parts:
        return load_model(path, ())
    from bot.adapters.model.own import own_model

    return own_model(parts, parts[0].interval_ms)


def require_fields(model: "Checkpoint | OwnModel", strategy: object, name: str) -> None:
    """Refuse a model without a column of the forecast that a strategy says it reads.

    Raises:
        BadUsage: names the column, and what makes it.
    """
    from bot.adapters.model.own import OwnModel

    read: Sequence[str] = getattr(strategy, "forecast_fields", ())
    read = [model.horizons.targets[0] if each == ANY_VARIANCE else each for each in read]
    made = model.fields if isinstance(model, OwnModel) else model.horizons.columns
    missing = [each for each in read if each not in made]
    if missing and not isinstance(model, OwnModel):
        raise BadUsage(
            f"model: {name} reads {' and '.join(missing)} of a forecast, but model {model.hash[:12]} "
            f"forecasts {', '.join(model.horizons.targets)}; give another model or another strategy"
        )
    if missing:
        raise BadUsage(
            f"model: {name} reads {' and '.join(missing)} of a forecast, which these models do not make; fit "
            f"one more with target={missing[0]!r} and give a list of both"
        )


def detail_bars(paths: Sequence[Path | Candles], candles: Sequence[Candles]) -> dict[str, FinerBars]:
    """Read ``--detail`` files, by symbol.

    Raises:
        BadUsage: a file that is not finer than, or not of a symbol of, the candles.
    """
    by_symbol = {each.symbol: each for each in candles}
    found = {}
    for path in paths:
        fine = path if isinstance(path, Candles) else read_candles(path)
        coarse = by_symbol.get(fine.symbol)
        if coarse is None or fine.interval_ms >= coarse.interval_ms or coarse.interval_ms % fine.interval_ms:
            raise BadUsage(f"--detail {path}: must hold finer candles of a symbol given with --data")
        found[fine.symbol] = FinerBars(fine, coarse.interval_ms)
    return found


def mark_bars(paths: Sequence[Path | Candles], candles: Sequence[Candles]) -> dict[str, MarkBars]:
    """Read ``--mark`` files, by symbol.

    Raises:
        BadUsage: a file of another interval or symbol than the candles.
    """
    by_symbol = {each.symbol: each for each in candles}
    found = {}
    for path in paths:
        marks = path if isinstance(path, Candles) else read_candles(path)
        traded = by_symbol.get(marks.symbol)
        if traded is None or marks.interval_ms != traded.interval_ms:
            raise BadUsage(
                f"--mark {path}: must hold mark-price candles of a symbol and interval given with --data"
            )
        found[marks.symbol] = MarkBars(marks)
    return found


def parse_params(pairs: Sequence[str]) -> dict[str, str]:
    """Parse ``k=v`` texts.

    Raises:
        BadUsage: a text without ``=``, or a name twice.
    """
    params: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise BadUsage(f"--param {pair}: write name=value")
        if name in params:
            raise BadUsage(f"--param {name}: given twice")
        params[name] = value
    return params
