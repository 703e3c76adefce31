from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tqdm.auto import tqdm

from recolib.algorithms import FM, DeepFM
from recolib.data import DatasetFeat, DatasetPure
from recolib.evaluation.measurement import Measurement
from recolib.fitting.wiring import build_network, plan_of
from recolib.randomness import uniforms
from recolib.sampling import SAMPLERS
from recolib.training import batches as examples_module
from recolib.training.batches import Examples
from recolib.training.losses import RANKING_LOSSES, cross_entropy, squared
from recolib.training.order import batch_bounds
from recolib.training.trainer import Plan, Trainer

N_USERS, N_ITEMS = 12, 9
CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:no context given")
PLAN = Plan(squared, 7, 0.05, 1.0, 1e-8, 0.0, None, None, seed=3, shuffle=True)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Ratings of a third of all pairs, with a column of each side."""
    rng = np.random.default_rng(0)
    pairs = np.array(
        [(u, i) for u in range(N_USERS) for i in range(N_ITEMS) if u % N_ITEMS == i or rng.random() < 0.35]
    )
    users, items = rng.permutation(pairs).T
    return pd.DataFrame(
        {
            "user": users,
            "item": items,
            "label": 1.0 + (users + items) % 5,
            "age": 20.0 + users,
            "genre": items % 3,
            "hour": rng.integers(0, 4, len(users)),
        }
    )


@pytest.fixture(scope="module")
def world(frame):
    columns = ["age", "genre", "hour"]
    return DatasetFeat.build_trainset(
        frame,
        **{f"{side}_col": [column] for side, column in zip(("user", "item", "context"), columns, strict=True)},
        dense_col=["age"],
        sparse_col=["genre", "hour"],
    )


@pytest.fixture
def network(world):
    settings = FM("rating", world[1], embed_size=4, use_bn=False, init_std=0.3, seed=1)
    return build_network(settings, settings.components)


def examples_of(data, network, sampler: str | None = None, num_neg: int = 1) -> Examples:
    draw = SAMPLERS[sampler](data.data_info) if sampler else None
    examples = Examples.of(data, draw, num_neg, CPU)
    examples.mark_trained(network)
    return examples


def run(trainer: Trainer, examples: Examples, n_epochs: int = 1) -> list[float]:
    return [trainer.run_epoch(examples, tqdm(disable=True))[0] for _ in range(n_epochs)]


def weights(network) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def watched(loss, network, seen: list):
    """The loss, noting the weights that each step starts from."""

    def measure(scores, labels, of_rows=None):
        seen.append(weights(network))
        return loss(scores, labels)

    return measure


# ---- batches


@given(st.integers(2, 300), st.integers(1, 64))
def test_batches_cover_every_row_once_and_none_has_a_single_row(n, size):
    bounds = batch_bounds(n, size)
    assert [row for begin, end in bounds for row in range(begin, end)] == list(range(n))
    lengths = [end - begin for begin, end in bounds]
    assert all(length == size for length in lengths[:-1])
    assert lengths[-1] <= size + 1
    assert lengths[-1] > 1


def test_a_last_batch_of_one_row_joins_the_one_before_it():
    assert list(batch_bounds(9, 4)) == [(0, 4), (4, 9)]
    assert list(batch_bounds(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(batch_bounds(5, 4)) == [(0, 5)]
    assert list(batch_bounds(3, 4)) == [(0, 3)]
    assert list(batch_bounds(1, 4)) == [(0, 1)]


def test_one_row_is_too_few_for_fit():
    data, info = DatasetPure.build_trainset(pd.DataFrame({"user": [1], "item": [1], "label": [3.0]}))
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        DeepFM("rating", info).fit(data, neg_sampling=False, verbose=0)


@pytest.mark.parametrize("size", [2, 5, 7])
def test_batch_norm_trains_on_any_number_of_rows(world, size):
    data, info = world
    for n in range(2, 12):
        model = DeepFM("rating", info, n_epochs=1, batch_size=size, hidden_units=(4,))
        model.fit(data.take(np.arange(n)), neg_sampling=False, verbose=0)
        assert np.isfinite(model.predict(user=0, item=0))


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_sees_every_row_once_in_its_own_order(world, network, shuffle):
    data = world[0]
    seen: list[float] = []

    def loss(scores, labels, of_rows=None):
        seen.extend(labels.flatten().tolist())
        return squared(scores, labels)

    data = replace(data, labels=np.arange(len(data), dtype=np.float32) / len(data))
    trainer = Trainer(network, replace(PLAN, loss=loss, shuffle=shuffle))
    run(trainer, examples_of(data, network), 2)
    first, second = seen[: len(data)], seen[len(data) :]
    assert sorted(first) == sorted(second) == data.labels.tolist()
    assert (first == data.labels.tolist()) is not shuffle
    assert (first == second) is not shuffle


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows(world, network):
    """The last batch is shorter; its rows count as much as others."""
    data = world[0]
    trainer = Trainer(network, replace(PLAN, lr=1e-30))
    loss = run(trainer, examples_of(data, network))[0]
    users, items, labels = Examples.of(data, None, 1, CPU).batch(torch.arange(len(data)), own_items(data))
    assert len(data) % PLAN.batch_size > 1
    assert loss == pytest.approx(squared(network(users, items), labels).item(), rel=1e-5)


def own_items(data) -> torch.Tensor:
    return Examples.of(data, None, 1, CPU).candidates(0, 0)


# ---- negatives


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_row_has_its_positive_first_and_then_the_draws_of_the_epoch(world, network, sampler):
    data = world[0]
    examples = examples_of(data, network, sampler, num_neg=3)
    draw = SAMPLERS[sampler](world[1])
    for epoch in (0, 1):
        candidates = examples.candidates(7, epoch)
        drawn = draw(data.user_indices, data.item_indices, uniforms(7, epoch, np.arange(len(data)), 3))
        assert torch.equal(candidates[:, 0], torch.from_numpy(data.item_rows))
        assert candidates[:, 1:].tolist() == drawn.tolist()
    at = torch.tensor([4, 2, 9])
    users, items, labels = examples.batch(at, candidates[at])
    assert labels.tolist() == [[1.0, 0.0, 0.0, 0.0]] * 3
    assert users.codes[:, 0, 0].tolist() == data.user_indices[at].tolist()
    assert items.codes[..., 0].tolist() == candidates[at].tolist()


def test_negatives_are_redrawn_every_epoch(world, network):
    examples = examples_of(world[0], network, "random", num_neg=2)
    one, other = (examples.candidates(7, epoch)[:, 1:] for epoch in (0, 1))
    assert (one != other).float().mean() > 0.7


def test_a_batch_carries_the_context_of_its_events(world, frame):
    data, info = world
    examples = Examples.of(data, None, 0, CPU)
    users, _, _ = examples.batch(torch.tensor([5, 0]), own_items(data))
    hours = info.vocabs["hour"].decode(users.codes[:, 0, -1].numpy())
    assert hours.tolist() == frame["hour"].iloc[[5, 0]].tolist()


@pytest.mark.parametrize("at_once", [1, 100, 2**20])
@pytest.mark.parametrize("num_neg", [0, 2])
def test_batches_are_the_events_between_their_bounds(world, monkeypatch, at_once, num_neg):
    monkeypatch.setattr(examples_module, "NUMBERS_AT_ONCE", at_once)
    data, info = world
    draw = SAMPLERS["random"](info) if num_neg else None
    examples = Examples.of(data, draw, num_neg, CPU)
    candidates, order = examples.candidates(3, 1), torch.randperm(len(data))
    bounds = batch_bounds(len(data), 7)
    batches = list(examples.batches(order, candidates[order], bounds))
    assert len(batches) == len(bounds)
    for (begin, end), batch in zip(bounds, batches, strict=True):
        users, items, labels = examples.batch(order[begin:end], candidates[order[begin:end]])
        for one, other in ((users, batch[0]), (items, batch[1])):
            assert torch.equal(one.codes, other.codes)
            assert torch.equal(one.dense, other.dense)
        assert torch.equal(labels, batch[2])


def before_steps(trainer: Trainer, look: Callable[[], object]) -> None:
    """Let something look before each step of the optimiser."""
    step = trainer.optimizer.step

    def look_and_step() -> None:
        look()
        step()

    trainer.optimizer.step = look_and_step


@pytest.mark.parametrize("sampler", [None, "random"])
def test_rows_are_marked_that_training_touches_and_no_others(world, network, sampler):
    """A row is touched when it gets a gradient; with negatives, every trained item may."""
    data = world[0]
    part = data.take(np.flatnonzero(data.user_indices <= 6))
    touched = {side: torch.zeros(network.embedding(side).trained.shape, dtype=torch.bool) for side in ("user", "item")}
    trainer = Trainer(network, replace(PLAN, lr=1e-30))

    def note() -> None:
        for side, seen in touched.items():
            seen |= network.embedding(side).vectors.weight.grad.abs().sum(-1) > 0

    before_steps(trainer, note)
    run(trainer, examples_of(part, network, sampler, num_neg=4), 12 if sampler else 1)
    for side, seen in touched.items():
        assert torch.equal(network.embedding(side).trained, seen), side


# ---- steps


def test_a_step_is_adams(world, network):
    """Full batches in order, against torch's own optimiser on the same network."""
    data, other = world[0], FM("rating", world[1], embed_size=4, use_bn=False, init_std=0.3, seed=1)
    other = build_network(other, other.components)
    trainer = Trainer(network, replace(PLAN, batch_size=len(data), shuffle=False))
    examples = examples_of(data, network)
    run(trainer, examples, 5)
    optimizer = torch.optim.Adam(other.parameters(), PLAN.lr, eps=PLAN.epsilon, fused=False)
    users, items, labels = examples.batch(torch.arange(len(data)), examples.candidates(0, 0))
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(other(users, items), labels).backward()
        optimizer.step()
    for side in ("user", "item"):
        trained = network.embedding(side).trained
        for name in ("vectors", "weights"):
            ours, theirs = (getattr(one.embedding(side), name).weight[trained] for one in (network, other))
            torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(network.embedding(side).dense_vectors, other.embedding(side).dense_vectors)
    torch.testing.assert_close(network.bias, other.bias)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_average_of_the_weights_is_that_worked_by_hand(world, network, ema):
    """a ← d·a + (1 − d)·w after step t, from the first weights on, over epochs; d = min(ema, t / (t + 9))."""
    data, seen, again = world[0], [], []
    start = weights(network)
    plain = Trainer(network, replace(PLAN, loss=watched(squared, network, seen)))
    run(plain, examples_of(data, network), 3)
    path = [*seen[1:], weights(network)]
    expected = start
    for number, step in enumerate(path, start=1):
        decay = min(ema, number / (number + 9))
        expected = [decay * average + (1 - decay) * weight for average, weight in zip(expected, step, strict=True)]

    with torch.no_grad():
        for parameter, first in zip(network.parameters(), start, strict=True):
            parameter.copy_(first)
    averaged = Trainer(network, replace(PLAN, loss=watched(squared, network, again), ema=ema))
    run(averaged, examples_of(data, network), 3)
    assert len(seen) == len(again) == 3 * -(-len(data) // PLAN.batch_size)
    is_trained = [torch.ones(len(p), dtype=torch.bool) if p.dim() else torch.tensor(True) for p in network.parameters()]
    for at, (name, _) in enumerate(network.named_parameters()):
        side, _, rest = name.partition(".")
        if rest in ("vectors.weight", "weights.weight"):  # other rows are set by settling, not by training
            is_trained[at] = network.embedding(side).trained
    for now, hand, trained in zip(network.parameters(), expected, is_trained, strict=True):
        torch.testing.assert_close(now[trained], hand[trained], rtol=1e-4, atol=1e-6)
    for one, other in zip(seen, again, strict=True):  # the steps themselves do not see the average
        for a, b, trained in zip(one, other, is_trained, strict=True):
            assert torch.equal(a[trained], b[trained])


def gradients_of_a_step(network, data, **plan) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    trainer = Trainer(network, replace(PLAN, batch_size=len(data), lr=1e-30, **plan))
    before_steps(trainer, lambda: found.extend(p.grad.clone() for p in network.parameters() if p.grad is not None))
    run(trainer, examples_of(data, network))
    return found


def norm(gradients: list[torch.Tensor]) -> float:
    return torch.cat([gradient.flatten() for gradient in gradients]).norm().item()


def test_a_gradient_above_the_norm_is_cut_to_it_and_keeps_its_direction(world, network):
    free = gradients_of_a_step(network, world[0])
    length = norm(free)
    clipped = gradients_of_a_step(network, world[0], clip_norm=length / 4)
    assert norm(clipped) == pytest.approx(length / 4, rel=1e-4)
    for one, other in zip(free, clipped, strict=True):
        torch.testing.assert_close(other, one / 4, rtol=1e-3, atol=1e-7)


def test_a_gradient_below_the_norm_is_left_alone(world, network):
    free = gradients_of_a_step(network, world[0])
    for one, other in zip(free, gradients_of_a_step(network, world[0], clip_norm=2 * norm(free)), strict=True):
        torch.testing.assert_close(one, other)


def zero_loss(scores, labels, of_rows=None):
    return (0 * scores).sum()


@pytest.mark.parametrize("sampler", [None, "random"])
def test_reg_shrinks_the_rows_of_the_batch_and_no_others(world, network, sampler):
    """Without any other pull, each row moves towards zero or not at all."""
    data = world[0]
    part = data.take(np.flatnonzero((data.user_indices <= 5) & (data.item_indices <= 4)))
    trainer = Trainer(network, replace(PLAN, loss=zero_loss, lr=1e-3, reg=0.1, batch_size=len(part)))
    examples = examples_of(part, network, sampler, num_neg=2)
    users, items, _ = examples.batch(torch.arange(len(part)), examples.candidates(PLAN.seed, 0))
    before = weights(network)
    for side in ("user", "item"):
        network.embedding(side).trained[:] = True  # settling moves nothing then
    run(trainer, examples)
    for side, rows in (("user", users), ("item", items)):
        embedding = network.embedding(side)
        in_batch = torch.zeros(len(embedding.trained), dtype=torch.bool)
        in_batch[(rows.codes + embedding.offsets).long().flatten()] = True
        assert 0 < in_batch.sum() < len(in_batch)
        then = dict(zip([name for name, _ in network.named_parameters()], before, strict=True))[
            f"{side}.vectors.weight"
        ]
        now = embedding.vectors.weight
        assert torch.equal(now[~in_batch], then[~in_batch])
        assert (now[in_batch].norm(dim=-1) < then[in_batch].norm(dim=-1)).all()


def test_the_gradient_of_reg_is_twice_the_row_for_each_time_it_stands_in_the_batch(world, network):
    data, reg = world[0], 0.3
    found: dict[str, torch.Tensor] = {}
    trainer = Trainer(network, replace(PLAN, loss=zero_loss, lr=1e-30, reg=reg, batch_size=len(data)))
    before = network.user.vectors.weight.detach().clone()
    before_steps(trainer, lambda: found.update(user=network.user.vectors.weight.grad.clone()))
    run(trainer, examples_of(data, network))
    times = np.bincount(data.user_indices, minlength=N_USERS + 1)
    for code in range(1, N_USERS + 1):
        expected = 2 * reg * times[code] / len(data) * before[1 + code]
        torch.testing.assert_close(found["user"][1 + code], expected)


@pytest.mark.parametrize(("decay", "factor"), [(True, 0.96), (False, 1.0), (0.5, 0.5)])
def test_the_learning_rate_falls_by_a_factor_an_epoch(world, decay, factor):
    data, info = world
    model = FM(
        "rating", info, "squared", embed_size=4, batch_size=32, prior=0, embed_dropout=0, lr=0.02, lr_decay=decay
    )
    trainer = Trainer(build_network(model, model.components), plan_of(model, neg_sampling=False, shuffle=True))
    used: list[float] = []
    before_steps(trainer, lambda: used.append(trainer.optimizer.rates.lr))
    run(trainer, examples_of(data, trainer.network), 3)
    steps = len(used) // 3
    expected = [0.02 * factor**epoch for epoch in range(3) for _ in range(steps)]
    assert used == pytest.approx(expected)


@pytest.mark.parametrize(("num_neg", "batch_size", "positives"), [(1, 256, 128), (4, 256, 51), (9, 4, 1)])
def test_batch_size_counts_scored_pairs(world, num_neg, batch_size, positives):
    model = FM("ranking", world[1], num_neg=num_neg, batch_size=batch_size)
    assert plan_of(model, neg_sampling=True, shuffle=True).batch_size == positives
    assert plan_of(model, neg_sampling=False, shuffle=True).batch_size == batch_size


# ---- what fit leaves behind


def globals_of_randomness() -> tuple:
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002


@pytest.mark.parametrize("lr", [0.01, 1e38], ids=["well", "diverging"])
def test_fit_leaves_global_randomness_as_it_was(world, lr):
    data, info = world
    model = DeepFM(
        "ranking", info, num_neg=1, n_epochs=2, lr=lr, dropout_rate=0.3, embed_dropout=0.2, hidden_units=(4,)
    )
    before = globals_of_randomness()
    if lr == 1e38:
        with pytest.raises(FloatingPointError):
            model.fit(data, neg_sampling=True, verbose=0)
    else:
        model.fit(data, neg_sampling=True, verbose=0)
    assert globals_of_randomness() == before


def test_fit_does_not_depend_on_global_randomness(world):
    data, info = world
    predictions = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        model = DeepFM("ranking", info, num_neg=1, n_epochs=2, dropout_rate=0.3, embed_dropout=0.2, hidden_units=(4,))
        predictions.append(model.fit(data, neg_sampling=True, verbose=0).predict([1, 2, 3], [3, 2, 1]))
    assert np.array_equal(*predictions)


def failing_at(step: int, error: BaseException | float):
    """Cross-entropy until a step, which raises the error, or gives the number instead."""
    steps = 0

    def loss(scores, labels, of_rows=None):
        nonlocal steps
        steps += 1
        if steps == step:
            if isinstance(error, BaseException):
                raise error
            return scores.sum() * error
        return cross_entropy(scores, labels)

    return loss


def fitted(world, **more) -> FM:
    """A model of one epoch on half of the data; an epoch on all of it has 5 steps."""
    data, info = world
    model = FM("ranking", info, num_neg=1, lr=0.05, n_epochs=1, batch_size=2 * -(-len(data) // 5), **more)
    return model.fit(data.take(np.arange(len(data) // 2)), neg_sampling=True, verbose=0)


def all_scores(model: FM) -> np.ndarray:
    users, items = np.repeat(np.arange(N_USERS), N_ITEMS), np.tile(np.arange(N_ITEMS), N_USERS)
    return model.predict(users.tolist(), items.tolist(), feats={"hour": 1})


def scores_in_lists(model: FM) -> np.ndarray:
    """The same scores, by the way of the cached item states."""
    lists = model.recommend_user(
        list(range(N_USERS)), N_ITEMS, filter_consumed=False, return_scores=True, context={"hour": 1}
    )
    return np.concatenate([scores[np.argsort(items)] for items, scores in lists.values()])


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("step", [1, 4, 5, 8], ids=lambda step: f"step-{step}")
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_an_error_and_the_model_predicts_as_before(world, monkeypatch, number, step, ema):
    """Step 1 is in the first epoch of the second fit, step 8 in its second."""
    model = fitted(world, ema=ema)
    before, history = all_scores(model), model.history_
    scores_in_lists(model)
    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(step, number))
    model.n_epochs = 2
    with pytest.raises(FloatingPointError, match=r"the loss became (nan|inf) in epoch [23]: lower lr=0\.05"):
        model.fit(world[0], neg_sampling=True, verbose=0)
    assert np.array_equal(all_scores(model), before)
    np.testing.assert_allclose(scores_in_lists(model), before, rtol=1e-5)
    assert model.history_.equals(history)


def test_a_first_fit_that_fails_leaves_no_model(world, monkeypatch):
    data, info = world
    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(3, float("nan")))
    model = FM("ranking", info, num_neg=1, n_epochs=3, batch_size=2 * len(data))
    with pytest.raises(FloatingPointError, match="in epoch 3"):
        model.fit(data, neg_sampling=True, verbose=0)
    with pytest.raises(ValueError, match="call fit first"):
        model.predict(1, 1)
    assert model.history_.empty


def test_a_model_goes_on_training_after_a_failed_fit(world, monkeypatch):
    model = fitted(world)
    with monkeypatch.context() as patch:
        patch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(2, float("nan")))
        with pytest.raises(FloatingPointError):
            model.fit(world[0], neg_sampling=True, verbose=0)
    model.fit(world[0], neg_sampling=True, verbose=0)
    assert np.isfinite(all_scores(model)).all()
    assert model.history_["epoch"].tolist() == [1, 2]


def test_epochs_of_a_failed_fit_do_not_count(world, monkeypatch):
    model = fitted(world)
    model.n_epochs = 2
    with monkeypatch.context() as patch:
        patch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(8, float("nan")))
        with pytest.raises(FloatingPointError):
            model.fit(world[0], neg_sampling=True, verbose=0)
    model.fit(world[0], neg_sampling=True, verbose=0)
    assert model.history_["epoch"].tolist() == [1, 2, 3]


def test_rows_of_a_failed_fit_do_not_count_as_trained(world, monkeypatch):
    model = fitted(world)
    network = model.engine.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(1, float("nan")))
    with pytest.raises(FloatingPointError):
        model.fit(world[0], neg_sampling=True, verbose=0)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_lists_asked_for_between_epochs_of_a_failed_fit_leave_nothing_behind(world, monkeypatch):
    model = fitted(world)
    before = all_scores(model)

    def measure(measurement, engine):
        assert engine is not model.engine
        scores_in_lists(model)
        return {}

    monkeypatch.setattr(Measurement, "measure", measure)
    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(8, float("nan")))
    model.n_epochs = 2
    with pytest.raises(FloatingPointError):
        model.fit(world[0], neg_sampling=True, verbose=0, eval_data=world[0])
    assert np.array_equal(all_scores(model), before)
    np.testing.assert_allclose(scores_in_lists(model), before, rtol=1e-5)


