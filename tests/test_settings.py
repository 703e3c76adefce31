"""Settings: functions as settings, and checks that stand on annotations."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from worlds import make_world

import recolib
from recolib import algorithms
from recolib.algorithms import FM, AutoInt, DCNv2, DeepFM, DeepIFM
from recolib.data import DataInfo
from recolib.nn import Component, Deep, FieldSpec, Linear
from recolib.recommender import Recommender
from recolib.sampling import SAMPLERS, unconsumed
from recolib.settings import (
    Check,
    Count,
    Flag,
    HeadCount,
    LayerCount,
    NotNegative,
    OptionalShare,
    OptionalSize,
    OptionalWidths,
    Positive,
    Share,
    Size,
    Widths,
    checks_of,
    one_of,
    sizes_of,
)
from recolib.training.losses import NEED_NEGATIVES, RANKING_LOSSES, RATING_LOSS, check_loss, loss_of, needs_negatives

if TYPE_CHECKING:
    from decimal import Decimal

QUICK: dict[str, Any] = {"n_epochs": 2, "embed_size": 4, "lr": 0.05}


def world_of(task: str) -> tuple[Any, DataInfo]:
    return make_world(task, "sparse").build()


# ---- loss_type


def own_bpr(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    losses = F.softplus(scores[:, 1:] - scores[:, :1])
    return losses.mean() if weights is None else (losses * weights).mean()


def huber(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    losses = F.huber_loss(scores, labels, reduction="none")
    return losses.mean() if weights is None else (losses * weights).mean()


@pytest.mark.parametrize("name", RANKING_LOSSES)
def test_a_loss_by_its_function_trains_the_same_bits_as_by_its_name(name: str) -> None:
    data, info = world_of("ranking")
    one, other = (
        FM("ranking", info, loss, num_neg=1, **QUICK).fit(data, True, 0) for loss in (name, RANKING_LOSSES[name])
    )
    assert one.history_["train_loss"].tolist() == other.history_["train_loss"].tolist()


def test_a_loss_of_ones_own_trains_as_the_same_one_of_recolibs() -> None:
    data, info = world_of("ranking")
    one, other = (FM("ranking", info, loss, num_neg=3, **QUICK).fit(data, True, 0) for loss in ("bpr", own_bpr))
    np.testing.assert_allclose(one.history_["train_loss"], other.history_["train_loss"], rtol=1e-5)


def test_a_rating_is_trained_with_a_loss_of_ones_own() -> None:
    data, info = world_of("rating")
    one, other = (FM("rating", info, loss, **QUICK).fit(data, False, 0) for loss in (huber, "squared"))
    losses = [model.history_["train_loss"] for model in (one, other)]
    assert losses[0].iloc[0] < 0.6 * losses[1].iloc[0]  # of one error it is at most half
    assert losses[0].iloc[-1] < 0.8 * losses[0].iloc[0]


@pytest.mark.parametrize("name", RANKING_LOSSES)
def test_which_losses_need_negatives_is_found_by_trying_them(name: str) -> None:
    assert needs_negatives(RANKING_LOSSES[name], "ranking") == needs_negatives(name, "ranking")
    assert needs_negatives(name, "ranking") == (name in NEED_NEGATIVES)
    assert not needs_negatives(name, "rating")
    assert not needs_negatives(RATING_LOSS, "rating")


def test_a_loss_of_ones_own_that_needs_negatives_says_so() -> None:
    data, info = world_of("ranking")
    with pytest.raises(ValueError, match=r"loss_type=test_settings.own_bpr .* neg_sampling=True"):
        FM("ranking", info, own_bpr).fit(data, neg_sampling=False, verbose=0)
    with pytest.raises(TypeError, match=r"loss_type=test_settings\.of_the_hardest must take scores"):
        check_loss(of_the_hardest, "rating")
    assert needs_negatives(of_the_hardest, "ranking")


def of_the_hardest(scores: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    return (scores[:, 1:].max(1).values - scores[:, 0]).exp().mean()


def test_a_loss_by_name_is_that_of_the_task() -> None:
    assert loss_of("bpr", "ranking") is RANKING_LOSSES["bpr"]
    assert loss_of("bpr", "rating") is RATING_LOSS
    assert loss_of(huber, "rating") is huber


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda scores, labels: scores.mean(), TypeError, "must take scores (B, 1+N), labels (B, 1+N), and weights"),
        (lambda scores, labels, weights: scores.mean(1), TypeError, "must give a tensor of one number"),
        (lambda scores, labels, weights: 0.5, TypeError, "must give a tensor of one number"),
        (lambda scores, labels, weights: scores.mean() / 0, ValueError, "must give a finite number, and gave -inf"),
        (lambda scores, labels, weights: labels.mean(), ValueError, "must have a finite gradient by the scores"),
        (lambda scores, labels, weights: scores.detach().mean(), ValueError, "must have a finite gradient"),
        (lambda scores, labels, weights: (scores * weights).mean(), TypeError, "weights (B, 1) or None; it raised"),
        (
            lambda scores, labels, weights: scores.mean() if weights is None else weights.mean(),
            ValueError,
            "must have a finite gradient",
        ),
        (3, ValueError, "loss_type must be one of ['cross_entropy',"),
        ("auc", ValueError, "or a function, got 'auc'"),
    ],
)
def test_wrong_losses_are_refused_when_the_model_is_made(loss: Any, error: type[Exception], message: str) -> None:
    _, info = world_of("ranking")
    with pytest.raises(error, match=re.escape(message)) as raised:
        FM("ranking", info, loss)
    assert "loss_type" in str(raised.value)


# ---- sampler


def own_unconsumed(info: DataInfo) -> Any:
    return unconsumed(info)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_by_its_function_draws_what_it_draws_by_its_name(name: str) -> None:
    data, info = world_of("ranking")
    one, other = (
        FM("ranking", info, sampler=it, num_neg=1, **QUICK).fit(data, True, 0) for it in (name, SAMPLERS[name])
    )
    assert one.history_["train_loss"].tolist() == other.history_["train_loss"].tolist()


def drawing(give: Callable[[Any], Any]) -> Any:
    return lambda info: lambda users, positives, uniform: give(uniform)


@pytest.mark.parametrize(
    ("sampler", "error", "message"),
    [
        (lambda info: None, TypeError, "must give a function of users, positives and uniform numbers, and gave None"),
        (drawing(lambda uniform: uniform), TypeError, "must draw an array of item codes"),
        (drawing(lambda uniform: [[1, 2, 3]] * 2), TypeError, "must draw an array of item codes"),
        (drawing(lambda uniform: np.ones(len(uniform), int)), ValueError, "as many codes as there are uniform numbers"),
        (drawing(lambda uniform: np.zeros(uniform.shape, int)), ValueError, "codes from 1 to 20, and drew 0 to 0"),
        (drawing(lambda uniform: np.full(uniform.shape, 21)), ValueError, "codes from 1 to 20, and drew 21 to 21"),
    ],
)
def test_a_wrong_draw_is_refused_before_training(sampler: Any, error: type[Exception], message: str) -> None:
    data, info = world_of("ranking")
    model = FM("ranking", info, sampler=sampler)
    with pytest.raises(error, match=re.escape(message)) as raised:
        model.fit(data, True, verbose=0)
    assert "sampler=test_settings." in str(raised.value)
    assert not len(model.history_)


def test_a_sampler_is_a_name_or_a_function() -> None:
    _, info = world_of("ranking")
    for wrong in (3, "clever", ["random"]):
        with pytest.raises(ValueError, match=r"sampler must be one of .* or a function, got"):
            FM("ranking", info, sampler=wrong)  # pyright: ignore[reportArgumentType]


# ---- saving


@pytest.fixture
def saved(tmp_path: Path) -> tuple[FM, Any, Path]:
    data, info = world_of("ranking")
    model = FM("ranking", info, own_bpr, sampler=own_unconsumed, **QUICK).fit(data, True, verbose=0)
    return model, data, model.save(tmp_path, "model")


def test_a_model_with_functions_is_saved_by_their_names_and_predicts(saved: tuple[FM, Any, Path]) -> None:
    model, _, file = saved
    back = recolib.load(file)
    frame = make_world("ranking", "sparse").frame
    assert np.array_equal(back.predict(frame["user"], frame["item"]), model.predict(frame["user"], frame["item"]))
    assert back.recommend_user(100, 5)[100].tolist() == model.recommend_user(100, 5)[100].tolist()
    assert "loss_type=test_settings.own_bpr" in repr(back)
    assert "sampler=test_settings.own_unconsumed" in repr(model)
    assert "test_settings.own_bpr" in model.model_card(file.parent / "card.md").read_text().replace("\\", "")


def test_a_loaded_model_says_which_functions_it_lacks(saved: tuple[FM, Any, Path]) -> None:
    _, data, file = saved
    back = recolib.load(file)
    for name, function in (("loss_type", own_bpr), ("sampler", own_unconsumed)):
        message = (
            f"{name} was the function test_settings.{function.__name__} when the model was saved: set model.{name}"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            back.fit(data, True, verbose=0)
        assert len(back.history_) == 2
        setattr(back, name, function)
    assert len(back.fit(data, True, verbose=0).history_) == 4


def test_a_loaded_model_that_gets_its_functions_back_trains_on_to_the_bit(saved: tuple[FM, Any, Path]) -> None:
    model, data, file = saved
    back = recolib.load(file)
    back.loss_type, back.sampler = own_bpr, own_unconsumed  # pyright: ignore[reportAttributeAccessIssue]
    losses = [one.fit(data, True, verbose=0).history_["train_loss"].tolist() for one in (back, model)]
    assert losses[0] == losses[1]


def test_a_loaded_model_is_saved_again_with_the_names(saved: tuple[FM, Any, Path], tmp_path: Path) -> None:
    again = recolib.load(recolib.load(saved[2]).save(tmp_path, "again"))
    assert repr(again) == repr(recolib.load(saved[2]))


def test_a_run_with_functions_is_resumed(tmp_path: Path) -> None:
    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == 1:
            raise InterruptedError

    data, info = world_of("ranking")
    new = lambda loss=own_bpr: FM("ranking", info, loss, sampler=own_unconsumed, **QUICK)  # noqa: E731
    whole = new().fit(data, True, verbose=0)
    with pytest.raises(InterruptedError):
        new().fit(data, True, verbose=0, checkpoint=tmp_path / "it", callbacks=[stop])
    with pytest.raises(ValueError, match=r"loss_type was .*own_bpr.* and is 'bpr'"):
        new("bpr").fit(data, True, verbose=0, resume=tmp_path / "it")
    back = new().fit(data, True, verbose=0, resume=tmp_path / "it")
    assert back.history_["train_loss"].tolist() == whole.history_["train_loss"].tolist()


def test_a_dict_in_place_of_another_setting_is_refused(tmp_path: Path) -> None:
    data, info = world_of("ranking")
    model = FM("ranking", info, **QUICK).fit(data, True, verbose=0)
    model.optimizer = lambda: None  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match="the setting optimizer="):
        model.save(tmp_path, "model")


# ---- functions as cold_start and lr_schedule


def test_a_function_as_lr_schedule_trains_as_the_same_one_of_recolibs() -> None:
    data, info = world_of("ranking")
    losses = [
        FM("ranking", info, **QUICK).fit(data, True, 0, lr_schedule=schedule).history_["train_loss"].tolist()
        for schedule in ("linear", lambda progress: 1.0 - progress, None)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_function_as_cold_start_makes_lists_of_unknown_users() -> None:
    data, info = world_of("ranking")
    model = FM("ranking", info, **QUICK).fit(data, True, 0)
    asked: list[Any] = []

    def newest(model: Any, users: list[Any], n_rec: int) -> list[list[str]]:
        asked.append((users, n_rec))
        return [["i3", "i1"]] * len(users)

    with pytest.warns(recolib.UnknownIdWarning):
        lists = model.recommend_user(["new", 100], 2, cold_start=newest)
    assert (asked, lists["new"].tolist()) == ([(["new"], 2)], ["i3", "i1"])
    assert lists[100].tolist() == model.recommend_user(100, 2)[100].tolist()


# ---- checks on annotations


def even(name: str, value: int) -> int:
    if value % 2:
        raise ValueError(f"{name} must be even, got {value!r}")
    return value


class Own(Recommender):
    """An algorithm of one's own, with a setting of each kind."""

    size: Size = 8
    maybe_size: OptionalSize = None
    widths: Widths = (8,)
    maybe_widths: OptionalWidths = ()
    count: Count = 0
    layers: LayerCount = 2
    heads: HeadCount = 2
    share: Share = 0.0
    maybe_share: OptionalShare = None
    flag: Flag = True
    positive: Positive = 1.0
    not_negative: NotNegative = 0.0
    name: Annotated[str, one_of("sum", "mean")] = "sum"
    pairs: Annotated[int, "a note", Check(even)] = 2
    price: Decimal | None = None
    anything: object = None

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        return [Linear(spec), Deep(spec, self.widths, self.flag)]


