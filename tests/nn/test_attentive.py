from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, product

import pytest
import torch
from test_parity import DIM, TOLERANCE, WORLDS, B, World, as_pairs, gradients, random_rows, to, worked
from torch import Tensor, nn

from recolib.nn import (
    Attention,
    Component,
    FieldEmbedding,
    Fields,
    FieldSpec,
    InteractionAware,
    InteractionLayers,
    Linear,
    Network,
)
from recolib.nn.components import AttentivePairs, cross_fields
from recolib.nn.components.attentive import own_products
from recolib.nn.embedding import field_numbers

Make = Callable[[FieldSpec], AttentivePairs]
COMPONENTS: dict[str, Make] = {
    "Attention": lambda spec: Attention(spec, 3),
    "InteractionAware": lambda spec: InteractionAware(spec, 3, 4, temperature=2.5),
    "InteractionAware-tanh-across": lambda spec: InteractionAware(spec, 3, 4, activation="tanh", within_fields=False),
    "InteractionLayers": lambda spec: InteractionLayers(spec, 3, 4, (5,), temperature=0.7),
    "InteractionLayers-deep": lambda spec: InteractionLayers(spec, 3, 4, (5, 3)),
}
ALL = pytest.mark.parametrize("make", COMPONENTS.values(), ids=COMPONENTS)


def build(make: Make, world: World, dtype: torch.dtype = torch.float32) -> Network:
    spec = FieldSpec(*field_numbers(world.user_side, world.item, world.combiner), DIM)
    sides = (FieldEmbedding(layout, DIM, world.combiner) for layout in (world.user_side, world.item))
    network = Network(*sides, components=[Linear(spec), make(spec)], bias=0.3).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    return network


def attention_by_hand(component: AttentivePairs, fields: Fields) -> tuple[list[tuple[int, int]], list[Tensor], Tensor]:
    """The pairs, their products (R, K), and the weights (R, P) of one softmax over those of present fields."""
    n, numbers = fields.present.shape[-1], [*component.spec.user, *component.spec.item]
    pairs = [(i, j) for i, j in combinations(range(n), 2) if component.allowed[i, j]]
    assert len(pairs) == sum(numbers[i] != numbers[j] or bool(component.allowed[i, j]) for i, j in pairs)
    products = [fields.vectors[:, i] * fields.vectors[:, j] for i, j in pairs]
    weight, bias = component.attention.weight, component.attention.bias
    logits = [component.activation(e @ weight.T + bias) @ component.query / component.temperature for e in products]
    present = torch.stack([fields.present[:, i] & fields.present[:, j] for i, j in pairs], -1)
    strength = torch.stack(logits, -1).exp() * present
    return pairs, products, strength / strength.sum(-1, keepdim=True).clamp_min(1e-30)


def joined_score(component: AttentivePairs, fields: Fields) -> Tensor:
    pairs, products, weights = attention_by_hand(component, fields)
    if isinstance(component, Attention):
        return sum(weights[:, p] * (e @ component.direction) for p, e in enumerate(products))
    assert isinstance(component, InteractionAware)
    numbers = [*component.spec.user, *component.spec.item]
    of_fields = [(component.fields[numbers[i]] * component.fields[numbers[j]]) @ component.mixture for i, j in pairs]
    if not isinstance(component, InteractionLayers):
        return sum(weights[:, p] * (e @ of_fields[p]) for p, e in enumerate(products))
    z = torch.cat([weights[:, p, None] * e * of_fields[p] for p, e in enumerate(products)], -1)
    first = component.weight.transpose(0, 1).flatten(1)
    h = (z @ first.T + component.bias).clamp_min(0)
    for layer in component.rest[1:]:
        h = layer(h)
    return h.squeeze(-1)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("world", WORLDS)
