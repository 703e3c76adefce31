"""The experiments of ``benchmarks.accuracy``: data, their split, models, settings, and what others report."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from recolib.algorithms import AFM, FM, IFM, INN, NFM, DeepFM, DeepIFM
from recolib.data import DatasetFeat, random_split, read_libfm, split_by_ratio, split_by_ratio_chrono
from recolib.data.interactions import Interactions
from recolib.datasets import fetch_movielens
from recolib.recommender import Recommender


@dataclass(frozen=True)
class Entry:
    """A model in an experiment.

    Attributes
    ----------
    algorithm, settings
        What is trained.
    tried
        Changes of the settings that were tried and did not validate better.
    n_epochs
        How many epochs, of which the last counts; None: as many as help, of which the best on validation counts.
    at_most
        The most that are tried to help.
    fm
        Settings of an FM to start from, its ``n_epochs`` among them; None: there is none.
    published
        The test figure that others report, and where.
    """

    algorithm: type[Recommender]
    settings: dict[str, Any]
    tried: tuple[dict[str, Any], ...] = ()
    n_epochs: int | None = None
    at_most: int = 40
    fm: dict[str, Any] | None = None
    published: str = ""

    @property
    def name(self) -> str:
        """The algorithm's name."""
        return self.algorithm.__name__


@dataclass(frozen=True, eq=False)
class Parts:
    """A split, encoded once for all models.

    Attributes
    ----------
    train, valid, test
        The parts.
    n_unknown
        Rows of the test part that were left out because training lacks their user or item.
    """

    train: Interactions
    valid: Interactions
    test: Interactions
    n_unknown: int = 0


@dataclass(frozen=True)
class Experiment:
    """Data, how they are split, and the models that are measured on them.

    Attributes
    ----------
    data
        The name of the data.
    title
        What it is.
    metrics
        What is measured; the first chooses epochs and settings.
    entries
        The models.
    parts
        The split of a number.
    fixed
        Whether there is one split, and runs differ by the seed of the model; else each run has a split of its own.
    patience
        Epochs without a better validation figure before a run ends.
    """

    data: str
    title: str
    metrics: tuple[str, ...]
    entries: tuple[Entry, ...]
    parts: Callable[[int], Parts]
    fixed: bool = False
    patience: int = 2

    @property
    def task(self) -> Literal["rating", "ranking"]:
        """The models' task."""
        return "rating" if self.metrics[0] == "rmse" else "ranking"


# ---- MovieLens 1M

RATIOS = [0.8, 0.1, 0.1]
USER_COL = ["sex", "age", "occupation"]
GENRES = [f"genre{number}" for number in range(1, 7)]
FEATURES: dict[str, Any] = {
    "user_col": USER_COL,
    "item_col": GENRES,
    "sparse_col": USER_COL,
    "multi_sparse_col": [GENRES],
}


def liked() -> pd.DataFrame:
    """The ratings as labels of 1, above three stars, and 0."""
    frame = fetch_movielens("1m")
    return frame.assign(label=(frame["label"] > 3).astype(np.int64))


def encoded(parts: list[pd.DataFrame], columns: dict[str, Any], n_test: int) -> Parts:
    """The parts of a frame; ``n_test`` is how many rows the test part had before unknown ids were left out."""
    train, info = DatasetFeat.build_trainset(parts[0], **columns)
    valid, test = (DatasetFeat.build_evalset(part, data_info=info) for part in parts[1:])
    return Parts(train, valid, test, n_test - len(test))


def ids_of_movielens(split: int) -> Parts:
    """Users and movies alone, split at random."""
    return at_random(split, {})


def features_of_movielens(split: int) -> Parts:
    """With features, split at random."""
    return at_random(split, FEATURES)


def at_random(split: int, columns: dict[str, Any]) -> Parts:
    """A random split of what was liked."""
    frame = liked()
    whole = random_split(frame, multi_ratios=RATIOS, seed=split, filter_unknown=False)
    return encoded(random_split(frame, multi_ratios=RATIOS, seed=split), columns, len(whole[2]))


def stars_by_time(split: int) -> Parts:
    """Stars with features; each user's latest rows are the test part."""
    frame = fetch_movielens("1m")
    in_time = frame.sort_values("time", kind="stable")
    whole = split_by_ratio(in_time, multi_ratios=RATIOS, filter_unknown=False)
    return encoded(split_by_ratio_chrono(frame, multi_ratios=RATIOS), FEATURES, len(whole[2]))


# ---- Frappe

