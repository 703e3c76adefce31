"""Callbacks: told of each epoch, in order, and free to do what they like with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from worlds import make_world

import recolib
from recolib import EarlyStopping, NotFittedError
from recolib.algorithms import DeepFM
from recolib.recommender import Recommender
from recolib.training.trainer import Trainer

WORLD = make_world("ranking", "pure")


def model_of(n_epochs: int = 3, **settings: Any) -> Recommender:
    common: dict[str, Any] = {"embed_size": 4, "lr": 0.05, "batch_size": 64, "ema": 0.9, "hidden_units": (6,)}
    common["num_neg"] = 1
    return DeepFM("ranking", WORLD.build()[1], n_epochs=n_epochs, **{**common, **settings})


def fit(model: Recommender, **arguments: Any) -> Recommender:
    return model.fit(WORLD.build()[0], True, **{"verbose": 0, **arguments})


def same(one: Recommender, other: Recommender) -> bool:
    mine, theirs = one._state, other._state
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_each_is_told_of_each_epoch_what_the_history_says():
    first, second = [], []
    model = fit(model_of(), callbacks=[first.append, second.append], eval_data=WORLD.frame, metrics=["loss", "ndcg"])
    assert first == second == model.history_.to_dict("records")
    assert [*first[0]] == ["epoch", "train_loss", "seconds", "rows_per_second", "eval_loss", "eval_ndcg"]
    assert {type(record["epoch"]) for record in first} == {int}


def test_what_is_told_is_a_copy():
    def spoil(record: dict[str, float]) -> None:
        record.clear()
        record["epoch"] = 99

    model = fit(model_of(), callbacks=(spoil, spoil), early_stopping=EarlyStopping("train_loss"))
    assert model.history_["epoch"].tolist() == [1, 2, 3]
    assert np.isfinite(model.history_).all(axis=None)


def test_what_one_returns_is_nothing():
    assert same(fit(model_of(), callbacks=[lambda record: True, lambda record: record]), fit(model_of()))


def test_the_model_can_be_asked_and_saved_by_one(tmp_path):
    model, lists = model_of(), []

    def ask(record: dict[str, float]) -> None:
        lists.append(model.recommend(n_rec=3))
        model.save(tmp_path, f"after-{record['epoch']}")

    fit(model, callbacks=[ask])
    assert same(model, fit(model_of()))
    for epoch in (1, 2, 3):
        again = recolib.load(tmp_path / f"after-{epoch}.safetensors")
        assert again.recommend(n_rec=3).equals(lists[epoch - 1])
        assert same(again, fit(model_of(epoch)))


def test_one_is_called_when_the_checkpoint_is_there(tmp_path):
    found = []

    def look(record: dict[str, float]) -> None:
        found.append(recolib.load(tmp_path / "it.safetensors").history_["epoch"].tolist()[-1])

    fit(model_of(), checkpoint=tmp_path / "it", callbacks=[look])
    assert found == [1, 2, 3]


@pytest.mark.parametrize(
    "error", [RuntimeError("enough"), FloatingPointError("mine"), KeyboardInterrupt(), StopIteration()]
)
def test_what_one_raises_ends_the_fit_and_the_model_keeps_its_epochs(error):
    def raising(record: dict[str, float]) -> None:
        if record["epoch"] == 2:
            raise error

    model = model_of()
    with pytest.raises(type(error)):
        fit(model, callbacks=[raising])
    assert model.history_["epoch"].tolist() == [1, 2]
    assert same(model, fit(model_of(2)))
    model.n_epochs = 1
    assert same(fit(model), fit(model_of(3)))


@pytest.mark.parametrize("callbacks", [print, "print", [None], ["print"], {"a": print}, None])
def test_what_is_no_list_of_functions_is_refused_before_any_work(callbacks):
    model = model_of()
    with pytest.raises(TypeError, match="callbacks must be a list of functions"):
        fit(model, callbacks=callbacks)
    assert not model._state


# ---- interrupts


def interrupted(model: Recommender, number: int, **arguments: Any) -> None:
    """Fit, with the user's interrupt before a step."""
    step, count = Trainer._step, iter(range(1, 10**6))

    def interrupting(self: Trainer, *batch: Any) -> torch.Tensor:
        if next(count) == number:
            raise KeyboardInterrupt
        return step(self, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_step", interrupting)
        with pytest.raises(KeyboardInterrupt):
            fit(model, **arguments)


def steps_an_epoch() -> int:
    return int(fit(model_of(1))._state["progress"][1])


@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_interrupt_in_the_first_epoch_leaves_a_model_of_the_steps_so_far(ema, tmp_path):
    model = model_of(ema=ema)
    interrupted(model, 4)
    assert int(model._state["progress"][1]) == 3
    assert not len(model.history_)
    scores = model.predict(WORLD.frame["user"], WORLD.frame["item"])
    lists = model.recommend(n_rec=3)
    assert np.isfinite(scores).all()
    again = recolib.load(model.save(tmp_path, "it"))
    assert again.recommend(n_rec=3).equals(lists)
    assert fit(model).history_["epoch"].tolist() == [1, 2, 3]


def test_an_interrupt_before_the_first_step_leaves_no_model():
    model = model_of()
    interrupted(model, 1)
    with pytest.raises(NotFittedError):
        model.predict(100, "i1")
    assert same(fit(model), fit(model_of()))


def test_an_interrupt_later_counts_the_whole_epochs():
    model, n = model_of(), steps_an_epoch()
    interrupted(model, 2 * n + 3)
    assert model.history_["epoch"].tolist() == [1, 2]
    assert int(model._state["progress"][1]) == 2 * n + 2
    users, items = WORLD.frame["user"], WORLD.frame["item"]
    before = model.predict(users, items)
    lists = model.recommend(n_rec=20, filter_consumed=False)
    one = lists[lists["user"] == 100].set_index("item")["score"]
    np.testing.assert_allclose(model.predict([100] * len(one), one.index), one, rtol=1e-5)
    assert before.tolist() != fit(model_of(2)).predict(users, items).tolist()
    model.n_epochs = 1
    assert fit(model).history_["epoch"].tolist() == [1, 2, 3]


def test_what_was_interrupted_can_be_resumed_to_the_bit(tmp_path):
    n = steps_an_epoch()
    interrupted(model_of(), 2 * n + 3, checkpoint=tmp_path / "it")
    assert same(fit(model_of(), resume=tmp_path / "it"), fit(model_of()))


def test_a_model_of_some_steps_is_what_it_was_after_a_fit_that_fails():
    model = model_of()
    interrupted(model, 4)
    users, items = WORLD.frame["user"], WORLD.frame["item"]
    before = model.predict(users, items).tolist()
    model.lr = 1e38
    with pytest.raises(FloatingPointError):
        fit(model)
    assert model.predict(users, items).tolist() == before


def test_an_interrupt_while_measuring_keeps_the_epoch(monkeypatch):
    def interrupting(*_: Any) -> dict[str, float]:
        raise KeyboardInterrupt

    model = model_of()
    with monkeypatch.context() as patch:
        patch.setattr("recolib.evaluation.measurement.Measurement.measure", interrupting)
        with pytest.raises(KeyboardInterrupt):
            fit(model, eval_data=WORLD.frame)
    assert model.history_["epoch"].tolist() == [1]
    assert same(model, fit(model_of(1)))
