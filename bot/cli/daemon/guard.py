"""``bot guard``: watches the daemon from outside and takes its entries back when it is dead or frozen."""

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.errors import VenueError


@click.command()
@click.option(
    "--once", is_flag=True, help="Judge and act once, then exit: for a service manager's stop hook."
)
@click.option(
    "--after",
    "after_s",
    type=click.FloatRange(2.0, 3600.0),
    default=20.0,
    show_default=True,
    help="Seconds without a sign of life until a running daemon counts as frozen.",
)
@click.option(
    "--venue",
    type=click.Choice(["paper", "testnet", "demo", "local"]),
    help="Where orders may be. Default: where the last daemon on this state directory sent them.",
)
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object on stdout.")
@pass_context
def guard(context: Context, once: bool, after_s: float, venue: str | None, as_json: bool) -> None:
    """Cancel the daemon's entries at the venue when it is dead or frozen; stops and exits stay.

    Runs beside the daemon, with the same settings and state directory, until it is stopped. It never cancels
    while the daemon gives signs of life, and it halts nothing: `bot run` may start again at any time.
    """
    from bot.app.venue.guard import guard_once, make_guard, watch

    context.settings()  # the keys are needed later, when nobody looks
    guard = make_guard(context, context.state_dir(), venue, after_s)
    if not once:
        context.log.info("guard_watching", state_dir=str(context.state_dir()), after_s=after_s)
        watch(guard)
    told = guard_once(guard)
    if as_json:
        emit_json(told)
    else:
        click.echo(f"daemon: {told['daemon']}; entries left at the venue: {told['survivors'] or 'none'}")
    if told["survivors"]:
        raise VenueError(f"still there: {told['survivors']}; cancel them at the venue yourself")
