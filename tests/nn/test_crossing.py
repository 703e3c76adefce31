from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from types import SimpleNamespace

import pytest
import torch
from test_parity import (
    DIM,
    NO_COLUMNS,
    TAGS,
    TOLERANCE,
    WORLDS,
    B,
    World,
    as_pairs,
    gradients,
    random_rows,
    to,
    worked,
)
from torch import Tensor, nn

from recolib.algorithms import DCNv2, WideDeep
from recolib.nn import CodeField, CrossLayers, FieldEmbedding, Fields, FieldSpec, Network, SideLayout
from recolib.nn.components import CrossState
from recolib.nn.embedding import field_numbers

CROSSES = {
    "one layer": (1, None),
    "three layers": (3, None),
    "one layer of rank 2": (1, 2),
    "three layers of rank 2": (3, 2),
    "two layers of rank 1": (2, 1),
}
LAYOUTS = WORLDS | {
    "no user": World(NO_COLUMNS, SideLayout((CodeField(8), TAGS), 1)),
    "no item": World(SideLayout((CodeField(9),), 2), NO_COLUMNS),
}
CROSS = pytest.mark.parametrize("cross", CROSSES.values(), ids=CROSSES)


def build(cross: tuple[int, int | None], world: World, dtype: torch.dtype = torch.float32) -> Network:
    """A network of cross layers alone, whose every parameter is random."""
    spec = FieldSpec(*field_numbers(world.user_side, world.item, world.combiner), DIM)
    sides = (FieldEmbedding(layout, DIM, world.combiner) for layout in (world.user_side, world.item))
    network = Network(*sides, components=[CrossLayers(spec, *cross)], bias=0.3).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3)
    return network


def matrices(component: CrossLayers) -> list[tuple[Tensor, Tensor]]:
    """W and b of each layer; of a low rank W is U Vᵀ."""
    layers = [[component.first, *component.behind], *(list(layer) for layer in component.later)]
    return [
        (layer[0].weight if len(layer) == 1 else layer[1].weight @ layer[0].weight, layer[-1].bias) for layer in layers
    ]