@ALL
def test_split_attention_equals_one_softmax_over_all_pairs(make, world, training, dtype):
    """In values and gradients, for items of one's own and for items that users share."""
    torch.manual_seed(1)
    world, tolerance = WORLDS[world], TOLERANCE[dtype]
    network = build(make, world, dtype).train(training)
    attentive = network.components[1]
    users = to(random_rows(world.user, B, 1).join(random_rows(world.context, B, 1)), dtype)
    for lead, n in product((1, B), (1, 4, 33)):
        items, pull = to(random_rows(world.item, lead, n), dtype), torch.randn(B, n, dtype=dtype)
        scores = network(users, items)
        assert scores.shape == (B, n)
        fields = network.user(as_pairs(users, n)).join(network.item(as_pairs(items, n)))
        expected = (network.bias + fields.weights.sum(-1) + joined_score(attentive, fields)).view(B, n)
        torch.testing.assert_close(scores, expected, rtol=10 * tolerance, atol=10 * tolerance)
        of_split, of_joined = (gradients(network, (score * pull).sum()) for score in (scores, expected))
        torch.testing.assert_close(of_split, of_joined, rtol=30 * tolerance, atol=30 * tolerance)


@ALL
def test_states_lifted_cut_and_gathered_score_as_the_rows_they_came_from(make):
    torch.manual_seed(2)
    world = WORLDS["sqrtn"]
    network = build(make, world).eval()
    users, items = random_rows(world.user, 7).join(random_rows(world.context, 7)), random_rows(world.item, 20)
    with torch.no_grad():
        of_users, of_items = network.encode("user", users), network.encode("item", items)
        whole = network.score(of_users[:, None], of_items[None])
        chosen = torch.randint(0, 20, (7, 3))
        of_chosen = network.score(of_users[:, None], of_items[chosen])
        torch.testing.assert_close(of_chosen, whole.gather(1, chosen), rtol=1e-4, atol=1e-5)


def test_cross_fields_are_matrices_times_products():
    torch.manual_seed(3)
    user, item = torch.randn(B, 1, 3, DIM), torch.randn(1, 9, 2, DIM)
    for shape in ((2, 3), (1, 1)):
        matrix = torch.randn(*shape, 4, DIM)
        expected = torch.einsum("buk,nik,iurk->bniur", user[:, 0], item[0], matrix.expand(2, 3, 4, DIM))
        torch.testing.assert_close(cross_fields(user, item, matrix), expected, rtol=1e-4, atol=1e-5)


# ---- numbers worked by hand; see test_parity for the case


def attention_of(component: AttentivePairs, weight: Tensor, query: Tensor) -> None:
    component.attention.weight.copy_(weight)
    component.attention.bias.zero_()
    component.query.copy_(query)


def afm(spec: FieldSpec) -> list[nn.Module]:
    component = Attention(spec, 2)
    with torch.no_grad():
        attention_of(component, torch.eye(2), torch.tensor([math.log(2), 0.0]))
    return [Linear(spec), component]


def interaction_aware(component: InteractionAware) -> None:
    attention_of(component, torch.eye(2), torch.tensor([math.log(2), 0.0]))
    component.fields.copy_(torch.tensor([[1.0, 2.0], [1.0, 0.0], [1.0, 1.0]]))
    component.mixture.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))


def ifm(spec: FieldSpec) -> list[nn.Module]:
    component = InteractionAware(spec, 2, 2, temperature=2.0)
    with torch.no_grad():
        interaction_aware(component)
    return [Linear(spec), component]


def inn(spec: FieldSpec) -> list[nn.Module]:
    """A first layer of (1, −1) and a last one of (1, −1) is IFM."""
    component = InteractionLayers(spec, 2, 2, (2,), temperature=2.0)
    with torch.no_grad():
        interaction_aware(component)
        component.weight.copy_(torch.tensor([1.0, -1.0])[None, :, None].expand_as(component.weight))
        component.bias.zero_()
        component.rest[-1].weight.copy_(torch.tensor([[1.0, -1.0]]))
        component.rest[-1].bias.zero_()
    return [Linear(spec), component]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
