"""`kedro sae cache`: list, verify and prune the embedding caches under `data_root`. Torch does not load."""

from __future__ import annotations

import re
import shutil
from datetime import datetime
from pathlib import Path

import click

from sae_kedro.cli import places
from sae_kedro.errors import nearest

_NAME = re.compile(r"[0-9A-Za-z-]+-[0-9a-f]{16}")


@click.group()
def cache() -> None:
    """List, verify and prune embedding caches."""


@cache.command(name="list")
@places.data_root_option
def list_command(data_root: str | None) -> None:
    """List caches: texts, shards, size, state."""
    from sae_kedro.activations.shards import survey

    caches = _caches(data_root)
    if not caches:
        click.echo(f"there is no cache in {_root(data_root)}")
    for folder in caches.values():
        found = list(survey(folder))
        infos = [finding.info for finding in found if finding.info]
        state = "damaged" if len(infos) < len(found) else "complete" if infos and infos[-1].last else "partial"
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        used = datetime.fromtimestamp(folder.stat().st_mtime)
        click.echo(
            f"{folder.name}  {sum(info.n_texts for info in infos):,} texts  {len(found):,} shards  {size:,.1f} MB  "
            f"{state}  last used {used:%Y-%m-%d %H:%M}"
        )


@cache.command()
@click.argument("names", nargs=-1)
@places.data_root_option
def verify(names: tuple[str, ...], data_root: str | None) -> None:
    """Read every shard, and name damaged ones.

    Of all caches, or of those NAMES; a damaged one makes the exit code 1.
    """
    from sae_kedro.activations.shards import survey

    findings = [finding for folder in _chosen(names, data_root) for finding in survey(folder, thorough=True)]
    damaged = [finding for finding in findings if finding.problem]
    for finding in damaged:
        click.echo(f"{finding.path}: {finding.problem}")
    if damaged:
        raise click.ClickException(
            f"{len(damaged):,} of {len(findings):,} shards are damaged; a run mends those it reads"
        )
    click.echo(f"{len(findings):,} shards are as they were written")


@cache.command()
@click.argument("names", nargs=-1)
@click.option("--yes", is_flag=True, help="Do not ask.")
@places.data_root_option
def prune(names: tuple[str, ...], yes: bool, data_root: str | None) -> None:
    """Remove the caches NAMES, or damaged shards.

    Without a name, what no run can use is removed: damaged shards and leftovers of killed runs.
    """
    from filelock import FileLock, Timeout

    from sae_kedro.activations.shards import LOCK_FILE

    def doomed(folder: Path) -> list[Path]:
        return [folder] if names else _useless(folder)

    folders = [folder for folder in _chosen(names, data_root) if doomed(folder)]
    if not folders:
        click.echo("there is nothing to remove")
        return
    click.echo("\n".join(f"to be removed: {place}" for folder in folders for place in doomed(folder)))
    if not yes:
        click.confirm("Remove?", abort=True)
    for folder in folders:
        try:
            with FileLock(folder / LOCK_FILE).acquire(blocking=False):
                for place in doomed(folder):
                    shutil.rmtree(place) if place.is_dir() else place.unlink()
        except Timeout:
            click.echo(f"{folder.name} is left alone: a run is encoding into it")


def _useless(folder: Path) -> list[Path]:
    """List damaged shards and leftovers, or the folder itself if it holds nothing else."""
    from sae_kedro.activations.shards import LOCK_FILE, survey

    findings = list(survey(folder, thorough=True))
    useless = [finding.path for finding in findings if finding.problem and finding.path.is_file()]
    useless += sorted(folder.glob("*.tmp"))
    return useless if set(folder.iterdir()) - {*useless, folder / LOCK_FILE} else [folder]


def _chosen(names: tuple[str, ...], data_root: str | None) -> list[Path]:
    """Look the named caches up among those that exist; without names, all."""
    caches = _caches(data_root)
    for name in names:
        if name not in caches:
            raise click.ClickException(
                f"there is no cache {name!r}{nearest(name, caches)}; `kedro sae cache list` shows all"
            )
    return [caches[name] for name in names or caches]


def _caches(data_root: str | None) -> dict[str, Path]:
    """Find the folders of all caches, by name."""
    root = _root(data_root)
    found = root.iterdir() if root.is_dir() else ()
    return {
        folder.name: folder
        for folder in sorted(found)
        if _NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    }


def _root(data_root: str | None) -> Path:
    from sae_kedro.activations.shards import CACHES

    return places.data_root(data_root) / CACHES


COMMANDS = [cache]
