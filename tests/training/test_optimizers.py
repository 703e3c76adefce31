from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from worlds import make_world

import recolib
from recolib.algorithms import DeepFM
from recolib.fitting.wiring import build_network
from recolib.nn import Component, Deep, FieldSpec
from recolib.recommender import Recommender
from recolib.training.optimizers import OPTIMIZERS, Optimizer, Rates

RATES = Rates(lr=0.1, epsilon=1e-8, initial_accumulator_value=0.0)
N_ROWS, DIM = 7, 3


class Net(nn.Module):
    """A table of which a batch reads some rows, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(N_ROWS, DIM)
        self.layer = nn.Linear(DIM, 1)

    def forward(self, at: torch.Tensor) -> torch.Tensor:
        return self.layer(self.table(at)).squeeze(-1)


BY_ROWS = ["lazy_adam", "rowwise_adagrad"]
FAMILIES = {name: method.family for name, method in OPTIMIZERS.items()}


def batches(seed: int = 0, n: int = 8) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Rows, some of them twice in a batch, and targets; row 6 comes in the first batch alone, row 5 in none."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(0, 5, (6,), generator=generator, dtype=torch.int32) for _ in range(n)]
    drawn[0][0] = 6
    return [(at, torch.randn(6, generator=generator)) for at in drawn]


def step(net: Net, at: torch.Tensor, target: torch.Tensor) -> None:
    (net(at) - target).square().mean().backward()


def optimizer_of(net: Net, name: str) -> Optimizer:
    return Optimizer(net, [[net.table]], name, RATES)


def trained(name: str, steps: list[tuple[torch.Tensor, torch.Tensor]], rates: Rates = RATES, clip: float | None = None):
    net = Net()
    optimizer = Optimizer(net, [[net.table]], name, rates)
    for at, target in steps:
        optimizer.zero_grad()
        step(net, at, target)
        if clip is not None:
            optimizer.clip(clip)
        optimizer.step()
    return net, optimizer


def by_torch(make: Any, steps: list[tuple[torch.Tensor, torch.Tensor]], clip: float | None = None) -> Net:
    net = Net()
    optimizer = make(net.parameters())
    for at, target in steps:
        optimizer.zero_grad()
        step(net, at, target)
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
    return net


def assert_same(one: nn.Module, other: nn.Module, **more: float) -> None:
    for name, weight in one.named_parameters():
        torch.testing.assert_close(weight, dict(other.named_parameters())[name], **more)


TORCHS: dict[str, Any] = {
    "adam": lambda weights: torch.optim.Adam(weights, 0.1, eps=1e-8),
    "adagrad": lambda weights: torch.optim.Adagrad(weights, 0.1, eps=1e-8),
    "sgd": lambda weights: torch.optim.SGD(weights, 0.1),
}


@pytest.mark.parametrize("name", TORCHS)
@pytest.mark.parametrize("clip", [None, 0.05])
def test_dense_methods_are_torchs(name, clip):
    assert_same(trained(name, batches(), clip=clip)[0], by_torch(TORCHS[name], batches(), clip))


def test_what_settings_offer_is_what_there_is():
    assert [*OPTIMIZERS] == ["auto", "adam", "adagrad", "sgd", "lazy_adam", "rowwise_adagrad"]


# ---- against TensorFlow's Adagrad, by hand


def test_adagrad_of_the_worked_steps():
    """p = 1, lr = .1, start 1e-8; gradients 2, then 1: .9 and .8552786."""
    net = nn.Module()
    net.weight = nn.Parameter(torch.ones(()))
    rates = Rates(0.1, 1e-12, 1e-8)
    optimizer, seen = Optimizer(net, [], "adagrad", rates), []
    for gradient in (2.0, 1.0):
        net.weight.grad = torch.tensor(gradient)
        optimizer.step()
        seen.append(net.weight.item())
    assert seen == pytest.approx([0.9, 0.8552786], abs=1e-7)


@pytest.mark.parametrize(("start", "moved"), [(1e-8, 0.00995), (0.0, 0.1)])
def test_a_tiny_gradient_moves_as_the_start_lets_it(start, moved):
    """g = 1e-5: TensorFlow's step from 1e-8 is a tenth of torch's from 0."""
    net = nn.Module()
    net.weight = nn.Parameter(torch.zeros(()))
    rates = Rates(0.1, 1e-12, start)
    optimizer = Optimizer(net, [], "adagrad", rates)
    net.weight.grad = torch.tensor(1e-5)
    optimizer.step()
    assert -net.weight.item() == pytest.approx(moved, rel=1e-3)


# ---- rows of tables


def test_lazy_adam_is_adam_where_each_batch_has_each_row():
    whole = [(torch.arange(N_ROWS).repeat(2), torch.randn(2 * N_ROWS)) for _ in range(6)]
    assert_same(trained("lazy_adam", whole)[0], trained("adam", whole)[0], rtol=1e-5, atol=1e-6)


def test_lazy_adam_is_that_of_torch_on_rows_that_come_and_go():
    net = Net()
    net.table.sparse = True
    table = torch.optim.SparseAdam([net.table.weight], 0.1, eps=1e-12)
    layer = torch.optim.Adam(net.layer.parameters(), 0.1, eps=1e-12)
    for at, target in batches():
        table.zero_grad()
        layer.zero_grad()
        step(net, at, target)
        table.step()
        layer.step()
    assert_same(trained("lazy_adam", batches(), Rates(0.1, 1e-12, 0.0))[0], net, rtol=1e-5, atol=1e-6)


def rowwise_by_hand(steps: list[tuple[torch.Tensor, torch.Tensor]], start: float) -> Net:
    """Row by row: the sum of the mean square of its gradient, and a step by its root."""
    net = Net()
    sums = [start] * N_ROWS
    layer = torch.optim.Adagrad(net.layer.parameters(), 0.1, eps=1e-8, initial_accumulator_value=start)
    for at, target in steps:
        net.zero_grad()
        step(net, at, target)
        for row in sorted(set(at.tolist())):
            gradient = net.table.weight.grad[row]
            sums[row] += gradient.square().mean().item()
            with torch.no_grad():
                net.table.weight[row] -= 0.1 * gradient / (sums[row] ** 0.5 + 1e-8)
        layer.step()
    return net


@pytest.mark.parametrize("start", [0.0, 0.1])
def test_rowwise_adagrad_is_what_it_says(start):
    rates = Rates(0.1, 1e-8, start)
    assert_same(trained("rowwise_adagrad", batches(), rates)[0], rowwise_by_hand(batches(), start))


@pytest.mark.parametrize("name", BY_ROWS)
def test_rows_that_no_batch_has_stand_still(name):
    first = Net().table.weight
    net, optimizer = trained(name, batches()[:1])
    row = net.table.weight[6].clone()
    for at, target in batches()[1:]:
        optimizer.zero_grad()
        step(net, at, target)
        optimizer.step()
    assert torch.equal(net.table.weight[5], first[5])
    assert torch.equal(net.table.weight[6], row)
    assert not torch.equal(net.table.weight[:5], first[:5])


def test_adam_goes_on_moving_rows_that_it_moved():
    """Which is why lazy Adam is another thing."""
    net, _ = trained("adam", batches()[:1])
    assert not torch.equal(net.table.weight[6], trained("adam", batches())[0].table.weight[6])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gradients_of_tables_are_sparse_where_the_method_wants_them(name):
    net, _ = trained(name, batches())
    assert net.table.weight.grad.is_sparse == (name in BY_ROWS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_gradient_is_clipped_whole(name):
    net = Net()
    optimizer = Optimizer(net, [[net.table]], name, RATES)
    step(net, *batches()[0])
    dense = copy.deepcopy(Net())
    step(dense, *batches()[0])
    nn.utils.clip_grad_norm_(dense.parameters(), 0.05)
    optimizer.clip(0.05)
    for weight, other in zip(net.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(weight.grad.to_dense(), other.grad)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_short_gradient_is_not_clipped(name):
    assert_same(trained(name, batches(), clip=1e6)[0], trained(name, batches())[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_weight_without_gradient_stands_still(name):
    net = Net()
    net.table.weight.requires_grad_(False)
    optimizer, before = Optimizer(net, [[net.table]], name, RATES), net.table.weight.clone()
    for at, target in batches():
        optimizer.zero_grad()
        step(net, at, target)
        optimizer.step()
    assert torch.equal(net.table.weight, before)


# ---- what is kept


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_kept_is_enough_to_go_on(name):
    whole, _ = trained(name, batches())
    net, optimizer = trained(name, batches()[:4])
    state = {key: tensor.clone() for key, tensor in optimizer.state().items()}
    assert {key.split(".")[0] for key in state} == ({FAMILIES[name]} if OPTIMIZERS[name].keeps else set())
    again = Optimizer(net, [[net.table]], name, RATES)
    again.restore(state, RATES)
    for at, target in batches()[4:]:
        again.zero_grad()
        step(net, at, target)
        again.step()
    for weight, other in zip(net.parameters(), whole.parameters(), strict=True):
        assert torch.equal(weight, other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_before_the_first_step_nothing_is_kept(name):
    assert optimizer_of(Net(), name).state() == {}


def test_the_state_of_another_method_is_none():
    net, adagrad = trained("adagrad", batches())
    optimizer = optimizer_of(net, "adam")
    optimizer.restore(adagrad.state(), RATES)
    assert not any(one.moments or one.n_steps for one in optimizer.params.values())


@pytest.mark.parametrize("name", [name for name, method in OPTIMIZERS.items() if method.keeps])
@pytest.mark.parametrize("wrong", ["missing", "shape", "type", "negative", "name"])
def test_a_state_that_contradicts_itself_is_refused(name, wrong):
    net, optimizer = trained(name, batches())
    state = dict(optimizer.state())
    key = f"{FAMILIES[name]}.table.weight.{OPTIMIZERS[name].keeps[-1]}"
    edited: dict[str, torch.Tensor] = {
        "shape": state[key][:-1],
        "type": state[key].double(),
        "negative": state[key] - 100,
    }
    if wrong == "missing":
        del state[key]
    elif wrong == "name":
        state[key.replace("table", "chair")] = state.pop(key)
    else:
        state[key] = edited[wrong]
    with pytest.raises(ValueError, match="weight"):
        Optimizer(net, [[net.table]], name, RATES).restore(state, RATES)


def test_a_sum_a_row_is_no_sum_an_element():
    _, adagrad = trained("adagrad", batches())
    state = {key.replace("adagrad", "rowwise_adagrad", 1): tensor for key, tensor in adagrad.state().items()}
    with pytest.raises(ValueError, match=r"needs torch.float32 \[7, 1\]"):
        optimizer_of(Net(), "rowwise_adagrad").restore(state, RATES)


# ---- whole models


def fitted(name: str, n_epochs: int = 2, **more: Any) -> DeepFM:
    data, info = make_world("ranking", "all kinds").build()
    settings: dict[str, Any] = {
        "embed_size": 4, "hidden_units": (8,), "batch_size": 32, "lr": 0.02, "optimizer": name, "n_epochs": n_epochs
    }  # fmt: skip
    return DeepFM("ranking", info, **settings | more).fit(data, neg_sampling=True, verbose=0)


def weights(model: DeepFM) -> list[torch.Tensor]:
    return list(model.engine.network.state_dict().values())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("more", [{}, {"reg": 1e-3, "clip_norm": 0.5, "ema": 0.9, "lr_decay": True}])
def test_a_model_learns_is_saved_and_goes_on_to_the_bit(name, more, tmp_path):
    data = make_world("ranking", "all kinds").build()[0]
    model = fitted(name, 4, **more)
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    half = fitted(name, 2, **more)
    again = recolib.load(half.save(tmp_path, "half"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.fit(data, neg_sampling=True, verbose=0)
    for one, other in zip(weights(again), weights(model), strict=True):  # pyright: ignore[reportArgumentType]
        assert torch.equal(one, other)


def test_the_weights_behind_an_average_are_missed_too(tmp_path):
    data = make_world("ranking", "all kinds").build()[0]
    again = recolib.load(fitted("sgd", ema=0.9).save(tmp_path, "small", inference_only=True))
    with pytest.warns(UserWarning, match="starts anew"):
        again.fit(data, neg_sampling=True, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.fit(data, neg_sampling=True, verbose=0)


@pytest.mark.parametrize("name", ["adagrad", "sgd"])
def test_only_an_optimiser_that_keeps_something_starts_anew(name, tmp_path):
    data = make_world("ranking", "all kinds").build()[0]
    again = recolib.load(fitted(name).save(tmp_path, "small", inference_only=True))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again.fit(data, neg_sampling=True, verbose=0)
    assert any("starts anew" in str(one.message) for one in caught) == (name == "adagrad")


def test_a_model_goes_over_to_another_optimiser():
    data = make_world("ranking", "all kinds").build()[0]
    model = fitted("adam")
    model.optimizer = "rowwise_adagrad"
    model.fit(data, neg_sampling=True, verbose=0)
    names = {name.split(".")[0] for name in model._state}  # pyright: ignore
    assert "rowwise_adagrad" in names
    assert "adam" not in names
    assert model.history_["epoch"].tolist() == [1, 2, 3, 4]


def test_a_failed_fit_goes_back_to_the_optimiser_it_came_from():
    data = make_world("ranking", "all kinds").build()[0]
    model = fitted("adam")
    before = {name: tensor.clone() for name, tensor in model._state.items()}  # pyright: ignore
    model.optimizer, model.lr = "sgd", 1e30
    with pytest.raises(FloatingPointError):
        model.fit(data, neg_sampling=True, verbose=0)
    after = model._state  # pyright: ignore
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_name_of_the_optimiser_is_shown(name):
    assert f"optimizer='{name}'" in repr(fitted(name, 1))


def test_auto_is_adam():
    assert all(torch.equal(a, b) for a, b in zip(weights(fitted("auto")), weights(fitted("adam")), strict=True))


def test_auto_steps_the_rows_of_the_side_that_is_large(monkeypatch):
    """The users' tables have more numbers than the items': a bound between them is the one's alone."""
    data, info = make_world("ranking", "pure").build()
    settings: dict[str, Any] = {"embed_size": 4, "hidden_units": (8,), "batch_size": 32, "lr": 0.02, "n_epochs": 1}
    sizes = {"user": (info.n_users + 3) * 5, "item": (info.n_items + 3) * 5}
    assert sizes["user"] != sizes["item"]
    small, large = sorted(sizes, key=lambda side: sizes[side])
    bound = sizes[small]
    monkeypatch.setitem(OPTIMIZERS, "auto", replace(OPTIMIZERS["auto"], rows_above=bound))
    model = DeepFM("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)
    network = model.engine.network
    for side, is_sparse in ((small, False), (large, True)):
        embedding = network.embedding(side)  # pyright: ignore[reportArgumentType]
        assert [embedding.vectors.sparse, embedding.weights.sparse] == [is_sparse] * 2, side
    lazy = DeepFM("ranking", info, **settings, optimizer="lazy_adam").fit(data, neg_sampling=True, verbose=0)
    dense = DeepFM("ranking", info, **settings, optimizer="adam").fit(data, neg_sampling=True, verbose=0)
    for one in (lazy, dense):  # neither of both throughout
        assert not all(torch.equal(a, b) for a, b in zip(weights(model), weights(one), strict=True))


def under_adam(model: Recommender) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model._state.items() if name.startswith("adam.")}  # pyright: ignore


