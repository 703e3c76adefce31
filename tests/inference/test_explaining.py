from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_contract import ALGORITHMS, COMMON, TYPICAL
from test_examples import run
from worlds import World, make_world

from recolib import NotFittedError, UnknownIdWarning
from recolib.algorithms import AFM, FM, IFM, DeepFM, WideDeep
from recolib.data import DatasetFeat
from recolib.nn import Deep, Fields, Pairwise
from recolib.recommender import Recommender

pytestmark = pytest.mark.filterwarnings("ignore:no context given")
WHOLE = {"FM", "AFM", "IFM", "ALS"}
COLUMNS = ["term", "kind", "first", "second", "first_value", "second_value", "contribution"]
ALL_KINDS = ["user", "sex", "hour", "age", "item", "genre1", "tags", "price", "cover"]
"""The columns of the world of all kinds in the order of their fields."""


def fitted(cls: type[Recommender], world: World, task: str = "ranking", **settings: Any) -> Recommender:
    data, info = world.build()
    model = cls(task, info, **{**COMMON, "init_std": 0.3, **settings})
    return model.fit(data, neg_sampling=task == "ranking", verbose=0)


@pytest.fixture(scope="module")
def fm() -> Recommender:
    return fitted(FM, make_world("ranking", "all kinds"))


def fields_of(model: Recommender, user: int, item: str, hour: int) -> Fields:
    """The embedded fields of a pair, (F, K), without any of the code that is tested."""
    info, network = model.data_info, model.engine.network
    rows = info.users.rows[torch.tensor([info.user2id[user]])]
    around = torch.tensor([[info.vocabs["hour"].code(hour)]], dtype=torch.int32)
    rows = type(rows)(torch.cat([rows.codes, around], 1), rows.dense)
    both = network.user(rows).join(network.item(info.items.rows[torch.tensor([info.item2id[item]])]))
    return both[0].map(torch.Tensor.detach)


def by_columns(frame: pd.DataFrame) -> dict[tuple[Any, Any], float]:
    return dict(zip(zip(frame["first"], frame["second"], strict=True), frame["contribution"], strict=True))


def questions(world: World) -> Iterator[tuple[Any, Any, dict[str, Any] | None, str]]:
    """Pairs known and unknown, with and without features."""
    has_context = world.columns is not None and "context_col" in world.columns
    feats: dict[str, Any] | None = {"hour": 2} if has_context else None
    yield 100, "i3", feats, "average"
    yield 107, "i8", None, "average"
    yield "new", "i4", feats, "average"
    yield "new", "thing", feats, "features"
    if world.columns is not None:
        yield 100, "thing", {"sex": "M", "genre1": "odd"}, "average"
    if has_context:
        yield 101, "i5", {"tags": [], "age": 33.5, "price": None, "hour": 99}, "features"


@pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning")
@pytest.mark.parametrize(
    ("cls", "settings", "task", "kind", "combiner"),
    [(*one, "ranking", "all kinds", "sqrtn") for one in ALGORITHMS]
    + [(*one, "ranking", "all kinds", "normal") for one in ALGORITHMS]
    + [(*one, *world, "sqrtn") for one in TYPICAL for world in (("rating", "pure"), ("rating", "all kinds"))],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_terms_add_up_to_what_predict_is_made_of(cls: Any, settings: Any, task: str, kind: str, combiner: str) -> None:
    world = make_world(task, kind)
    model = fitted(cls, world, task, multi_sparse_combiner=combiner, **settings, n_epochs=1)
    for user, item, feats, cold_start in questions(world):
        frame = model.explain(user, item, feats, cold_start)
        logit, prediction = frame.attrs["logit"], frame.attrs["prediction"]
        size = frame["contribution"].abs().max()
        assert frame["contribution"].sum() == pytest.approx(logit, rel=1e-4, abs=1e-5 * size)
        assert prediction == pytest.approx(model.predict(user, item, feats, cold_start), rel=1e-5)
        said = np.clip(logit, *model.data_info.min_max_rating) if task == "rating" else 1 / (1 + np.exp(-logit))
        assert prediction == pytest.approx(float(said), rel=1e-4)
        assert ("rest" in set(frame["kind"])) == (cls.__name__ not in WHOLE)
        assert frame.columns.tolist() == COLUMNS
        assert frame["contribution"].abs().is_monotonic_decreasing
        assert frame["term"].is_unique
        assert len(frame[frame["kind"] == "bias"]) == 1


def test_columns_of_all_sides_are_there_once_and_two_by_two(fm: Recommender) -> None:
    frame = fm.explain(100, "i3", {"hour": 2})
    assert sorted(frame.loc[frame["kind"] == "column", "first"]) == sorted(ALL_KINDS)
    pairs = frame[frame["kind"] == "pair"]
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == set(combinations(ALL_KINDS, 2))
    assert set(pairs["term"]) == {f"{i} \N{MULTIPLICATION SIGN} {j}" for i, j in combinations(ALL_KINDS, 2)}
    bias = frame[frame["kind"] == "bias"]
    assert bias[["first", "second", "first_value", "second_value"]].map(lambda value: value is None).all(axis=None)
    assert frame.loc[frame["kind"] == "column", "second"].map(lambda value: value is None).all()


@pytest.mark.parametrize("use_bn", [False, True])
def test_pairs_of_an_fm_are_inner_products(use_bn: bool) -> None:
    model = fitted(FM, make_world("ranking", "all kinds"), use_bn=use_bn)
    network, pairwise = model.engine.network, model.engine.network.terms[1]  # pyright: ignore[reportPrivateUsage]
    assert isinstance(pairwise, Pairwise)
    found = by_columns(model.explain(100, "i3", {"hour": 2}))
    fields = fields_of(model, 100, "i3", 2)
    scale, shift = torch.ones(COMMON["embed_size"]), 0.0
    if pairwise.norm is not None:
        norm = pairwise.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        shift = (norm.bias - norm.running_mean * scale).sum().item()
    for i, name in enumerate(ALL_KINDS):
        assert found[name, None] == pytest.approx(float(fields.weights[i]), rel=1e-5)
        for j in range(i):
            by_hand = float((fields.vectors[i] * fields.vectors[j] * scale).sum())
            assert found[ALL_KINDS[j], name] == pytest.approx(by_hand, rel=1e-4, abs=1e-6)
    assert found[None, None] == pytest.approx(network.bias.item() + shift, rel=1e-5)
    assert use_bn == (abs(shift) > 1e-3)


def test_librecommenders_head_has_its_factors_in_the_terms() -> None:
    model = fitted(DeepFM, make_world("ranking", "all kinds"), combine="concat", hidden_units=(8,))
    linear, pairwise, deep = model.engine.network.terms  # pyright: ignore[reportPrivateUsage]
    assert isinstance(deep, Deep)
    frame = model.explain(100, "i3", {"hour": 2})
    found, fields = by_columns(frame), fields_of(model, 100, "i3", 2)
    factors, weight = linear.factors.tolist(), pairwise.weight  # type: ignore[union-attr]
    assert max(abs(factor - 1) for factor in factors) > 1e-3
    for i, name in enumerate(ALL_KINDS):
        assert found[name, None] == pytest.approx(float(fields.weights[i]) * factors[i], rel=1e-5)
    by_hand = float((fields.vectors[1] * fields.vectors[4]) @ weight)  # type: ignore[operator]
    assert found["sex", "item"] == pytest.approx(by_hand, rel=1e-4)
    assert found[None, None] != 0


def test_rest_of_a_deep_model_is_its_perceptron() -> None:
    model = fitted(WideDeep, make_world("ranking", "all kinds"), hidden_units=(8,), use_bn=False)
    deep = model.engine.network.terms[1]  # pyright: ignore[reportPrivateUsage]
    assert isinstance(deep, Deep)
    x = fields_of(model, 100, "i3", 2).vectors.flatten()
    by_hand = deep.rest[-1](torch.relu(deep.first(x))).item()
    frame = model.explain(100, "i3", {"hour": 2})
    assert abs(by_hand) > 1e-3
    assert frame.set_index("term")["contribution"]["rest"] == pytest.approx(by_hand, rel=1e-4)
    assert set(frame["kind"]) == {"bias", "column", "rest"}


@pytest.mark.parametrize(("cls", "settings"), [(AFM, {"attention_size": 4}), (IFM, {"field_factors": 3})])
def test_attentive_pairs_are_weighted_by_one_softmax(cls: Any, settings: Any) -> None:
    model = fitted(cls, make_world("ranking", "all kinds"), **settings)
    pairs = model.engine.network.terms[1]  # pyright: ignore[reportPrivateUsage]
    fields = fields_of(model, 100, "i3", 2)
    found = by_columns(model.explain(100, "i3", {"hour": 2}))
    logits, values = {}, {}
    for i, j in combinations(range(len(ALL_KINDS)), 2):
        e = fields.vectors[i] * fields.vectors[j]
        logits[i, j] = float(torch.relu(pairs.attention(e)) @ pairs.query / pairs.temperature)
        direction = pairs.direction if cls is AFM else (pairs.fields[i] * pairs.fields[j]) @ pairs.mixture
        values[i, j] = float(e @ direction)
        if not (fields.present[i] and fields.present[j]):
            del logits[i, j]
    total = sum(np.exp(logit) for logit in logits.values())
    for (i, j), value in values.items():
        by_hand = np.exp(logits[i, j]) / total * value if (i, j) in logits else 0.0
        assert found[ALL_KINDS[i], ALL_KINDS[j]] == pytest.approx(by_hand, rel=1e-3, abs=1e-7)


def test_values_are_those_of_the_frame(fm: Recommender) -> None:
    frame = make_world("ranking", "all kinds").frame
    row = frame[frame["item"] == "i9"].iloc[0]
    reasons = fm.explain(row["user"], "i9", {"hour": row["hour"]}).set_index("term")
    values = reasons.loc[reasons["kind"] == "column", "first_value"].to_dict()
    assert values == {
        **{name: row[name] for name in ("user", "sex", "hour", "age", "item", "price")},
        "genre1": "odd, third",
        "tags": "x",
        "cover": "[0.9, -1, -0.911]",
    }
    assert [type(values[name]) for name in ("user", "sex", "age")] == [int, str, float]
    pair = reasons.loc["age \N{MULTIPLICATION SIGN} genre1"]
    assert (pair["first_value"], pair["second_value"]) == (row["age"], "odd, third")


@pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning")
def test_what_is_not_known_is_said_to_be_so(fm: Recommender) -> None:
    def values(*question: Any) -> dict[str, Any]:
        frame = fm.explain(*question)
        return frame.loc[frame["kind"] == "column"].set_index("first")["first_value"].to_dict()

    average, unknown = values("new", "i0", {"sex": "M"}), values("new", "i0", {"age": 42.0, "tags": []}, "features")
    assert [average[name] for name in ("user", "sex", "hour", "item")] == ["(average)", "M", "(unknown)", "i0"]
    assert [unknown[name] for name in ("user", "sex", "age", "tags")] == ["(unknown)", "(unknown)", 42.0, ""]


def test_an_absent_group_adds_nothing() -> None:
    model = fitted(AFM, make_world("ranking", "all kinds"), attention_size=4)
    frame = model.explain(100, "i0", {"hour": 1})  # an even item has no tags
    of_tags = frame[(frame["first"] == "tags") | (frame["second"] == "tags")]
    assert len(of_tags) == len(ALL_KINDS)
    assert (of_tags["contribution"] == 0).all()


def test_values_of_a_group_that_is_not_pooled_meet_each_other() -> None:
    model = fitted(FM, make_world("ranking", "all kinds"), multi_sparse_combiner="normal", use_bn=False)
    names = set(model.explain(100, "i9", {"hour": 1})["term"])
    assert "genre1 \N{MULTIPLICATION SIGN} genre1" in names  # odd and third
    assert "tags \N{MULTIPLICATION SIGN} tags" not in names  # one value


def test_bfloat16_is_explained_in_float32() -> None:
    model = fitted(AFM, make_world("ranking", "all kinds"), attention_size=4, precision="bf16")
    frame = model.explain(100, "i3", {"hour": 2})
    assert frame["contribution"].sum() == pytest.approx(frame.attrs["logit"], rel=1e-4)
    assert frame.attrs["prediction"] == model.predict(100, "i3", {"hour": 2})
    model.precision = "float32"
    whole = model.explain(100, "i3", {"hour": 2})
    pd.testing.assert_frame_equal(frame, whole)
    assert frame.attrs["logit"] == whole.attrs["logit"]


def test_a_rating_is_explained_before_it_is_clipped() -> None:
    model = fitted(FM, make_world("rating", "sparse"), "rating", lower_upper_bound=(2.9, 3.0))
    frame = model.explain(100, "i0")
    assert abs(frame.attrs["logit"] - 3) > 0.5
    assert frame["contribution"].sum() == pytest.approx(frame.attrs["logit"], rel=1e-4)
    assert frame.attrs["prediction"] in (np.float32(2.9), np.float32(3.0))


def test_explaining_changes_nothing_and_can_be_done_from_threads(fm: Recommender) -> None:
    before = {name: tensor.clone() for name, tensor in fm.engine.network.state_dict().items()}  # pyright: ignore[reportPrivateUsage]
    generator, first = torch.get_rng_state(), fm.explain(100, "i3", {"hour": 2})
    answers: list[pd.DataFrame] = []
    threads = [threading.Thread(target=lambda: answers.append(fm.explain(100, "i3", {"hour": 2}))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    for answer in answers:
        pd.testing.assert_frame_equal(answer, first, check_exact=True)
    after = fm.engine.network.state_dict()  # pyright: ignore[reportPrivateUsage]
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert not fm.engine.network.training  # pyright: ignore[reportPrivateUsage]


def test_bad_questions_are_refused(fm: Recommender) -> None:
    with pytest.raises(ValueError, match=r"one user and one item, got user=\[100\]"):
        fm.explain([100], "i3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cold_start must be one of .*average.*features.*, got 'popular'"):
        fm.explain(100, "i3", cold_start="popular")
    with pytest.raises(ValueError, match="'sxe' is not a column that feats can have; did you mean 'sex'"):
        fm.explain(100, "i3", {"sxe": "F"})
    with pytest.warns(UnknownIdWarning, match="1 unknown users, such as 'new'"):
        fm.explain("new", "i3")
    world = make_world("ranking", "pure")
    with pytest.raises(NotFittedError, match="call fit first"):
        FM("ranking", world.build()[1]).explain(100, "i3")


def test_columns_that_are_numbers_are_not_rounded_away() -> None:
    frame = pd.DataFrame({"user": [1, 2, 3], "item": [7, 8, 9], "label": 1, "year": [1999, 2000, 2024]})
    data, info = DatasetFeat.build_trainset(frame, item_col=["year"], dense_col=["year"])
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    values = [model.explain(1, item).set_index("term")["first_value"]["year"] for item in (7, 8, 9)]
    assert values == [1999.0, 2000.0, 2024.0]


def test_code_of_the_page_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "explaining.md"
    codes = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert codes
    printed = run("-W", "ignore", "-c", "\n".join(codes))
    table = re.findall(r"^\| (\S+(?: × \S+)?) \| .*\| (\S+) \|$", page.read_text("utf-8"), re.MULTILINE)  # noqa: RUF001
    said = {name: float(number.replace("−", "-")) for name, number in table if re.fullmatch(r"−?\d\.\d\d", number)}  # noqa: RUF001
    assert len(said) == 5
    for name, number in said.items():
        line = next(
            line for line in printed.splitlines() if re.match(rf"\d +{name} +[^ \N{{MULTIPLICATION SIGN}}]", line)
        )
        assert float(line.split()[-1]) == pytest.approx(number, abs=0.05)
