from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from test_attentive import fields_of
from test_parity import (
    DIM,
    TOLERANCE,
    WORLDS,
    B,
    World,
    as_pairs,
    batch_norm_by_hand,
    gradients,
    random_rows,
    to,
    worked,
)
from torch import Tensor, nn
from torch.nn import functional as F
from worlds import make_world

from recolib.algorithms import FinalMLP
from recolib.nn import BatchNorm, FieldEmbedding, FieldSpec, GatedStreams, Linear, Network, TwoStreams
from recolib.nn.components import Stream, Streams, linear_of_products
from recolib.nn.embedding import field_numbers

Make = Callable[[FieldSpec], Streams]
COMPONENTS: dict[str, Make] = {
    "plain": lambda spec: TwoStreams(spec, (7, 4), (6,), use_bn=False),
    "heads-bn": lambda spec: TwoStreams(spec, (7, 4), (5, 3, 6), n_heads=2),
    "gated": lambda spec: GatedStreams(spec, (7, 4), (6,), (3,), use_bn=False),
    "gated-heads-bn": lambda spec: GatedStreams(spec, (4,), (5, 6), (3, 2), n_heads=2),
}
ALL = pytest.mark.parametrize("make", COMPONENTS.values(), ids=COMPONENTS)


def build(make: Make, world: World, dtype: torch.dtype = torch.float32) -> Network:
    spec = FieldSpec(*field_numbers(world.user_side, world.item, world.combiner), DIM)
    sides = (FieldEmbedding(layout, DIM, world.combiner) for layout in (world.user_side, world.item))
    network = Network(*sides, components=[Linear(spec), make(spec)], bias=0.3).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.4)
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
    return network


def hidden_by_hand(stream: Stream, x: Tensor) -> Tensor:
    """What the last hidden layer says of x (R, F·K)."""
    layers = [stream.first, *(layer for layer in stream.rest if isinstance(layer, nn.Linear))]
    norms = [layer for layer in stream.rest if isinstance(layer, BatchNorm)]
    assert len(norms) in (0, len(layers))
    for number, layer in enumerate(layers):
        x = x @ layer.weight.T + layer.bias
        if norms:
            x = batch_norm_by_hand(x, norms[number])
        x = x.clamp_min(0)
    return x


def gate_by_hand(gate: nn.Sequential, x: Tensor) -> Tensor:
    *layers, last = (layer for layer in gate if isinstance(layer, nn.Linear))
    for layer in layers:
        x = (x @ layer.weight.T + layer.bias).clamp_min(0)
    return 2 / (1 + (-(x @ last.weight.T + last.bias)).exp())