@pytest.mark.parametrize(("terms", "expected"), [(afm, 2.2444444), (ifm, 5.4), (inn, 5.4)])
def test_the_worked_numbers_come_out_wherever_the_sides_are_cut(terms, expected, cut):
    assert worked(cut, terms) == pytest.approx(expected, abs=3e-6)


# ---- attention


def fields_of(present: list[bool], dim: int = DIM) -> Fields:
    present_ = torch.tensor(present)
    return Fields(torch.randn(len(present), dim) * present_[:, None], torch.zeros(len(present)), present_)


def score_of(component: Component, user: Fields, item: Fields) -> float:
    states = component.encode("user", user), component.encode("item", item)
    return component.score(states[0][None, None], states[1][None, None]).item()


def test_attention_weights_of_a_row_sum_to_one_and_differ():
    """Values that are all 1 have the mean 1, and values that are not have another mean than with equal weights."""

    class Constant(Attention):
        def mix(self, components: Tensor, left: Tensor, right: Tensor) -> Tensor:
            return torch.ones_like(components)

    torch.manual_seed(4)
    spec = FieldSpec((0, 1), (2, 3), DIM)
    user, item = fields_of([True, True]), fields_of([True, True])
    assert score_of(Constant(spec, 3).train(), user, item) == pytest.approx(1, abs=1e-6)
    component = Attention(spec, 3)
    vectors = torch.cat([user.vectors, item.vectors])
    mean = sum(vectors[i] @ vectors[j] for i, j in combinations(range(4), 2)).item() / 6
    assert abs(score_of(component, user, item) - mean) > 1e-2


@ALL
def test_an_absent_field_takes_no_attention(make):
    """A row with one is a row of one field less: whatever stands in the empty slot."""
    torch.manual_seed(5)
    component = make(FieldSpec((0, 1), (2, 3), DIM)).eval()
    user, item = fields_of([True, True]), fields_of([True, False])
    before = score_of(component, user, item)
    wild = Fields(item.vectors + 9 * ~item.present[:, None], item.weights, item.present)
    assert score_of(component, user, wild) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize("present", [[True, False, False, False], [False] * 4])
def test_a_row_without_pairs_scores_nothing(present):
    component = Attention(FieldSpec((0, 1), (2, 3), DIM), 3).eval()
    assert score_of(component, fields_of(present[:2]), fields_of(present[2:])) == 0.0


def test_high_temperature_makes_all_pairs_equal_and_low_the_best_all():
    torch.manual_seed(6)
    spec = FieldSpec((0, 1), (2,), DIM)
    user, item = fields_of([True, True]), fields_of([True])
    vectors = torch.cat([user.vectors, item.vectors])
    products = [vectors[i] * vectors[j] for i, j in combinations(range(3), 2)]
    component = InteractionAware(spec, 3, 4).eval()
    directions = [component.directions(torch.tensor([i]), torch.tensor([j])) for i, j in combinations(range(3), 2)]
    values = torch.stack([(e * d).sum() for e, d in zip(products, directions, strict=True)])
    logits = component._logits(torch.stack(products) @ component.attention.weight.T, torch.ones(3, dtype=torch.bool))
    component.temperature = 1e7
    assert score_of(component, user, item) == pytest.approx(values.mean().item(), abs=1e-4)
    component.temperature = 1e-4
    assert score_of(component, user, item) == pytest.approx(values[logits.argmax()].item(), abs=1e-4)


@pytest.mark.parametrize("n", range(6))
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_own_products_are_those_of_all_pairs(n, lead):
    torch.manual_seed(0)
    vectors = torch.randn(*lead, n, DIM, dtype=torch.float64, requires_grad=True)
    pairs = [vectors[..., i, :] * vectors[..., j, :] for i, j in combinations(range(n), 2)]
    expected = torch.stack(pairs, -2) if pairs else vectors[..., :0, :]
    torch.testing.assert_close(own_products(vectors), expected)
    assert torch.autograd.gradcheck(own_products, (vectors,))


