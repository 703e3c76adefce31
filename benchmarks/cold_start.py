"""Cold start: ``python -m benchmarks.cold_start [users] [items] [apps] [--holdouts 5] [--quick]``.

``users``
    A fifth of the users of MovieLens 1M is held out whole, and a tenth more validates. Relevant is every movie that a
    held-out user rated. nDCG@10 of the most popular movies, of the most popular ones in the user's segments, of the
    mean user, of features, and of features with a ``history`` of five movies, which are drawn at random from the
    user's, or are the first by time; this last is measured on the movies beside these five, and so is what stands
    beside it.
``items``
    A fifth of the movies is held out whole, and a tenth more validates. AUC of ratings above three stars against the
    others, over the ratings of held-out movies by users who are known. What is known of a rating beside user and movie
    is when it was given, and how many the user had given before.
``apps``
    The same of Frappe's apps: AUC of uses of held-out apps against as many pairs with another held-out app that the
    user never used.

In each hold-out the epoch of a model is chosen on the users, movies or apps that validate, which training does not see
either, and those that are held out are only measured; for users by the product of the figures of features, of the
history drawn at random, and of known users. Settings were chosen on the validation part of the first
hold-out; ``--search`` shows validation figures of what was tried. The interval is Student's, 95 %, over the hold-outs.
The cost of ``id_dropout`` is measured on a twentieth of the rows of the users who are known, drawn at random, against a
model that is the same but for it, and has an epoch of its own by another twentieth.

What was measured goes to ``benchmarks/results/cold_start.json``, and with its picture to ``docs/cold_start.md``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats

from benchmarks.page import RESULTS, filled
from benchmarks.protocol import ROOT
from recolib import UnknownIdWarning
from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.data.interactions import Interactions
from recolib.datasets import fetch_movielens
from recolib.evaluation import evaluate
from recolib.evaluation.metrics import ndcg, roc_auc
from recolib.recommender import Recommender

K, N_BROUGHT = 10, 5
GROUP = "sex_and_age"
PAGE, RESULT = ROOT / "docs" / "cold_start.md", RESULTS / "cold_start.json"
Figures = dict[str, float]
Lists = Mapping[int, Sequence[Any]]


@dataclass(frozen=True)
class Contender:
    """A model in an experiment.

    Attributes
    ----------
    algorithm, settings
        What is trained.
    n_epochs
        How many epochs are tried at most.
    tried
        Changes of the settings that did not validate better.
    """

    algorithm: type[Recommender]
    settings: dict[str, Any]
    n_epochs: int
    tried: tuple[dict[str, Any], ...] = field(default=())


SEGMENTS = {
    "sex": ["sex"], "age": ["age"], "occupation": ["occupation"], "sex and age": ["sex", "age"],
}  # fmt: skip
PEOPLE = ["sex", "age", "occupation"]
WHEN = ["n_before", "days", "date"]
HISTORIES = ("random five", "first five")
USERS = Contender(
    FM,
    {
        "num_neg": "all", "loss_type": "softmax", "lr": 5e-3, "batch_size": 256, "embed_size": 64, "prior": 3.0,
        "embed_dropout": (0.5, 0.0), "id_dropout": (0.1, 0.0),
    },
    60,
    ({"embed_size": 32}, {"embed_size": 128}, {"prior": 1.0}, {"id_dropout": (0.2, 0.0)}),
)  # fmt: skip
ALONE = {"id_dropout": (0.3, 0.0)}
"""What is changed for a model that is asked about new users without a history alone."""
ITEMS = Contender(
    FM,
    {"lr": 2e-3, "batch_size": 4096, "embed_size": 16, "id_dropout": (0.0, 0.9), "ema": 0.998},
    6,
    ({"id_dropout": (0.0, 0.5)}, {"id_dropout": 0.5}, {"embed_size": 32, "embed_dropout": 0.2}, {"reg": 1e-5}),
)
APPS = Contender(
    FM,
    {"lr": 3e-3, "batch_size": 4096, "num_neg": 4, "embed_size": 16, "id_dropout": (0.0, 0.5), "ema": 0.99},
    6,
    ({"id_dropout": 0.5}, {"id_dropout": (0.0, 0.9)}),
)


def cut(ids: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A fifth of the ids to test, a tenth to validate, and the rest, at random."""
    ids = np.random.default_rng(seed).permutation(np.unique(ids))
    n = len(ids) // 5
    return ids[:n], ids[n : n + n // 2], ids[n + n // 2 :]


def train(
    model: Recommender,
    data: Interactions,
    neg_sampling: bool,
    validate: Callable[[], float],
    test: Callable[[], Figures],
) -> Figures:
    """The test figures at the epoch that validates best, with its number and validation figure."""
    best: Figures = {"valid": -math.inf}

    def look(record: Mapping[str, float]) -> None:
        valid = validate()
        if valid > best["valid"]:
            best.update(valid=valid, epoch=record["epoch"], **test())

    model.fit(data, neg_sampling, verbose=0, lr_schedule="linear", callbacks=[look])
    return best


# ---- new users


@dataclass(frozen=True, eq=False)
class Newcomers:
    """Users whom training does not see: who they are, their features, what they met, and five of it that they bring."""

    users: list[Any]
    features: pd.DataFrame
    met: dict[Any, set[Any]]
    brought: dict[Any, list[Any]]
    rest: dict[Any, set[Any]]

    @classmethod
    def of(cls, frame: pd.DataFrame, users: np.ndarray, seed: int | None = None) -> Newcomers:
        """Of the rows of these users; the five are the first in time, or with a seed drawn at random."""
        rows = frame[frame["user"].isin(users)].sort_values(["user", "time"], kind="stable")
        features = rows.drop_duplicates("user")[["user", *PEOPLE, GROUP]].reset_index(drop=True)
        rows = rows if seed is None else rows.sample(frac=1, random_state=seed)
        met = {user: list(dict.fromkeys(items)) for user, items in rows.groupby("user")["item"]}
        met = {user: items for user, items in met.items() if len(items) > N_BROUGHT}
        return cls(
            list(met),
            features[features["user"].isin(list(met))].reset_index(drop=True),
            {user: set(items) for user, items in met.items()},
            {user: items[:N_BROUGHT] for user, items in met.items()},
            {user: set(items[N_BROUGHT:]) for user, items in met.items()},
        )

    def ndcg(self, lists: Lists, relevant: Mapping[Any, set[Any]]) -> float:
        """nDCG@10 of a list for each user."""
        hits = np.zeros((len(self.users), K), bool)
        for row, user in zip(hits, self.users, strict=True):
            row[: len(lists[user][:K])] = [item in relevant[user] for item in lists[user][:K]]
        return ndcg(hits, np.array([len(relevant[user]) for user in self.users]))

    def beside(self, lists: Lists) -> float:
        """nDCG@10 on the items beside those that users bring, of longer lists without these."""
        left = {user: [item for item in lists[user] if item not in self.brought[user]] for user in self.users}
        return self.ndcg(left, self.rest)


Known = Mapping[str, Newcomers]
"""The same users with different histories, by the name of these."""


def popularity(train_rows: pd.DataFrame) -> list[Any]:
    """Items by the number of their users."""
    return train_rows.groupby("item")["user"].nunique().sort_values(ascending=False, kind="stable").index.to_list()


def popular_in_segments(train_rows: pd.DataFrame, people: pd.DataFrame, columns: list[str]) -> dict[int, list[Any]]:
    """For each user the most popular items with those who are like him in these columns, then those of everybody."""
    everybody = popularity(train_rows)[: 4 * K]
    if not columns:
        return dict.fromkeys(people["user"], everybody)
    tops = {key: popularity(rows)[: 4 * K] for key, rows in train_rows.groupby(columns)}
    keys = people[columns].itertuples(index=False, name=None)
    return {
        user: list(dict.fromkeys([*tops.get(key, []), *everybody]))
        for user, key in zip(people["user"], keys, strict=True)
    }


def of_popularity(train_rows: pd.DataFrame, new: Known) -> Figures:
    """nDCG of the most popular items, and of those of the user's segments, on everything and beside what they bring."""
    figures: Figures = {}
    for name, columns in {"popular": [], **SEGMENTS}.items():
        for history, people in new.items():
            lists = popular_in_segments(train_rows, people.features, columns)
            figures |= {name: people.ndcg(lists, people.met), f"{name}, beside {history}": people.beside(lists)}
    return figures


def of_model(model: Recommender, new: Known) -> Figures:
    """nDCG of the mean user, of features, and of features with a history."""
    figures: Figures = {}
    for history, people in new.items():
        feats: dict[str, Any] = {"user_feats": people.features, "cold_start": "features"}
        average = model.recommend_user(people.users, K)
        features = model.recommend_user(people.users, K + N_BROUGHT, **feats)
        average_id = model.recommend_user(people.users, K, user_feats=people.features)
        folded = model.recommend_user(people.users, K, user_feats=people.features, history=people.brought)
        figures |= {"average": people.ndcg(average, people.met), "features": people.ndcg(features, people.met)}
        figures |= {"features, mean id": people.ndcg(average_id, people.met)}
        figures |= {f"features, beside {history}": people.beside(features)}
        figures |= {f"features and {history}": people.ndcg(folded, people.rest)}
    return figures


def users(frame: pd.DataFrame, contender: Contender, seed: int, with_test: bool = True) -> Figures:
    """New users, and what ``id_dropout`` costs the known ones, of one hold-out."""
    frame = frame.assign(**{GROUP: frame["sex"].astype(str) + frame["age"].astype(str)})
    test, valid, known = cut(frame["user"].to_numpy(), seed)
    new = {
        name: {history: Newcomers.of(frame, who, draw) for history, draw in zip(HISTORIES, (seed, None), strict=True)}
        for name, who in (("test", test), ("valid", valid))
    }
    rows = frame[frame["user"].isin(known)]
    part = np.random.default_rng([seed, 1]).permutation(len(rows)) * 20 // len(rows)
    train_rows, known_valid, known_test = rows[part > 1], rows[part == 0], rows[part == 1]
    people = [*PEOPLE, GROUP]
    data, info = DatasetFeat.build_trainset(train_rows, user_col=people, sparse_col=people)
    sets = [DatasetFeat.build_evalset(some, data_info=info) for some in (known_valid, known_test)]

    def of_known(model: Recommender, which: int) -> float:
        return evaluate(model, sets[which], neg_sampling=True, metrics="ndcg", k=K)["ndcg"]

    def all_three(model: Recommender) -> float:
        figures = of_model(model, {HISTORIES[0]: new["valid"][HISTORIES[0]]})
        return figures["features"] * figures[f"features and {HISTORIES[0]}"] * of_known(model, 0)

    def trained(changes: dict[str, Any], validate: Callable[[Recommender], float], look: Callable[..., Figures]):
        settings = contender.settings | {"n_epochs": contender.n_epochs, "seed": seed} | changes
        model = contender.algorithm("ranking", info, **settings)
        return train(model, data, True, lambda: validate(model), lambda: look(model))

    part_of = new["test" if with_test else "valid"]
    which = int(with_test)
    figures = of_popularity(train_rows, part_of)
    figures |= trained({}, all_three, lambda model: of_model(model, part_of) | {"known": of_known(model, which)})

    def of_features(model: Recommender, people: Newcomers) -> float:
        feats: dict[str, Any] = {"user_feats": people.features, "cold_start": "features"}
        return people.ndcg(model.recommend_user(people.users, K, **feats), people.met)

    valid_people, people_of = new["valid"][HISTORIES[0]], part_of[HISTORIES[0]]
    alone = trained(
        ALONE,
        lambda model: of_features(model, valid_people),
        lambda model: {"features": of_features(model, people_of)},
    )
    figures |= {"features, a model for them": alone["features"], "epoch, a model for them": alone["epoch"]}
    without = trained(
        {"id_dropout": 0.0}, lambda model: of_known(model, 0), lambda model: {"known": of_known(model, which)}
    )
    return figures | {"known, no id_dropout": without["known"], "epoch, no id_dropout": without["epoch"]}


# ---- new items


def auc(model: Recommender, rows: pd.DataFrame, how: str = "features") -> float:
    """AUC of rows of unknown items, scored by their features alone or with the mean item's."""
    columns = [*model.data_info.item_col, *model.data_info.context_col]
    scores = model.predict(rows["user"].to_numpy(), rows["item"].to_numpy(), feats=rows[columns], cold_start=how)
    return roc_auc(rows["label"].to_numpy(np.float64), np.asarray(scores, np.float64))


def new_items(
    parts: Mapping[str, pd.DataFrame],
    columns: dict[str, Any],
    contender: Contender,
    seed: int,
    neg_sampling: bool,
    with_test: bool = True,
) -> Figures:
    """AUC of new items by a model with ``id_dropout``, and by the same without."""
    data, info = DatasetFeat.build_trainset(parts["train"], **columns)
    figures: Figures = {}
    for name, changes in (("features", {}), ("features, no id_dropout", {"id_dropout": 0.0}))[: 1 + with_test]:
        settings = contender.settings | {"n_epochs": contender.n_epochs, "seed": seed} | changes
        model = contender.algorithm("ranking", info, **settings)
        part = parts["test" if with_test else "valid"]
        best = train(
            model,
            data,
            neg_sampling,
            lambda model=model: auc(model, parts["valid"]),
            lambda model=model, part=part: {"auc": auc(model, part)},
        )
        figures |= {name: best["auc"], f"{name}, epoch": best["epoch"], f"{name}, valid": best["valid"]}
    return figures


def items(frame: pd.DataFrame, contender: Contender, seed: int, with_test: bool = True) -> Figures:
    """New movies, of one hold-out."""
    frame = with_moments(frame).assign(
        label=(frame["label"] > 3).astype(np.int64), age_of_movie=((frame["year"] - 1985) / 10) ** 2
    )
    test, valid, known = cut(frame["item"].to_numpy(), seed)
    parts = {
        name: frame[frame["item"].isin(some)] for name, some in (("train", known), ("valid", valid), ("test", test))
    }
    mean = parts["train"].groupby("user")["label"].mean()
    rows = parts["test" if with_test else "valid"]
    of_user = rows["user"].map(mean).fillna(mean.mean()).to_numpy(np.float64)
    figures = {"mean of the user": roc_auc(rows["label"].to_numpy(np.float64), of_user)}
    return figures | new_items(parts, columns_of(frame), contender, seed, False, with_test)


def with_moments(frame: pd.DataFrame) -> pd.DataFrame:
    """What is known when a rating is asked for: how many the user gave before, since when, and the date."""
    in_time = frame.sort_values(["user", "time"], kind="stable").groupby("user")
    since = frame["time"] - frame.groupby("user")["time"].transform("min")
    moments = np.log1p(in_time.cumcount()), np.log1p(since / 86_400), (frame["time"] - frame["time"].min()) / 8.64e6
    return frame.assign(**dict(zip(WHEN, moments, strict=True)))


def apps(frame: pd.DataFrame, contender: Contender, seed: int, with_test: bool = True) -> Figures:
    """New apps, of one hold-out."""
    test, valid, known = cut(frame["item"].to_numpy(), seed)
    parts = {
        name: frame[frame["item"].isin(some)] for name, some in (("train", known), ("valid", valid), ("test", test))
    }
    uses = frame.groupby("user")["item"].agg(set)
    for number, name in enumerate(("valid", "test")):
        parts[name] = with_unused(parts[name][parts[name]["user"].isin(parts["train"]["user"])], uses, [seed, number])
    counts = parts["train"].groupby("category")["user"].count() / parts["train"].groupby("category")["item"].nunique()
    rows = parts["test" if with_test else "valid"]
    of_category = rows["category"].map(counts).fillna(0).to_numpy(np.float64)
    figures = {"popularity of the category": roc_auc(rows["label"].to_numpy(np.float64), of_category)}
    return figures | new_items(parts, OF_APPS, contender, seed, True, with_test)


def with_unused(rows: pd.DataFrame, uses: pd.Series, seed: list[int]) -> pd.DataFrame:
    """The uses, and as many rows with another of their apps, drawn from those that the user never used."""
    rng = np.random.default_rng(seed)
    of_app = rows.drop_duplicates("item").set_index("item")[APP_COLUMNS]
    candidates = of_app.index.to_numpy()
    drawn = rng.choice(candidates, len(rows))
    used = uses.loc[rows["user"]].to_list()
    for _ in range(100):
        again = np.array([item in own for item, own in zip(drawn, used, strict=True)])
        if not again.any():
            break
        drawn[again] = rng.choice(candidates, again.sum())
    others = rows.assign(item=drawn, label=0)
    others[APP_COLUMNS] = of_app.loc[drawn].to_numpy()
    return pd.concat([rows, others], ignore_index=True)


# ---- data


def columns_of(frame: pd.DataFrame) -> dict[str, Any]:
    """The columns of MovieLens: people, genres, the year, and what is made of it."""
    genres = [name for name in frame if name.startswith("genre")]
    numbers = [name for name in ("year", "age_of_movie") if name in frame]
    return {
        "user_col": PEOPLE,
        "item_col": [*genres, *numbers],
        "context_col": WHEN,
        "sparse_col": PEOPLE,
        "dense_col": [*numbers, *WHEN],
        "multi_sparse_col": [genres],
    }


def movies() -> pd.DataFrame:
    """MovieLens 1M."""
    return fetch_movielens("1m")


APP_COLUMNS = ["category", "downloads", "language", "developer", "is_free", "stars"]
SITUATION = ["daytime", "weekday", "isweekend", "homework", "cost", "weather", "country"]
OF_APPS: dict[str, Any] = {
    "item_col": APP_COLUMNS,
    "context_col": SITUATION,
    "sparse_col": [*APP_COLUMNS[:-1], *SITUATION],
    "dense_col": ["stars"],
}


def frappe() -> pd.DataFrame:
    """The log of Frappe with what is known of the apps, from the folder ``frappe`` of ``RECOLIB_DATA_HOME``."""
    folder = Path(os.environ.get("RECOLIB_DATA_HOME", ".")) / "frappe"
    for name in ("frappe_logs.parquet", "frappe_apps.parquet"):
        if not (folder / name).exists():
            raise SystemExit(f"put {name} into {folder.resolve()}, or set RECOLIB_DATA_HOME to the folder above")
    logs, known = pd.read_parquet(folder / "frappe_logs.parquet"), pd.read_parquet(folder / "frappe_apps.parquet")
    known = known.assign(
        item=known["item"].astype(np.int64),
        is_free=known["price"].eq("Free").astype(str),
        stars=pd.to_numeric(known["rating"], errors="coerce"),
    )
    frame = logs[["user", "item", *SITUATION]].merge(known[["item", *APP_COLUMNS]], on="item")
    return frame.drop_duplicates(["user", "item", *SITUATION]).assign(label=1).reset_index(drop=True)


# ---- reports

Experiment = tuple[Callable[[], pd.DataFrame], Callable[..., Figures], Contender]
EXPERIMENTS: dict[str, Experiment] = {
    "users": (movies, users, USERS),
    "items": (movies, items, ITEMS),
    "apps": (frappe, apps, APPS),
}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half of Student's 95 % interval of it; NaN of a single value."""
    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5 if n > 1 else math.nan
    return float(np.mean(values)), float(half)


def shown(values: Sequence[float], digits: int = 4) -> str:
    """The mean ± half of the interval."""
    mean, half = interval(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def rows_of(name: str, outcomes: Sequence[Figures]) -> list[tuple[str, list[float], list[float]]]:
    """For each row of a table its name, its figures, and their ratios or differences to what it is set against."""

    def of(key: str) -> list[float]:
        return [one[key] for one in outcomes]

    def against(key: str, other: str) -> list[float]:
        return [one[key] / one[other] for one in outcomes]

    if name != "users":
        keys = [key for key in outcomes[0] if not key.endswith((", epoch", ", valid"))]
        return [(key, of(key), [one[key] - one[keys[-1]] for one in outcomes]) for key in keys]
    names = {"popular": "popular", "average": "average"}
    names |= {key: f"popular, by {key}" for key in SEGMENTS} | {"features": "features"}
    rows = [(title, of(key), against(key, "popular")) for key, title in names.items()]
    rows += [(key, of(key), against(key, "popular")) for key in ("features, mean id", "features, a model for them")]
    for history in HISTORIES:
        base = f"popular, beside {history}"
        beside = {f"{key}, beside {history}": f"{title}, beside {history}" for key, title in names.items()}
        beside |= {f"features and {history}": f"features and {history}"}
        rows += [(title, of(key), against(key, base)) for key, title in beside.items() if "average" not in key]
    return [*rows, ("known users", of("known"), against("known", "known, no id_dropout"))]


def as_markdown(name: str, outcomes: Sequence[Figures]) -> str:
    """The table of an experiment."""
    first, second = (
        ("nDCG@10", "of the popular; of known users: of those without `id_dropout`")
        if name == "users"
        else ("AUC", "more than without `id_dropout`")
    )
    lines = [f"| | {first} | {second} |", "|---|---|---|"]
    lines += [f"| {title} | {shown(figures)} | {shown(ratios)} |" for title, figures, ratios in rows_of(name, outcomes)]
    return "\n".join(lines)


def plot(results: Mapping[str, Sequence[Figures]], file: Path) -> None:
    """Draw the figures of each experiment, a dot and an interval for each row."""
    from matplotlib import rc_context  # all else does without
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "recolib", "font.size": 9}):
        tables = {name: rows_of(name, outcomes) for name, outcomes in results.items()}
        tables = {name: [row for row in rows if row[0] != "known users"] for name, rows in tables.items()}
        heights = [len(rows) + 1.5 for rows in tables.values()]
        figure = Figure(figsize=(8, 0.24 * sum(heights) + 0.5), layout="constrained")
        panels = figure.subplots(len(tables), 1, height_ratios=heights, squeeze=False)[:, 0]
        for panel, (name, rows) in zip(panels, tables.items(), strict=True):
            is_users = name == "users"
            spans = [interval(ratios if is_users else figures) for _, figures, ratios in rows]
            for at, ((title, _, _), (mean, half)) in enumerate(zip(rows, spans, strict=True)):
                color = "tab:blue" if title.startswith("features") else "tab:gray"
                panel.errorbar(mean, at, xerr=0 if math.isnan(half) else half, fmt="o", color=color, capsize=2, ms=4)
            panel.set_yticks(range(len(rows)), [title for title, _, _ in rows])
            panel.invert_yaxis()
            panel.grid(axis="x", alpha=0.3)
            panel.set_title({"users": "New users", "items": "New movies", "apps": "New apps"}[name], loc="left")
            panel.set_xlabel("nDCG@10, of that of the popular" if is_users else "AUC")
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None, dpi=150)


