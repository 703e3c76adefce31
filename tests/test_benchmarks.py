from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import serving, speed
from benchmarks.accuracy import chosen, report, search
from benchmarks.experiments import EXPERIMENTS, Entry, Experiment, Parts, encoded
from benchmarks.generated import BIG_COLUMNS, big_frame, covering, tutorial_frame, users_frame
from benchmarks.librecommender import COLUMNS
from benchmarks.measures import growth_mib, resident_mib
from benchmarks.own import catalogue, catalogue_training, loading, training, tutorial, vocabulary
from benchmarks.own import serving as own_serving
from benchmarks.page import PAGE, filled, plot, section
from benchmarks.peers import plain
from benchmarks.protocol import Record, ask
from benchmarks.rounds import Figure, Row, Side, Table, as_markdown, run_rounds, significant, spread, summary
from benchmarks.tables import TABLES
from recolib.algorithms import FM
from recolib.data import DatasetPure, random_split
from recolib.datasets import make_movies

ENTRIES = [(name, entry) for name, one in EXPERIMENTS.items() for entry in one.entries]


@pytest.fixture(scope="module")
def parts() -> dict[str, Parts]:
    """A split of made-up ratings for each task."""
    frame = make_movies(n_users=90, n_items=50, n_ratings=1500)
    liked = frame.assign(label=(frame["label"] > 3).astype(int))
    return {
        task: encoded(random_split(one, multi_ratios=[0.8, 0.1, 0.1]), {}, 150)
        for task, one in (("rating", frame), ("ranking", liked))
    }


@pytest.mark.parametrize(("name", "entry"), ENTRIES, ids=[f"{name}-{entry.name}" for name, entry in ENTRIES])
def test_all_settings_are_settings(name: str, entry: Entry) -> None:
    _, info = DatasetPure.build_trainset(make_movies(n_users=40, n_items=30, n_ratings=300))
    for changes in ({}, *entry.tried):
        model = entry.algorithm(EXPERIMENTS[name].task, info, **entry.settings | changes)
        assert model.model_name == entry.name
    if entry.fm is not None:
        assert FM(EXPERIMENTS[name].task, info, **entry.fm).embed_size == model.embed_size


def small(entry: Entry) -> Entry:
    """The entry with one epoch of few numbers."""
    sizes: dict[str, Any] = {"embed_size": 4, "batch_size": 256}
    fm = None if entry.fm is None else entry.fm | sizes | {"n_epochs": 1}
    return replace(entry, settings=entry.settings | sizes, fm=fm, n_epochs=1, tried=entry.tried[:1])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_prints_a_table(name: str, parts: dict[str, Parts], capsys: pytest.CaptureFixture[str]) -> None:
    experiment = EXPERIMENTS[name]
    made = replace(
        experiment, entries=tuple(map(small, experiment.entries)), parts=lambda split: parts[experiment.task]
    )
    report(made, 2)
    text = capsys.readouterr().out
    for entry in experiment.entries:
        assert text.count(f"model {entry.name}, run") == 2
        assert entry.published in text
    assert "±" in text
    search(replace(made, entries=made.entries[:1]))
    assert "test" not in capsys.readouterr().out.partition("as above")[2]


def test_models_and_data_are_chosen() -> None:
    def names(*asked: Any) -> list[tuple[str, list[str]]]:
        return [(name, [entry.name for entry in one.entries]) for name, one in chosen(*asked)]

    assert [name for name, _ in names(None, None, None)] == [*EXPERIMENTS]
    assert names("frappe", None, ["IFM"]) == [("rmse", ["IFM"])]
    assert names(None, "ids", ["NFM", "AFM"]) == [("ids", ["NFM"])]
    assert isinstance(next(chosen("ml-1m", None, None))[1], Experiment)


# ---- speed: what comes out of rounds

FAST = Figure("rows_per_s", "rows a second", {"ours": "≥ 2"}, more=True)
SLOW = Figure("step_ms", "a step, ms", {"ours": "≤ 1.3"})
LOSS = Figure("loss", "best loss", of_run=min, is_race=False)
MADE = Table("made up", {}, [FAST, SLOW, LOSS], lambda table, folder: {}, ["one", "other"])