def test_adam_goes_over_to_rows_with_what_it_keeps():
    data = make_world("ranking", "all kinds").build()[0]
    model = fitted("adam", 2)
    model.optimizer, model.n_epochs = "lazy_adam", 1
    before = under_adam(model)
    steps = {name: tensor.item() for name, tensor in before.items() if name.endswith("step")}
    model.fit(data, neg_sampling=True, verbose=0)
    after = under_adam(model)
    assert steps
    assert all(after[name].item() > n for name, n in steps.items())
    assert all(after[name].item() == pytest.approx(1.5 * n) for name, n in steps.items())


def test_a_start_of_sums_slows_adagrad_down():
    fast, slow = (fitted("adagrad", 1, initial_accumulator_value=start) for start in (0.0, 1e6))
    first = build_network(slow, slow.components).components[-1].first.weight
    moved = [(model.engine.network.components[-1].first.weight - first).abs().sum() for model in (fast, slow)]  # pyright: ignore
    assert moved[1] < 0.01 * moved[0]


class Turned(Recommender):
    """With a weight that does not lie row by row in memory."""

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        deep = Deep(spec, [5])
        deep.first.weight = nn.Parameter(torch.randn(spec.n_positions * spec.dim, 5).T)
        return [deep]


@pytest.mark.parametrize("name", ["adam", "adagrad", "sgd"])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_weights_that_lie_otherwise_go_on_from_a_file_too(name, ema, tmp_path):
    data, info = make_world("ranking", "pure").build()
    settings: dict[str, Any] = {"embed_size": 4, "optimizer": name, "ema": ema, "n_epochs": 2, "lr": 0.05}
    whole = Turned("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)
    half = Turned("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)
    half.save(tmp_path, "half")
    again = Turned.load(tmp_path, "half").fit(data, neg_sampling=True, verbose=0)
    whole.fit(data, neg_sampling=True, verbose=0)
    for one, other in zip(weights(again), weights(whole), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_settings_that_were_changed_are_checked_by_the_next_fit():
    model = fitted("adam")
    data = make_world("ranking", "all kinds").build()[0]
    for setting, wrong in (("optimizer", "adagard"), ("loss_type", "bprr"), ("lr", -1.0)):
        before = getattr(model, setting)
        setattr(model, setting, wrong)
        with pytest.raises(ValueError, match=setting):
            model.fit(data, neg_sampling=True, verbose=0)
        setattr(model, setting, before)
