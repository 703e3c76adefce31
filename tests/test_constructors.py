"""Constructors take LibRecommender's forms, or refuse them by a message that names the setting."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.base import clone
from worlds import make_world as world_of

import recolib
from recolib.algorithms import FM, NFM, AutoInt, DeepFM, FinalMLP, WideDeep
from recolib.data import DataInfo, Interactions
from recolib.recommender import Recommender
from recolib.training.optimizers import Optimizer


def make_world() -> tuple[Interactions, DataInfo]:
    return world_of("ranking", "all kinds").build()


LR = {"wide": 0.01, "deep": 1e-4}
OF_LIBRECOMMENDER: dict[str, Any] = {
    "loss_type": "cross_entropy", "embed_size": 16, "n_epochs": 1, "lr": 0.001, "lr_decay": False, "epsilon": 1e-5,
    "reg": None, "batch_size": 256, "sampler": "random", "num_neg": 1, "use_bn": True, "dropout_rate": None,
    "multi_sparse_combiner": "sqrtn", "seed": 42, "lower_upper_bound": None, "tf_sess_config": None,
}  # fmt: skip
HIDDEN: dict[str, Any] = {"hidden_units": (128, 64, 32)}
OWN: dict[type[Recommender], dict[str, Any]] = {
    FM: {},
    DeepFM: HIDDEN,
    WideDeep: HIDDEN | {"lr": None},
    AutoInt: {"att_embed_size": (8, 8, 8), "num_heads": 2, "use_residual": True},
}
FORMS: list[dict[str, Any]] = [
    {"lr_decay": True}, {"epsilon": 8e-5}, {"reg": 0.01}, {"reg": 0}, {"batch_size": 2048}, {"sampler": "unconsumed"},
    {"sampler": "popular"}, {"num_neg": 3}, {"use_bn": False}, {"dropout_rate": 0.5}, {"dropout_rate": 0},
    {"multi_sparse_combiner": "normal"}, {"multi_sparse_combiner": "mean"}, {"loss_type": "focal"},
    {"lower_upper_bound": [0, 1]}, {"lower_upper_bound": (0, 1)}, {"tf_sess_config": {"CPU": 1}}, {"seed": 0},
]  # fmt: skip
OF_LAYERS: list[dict[str, Any]] = [{"hidden_units": form} for form in (1, [1], (1,), [100, 100], 64, (64, 32))]
OF_HEADS: list[dict[str, Any]] = [{"att_embed_size": form} for form in (None, 8, [8, 8], (4,))]


@pytest.mark.parametrize("algorithm", OWN)
def test_every_argument_of_librecommender_is_taken(algorithm: type[Recommender]) -> None:
    data, info = make_world()
    own: list[dict[str, Any]] = [{"num_heads": 1}, {"use_residual": False}, *OF_HEADS] if algorithm is AutoInt else []
    own += OF_LAYERS if "hidden_units" in OWN[algorithm] else []
    own += [{"lr": LR}] if algorithm is WideDeep else []
    for form in [{}, *FORMS, *own]:
        settings = OF_LIBRECOMMENDER | OWN[algorithm] | form
        model = algorithm("ranking", info, **settings).fit(data, neg_sampling=True, verbose=0)
        assert 0 < model.predict(info.id2user[1], info.id2item[1]) < 1, form


@pytest.mark.parametrize("algorithm", [DeepFM, WideDeep, AutoInt, NFM, FinalMLP])
def test_an_integer_is_one_layer(algorithm: type[Recommender]) -> None:
    info = make_world()[1]
    for name in (name for name in ("hidden_units", "hidden_units2") if hasattr(algorithm, name)):
        for form in (3, [3], (3,)):
            assert getattr(algorithm("ranking", info, **{name: form}), name) == (3,)
        with pytest.raises(ValueError, match=f"{name} must be a list"):
            algorithm("ranking", info, **{name: "3"})


@pytest.mark.parametrize(("given", "sizes"), [(None, (8, 8, 8)), (5, (5,)), ([4, 6], (4, 6)), ((4,), (4,))])
def test_heads_have_librecommenders_forms(given: Any, sizes: tuple[int, ...]) -> None:
    assert AutoInt("ranking", make_world()[1], att_embed_size=given).att_embed_size == sizes


@pytest.mark.parametrize(
    ("lr", "error", "message"),
    [
        ({"wide": 0.01}, ValueError, "lr must be a number, or have 'wide' and 'deep' and no other part"),
        ({"wide": 0.01, "deep": 1e-4, "cross": 1}, ValueError, "and no other part, got"),
        ({"wide": 0.01, "deeep": 1e-4}, ValueError, "and no other part, got"),
        ({"wide": 0.01, "deep": 0}, ValueError, r"lr\['deep'\] must be above 0, got 0"),
        ({"wide": "0.01", "deep": 0.1}, TypeError, r"lr\['wide'\] must be a number, got '0.01'"),
        ([0.01, 1e-4], TypeError, "lr must be a number"),
    ],
)
def test_wrong_rates_of_parts_are_refused(lr: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        WideDeep("ranking", make_world()[1], lr=lr)


@pytest.mark.parametrize("algorithm", [FM, DeepFM, AutoInt])
def test_models_without_a_wide_part_refuse_its_rate(algorithm: type[Recommender]) -> None:
    with pytest.raises(TypeError, match=r"lr must be a number, got \{'wide'"):
        algorithm("ranking", make_world()[1], lr=LR)  # pyright: ignore[reportArgumentType]


def moved(lr: Any, optimizer: str) -> dict[str, float]:
    """How far each weight went in one epoch."""
    data, info = make_world()
    settings: dict[str, Any] = {"num_neg": 1, "batch_size": 64, "use_bn": False, "prior": 0.0, "optimizer": optimizer}
    model = WideDeep("ranking", info, lr=lr, n_epochs=1, **settings).fit(data, neg_sampling=False, verbose=0)
    start = WideDeep("ranking", info, lr=1e-30, n_epochs=1, **settings).fit(data, neg_sampling=False, verbose=0)
    pairs = zip(model.engine.network.named_parameters(), start.engine.network.named_parameters(), strict=True)
    return {name: float((weight - before).detach().norm()) for (name, weight), (_, before) in pairs}


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam", "adagrad", "rowwise_adagrad", "sgd"])
@pytest.mark.parametrize(("part", "other"), [("wide", "deep"), ("deep", "wide")])
def test_each_part_has_its_own_rate(part: str, other: str, optimizer: str) -> None:
    far = moved({part: 10.0 if optimizer == "sgd" else 0.1, other: 1e-20}, optimizer)
    linear = {name for name in far if name == "bias" or "weights" in name.split(".")[1]}
    assert len(linear) == 5
    stays = set(far) - linear if part == "wide" else linear
    assert all(far[name] < 1e-15 for name in stays)
    assert all(far[name] > 1e-7 for name in ("user.weights.weight", "user.vectors.weight") if name not in stays)


def test_one_rate_for_both_is_that_rate() -> None:
    data, info = make_world()
    one, both = (
        WideDeep("ranking", info, lr=lr, n_epochs=2).fit(data, True, 0) for lr in (0.01, {"wide": 0.01, "deep": 0.01})
    )
    for mine, theirs in zip(one.engine.network.parameters(), both.engine.network.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_schedules_and_decay_scale_both(monkeypatch: pytest.MonkeyPatch) -> None:
    data, info = make_world()
    used: list[tuple[float, float | None]] = []
    step = Optimizer.step

    def noting(self: Optimizer) -> None:
        used.append((self.rates.lr, self.rates.wide_lr))
        step(self)

    monkeypatch.setattr(Optimizer, "step", noting)
    model = WideDeep("ranking", info, lr=LR, n_epochs=2, lr_decay=0.5, batch_size=32, num_neg=1)
    model.fit(data, neg_sampling=True, verbose=0, lr_schedule="linear")
    assert used[0] == (LR["deep"], LR["wide"])
    assert used[-1][0] < 0.1 * LR["deep"]
    assert all(wide == pytest.approx(100 * deep) for deep, wide in used)


def test_rates_of_parts_are_kept(tmp_path: Path) -> None:
    data, info = make_world()
    model = WideDeep("ranking", info, lr=LR, n_epochs=2)
    assert model.get_params()["lr"] == clone(model).lr == pickle.loads(pickle.dumps(model)).lr == LR
    with pytest.raises(ValueError, match="no other part"):
        model.set_params(lr={"wide": 1})
    assert repr(LR) in repr(model)
    file = model.fit(data, neg_sampling=True, verbose=0).save(tmp_path, "wide")
    again = recolib.load(file)
    assert (again.lr, again.n_epochs) == (LR, 2)
    assert recolib.load(file).fit(data, neg_sampling=True, verbose=0).history_["epoch"].tolist() == [1, 2, 3, 4]

    def interrupted(record: dict[str, Any]) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        WideDeep("ranking", info, lr=LR, n_epochs=2).fit(
            data, neg_sampling=True, verbose=0, checkpoint=tmp_path / "run", callbacks=[interrupted]
        )
    resumed = WideDeep("ranking", info, lr=LR, n_epochs=2).fit(
        data, neg_sampling=True, verbose=0, resume=tmp_path / "run"
    )
    for mine, theirs in zip(model.engine.network.parameters(), resumed.engine.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(ValueError, match="lr was"):
        WideDeep("ranking", info, lr=LR | {"deep": 1.0}, n_epochs=2).fit(
            data, neg_sampling=True, verbose=0, resume=tmp_path / "run"
        )
