"""The tables of ``benchmarks.speed``: works, sides, settings, and goals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.experiments import NOTEBOOK, RATIOS, liked
from benchmarks.librecommender import COLUMNS, TUTORIAL, make_task, write_task
from benchmarks.protocol import ask
from benchmarks.rounds import Figure, Side, Table
from recolib.data import random_split, split_by_ratio_chrono

BEST: dict[str, Any] = {"batch_size": 4096, "lr": 8e-4, "precision": "bf16"}
"""Settings beyond the tutorial's that train fastest at equal log loss; without any, the side is left out."""
BFLOAT16: dict[str, Any] = {"precision": "bf16"}
"""Settings beyond the tutorial's that score in bfloat16; without any, the side is left out."""

REG = 1e-6
SIZES = [5_000, 50_000, 500_000, 5_000_000]
CATALOGUES = [1_000, 10_000, 100_000, 1_000_000]


def own(module: str, **request: object) -> Side:
    """A side of ours."""
    return Side(f"benchmarks.own.{module}", request)


# ---- training


def prepare_training(table: Table, folder: Path) -> dict[str, Any]:
    """A random split, written once: the parts one below the other, and their sizes."""
    frame = liked().assign(rating=lambda frame: 3 + frame["label"])  # what reads ratings draws the line above three
    frame = frame.head(table.rows or len(frame))[["user", "item", "rating", "label"]]
    parts = random_split(frame, multi_ratios=RATIOS, filter_unknown=False)
    pd.concat(parts).to_csv(folder / "ratings.csv", index=False)
    settings = NOTEBOOK | {"reg": REG}
    return {"ratings": str(folder / "ratings.csv"), "sizes": [*map(len, parts)], "settings": settings}


TRAINING = Table(
    title="DeepFM on MovieLens 1M, users and movies alone, vectors of 16, layers of 16 and 16, batches of 1,024",
    sides={
        "recolib": own("training"),
        "RecBole": Side("benchmarks.peers.recbole", environment="recbole"),
        "pytorch-fm": Side("benchmarks.peers.torchfm", environment="torchfm"),
        "plain PyTorch": Side("benchmarks.peers.plain"),
    },
    figures=[
        Figure("rows_per_s", "rows a second", {"recolib": "≥ 2.5"}, more=True),
        Figure("auc", "test AUC after the last epoch", {"recolib": "within 0.002"}, more=True, is_race=False),
    ],
    prepare=prepare_training,
    references=["RecBole", "pytorch-fm", "plain PyTorch"],
    epochs=10,
)

# ---- LibRecommender's tutorial

PEER = "LibRecommender"


def tutorial_data(table: Table) -> pd.DataFrame:
    """The sample of MovieLens 1M that the tutorial is about."""
    frame = pd.read_csv(Path(os.environ["RECOLIB_DATA_HOME"]) / "ml1m_sample_merged.csv")
    return frame.head(table.rows or len(frame))


def settings_of_tutorial(table: Table) -> dict[str, Any]:
    """The tutorial's settings, as long as the table says."""
    return {**TUTORIAL, "n_epochs": table.epochs}


def prepare_tutorial(table: Table, folder: Path) -> dict[str, Any]:
    """The rows to train on, and the fixed pairs."""
    task = make_task(tutorial_data(table), test_size=0.2)
    return write_task(task, folder) | {"columns": COLUMNS, "settings": settings_of_tutorial(table)}


def prepare_serving(table: Table, folder: Path) -> dict[str, Any]:
    """The rows to train on, and those to evaluate."""
    files: dict[str, Any] = {}
    for name, part in zip(("train", "test"), split_by_ratio_chrono(tutorial_data(table), test_size=0.2), strict=True):
        files[name] = str(folder / f"{name}.csv")
        part.to_csv(files[name], index=False)
    return files | {"columns": COLUMNS, "settings": settings_of_tutorial(table)}