def joined_score(component: Streams, n_user: int, vectors: Tensor) -> Tensor:
    """w_1 · o_1 + w_2 · o_2 + Σ_h o_1hᵀ W_h o_2h of rows (R, F, K); the first ``n_user`` fields are the user's."""
    x = vectors.flatten(1)
    left = right = x
    if isinstance(component, GatedStreams):
        left = gate_by_hand(component.left_gate, vectors[:, :n_user].flatten(1)) * x
        right = gate_by_hand(component.right_gate, vectors[:, n_user:].flatten(1)) * x
    one, two = hidden_by_hand(component.left, left), hidden_by_hand(component.right, right)
    score = component.left.last(one)[:, 0] + component.right.last(two)[:, 0]
    n_heads, n_left, n_right = component.heads.shape
    for head, i, j in product(range(n_heads), range(n_left), range(n_right)):
        score = score + one[:, head * n_left + i] * component.heads[head, i, j] * two[:, head * n_right + j]
    return score


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("world", WORLDS)
@ALL
def test_split_streams_equal_those_of_all_fields(make, world, training, dtype):
    """In values, gradients and running statistics, for items of one's own and for items that users share."""
    torch.manual_seed(1)
    world, tolerance = WORLDS[world], TOLERANCE[dtype]
    network = build(make, world, dtype).train(training)
    component = network.components[1]
    of_gradients = tolerance * (100 if isinstance(component.left.rest[0], BatchNorm) else 10)  # norms magnify rounding
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
        of_users, of_items = network.user(as_pairs(users, n)), network.item(as_pairs(items, n))
        fields = of_users.join(of_items)
        expected = network.bias + fields.weights.sum(-1)
        expected = (expected + joined_score(component, of_users.present.shape[-1], fields.vectors)).view(B, n)
        of_joined = gradients(network, (expected * pull).sum())

        torch.testing.assert_close(scores, expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(of_split, of_joined, rtol=of_gradients, atol=of_gradients)
        torch.testing.assert_close(after_split, list(network.buffers()), rtol=tolerance, atol=tolerance)


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
        torch.testing.assert_close(of_chosen, whole.gather(1, chosen), rtol=1e-5, atol=1e-5)


def test_the_bilinear_form_is_torchs():
    torch.manual_seed(3)
    component = TwoStreams(FieldSpec((0,), (1,), DIM), (4,), (6,), use_bn=False)
    one, two = torch.rand(B, 3, 4), torch.rand(B, 3, 6)  # ReLU leaves them as they are
    expected = F.bilinear(one, two, component.heads) + component.left.last(one) + component.right.last(two)
    torch.testing.assert_close(component.fuse(one, two), expected.squeeze(-1))


@pytest.mark.parametrize("lead", [1, B])
def test_linear_of_products_is_a_layer_over_each_pairs_product(lead):
    torch.manual_seed(4)
    user, item, weight = torch.randn(B, 1, DIM), torch.randn(lead, 9, DIM), torch.randn(3, DIM)
    expected = torch.stack([torch.stack([weight @ (u[0] * v) for v in item[b % lead]]) for b, u in enumerate(user)])
    torch.testing.assert_close(linear_of_products(user, item, weight), expected, rtol=1e-5, atol=1e-5)


# ---- numbers worked by hand; see test_parity for the case


def finalmlp(n_heads: int, gated: bool = False) -> Callable[[FieldSpec], list[nn.Module]]:
    """x = (1, 2, 3, −1, 1, 2): o_1 = (8 − 1, 5) and o_2 = (3, relu(−8 + 10)).

    One head: (7, 5) W (3, 2)ᵀ = 39; two: 2·7·3 − 5·2 = 32; beside them 7 − 5 and 2·3 + 2. With a gate of 3/2 on the
    left o_1 = (12 − 1, 7.5), and these are 62 and 3.5; on the right the gate is 1.
    """

    def terms(spec: FieldSpec) -> list[nn.Module]:
        more = {"n_heads": n_heads, "use_bn": False}
        component = GatedStreams(spec, (2,), (2,), (1,), **more) if gated else TwoStreams(spec, (2,), (2,), **more)
        with torch.no_grad():
            component.left.first.weight.copy_(torch.tensor([[1.0] * 6, [1.0, 0.0] * 3]))
            component.left.first.bias.copy_(torch.tensor([-1.0, 0.0]))
            component.right.first.weight.copy_(torch.tensor([[0.0, 1.0] * 3, [-1.0] * 6]))
            component.right.first.bias.copy_(torch.tensor([0.0, 10.0]))
            component.left.last.weight.copy_(torch.tensor([[1.0, -1.0]]))
            component.right.last.weight.copy_(torch.tensor([[2.0, 1.0]]))
            heads = [[[1.0, 2.0], [0.0, -1.0]]] if n_heads == 1 else [[[2.0]], [[-1.0]]]
            component.heads.copy_(torch.tensor(heads))
            if gated:
                for gate, value in ((component.left_gate, math.log(3)), (component.right_gate, 0.0)):
                    gate[-1].weight.zero_()
                    gate[-1].bias.fill_(value)
        return [component]

    return terms


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
@pytest.mark.parametrize(("n_heads", "expected"), [(1, 39 + 2 + 8 + 0.1), (2, 32 + 2 + 8 + 0.1)])
def test_the_worked_number_comes_out_wherever_the_sides_are_cut(n_heads, expected, cut):
    assert worked(cut, finalmlp(n_heads)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("cut", [1, 2])
def test_the_worked_number_of_gates_comes_out_wherever_the_sides_are_cut(cut):
    assert worked(cut, finalmlp(1, gated=True)) == pytest.approx(62 + 3.5 + 8 + 0.1, abs=1e-4)


# ---- gates


def test_gates_that_are_one_are_none():
    torch.manual_seed(5)
    spec = FieldSpec((0, 1), (2,), DIM)
    gated, plain = GatedStreams(spec, (4,), (4,), (3,)).eval(), TwoStreams(spec, (4,), (4,)).eval()
    plain.load_state_dict({name: value for name, value in gated.state_dict().items() if "gate" not in name})
    for gate in (gated.left_gate, gated.right_gate):
        nn.init.zeros_(gate[-1].weight)
    user, item = fields_of([True, True])[None, None], fields_of([True])[None, None]
    scores = [one.score(one.encode("user", user), one.encode("item", item)) for one in (gated, plain)]
    torch.testing.assert_close(*scores)


def test_a_users_share_of_its_own_stream_is_made_before_the_item_is_met():
    torch.manual_seed(6)
    component = GatedStreams(FieldSpec((0, 1), (2, 3, 4), DIM), (4,), (6,), (3,))
    state = component.encode("user", fields_of([True, True]))
    assert [state.own.shape, state.gate.shape, state.vectors.shape] == [(4,), (3 * DIM,), (2 * DIM,)]
    state = component.encode("item", fields_of([True, True, True]))
    assert [state.own.shape, state.gate.shape, state.vectors.shape] == [(6,), (2 * DIM,), (3 * DIM,)]


@ALL
def test_dropout_is_on_in_training_alone(make):
    torch.manual_seed(7)
    spec = FieldSpec((0, 1), (2,), DIM)
    gates = ((3,),) if isinstance(make(spec), GatedStreams) else ()
    component = type(make(spec))(spec, (8,), (8,), *gates, use_bn=False, dropout=0.5)
    user, item = fields_of([True, True])[None, None], fields_of([True])[None, None]
    for training in (True, False):
        component.train(training)
        states = [(component.encode("user", user), component.encode("item", item)) for _ in range(6)]
        assert (len({component.score(*both).item() for both in states}) > 1) == training


# ---- settings


def test_no_gate_units_are_no_gates():
    info = make_world("ranking", "pure").build()[1]
    for settings, expected in (({}, TwoStreams), ({"gate_units": []}, TwoStreams), ({"gate_units": 3}, GatedStreams)):
        model = FinalMLP("ranking", info, **settings)
        assert isinstance(model.gate_units, tuple)
        assert [type(term) for term in model.components(FieldSpec((0,), (1,), 4))] == [expected]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"num_heads": 3}, r"num_heads=3 must divide the last of hidden_units=\(128, 64\)"),
        (
            {"num_heads": 4, "hidden_units": 8, "second_hidden_units": (8, 6)},
            r"num_heads=4 must divide the last of second_hidden_units=\(8, 6\)",
        ),
        ({"num_heads": 65}, "num_heads must be below 65"),
        ({"hidden_units": ()}, "hidden_units must be a list of layer widths"),
        ({"second_hidden_units": []}, "second_hidden_units must be a list of layer widths"),
        ({"gate_units": (0,)}, "gate_units must be a list of integers of at least 1"),
        ({"gate_units": ""}, "gate_units must be a list of layer widths"),
    ],
    ids=str,
)
def test_settings_are_checked(settings, match):
    info = make_world("ranking", "pure").build()[1]
    with pytest.raises(ValueError, match=match):
        FinalMLP("ranking", info, **settings)