def test_lists_and_predictions_agree_after_an_interrupted_fit(world, monkeypatch):
    model = fitted(world)
    scores_in_lists(model)
    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(4, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        model.fit(world[0], neg_sampling=True, verbose=0)
    np.testing.assert_allclose(scores_in_lists(model), all_scores(model), rtol=1e-5)


def raw_and_averaged(world, first: float | None, second: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores after two epochs without an average, and after one epoch with each of these."""
    data, info = world
    plain = FM("rating", info, lr=0.05, n_epochs=2, use_bn=False).fit(data, neg_sampling=False, verbose=0)
    changed = FM("rating", info, lr=0.05, n_epochs=1, use_bn=False, ema=first)
    changed.fit(data, neg_sampling=False, verbose=0)
    changed.ema = second
    changed.fit(data, neg_sampling=False, verbose=0)
    return all_scores(plain), all_scores(changed)


def test_training_with_an_average_predicts_otherwise_than_without(world):
    plain, averaged = raw_and_averaged(world, 0.9, 0.9)
    assert np.abs(plain - averaged).max() > 1e-3


def test_an_average_that_is_switched_off_is_no_longer_predicted_with(world):
    plain, changed = raw_and_averaged(world, 0.9, None)
    np.testing.assert_allclose(changed, plain, rtol=1e-5)


def test_an_average_that_is_switched_on_is_predicted_with(world):
    plain, changed = raw_and_averaged(world, None, 0.9)
    assert np.abs(plain - changed).max() > 1e-3


def test_a_failed_fit_without_the_average_leaves_the_one_there_was(world, monkeypatch):
    model = fitted(world, ema=0.9)
    before = all_scores(model)
    monkeypatch.setitem(RANKING_LOSSES, "cross_entropy", failing_at(1, float("nan")))
    model.ema = None
    with pytest.raises(FloatingPointError):
        model.fit(world[0], neg_sampling=True, verbose=0)
    assert np.array_equal(all_scores(model), before)


@pytest.mark.parametrize("num_neg", [None, 1, 10**9])
def test_more_negatives_than_the_catalogue_has_are_refused_before_any_work(world, num_neg):
    data, info = world
    most = len(info.trained_items) - 1
    model = FM("ranking", info, n_epochs=1, num_neg=most + (num_neg or 0))
    if num_neg is None:
        assert len(model.fit(data, neg_sampling=True, verbose=0).history_) == 1
        return
    with pytest.raises(ValueError, match=rf"num_neg must be at most {most}, .*, got {most + num_neg}"):
        model.fit(data, neg_sampling=True, verbose=0)