OFFSETS = {
    "user": 0, "item": 957, "daytime": 5039, "weekday": 5046, "isweekend": 5053, "homework": 5055, "cost": 5058,
    "weather": 5060, "country": 5069, "city": 5149,
}  # fmt: skip
CONTEXT = list(OFFSETS)[2:]
PARTS = "train", "validation", "test"


def frappe(part: str) -> pd.DataFrame:
    """A part of the split of He and Chua, in libFM's format, from the folder ``frappe`` of the data home.

    Of the training part one with negatives drawn anew is taken where the original is not there.
    """
    file = file_of_frappe(part)
    if "rebuilt" in file.name:
        print(f"{file.name}: its negatives were drawn anew, so that published figures are of other rows")
    return read_libfm(file, OFFSETS)


def file_of_frappe(part: str) -> Path:
    """Where a part is."""
    folder = Path(os.environ.get("RECOLIB_DATA_HOME", ".")) / "frappe"
    for name in (f"frappe.{part}.libfm", f"frappe.{part}.libfm.gz", f"frappe.{part}.rebuilt.libfm.gz"):
        if (folder / name).exists():
            return folder / name
    raise SystemExit(f"put frappe.{part}.libfm into {folder.resolve()}, or set RECOLIB_DATA_HOME to the folder above")


def signs_of_frappe(split: int) -> Parts:
    """Labels of −1 and 1."""
    parts = [frappe(part) for part in PARTS]
    return encoded(parts, {"context_col": CONTEXT, "sparse_col": CONTEXT}, len(parts[2]))


def uses_of_frappe(split: int) -> Parts:
    """Labels of 0 and 1."""
    parts = [frappe(part) for part in PARTS]
    parts = [part.assign(label=(part["label"] > 0).astype(np.int64)) for part in parts]
    return encoded(parts, {"context_col": CONTEXT, "sparse_col": CONTEXT}, len(parts[2]))


# ---- settings

FM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 32, "dropout_rate": 0.2, "embed_dropout": 0.3, "lr": 4e-3, "batch_size": 4096, "ema": 0.995,
}  # fmt: skip
NFM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 64, "hidden_units": (64,), "dropout_rate": 0.2, "pair_dropout": 0.2, "embed_dropout": 0.3, "lr": 2e-3,
    "batch_size": 4096, "ema": 0.995,
}  # fmt: skip
DEEPFM_WITH_FEATURES: dict[str, Any] = {
    "embed_size": 32, "hidden_units": (128, 64), "dropout_rate": 0.4, "embed_dropout": 0.2, "init_std": 0.05,
    "lr": 5e-3, "batch_size": 4096, "ema": 0.995,
}  # fmt: skip
NOTEBOOK: dict[str, Any] = {
    "embed_size": 16, "hidden_units": (16, 16), "dropout_rate": 0.5, "lr": 1e-3, "batch_size": 1024
}  # fmt: skip


# Frappe, vectors of 64 numbers. What starts from an FM has that FM's settings but for its own.
FRAPPE: dict[str, Any] = {"embed_size": 64, "lr": 3e-3, "batch_size": 1024, "ema": 0.998}
FRAPPE_FM = FRAPPE | {"dropout_rate": 0.3}
FRAPPE_START = FRAPPE_FM | {"n_epochs": 18}
FRAPPE_NFM = FRAPPE | {"lr": 4e-3, "lr_decay": 0.97, "dropout_rate": 0.2, "pair_dropout": 0.5}
FRAPPE_DEEPFM = FRAPPE | {
    "lr": 2e-3, "lr_decay": 0.95, "dropout_rate": 0.3, "pair_dropout": 0.5, "hidden_units": (128, 64),
}  # fmt: skip
FRAPPE_PAIRS = FRAPPE | {"batch_size": 512, "pair_dropout": 0.5, "lr_decay": 0.93}

