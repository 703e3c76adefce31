"""Checkpoints: a run that was killed at any moment, and resumed, ends as the undisturbed one, to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_files import forged, opened
from worlds import World, make_world

import recolib
from recolib import EarlyStopping, files
from recolib.algorithms import AFM, FM, NFM, DCNv2, DeepFM, FinalMLP, WideDeep
from recolib.artifacts.model_file import SavedModel
from recolib.data import DatasetPure
from recolib.evaluation.measurement import Measurement
from recolib.files import UNFINISHED
from recolib.recommender import Recommender
from recolib.training.trainer import Trainer

HERE = Path(__file__).parent
COMMON: dict[str, Any] = {"embed_size": 4, "num_neg": 1, "lr": 0.03, "batch_size": 64, "n_epochs": 5, "device": "cpu"}
WEIGHTED = "weighted"
STOPPING = {"metrics": ["loss", "ndcg"], "eval_user_num": 10, "filter_consumed": False}
CASES: dict[str, tuple[type[Recommender], str, dict[str, Any], dict[str, Any]]] = {
    "average and decay": (FM, "ranking", {"ema": 0.9, "lr_decay": True, "dropout_rate": 0.1, "use_bn": True}, {}),
    "dropout everywhere": (
        DeepFM,
        "ranking",
        {"hidden_units": (6,), "dropout_rate": 0.2, "embed_dropout": 0.1, "id_dropout": 0.2, "sampler": "unconsumed"},
        {"lr_schedule": "cosine"},
    ),
    "a rating, stopped early, with weights": (
        NFM,
        "rating",
        {"hidden_units": (6,), "lr": 0.2, "n_epochs": 12},
        {"early_stopping": EarlyStopping("loss", 2), WEIGHTED: True},
    ),
    "adagrad, warmed up": (AFM, "ranking", {"attention_size": 3, "optimizer": "adagrad", "pair_dropout": 0.1}, {
        "lr_schedule": "warmup_cosine"
    }),
    "lazy Adam, stopped early with an average": (
        WideDeep,
        "ranking",
        {"hidden_units": (6,), "optimizer": "lazy_adam", "ema": 0.9, "n_epochs": 12, "lr": 0.1, "seed": 1},
        {**STOPPING, "early_stopping": EarlyStopping("ndcg", 1, 0.01), "lr_schedule": "linear"},
    ),
    "epochs run out before patience": (
        DCNv2,
        "ranking",
        {"hidden_units": (6,), "cross_layers": 1, "optimizer": "rowwise_adagrad", "lr": 0.3, "seed": 3},
        {**STOPPING, "early_stopping": EarlyStopping("ndcg", 20), WEIGHTED: True},
    ),
    "the last epoch is kept": (FinalMLP, "ranking", {"hidden_units": (6,), "second_hidden_units": (4,)}, {
        "early_stopping": EarlyStopping("train_loss", 3, restore_best=False), "shuffle": False
    }),
    "a frozen start": (DeepFM, "ranking", {"hidden_units": (6,), "ema": 0.9, "use_bn": False}, {
        "init_from": True, "freeze_fm": True
    }),
    "a second fit": (DeepFM, "ranking", {"hidden_units": (6,), "ema": 0.9, "n_epochs": 3}, {
        "before": 2, "early_stopping": EarlyStopping("train_loss", 2), "lr_schedule": "linear"
    }),
}  # fmt: skip


def world_of(task: str, arguments: dict[str, Any]) -> World:
    world = make_world(task, "all kinds")
    weights = {"weight": np.arange(len(world.frame)) % 3} if arguments.get(WEIGHTED) else {}
    return World(world.frame.assign(**weights), world.columns, {"weight_col": "weight"} if weights else {})


def train(case: str, path: Path | None, verbose: int = 0, **more: Any) -> Recommender:
    """One start of a program that may be started any number of times."""
    cls, task, settings, asked = CASES[case]
    arguments = {**asked, **more}
    world = world_of(task, arguments)
    data, info = world.build()
    model = cls(task, info, **{**COMMON, **settings})
    file = None if path is None else path.with_name(f"{path.name}.safetensors")
    if arguments.pop("before", 0) and not (file is not None and file.exists()):
        model.n_epochs = 2
        model.fit(data.take(np.arange(100)), task == "ranking", verbose=0)
        model.n_epochs = settings["n_epochs"]
    if arguments.pop("init_from", False):
        fm = FM(task, info, embed_size=4, n_epochs=1, use_bn=False)
        arguments["init_from"] = fm.fit(data.take(np.arange(100)), task == "ranking", verbose=0)
    arguments.pop(WEIGHTED, None)
    if "metrics" in arguments or case.startswith("a rating"):
        arguments["eval_data"] = world.frame.tail(150)
    where = {} if path is None else {"checkpoint": path, "resume": path}
    return model.fit(data, task == "ranking", verbose, **where, **arguments)


# ---- what is compared


def told(records: Any) -> list[dict[str, float]]:
    times = {"seconds", "rows_per_second"}
    return [{name: value for name, value in record.items() if name not in times} for record in records]


def same_tensors(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def same(one: Recommender, other: Recommender) -> bool:
    records = told(one._records) == told(other._records)
    return records and same_tensors(one._state, other._state)


def same_files(one: Path, other: Path) -> bool:
    mine, theirs = SavedModel.read(one), SavedModel.read(other)
    assert mine.settings == theirs.settings
    assert mine.run == theirs.run
    records = told(mine.records) == told(theirs.records)
    return records and same_tensors(mine.state, theirs.state) and same_tensors(mine.best, theirs.best)


# ---- killed


def die_at(number: int) -> Callable[[], int]:
    """Kill this process with the moment of this number: steps, and all that a file goes through; returns a count."""
    seen = 0

    def moment() -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(function: Any) -> Any:
        def wrapped(*args: Any, **more: Any) -> Any:
            moment()
            return function(*args, **more)

        return wrapped

    def half_written(unfinished: Any) -> Any:
        def wrapped(file: Path) -> Any:
            stream, beside = unfinished(file)
            write = stream.write

            class Slow:
                """A stream that stops in the middle of each part."""

                def __enter__(self) -> Slow:
                    return self

                def __exit__(self, *_: object) -> None:
                    stream.close()

                def write(self, part: Any) -> None:
                    write(part[: len(part) // 2])
                    stream.flush()
                    moment()
                    write(part[len(part) // 2 :])

                def __getattr__(self, name: str) -> Any:
                    return getattr(stream, name)

            return Slow(), beside

        return wrapped

    Trainer._step = before(Trainer._step)
    Trainer.restore = before(Trainer.restore)
    Measurement.measure = before(Measurement.measure)
    files._unfinished = half_written(before(files._unfinished))
    os.fsync = before(os.fsync)
    Path.replace = before(Path.replace)
    return lambda: seen


def until_done(case: str, path: Path, n_moments: int, seed: int) -> int:
    """Start, kill and start again in children until one comes to its end; the number of kills."""
    rng, kills = np.random.default_rng(seed), 0
    while True:
        number = int(rng.integers(1, n_moments))
        child = os.fork()
        if not child:
            die_at(number)
            train(case, path)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            assert status == 0, "the child failed"
            return kills
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1
        assert kills < 300


def play(folder: str) -> None:
    """In a process of its own: each case undisturbed, and killed again and again; prints what came of it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for at, case in enumerate(CASES):
        whole, killed = Path(folder) / f"{at}-whole", Path(folder) / f"{at}-killed"
        train(case, whole)
        # an epoch, its measure and its checkpoint have 14 moments or so
        kills = sum(until_done(case, killed.with_name(f"{killed.name}-{seed}"), 30, seed) for seed in range(2))
        print(json.dumps([case, kills]), flush=True)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    folder = tmp_path_factory.mktemp("runs")
    paths = [str(HERE), str(HERE.parent)]
    program = f"import sys; sys.path[:0] = {paths!r}; import test_checkpoints as t; t.play({str(folder)!r})"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder, dict(json.loads(line) for line in ran.stdout.splitlines())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_moment_a_run_ends_as_the_undisturbed_one(played, case):
    folder, kills = played
    at = [*CASES].index(case)
    for seed in range(2):
        assert same_files(folder / f"{at}-whole.safetensors", folder / f"{at}-killed-{seed}.safetensors")
    assert kills[case] >= 2
    assert sum(kills.values()) > 40
    assert not list(folder.glob(f"*{UNFINISHED}"))