WRONG: list[tuple[str, object, type[Exception], str]] = [
    ("size", 0, ValueError, "size must be at least 1, got 0"),
    ("size", 2.0, TypeError, "size must be an integer, got 2.0"),
    ("size", None, TypeError, "size must be an integer, got None"),
    ("maybe_size", 0, ValueError, "maybe_size must be at least 1, got 0"),
    ("widths", (), ValueError, "widths must be a list of layer widths, at least one, got ()"),
    ("widths", (8, 0), ValueError, "widths must be a list of integers of at least 1, got (8, 0)"),
    ("maybe_widths", (0,), ValueError, "maybe_widths must be a list of integers of at least 1"),
    ("maybe_widths", None, ValueError, "maybe_widths must be a list of layer widths"),
    ("count", -1, ValueError, "count must be at least 0, got -1"),
    ("layers", 101, ValueError, "layers must be below 101, got 101"),
    ("heads", 65, ValueError, "heads must be below 65, got 65"),
    ("share", 1.0, ValueError, "share must be at least 0 and below 1, got 1.0"),
    ("maybe_share", -0.1, ValueError, "maybe_share must be at least 0 and below 1, got -0.1"),
    ("flag", 1, TypeError, "flag must be True or False, got 1"),
    ("positive", 0, ValueError, "positive must be above 0, got 0"),
    ("not_negative", -1, ValueError, "not_negative must be at least 0, got -1"),
    ("name", "max", ValueError, "name must be one of ['sum', 'mean'], got 'max'"),
    ("pairs", 3, ValueError, "pairs must be even, got 3"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), WRONG, ids=lambda v: str(v)[:20])
