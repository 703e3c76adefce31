from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from test_attentive import build, fields_of, score_of
from test_parity import DIM, TOLERANCE, WORLDS, B, as_pairs, gradients, random_rows, to, worked
from torch import Tensor, nn
from torch.nn import functional as F
from worlds import make_world

from recolib.algorithms import AutoInt
from recolib.nn import Fields, FieldSpec, SelfAttention
from recolib.nn.components import AttentionLayer
from recolib.nn.components.self_attention import attention

Make = Callable[[FieldSpec], SelfAttention]
COMPONENTS: dict[str, Make] = {
    "one-layer": lambda spec: SelfAttention(spec, (4,), 1),
    "two-heads": lambda spec: SelfAttention(spec, (3,), 2),
    "three-layers": lambda spec: SelfAttention(spec, (3, 4, 2), 2),
    "no-residual": lambda spec: SelfAttention(spec, (3, 2), 3, residual=False),
}
ALL = pytest.mark.parametrize("make", COMPONENTS.values(), ids=COMPONENTS)


def layer_by_hand(weight: Tensor, fields: list[Tensor], present: Tensor) -> list[Tensor]:
    """Field by field and head by head: relu(Σ_k T_mk V e_k + R e_m) of fields (R, n_in) each."""
    behind = []
    for e_m in fields:
        heads = []
        for head in range(weight.shape[1]):
            q, k, v, *r = weight[:, head]
            logits = [((e_m @ q.T) * (e_k @ k.T)).sum(-1) for e_k in fields]
            highest = torch.stack(logits).amax(0).detach().clamp_min(0)  # so that no exponential overflows
            strengths = [(logit - highest).exp() * here for logit, here in zip(logits, present.T, strict=True)]
            heads.append(
                sum(t[:, None] * (e_k @ v.T) for t, e_k in zip(strengths, fields, strict=True))
                / sum(strengths)[:, None]
                + sum(e_m @ one.T for one in r)
            )
        behind.append(torch.cat(heads, -1).clamp_min(0))
    return behind


