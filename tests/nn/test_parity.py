from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import pytest
import torch
from torch import Tensor, nn

from recolib.data.rows import ABSENT, Rows
from recolib.nn import (
    BatchNorm,
    CodeField,
    Deep,
    FieldEmbedding,
    Fields,
    FieldSpec,
    Joined,
    Linear,
    Network,
    Pairwise,
    Pooled,
    SideLayout,
)
from recolib.nn.components import cross
from recolib.nn.embedding import field_numbers

DIM = 5
B = 6
COMBINERS = ("sum", "mean", "sqrtn", "normal")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}


# ---- models, as the split code has them and as the equations have them


@dataclass(frozen=True)
class Recipe:
    """What a model is made of; the reference below reads it too."""

    pair_norm: bool = False
    weighted: bool = False  # a trained weight per field's first order term and per element of the pair vector
    hidden: tuple[int, ...] = ()
    deep_norm: bool = False
    plain_last: bool = False
    pooled: bool = False  # the pairs' vector goes into the perceptron, instead of being summed

    def components(self, spec: FieldSpec) -> list[nn.Module]:
        if self.pooled:
            return [Linear(spec), Pooled(spec, self.hidden, self.pair_norm)]
        terms: list[nn.Module] = [Linear(spec, self.weighted), Pairwise(spec, self.pair_norm, weighted=self.weighted)]
        if self.hidden:
            terms.append(Deep(spec, self.hidden, self.deep_norm, plain_last=self.plain_last))
        return terms


RECIPES = {
    "FM": Recipe(),
    "FM-bn": Recipe(pair_norm=True),
    "NFM": Recipe(pooled=True, hidden=(7, 4)),
    "NFM-bn": Recipe(pooled=True, pair_norm=True, hidden=(7, 4), deep_norm=True),
    "NFM-bn-one-layer": Recipe(pooled=True, pair_norm=True, hidden=(7,), deep_norm=True),
    "DeepFM": Recipe(hidden=(7, 4)),
    "DeepFM-bn-pair-vector": Recipe(pair_norm=True, hidden=(7, 4), deep_norm=True),
    "DeepFM-concat": Recipe(weighted=True, hidden=(7, 4), deep_norm=True, plain_last=True),
    "DeepFM-concat-one-layer": Recipe(weighted=True, hidden=(7,), plain_last=True),
}


def embed_by_hand(embedding: FieldEmbedding, layout: SideLayout, combiner: str, rows: Rows) -> list[tuple]:
    """Vector (n, K) and linear weight (n,) of each position, column by column."""
    positions, start, column = [], 0, 0
    for field in layout.code_fields:
        slots = []
        for slot in range(column, column + field.width):
            codes = rows.codes[:, slot].long()
            here = (codes != ABSENT).to(embedding.vectors.weight.dtype)
            at = start + 1 + codes.clamp_min(-1)  # a block: the average, the unknown value, then the values
            slots.append((embedding.vectors.weight[at] * here[:, None], embedding.weights.weight[at, 0] * here, here))
        if field.multi and combiner != "normal":
            n = sum(here for _, _, here in slots)
            by = {"sum": torch.ones_like(n), "mean": n.clamp_min(1), "sqrtn": n.clamp_min(1).sqrt()}[combiner]
            vector, weight = sum(slot[0] for slot in slots), sum(slot[1] for slot in slots)
            positions.append((vector / by[:, None], weight / by))
        else:
            positions += [(vector, weight) for vector, weight, _ in slots]
        start, column = start + field.n_values + 2, column + field.width
    for number in range(layout.n_dense):
        x = rows.dense[:, number]
        one = x[:, None] * embedding.dense_vectors[number], x * embedding.dense_weights[number]
        if any(begin < number < end for begin, end in layout.vectors):  # one more number of a vector
            one = tuple(before + more for before, more in zip(positions.pop(), one, strict=True))
        positions.append(one)
    return positions