def results_of(*rounds: list[tuple[str, int, list[Record]]]) -> dict[str, Any]:
    """Results as the JSON file has them."""
    return {
        "date": "2026-01-01",
        "machine": {
            "cpu": "a cpu",
            "cores": 2,
            "memory_gib": 8,
            "system": "Linux",
            "wait_policy": "PASSIVE",
            "revision": "abc",
        },
        "versions": {name: {"python": "3.11"} for one in rounds for name, _, _ in one},
        "rounds": [
            {"load": [0.1, 0.2], "runs": [dict(zip(("side", "threads", "records"), run, strict=True)) for run in one]}
            for one in rounds
        ],
    }


def test_ratios_are_of_a_round_and_against_the_best_peer() -> None:
    def one(ours: float, first: float, second: float) -> list[tuple[str, int, list[Record]]]:
        values = {"ours": ours, "one": first, "other": second}
        return [(name, 1, [{"rows_per_s": value, "step_ms": 100 / value}]) for name, value in values.items()]

    rows = summary(MADE, results_of(one(300, 100, 90), one(100, 50, 80), one(400, 100, 90)))
    by_name = {(row.figure.name, row.side): row for row in rows}
    ours = by_name["rows_per_s", "ours"]
    assert ours.values == (300, 100, 400)
    assert ours.ratios == (3, 2, 4)  # "one" has the better median
    assert by_name["rows_per_s", "one"].is_reference
    assert by_name["rows_per_s", "other"].ratios == pytest.approx((0.9, 1.6, 0.9))
    assert by_name["step_ms", "ours"].ratios == pytest.approx((1 / 3, 1 / 2, 1 / 4))  # "≤": times as much
    assert by_name["step_ms", "other"].ratios == pytest.approx((0.9, 1.6, 0.9))  # else: times better


def test_each_side_has_the_threads_that_suit_it() -> None:
    def one(slow: float) -> list[tuple[str, int, list[Record]]]:
        return [
            ("ours", 1, [{"epoch": 1, "rows_per_s": 5, "loss": 0.3}, {"epoch": 2, "rows_per_s": 7, "loss": 0.4}]),
            ("ours", 2, [{"epoch": 1, "rows_per_s": slow, "loss": 0.1}]),
            ("one", 1, [{"rows_per_s": 1.0}]),
            ("one", 2, [{"rows_per_s": 2.0}]),
        ]

    rows = summary(MADE, results_of(one(9), one(4), one(3)))  # the median decides, not the best round
    assert [(row.side, row.threads, row.values[0]) for row in rows] == [("ours", 1, 6), ("one", 2, 2), ("ours", 1, 0.3)]


def test_numbers_are_written_short() -> None:
    assert [significant(value) for value in (912_345, 99.96, 12.34, 0.5, 0.012345)] == [
        "912,000", "100", "12.3", "0.500", "0.0123",
    ]  # fmt: skip
    assert significant(0.79838, 4) == "0.7984"
    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)"
    assert spread([2.0]) == "2.00"


def test_a_row_says_what_who_how_much_and_the_goal() -> None:
    lines = as_markdown(
        [Row(FAST, "ours", 2, (4.0, 5.0), (2.0, 2.5)), Row(FAST, "one", 1, (2.0, 2.0), (1.0, 1.0), True)]
    )
    assert lines.splitlines()[2:] == [
        "| rows a second | ours | 2 | 4.50 (4.00 to 5.00) | 2.25 (2.00 to 2.50) | ≥ 2 |",
        "|  | one | 1 | 2.00 (2.00 to 2.00) | reference |  |",
    ]


