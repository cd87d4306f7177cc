"""Reads the files that ship with the program: instrument rules, half-spreads, the trained model."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from bot.domain.errors import BadFile
from bot.domain.market import Instrument
from bot.exchange.instruments import Spreads, parse_instruments, parse_spreads
from bot.settings import models
from bot.settings.text import read_text

_PLACE = Path(str(files("bot.shipped")))


def model_path() -> Path:
    """Return the directory of the shipped model that is the default."""
    return models.SHIPPED[models.DEFAULT]


@cache
def instruments() -> dict[str, Instrument]:
    """Return the shipped rules by symbol."""
    return parse_instruments((_PLACE / "instruments.json").read_text())


@cache
def spreads() -> Spreads:
    """Return half-spreads in bps: measured ones by symbol, and a default."""
    return parse_spreads((_PLACE / "spreads.json").read_text())


def read_instruments(path: Path) -> dict[str, Instrument]:
    """Read rules from a user's file in the form of ``bot/shipped/instruments.json``.

    Raises:
        BadFile: no such file or not in that form.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError:
        raise BadFile(f"{path}: is not text; it must be JSON like bot/shipped/instruments.json") from None
    return parse_instruments(text)