def batch_norm_by_hand(x: Tensor, norm: BatchNorm) -> Tensor:
    mean, var = norm.running_mean, norm.running_var
    if norm.training:
        mean, var = x.mean(0), ((x - x.mean(0)) ** 2).mean(0)
        with torch.no_grad():
            norm.running_mean.mul_(0.9).add_(0.1 * mean)
            norm.running_var.mul_(0.9).add_(0.1 * var * len(x) / (len(x) - 1))
            norm.num_batches_tracked.add_(1)
    return (x - mean) / (var + 1e-3).sqrt() * norm.weight + norm.bias


def joined_score(network: Network, recipe: Recipe, positions: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """w0 + Σ w_i x_i + Σ_{i<j} <e_i, e_j> + MLP([e_1; …; e_F]) of rows (n,), all fields side by side.

    With ``pooled`` it is MLP(Σ_{i<j} e_i ∘ e_j) instead of the last two terms.
    """
    vectors, weights = [vector for vector, _ in positions], [weight for _, weight in positions]
    linear, pairwise, *deep = network.components
    factors = linear.factors if recipe.weighted else torch.ones(len(weights), dtype=weights[0].dtype)
    score = network.bias + sum(weight * factors[i] for i, weight in enumerate(weights))
    pairs = torch.zeros_like(vectors[0])
    for i in range(len(vectors)):
        for j in range(i + 1, len(vectors)):
            pairs = pairs + vectors[i] * vectors[j]
    if recipe.pair_norm:
        pairs = batch_norm_by_hand(pairs, pairwise.norm)
    if not recipe.pooled:
        score = score + (pairs @ pairwise.weight if recipe.weighted else pairs.sum(-1))
    if not recipe.hidden:
        return score
    perceptron, h = (pairwise, pairs) if recipe.pooled else (deep[0], torch.cat(vectors, -1))
    layers = [perceptron.first, *(layer for layer in perceptron.rest if isinstance(layer, nn.Linear))]
    norms = [layer for layer in perceptron.rest if isinstance(layer, BatchNorm)]
    for number, layer in enumerate(layers[:-1]):
        h = h @ layer.weight.T + layer.bias
        if recipe.plain_last and number == len(layers) - 2:
            continue
        if recipe.deep_norm:
            h = batch_norm_by_hand(h, norms[number])
        h = h.clamp_min(0)
    return score + (h @ layers[-1].weight.T + layers[-1].bias)[:, 0]


# ---- worlds of columns


NO_COLUMNS = SideLayout(())


@dataclass(frozen=True)
class World:
    """The columns of the three sides; the context's stand behind the user's."""

    user: SideLayout
    item: SideLayout
    context: SideLayout = NO_COLUMNS
    combiner: str = "sqrtn"

    @property
    def user_side(self) -> SideLayout:
        return SideLayout(
            self.user.code_fields + self.context.code_fields,
            self.user.n_dense + self.context.n_dense,
            self.user.vectors,
        )

    def embed_by_hand(self, network: Network, users: Rows, items: Rows) -> list[tuple]:
        of_users = embed_by_hand(network.user, self.user_side, self.combiner, users)
        return of_users + embed_by_hand(network.item, self.item, self.combiner, items)


GENRES, TAGS = CodeField(6, width=3, multi=True), CodeField(3, width=2, multi=True)
WORLDS = {
    "ids": World(SideLayout((CodeField(9),)), SideLayout((CodeField(8),))),
    "user-dense": World(SideLayout((CodeField(9), CodeField(3)), 2), SideLayout((CodeField(8),))),
    "item-dense": World(SideLayout((CodeField(9),)), SideLayout((CodeField(8),), 3)),
    "vectors": World(SideLayout((CodeField(9),), 3, ((0, 3),)), SideLayout((CodeField(8),), 8, ((1, 4), (4, 6)))),
    "context": World(
        SideLayout((CodeField(9),)), SideLayout((CodeField(8),)), SideLayout((CodeField(4), CodeField(2)), 1)
    ),
} | {
    combiner: World(
        SideLayout((CodeField(9), TAGS), 1),
        SideLayout((CodeField(8), CodeField(2), GENRES), 2),
        SideLayout((CodeField(4),), 1),
        combiner,
    )
    for combiner in COMBINERS
}


def random_rows(layout: SideLayout, *lead: int) -> Rows:
    """Known, unknown and average codes; a third of the slots absent, sometimes all; some numbers zero."""
    columns = []
    for field in layout.code_fields:
        codes = torch.randint(-1, field.n_values + 1, (*lead, field.width), dtype=torch.int32)
        if field.multi:
            codes[torch.rand(codes.shape) < 0.35] = ABSENT
            codes[torch.rand(lead) < 0.15] = ABSENT
        columns.append(codes)
    codes = torch.cat(columns, -1) if columns else torch.empty(*lead, 0, dtype=torch.int32)
    dense = torch.randn(*lead, layout.n_dense)
    dense[torch.rand(dense.shape) < 0.2] = 0
    return Rows(codes, dense)


def build(recipe: Recipe, world: World, dtype: torch.dtype = torch.float32) -> Network:
    """A network whose every parameter and running statistic is random."""
    spec = FieldSpec(*field_numbers(world.user_side, world.item, world.combiner), DIM)
    sides = (FieldEmbedding(layout, DIM, world.combiner) for layout in (world.user_side, world.item))
    network = Network(*sides, components=recipe.components(spec), bias=0.3).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.4)
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
    return network


