"""check_sae accepts every built-in and tells what is wrong with variants that break one rule each."""

from __future__ import annotations

import pytest
import torch

from sae_kedro import BatchTopKSAE, TopKSAE, sae_classes
from sae_kedro.sae import Support
from sae_kedro.sae.registry import BUILT_IN
from sae_kedro.testing import ContractError, check_sae


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_ins_fulfil_the_contract(name):
    before = list(sae_classes)
    check_sae(sae_classes[name])
    assert list(sae_classes) == before


class NoSummary(TopKSAE):
    summary = ""


class GlobalSeed(TopKSAE):
    def __init__(self, cfg):
        torch.manual_seed(0)
        super().__init__(cfg)


class OneSeed(TopKSAE):
    def __init__(self, cfg):
        super().__init__(cfg | {"seed": 0})


class CountsInForward(TopKSAE):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.register_buffer("calls", torch.zeros(()))

    def select(self, pre_acts):
        self.calls += 1
        return super().select(pre_acts)


class UnusedParameter(TopKSAE):
    def __init__(self, cfg):
        super().__init__(cfg)
        self.extra = torch.nn.Parameter(torch.ones(3))


class NoEncoderGradient(TopKSAE):
    def activate(self, values, cols):
        return values.relu().detach()


class WrongGradient(TopKSAE):
    """The value of the code is right; its gradient is doubled."""

    def activate(self, values, cols):
        z = values.relu()
        return z + (z - z.detach())

    def dense_loss(self, x):
        pre_acts = (x - self.b_dec) @ self.W_enc + self.b_enc
        kept = torch.zeros_like(pre_acts).scatter(1, pre_acts.topk(self.top_k).indices, 1.0)
        return ((pre_acts.relu() * kept) @ self.W_dec + self.b_dec - x).square().sum() / x.numel()


class RightGradient(WrongGradient):
    def activate(self, values, cols):
        return values.relu()


class DeadOnArrival(TopKSAE):
    def prepare(self, x):
        with torch.no_grad():
            self.b_enc[10:] = -100.0


class Random(TopKSAE):
    def select(self, pre_acts):
        return Support.from_indices((pre_acts + torch.randn_like(pre_acts)).topk(self.top_k).indices, self.dict_size)


class DoesNotLearn(TopKSAE):
    def after_step(self, progress):
        with torch.no_grad():
            for weights in self.parameters():
                weights.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(0)) / 5)


class TooMany(TopKSAE):
    def select(self, pre_acts):
        return Support.from_indices(pre_acts.topk(2 * self.top_k).indices, self.dict_size)


class SignedInSilence(TopKSAE):
    def select(self, pre_acts):
        return Support.from_indices(pre_acts.abs().topk(self.top_k).indices, self.dict_size)

    def activate(self, values, cols):
        return values


class SignedInName(TopKSAE):
    signed = True


class DependsOnBatch(BatchTopKSAE):
    def select(self, pre_acts):
        training, self.training = self.training, True
        support = super().select(pre_acts)
        self.training = training
        return support


class LosesItsThreshold(BatchTopKSAE):
    def __init__(self, cfg):
        super().__init__(cfg)
        del self.threshold
        self.threshold = torch.tensor(0.0)


class StaysBehind(TopKSAE):
    """A parameter over the coordinates of embeddings that `turn` knows nothing of."""

    def __init__(self, cfg):
        super().__init__(cfg)
        self.weighting = torch.nn.Parameter(torch.ones(self.act_size))

    def decode_scaled(self, codes):
        return super().decode_scaled(codes) * self.weighting


WRONG = {
    NoSummary: "description",
    GlobalSeed: "seed",
    OneSeed: "seed",
    CountsInForward: "state",
    UnusedParameter: "gradients",
    NoEncoderGradient: "gradients",
    WrongGradient: "gradients",
    DeadOnArrival: "alive",
    Random: "determinism",
    DoesNotLearn: "learning",
    TooMany: "l0",
    SignedInSilence: "sign",
    SignedInName: "sign",
    DependsOnBatch: "batch",
    StaysBehind: "turn",
    LosesItsThreshold: "saving",
}


@pytest.mark.parametrize("cls", WRONG, ids=lambda cls: cls.__name__)
def test_a_variant_that_breaks_a_rule_is_told_which(cls):
    with pytest.raises(ContractError, match=f"rule '{WRONG[cls]}' is broken: the contract wants that "):
        check_sae(cls)


def test_a_right_reference_is_accepted():
    check_sae(RightGradient)


def test_something_else_than_a_variant_is_refused():
    with pytest.raises(ContractError, match="rule 'subclass' is broken"):
        check_sae(object)
