from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError, dataclass
from types import FrameType

import pytest
import torch
from torch import Tensor

from recolib.nn import Fields, FieldSpec, NetworkState, State
from recolib.nn import fields as fields_module


@dataclass(frozen=True, eq=False)
class Leaf(State):
    a: Tensor
    b: Tensor


@dataclass(frozen=True, eq=False)
class Nested(State):
    leaf: Leaf
    many: tuple[Leaf, ...]
    c: Tensor


def leaf(n: int, start: float = 0.0) -> Leaf:
    return Leaf(start + torch.arange(n * 2.0).view(n, 2), start + torch.arange(float(n)))


def nested(n: int, start: float = 0.0) -> Nested:
    return Nested(
        leaf(n, start), (leaf(n, start + 100), leaf(n, start + 200)), start + torch.arange(n * 3.0).view(n, 3)
    )


def tensors(state: Nested) -> list[Tensor]:
    leaves = [state.leaf, *state.many]
    return [tensor for one in leaves for tensor in (one.a, one.b)] + [state.c]


def assert_same(state: Nested, expected: list[Tensor]) -> None:
    for one, other in zip(tensors(state), expected, strict=True):
        assert torch.equal(one, other)


def test_map_reaches_every_tensor_and_keeps_the_types():
    state = nested(4)
    doubled = state.map(lambda tensor: 2 * tensor)
    assert type(doubled) is Nested
    assert [type(part) for part in (doubled.leaf, *doubled.many)] == [Leaf] * 3
    assert_same(doubled, [2 * tensor for tensor in tensors(state)])


@pytest.mark.parametrize(
    "index",
    [slice(1, 3), None, (slice(None), None), torch.tensor([3, 0, 0]), torch.tensor([[1], [2]])],
    ids=["slice", "lift", "column", "gather", "gather-2d"],
)
def test_an_index_reaches_every_tensor(index):
    state = nested(4)
    assert_same(state[index], [tensor[index] for tensor in tensors(state)])


def test_take_gathers_rows_of_every_tensor():
    state, rows = nested(4), torch.tensor([3, 0, 0])
    assert_same(state.take(rows), [tensor[rows] for tensor in tensors(state)])


def test_a_method_is_one_call_a_state_and_none_a_tensor():
    state, called = nested(4), list[str]()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename == fields_module.__file__:
            called.append(frame.f_code.co_name)

    sys.setprofile(count)
    try:
        state[:2]
    finally:
        sys.setprofile(None)
    assert called == ["__getitem__", *["map"] * 4]  # the state, its leaf and the two of its tuple


def test_cat_lays_states_end_to_end():
    one, other = nested(2), nested(3, start=1000)
    both = Nested.cat([one, other])
    assert_same(both, [torch.cat(pair) for pair in zip(tensors(one), tensors(other), strict=True)])
    assert_same(both[2:], tensors(other))


def test_encode_rows_different_make_do_not_cat():
    with pytest.raises(ValueError, match="shorter"):
        NetworkState.cat([NetworkState((leaf(2), leaf(2))), NetworkState((leaf(2),))])


def test_put_overwrites_a_part_in_place():
    whole, part = nested(5), nested(2, start=1000)
    before = [tensor.clone() for tensor in tensors(whole)]
    addresses = [tensor.data_ptr() for tensor in tensors(whole)]
    whole[1:3].put(part)
    assert_same(whole[1:3], tensors(part))
    for now, then in zip(tensors(whole), before, strict=True):
        assert torch.equal(now[:1], then[:1])
        assert torch.equal(now[3:], then[3:])
    assert [tensor.data_ptr() for tensor in tensors(whole)] == addresses


def test_to_moves_every_tensor():
    moved = nested(3).to("meta")
    assert {tensor.device.type for tensor in tensors(moved)} == {"meta"}
    state = nested(3)
    assert all(one is other for one, other in zip(tensors(state.to("cpu")), tensors(state), strict=True))


def test_a_state_does_not_unpack_into_its_rows():
    with pytest.raises(TypeError):
        _a, _b = leaf(2)
    with pytest.raises(TypeError):
        list(nested(2))


def test_a_state_is_frozen():
    with pytest.raises(FrozenInstanceError):
        leaf(2).a = torch.zeros(2)


def fields(*lead: int, n_fields: int, dim: int = 3) -> Fields:
    present = torch.rand(*lead, n_fields) < 0.5
    return Fields(torch.randn(*lead, n_fields, dim), torch.randn(*lead, n_fields), present)


@pytest.mark.parametrize(
    ("one", "other", "lead"),
    [((4, 1), (4, 6), (4, 6)), ((4, 1), (1, 6), (4, 6)), ((4, 1), (4, 1), (4, 1)), ((1,), (5,), (5,)), ((), (), ())],
)
def test_join_broadcasts_the_leading_dimensions(one, other, lead):
    torch.manual_seed(0)
    users, items = fields(*one, n_fields=2), fields(*other, n_fields=3)
    joined = users.join(items)
    assert joined.vectors.shape == (*lead, 5, 3)
    assert joined.weights.shape == joined.present.shape == (*lead, 5)
    assert joined.present.dtype == torch.bool
    for name in ("vectors", "weights", "present"):
        both, of_users, of_items = (getattr(part, name) for part in (joined, users, items))
        tail = 1 if name == "vectors" else 0
        first, last = both.split([2, 3], dim=-1 - tail)
        assert torch.equal(first, of_users.expand_as(first))
        assert torch.equal(last, of_items.expand_as(last))


def test_join_with_a_side_of_no_fields_is_the_other_side():
    one = fields(4, n_fields=2)
    joined = one.join(fields(4, n_fields=0))
    assert torch.equal(joined.vectors, one.vectors)


def test_spans_of_the_sides_cover_all_positions():
    spec = FieldSpec((0, 1, 1), (2, 3), 8)
    assert spec.n_positions == 5
    positions = list(range(spec.n_positions))
    assert positions[spec.span("user")] == [0, 1, 2]
    assert positions[spec.span("item")] == [3, 4]


@pytest.mark.parametrize(("user", "item"), [((), (0, 1)), ((0, 1), ())])
def test_a_side_without_fields_has_an_empty_span(user, item):
    spec = FieldSpec(user, item, 8)
    lengths = [len(range(2)[spec.span(side)]) for side in ("user", "item")]
    assert lengths == [len(user), len(item)]