def test_rounds_run_all_sides_and_name_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, int]] = []

    def answered(module: str, request: Record, python: str, threads: int) -> list[Record]:
        asked.append((module, request["seed"], threads))
        return [{"versions": {"python": python}}, {"rows_per_s": request["speed"] * request["common"]}]

    monkeypatch.setattr("benchmarks.rounds.ask", answered)
    sides = {"ours": Side("a", {"speed": 3}), "one": Side("b", {"speed": 2}, "elsewhere")}
    table = replace(MADE, sides=sides, prepare=lambda table, folder: {"common": 10})
    *_, results = run_rounds(table, 2, [1, 2], {None: "here", "elsewhere": "there"}, tmp_path)
    assert asked == [(module, seed, threads) for seed in (0, 1) for module in "ab" for threads in (1, 2)]
    assert results["versions"] == {"ours": {"python": "here"}, "one": {"python": "there"}}
    assert [row.ratios for row in summary(table, results)] == [(1.5, 1.5), (1.0, 1.0)]


def made_up(table: Table) -> dict[str, Any]:
    """Results of all sides of a table."""
    runs = [(name, 1, [{one.name: 10.0 + number for one in table.figures}]) for number, name in enumerate(table.sides)]
    return results_of(runs, runs)


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_a_place_for_each_table(name: str) -> None:
    text = section(name, made_up(TABLES[name]))
    for side in TABLES[name].sides:
        assert f"| {side} | 1 |" in text
    assert "2 cores (a cpu)" in text
    page = filled(PAGE.read_text(), {name: text})
    assert text in page
    assert filled(page, {name: text}) == page


def test_only_what_stands_between_the_comments_is_replaced() -> None:
    page = "before\n<!-- begin a -->\nold\n<!-- end a -->\nafter\n"
    assert filled(page, {"a": "new"}) == "before\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nafter\n"
    for broken in ("", page.replace("end a", "end b"), page + page):
        with pytest.raises(ValueError, match="begin a"):
            filled(broken, {"a": "new"})


def test_growth_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot({name: made_up(TABLES[name]) for name in ("vocabulary", "catalogue")}, tmp_path / "plot.svg")
    assert "</svg>" in (tmp_path / "plot.svg").read_text()


def test_tables_and_environments_are_chosen(tmp_path: Path) -> None:
    table = speed.chosen("training", ["recolib"], 1, None)
    assert ([*table.sides], table.epochs) == (["recolib"], 1)
    assert [*speed.pythons(table, {})] == [None]
    with pytest.raises(ValueError, match="no sides"):
        speed.chosen("training", ["nobody"], None, None)
    absent = str(tmp_path / "python")
    with pytest.raises(FileNotFoundError, match="make peers"):
        speed.pythons(TABLES["tutorial"], {"librecommender": absent})


# ---- speed: the sides


def test_generated_features_follow_from_ids() -> None:
    frame = big_frame(2000, n_users=50, n_items=30)
    for key, columns in (("user", BIG_COLUMNS["user_col"]), ("item", BIG_COLUMNS["item_col"])):
        assert (frame.groupby(key)[columns].nunique() == 1).all(axis=None)
    assert sum(pd.api.types.is_string_dtype(frame[column]) for column in BIG_COLUMNS["sparse_col"]) == 3
    assert frame.equals(big_frame(2000, n_users=50, n_items=30))
    assert np.bincount(covering(103, 50)).tolist() == [3] * 3 + [2] * 47
    assert users_frame(100, 60, 5)["user"].nunique() == 60
    made = tutorial_frame(40, n_users=70)
    assert (made["user"].nunique(), made["item"].nunique()) == (70, 40)
    assert {*COLUMNS["user_col"], *COLUMNS["item_col"]} <= {*made}


