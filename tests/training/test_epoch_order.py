"""The order of an epoch: each example once, in windows and batches, drawn from the seed and the epoch alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recolib.training import order as module
from recolib.training.order import Order, batch_bounds


def parts(order: Order) -> list[torch.Tensor]:
    """The batches."""
    return [window.order[begin:end] for window in order.windows() for begin, end in window.bounds]


@given(n=st.integers(1, 200), size=st.integers(1, 40), whole=st.sampled_from([0, 1000]), shuffle=st.booleans())
def test_each_example_is_in_one_batch(n: int, size: int, whole: int, shuffle: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"WINDOW": 32, "BLOCK": 8, "SHUFFLED_WHOLE": whole}.items():
            patch.setattr(module, name, value)
        order = Order(n, size, 3, 1, shuffle)
        batches = parts(order)
        assert len(batches) == order.n_batches
        assert sorted(torch.cat(batches).tolist()) == list(range(n))
        assert all(torch.equal(one, other) for one, other in zip(batches, parts(order), strict=True))
        if not shuffle:
            assert torch.cat(batches).tolist() == list(range(n))
        if whole:
            assert [len(one) for one in batches] == [end - begin for begin, end in batch_bounds(n, size)]


def test_orders_of_epochs_and_seeds_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    for whole in (0, 10**6):
        monkeypatch.setattr(module, "SHUFFLED_WHOLE", whole)
        monkeypatch.setattr(module, "BLOCK", 64)
        orders = [tuple(torch.cat(parts(Order(1000, 100, *of))).tolist()) for of in ((0, 0), (0, 1), (1, 0))]
        assert len(set(orders)) == 3


def test_rows_of_a_window_are_those_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WINDOW": 40, "BLOCK": 10, "SHUFFLED_WHOLE": 0}.items():
        monkeypatch.setattr(module, name, value)
    windows = [window.order for window in Order(205, 8, 1).windows()]
    assert [len(one) for one in windows] == [40, 40, 40, 40, 40, 5]
    for one in windows[:-1]:
        blocks, counts = (one // 10).unique(return_counts=True)
        assert len(blocks) == 4
        assert counts.tolist() == [10] * 4
        assert not torch.equal(one, one.sort().values)