def joined_score(component: CrossLayers, vectors: Sequence[Tensor]) -> Tensor:
    """w · x_L of rows (n,), x_{l+1} = x_0 ∘ (W_l x_l + b_l) + x_l, all fields side by side."""
    x0 = x = torch.cat([*vectors], -1)
    for weight, bias in matrices(component):
        x = x0 * (x @ weight.T + bias) + x
    return (x * component.direction.weight).sum(-1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("world", LAYOUTS)
@CROSS
def test_split_layers_equal_the_equation(cross, world, training, dtype):
    """In values and gradients, for pairs, for items of one's own, and for items that users share."""
    torch.manual_seed(1)
    world, tolerance = LAYOUTS[world], TOLERANCE[dtype]
    network = build(cross, world, dtype).train(training)
    users = to(random_rows(world.user, B, 1).join(random_rows(world.context, B, 1)), dtype)
    for lead, n in product((1, B), (1, 4)):
        items, pull = to(random_rows(world.item, lead, n), dtype), torch.randn(B, n, dtype=dtype)
        scores = network(users, items)
        assert scores.shape == (B, n)
        positions = world.embed_by_hand(network, as_pairs(users, n), as_pairs(items, n))
        joined = joined_score(network.components[0], [vector for vector, _ in positions])
        expected = (network.bias + joined).view(B, n)
        torch.testing.assert_close(scores, expected, rtol=tolerance, atol=tolerance)
        of_split, of_joined = (gradients(network, (score * pull).sum()) for score in (scores, expected))
        torch.testing.assert_close(of_split, of_joined, rtol=10 * tolerance, atol=10 * tolerance)


@CROSS
def test_states_lifted_cut_and_gathered_score_as_the_rows_they_came_from(cross):
    torch.manual_seed(2)
    world = WORLDS["sqrtn"]
    network = build(cross, world).eval()
    users, items = random_rows(world.user, 7).join(random_rows(world.context, 7)), random_rows(world.item, 20)
    with torch.no_grad():
        of_users, of_items = network.encode("user", users), network.encode("item", items)
        whole = network.score(of_users[:, None], of_items[None])
        torch.testing.assert_close(whole, network(users[:, None], items[None, :]), rtol=1e-5, atol=1e-5)
        chosen = torch.randint(0, 20, (7, 3))
        of_chosen = network.score(of_users[:, None], of_items[chosen])
        torch.testing.assert_close(of_chosen, whole.gather(1, chosen), rtol=1e-5, atol=1e-5)


# ---- numbers worked by hand; see test_parity for the case: x_0 = (1, 2, 3, −1, 1, 2)

COLUMNS = torch.tensor([[0.5, 0.25, 0.0, 0.0, 0.5, 0.25], [0.0, 0.25, 0.5, 1.0, 0.0, -0.25]])
"""What every column of W_0 is, and of W_1: W_0 x_0 is 8 of the one, and W_1 x_1 is 16 of the other."""


def perceptron(deep: nn.Module) -> None:
    """One unit: ½ · 8 − 1 = 3, times 0.1."""
    deep.first.weight.fill_(0.5)
    deep.first.bias.fill_(-1.0)
    deep.rest[-1].weight.fill_(0.1)
    deep.rest[-1].bias.fill_(0.0)


def dcnv2(rank: int | None, spec: FieldSpec) -> list[nn.Module]:
    """x_1 = (4, 4, 0, 0, 4, 4), x_2 = (5, 14, 27, −17, 5, −2), and w · x_2 = 0.2."""
    settings = SimpleNamespace(cross_layers=2, cross_rank=rank, hidden_units=(1,), use_bn=False, dropout_rate=None)
    cross, deep = DCNv2.components(settings, spec)
    assert len(cross.behind) == (0 if rank is None else 1)
    with torch.no_grad():
        for layer, column, bias in zip([[cross.first, *cross.behind], *cross.later], COLUMNS, (-1.0, 1.0), strict=True):
            for linear in layer:
                linear.weight.fill_(1.0)
            layer[-1].weight.copy_(column[:, None].expand_as(layer[-1].weight))
            layer[-1].bias.fill_(bias)
        cross.direction.weight.copy_(torch.tensor([[0.1, 0.05, -0.1, -0.1, 0.2, 0.5]]))
        perceptron(deep)
    return [cross, deep]


def widedeep(spec: FieldSpec) -> list[nn.Module]:
    """Σ w x = 0.7 and the perceptron."""
    settings = SimpleNamespace(hidden_units=(1,), use_bn=False, dropout_rate=None)
    linear, deep = WideDeep.components(settings, spec)
    with torch.no_grad():
        perceptron(deep)
    return [linear, deep]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
@pytest.mark.parametrize("rank", [None, 1])
def test_dcnv2_gives_the_worked_number_wherever_the_sides_are_cut(rank, cut):
    assert worked(cut, lambda spec: dcnv2(rank, spec)) == pytest.approx(0.6, abs=2e-6)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_widedeep_gives_the_worked_number_wherever_the_sides_are_cut(cut):
    assert worked(cut, widedeep) == pytest.approx(1.1, abs=2e-6)


# ---- what the layers are


SPEC = FieldSpec((0, 1), (2, 3, 4), 4)
WIDTH = 20


def random_states(component: CrossLayers) -> tuple[CrossState, CrossState]:
    torch.manual_seed(3)
    vectors = torch.randn(B, 9, 5, 4)
    user, item = (Fields(part, part[..., 0], part[..., 0] > -9) for part in (vectors[:, :1, :2], vectors[..., 2:, :]))
    return component.encode("user", user), component.encode("item", item)


@pytest.mark.parametrize("n_layers", [1, 2, 5])
def test_the_layers_have_as_many_numbers_as_the_equation(n_layers):
    whole, low = CrossLayers(SPEC, n_layers), CrossLayers(SPEC, n_layers, rank=3)
    assert sum(weight.numel() for weight in whole.parameters()) == n_layers * (WIDTH**2 + WIDTH) + WIDTH
    assert sum(weight.numel() for weight in low.parameters()) == n_layers * (2 * WIDTH * 3 + WIDTH) + WIDTH


def test_a_side_keeps_its_vectors_and_one_product():
    for rank, size in ((None, WIDTH), (3, 3)):
        user, item = random_states(CrossLayers(SPEC, 3, rank))
        assert (user.vectors.shape, item.vectors.shape) == ((B, 1, 8), (B, 9, 12))
        assert (user.product.shape, item.product.shape) == ((B, 1, size), (B, 9, size))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_factors_whose_product_is_the_matrix_give_the_same_score(n_layers):
    whole, low = CrossLayers(SPEC, n_layers), CrossLayers(SPEC, n_layers, rank=WIDTH)
    layers = [[low.first, *low.behind], *low.later]
    with torch.no_grad():
        low.direction.weight.copy_(whole.direction.weight)
        for (weight, bias), (inner, outer) in zip(matrices(whole), layers, strict=True):
            bias.normal_()
            u, s, vt = torch.linalg.svd(weight)
            inner.weight.copy_(vt)
            outer.weight.copy_(u * s)
            outer.bias.copy_(bias)
    expected = whole.score(*random_states(whole))
    torch.testing.assert_close(low.score(*random_states(low)), expected, rtol=1e-4, atol=1e-5)


def test_layers_of_nothing_are_a_first_order_term():
    component = CrossLayers(SPEC, 3)
    with torch.no_grad():
        for weight, _ in matrices(component):
            weight.zero_()
    user, item = random_states(component)
    x0 = torch.cat([user.vectors.expand(B, 9, 8), item.vectors], -1)
    torch.testing.assert_close(component.score(user, item), (x0 * component.direction.weight).sum(-1))


def test_a_layer_starts_as_one_uncut_layer_would():
    """Glorot bounds come from the fan-in of both sides together."""
    torch.manual_seed(4)
    spec = FieldSpec((0,), (1, 2, 3), 64)
    for rank in (None, 32):
        component = CrossLayers(spec, 2, rank)
        linears = [module for module in component.modules() if isinstance(module, nn.Linear)]
        assert len(linears) == (3 if rank is None else 5)
        for linear in linears:
            bound = (6 / sum(linear.weight.shape)) ** 0.5
            assert 0.95 * bound < linear.weight.abs().max().item() <= bound
            assert linear.bias is None or linear.bias.abs().max().item() == 0
