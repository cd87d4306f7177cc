"""``Context``: the global options of one run, and its settings and log, made at first use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from bot.logs import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bot.settings import LogSettings, Settings


class Context:
    """One run of the program, with its global options.

    ``redactor`` removes secrets from all output and logs; the settings say what is secret.
    """

    def __init__(self) -> None:
        self.config: Path | None = None
        self.verbose = 0
        self.log_format: Literal["console", "json"] | None = None
        self.redactor = Redactor()
        self._log_settings: LogSettings | None = None

    def settings(self, overrides: Mapping[str, object] | None = None) -> Settings:
        """Load the settings; ``overrides`` are command-line options by dotted key, None = not given.

        ``context.settings({"account.equity_quote": equity, "seed": seed})``

        Raises:
            BadSettings: an unknown key or variable, or a wrong value.
        """
        from bot.settings import load

        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        settings = load(self.config, given)
        for secret in settings.secrets():
            self.redactor.hide(secret)
        self._log_settings = settings.log
        return settings

    def state_dir(self) -> Path:
        """Find the state directory alone: fast, and in spite of a mistake in another setting.

        Raises:
            BadSettings: it may be misspelt.
        """
        from bot.settings.state_dir import find_state_dir

        return find_state_dir(self.config) or self.settings().state_dir

    def check_settings(self) -> None:
        """Load all settings if the user has set any, for the error that a wrong one raises.

        Raises:
            BadSettings: an unknown key or variable, or a wrong value.
        """
        from bot.settings.state_dir import any_given

        if any_given(self.config):
            self.settings()

    @cached_property
    def log(self) -> Any:  # structlog's loggers are typed as Any
        """The program's log on stderr: ``context.log.info("bars_fetched", bars=1000)``.

        ``-v`` and ``--log-format`` override the settings' ``log`` table; load the settings first.
        """
        from bot.logs import make_logger

        chosen = self._log_settings
        level = "debug" if self.verbose else chosen.level if chosen else "info"
        form = self.log_format or (chosen.format if chosen else "auto")
        return make_logger(self.redactor, level=level, form=form)
