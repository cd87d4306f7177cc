"""The page: puts its server together, and lets a daemon keep one as a process beside itself."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bot.adapters.net.browsers import is_loopback
from bot.domain.errors import BadSettings
from bot.service.process.child import Child
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.app.context import Context
    from bot.settings import WebSettings

LINK_SOCKET = "web.sock"


def check_web(chosen: "WebSettings", *, insecure: bool) -> None:
    """Refuse a page that other machines can reach without TLS, unless the user insists.

    Raises:
        BadSettings: what is missing.
    """
    if (chosen.tls_cert is None) != (chosen.tls_key is None):
        raise BadSettings("web.tls_cert and web.tls_key: one needs the other")
    if is_loopback(chosen.host) or chosen.tls_cert is not None or insecure:
        return
    raise BadSettings(
        f"web.host {chosen.host}: other machines could reach the page, and its token would travel in clear; "
        "set web.tls_cert and web.tls_key, or give --web-insecure"
    )


def page_beside(
    context: "Context", settings: Settings, *, insecure: bool, heard: Callable[[str], None] | None = None
) -> Child:
    """Return the page of this daemon as a process that ends with it; ``heard`` is given its address."""
    chosen = settings.web
    command = [sys.executable, "-m", "bot"]
    if context.config is not None:
        command += ["--config", str(context.config)]
    if context.log_format is not None:
        command += ["--log-format", context.log_format]
    command += ["-v"] * context.verbose
    command += ["web", "--child", "--web-host", chosen.host, *(["--web-insecure"] if insecure else [])]
    environ = {**os.environ, "BOT_STATE_DIR": str(settings.state_dir)}

    def port(before: int | None) -> list[str]:
        return ["--web-port", str(before or chosen.port or 0)]

    return Child(command, port, environ, context.log, heard)


def token_file(settings: Settings) -> Path:
    """Return where the page's token is."""
    return settings.web.token_file or settings.state_dir / "web-token"
