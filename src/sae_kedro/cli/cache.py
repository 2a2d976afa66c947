"""`kedro sae cache`: list, verify and prune the embedding caches under `data_root`. Torch does not load."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from sae_kedro.cli import places
from sae_kedro.errors import nearest

_NAME = re.compile(r"[0-9A-Za-z-]+-[0-9a-f]{16}")


def _where(command: Callable[..., None]) -> Callable[..., None]:
    """Add options that say where caches are; the command gets the folder as `root`."""

    @places.data_root_option
    @click.option("--cache-root", metavar="FOLDER", help="Default: the cache_root of this project, if it has one.")
    @functools.wraps(command)
    def wrapped(data_root: str | None, cache_root: str | None, **given: Any) -> None:
        from sae_kedro.activations.shards import cache_folder

        if data_root is None and cache_root is None:
            data_root, cache_root = places.of_project()
        command(root=cache_folder(data_root or "", cache_root), **given)

    return wrapped


@click.group()
def cache() -> None:
    """List, verify and prune embedding caches."""


@cache.command(name="list")
@_where
def list_command(root: Path) -> None:
    """List caches: texts, shards, size, state."""
    from sae_kedro.activations.shards import survey

    caches = _caches(root)
    if not caches:
        click.echo(f"there is no cache in {root}")
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
@_where
def verify(names: tuple[str, ...], root: Path) -> None:
    """Read every shard, and name damaged ones.

    Of all caches, or of those NAMES; a damaged one makes the exit code 1.
    """
    from sae_kedro.activations.shards import survey

    findings = [finding for folder in _chosen(names, root) for finding in survey(folder, thorough=True)]
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
@_where
def prune(names: tuple[str, ...], yes: bool, root: Path) -> None:
    """Remove the caches NAMES, or damaged shards.

    Without a name, what no run can use is removed: damaged shards and leftovers of killed runs.
    """
    from filelock import FileLock, Timeout

    from sae_kedro.activations.shards import LOCK_FILE

    def doomed(folder: Path) -> list[Path]:
        return [folder] if names else _useless(folder)

    folders = [folder for folder in _chosen(names, root) if doomed(folder)]
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


def _chosen(names: tuple[str, ...], root: Path) -> list[Path]:
    """Look the named caches up among those that exist; without names, all."""
    caches = _caches(root)
    for name in names:
        if name not in caches:
            raise click.ClickException(
                f"there is no cache {name!r}{nearest(name, caches)}; `kedro sae cache list` shows all"
            )
    return [caches[name] for name in names or caches]


def _caches(root: Path) -> dict[str, Path]:
    """Find the folders of all caches, by name."""
    found = root.iterdir() if root.is_dir() else ()
    return {
        folder.name: folder
        for folder in sorted(found)
        if _NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    }


COMMANDS = [cache]