def as_pairs(rows: Rows, n: int) -> Rows:
    """Rows (B or 1, n or 1, …) repeated to one row a pair, (B·n, …)."""
    return Rows(
        *(part.expand(B, n, part.shape[-1]).reshape(B * n, part.shape[-1]) for part in (rows.codes, rows.dense))
    )


def gradients(network: Network, scalar: Tensor) -> Tensor:
    """Of all parameters end to end; zeros where the scalar does not depend on one."""
    found = torch.autograd.grad(scalar, list(network.parameters()), materialize_grads=True, allow_unused=True)
    return torch.cat([gradient.flatten() for gradient in found])


def to(rows: Rows, dtype: torch.dtype) -> Rows:
    return Rows(rows.codes, rows.dense.to(dtype))


def test_the_worlds_hold_absent_unknown_and_average_values():
    torch.manual_seed(0)
    world = WORLDS["mean"]
    codes = random_rows(world.item, B, 33).codes
    assert {-2, -1, 0, 1} <= set(codes.flatten().tolist())
    assert (codes[..., 2:] == ABSENT).all(-1).any()
    assert not (codes[..., :2] == ABSENT).any()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_split_score_equals_joined_score(recipe, world, training, dtype):
    """In values, gradients and running statistics, for items of one's own and for items that users share."""
    torch.manual_seed(1)
    recipe, world, tolerance = RECIPES[recipe], WORLDS[world], TOLERANCE[dtype]
    of_gradients = tolerance * (30 if recipe.pooled and recipe.pair_norm else 10)  # two norms in turn magnify rounding
    network = build(recipe, world, dtype).train(training)
    users = to(random_rows(world.user, B, 1).join(random_rows(world.context, B, 1)), dtype)
    for lead, n in product((1, B), (1, 4, 33)):
        items, pull = to(random_rows(world.item, lead, n), dtype), torch.randn(B, n, dtype=dtype)
        statistics = [buffer.clone() for buffer in network.buffers()]

        scores = network(users, items)
        assert scores.shape == (B, n)
        of_split = gradients(network, (scores * pull).sum())
        after_split = [buffer.clone() for buffer in network.buffers()]

        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)
        positions = world.embed_by_hand(network, as_pairs(users, n), as_pairs(items, n))
        expected = joined_score(network, recipe, positions).view(B, n)
        of_joined = gradients(network, (expected * pull).sum())

        torch.testing.assert_close(scores, expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(of_split, of_joined, rtol=of_gradients, atol=of_gradients)
        torch.testing.assert_close(after_split, list(network.buffers()), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("recipe", RECIPES)
def test_states_lifted_cut_and_gathered_score_as_the_rows_they_came_from(recipe):
    torch.manual_seed(2)
    world = WORLDS["sqrtn"]
    network = build(RECIPES[recipe], world).eval()
    users, items = random_rows(world.user, 7).join(random_rows(world.context, 7)), random_rows(world.item, 20)
    with torch.no_grad():
        of_users, of_items = network.encode("user", users), network.encode("item", items)
        whole = network.score(of_users[:, None], of_items[None])
        torch.testing.assert_close(whole, network(users[:, None], items[None, :]), rtol=1e-5, atol=1e-5)
        parts = type(of_items).cat([of_items[:6], of_items[6:]])
        torch.testing.assert_close(network.score(of_users[:, None], parts[None]), whole, rtol=1e-5, atol=1e-5)
        chosen = torch.randint(0, 20, (7, 3))
        of_chosen = network.score(of_users[:, None], of_items[chosen])
        torch.testing.assert_close(of_chosen, whole.gather(1, chosen), rtol=1e-5, atol=1e-5)


def test_a_joined_component_sees_the_users_fields_before_the_items():
    class FirstTimesLast(Joined):
        def forward(self, fields: Fields) -> Tensor:
            return fields.vectors[..., 0, 0] * fields.vectors[..., -1, -1]

    torch.manual_seed(3)
    world = WORLDS["ids"]
    spec = FieldSpec(*field_numbers(world.user, world.item, "sum"), DIM)
    network = Network(FieldEmbedding(world.user, DIM), FieldEmbedding(world.item, DIM), [FirstTimesLast()])
    assert spec.n_positions == 2
    users, items = random_rows(world.user, B, 1), random_rows(world.item, 1, 4)
    of_user = network.user.vectors.weight[users.codes[:, 0, 0].long() + 1, 0]
    of_item = network.item.vectors.weight[items.codes[0, :, 0].long() + 1, -1]
    torch.testing.assert_close(network(users, items), of_user[:, None] * of_item)


@pytest.mark.parametrize("lead", [1, B])
def test_cross_is_the_inner_product_of_each_user_with_each_of_its_items(lead):
    torch.manual_seed(4)
    user, item = torch.randn(B, 1, DIM), torch.randn(lead, 9, DIM)
    expected = [[sum(user[b, 0, k] * item[b % lead, m, k] for k in range(DIM)) for m in range(9)] for b in range(B)]
    torch.testing.assert_close(cross(user, item), torch.tensor(expected))


# ---- numbers worked by hand: v = (1, 2), (3, -1), (.5, 1), x = (1, 1, 2), w = (.2, -.3, .4), w0 = .1

V = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 1.0]])
W = torch.tensor([0.2, -0.3, 0.4])
X = torch.tensor([1.0, 1.0, 2.0])


