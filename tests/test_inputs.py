"""What goes in: bad input is refused by name and changes nothing, odd input goes the whole way."""

from __future__ import annotations

import copy
import re
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from worlds import COLUMNS, HASHES_NUL, two_tastes

import recolib
from recolib import FM, NFM, DatasetFeat, DatasetPure, DeepFM, NotFittedError, evaluate
from recolib.data import (
    DataInfo,
    Interactions,
    process_data,
    random_split,
    split_by_num,
    split_by_num_chrono,
    split_by_ratio,
    split_by_ratio_chrono,
    split_multi_value,
)
from recolib.exceptions import RatingsAsListsWarning
from recolib.recommender import Recommender

PACKAGE = Path(recolib.__file__).parent
ALL_KINDS: dict[str, Any] = COLUMNS["all kinds"] or {}
HOUR = {"hour": 1}


# ---- bad input


@dataclass(frozen=True)
class Case:
    """A fitted model, what it was made of, and the folder that it was saved in as ``"model"``."""

    frame: pd.DataFrame
    data: Interactions
    info: DataInfo
    model: Recommender
    folder: Path

    def train(self, columns: Mapping[str, Any] | None = None, **values: object) -> object:
        """Build the training set anew, with other columns or arguments."""
        return DatasetFeat.build_trainset(self.frame.assign(**values), **{**ALL_KINDS, **(columns or {})})

    def test(self, **values: object) -> object:
        return DatasetFeat.build_testset(self.frame.assign(**values), data_info=self.info)

    def new(self, **settings: Any) -> Recommender:
        return DeepFM(**{"task": "ranking", "data_info": self.info, **settings})

    def fit(self, **arguments: Any) -> Recommender:
        return self.model.fit(**{"train_data": self.data, "neg_sampling": True, "verbose": 0, **arguments})

    def predict(self, user: Any = 100, item: Any = "i1", **arguments: Any) -> object:
        return self.model.predict(user, item, **{"feats": HOUR, **arguments})

    def list(self, user: Any = 100, n_rec: Any = 3, **arguments: Any) -> object:
        return self.model.recommend_user(user, n_rec, **{"context": HOUR, **arguments})

    def table(self, **arguments: Any) -> object:
        return self.model.recommend(**{"users": [100], "n_rec": 3, "context": HOUR, **arguments})

    def measure(self, data: object = None, neg_sampling: Any = True, **arguments: Any) -> object:
        return evaluate(self.model, self.frame if data is None else data, neg_sampling, **arguments)

    def split(self, function: Callable[..., object] = random_split, **arguments: Any) -> object:
        return function(self.frame, **{"test_size": 0.2, **arguments})


class Bad(NamedTuple):
    """What is wrong, how to do it, and the error that it is."""

    name: str
    call: Callable[[Case], object]
    error: type[Exception]
    words: Sequence[str]


def first(value: object) -> list[object]:
    """A column of the world's length: one value among ones."""
    return [value] + [1] * (len(two_tastes()) - 1)


def others(frame: pd.DataFrame) -> Interactions:
    """A set of other data."""
    return DatasetPure.build_trainset(frame)[0]