def test_a_setting_of_ones_own_is_checked_by_its_annotation(
    name: str, value: object, error: type[Exception], message: str
) -> None:
    _, info = world_of("ranking")
    with pytest.raises(error, match=re.escape(message)):
        Own("ranking", info, **{name: value})  # pyright: ignore
    model = Own("ranking", info)
    setattr(model, name, value)
    with pytest.raises(error, match=re.escape(message)):
        model.check()


def test_what_a_check_gives_is_used() -> None:
    _, info = world_of("ranking")
    model = Own("ranking", info, size=np.int64(4), widths=16, maybe_widths=[], layers=np.int32(3))  # pyright: ignore
    assert (model.size, model.widths, model.maybe_widths, model.layers) == (4, (16,), (), 3)
    assert type(model.size) is type(model.layers) is int


def test_annotations_without_a_check_are_left_alone() -> None:
    _, info = world_of("ranking")
    assert {"price", "anything", "task"}.isdisjoint(checks_of(Own))
    assert Own("ranking", info, anything=[...]).anything == [...]


def test_a_subclass_may_change_a_check() -> None:
    class Fewer(Own):
        heads: Annotated[int, Check(even)] = 2
        layers: object = None

    _, info = world_of("ranking")
    assert Fewer("ranking", info, heads=66).heads == 66
    assert Fewer("ranking", info, layers="all").layers == "all"
    with pytest.raises(ValueError, match="heads must be even, got 3"):
        Fewer("ranking", info, heads=3)
    with pytest.raises(ValueError, match="size must be at least 1"):
        Fewer("ranking", info, size=0)