def numeric_side(features: slice) -> FieldEmbedding:
    """The features as numeric columns."""
    embedding = FieldEmbedding(SideLayout((), len(V[features])), 2)
    with torch.no_grad():
        embedding.dense_vectors.copy_(V[features])
        embedding.dense_weights.copy_(W[features])
    return embedding


def numeric_rows(values: Tensor) -> Rows:
    return Rows(torch.empty(1, 1, 0, dtype=torch.int32), values[None, None])


def worked(cut: int, terms: Callable[[FieldSpec], list[nn.Module]], x: Tensor = X) -> float:
    """The score of the worked case, the features before ``cut`` on the user's side."""
    spec = FieldSpec(tuple(range(cut)), tuple(range(cut, 3)), 2)
    network = Network(numeric_side(slice(cut)), numeric_side(slice(cut, None)), terms(spec), bias=0.1)
    return network(numeric_rows(x[:cut]), numeric_rows(x[cut:])).item()


def fm(spec: FieldSpec) -> list[nn.Module]:
    return [Linear(spec), Pairwise(spec)]


def deepfm(spec: FieldSpec) -> list[nn.Module]:
    deep = Deep(spec, (1,), use_bn=False)
    with torch.no_grad():
        deep.first.weight.fill_(0.5)
        deep.first.bias.fill_(-1.0)
        deep.rest[-1].weight.fill_(0.1)
        deep.rest[-1].bias.fill_(0.0)
    return [*fm(spec), deep]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_fm_gives_the_worked_number_wherever_the_sides_are_cut(cut):
    assert worked(cut, fm) == pytest.approx(7.8, abs=2e-6)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_fm_that_ignored_values_would_give_another_number(cut):
    assert worked(cut, fm, torch.ones(3)) == pytest.approx(4.4, abs=2e-6)


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_deepfm_gives_the_worked_number_wherever_the_sides_are_cut(cut):
    logit = worked(cut, deepfm)
    assert logit == pytest.approx(8.1, abs=2e-6)
    assert torch.tensor(logit).sigmoid().item() == pytest.approx(0.9996966, abs=1e-7)