def write_page(results: Mapping[str, Sequence[Figures]], page: Path = PAGE) -> None:
    """Put the tables into the page, and the picture beside it."""
    tables = {name: as_markdown(name, outcomes) for name, outcomes in results.items()}
    page.write_text(filled(page.read_text("utf-8"), tables), "utf-8")
    plot(results, page.with_suffix(".svg"))


def keep(results: Mapping[str, Sequence[Figures]], file: Path) -> dict[str, Sequence[Figures]]:
    """All that was measured, what is new in the place of what it was."""
    before = json.loads(file.read_text("utf-8")) if file.exists() else {}
    merged = {name: (before | dict(results))[name] for name in EXPERIMENTS if name in before | dict(results)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(merged, indent=1) + "\n", "utf-8")
    return merged


def search(name: str, frame: pd.DataFrame, seeds: Sequence[int]) -> None:
    """Print the validation figures of all settings that were tried, the chosen ones first."""
    _, experiment, contender = EXPERIMENTS[name]
    for changes in ({}, *contender.tried):
        one = replace(contender, settings=contender.settings | changes)
        found = [experiment(frame, one, seed, with_test=False) for seed in seeds]
        line = {key: f"{np.mean([figures[key] for figures in found]):.4f}" for key in found[0]}
        print(changes or contender.settings, line, flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", help=f"of {', '.join(EXPERIMENTS)}; by default all")
    parser.add_argument("--holdouts", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one hold-out, two epochs; nothing is kept")
    parser.add_argument("--search", action="store_true", help="validation figures of what was tried; nothing is kept")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; on a shared machine more are slower")
    parser.add_argument("--json", type=Path, default=RESULT, help="where what was measured is kept")
    arguments = parser.parse_args()
    names = arguments.experiments or list(EXPERIMENTS)
    if arguments.holdouts < 1 or not set(names) <= set(EXPERIMENTS):
        parser.error(f"--holdouts must be at least 1, and experiments be of {', '.join(EXPERIMENTS)}")
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", UnknownIdWarning)
    start, results = time.perf_counter(), dict[str, Sequence[Figures]]()
    for name in names:
        read, experiment, contender = EXPERIMENTS[name]
        frame = read()
        if arguments.quick:
            contender = replace(contender, n_epochs=2)
        if arguments.search:
            search(name, frame, range(arguments.holdouts))
            continue
        outcomes: list[Figures] = []
        for seed in range(1 if arguments.quick else arguments.holdouts):
            outcomes.append(experiment(frame, contender, seed))
            print(name, seed, {key: round(value, 4) for key, value in outcomes[-1].items()}, flush=True)
        results[name] = outcomes
        print(f"{as_markdown(name, outcomes)}\n", flush=True)
    if results and not arguments.quick:
        merged = keep(results, arguments.json)
        if arguments.json == RESULT:
            write_page(merged)
    print(f"{(time.perf_counter() - start) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
