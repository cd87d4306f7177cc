"""``bot backup`` and ``bot restore``: what the bot keeps, as one file that its owner alone can read."""

from pathlib import Path

import click
import msgspec

from bot.app.context import Context
from bot.app.state.backup import BackupManifest, back_up
from bot.app.state.backup import restore as put_back
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.words import counted
from bot.service.moments import minute_words
from bot.service.process.private import private_files

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.command()
@_file
@_as_json
@pass_context
def backup(context: Context, file: Path, as_json: bool) -> None:
    """Write journals, snapshots and halts to FILE (tar.gz), also while the daemon runs.

    Every line is checked on its way. FILE must not exist; its owner alone can read it. It holds no key and no
    other secret, and no candles.
    """
    with private_files():
        manifest = back_up(context.state_dir(), file)
    if as_json:
        emit_json({"file": str(file), "bytes": file.stat().st_size, **_plain(manifest)})
        return
    for kept in manifest.accounts:
        click.echo(
            f"{kept.account}: {kept.entries} entries in {counted(kept.segments, 'segment')}, all in order"
        )
    click.echo(f"{file}: {file.stat().st_size >> 10} KiB; `bot restore {file}` puts it back")


@click.command()
@_file
@click.option("--replace", is_flag=True, help="Move what is in the state directory aside first.")
@_as_json
@pass_context
def restore(context: Context, file: Path, replace: bool, as_json: bool) -> None:
    """Put a backup into the state directory; no daemon may run there.

    Everything is checked before it is put in place. The next start goes on from the moment of the backup: on
    paper with the bars missed since, at a remote venue by reading the account.
    """
    state_dir = context.state_dir()
    manifest = put_back(file, state_dir, replace=replace)
    if as_json:
        emit_json({"state_dir": str(state_dir), **_plain(manifest)})
        return
    for kept in manifest.accounts:
        click.echo(
            f"{kept.account}: {kept.entries} entries in {counted(kept.segments, 'segment')}, all in order"
        )
    halted = "; halted, see `bot status` after the start" if "halted" in manifest.files else ""
    click.echo(f"{state_dir}: as of {minute_words(manifest.ts_ms)}{halted}; `bot run` goes on from there")


def _plain(manifest: BackupManifest) -> dict[str, object]:
    accounts = [msgspec.to_builtins(each) for each in manifest.accounts]
    return {"ts_ms": manifest.ts_ms, "code": manifest.code, "accounts": accounts}
