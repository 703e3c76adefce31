from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from recolib.nn import BatchNorm, FieldSpec
from recolib.nn.mlp import Perceptron, SideLinear, after_linear, mlp

Change = Callable[[Perceptron], object]


def perceptron(seed: int = 0, start_with_norm: bool = False) -> Perceptron:
    torch.manual_seed(seed)
    first = after_linear(6, use_bn=True, dropout=0.1) if start_with_norm else []
    layers = Perceptron(*first, *mlp([6, 5, 4], use_bn=True, dropout=0.1))
    with torch.no_grad():
        for tensor in (*layers.parameters(), *layers.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return layers.eval()


def layer_by_layer(layers: Perceptron, rows: Tensor) -> Tensor:
    for layer in layers:
        rows = layer(rows)
    return rows


def scores(layers: Perceptron, rows: Tensor) -> Tensor:
    with torch.inference_mode():
        return layers(rows.clone())


def write(layers: Perceptron) -> None:
    """Change every weight and statistic in place, so that each matters."""
    with torch.no_grad():
        for tensor in (*layers.parameters(), *layers.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(1.5)


def write_and_eval(layers: Perceptron) -> None:
    write(layers)
    layers.eval()


def train_a_step(layers: Perceptron) -> None:
    layers.train()
    layers(torch.rand(8, 6)).sum().backward()
    write(layers)
    nn.ModuleList([layers]).eval()  # a parent's call reaches it


CHANGES: dict[str, Change] = {
    "eval": write_and_eval,
    "train": train_a_step,
    "load_state_dict": lambda layers: layers.load_state_dict(perceptron(1).state_dict()),
    "a parent's load_state_dict": lambda layers: nn.ModuleList([layers]).load_state_dict(
        nn.ModuleList([perceptron(1)]).state_dict()
    ),
    "assigned state dict": lambda layers: layers.load_state_dict(perceptron(1).state_dict(), assign=True),
}


@pytest.mark.parametrize("start_with_norm", [False, True])
def test_folded_layers_are_the_layers_one_by_one(start_with_norm):
    layers, rows = perceptron(start_with_norm=start_with_norm), torch.rand(7, 6)
    with torch.no_grad():
        torch.testing.assert_close(scores(layers, rows), layer_by_layer(layers, rows))
        start = int(start_with_norm)
        torch.testing.assert_close(
            layers.folded(rows.clone(), start), layer_by_layer(Perceptron(*layers[start:]).eval(), rows)
        )


def test_layers_are_folded_once_without_gradients_and_anew_with_them(monkeypatch):
    layers, rows, folded = perceptron(), torch.rand(7, 6), list[int]()
    fold = Perceptron._fold  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(Perceptron, "_fold", lambda self, start: folded.append(start) or fold(self, start))
    before = scores(layers, rows)
    assert torch.equal(scores(layers, rows), before)
    assert folded == [0]
    scores(perceptron(1), rows)
    layers.folded(rows.clone()).sum().backward()
    layers.folded(rows.clone()).sum().backward()
    assert folded == [0] * 4
    assert all(parameter.grad is not None for parameter in layers.parameters())


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_folded_layers_are_forgotten_where_weights_can_have_changed(change: Change):
    layers, rows = perceptron(), torch.rand(7, 6)
    before = scores(layers, rows)
    change(layers)
    after = scores(layers, rows)
    assert not torch.allclose(after, before)
    with torch.no_grad():
        torch.testing.assert_close(after, layer_by_layer(layers, rows))


@pytest.mark.parametrize("move", [lambda layers: layers.double(), lambda layers: nn.ModuleList([layers]).double()])
def test_folded_layers_are_forgotten_by_a_move(move: Change):
    layers, rows = perceptron(), torch.rand(7, 6)
    scores(layers, rows)
    move(layers)
    assert scores(layers, rows.double()).dtype == torch.float64


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, copy.copy, lambda layers: pickle.loads(pickle.dumps(layers))],
    ids=["deep", "flat", "pickled"],
)
def test_a_copy_starts_without_folded_layers(duplicate: Callable[[Perceptron], Perceptron]):
    layers, rows = perceptron(), torch.rand(7, 6)
    scores(layers, rows)
    other = duplicate(layers)
    write(other)
    with torch.no_grad():
        torch.testing.assert_close(scores(other, rows), layer_by_layer(other, rows))


def test_layers_that_are_folded_while_weights_change_are_not_used_after_it(monkeypatch):
    layers, rows = perceptron(), torch.rand(7, 6)
    fold = Perceptron._fold  # pyright: ignore[reportPrivateUsage]

    def fold_and_be_overtaken(self: Perceptron, start: int) -> object:
        steps = fold(self, start)
        monkeypatch.setattr(Perceptron, "_fold", fold)
        write(layers)
        layers.eval()
        return steps

    monkeypatch.setattr(Perceptron, "_fold", fold_and_be_overtaken)
    scores(layers, rows)
    with torch.no_grad():
        torch.testing.assert_close(scores(layers, rows), layer_by_layer(layers, rows))


def test_threads_that_fold_at_once_score_alike():
    layers, rows = perceptron(), torch.rand(7, 6)
    expected = scores(layers, rows)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            layers.eval()
            assert all(torch.equal(one, expected) for one in pool.map(lambda _: scores(layers, rows), range(8)))


@pytest.mark.parametrize("bias", [False, True])
def test_the_shares_of_both_sides_add_up_to_the_layer(bias):
    torch.manual_seed(0)
    layer = SideLinear(FieldSpec((0, 1), (2, 3, 4), 6), 5, bias)
    if bias:
        nn.init.normal_(layer.bias)
    user, item = torch.rand(3, 2, 12), torch.rand(3, 2, 18)
    torch.testing.assert_close(
        layer.share("user", user) + layer.share("item", item), layer(torch.cat([user, item], -1))
    )


def test_batch_norm_in_evaluation_is_torchs():
    norm, rows = BatchNorm(6), torch.rand(7, 3, 6)
    norm(rows)
    norm.eval()
    with torch.no_grad():
        expected = nn.BatchNorm1d.forward(norm, rows.flatten(0, 1)).view_as(rows)
        torch.testing.assert_close(norm(rows), expected)