def nfm(spec: FieldSpec) -> list[nn.Module]:
    pooled = Pooled(spec, (2,), use_bn=False)
    with torch.no_grad():
        pooled.first.weight.copy_(torch.tensor([[0.5, 1.0], [-1.0, 2.0]]))
        pooled.first.bias.copy_(torch.tensor([0.5, 8.0]))
        pooled.rest[-1].weight.copy_(torch.tensor([[0.25, -1.0]]))
        pooled.rest[-1].bias.fill_(0.0)
    return [Linear(spec), pooled]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_nfm_gives_the_worked_number_wherever_the_sides_are_cut(cut):
    assert worked(cut, nfm) == pytest.approx(0.8, abs=2e-6)


def test_codes_beside_a_number_give_the_worked_numbers_too():
    user = FieldEmbedding(SideLayout((CodeField(3),)), 2)
    item = FieldEmbedding(SideLayout((CodeField(4),), 1), 2)
    with torch.no_grad():
        user.vectors.weight[1 + 2], user.weights.weight[1 + 2] = V[0], W[0]
        item.vectors.weight[1 + 4], item.weights.weight[1 + 4] = V[1], W[1]
        item.dense_vectors[0], item.dense_weights[0] = V[2], W[2]
    users = Rows(torch.tensor([[[2]]], dtype=torch.int32), torch.empty(1, 1, 0))
    items = Rows(torch.tensor([[[4]]], dtype=torch.int32), torch.tensor([[[2.0]]]))
    spec = FieldSpec((0,), (1, 2), 2)
    for terms, expected in ((fm, 7.8), (deepfm, 8.1)):
        assert Network(user, item, terms(spec), bias=0.1)(users, items).item() == pytest.approx(expected, abs=2e-6)


# ---- what the sum of pairs is and is not


def pair_sum(vectors: Tensor, cut: int) -> Tensor:
    """Σ_{i<j} <e_i, e_j> by the component, of one row's vectors (F, K)."""
    pairwise = Pairwise(FieldSpec(tuple(range(cut)), tuple(range(cut, len(vectors))), vectors.shape[-1]))
    states = []
    for side, part in (("user", vectors[:cut]), ("item", vectors[cut:])):
        shape = part.shape[:1]
        states.append(pairwise.encode(side, Fields(part, torch.zeros(shape), torch.ones(shape).bool())[None, None]))
    return pairwise.score(*states).squeeze()


