"""The forms of a value: lists, symbols, secrets, addresses and paths, as people write them; and a section."""

import json
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from bot.bybit.hosts import check_base_url
from bot.domain.addresses import Address
from bot.domain.errors import BadInput
from bot.domain.market import INTERVALS_MS
from bot.domain.schedules import Schedule
from bot.domain.symbols import is_symbol, spelled


def listed(value: object) -> object:
    """A list from one text: ``BTCUSDT,ETHUSDT`` or JSON."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",")]


def texts(value: object) -> object:
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


def addressed(value: object) -> object:
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


def known_interval(value: str) -> str:
    """Return a bar length. Raises ValueError for one that Bybit does not have."""
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


def _written(value: object) -> object:
    """Refuse an empty path: it would be the working directory, which nobody has named."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("must be a path, was empty; leave the key or the variable out for the default")
    return value


def _symbol(value: str) -> str:
    symbol = spelled(value)
    if not is_symbol(symbol):
        raise ValueError("must be a symbol of Bybit, such as BTCUSDT")
    return symbol


def _schedule(value: str) -> str:
    try:
        if value:
            Schedule.of(value)
    except BadInput as error:
        raise ValueError(str(error)) from None
    return value


def once(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return texts without repetitions, in their order."""
    return tuple(dict.fromkeys(values))


Symbol = Annotated[str, AfterValidator(_symbol)]
"""A symbol, however people write it: ``btcusdt`` and ``BTC/USDT`` are ``BTCUSDT``."""
Secret = Annotated[SecretStr, AfterValidator(_long_enough)]
SecretAddress = Annotated[SecretStr, AfterValidator(_known_address)]
BaseUrl = Annotated[str, AfterValidator(_allowed_url)]
ScheduleText = Annotated[str, AfterValidator(_schedule)]
"""When something is due again and again; empty: never."""
Place = Annotated[Path, BeforeValidator(_written), AfterValidator(check_place)]
"""A file or directory: below the working directory, or a whole path that its user wrote out."""


class Section(BaseModel):
    """One table of the file. Frozen; refuses keys it does not know; never repeats an input in an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, allow_inf_nan=False
    )