# ---- what is written


@pytest.mark.parametrize("case", CASES)
def test_writing_changes_nothing_and_the_last_file_is_the_model(case, tmp_path):
    plain, written = train(case, None), train(case, tmp_path / "it")
    assert same(plain, written)
    again = recolib.load(tmp_path / "it.safetensors")
    assert same(again, written)
    assert repr(again) == repr(written)
    assert [path.name for path in tmp_path.iterdir()] == ["it.safetensors"]


@pytest.mark.parametrize("case", CASES)
def test_a_finished_run_that_is_resumed_trains_nothing_more(case, tmp_path, monkeypatch):
    done = train(case, tmp_path / "it")
    content = (tmp_path / "it.safetensors").read_bytes()
    if "init_from" not in CASES[case][3]:
        monkeypatch.setattr(Trainer, "run_epoch", lambda *_: pytest.fail("trained"))
    told_of: list[Any] = []
    again = train(case, tmp_path / "it", callbacks=[told_of.append])
    assert same(again, done)
    assert not told_of
    assert (tmp_path / "it.safetensors").read_bytes() == content


def interrupted(case: str, path: Path, epoch: int, **more: Any) -> None:
    """A run that ends after an epoch."""

    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == epoch:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(case, path, callbacks=[stop], **more)


FIRST, STOPPED = next(iter(CASES)), "lazy Adam, stopped early with an average"


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_each_checkpoint_is_the_model_of_its_epoch(epoch, tmp_path):
    interrupted(FIRST, tmp_path / "it", epoch)
    cls, task, settings, _ = CASES[FIRST]
    data, info = make_world(task, "all kinds").build()
    short = cls(task, info, **{**COMMON, **settings, "n_epochs": epoch}).fit(data, True, verbose=0)
    loaded = recolib.load(tmp_path / "it.safetensors")
    assert same(loaded, short)
    loaded.n_epochs, short.n_epochs = 1, 1
    assert same(loaded.fit(data, True, verbose=0), short.fit(data, True, verbose=0))  # as any model


