"""Shares of a cosine: they add up, they are Shapley values, and what they are shares of is what the SAE says."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch
from sae_kedro_abstopk import AbsTopKSAE
from sae_kedro_gated import GatedSAE
from sae_kedro_matching_pursuit import MatchingPursuitSAE
from sae_kedro_matryoshka import MatryoshkaSAE

from conftest import TensorStore
from sae_kedro import InputError, TopKSAE, explain, sae_classes, train
from sae_kedro.interpretation.explain import explain_difference, explain_ranking
from sae_kedro.interpretation.parts import decompose, directions

VARIANTS = {name: sae_classes[name] for name in ("vanilla", "topk", "batchtopk", "jumprelu")}
VARIANTS |= {cls.__name__: cls for cls in (AbsTopKSAE, GatedSAE, MatchingPursuitSAE, MatryoshkaSAE)}


def trained(name, make_cfg, sparse_data, **overrides):
    cfg = make_cfg(sae_type=name if name.islower() else "topk", **overrides)
    return train(VARIANTS[name](cfg), TensorStore(sparse_data(500), cfg), cfg)


@pytest.fixture
def sae(make_cfg, sparse_data):
    return trained("topk", make_cfg, sparse_data, top_k=2)


def cosines(a, b):
    a, b = (rows.double().numpy() / np.linalg.norm(rows.double().numpy(), axis=1, keepdims=True) for rows in (a, b))
    return a @ b.T


@pytest.mark.parametrize("input_unit_norm", [False, True])
@pytest.mark.parametrize("name", VARIANTS)
def test_shares_add_up_for_every_variant_and_the_residual_is_what_the_sae_misses(
    name, input_unit_norm, make_cfg, sparse_data
):
    sae = trained(name, make_cfg, sparse_data, input_unit_norm=input_unit_norm)
    x = sparse_data(8) * torch.linspace(0.2, 5, 8)[:, None]  # of unequal norm
    for a, b in combinations(x, 2):
        found = explain(sae, a, b)
        assert found.value == pytest.approx(cosines(a[None], b[None])[0, 0], abs=1e-12)
        assert found.sum == pytest.approx(found.value, abs=1e-12)
        assert sum(found.kinds.values()) == pytest.approx(found.value, abs=1e-12)
        active = sae.transform(torch.stack([a, b])).toarray() != 0
        kinds = {term.latent: term.kind for term in found.terms if term.latent is not None}
        assert kinds == {
            int(i): {(1, 1): "both", (1, 0): "first", (0, 1): "second"}[tuple(map(int, active[:, i]))]
            for i in np.flatnonzero(active.any(axis=0))
        }
    for row in x:
        missed = (row - sae.decode(sae.encode(row[None]), like=row[None])[0]) / row.norm()
        np.testing.assert_allclose(decompose(sae, row[None]).residual, missed.detach().numpy(), atol=1e-5)


def by_hand() -> TopKSAE:
    """Two directions, (1, 0) and (.6, .8), whose codes are coordinates along them, or 0 where they are negative."""
    sae = TopKSAE({"act_size": 2, "dict_size": 2, "top_k": 2}).requires_grad_(False)
    sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    sae.W_enc.copy_(torch.tensor([[1.0, 0.0], [-0.75, 1.25]]))
    return sae


def test_shares_are_those_computed_by_hand():
    # x = (.8, .6) = .35 d0 + .75 d1; y = (0, 1) has the codes (-.75 -> 0, 1.25), so 1.25 d1 + (-.75, 0) is y
    found = explain(by_hand(), [0.8, 0.6], [0.0, 1.0])
    values = {term.latent if term.latent is not None else term.kind: term.value for term in found.terms}
    assert found.value == pytest.approx(0.6)
    assert values == pytest.approx({0: 0.0, 1: (0.75 * 0.8 + 1.25 * 0.96) / 2, "common": 0.0, "residual": -0.3})
    assert [term.value for term in found.terms] == sorted(values.values(), key=lambda value: -abs(value))
    assert found.kinds == pytest.approx({"same": 0.9375, "different": 0.2625, "common": 0.0, "residual": -0.6})
    (pair,) = found.pairs
    assert pair[:3] == (0, 1, ("latent 0", "latent 1")) and pair.value == pytest.approx(0.35 * 1.25 * 0.6)
    assert next(term for term in found.terms if term.latent == 1)[4:] == pytest.approx((0.75, 1.25))


def test_shares_are_shapley_values_of_taking_parts_out_of_both_texts(sae, sparse_data):
    a, b = sparse_data(2)
    u, v = decompose(sae, a[None]), decompose(sae, b[None])
    latents = np.flatnonzero(u.weights + v.weights)
    rows = directions(sae, latents)
    ours = [*(u.weights[latents, None] * rows), u.common, u.residual]
    its = [*(v.weights[latents, None] * rows), v.common, v.residual]

    def worth(players):
        return sum(ours[p] for p in players) @ sum(its[p] for p in players) if players else 0.0

    n = len(ours)
    for player, term in zip(range(n), [*latents.tolist(), "common", "residual"], strict=True):
        others = [p for p in range(n) if p != player]
        value = sum(
            factorial(size) * factorial(n - size - 1) / factorial(n) * (worth([*some, player]) - worth(some))
            for size in range(n)
            for some in combinations(others, size)
        )
        found = explain(sae, a, b).terms
        assert next(t.value for t in found if term in (t.latent, t.kind)) == pytest.approx(value, abs=1e-12)


def test_groups_differences_and_rankings_add_up_too(sae, sparse_data):
    a, b, q = sparse_data(5), sparse_data(7), sparse_data(1)
    mean = explain(sae, a, b)
    assert (mean.measure, mean.sum) == ("mean_cosine", pytest.approx(cosines(a, b).mean(), abs=1e-12))
    x, y = a[0], b[0]
    apart = explain_difference(sae, x, y)
    assert apart.sum == pytest.approx(2 - 2 * explain(sae, x, y).value, abs=1e-12) == apart.value
    between = explain_difference(sae, a, b)
    assert between.sum == pytest.approx(cosines(a, a).mean() + cosines(b, b).mean() - 2 * mean.value, abs=1e-12)
    ranked = explain_ranking(sae, q, x, y)
    assert ranked.sum == pytest.approx(explain(sae, q, x).value - explain(sae, q, y).value, abs=1e-12)
    alone = {term.latent: term.value for term in explain(sae, q, x).terms}
    other = {term.latent: term.value for term in explain(sae, q, y).terms}
    for term in ranked.terms:
        if term.latent is not None:
            difference = alone.get(term.latent, 0) - other.get(term.latent, 0)
            # a latent of the query alone has its half of the cosine with either
            assert term.value == pytest.approx(difference, abs=1e-12)
    assert "query" in {term.kind for term in ranked.terms}
    many = sparse_data(1).repeat(10_000, 1)  # more than one block
    assert decompose(sae, many).weights == pytest.approx(decompose(sae, many[:1]).weights, abs=1e-12)


def test_a_text_and_itself_are_1_and_an_orthogonal_one_is_0(sae, sparse_data):
    (x,) = sparse_data(1)
    assert explain(sae, x).sum == pytest.approx(1, abs=1e-12) == explain(sae, x, 3 * x).sum
    across = torch.zeros(16)
    across[0], across[1] = x[1], -x[0]
    assert explain(sae, x, across).sum == pytest.approx(0, abs=1e-7)


def test_a_text_without_active_latents_is_explained_by_what_is_left(sae, sparse_data):
    sae.b_enc.fill_(-1e3)
    a, b = sparse_data(2)
    found = explain(sae, a, b)
    assert {term.kind for term in found.terms} == {"common", "residual"} and not found.pairs
    assert found.sum == pytest.approx(found.value, abs=1e-12)


def test_permuting_latents_permutes_the_explanation(sae, sparse_data):
    a, b = sparse_data(2)
    before = explain(sae, a, b, labels={i: f"feature {i}" for i in range(64)})
    order = torch.randperm(64)
    with torch.no_grad():
        for name in ("W_dec", "b_enc"):
            getattr(sae, name).copy_(getattr(sae, name)[order])
        sae.W_enc.copy_(sae.W_enc[:, order])
    after = explain(sae, a, b, labels={i: f"feature {old}" for i, old in enumerate(order.tolist())})
    assert [term.label for term in after.terms] == [term.label for term in before.terms]
    assert [term.value for term in after.terms] == pytest.approx([term.value for term in before.terms], abs=1e-6)


class SquaringSAE(TopKSAE):
    def decode_scaled(self, codes):
        return super().decode_scaled(codes).square()


def test_a_variant_that_decodes_otherwise_is_told_in_a_sentence(make_cfg, sparse_data):
    with pytest.raises(InputError, match="^SquaringSAE does not decode by `codes @ W_dec [^\n]*$"):
        explain(SquaringSAE(make_cfg()), *sparse_data(2))


@pytest.mark.parametrize(
    ("a", "sentence"),
    [
        (torch.ones(5), r"the SAE takes embeddings \(n, 16\), and these have the shape \(1, 5\)"),
        (torch.zeros(16), "all zeros or not finite"),
        (torch.full((16,), torch.nan), "all zeros or not finite"),
        (torch.ones(0, 16), "at least one text or embedding"),
        ("a text", r"unknown model \(model_name is null\)"),
    ],
)
def test_what_cannot_be_explained_is_told_in_a_sentence(sae, a, sentence):
    sae.cfg["model_name"] = None
    with pytest.raises(InputError, match=sentence):
        explain(sae, a, torch.ones(16))


def test_texts_are_encoded_by_the_model_of_the_sae(sae, minilm, make_cfg):
    for texts, place in ((("  ", "b"), "first"), (("a", ["b", "\n"]), "second")):
        with pytest.raises(InputError, match=f"the {place} text is empty"):
            explain(TopKSAE(make_cfg(act_size=384)), *texts, model=minilm)
    with pytest.raises(InputError, match="takes embeddings of size 16, and those of the model have size 384"):
        explain(sae, "a", "b", model=minilm)
    given = ["How sparse can a thought be?", "A thought, how sparse is it?"]
    own = minilm.encode(given, convert_to_tensor=True).double()
    found = explain(TopKSAE(make_cfg(act_size=384)), *given, model=minilm)
    assert found.sum == pytest.approx(float(own[0] @ own[1]), abs=1e-6)
    together = explain(TopKSAE(make_cfg(act_size=384)), given, given[:1], model=minilm)
    assert together.value == pytest.approx((found.value + 1) / 2, abs=1e-6)