def joined_score(component: SelfAttention, fields: Fields) -> Tensor:
    hidden = [*fields.vectors.unbind(1)]
    for layer in component.layers:
        hidden = layer_by_hand(layer.weight, hidden, fields.present)
    by_field = component.last.weight[0].split(hidden[0].shape[-1])
    return sum((h @ w) * here for h, w, here in zip(hidden, by_field, fields.present.T, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("world", WORLDS)
@ALL
def test_split_self_attention_equals_that_of_all_fields(make, world, training, dtype):
    """In values and gradients, for items of one's own and for items that users share."""
    torch.manual_seed(1)
    world, tolerance = WORLDS[world], TOLERANCE[dtype]
    network = build(make, world, dtype).train(training)
    users = to(random_rows(world.user, B, 1).join(random_rows(world.context, B, 1)), dtype)
    for lead, n in ((B, 1), (B, 4), (1, 1), (1, 33)):  # pairs, candidates, catalogues
        items, pull = to(random_rows(world.item, lead, n), dtype), torch.randn(B, n, dtype=dtype)
        scores = network(users, items)
        assert scores.shape == (B, n)
        fields = network.user(as_pairs(users, n)).join(network.item(as_pairs(items, n)))
        expected = network.bias + fields.weights.sum(-1) + joined_score(network.components[1], fields)
        expected = expected.view(B, n)
        torch.testing.assert_close(scores, expected, rtol=tolerance, atol=tolerance)
        of_split, of_joined = (gradients(network, (score * pull).sum()) for score in (scores, expected))
        torch.testing.assert_close(of_split, of_joined, rtol=10 * tolerance, atol=10 * tolerance)


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


def test_the_first_layers_projections_are_made_before_the_sides_meet():
    torch.manual_seed(3)
    component = SelfAttention(FieldSpec((0, 1), (2, 3, 4), DIM), (3, 2), 2)
    fields = fields_of([True, True])
    projected = component.encode("user", fields).projected
    assert projected.shape == (2, 4, 2, 3)
    torch.testing.assert_close(projected[1, 2, 1], component.layers[0].weight[2, 1] @ fields.vectors[1])


# ---- second opinions: torch's own attention


@pytest.mark.parametrize("present", [[True] * 4, [True, False, True, False]])
def test_a_layer_is_torchs_multi_head_attention_unscaled(present):
    torch.manual_seed(4)
    n_heads, size, here = 2, 3, torch.tensor(present).expand(B, 4)
    layer = AttentionLayer(6, 6, n_heads, residual=False)
    theirs = nn.MultiheadAttention(6, n_heads, bias=False, batch_first=True)
    with torch.no_grad():
        q, k, v = layer.weight.flatten(1, 2)
        theirs.in_proj_weight.copy_(torch.cat([q * size**0.5, k, v]))
        theirs.out_proj.weight.copy_(torch.eye(6))
        fields = torch.randn(B, 4, 6)
        expected, weights = theirs(fields, fields, fields, key_padding_mask=~here, average_attn_weights=False)
        projected = layer.project(fields)
        query, key = projected[..., 0, :, :].transpose(1, 2), projected[..., 1, :, :].transpose(1, 2)
        torch.testing.assert_close(attention(query, key, here[:, None]).mT, weights, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layer.attend(projected, here), expected.relu(), rtol=1e-5, atol=1e-6)


def test_a_layer_is_torchs_scaled_dot_product_attention_with_a_scale_of_one():
    torch.manual_seed(5)
    layer, fields, present = (
        AttentionLayer(DIM, 8, 2, residual=True),
        torch.randn(B, 3, 4, DIM),
        torch.rand(B, 3, 4) > 0.3,
    )
    present[..., 0] = True
    q, k, v, r = (part.transpose(-3, -2) for part in layer.project(fields).unbind(-3))
    expected = F.scaled_dot_product_attention(q, k, v, present[..., None, None, :], scale=1.0) + r
    found = layer.attend(layer.project(fields), present)
    torch.testing.assert_close(found, expected.transpose(-3, -2).flatten(-2).relu(), rtol=1e-5, atol=1e-6)


# ---- a number worked by hand; see test_parity for the case


def autoint(residual: bool) -> Callable[[FieldSpec], list[nn.Module]]:
    """Fields (1, 2), (3, −1), (1, 2); queries ln 2 · (1, 3, 1), keys (1, 3, 1), values (2, −1, 2), residuals (1, 3, 1).

    The first and third field attend 1 : 4 : 1, and get 0 + 1; the second 1 : 64 : 1, and gets −10/11 + 3.
    """

    def terms(spec: FieldSpec) -> list[nn.Module]:
        component = SelfAttention(spec, (1,), 1, residual)
        with torch.no_grad():
            weight = torch.tensor([[math.log(2), 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
            component.layers[0].weight.copy_(weight[: 3 + residual, None, None])
            component.last.weight.copy_(torch.tensor([[1.0, 11.0, 2.0]]))
        return [component]

    return terms


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
@pytest.mark.parametrize(("residual", "expected"), [(True, 1 + 23 + 2 + 0.1), (False, 0.1)])
def test_the_worked_number_comes_out_wherever_the_sides_are_cut(residual, expected, cut):
    assert worked(cut, autoint(residual)) == pytest.approx(expected, abs=3e-6)


# ---- who takes attention


def test_attention_of_each_query_sums_to_one_over_present_fields():
    torch.manual_seed(6)
    query, key, present = torch.randn(B, 2, 5, 3), torch.randn(B, 2, 5, 3), torch.rand(B, 1, 5) > 0.4
    present[..., 2] = True
    weights = attention(query, key, present)
    torch.testing.assert_close(weights.sum(-2), torch.ones(B, 2, 5))
    assert (weights.masked_select(~present[..., None]) == 0).all()
    assert (weights.masked_select(present[..., None]) > 0).all()
    assert weights.std(-1).max() > 0.05  # queries differ in what they attend to


@ALL
def test_what_stands_in_an_absent_slot_changes_nothing_and_learns_nothing(make):
    torch.manual_seed(7)
    component = make(FieldSpec((0, 1), (2, 3), DIM))
    user, item = fields_of([True, True]), fields_of([True, False])
    wild = Fields((item.vectors + 9 * ~item.present[:, None]).requires_grad_(), item.weights, item.present)
    assert score_of(component, user, wild) == pytest.approx(score_of(component, user, item), abs=1e-6)
    states = component.encode("user", user)[None, None], component.encode("item", wild)[None, None]
    component.score(*states).sum().backward()
    assert (wild.vectors.grad[1] == 0).all()
    assert (wild.vectors.grad[0] != 0).any()


@ALL
def test_a_row_with_an_absent_field_is_a_row_of_one_field_less(make):
    torch.manual_seed(8)
    whole, less = make(FieldSpec((0, 1), (2, 3), DIM)), make(FieldSpec((0, 1), (2,), DIM))
    less.layers.load_state_dict(whole.layers.state_dict())
    with torch.no_grad():
        less.last.weight.copy_(whole.last.weight[:, : less.last.in_features])
    user, item = fields_of([True, True]), fields_of([True, False])
    shorter = Fields(item.vectors[:1], item.weights[:1], item.present[:1])
    assert score_of(whole, user, item) == pytest.approx(score_of(less, user, shorter), abs=1e-6)


@ALL
def test_a_row_of_nothing_scores_nothing(make):
    component = make(FieldSpec((0, 1), (2, 3), DIM))
    assert score_of(component, fields_of([False, False]), fields_of([False, False])) == 0.0


# ---- settings


def test_an_integer_is_one_layer_and_no_hidden_units_are_no_perceptron():
    info = make_world("ranking", "pure").build()[1]
    spec = FieldSpec((0,), (1,), 4)
    model = AutoInt("ranking", info, att_embed_size=6, hidden_units=[])
    assert (model.att_embed_size, model.hidden_units) == ((6,), ())
    assert [len(term.layers) for term in model.components(spec)] == [1]
    assert [type(term).__name__ for term in AutoInt("ranking", info, hidden_units=5).components(spec)] == [
        "SelfAttention",
        "Deep",
    ]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"att_embed_size": ()}, "att_embed_size must be a list of layer widths"),
        ({"att_embed_size": (8, 0)}, "att_embed_size must be a list of integers of at least 1"),
        ({"num_heads": 0}, "num_heads must be at least 1"),
        ({"num_heads": 10**9}, "num_heads must be below 65"),
        ({"num_heads": 2.0}, "num_heads must be an integer"),
        ({"use_residual": 1}, "use_residual must be True or False"),
        ({"hidden_units": None}, "hidden_units must be a list of layer widths"),
        ({"hidden_units": ""}, "hidden_units must be a list of layer widths"),
    ],
    ids=str,
)
def test_settings_are_checked(settings, match):
    info = make_world("ranking", "pure").build()[1]
    with pytest.raises((ValueError, TypeError), match=match):
        AutoInt("ranking", info, **settings)