def test_a_resumed_run_tells_of_the_epochs_that_were_left(tmp_path, capsys):
    interrupted(FIRST, tmp_path / "it", 3)
    epochs: list[float] = []
    model = train(FIRST, tmp_path / "it", verbose=2, callbacks=[lambda record: epochs.append(record["epoch"])])
    assert epochs == [4, 5]
    assert model.history_["epoch"].tolist() == [1, 2, 3, 4, 5]
    said = capsys.readouterr()
    assert "epoch 4/5" in said.err
    assert "epoch 3/5" not in said.err


def test_the_best_epoch_is_kept_where_it_is_another_than_the_last(tmp_path):
    whole = train(STOPPED, tmp_path / "whole")
    best, last = whole._n_epochs_done, len(whole.history_)
    assert 1 <= best < last
    interrupted(STOPPED, tmp_path / "it", best)
    assert not SavedModel.read(tmp_path / "it.safetensors").best
    interrupted(STOPPED, tmp_path / "it", last)
    saved = SavedModel.read(tmp_path / "it.safetensors")
    assert saved.best["progress"][0] == best
    assert saved.state["progress"][0] == last
    assert same(train(STOPPED, tmp_path / "it"), whole)
    assert not SavedModel.read(tmp_path / "it.safetensors").best


def test_a_run_is_resumed_without_being_written_or_to_another_file(tmp_path):
    whole = train(FIRST, None)
    interrupted(FIRST, tmp_path / "it", 2)
    content = (tmp_path / "it.safetensors").read_bytes()
    assert same(train(FIRST, None, resume=tmp_path / "it"), whole)
    assert (tmp_path / "it.safetensors").read_bytes() == content
    assert same(train(FIRST, None, resume=tmp_path / "it", checkpoint=tmp_path / "deeper" / "other"), whole)
    assert (tmp_path / "it.safetensors").read_bytes() == content
    assert same(recolib.load(tmp_path / "deeper" / "other.safetensors"), whole)


@pytest.mark.parametrize("write", [str, lambda path: f"{path}.safetensors", Path])
def test_paths_may_have_their_ending(tmp_path, write):
    train(FIRST, None, checkpoint=write(tmp_path / "runs" / "it"))
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["it.safetensors"]
    train(FIRST, None, resume=write(tmp_path / "runs" / "it"))


