"""`kedro sae explore`: the explorer of a run with a server behind it."""

from __future__ import annotations

import os
import sys

import click

from sae_kedro.cli import places
from sae_kedro.cli.trained import INTERPRETED, TrainedRun
from sae_kedro.errors import InputError


@click.command()
@click.option("--name", metavar="RUN", help="Default: the run that was trained last.")
@places.data_root_option
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Any other lets other machines in.")
@click.option("--edit", is_flag=True, help="Keep labels and notes that are typed in the page.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
def explore(name: str | None, data_root: str | None, port: int, host: str, edit: bool, no_browser: bool) -> None:
    """Show a run in a browser, with its model loaded.

    The page is the run's explorer.html; with a server behind it, it takes texts of your own, finds features by
    meaning and steers searches. Ctrl-C stops it.
    """
    import secrets

    from sae_kedro.explorer.api import Answers
    from sae_kedro.explorer.server import bound_socket, explorer_app, is_loopback, live_page, serve
    from sae_kedro.interpretation.own_labels import FILE

    run = TrainedRun(data_root, name, INTERPRETED)
    page, token = run.page, secrets.token_urlsafe(32)
    answers = Answers(run.sae, run.features, run.rows, lambda: run.model, run.reports / FILE, run.setup)
    app = explorer_app(answers, live_page(page, token), token, host, edit)
    with bound_socket(host, port) as taken:
        run.store.cache.fill()
        try:
            click.echo(f"loading {run.sae.cfg.get('model_name')}")
            _ = answers.model
        except InputError as error:
            click.echo(f"texts of your own cannot be read: {error}")
        taken.listen(2048)
        bound = taken.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
        if not is_loopback(host):
            click.echo("other machines can read this corpus and ask this model now; without --host only this one can")
        click.echo(f"explorer of {run.name}: {address}  (Ctrl-C stops it)")
        if not no_browser and _has_browser():
            click.launch(address)
        serve(app, taken)
    click.echo("stopped")


def _has_browser() -> bool:
    """Tell whether somebody is likely to sit in front of a browser on this machine."""
    seen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(seen) and sys.stdout.isatty()


COMMANDS = [explore]