EXPERIMENTS = {
    "ids": Experiment(
        "ml-1m",
        "users and movies alone, positive above three stars, random 80/10/10",
        ("roc_auc", "log_loss"),
        (
            Entry(
                NFM,
                NFM_WITH_FEATURES | {"embed_dropout": 0.4},
                ({"embed_dropout": 0.0}, {"embed_dropout": 0.2}),
                published="0.7589 (a notebook, 100 epochs)",
            ),
            Entry(DeepFM, NOTEBOOK, n_epochs=10, published="0.7920 (a notebook); five libraries 0.7864 to 0.7988"),
        ),
        ids_of_movielens,
    ),
    "features": Experiment(
        "ml-1m",
        "with sex, age, occupation and genres, positive above three stars, random 80/10/10",
        ("roc_auc", "log_loss"),
        (
            Entry(FM, FM_WITH_FEATURES, ({"embed_dropout": 0.2, "lr": 2e-3, "reg": 3e-4},)),
            Entry(NFM, NFM_WITH_FEATURES, ({"embed_dropout": 0.2, "reg": 3e-4},)),
            Entry(DeepFM, DEEPFM_WITH_FEATURES, ({"embed_dropout": 0.1, "lr": 2e-3, "init_std": 0.01},)),
        ),
        features_of_movielens,
    ),
    "rating": Experiment(
        "ml-1m",
        "stars with the same features, each user's earliest 80 % train, the next 10 % validate, the last 10 % test",
        ("rmse", "mae"),
        (Entry(FM, FM_WITH_FEATURES), Entry(NFM, NFM_WITH_FEATURES), Entry(DeepFM, DEEPFM_WITH_FEATURES)),
        stars_by_time,
        fixed=True,
    ),
    "rmse": Experiment(
        "frappe",
        "labels of -1 and 1, squared error, the split of He and Chua",
        ("rmse",),
        (
            Entry(
                FM,
                FRAPPE_FM,
                ({"batch_size": 4096, "ema": None}, {"lr": 4e-3, "lr_decay": 0.97, "dropout_rate": 0.5}),
                published="0.3437 (LibFM, 128 numbers; NFM paper)",
            ),
            Entry(
                NFM,
                FRAPPE_NFM | {"hidden_units": (128,)},
                (
                    {"hidden_units": (64,)},
                    {"hidden_units": (64,), "lr": 5e-3, "lr_decay": 0.975, "dropout_rate": 0.3, "pair_dropout": 0.6},
                    {"hidden_units": (64,), "lr": 3e-3, "lr_decay": False, "embed_dropout": 0.1},
                    {"hidden_units": (64,), "lr": 3e-3, "lr_decay": False, "embed_dropout": 0.3, "pair_dropout": 0.3},
                ),
                at_most=70,
                published="0.3127 (128 numbers; NFM paper)",
            ),
            Entry(
                AFM,
                FRAPPE_PAIRS | {"lr": 2e-3, "lr_decay": 0.96, "pair_dropout": 0.3},
                (
                    {"lr": 1e-3, "lr_decay": False, "pair_dropout": 0.0},
                    {"lr_decay": 0.9},
                    {"lr_decay": 0.97},
                    {"lr": 3e-3, "lr_decay": 0.95, "pair_dropout": 0.5},
                    {"lr": 3e-3, "lr_decay": 0.95, "attention_size": 64},
                ),
                at_most=30,
                fm=FRAPPE_START,
                published="0.3102 (256 numbers; AFM paper)",
            ),
            Entry(
                IFM,
                FRAPPE_PAIRS,
                (
                    {"lr": 1e-3, "lr_decay": False, "pair_dropout": 0.0},
                    {"lr": 1e-3, "lr_decay": False, "pair_dropout": 0.3},
                    {"lr": 2e-3, "lr_decay": 0.9, "pair_dropout": 0.4},
                    {
                        "optimizer": "adagrad", "epsilon": 1e-8, "lr": 0.05, "lr_decay": False, "ema": None,
                        "pair_dropout": 0.2, "field_reg": 1e-5,
                    },
                ),
                at_most=25,
                fm=FRAPPE_START,
            ),
            Entry(INN, FRAPPE_PAIRS, fm=FRAPPE_START),
            Entry(DeepIFM, FRAPPE_PAIRS | {"dropout_rate": 0.3, "hidden_units": (64,)}, at_most=25, fm=FRAPPE_START),
        ),
        signs_of_frappe,
        fixed=True,
        patience=8,
    ),
    "auc": Experiment(
        "frappe",
        "labels of 0 and 1, cross-entropy, the split of He and Chua",
        ("roc_auc", "log_loss"),
        (
            Entry(
                NFM,
                FRAPPE_NFM,
                ({"lr": 3e-3, "lr_decay": False, "embed_dropout": 0.1},),
                published="0.9804 (10 numbers; BARS)",
            ),
            Entry(
                DeepFM,
                FRAPPE_DEEPFM,
                published="0.9842 (10 numbers; BARS)",
            ),
        ),
        uses_of_frappe,
        fixed=True,
        patience=8,
    ),
}  # fmt: skip