def test_saving_a_model_that_was_resumed_is_saving_a_model(tmp_path):
    model = train(FIRST, tmp_path / "it")
    saved = SavedModel.read(model.save(tmp_path, "saved"))
    assert saved.run is None
    assert not saved.best
    assert SavedModel.read(tmp_path / "it.safetensors").run


# ---- what is refused


def test_a_file_that_is_not_there_is_an_error_unless_it_is_to_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*it\.safetensors"):
        train(FIRST, None, resume=tmp_path / "it")
    with pytest.raises(FileNotFoundError):
        train(FIRST, None, resume=tmp_path / "it", checkpoint=tmp_path / "other")
    assert not list(tmp_path.iterdir())
    train(FIRST, None, resume=tmp_path / "it", checkpoint=f"{tmp_path}/../{tmp_path.name}/it")


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another learning rate": ({"lr": 0.5}, {}, r"lr was 0\.03 and is 0\.5"),
    "more epochs": ({"n_epochs": 6}, {}, "n_epochs was 5 and is 6"),
    "another seed and average": ({"seed": 1, "ema": None}, {}, "seed was 42 and is 1.*|ema was 0.9 and is None"),
    "no shuffling": ({}, {"shuffle": False}, "shuffle was True and is False"),
    "another loss": ({"loss_type": "bpr"}, {}, "loss_type was 'cross_entropy' and is 'bpr'"),
    "a schedule": ({}, {"lr_schedule": "cosine"}, "lr_schedule was None and is"),
    "no data to measure": ({}, {"eval_data": None, "metrics": None}, "eval_data was '.*' and is None"),
    "other metrics": ({}, {"metrics": ["roc_auc"]}, r"metrics was \['loss', 'ndcg'\] and is \['roc_auc'\]"),
    "shorter lists": ({}, {"k": 3}, "k was 10 and is 3"),
    "early stopping": ({}, {"early_stopping": EarlyStopping("train_loss")}, "early_stopping was None and is"),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended after an epoch, with a measure."""
    path = tmp_path_factory.mktemp("begun") / "it"
    with pytest.raises(InterruptedError):
        fit_begun(path, {}, {"checkpoint": path, "callbacks": [stop_at_once]})
    return path


def stop_at_once(record: dict[str, float]) -> None:
    raise InterruptedError


def fit_begun(path: Path, settings: dict[str, Any], arguments: dict[str, Any], **more: Any) -> Recommender:
    world = more.get("world", make_world("ranking", "pure"))
    data, info = world.build()
    model = more.get("cls", FM)("ranking", info, **{**COMMON, "ema": 0.9, **settings})
    asked = {"verbose": 0, "metrics": ["loss", "ndcg"], "eval_data": world.frame.tail(99), **arguments}
    return model.fit(more.get("data", data), more.get("neg_sampling", True), **asked)


@pytest.mark.parametrize("what", OTHERS)
def test_a_run_of_something_else_is_refused_with_what_differs(begun, what, monkeypatch):
    settings, arguments, match = OTHERS[what]
    monkeypatch.setattr(Trainer, "run_epoch", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match=rf"it\.safetensors is another run: .*({match}).*begin anew"):
        fit_begun(begun, settings, {"resume": begun, **arguments})


@pytest.mark.filterwarnings("ignore:all labels are 1")
def test_other_data_is_refused(begun):
    world = make_world("ranking", "pure")
    data, _ = world.build()
    resume = {"resume": begun}
    with pytest.raises(ValueError, match="train_data is of other rows"):
        fit_begun(begun, {}, resume, data=data.take(np.arange(len(data))[::-1].copy()))
    weights = np.arange(len(data)) % 2 + 1
    weighted = World(world.frame.assign(weight=weights), None, {"weight_col": "weight"})
    with pytest.raises(ValueError, match="train_data is of other rows"):
        fit_begun(begun, {}, resume, world=weighted)
    with pytest.raises(ValueError, match="eval_data is of other rows"):
        fit_begun(begun, {}, {**resume, "eval_data": world.frame.tail(98)})
    with pytest.raises(ValueError, match="neg_sampling was True and is False"):
        fit_begun(begun, {}, resume, neg_sampling=False)
    fewer = World(world.frame[world.frame["user"] != 100], None)
    with pytest.raises(ValueError, match="is a run on other data"):
        fit_begun(begun, {}, resume, world=fewer)
    with pytest.raises(ValueError, match="is a run of FM, not of AFM"):
        fit_begun(begun, {}, resume, cls=AFM)


def test_the_same_run_is_not_refused(begun):
    """Neither for what does not matter, nor for numbers of another type."""
    same_numbers = {"lr": np.float64(0.03), "seed": np.int64(42), "device": "auto"}
    model = fit_begun(begun, same_numbers, {"resume": begun, "metrics": ("loss", "ndcg"), "k": np.int64(10)})
    assert same(model, fit_begun(begun, {}, {}))


def test_a_trained_model_is_not_resumed_into(begun):
    data, info = make_world("ranking", "pure").build()
    model = FM("ranking", info, **COMMON).fit(data, True, verbose=0)
    before = model.history_
    with pytest.raises(ValueError, match="resume is for a model that was not trained before"):
        model.fit(data, True, verbose=0, resume=begun)
    assert model.history_.equals(before)


def test_a_saved_model_is_no_run(tmp_path):
    data, info = make_world("ranking", "pure").build()
    file = FM("ranking", info, **COMMON).fit(data, True, verbose=0).save(tmp_path, "it")
    with pytest.raises(ValueError, match="holds a model, but no run to resume: load it"):
        FM("ranking", info, **COMMON).fit(data, True, verbose=0, resume=file)


@pytest.mark.parametrize(
    ("arguments", "kind", "match"),
    [
        ({"checkpoint": 3}, TypeError, "checkpoint must be a path such as 'runs/movies', got 3"),
        ({"resume": True}, TypeError, "resume must be a path"),
        ({"checkpoint": "runs/.hidden"}, ValueError, "checkpoint must be a plain file name"),
        ({"checkpoint": ""}, ValueError, "checkpoint must be a plain file name"),
        ({"resume": "runs/a\0b"}, ValueError, "resume must be a plain file name"),
    ],
)
def test_what_is_no_path_is_refused(arguments, kind, match):
    data, info = make_world("ranking", "pure").build()
    with pytest.raises(kind, match=match):
        FM("ranking", info, num_neg=1).fit(data, True, verbose=0, **arguments)


class Strange(FM):
    """An algorithm of one's own, with a setting that no file can hold."""

    extra: object = None


