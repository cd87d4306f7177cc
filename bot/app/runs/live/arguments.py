"""Every argument of a live engine as one value, so that a header of the journal can rebuild the engine."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import bot
from bot.adapters.state.clock import FollowedClock
from bot.app.runs.live.plan import LivePlan, plan_of
from bot.domain.errors import StoreFailed
from bot.domain.market import Instrument
from bot.model.drift import DriftReference
from bot.ports import Clock
from bot.settings import SECRETS, Settings
from bot.settings.models import FOLDER

if TYPE_CHECKING:
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.model.own import OwnModel

_ELSEWHERE = frozenset(
    {"state_dir", "data_dir", "log", "fetch", "local", "daemon", "journal", "notify", "web", "retrain"}
)
"""Settings that change no decision of the engine and no fill."""


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of the engine and of a venue in this process.

    ``settings`` are all settings but the secrets, in nested tables. ``speed`` is how fast the exchange's
    clock runs: 1, unless it replays.
    """

    settings: dict[str, Any]
    settings_hash: str
    """As the program that wrote it counts; ``name_of_settings`` is the one to compare."""
    strategy: str
    params: dict[str, str]
    instruments: dict[str, Instrument]
    name: str
    model_hash: str | None
    features_hash: str | None
    warm_up: str | None
    """Warm-up and bridge of the model's manifest: they decide when a forecast is given."""
    code: str
    speed: float
    names_model: bool = False
    """Whether orders carry the model's hash. False in a header of an older program, and without a model."""
    watches_drift: bool = False
    """Whether the model's drift is measured. False in a header of an older program, and without a model.

    Older programs did not measure models of the user's own."""
    drift: DriftReference | None = None
    """What it is measured against. A manifest may get another one later, without other weights."""

    def encode(self) -> msgspec.Raw:
        """Return the arguments as a JSON object for a header."""
        return msgspec.Raw(msgspec.json.encode(self))

    @classmethod
    def decode(cls, body: msgspec.Raw) -> "Arguments":
        """Return what ``encode`` wrote.

        Raises:
            StoreFailed: it cannot be read.
        """
        try:
            return msgspec.json.decode(bytes(body), type=cls)
        except msgspec.MsgspecError as error:
            raise StoreFailed(f"the journal's header cannot be read: {error}") from error

    def name_of_settings(self) -> str:
        """Return the hash that this program gives these settings; an older one counted other values.

        Settings that this program does not take keep the hash that was written.
        """
        try:
            return Settings(**self.settings).hash
        except ValueError:
            return self.settings_hash

    def decides_as(self, other: "Arguments") -> bool:
        """Return True if an engine with these arguments decides as one with ``other`` does.

        The rules of the contracts are left out: they change by events.
        """
        return self._deciding() == other._deciding()

    def written_as(self, other: "Arguments") -> "Arguments":
        """Return these arguments, but with the name and the habits of the program behind ``other``."""
        return msgspec.structs.replace(
            self,
            name=other.name,
            names_model=other.names_model,
            watches_drift=other.watches_drift,
            drift=other.drift,
        )

    def with_model_of(self, other: "Arguments") -> "Arguments":
        """Return these arguments, but with the model that ``other`` names."""
        return msgspec.structs.replace(
            self,
            model_hash=other.model_hash,
            features_hash=other.features_hash,
            warm_up=other.warm_up,
            drift=other.drift,
        )

    def _deciding(self) -> tuple[object, ...]:
        settings = {name: value for name, value in self._known().items() if name not in _ELSEWHERE}
        told = (self.names_model, self.watches_drift, self.drift)
        models = (self.model_hash, self.features_hash, self.warm_up, *told)
        return settings, self.strategy, self.params, sorted(self.instruments), self.name, models, self.speed

    def _known(self) -> dict[str, Any]:
        """Return the settings with the defaults of those that an older program did not have."""
        try:
            return _plain(Settings(**self.settings))
        except ValueError:  # a setting is gone, or its bounds have changed
            return self.settings


def arguments_of(plan: LivePlan, instruments: dict[str, Instrument], clock: Clock, name: str) -> Arguments:
    """Return the arguments of a plan's engine."""
    model = plan.model
    return Arguments(
        settings=_plain(plan.settings),
        settings_hash=plan.settings.hash,
        strategy=plan.strategy_name,
        params=dict(plan.params),
        instruments=instruments,
        name=name,
        model_hash=model.hash if model is not None else None,
        features_hash=model.feature_set.hash if model is not None else None,
        warm_up=_warm_up(model) if model is not None else None,
        code=bot.__version__,
        speed=max(clock.speed, 1.0) if isinstance(clock, FollowedClock) else 1.0,
        names_model=model is not None and plan.names_model,
        watches_drift=model is not None and plan.watches_drift,
        drift=model.drift if model is not None and plan.watches_drift else None,
    )


def with_model(arguments: Arguments, model: "Checkpoint") -> Arguments:
    """Return the arguments of an engine on which ``model`` has taken over."""
    return msgspec.structs.replace(
        arguments,
        model_hash=model.hash,
        features_hash=model.feature_set.hash,
        warm_up=_warm_up(model),
        drift=model.manifest.drift if arguments.watches_drift else None,
    )


def _warm_up(model: "Checkpoint | OwnModel") -> str:
    return f"{model.warmup_bars} {model.bridge}"


def plan_from(arguments: Arguments, state_dir: Path | None = None) -> LivePlan:
    """Return the plan that the arguments came from.

    ``state_dir``: where retrained models lie now; None: where the arguments say.

    Raises:
        StoreFailed: the settings or the model are not what they were, so the journal cannot be replayed.
        BotError: the strategy or the model is gone.
    """
    settings = Settings(**arguments.settings)
    plan = plan_of(settings, strategy=arguments.strategy, params=arguments.params)
    if state_dir is not None:
        plan = replace(plan, settings=settings.model_copy(update={"state_dir": state_dir}))
    found = plan.model.hash if plan.model is not None else None
    if found != arguments.model_hash and plan.checkpoint is not None and arguments.model_hash is not None:
        from bot.adapters.model.lineage import Lineage

        made = Lineage(plan.settings.state_dir / FOLDER).find(arguments.model_hash)
        if made is not None:
            plan, found = replace(plan, model=made, base=plan.checkpoint), made.hash
    if found != arguments.model_hash:
        raise StoreFailed(
            f"the journal was written with model {arguments.model_hash}, but the model there now is {found}; "
            "put that model back, or begin anew with `bot run --fresh`"
        )
    if plan.model is not None:
        plan = replace(plan, model=plan.model.with_drift(arguments.drift))
    return replace(plan, names_model=arguments.names_model, watches_drift=arguments.watches_drift)


def _plain(settings: Settings) -> dict[str, Any]:
    tables: dict[str, Any] = settings.model_dump(mode="json")
    for key in SECRETS:
        table, _, field = key.partition(".")
        tables[table].pop(field, None)
    return tables
