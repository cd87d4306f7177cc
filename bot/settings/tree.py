"""The tree: all sections in one value, its hash, and the lookups by key. The sections hold the fields.

``trading.py`` has what is traded, at which cost, within which limits; ``running.py`` has the running program;
``forms.py`` has the forms of a value that both share.
"""

import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field
from pydantic import PrivateAttr as Private
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.domain import money
from bot.settings.forms import Place, Section
from bot.settings.running import (
    DaemonSettings,
    FeedSettings,
    FetchSettings,
    JournalSettings,
    LocalSettings,
    LogSettings,
    NotifySettings,
    VenueSettings,
    WebSettings,
)
from bot.settings.state_dir import PREFIX, STATE_DIR
from bot.settings.trading import (
    AccountSettings,
    CostsSettings,
    DriftSettings,
    ExecutionSettings,
    ModelSettings,
    RetrainSettings,
    RiskSettings,
    StrategySettings,
)

DEFAULT = "default"
HIDDEN = "(hidden)"
MIN_SECRET_CHARS = 8
"""A shorter text is no secret that a log could hide."""


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
        enable_decoding=False,  # lists come as BTCUSDT,ETHUSDT too; ``listed`` reads both forms
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
    drift: DriftSettings = DriftSettings()
    retrain: RetrainSettings = RetrainSettings()
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
        """Names these settings: sha256 of every value but secrets and places; 5.50 and 5.5 are the same."""
        values = {key: _canonical(value) for key, value in _leaves(self) if key not in SECRETS | PLACES}
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

    def without_secrets(self) -> "Settings":
        """Return these settings for another machine, each secret as if it were not set."""
        sections: dict[str, Section] = {}
        for key in SECRETS:
            name, _, field = key.partition(".")
            section = sections.get(name, getattr(self, name))
            sections[name] = section.model_copy(update={field: FIELDS[key].default})
        return self.model_copy(update=sections)

    def _origin(self, key: str) -> str:
        inside = (origin for name, origin in self._origins.items() if name.startswith(key + "."))
        return self._origins.get(key) or next(inside, DEFAULT)


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _fields(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _holds_path(kind: object) -> bool:
    return kind is Path or any(map(_holds_path, get_args(kind)))


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
PLACES = frozenset(key for key, field in FIELDS.items() if _holds_path(field.annotation)) | {
    "local.url",
    "fetch.base_url",
}
"""Settings that say where something is. The same run in another directory, or at another port, has the same
hash; a model has a hash of its own, wherever it lies."""
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