def test_sizes_are_known_from_the_annotations() -> None:
    assert sizes_of(Own) == ["embed_size", "size", "maybe_size", "widths", "maybe_widths"]
    assert sizes_of(FM) == ["embed_size"]
    assert set(sizes_of(DCNv2)) == {"embed_size", "cross_rank", "hidden_units"}
    assert set(sizes_of(AutoInt)) == {"embed_size", "att_embed_size", "hidden_units"}


def test_every_setting_of_recolibs_algorithms_is_checked() -> None:
    for name in algorithms.__all__:
        algorithm = getattr(algorithms, name)
        own = {one for one in algorithm.__annotations__ if one not in Recommender.__annotations__}
        assert own <= set(checks_of(algorithm)), name


@pytest.mark.parametrize(
    ("algorithm", "name", "value", "message"),
    [
        (DeepFM, "combine", "max", "combine must be one of"),
        (DeepIFM, "pair_share", 0.0, "pair_share must be above 0"),
        (DeepIFM, "warmup_steps", -1, "warmup_steps must be at least 0"),
    ],
)
def test_settings_that_are_changed_between_fits_are_checked(
    algorithm: Any, name: str, value: object, message: str
) -> None:
    data, info = world_of("ranking")
    model = algorithm("ranking", info, n_epochs=1)
    setattr(model, name, value)
    with pytest.raises(ValueError, match=message):
        model.fit(data, True, verbose=0)


def test_a_loss_is_tried_though_gradients_are_off() -> None:
    with torch.no_grad():
        check_loss(own_bpr, "ranking")