@pytest.mark.parametrize("cut", range(7))
def test_pairs_equal_a_double_loop_wherever_the_sides_are_cut(cut):
    torch.manual_seed(5)
    vectors = torch.randn(6, DIM, dtype=torch.float64)
    expected = sum((a * b).sum() for a, b in combinations(vectors, 2))
    torch.testing.assert_close(pair_sum(vectors, cut), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cut", [0, 1])
def test_one_feature_has_no_pairs(cut):
    assert pair_sum(torch.tensor([[1.5, -2.0, 0.25]]), cut).item() == 0.0


def test_a_feature_met_twice_is_a_pair_but_a_doubled_one_is_not():
    v = torch.tensor([[1.0, -2.0, 3.0]])
    assert pair_sum(torch.cat([v, v]), 1).item() == pytest.approx(14.0)
    assert pair_sum(2 * v, 1).item() == 0.0


@pytest.mark.parametrize("c", [-2.0, 0.5, 3.0])
def test_scaling_all_values_scales_pairs_by_its_square(c):
    torch.manual_seed(6)
    vectors = torch.randn(5, DIM, dtype=torch.float64)
    torch.testing.assert_close(pair_sum(c * vectors, 2), c**2 * pair_sum(vectors, 2))


def test_the_gradient_of_the_pairs_of_a_field_is_the_sum_of_the_others():
    torch.manual_seed(7)
    vectors = torch.randn(5, DIM, dtype=torch.float64, requires_grad=True)
    pair_sum(vectors, 2).backward()
    torch.testing.assert_close(vectors.grad, (vectors.sum(0) - vectors).detach())


@pytest.mark.parametrize("recipe", ["FM", "DeepFM", "DeepFM-concat-one-layer"])
def test_a_number_that_is_zero_is_as_if_it_were_not_there(recipe):
    torch.manual_seed(8)
    recipe = RECIPES[recipe]
    with_number = World(SideLayout((CodeField(9),)), SideLayout((CodeField(8),), 1))
    network = build(recipe, with_number).eval()
    users, items = random_rows(with_number.user, B, 1), random_rows(with_number.item, B, 4)
    items.dense.zero_()
    before = network(users, items)
    with torch.no_grad():
        network.item.dense_vectors.normal_(std=50.0)
        network.item.dense_weights.normal_(std=50.0)
    torch.testing.assert_close(network(users, items), before)
    positions = with_number.embed_by_hand(network, as_pairs(users, 4), as_pairs(items, 4))
    if not recipe.hidden:
        torch.testing.assert_close(joined_score(network, recipe, positions[:-1]).view(B, 4), before)
    before.sum().backward()
    assert network.item.dense_vectors.grad.abs().sum() == 0


def reordered(network: Network, order: list[int]) -> Network:
    """The network with the item's numeric columns in another order."""
    network = copy.deepcopy(network)
    with torch.no_grad():
        network.item.dense_vectors.copy_(network.item.dense_vectors[order].clone())
        network.item.dense_weights.copy_(network.item.dense_weights[order].clone())
    return network


@pytest.mark.parametrize(("recipe", "invariant"), [("FM", True), ("FM-bn", True), ("NFM-bn", True), ("DeepFM", False)])
def test_the_order_of_fields_is_nothing_to_pairs_and_something_to_deepfm(recipe, invariant):
    torch.manual_seed(9)
    world, order = WORLDS["item-dense"], [2, 0, 1]
    network = build(RECIPES[recipe], world).eval()
    users, items = random_rows(world.user, B, 1), random_rows(world.item, B, 4)
    items = Rows(items.codes, torch.randn_like(items.dense))
    before = network(users, items)
    after = reordered(network, order)(users, Rows(items.codes, items.dense[..., order]))
    assert torch.allclose(before, after, rtol=1e-4, atol=1e-5) is invariant


def test_deepfm_whose_last_layer_is_zero_is_fm():
    torch.manual_seed(10)
    world = WORLDS["sqrtn"]
    network = build(RECIPES["DeepFM"], world).eval()
    with torch.no_grad():
        network.components[2].rest[-1].weight.zero_()
        network.components[2].rest[-1].bias.zero_()
    users = random_rows(world.user, B, 1).join(random_rows(world.context, B, 1))
    items = random_rows(world.item, B, 4)
    fm = Network(network.user, network.item, list(network.components)[:2])
    with torch.no_grad():
        fm.bias.copy_(network.bias)
    torch.testing.assert_close(network(users, items), fm(users, items))


def test_first_layer_starts_as_one_uncut_layer_would():
    """Glorot bounds come from the fan-in of both sides together."""
    torch.manual_seed(11)
    deep = Deep(FieldSpec((0,), (1, 2, 3), 64), (128,))
    bound = (6 / (4 * 64 + 128)) ** 0.5
    assert deep.first.weight.shape == (128, 256)
    assert 0.99 * bound < deep.first.weight.abs().max().item() <= bound
    assert deep.first.bias.abs().max().item() == 0


@pytest.mark.parametrize("recipe", ["FM-bn", "NFM-bn", "DeepFM-bn-pair-vector"])
def test_a_state_made_in_training_knows_nothing_of_batch_norm(recipe):
    """It sees what both sides make, so it belongs in the score."""
    torch.manual_seed(12)
    world = WORLDS["sqrtn"]
    network = build(RECIPES[recipe], world).train()
    items = random_rows(world.item, 9)
    before = network.encode("item", items)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.weight.normal_()
                module.running_mean.normal_()
    for one, other in zip(before.parts, network.encode("item", items).parts, strict=True):
        for name, tensor in vars(one).items():
            assert torch.equal(tensor, vars(other)[name])


@pytest.mark.parametrize("make", [lambda s: Pairwise(s, True, 0.4), lambda s: Pooled(s, (8,), True, 0.0, 0.4)])
def test_dropout_of_the_pair_vector_is_off_in_evaluation(make):
    torch.manual_seed(14)
    component = make(FieldSpec((0,), (1,), DIM)).eval()
    vectors = torch.randn(50, 1, 2, DIM)
    users, items = (Fields(v, v[..., 0], v[..., 0] > -9) for v in vectors.split(1, dim=2))
    scores = [component.score(component.encode("user", users), component.encode("item", items)) for _ in range(2)]
    assert torch.equal(*scores)


@pytest.mark.parametrize("where", ["pair", "hidden"])
def test_dropout_of_the_pooled_perceptron_is_on_in_training(where):
    torch.manual_seed(15)
    dropout = {"pair": (0.0, 0.4), "hidden": (0.4, 0.0)}[where]
    component = Pooled(FieldSpec((0,), (1,), DIM), (8,), True, *dropout).train()
    vectors = torch.randn(50, 1, 2, DIM)
    users, items = (Fields(v, v[..., 0], v[..., 0] > -9) for v in vectors.split(1, dim=2))
    scores = [component.score(component.encode("user", users), component.encode("item", items)) for _ in range(2)]
    assert not torch.allclose(*scores)


def test_dropout_of_the_pair_vector_comes_after_its_batch_norm():
    """Hidden elements are exact zeros in the sum, and the statistics are those without dropout."""
    torch.manual_seed(13)
    spec = FieldSpec((0,), (1,), 1)
    statistics = []
    for dropout in (0.0, 0.4):
        pairwise = Pairwise(spec, use_bn=True, dropout=dropout).train()
        vectors = torch.arange(2000.0).view(1000, 1, 2, 1) / 1000
        users, items = (Fields(v, v[..., 0], v[..., 0] > -1) for v in vectors.split(1, dim=2))
        scores = pairwise.score(pairwise.encode("user", users), pairwise.encode("item", items))
        assert (scores == 0).float().mean().item() == pytest.approx(dropout, abs=0.05)
        statistics.append((pairwise.norm.running_mean, pairwise.norm.running_var))
    torch.testing.assert_close(*statistics)


# ---- batch norm over all pairs of users and items


@pytest.mark.parametrize("weighted", [False, True])
def test_batch_norm_over_all_pairs_needs_no_pair(weighted):
    spec = FieldSpec((0, 1, 2), (3, 4), 5)
    torch.manual_seed(0)
    user, item = (torch.randn(n, lead, f, 5, dtype=torch.float64) + 0.3 for n, lead, f in ((6, 1, 3), (1, 9, 2)))
    found = []
    for all_at_once in (True, False):
        pairs = Pairwise(spec, use_bn=True, weighted=weighted).double().train()
        with torch.no_grad():
            pairs.norm.weight.copy_(torch.linspace(0.5, 1.5, 5))
            pairs.norm.bias.copy_(torch.linspace(-1, 1, 5))
            if weighted:
                pairs.weight.copy_(torch.linspace(-1, 2, 5))
        inputs = [user.clone().requires_grad_(), item.clone().requires_grad_()]
        sides = inputs if all_at_once else [inputs[0], inputs[1].expand(6, -1, -1, -1)]
        states = [
            pairs.encode(side, Fields(vectors, vectors[..., 0], vectors[..., 0] > -9))
            for side, vectors in zip(("user", "item"), sides, strict=True)
        ]
        scores = pairs.score(*states)
        (scores * torch.arange(54.0, dtype=torch.float64).view(6, 9).sin()).sum().backward()
        statistics = [pairs.norm.running_mean, pairs.norm.running_var, pairs.norm.num_batches_tracked]
        gradients = [one.grad for one in (*inputs, *pairs.parameters())]
        found.append([scores.detach(), *statistics, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
