"""`sae_classes`: the built-in variants and those that installed distributions register by entry point.

Nothing is imported until a class is asked for, so listing is fast and a broken plugin harms nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, NamedTuple

from sae_kedro._version import __version__
from sae_kedro.errors import InputError, nearest, shown
from sae_kedro.keys import ExperimentConfig

if TYPE_CHECKING:
    from sae_kedro.sae.base import SAE

GROUP = "sae_kedro.sae_types"
BUILT_IN = {
    "vanilla": "sae_kedro.sae.vanilla:VanillaSAE",
    "topk": "sae_kedro.sae.topk:TopKSAE",
    "batchtopk": "sae_kedro.sae.batchtopk:BatchTopKSAE",
    "jumprelu": "sae_kedro.sae.jumprelu:JumpReLUSAE",
}


class Provider(NamedTuple):
    """Where a variant comes from."""

    distribution: str
    version: str
    target: str
    """`module:Class`."""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.target})"


class SAERegistry(Mapping[str, "type[SAE]"]):
    """Variant name to class."""

    def __init__(self) -> None:
        self._registered: dict[str, type[SAE]] = {}

    def register(self, name: str, cls: type[SAE]) -> type[SAE]:
        """Add a class under a name for this process, as notebooks and tests need it; the newest wins.

        Raises:
            InputError: The name is a built-in's, or the class is not an `SAE`.
        """
        if name in BUILT_IN:
            raise InputError(f"sae_type {name!r} is built in; register {cls.__name__} under another name")
        self._registered[name] = checked(name, cls, f"register({name!r})")
        return cls

    @contextmanager
    def registered(self, name: str, cls: type[SAE]) -> Iterator[None]:
        """Register a class for the length of a `with` block."""
        self.register(name, cls)
        try:
            yield
        finally:
            del self._registered[name]

    def providers(self) -> dict[str, list[Provider]]:
        """Return who offers each name, without importing anything."""
        offered = {name: [Provider("sae-kedro", __version__, target)] for name, target in BUILT_IN.items()}
        for point in sorted(set(entry_points(group=GROUP)), key=lambda point: (point.name, point.value)):
            offered.setdefault(point.name, []).append(_provider(point))
        for name, cls in self._registered.items():
            offered[name] = [Provider("this process", "", f"{cls.__module__}:{cls.__qualname__}")]
        return offered

    def provider(self, name: str) -> Provider:
        """Return who offers a name, without importing the variant.

        Raises:
            InputError: Nobody offers the name, or more than one does.
        """
        offered = self.providers()
        if name not in offered:
            raise InputError(
                f"sae_type={shown(name)} is not a registered variant; choose one of {', '.join(offered)}"
                f"{nearest(name, offered)}"
            )
        if len(offered[name]) > 1:
            both = " and ".join(map(str, offered[name]))
            raise InputError(f"sae_type={name!r} is offered by {both}; uninstall all but one")
        return offered[name][0]

    def usable(self) -> list[str]:
        """List the names whose class can be imported."""
        names = []
        for name in self:
            try:
                self[name]
            except InputError:
                continue
            names.append(name)
        return names

    def __getitem__(self, name: str) -> type[SAE]:
        """Import and return a variant's class.

        Raises:
            InputError: The name is unknown or offered twice, or its plugin is broken.
        """
        if name in self._registered:
            return self._registered[name]
        provider = self.provider(name)
        module, _, attribute = provider.target.partition(":")
        try:
            cls = getattr(import_module(module), attribute)
        except Exception as error:  # a plugin's import may fail in any way
            raise InputError(
                f"sae_type={name!r} is broken: {provider} fails to load with {type(error).__name__}: "
                f"{' '.join(str(error).split())}"
            ) from error
        return checked(name, cls, str(provider))

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names, importing nothing."""
        return iter(self.providers())

    def __len__(self) -> int:
        """Count all names."""
        return len(self.providers())

    def __contains__(self, name: object) -> bool:
        """Tell whether anybody offers the name, importing nothing."""
        return name in self.providers()


def checked(name: str, cls: object, source: str) -> type[SAE]:
    """Return `cls` if it is an SAE class.

    Raises:
        InputError: It is something else.
    """
    from sae_kedro.sae.base import SAE

    if not (isinstance(cls, type) and issubclass(cls, SAE)):
        raise InputError(
            f"sae_type={name!r} is broken: {source} is {cls!r}, which is not a subclass of sae_kedro.sae.SAE"
        )
    if taken := cls.Options.model_fields.keys() & ExperimentConfig.model_fields.keys():
        raise InputError(
            f"sae_type={name!r} is broken: {source} has options named like keys of the core: {', '.join(sorted(taken))}"
        )
    return cls


def _provider(point: EntryPoint) -> Provider:
    dist = point.dist
    return Provider(dist.name if dist else "unknown", dist.version if dist else "", point.value)


sae_classes = SAERegistry()
