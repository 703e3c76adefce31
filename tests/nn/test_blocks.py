from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from recolib.nn import Deep, Fields, FieldSpec, Pooled, blocks
from recolib.nn.blocks import ON_ACCELERATOR, Sums, at_once, over_pairs
from recolib.nn.components.pooled import PooledState, moments_of_pairs
from recolib.nn.dropout import PairDropout
from recolib.nn.mlp import after_linear, mlp

SPEC = FieldSpec((0, 1), (2, 3, 4), 8)
G, M = 41, 130


def fields(n_users: int, n_items: int, n_fields: int, dtype: torch.dtype) -> Fields:
    vectors = torch.randn(n_users, n_items, n_fields, SPEC.dim, dtype=dtype) * 0.5 + 0.2
    return Fields(vectors.requires_grad_(), vectors[..., 0].detach(), vectors[..., 0] == vectors[..., 0])


def sides(dtype: torch.dtype = torch.float32) -> tuple[Fields, Fields]:
    return fields(G, 1, 2, dtype), fields(1, M, 3, dtype)


def component(cls: type[Deep] | type[Pooled], hidden_units: tuple[int, ...] = (20, 6), **more: float) -> Deep | Pooled:
    torch.manual_seed(0)
    made = cls(SPEC, hidden_units, **more)  # pyright: ignore[reportArgumentType]
    for weight in made.parameters():
        nn.init.normal_(weight, 0.3, 0.5)
    return made


def scored(made: Deep | Pooled, user: Fields, item: Fields) -> Tensor:
    return made.score(made.encode("user", user), made.encode("item", item))  # pyright: ignore[reportArgumentType]


def outcome(made: Deep | Pooled, user: Fields, item: Fields) -> dict[str, Tensor]:
    """Scores, gradients and running statistics of a step in training."""
    made = copy.deepcopy(made).train()
    scores = scored(made, user, item)
    slopes = torch.linspace(-1, 1, scores.numel(), dtype=scores.dtype).view(scores.shape).sin()
    wanted = {"user": user.vectors, "item": item.vectors, **dict(made.named_parameters())}
    gradients = torch.autograd.grad((scores * slopes).sum(), list(wanted.values()))
    return {"scores": scores, **dict(zip(wanted, gradients, strict=True)), **dict(made.named_buffers())}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden_units", [(20,), (20, 6), (9, 8, 7)])
@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("cls", [Deep, Pooled])
def test_blocks_give_what_the_uncut_layers_give(cls, use_bn, hidden_units, dtype, monkeypatch):
    made, (user, item) = component(cls, hidden_units, use_bn=use_bn).to(dtype), sides(dtype)
    monkeypatch.setattr(blocks, "N_ITEMS", 50)
    cut = outcome(made, user, item)
    monkeypatch.setattr(blocks, "N_PAIRS", G * M + 1)
    whole = outcome(made, user, item)
    digits = (
        1e-3 if dtype == torch.float32 else 1e-13
    )  # in float32 a ReLU of nearly 0 is on in the one, off in the other
    most = max(float(of.detach().abs().max()) for of in whole.values())  # batch norm's sums cancel from there
    for name, expected in whole.items():
        torch.testing.assert_close(cut[name], expected, rtol=digits, atol=digits * most, msg=name)


@pytest.mark.parametrize("use_bn", [False, True])
def test_gradients_are_those_of_finite_differences(use_bn, monkeypatch):
    monkeypatch.setattr(blocks, "N_USERS", 2)
    monkeypatch.setattr(blocks, "N_ITEMS", 6)  # three in float64
    torch.manual_seed(0)
    layers = nn.Sequential(*after_linear(4, False, 0.3), *mlp((4, 3), use_bn, 0.3)).double()
    for weight in layers.parameters():  # at a bias of 0 the ReLU of what is hidden has a bend
        nn.init.normal_(weight)
    user, item = torch.randn(5, 1, 4).double().requires_grad_(), torch.randn(1, 7, 4).double().requires_grad_()

    def scores(user: Tensor, item: Tensor, *_weights: Tensor) -> Tensor:
        torch.manual_seed(1)  # the same is hidden each time
        return over_pairs(layers, Sums(), user, item)

    assert torch.autograd.gradcheck(scores, (user, item, *layers.parameters()))


@pytest.mark.parametrize("cls", [Deep, Pooled])
def test_the_size_of_a_block_does_not_change_what_is_hidden(cls, monkeypatch):
    made, (user, item) = component(cls, dropout=0.4).train(), sides()
    found: list[Tensor] = []
    for n_users, n_items in ((16, 384), (8, 17)):
        monkeypatch.setattr(blocks, "N_USERS", n_users)
        monkeypatch.setattr(blocks, "N_ITEMS", n_items)
        torch.manual_seed(3)
        found.append(scored(made, user, item))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(scored(made, user, item), found[0], atol=0.1)  # another draw


def test_dropout_of_pairs_hides_its_share_of_each_pair_and_any_four_by_chance():
    torch.manual_seed(0)
    rate, whole = 0.3, slice(None)
    drawn = PairDropout.draw(rate, 300, 400, 20, torch.device("cpu"))
    hidden = 1 - drawn.kept(whole, whole, torch.float32)
    assert drawn.scale == pytest.approx(1 / (1 - rate), rel=1e-4)
    assert float(hidden.mean()) == pytest.approx(rate, abs=0.003)
    assert torch.equal(1 - drawn.kept(slice(7, 9), slice(5, 50), torch.float32), hidden[7:9, 5:50])
    a, b, c, d = hidden[::2, ::2], hidden[::2, 1::2], hidden[1::2, ::2], hidden[1::2, 1::2]
    for together, power in ((a * b, 2), (a * c, 2), (a * d, 2), (a * b * c, 3), (a * b * c * d, 4)):
        assert float(together.mean()) == pytest.approx(rate**power, rel=0.05)


