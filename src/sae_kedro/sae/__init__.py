"""The variants and what they share, in pure torch. Plugins import from here and know nothing else."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