SMALL = {"embed_size": 4, "hidden_units": [8], "batch_size": 64, "lr": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small task's files."""
    path = tmp_path_factory.mktemp("speed")
    frame = make_movies(n_users=40, n_items=30, n_ratings=600)
    frame = frame.assign(occupation=frame["age"] // 10, genre3=frame["genre1"])
    frame.assign(label=(frame["label"] > 3).astype(int)).to_csv(path / "ratings.csv", index=False)
    frame[:500].to_csv(path / "train.csv", index=False)
    frame[500:].to_csv(path / "test.csv", index=False)
    frame[500:].assign(label=[0, 1] * 50).to_csv(path / "pairs.csv", index=False)
    return path


def request(folder: Path, **more: object) -> Record:
    """What a side is asked."""
    files = {name: str(folder / f"{name}.csv") for name in ("ratings", "train", "test", "pairs")}
    common = {"threads": torch.get_num_threads(), "seed": 0, "epochs": 2, "columns": COLUMNS, "changes": {}}
    return {**files, **common, "sizes": [500, 50, 50], "folder": str(folder), **more}


SETTINGS = SMALL | {"dropout_rate": 0.1, "reg": 1e-6}
OWN: dict[str, tuple[Callable[[Record], Iterator[Record]], dict[str, Any]]] = {
    "training": (training.work, {"settings": SETTINGS}),
    "training plain": (plain.work, {"settings": SETTINGS}),
    "tutorial": (tutorial.work, {"settings": SMALL | {"n_epochs": 2}}),
    "serving": (own_serving.work, {"settings": SMALL | {"n_epochs": 1}, "chunk": 1000}),
    "loading random_split": (loading.work, {"rows": 3000, "split": "random_split"}),
    "loading pandas": (loading.work, {"rows": 3000, "split": None}),
    "catalogue_training": (
        catalogue_training.work,
        {
            "algorithm": "NFM",
            "common": SMALL | {"num_neg": "all"},
            "settings": {"use_bn": False},
            "users": 50,
            "items": 100,
            "rows": 300,
        },
    ),
    "vocabulary": (vocabulary.work, {"settings": SMALL, "known_rows": 200, "users": 150, "items": 20, "rows": 128}),
}


@pytest.mark.filterwarnings("ignore:.*unknown user", "ignore:.*lists are shorter")
@pytest.mark.parametrize("name", OWN)
def test_a_side_measures_what_its_table_shows(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "import_seconds", len)  # of a fresh process: slow, and no part of the side
    work, more = OWN[name]
    records = [*work(request(folder, **more))]
    measured = {key: value for record in records for key, value in record.items()}
    figures = {one.name for one in TABLES[name.split()[0]].figures} & {*measured}
    assert figures >= (
        {"seconds"} if name == "loading pandas" else {one.name for one in TABLES[name.split()[0]].figures}
    )
    assert all(np.isfinite(measured[figure]) for figure in figures)


def test_the_plain_peer_learns() -> None:
    users, items = np.divmod(np.arange(900), 30)
    torch.manual_seed(0)
    model = plain.DeepFM(30, 30, 4, [8], 0.0)
    codes = torch.from_numpy(np.stack([users, items], axis=1))
    labels = torch.from_numpy(((users + items) % 2).astype(np.float32))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses: list[float] = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy(model(codes), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.6
    assert losses[-1] < 0.1


def test_a_catalogue_is_served_from_a_file(folder: Path) -> None:
    asked = request(folder, settings=SMALL, items=60)
    assert [*catalogue.work(asked | {"make": True})]
    [times, peak] = catalogue.work(asked)
    assert {*times, *peak} >= {one.name for one in TABLES["catalogue"].figures}
    assert catalogue.flops_an_item([128, 64, 32]) == 2 * (128 * 64 + 64 * 32 + 32)


def test_a_side_is_a_process(folder: Path) -> None:
    about, *records = ask("benchmarks.own.training", request(folder, settings=SETTINGS))
    assert {"python", "recolib", "torch"} <= {*about["versions"]}
    assert [record["epoch"] for record in records if "epoch" in record] == [1, 2]
    with pytest.raises(RuntimeError, match=r"benchmarks\.nobody failed:[\s\S]*No module named"):
        ask("benchmarks.nobody", {})


def test_memory_of_a_call_is_its_rise() -> None:
    assert resident_mib() > 10
    assert 60 < growth_mib(lambda: np.ones(8 * 2**20).sum()) < 100  # 64 MiB, given back before the call ends


def test_each_scenario_of_the_server_has_its_rows() -> None:
    pytest.importorskip("fastapi", reason='there is no fastapi: pip install "recolib[serving]"')
    from benchmarks.server import SCENARIOS
    from benchmarks.server_table import OF_SCENARIO, server_section

    assert OF_SCENARIO.keys() == SCENARIOS.keys()
    results = json.loads((PAGE.parents[1] / "benchmarks" / "results" / "server.json").read_text())
    assert server_section(results) in PAGE.read_text()
