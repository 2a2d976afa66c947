"""What variants, the trainer and users pass to each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from sae_kedro.sae.codes import Codes
from sae_kedro.validation import Table

Array = np.ndarray[Any, np.dtype[Any]] | Tensor
"""Numbers as users have them: a NumPy array, a memory map among them, or a tensor."""


class SAEOptions(Table):
    """A variant's own configuration keys: subclass it inside the variant, one described `Field` per key."""


class Encoding(NamedTuple):
    """What the encoder computed for `n` scaled inputs."""

    codes: Codes
    pre_values: Tensor | None
    """Pre-activations at the support of the codes, differentiable; None for encoders that have none."""


class Forward(NamedTuple):
    """One pass in scaled space, as losses see it."""

    x: Tensor
    """`(n, act_size)`, the scaled input: the dataset mean removed, mean squared norm `act_size`."""
    codes: Codes
    pre_values: Tensor | None
    x_hat: Tensor
    """`(n, act_size)`, the reconstruction of `x`."""


class SAEOutput(NamedTuple):
    """What calling an SAE returns."""

    x_hat: Tensor
    """`(n, act_size)`, the reconstruction in the space of the embeddings."""
    codes: Tensor
    """`(n, dict_size)`, dense."""


class Progress(NamedTuple):
    """Where training stands, for a variant's `after_step`."""

    step: int
    n_steps: int
    l0: Tensor
    """Scalar: mean active latents per text in the batch just seen."""
    dead: Tensor
    """`(n_dead,)`: latents that had not fired for `dead_after` epochs before that batch."""