def test_penalties_are_the_squared_norms():
    spec = FieldSpec((0, 1), (2, 3), DIM)
    assert InteractionAware(spec, 3, 2).penalty() == 0.0
    component = InteractionAware(spec, 3, 2, attention_reg=0.5, field_reg=0.25)
    of_fields = component.fields.square().sum() + component.mixture.square().sum()
    expected = 0.5 * component.attention.weight.square().sum() + 0.25 * of_fields
    torch.testing.assert_close(component.penalty(), expected)
    alone = Attention(spec, 3, attention_reg=0.5)
    torch.testing.assert_close(alone.penalty(), 0.5 * alone.attention.weight.square().sum())


@ALL
def test_dropout_is_on_in_training_alone(make):
    torch.manual_seed(7)
    component = make(FieldSpec((0, 1), (2, 3), DIM))
    if isinstance(component, Attention):
        component.dropout = 0.5
    else:
        component.pair_dropout = 0.5
    user, item = fields_of([True, True]), fields_of([True, True])
    assert len({score_of(component.train(), user, item) for _ in range(50)}) > 1
    assert len({score_of(component.eval(), user, item) for _ in range(5)}) == 1


def test_attention_keeps_in_the_mean_what_dropout_hides():
    torch.manual_seed(8)
    component = Attention(FieldSpec((0, 1), (2, 3), DIM), 3, dropout=0.3)
    user, item = fields_of([True, True]), fields_of([True, True])
    dropped = sum(score_of(component.train(), user, item) for _ in range(4000)) / 4000
    component.dropout = 0.0
    assert dropped == pytest.approx(score_of(component, user, item), abs=0.15)


# ---- sampled pairs


def sampled(pair_share: float, warmup_steps: int = 0) -> InteractionAware:
    component = InteractionAware(
        FieldSpec((0, 1), (2,), 2), 2, 2, pair_share=pair_share, warmup_steps=warmup_steps
    ).train()
    with torch.no_grad():
        interaction_aware(component)
    return component


def test_pairs_are_drawn_in_proportion_to_the_squares_of_their_directions():
    """‖F‖² is 1, 13 and 1: the first pick is the second pair with chance 13/15."""
    torch.manual_seed(9)
    component = sampled(1 / 3)
    counts = torch.zeros(3, 3)
    for _ in range(3000):
        component.begin_batch()
        counts += component.drawn
    share = [counts[i, j].item() / 3000 for i, j in ((0, 1), (0, 2), (1, 2))]
    assert share == pytest.approx([1 / 15, 13 / 15, 1 / 15], abs=0.025)
    assert torch.equal(counts, counts.T)


def test_pairs_are_drawn_after_the_warm_up_and_in_training_alone():
    torch.manual_seed(10)
    component = sampled(1 / 3, warmup_steps=2)
    n_pairs = []
    for _ in range(4):
        component.begin_batch()
        n_pairs.append(int(component.pairs().triu(1).sum()))
    assert n_pairs == [3, 3, 1, 1]
    assert component.eval().pairs().triu(1).sum() == 3
    assert component.state_dict()["steps"] == 4


def test_left_out_pairs_leave_their_attention_to_the_others():
    torch.manual_seed(11)
    component = sampled(1 / 3)
    user, item = fields_of([True, True], 2), fields_of([True], 2)
    component.begin_batch()
    (i, j) = next((i, j) for i, j in combinations(range(3), 2) if component.drawn[i, j])
    vectors = torch.cat([user.vectors, item.vectors])
    direction = component.directions(torch.tensor([i]), torch.tensor([j])).squeeze()
    assert score_of(component, user, item) == pytest.approx(((vectors[i] * vectors[j]) @ direction).item(), abs=1e-6)


def test_keeping_all_pairs_is_not_sampling():
    component = sampled(1.0)
    component.begin_batch()
    assert component.pairs() is component.allowed
