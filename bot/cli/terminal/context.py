"""How a command gets its ``Context``."""

import click

from bot.app.context import Context

pass_context = click.make_pass_decorator(Context)