BAD = [
    # building a training set
    Bad("no_user_column", lambda c: DatasetPure.build_trainset(c.frame.drop(columns="user")), ValueError, ["'user'"]),
    Bad("no_frame", lambda c: DatasetPure.build_trainset(c.frame.to_dict()), ValueError, ["train_data", "dict"]),
    Bad("no_rows", lambda c: DatasetPure.build_trainset(c.frame.head(0)), ValueError, ["train_data has no rows"]),
    Bad(
        "lazy_frame",
        lambda c: DatasetPure.build_trainset(pl.from_pandas(c.frame).lazy()),
        ValueError,
        ["train_data", ".collect()"],
    ),
    Bad("missing_user", lambda c: c.train(user=first(None)), ValueError, ["'user'", "1 missing"]),
    Bad("fraction_as_item", lambda c: c.train(item=first(0.5)), ValueError, ["'item'", "0.5"]),
    Bad("booleans_as_users", lambda c: c.train(user=True), ValueError, ["'user'", "booleans"]),
    Bad("integer_beyond_64_bits", lambda c: c.train(user=first(2**63)), ValueError, ["'user'", "2**63 - 1"]),
    Bad("lone_surrogate", lambda c: c.train(item=first("\ud800")), ValueError, ["'item'", "no valid text"]),
    Bad(
        "lone_surrogate_as_column",
        lambda c: c.train({"user_col": ["sex", "\ud800"]}),
        ValueError,
        ["user_col", r"'\ud800'", "no valid text"],
    ),
    Bad(
        "lone_surrogate_as_column_to_show",
        lambda c: c.train({"display_col": ["\ud800"]}),
        ValueError,
        ["display_col", r"'\ud800'", "no valid text"],
    ),
    Bad("infinite_label", lambda c: c.train(label=first(np.inf)), ValueError, ["'label'", "1 infinite"]),
    Bad("text_as_label", lambda c: c.train(label="5"), ValueError, ["'label'", "'5'"]),
    Bad("complex_label", lambda c: c.train(label=1j), ValueError, ["'label'"]),
    Bad("spans_as_labels", lambda c: c.train(label=pd.Timedelta("1s")), ValueError, ["'label'"]),
    Bad("dates_as_labels", lambda c: c.train(label=pd.Timestamp("2020")), ValueError, ["'label'"]),
    Bad("text_as_time", lambda c: c.train(time="noon"), ValueError, ["'time'", "'noon'"]),
    Bad("text_as_number", lambda c: c.train(age="old"), ValueError, ["'age'", "'old'"]),
    Bad("empty_column", lambda c: c.train(price=np.nan), ValueError, ["'price'", "empty"]),
    Bad("text_for_lists", lambda c: c.train(tags="x|y"), ValueError, ["'tags'", "'x|y'"]),
    Bad("lists_for_category", lambda c: c.train(sex=c.frame["tags"]), ValueError, ["'sex'", "lists"]),
    Bad("fraction_as_category", lambda c: c.train(hour=0.5), ValueError, ["'hour'", "0.5"]),
    Bad(
        "misspelt_column",
        lambda c: c.train({"user_col": ["sex", "agee"]}),
        ValueError,
        ["'agee'", "did you mean 'age'"],
    ),
    Bad("one_name_for_a_list", lambda c: c.train({"user_col": "sex"}), ValueError, ["user_col", "'sex'"]),
    Bad("column_of_two_sides", lambda c: c.train({"context_col": ["hour", "sex"]}), ValueError, ["'sex'", "two sides"]),
    Bad("column_of_no_kind", lambda c: c.train({"dense_col": ["age"]}), ValueError, ["'price'", "no kind"]),
    Bad("unknown_scaling", lambda c: c.train({"dense_scaling": "max"}), ValueError, ["dense_scaling", "'max'"]),
    Bad("unhashable_scaling", lambda c: c.train({"dense_scaling": ["none"]}), ValueError, ["dense_scaling"]),
    Bad("fraction_as_pad", lambda c: c.train({"pad_val": 0.5}), ValueError, ["pad_val", "0.5"]),
    Bad("text_as_shuffle", lambda c: c.train({"shuffle": "no"}), TypeError, ["shuffle", "'no'"]),
    Bad("negative_seed_of_a_set", lambda c: c.train({"seed": -1}), ValueError, ["seed", "-1"]),
    Bad(
        "id_twice_in_user_features",
        lambda c: DatasetFeat.build_trainset(
            c.frame[["user", "item", "label"]],
            user_col=["sex"],
            sparse_col=["sex"],
            user_features=c.frame[["user", "sex"]],
        ),
        ValueError,
        ["user_features", "several rows"],
    ),
    # building a set to measure
    Bad("no_item_to_measure", lambda c: DatasetFeat.build_testset(c.frame[["user"]]), ValueError, ["'item'"]),
    Bad(
        "no_context_to_measure",
        lambda c: DatasetFeat.build_testset(c.frame.drop(columns="hour")),
        ValueError,
        ["'hour'"],
    ),
    Bad("missing_item_to_measure", lambda c: c.test(item=first(None)), ValueError, ["'item'", "1 missing"]),
    Bad("infinite_number_of_a_stranger", lambda c: c.test(user="new", age=np.inf), ValueError, ["'age'", "infinite"]),
    Bad(
        "frame_for_data_info",
        lambda c: DatasetFeat.build_testset(c.frame, data_info=c.frame),
        TypeError,
        ["data_info", "DataFrame"],
    ),
    # splits
    Bad("no_share", lambda c: c.split(test_size=None), ValueError, ["test_size", "multi_ratios"]),
    Bad("share_above_one", lambda c: c.split(test_size=1.5), ValueError, ["test_size", "1.5"]),
    Bad("share_is_text", lambda c: c.split(split_by_ratio, test_size="0.2"), TypeError, ["test_size", "'0.2'"]),
    Bad("one_ratio", lambda c: c.split(test_size=None, multi_ratios=[1]), ValueError, ["multi_ratios", "[1.0]"]),
    Bad("number_of_rows_is_a_share", lambda c: c.split(split_by_num), TypeError, ["test_size", "0.2"]),
    Bad(
        "no_time_to_split_by",
        lambda c: split_by_ratio_chrono(c.frame.drop(columns="time"), test_size=0.2),
        ValueError,
        ["'time'"],
    ),
    Bad(
        "missing_time_to_split_by",
        lambda c: split_by_num_chrono(c.frame.assign(time=first(None))),
        ValueError,
        ["'time'", "1 missing"],
    ),
    Bad("no_pad", lambda c: c.split(filter_unknown=False, pad_unknown=True), ValueError, ["pad_val"]),
    Bad(
        "negative_seed_of_a_split",
        lambda c: c.split(seed=-1),
        ValueError,
        ["seed", "-1"],
    ),
    Bad(
        "text_as_seed_of_a_split",
        lambda c: c.split(split_by_ratio, seed="x"),
        TypeError,
        ["seed", "'x'"],
    ),
    Bad(
        "text_as_shuffle_of_a_split",
        lambda c: c.split(shuffle="no"),
        TypeError,
        ["shuffle", "'no'"],
    ),
    # preparing columns
    Bad("unknown_normalizer", lambda c: process_data(c.frame, ["age"], "max"), ValueError, ["normalizer", "'max'"]),
    Bad("text_to_scale", lambda c: process_data(c.frame, ["sex"]), ValueError, ["'sex'"]),
    Bad("no_column_to_scale", lambda c: process_data(c.frame, ["agee"]), ValueError, ["'agee'"]),
    Bad(
        "one_transformer",
        lambda c: process_data(c.frame, ["age"], transformer="log"),
        ValueError,
        ["transformer", "'log'"],
    ),
    Bad("numbers_to_take_apart", lambda c: split_multi_value(c.frame, ["hour"], "|"), ValueError, ["'hour'"]),
    Bad("empty_separator", lambda c: split_multi_value(c.frame, ["sex"], ""), ValueError, ["sep"]),
    Bad(
        "too_many_lengths",
        lambda c: split_multi_value(c.frame, ["sex"], "|", [1, 2]),
        ValueError,
        ["max_len", "[1, 2]"],
    ),
    # making a model
    Bad("unknown_task", lambda c: c.new(task="sorting"), ValueError, ["task", "'sorting'"]),
    Bad("set_for_data_info", lambda c: c.new(data_info=c.data), TypeError, ["data_info", "Interactions"]),
    Bad("embed_size_of_zero", lambda c: c.new(embed_size=0), ValueError, ["embed_size", "0"]),
    Bad("lr_is_nan", lambda c: c.new(lr=float("nan")), ValueError, ["lr", "nan"]),
    Bad("lr_is_text", lambda c: c.new(lr="0.1"), TypeError, ["lr", "'0.1'"]),
    Bad("batch_of_one", lambda c: c.new(batch_size=1), ValueError, ["batch_size", "1"]),
    Bad(
        "a_loss_of_pairs_without_pairs",
        lambda c: c.new(loss_type="bpr").fit(c.data, neg_sampling=False, verbose=0),
        ValueError,
        ["loss_type='bpr'", "neg_sampling=True"],
    ),
    Bad("squared_error_of_a_ranking", lambda c: c.new(loss_type="squared"), ValueError, ["loss_type", "'squared'"]),
    Bad("unknown_loss", lambda c: c.new(loss_type="mse"), ValueError, ["loss_type", "'mse'"]),
    Bad(
        "unhashable_loss",
        lambda c: c.new(loss_type=["focal"]),
        ValueError,
        ["loss_type", "['focal']"],
    ),
    Bad(
        "unhashable_sampler",
        lambda c: c.new(sampler=["random"]),
        ValueError,
        ["sampler", "['random']"],
    ),
    Bad("no_layers", lambda c: c.new(hidden_units=[]), ValueError, ["hidden_units", "[]"]),
    Bad(
        "boolean_as_layer",
        lambda c: c.new(hidden_units=[True]),
        ValueError,
        ["hidden_units", "True"],
    ),
    Bad("bounds_upside_down", lambda c: c.new(lower_upper_bound=(5, 1)), ValueError, ["lower_upper_bound", "(5, 1)"]),
    Bad("no_such_device", lambda c: c.new(device="abacus"), ValueError, ["device", "'abacus'"]),
    Bad(
        "seed_beyond_64_bits",
        lambda c: c.new(seed=2**64),
        ValueError,
        ["seed", str(2**64)],
    ),
    Bad("dropout_of_one", lambda c: NFM("ranking", c.info, dropout_rate=1.0), ValueError, ["dropout_rate", "1.0"]),
    Bad("use_bn_is_a_number", lambda c: FM("ranking", c.info, use_bn=1), TypeError, ["use_bn", "1"]),
    # fit
    Bad("frame_to_fit", lambda c: c.fit(train_data=c.frame), TypeError, ["train_data", "DataFrame"]),
    Bad("set_of_other_data", lambda c: c.fit(train_data=others(c.frame)), ValueError, ["other data", "n_users: 24"]),
    Bad("test_set_to_fit", lambda c: c.fit(train_data=c.test(user="new")), ValueError, ["train_data", "does not know"]),
    Bad("neg_sampling_is_none", lambda c: c.fit(neg_sampling=None), TypeError, ["neg_sampling", "None"]),
    Bad("verbose_is_text", lambda c: c.fit(verbose="loud"), TypeError, ["verbose", "'loud'"]),
    Bad("unknown_metric", lambda c: c.fit(metrics=["ndgc"]), ValueError, ["metrics", "'ndgc'"]),
    Bad(
        "number_as_metrics",
        lambda c: c.fit(metrics=5),
        TypeError,
        ["metrics", "5"],
    ),
    Bad("list_to_measure_in_fit", lambda c: c.fit(eval_data=[1]), ValueError, ["data", "list"]),
    Bad("k_of_zero_in_fit", lambda c: c.fit(k=0), ValueError, ["k must", "0"]),
    # predict
    Bad("no_user", lambda c: c.predict(None), ValueError, ["user", "NoneType"]),
    Bad("bytes_as_user", lambda c: c.predict(b"ab"), ValueError, ["user"]),
    Bad("boolean_as_user", lambda c: c.predict(True), ValueError, ["user", "True"]),
    Bad("nan_as_item", lambda c: c.predict(100, np.nan), ValueError, ["item", "nan"]),
    Bad("table_of_users", lambda c: c.predict(np.ones((2, 2), int)), ValueError, ["user", "ndarray"]),
    Bad(
        "missing_among_nullable_users",
        lambda c: c.predict(pd.Series([1, None], dtype="Int64")),
        ValueError,
        ["user"],
    ),
    Bad(
        "missing_among_arrow_users",
        lambda c: c.predict(pd.Series([1, None], dtype="int64[pyarrow]")),
        ValueError,
        ["user"],
    ),
    Bad("date_as_user", lambda c: c.predict(pd.Timestamp("2020")), ValueError, ["user", "Timestamp"]),
    Bad(
        "two_users_and_three_items",
        lambda c: c.predict([100, 101], ["i1", "i2", "i3"]),
        ValueError,
        ["user has 2", "item has 3"],
    ),
    Bad("no_such_column", lambda c: c.predict(feats={"agee": 3}), ValueError, ["'agee'", "did you mean 'age'"]),
    Bad("text_as_given_number", lambda c: c.predict(feats={"age": "old"}), ValueError, ["'age'", "'old'"]),
    *(
        Bad(
            f"lone_surrogate_in_{name}",
            lambda c, feats=feats, users=users: c.predict(users, feats=feats),
            ValueError,
            ["'sex'", r"'\ud800'", "no valid text"],
        )
        for name, users, feats in (
            ("feats", 100, {**HOUR, "sex": "\ud800"}),
            ("one_of_many_feats", [100, 101], {**HOUR, "sex": ["m", "\ud800"]}),
            ("a_list_of_feats", [100, 101], [{**HOUR, "sex": "m"}, {**HOUR, "sex": "\ud800"}]),
        )
    ),
    *(
        Bad(f"lone_surrogate_in_{name}", call, ValueError, [r"'\ud800'", argument, "no valid text"])
        for name, argument, call in (
            ("an_array_of_users", "'user'", lambda c: c.predict(np.array(["\ud800", 100], object))),
            ("an_array_of_text", "'candidates'", lambda c: c.list(candidates=np.array(["\ud800", "i1"]))),
            ("a_history", "'history'", lambda c: c.list(history=["i1", "\ud800"])),
            (
                "a_frame_of_history",
                "'history'",
                lambda c: c.list(history=pd.DataFrame({"item": ["i1", "\ud800"]}, dtype=object)),
            ),
        )
    ),
    Bad("lone_surrogate_names_feats", lambda c: c.predict(feats={"\ud800": 1}), ValueError, [r"'\ud800'", "feats"]),
    Bad(
        "lone_surrogate_names_a_list_of_feats",
        lambda c: c.list([100, 101], user_feats=[{"sex": "m"}, {"\ud800": 1}]),
        ValueError,
        [r"'\ud800'", "user_feats"],
    ),
    Bad("number_as_feats", lambda c: c.predict(feats=5), ValueError, ["feats", "int"]),
    Bad("too_few_feats", lambda c: c.predict([100, 101], feats=[HOUR]), ValueError, ["feats has 1 rows for 2"]),
    Bad("unknown_cold_start", lambda c: c.predict(cold_start="warm"), ValueError, ["cold_start", "'warm'"]),
    Bad(
        "inner_id_is_text",
        lambda c: c.predict(inner_id="no"),
        TypeError,
        ["inner_id", "'no'"],
    ),
    Bad(
        "inner_id_beyond_the_last", lambda c: c.predict(25, 1, inner_id=True), ValueError, ["inner ids of users", "25"]
    ),
    # lists
    Bad("list_of_zero", lambda c: c.list(n_rec=0), ValueError, ["n_rec", "0"]),
    Bad("list_of_a_fraction", lambda c: c.list(n_rec=2.0), TypeError, ["n_rec", "2.0"]),
    Bad("no_users_at_all", lambda c: c.list([]), ValueError, ["user is empty"]),
    Bad("item_column_as_user_feats", lambda c: c.list(user_feats={"price": 1}), ValueError, ["'price'", "user_feats"]),
    Bad("misspelt_context", lambda c: c.list(context={"houre": 1}), ValueError, ["'houre'", "did you mean 'hour'"]),
    Bad("mapping_as_candidates", lambda c: c.list(candidates={"i1": 1}), ValueError, ["candidates", "dict"]),
    Bad("fraction_as_candidate", lambda c: c.list(candidates=[0.5]), ValueError, ["candidates", "0.5"]),
    Bad("number_of_nothing_as_exclude", lambda c: c.list(exclude=[None]), ValueError, ["exclude", "None"]),
    Bad(
        "text_as_inner_candidates",
        lambda c: c.list(1, candidates=["i1"], inner_id=True),
        ValueError,
        ["candidates"],
    ),
    Bad(
        "inner_candidate_beyond_32_bits",
        lambda c: c.list(1, candidates=[2**32 + 1], inner_id=True),
        ValueError,
        ["candidates", str(2**32 + 1)],
    ),
    Bad("seq", lambda c: c.list(seq=[1]), ValueError, ["seq"]),
    Bad("random_rec_is_text", lambda c: c.list(random_rec="no"), TypeError, ["random_rec", "'no'"]),
    Bad("table_of_zero", lambda c: c.table(n_rec=0), ValueError, ["n_rec", "0"]),
    Bad("table_for_nobody", lambda c: c.table(users=[]), ValueError, ["user is empty"]),
    Bad("table_from_a_warm_start", lambda c: c.table(cold_start="warm"), ValueError, ["cold_start", "'warm'"]),
    Bad("unfitted_model", lambda c: FM("ranking", c.info).predict(100, "i1"), NotFittedError, ["FM", "call fit first"]),
    # evaluate
    Bad("metric_of_another_task", lambda c: c.measure(metrics="rmse"), ValueError, ["metrics", "'rmse'"]),
    Bad(
        "number_as_metric",
        lambda c: c.measure(metrics=5),
        TypeError,
        ["metrics", "5"],
    ),
    Bad("batch_of_nothing", lambda c: c.measure(eval_batch_size=0), ValueError, ["eval_batch_size", "0"]),
    Bad("sample_of_nobody", lambda c: c.measure(sample_user_num=0), ValueError, ["sample_user_num", "0"]),
    Bad(
        "measure_without_context",
        lambda c: c.measure(c.frame.drop(columns="hour")),
        ValueError,
        ["'hour'", "not in data"],
    ),
    Bad("measure_a_set_of_other_data", lambda c: c.measure(others(c.frame)), ValueError, ["other data"]),
    Bad(
        "measure_ratings_as_clicks",
        lambda c: c.measure(c.frame.assign(label=5), False),
        ValueError,
        ["labels of 0 and 1"],
    ),
    Bad("measure_without_labels", lambda c: c.measure(c.frame.drop(columns="label"), False), ValueError, ["label"]),
    Bad("filter_is_text", lambda c: c.measure(filter_consumed="no"), TypeError, ["filter_consumed", "'no'"]),
    Bad("seed_of_a_measure", lambda c: c.measure(seed=-1), ValueError, ["seed", "-1"]),
    # new features
    Bad("assign_nothing", lambda c: c.info.assign_user_features(None), ValueError, ["user_data", "NoneType"]),
    Bad(
        "assign_no_ids", lambda c: c.info.assign_item_features(c.frame[["price"]]), ValueError, ["'item'", "item_data"]
    ),
    Bad(
        "assign_a_misspelt_column",
        lambda c: c.info.assign_user_features(pd.DataFrame({"user": [100], "agee": 3})),
        ValueError,
        ["'agee'", "did you mean 'age'"],
    ),
    Bad(
        "assign_text_as_number",
        lambda c: c.info.assign_item_features(
            pd.DataFrame({"item": ["i1", "i2"], "genre1": "even", "price": ["1", "2"]})
        ),
        ValueError,
        ["'price'", "'1'"],
    ),
    # files
    Bad("name_with_a_folder", lambda c: c.model.save(c.folder, "a/b"), ValueError, ["model_name", "'a/b'"]),
    Bad("name_that_is_hidden", lambda c: c.model.save(c.folder, ".model"), ValueError, ["model_name", "'.model'"]),
    Bad("name_that_is_empty", lambda c: c.info.save(c.folder, ""), ValueError, ["model_name", "''"]),
    Bad("name_that_is_a_number", lambda c: FM.load(c.folder, 5), ValueError, ["model_name", "5"]),
    Bad(
        "inference_only_is_text",
        lambda c: c.model.save(c.folder, "new", inference_only="no"),
        TypeError,
        ["inference_only"],
    ),
    Bad(
        "save_before_fit",
        lambda c: FM("ranking", c.info).save(c.folder, "new"),
        NotFittedError,
        ["FM", "call fit first"],
    ),
    Bad("load_as_another_algorithm", lambda c: NFM.load(c.folder, "model"), ValueError, ["'model'", "FM", "NFM"]),
    Bad("no_such_file", lambda c: FM.load(c.folder, "none"), FileNotFoundError, ["none.safetensors", "'model'"]),
    Bad("no_such_data", lambda c: DataInfo.load(c.folder, "none"), FileNotFoundError, ["none_data_info.safetensors"]),
    Bad(
        "load_with_other_data",
        lambda c: FM.load(c.folder, "model", others(c.frame).data_info),
        ValueError,
        ["data_info", "other data"],
    ),
    Bad(
        "load_with_a_frame",
        lambda c: FM.load(c.folder, "model", c.frame),
        TypeError,
        ["data_info", "DataFrame"],
    ),
    Bad("load_to_no_device", lambda c: FM.load(c.folder, "model", device="abacus"), ValueError, ["device", "'abacus'"]),
    Bad(
        "load_what_is_no_model", lambda c: recolib.load(c.folder / "text.safetensors"), ValueError, ["text.safetensors"]
    ),
]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("case")
    frame = two_tastes()
    data, info = DatasetFeat.build_trainset(frame, **ALL_KINDS)
    model = FM("ranking", info, embed_size=4, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    model.save(folder, "model")
    (folder / "text.safetensors").write_text("no model at all")
    return Case(frame, data, info, model, folder)


def everything(case: Case) -> list[object]:
    """All that a refused call must leave as it was."""
    items, scores = case.model.recommend_user(100, 20, filter_consumed=False, return_scores=True, context=HOUR)[100]
    return [
        case.frame.to_dict("list"),
        case.model.history_.to_dict("list"),
        repr(case.model),
        [weight.tolist() for weight in case.model.engine.network.state_dict().values()],
        (items.tolist(), scores.tolist()),
        case.model.predict(case.frame["user"], case.frame["item"], feats=HOUR).tolist(),
        (
            case.info.fingerprint,
            case.info.users.rows.codes.tolist(),
            case.info.items.rows.dense.tolist(),
        ),
        {file.name: file.read_bytes() for file in case.folder.iterdir()},
        (DatasetFeat._last is case.info, len(case.data), case.data.labels.tolist()),
    ]


def test_the_table_of_bad_inputs_has_sixty_rows() -> None:
    assert len(BAD) >= 60
    assert len({bad.name for bad in BAD}) == len(BAD)


@pytest.mark.parametrize(
    "bad",
    [pytest.param(bad, id=f"{n:03}_{bad.name}") for n, bad in enumerate(BAD, 1)],
)
def test_bad_input_is_refused_by_name_and_changes_nothing(
    case: Case, bad: Bad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DatasetFeat, "_last", case.info)
    before = everything(case)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(bad.error) as caught:
            bad.call(case)
    assert all(word in str(caught.value) for word in bad.words), str(caught.value)
    assert PACKAGE in Path(caught.traceback[-1].path).parents, "the error comes from below recolib"
    assert everything(case) == before


# ---- odd input


MIXED = "integers and . strings, which never match each other"


@dataclass(frozen=True)
class Odd:
    """An odd but legal frame.

    Attributes
    ----------
    frame
        What ``build_trainset`` is given.
    columns
        And its other arguments.
    users, items
        The ids that the data must know, in the order of their codes, where the case is about them.
    negatives
        Whether to sample negatives; without, the task is rating.
    context
        The context that lists are asked for with.
    warns
        What each warning of the way must match, and one must.
    """

    frame: Any
    columns: Mapping[str, Any] = field(default_factory=dict)
    users: Sequence[int | str] | None = None
    items: Sequence[int | str] | None = None
    negatives: bool = True
    context: Mapping[str, object] | None = None
    warns: str | None = None


def log(**columns: object) -> pd.DataFrame:
    """Nine events of three users with two items each out of four, and once more, but for ``columns``."""
    frame = pd.DataFrame(
        {
            "user": [1, 1, 2, 2, 3, 3, 1, 2, 3],
            "item": [*"abbcad", *"abc"],
            "label": 1,
            "sex": [*"mmffmm", *"mfm"],
            "age": [20.0, 20, 30, 30, 40, 40, 20, 30, 40],
        }
    )
    return frame.assign(**columns)


def objects(*values: object) -> pd.Series:
    return pd.Series(values, dtype=object)


def users_as(one: object, two: object, three: object, **columns: object) -> pd.DataFrame:
    """The log with other ids for its three users."""
    names = {1: one, 2: two, 3: three}
    return log(user=objects(*(names[user] for user in log()["user"])), **columns)


def read_only() -> pd.DataFrame:
    """The log in buffers that nobody may write to."""
    arrays = {name: log()[name].to_numpy().copy() for name in ("user", "item", "label", "age")}
    arrays["label"] = arrays["label"].astype(np.float32)
    for array in arrays.values():
        array.flags.writeable = False
    return pd.DataFrame(arrays, copy=False)


LONG = "x" * 10_000
COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
NULS = [("a", "a\0", "a\0b")] if HASHES_NUL else [("a\0", "b\0", "c")]
AGE: dict[str, Any] = {"user_col": ["age"], "dense_col": ["age"]}
SEX: dict[str, Any] = {"user_col": ["sex"], "sparse_col": ["sex"]}
FEW_LABELS = log(label=[1, 0, 1, 0, 1, 1, 0, 1, 0])

ODD: dict[str, Callable[[], Odd]] = {
    # ids
    "integers_and_text": lambda: Odd(users_as(1, "1", "one"), users=[1, "1", "one"], warns=MIXED),
    "accents_that_differ_by_normalisation": lambda: Odd(
        users_as(COMPOSED, DECOMPOSED, "e"), users=["e", DECOMPOSED, COMPOSED]
    ),
    "right_to_left": lambda: Odd(users_as("שלום", "مرحبا", "\u202eabc"), users=["שלום", "مرحبا", "\u202eabc"]),
    "nul_inside": lambda: Odd(users_as(*NULS[0]), users=sorted(NULS[0])),
    "emoji": lambda: Odd(users_as("👩‍👩‍👧", "👩", "🏳️‍🌈"), users=sorted(["👩‍👩‍👧", "👩", "🏳️‍🌈"])),
    "empty_text": lambda: Odd(users_as("", " ", "  "), users=["", " ", "  "]),
    "text_that_looks_like_nothing": lambda: Odd(users_as("nan", "None", "NaN"), users=["NaN", "None", "nan"]),
    "ten_thousand_characters": lambda: Odd(users_as(LONG, LONG + "y", "x"), users=["x", LONG, LONG + "y"]),
    "the_ends_of_64_bits": lambda: Odd(
        users_as(2**63 - 1, -(2**63), 2**63 - 2), users=[-(2**63), 2**63 - 2, 2**63 - 1]
    ),
    "negative_integers": lambda: Odd(users_as(-1, 0, -3), users=[-3, -1, 0]),
    "integers_beyond_the_floats": lambda: Odd(
        users_as(2**53, 2**53 + 1, 2**53 + 2), users=[2**53 + n for n in range(3)]
    ),
    "whole_floats": lambda: Odd(
        log(user=log()["user"].astype(float)), users=[1, 2, 3], warns="'user' holds whole numbers as floats"
    ),
    "text_of_numpy": lambda: Odd(users_as(np.str_("a"), np.str_("b"), "c"), users=["a", "b", "c"]),
    "small_integers": lambda: Odd(log(user=log()["user"].astype(np.uint8)), users=[1, 2, 3]),
    # carriers
    "categories": lambda: Odd(log().astype({"user": "category", "item": "category", "sex": "category"}), SEX),
    "unused_categories": lambda: Odd(log(item=pd.Categorical(log()["item"], categories=[*"zdcba"])), items=[*"abcd"]),
    "nullable": lambda: Odd(log().convert_dtypes(), SEX | {"user_col": ["sex", "age"], "dense_col": ["age"]}),
    "on_arrow": lambda: Odd(pa.Table.from_pandas(log()).to_pandas(types_mapper=pd.ArrowDtype), SEX, users=[1, 2, 3]),
    "polars": lambda: Odd(pl.from_pandas(log()), SEX, users=[1, 2, 3], items=[*"abcd"]),
    "pyarrow": lambda: Odd(pa.Table.from_pandas(log()), SEX, users=[1, 2, 3], items=[*"abcd"]),
    "read_only_buffers": lambda: Odd(read_only(), AGE),
    "a_slice": lambda: Odd(pd.concat([log(), log(user=9)])[:9], SEX, users=[1, 2, 3]),
    "every_other_row": lambda: Odd(log().loc[np.repeat(np.arange(9), 2)].iloc[::-2], AGE),
    # the frame around the values
    "an_index_that_repeats": lambda: Odd(log().set_index(np.zeros(9, int)), SEX | AGE | {"user_col": ["sex", "age"]}),
    "an_index_of_text": lambda: Odd(log().set_index(pd.Index([*"ihgfedcba"])), SEX),
    "an_index_of_two_levels": lambda: Odd(log().set_index(pd.MultiIndex.from_product([[1, 2, 3], [*"xyz"]])), SEX),
    "an_index_called_user": lambda: Odd(log().rename_axis("user"), SEX, users=[1, 2, 3]),
    "other_order_of_columns": lambda: Odd(log()[["age", "label", "sex", "item", "user"]], SEX, items=[*"abcd"]),
    "columns_of_any_kind_that_nobody_named": lambda: Odd(
        log(
            when=pd.Timestamp("2020", tz="UTC"), what=[{1, 2}] * 9, z=1j, empty=None, flag=True, span=pd.Timedelta("1s")
        )
    ),
    "columns_that_are_called_by_numbers": lambda: Odd(log().rename(columns={"sex": 7}), AGE),
    "names_of_columns_in_other_scripts": lambda: Odd(
        log().rename(columns={"sex": "пол", "age": "年齢"}),
        {"user_col": ["пол", "年齢"], "sparse_col": ["пол"], "dense_col": ["年齢"]},
    ),
    "names_of_columns_with_blanks_and_dots": lambda: Odd(
        log().rename(columns={"sex": "the sex", "age": "network.age"}),
        {"user_col": ["the sex", "network.age"], "sparse_col": ["the sex", "network.age"]},
    ),
    "names_of_columns_that_begin_alike": lambda: Odd(
        log().rename(columns={"sex": "user.values", "age": "user.values.text"}),
        {"user_col": ["user.values", "user.values.text"], "sparse_col": ["user.values", "user.values.text"]},
    ),
    # rows
    "a_user_who_consumed_everything": lambda: Odd(
        log(user=[1, 1, 1, 1, 2, 2, 2, 3, 3], item=[*"abcdabcab"]), warns="^4 of 9 rows get no negatives"
    ),
    "one_user": lambda: Odd(log(user="only", sex="m"), SEX, users=["only"], warns="^9 of 9 rows get no negatives"),
    "one_item": lambda: Odd(log(item="only", label=np.arange(9)), items=["only"], negatives=False),
    "one_row_a_user": lambda: Odd(log(user=np.arange(9))),
    "two_rows": lambda: Odd(log().head(2), AGE, warns="^2 of 2 rows get no negatives"),
    "rows_that_stand_there_twice": lambda: Odd(pd.concat([log(), log()]), SEX),
    # labels
    "fractions_as_labels": lambda: Odd(log(label=[0.5, 4.5, 3.25, 1, 2, 3, 4, 5, 0.1]), negatives=False),
    "labels_below_zero": lambda: Odd(log(label=np.linspace(-10, -1, 9)), negatives=False),
    "one_rating_for_all": lambda: Odd(log(label=3), negatives=False),
    "booleans_as_labels": lambda: Odd(
        FEW_LABELS.astype({"label": bool}), warns="4 rows with label 0 or below are left out"
    ),
    "decimal_labels": lambda: Odd(
        pa.Table.from_pandas(log()).set_column(2, "label", pa.array([1] * 9, pa.decimal128(5, 2)))
    ),
    # features
    "a_number_that_never_changes": lambda: Odd(log(age=0.1), AGE),
    "a_row_of_which_nothing_is_known": lambda: Odd(
        log(sex=objects(*[None] * 2, *"ffmm", None, *"fm"), age=[np.nan, np.nan, 1, 1, 2, 2, np.nan, 1, 2]),
        {"user_col": ["sex", "age"], "sparse_col": ["sex"], "dense_col": ["age"]},
    ),
    "huge_and_tiny_numbers": lambda: Odd(log(age=[1e30, 1e30, 1e-30, 1e-30, -1e30, -1e30, 1e30, 1e-30, -1e30]), AGE),
    "tiny_numbers": lambda: Odd(log(age=log()["age"] * 1e-30), AGE),
    "booleans_as_numbers": lambda: Odd(log(age=log()["sex"] == "m"), AGE),
    "integers_and_text_as_categories": lambda: Odd(
        log(sex=objects(1, 1, "1", "1", LONG, LONG, 1, "1", LONG)), SEX, warns=MIXED
    ),
    "empty_lists_and_sets": lambda: Odd(
        log(tags=objects([], {"p"}, {"p"}, None, [], ("q", "p"), [], {"p"}, None)),
        {"item_col": ["tags"], "multi_sparse_col": ["tags"]},
    ),
    "context_that_is_missing": lambda: Odd(
        log(hour=objects(None, 1, "late", 1, None, 2, 1, 2, "late")),
        {"context_col": ["hour"], "sparse_col": ["hour"]},
        context={"hour": "late"},
    ),
    # times
    "dates_with_a_time_zone": lambda: Odd(log(time=pd.date_range("2020", periods=9, tz="Asia/Tokyo")[::-1]), AGE),
    "fractions_as_times": lambda: Odd(log(time=np.linspace(0, 1, 9), age=np.arange(9)), AGE),
    "equal_times": lambda: Odd(log(time=0, age=np.arange(9)), AGE),
    "features_that_change": lambda: Odd(log(time=np.arange(9)[::-1], age=np.arange(9)), AGE),
}


def copied(frame: Any) -> Any:
    """A frame to compare with later; those of polars and pyarrow never change."""
    return copy.deepcopy(frame) if isinstance(frame, pd.DataFrame) else frame


def asked(model: Recommender, odd: Odd) -> list[object]:
    """All that there is to ask of a model: predictions, lists and measures, as plain values."""
    info = model.data_info
    users, items = info.vocabs["user"].values.tolist(), info.vocabs["item"].values.tolist()
    pairs = [(user, item) for user in users for item in items]
    predictions = model.predict(*map(list, zip(*pairs, strict=True)), feats=odd.context)
    whole = model.recommend_user(users, len(items), filter_consumed=False, context=odd.context, return_scores=True)
    with pytest.warns(UserWarning, match=f"lists are shorter than n_rec={len(items)}"):
        new = model.recommend_user(users, len(items), context=odd.context)
    consumed = {
        user: {info.id2item[code] for code in info.user_consumed[info.user2id[user]].tolist()} for user in users
    }
    assert [*whole] == [*new] == users
    assert isinstance(predictions, np.ndarray)
    assert predictions.dtype == np.float32
    assert np.isfinite(predictions).all()
    for user in users:
        assert set(whole[user][0]) == set(items)
        assert set(new[user]) == set(items) - consumed[user]
        np.testing.assert_allclose(
            model.predict(user, whole[user][0].tolist(), feats=odd.context), whole[user][1], rtol=1e-4, atol=1e-6
        )
    metrics = ["log_loss", "roc_auc", "ndcg", "coverage"] if odd.negatives else ["rmse", "mae"]
    measures = evaluate(model, odd.frame, neg_sampling=odd.negatives, metrics=metrics, k=2, filter_consumed=False)
    if odd.negatives and all(consumed[user] == set(items) for user in users):
        assert np.isnan(measures.pop("roc_auc"))  # there is no negative
    assert all(np.isfinite(value) for value in measures.values())
    return [
        predictions.tolist(),
        [(user, *(part.tolist() for part in whole[user]), new[user].tolist()) for user in users],
        measures,
    ]


def test_the_table_of_odd_inputs_has_twenty_five_rows() -> None:
    assert len(ODD) >= 25


@pytest.mark.parametrize("name", [pytest.param(name, id=f"{n:02}_{name}") for n, name in enumerate(ODD, 1)])
def test_odd_input_goes_the_whole_way_and_comes_back(name: str, tmp_path: Path) -> None:
    odd = ODD[name]()
    before = copied(odd.frame)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data, info = DatasetFeat.build_trainset(odd.frame, **odd.columns)
        model = DeepFM(
            "ranking" if odd.negatives else "rating", info, n_epochs=1, embed_size=4, hidden_units=(4,), batch_size=4
        ).fit(data, neg_sampling=odd.negatives, verbose=0)
        expected = asked(model, odd)
        answers = asked(recolib.load(model.save(tmp_path, name)), odd)
    assert answers == expected
    told = [str(one.message) for one in caught if one.category is not RatingsAsListsWarning]
    assert all(odd.warns is not None and re.search(odd.warns, message) for message in told), told
    assert bool(told) == (odd.warns is not None)
    for side, ids in (("user", odd.users), ("item", odd.items)):
        known = info.vocabs[side].values.tolist()
        assert {type(one) for one in known} <= {int, str}
        assert ids is None or [(type(one), one) for one in known] == [(type(one), one) for one in ids]
    if isinstance(odd.frame, pd.DataFrame):
        pd.testing.assert_frame_equal(odd.frame, before)