def variants(module: str, name: str, changes: dict[str, Any], **request: object) -> dict[str, Side]:
    """Our side as the tutorial has it, and with the changes, if there are any."""
    sides = {"recolib": own(module, changes={}, **request)}
    return sides | ({f"recolib, {name}": own(module, changes=changes, **request)} if changes else {})


TUTORIAL_SPEED = Table(
    title="DeepFM on LibRecommender's tutorial: eight columns, vectors of 64, layers of 128, 64 and 32, batches of 512",
    sides=variants("tutorial", "best setting", BEST)
    | {PEER: Side("benchmarks.peers.librecommender", environment="librecommender")},
    figures=[
        Figure(
            "rows_per_s",
            "rows a second, negatives included",
            {"recolib": "≥ 1.2", "recolib, best setting": "≥ 1.6"},
            more=True,
        ),
        Figure(
            "log_loss",
            "log loss of the fixed pairs, best epoch",
            {"recolib": "within 0.002", "recolib, best setting": "within 0.002"},
            of_run=min,
            is_race=False,
        ),
    ],
    prepare=prepare_tutorial,
    references=[PEER],
    epochs=10,
)


def of_both(goal: str, goal_of_bfloat16: str | None = None) -> dict[str, str]:
    """A goal of both our sides."""
    return {"recolib": goal, "recolib, bfloat16": goal_of_bfloat16 or goal}


SERVING = Table(
    title="The tutorial's DeepFM, asked as an app asks",
    sides=variants("serving", "bfloat16", BFLOAT16, chunk=1000)
    | {PEER: Side("benchmarks.peers.librecommender_serving", {"chunk": 10}, "librecommender")},
    figures=[
        Figure("recommend_1_ms", "recommend_user, 1 user, ms", of_both("≥ 5")),
        Figure("recommend_100_ms", "recommend_user, 100 users in a call, ms", of_both("≥ 15")),
        Figure("recommend_100_mib", "its memory above what was held before, MiB", of_both("< 1,024"), is_race=False),
        Figure("recommend_1000_ms", "recommend_user, 1,000 users (the peer 10 in a call), ms", of_both("≥ 15")),
        Figure("recommend_1000_mib", "its memory above what was held before, MiB", of_both("< 1,024"), is_race=False),
        Figure("predict_1_ms", "predict, 1 pair, ms", of_both("≥ 1")),
        Figure("predict_10000_ms", "predict, 10,000 pairs, ms", of_both("≥ 3")),
        Figure("evaluate_s", "evaluate, all test users, lists of 10, s", of_both("≥ 10", "≥ 20")),
        Figure("import_s", "import, s", of_both("≥ 1.5")),
        Figure("fit_peak_mib", "peak memory after fit, MiB", of_both("≤ 0.7")),
    ],
    prepare=prepare_serving,
    references=[PEER],
    epochs=3,
)

# ---- loading

LOADING = Table(
    title="Splitting and encoding a large frame: user, item, three columns of strings and three of integers",
    sides={
        "random_split": own("loading", split="random_split"),
        "split_by_ratio_chrono": own("loading", split="split_by_ratio_chrono"),
        "pandas.factorize": own("loading", split=None),
    },
    figures=[
        Figure(
            "seconds",
            "split and build_trainset against pandas.factorize of the eight columns, s",
            {"random_split": "≤ 2", "split_by_ratio_chrono": "≤ 2"},
        ),
        Figure("split_s", "of these the split, s"),
        Figure("encode_s", "of these build_trainset, s"),
        Figure(
            "bytes_a_row",
            "resident bytes a training row when the frames are gone",
            {"random_split": "≤ 60 bytes", "split_by_ratio_chrono": "≤ 60 bytes"},
        ),
    ],
    prepare=lambda table, folder: {},
    references=["pandas.factorize"],
    rows=20_000_000,
)

# ---- growth