def test_what_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "run_epoch", lambda *_: pytest.fail("trained"))
    data, info = DatasetPure.build_trainset(make_world("ranking", "pure").frame)
    with pytest.raises(TypeError, match=r"the setting extra=.* cannot be saved"):
        Strange("ranking", info, num_neg=1, extra=object()).fit(data, True, verbose=0, checkpoint=tmp_path / "it")
    (tmp_path / "file").write_text("here")
    with pytest.raises(OSError, match="file"):
        FM("ranking", info, num_neg=1).fit(data, True, verbose=0, checkpoint=tmp_path / "file" / "it")
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(OSError, match="taken"):
        FM("ranking", info, num_neg=1).fit(data, True, verbose=0, checkpoint=tmp_path / "taken")


# ---- files from another hand


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A run in the middle whose best epoch is not its last, and one that is done."""
    folder = tmp_path_factory.mktemp("contents")
    whole = train(STOPPED, folder / "done")
    interrupted(STOPPED, folder / "it", len(whole.history_))
    return (folder / "it.safetensors").read_bytes(), (folder / "done.safetensors").read_bytes()


def of_run(**more: object) -> Any:
    return lambda entry, _: entry["header"]["run"].update(more)


def of_fingerprint(**more: object) -> Any:
    return lambda entry, _: entry["header"]["run"]["fingerprint"].update(more)


def of_best(edit: Callable[[dict[str, np.ndarray]], object]) -> Any:
    return lambda _, arrays: edit(arrays)


def without_best(_: Any, arrays: dict[str, np.ndarray]) -> None:
    for name in [name for name in arrays if name.startswith("best.")]:
        del arrays[name]


def worst_of(_: Any, arrays: dict[str, np.ndarray]) -> None:
    arrays["best.progress"] = arrays["best.progress"] + np.array([1, 0])


RUNS: dict[str, tuple[Any, str]] = {
    "a run that is a list": (lambda entry, _: entry["header"].update(run=[1]), "what a run is has names"),
    "a run of nothing": (lambda entry, _: entry["header"].update(run={}), "it lacks 'first_epoch'"),
    "a beginning that is text": (of_run(first_epoch="0"), "a run says what it is"),
    "a beginning before the first": (of_run(first_epoch=-1), "a run says what it is"),
    "a beginning that is true": (of_run(first_epoch=True), "a run says what it is"),
    "a beginning after its epochs": (of_run(first_epoch=10**6), "a run has its epochs"),
    "a later beginning": (of_run(first_epoch=5), "the best epoch is kept|a run has its epochs"),
    "a fingerprint that is a list": (of_run(fingerprint=[]), "a run says what it is"),
    "a fingerprint with more": (of_fingerprint(evil=1), "evil was 1 and is None"),
    "no best epoch": (without_best, "the best epoch is kept"),
    "a best epoch that is another": (worst_of, "the best epoch is kept"),
    "a best weight that is NaN": (
        of_best(lambda arrays: arrays.update({"best.network.bias": np.full((), np.nan, np.float32)})),
        "infinite numbers",
    ),
    "a best weight of another shape": (
        of_best(lambda arrays: arrays.update({"best.network.bias": np.zeros(3, np.float32)})), "network.bias|'bias'",
    ),
    "a best weight that is missing": (
        of_best(lambda arrays: arrays.pop("best.network.bias")), "the weights are of another network",
    ),
    "a best moment that is missing": (
        of_best(lambda arrays: arrays.pop("best.adam.bias.exp_avg")), "the optimiser keeps",
    ),
    "records without the metric": (
        lambda entry, _: [one.pop("eval_ndcg") for one in entry["header"]["records"]], "it lacks 'eval_ndcg'",
    ),
    "a record that is missing": (lambda entry, _: entry["header"]["records"].pop(0), "a run has its epochs"),
    "records of further epochs": (
        lambda entry, _: entry["header"]["records"].append({**entry["header"]["records"][-1], "epoch": 99}),
        "a run has its epochs",
    ),
    "another measure": (
        lambda entry, _: entry["header"]["records"][-1].update(eval_ndcg=2.0), "the best epoch is kept",
    ),
    "progress beyond its records": (
        lambda _, arrays: arrays.update({"state.progress": arrays["state.progress"] + np.array([7, 0])}),
        "a run ends at its best epoch",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", RUNS)
def test_a_run_that_contradicts_itself_is_refused(contents, tmp_path, what, monkeypatch):
    edit, match = RUNS[what]
    monkeypatch.setattr(Trainer, "run_epoch", lambda *_: pytest.fail("trained"))
    (tmp_path / "it.safetensors").write_bytes(forged(contents[0], edit))
    with pytest.raises(ValueError, match=match):
        train(STOPPED, tmp_path / "it")


def test_the_best_epoch_of_no_run_is_refused_when_it_is_loaded(contents, tmp_path):
    file = tmp_path / "it.safetensors"
    file.write_bytes(forged(contents[0], lambda entry, _: entry["header"].pop("run")))
    with pytest.raises(ValueError, match="only a run has a best epoch"):
        recolib.load(file)


def test_a_run_that_was_not_done_is_not_taken_for_one(contents, tmp_path):
    """Its weights are of its best epoch, and its last record says that there was no reason to stop."""

    def edit(entry: Any, arrays: Any) -> None:
        entry["header"]["records"][-1]["eval_ndcg"] = 0.99

    (tmp_path / "it.safetensors").write_bytes(forged(contents[1], edit))
    with pytest.raises(ValueError, match="a run ends at its best epoch"):
        train(STOPPED, tmp_path / "it")


def test_nothing_forged_is_resumed(contents, tmp_path):
    whole = train(STOPPED, None)
    for content in contents:
        (tmp_path / "it.safetensors").write_bytes(forged(content, lambda entry, arrays: None))
        assert same(train(STOPPED, tmp_path / "it"), whole)
        assert "run" in opened(content)[0]["header"]


@pytest.mark.parametrize("seed", range(20))
def test_each_flipped_bit_is_noticed(contents, tmp_path, seed):
    content = bytearray(contents[0])
    at = int(np.random.default_rng(seed).integers(len(content)))
    content[at] ^= 1 << seed % 8
    (tmp_path / "it.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"it\.safetensors"):
        train(STOPPED, tmp_path / "it")
