"""``Context``: the global options of one run, and its settings and log, made at first use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from bot.logs import Redactor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bot.logs import LineQueue, Stderr
    from bot.settings import LogSettings, Settings


_DRAIN_S = 1.0


class Context:
    """One run of the program, with its global options.

    ``is_quiet``: notes on the settings are not told; another process of the same run has told them.
    ``redactor`` removes secrets from all output and logs; the settings say what is secret. ``stderr`` is what
    the program has put in the place of ``sys.stderr``, None if it has not.
    """

    def __init__(self) -> None:
        self.config: Path | None = None
        self.verbose = 0
        self.log_format: Literal["console", "json"] | None = None
        self.is_quiet = False
        self.redactor = Redactor()
        self.stderr: Stderr | None = None
        self._log_settings: LogSettings | None = None
        self._log_file: LineQueue | None = None
        self._noted: set[str] = set()

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
        for note in settings.notes():
            if note not in self._noted and not self.is_quiet:
                self._noted.add(note)
                self.log.warning("setting", words=note)
        return settings

    def state_dir(self) -> Path:
        """Find the state directory alone: fast, and in spite of a mistake in another setting.

        Raises:
            BadSettings: it may be misspelt.
        """
        from bot.settings.state_dir import find_state_dir

        return find_state_dir(self.config) or self.settings().state_dir

    def model_dir(self, given: Path | None) -> Path | None:
        """Return the directory that a model's name or path means; None stays None.

        Raises:
            BadModel: two models have this name.
            BadSettings: the state directory may be misspelt.
        """
        from bot.settings.models import find_model

        return None if given is None else find_model(given, self.state_dir())

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
        log = make_logger(self.redactor, level=level, form=form, also=self._to_file)
        if self.stderr is not None:
            self.stderr.log = log
        return log

    def log_to_file(self) -> None:
        """Write the log to ``log.file`` as well, if the settings name one; for a program that runs for long.

        Raises:
            BadSettings: it cannot be written.
        """
        from bot.domain.errors import BadSettings
        from bot.logs import LineQueue, RotatedFile

        chosen = self._log_settings
        if chosen is None or chosen.file is None or self._log_file is not None:
            return
        try:
            chosen.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = RotatedFile(chosen.file, max_bytes=chosen.max_bytes, keep=chosen.keep)
        except OSError as error:
            raise BadSettings(
                f"log.file: {chosen.file} cannot be written ({error.strerror}); name another place"
            ) from error
        self._log_file = LineQueue(file)

    def end_log(self) -> None:
        """Wait a moment for the last lines of the log file."""
        if self._log_file is not None:
            self._log_file.drain(_DRAIN_S)

    def _to_file(self, line: str) -> None:
        if self._log_file is not None:
            self._log_file.put(line)

    def log_facts(self) -> dict[str, object]:
        """Return what the status says about the log: how many lines nobody will read."""
        dropped = self._log_file.dropped if self._log_file is not None else 0
        return {} if self.stderr is None else {"log_lines_dropped": self.stderr.dropped + dropped}