def prepare_vocabulary(table: Table, folder: Path) -> dict[str, Any]:
    """All vocabularies are known from as many rows, and trained on as many."""
    settings = {"batch_size": 1024, "embed_size": 16}
    return {"known_rows": SIZES[-1], "items": 3_706, "settings": settings}


VOCABULARY = Table(
    title="A training step of DeepFM as the number of users grows: vectors of 16, batches of 1,024",
    sides={f"{size:,} users": own("vocabulary", users=size) for size in SIZES},
    figures=[
        Figure("step_ms", "a step, ms", {f"{size:,} users": "≤ 1.3" for size in SIZES[1:]}),
        Figure("peak_mib", "peak memory, MiB", is_race=False),
    ],
    prepare=prepare_vocabulary,
    references=[f"{SIZES[0]:,} users"],
    epochs=2,
    rows=2_000_000,
)


def prepare_catalogue(table: Table, folder: Path) -> dict[str, Any]:
    """A saved model for each number of items."""
    request = {"folder": str(folder), "columns": COLUMNS, "settings": dict(TUTORIAL)}
    for side in table.sides.values():
        ask(side.module, request | side.request | {"make": True})
    return request


CATALOGUE = Table(
    title="A list for one user as the number of items grows: the tutorial's DeepFM",
    sides={f"{size:,} items": own("catalogue", items=size) for size in CATALOGUES},
    figures=[
        Figure("call_ms", "a call, ms"),
        Figure("floor_ms", "the products of the layers behind the first, alone, ms"),
        Figure("times_floor", "a call, times its products", {f"{CATALOGUES[-1]:,} items": "≤ 3"}),
        Figure("peak_mib", "peak memory of the process, MiB", {f"{CATALOGUES[-1]:,} items": "≤ 1,536 MiB"}),
    ],
    prepare=prepare_catalogue,
)


def catalogue_sides() -> dict[str, Side]:
    """Algorithms with their layers, in both precisions."""
    sides = {"FM": own("catalogue_training", algorithm="FM", settings={})}
    plain: dict[str, Any] = {"hidden_units": [64, 32], "use_bn": False}
    for name in ("NFM", "DeepFM"):
        for title, settings in (
            ("64-32", plain),
            ("64-32, bfloat16", plain | BFLOAT16),
            ("64-32, batch norm", plain | {"use_bn": True}),
            ("64-32, dropout", plain | {"dropout_rate": 0.2}),
            ("128-64-32", {"hidden_units": [128, 64, 32], "use_bn": False}),
            ("128-64-32, batch norm, dropout", {"hidden_units": [128, 64, 32], "dropout_rate": 0.2}),
        ):
            sides[f"{name} {title}"] = own("catalogue_training", algorithm=name, settings=settings)
    return sides


CATALOGUE_TRAINING = Table(
    title="Training against the whole catalogue: 1,000 users, 1,400 items, 40,000 positives, vectors of 64",
    sides=catalogue_sides(),
    figures=[
        Figure(
            "pairs_per_s",
            "million pairs a second",
            {f"{name} {title}": "≥ 2.5" for name in ("NFM", "DeepFM") for title in ("64-32", "64-32, bfloat16")},
            more=True,
        ),
        Figure("pairs_per_cpu_s", "million pairs a second of a processor's time", more=True, is_race=False),
        Figure("peak_mib", "peak memory of the process, MiB", is_race=False),
    ],
    prepare=lambda table, folder: {
        "users": 1_000,
        "items": 1_400,
        "common": {"embed_size": 64, "num_neg": "all", "loss_type": "softmax", "batch_size": 8_192},
    },
    epochs=3,
    rows=40_000,
)

TABLES = {
    "training": TRAINING,
    "tutorial": TUTORIAL_SPEED,
    "serving": SERVING,
    "loading": LOADING,
    "vocabulary": VOCABULARY,
    "catalogue": CATALOGUE,
    "catalogue_training": CATALOGUE_TRAINING,
}