@pytest.mark.parametrize("cls", [Deep, Pooled])
def test_dropout_keeps_the_mean_of_a_linear_output(cls):
    made, (user, item) = component(cls, (30,), use_bn=False).train(), sides()
    plain = scored(made, user, item)
    dropping = cls(SPEC, (30,), use_bn=False, dropout=0.3)
    for own, other in zip(dropping.parameters(), made.parameters(), strict=True):
        own.data.copy_(other)
    draws = torch.stack([scored(dropping.train(), user, item).detach() for _ in range(60)])
    torch.testing.assert_close(draws.mean(), plain.detach().mean(), rtol=0.02, atol=0)
    assert float(draws.std(0).mean()) > 0.1


@pytest.mark.parametrize("pair_dropout", [0.0, 0.4])
def test_dropout_on_pair_vectors_stands_between_both_norms(pair_dropout):
    made, (user, item) = component(Pooled, pair_dropout=pair_dropout).train(), sides()
    scores = scored(made, user, item)
    scores.sum().backward()
    assert bool(scores.isfinite().all())
    assert made.rest[0].num_batches_tracked == made.norm.num_batches_tracked == 1  # pyright: ignore
    assert torch.equal(scores, scored(made, user, item)) == (not pair_dropout)


@pytest.mark.parametrize(("use_bn", "kept"), [(False, 1), (True, 7)])
@pytest.mark.parametrize("cls", [Deep, Pooled])
def test_only_what_a_later_batch_norm_sees_is_kept_of_each_pair(cls, use_bn, kept):
    made, (user, item) = component(cls, use_bn=use_bn).train(), sides()
    held: dict[int, int] = {}

    def hold(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        scores = scored(made, user, item)
    assert sum(n for n in held.values() if n >= G * M) == (kept - 1) * G * M
    assert scores.shape == (G, M)
    assert made.numbers_per_pair == kept
    assert made.eval().numbers_per_pair == 20


@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("cls", [Deep, Pooled])
def test_bfloat16_in_blocks_is_as_near_to_float32_as_uncut(cls, use_bn, monkeypatch):
    made, (user, item) = component(cls, use_bn=use_bn), sides()
    exact = outcome(made, user, item)
    with torch.autocast("cpu", torch.bfloat16):
        cut = outcome(made, user, item)
        monkeypatch.setattr(blocks, "N_PAIRS", G * M + 1)
        whole = outcome(made, user, item)
    assert cut["scores"].dtype == torch.bfloat16
    most = max(float(of.detach().norm()) for name, of in exact.items() if "weight" in name)
    for name, expected in exact.items():
        off, off_uncut = (float((one[name].float() - expected).detach().norm()) for one in (cut, whole))
        assert off <= 2 * off_uncut + 0.02 * most, name


def test_moments_of_pairs_are_those_of_all_pairs():
    torch.manual_seed(0)
    a, u = torch.randn(2, 9, 1, 5, dtype=torch.float64)
    b, v = torch.randn(2, 1, 11, 5, dtype=torch.float64) + 0.5
    pairs = (a + b + u * v).flatten(0, 1)
    mean, covariance = moments_of_pairs(a, b, u, v)
    torch.testing.assert_close(mean, pairs.mean(0))
    torch.testing.assert_close(covariance, torch.cov(pairs.T, correction=0))


def test_few_pairs_and_items_of_each_user_go_uncut():
    assert blocks.pays(True, torch.zeros(64, 1, 3), torch.zeros(1, 64, 3))
    assert not blocks.pays(True, torch.zeros(63, 1, 3), torch.zeros(1, 64, 3))
    assert not blocks.pays(True, torch.zeros(64, 1, 3), torch.zeros(64, 64, 3))
    assert not blocks.pays(False, torch.zeros(64, 1, 3), torch.zeros(1, 64, 3))


def test_an_accelerator_holds_more_at_once_than_a_cache() -> None:
    assert at_once(2**18, torch.device("cpu")) == 2**18
    assert at_once(2**18, torch.device("cuda")) == ON_ACCELERATOR
    assert at_once(2**30, torch.device("cuda")) == 2**30


@pytest.mark.parametrize("widths", [(4,), (4, 3)])
def test_layers_over_pairs_without_batch_norm_start_open_and_at_zero_where_no_pair_says_anything(widths):
    torch.manual_seed(0)
    pooled = Pooled(SPEC, widths, use_bn=False)
    pooled.start_at_zero()
    total, own = torch.full((1, 1, SPEC.dim), 0.01, requires_grad=True), torch.zeros(1, 1, SPEC.dim)
    assert pooled.score(PooledState(own, own), PooledState(own, own)).abs().item() < 1e-6
    pooled.score(PooledState(total, own), PooledState(total.detach(), own)).sum().backward()
    assert total.grad is not None
    if len(widths) == 1:  # each unit lets its share through
        through = pooled.rest[-1].weight @ pooled.first.weight
        torch.testing.assert_close(total.grad[0], 0.01 * through)
    assert total.grad.abs().sum() > 0
