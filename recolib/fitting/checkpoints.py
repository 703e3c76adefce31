"""Checkpoints: where a run is saved, and how one that did not come to its end is taken up again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from recolib.artifacts.model_file import SavedModel, plain_settings
from recolib.files import SUFFIX, file_of, local_path, refusing, require
from recolib.fitting.defaults import open_settings
from recolib.fitting.runs import Record, Run
from recolib.settings import Settings
from recolib.training.state import TrainState
from recolib.training.trainer import Trainer

DIGESTS = ("train_data", "eval_data")


def first_epoch(saved: SavedModel | None) -> int:
    """How many epochs there were before the run that was saved."""
    return 0 if saved is None or saved.run is None else saved.run["first_epoch"]


def checkpoint_file(argument: str, path: object) -> Path:
    """The file that ``path`` says, with or without its ending.

    Raises
    ------
    TypeError
        If it is no path.
    ValueError
        If it does not end in the plain name of a file.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{argument} must be a path such as 'runs/movies', got {path!r}")
    whole = local_path(cast("str | os.PathLike[str]", path), argument)
    return file_of(whole.parent, whole.name.removesuffix(SUFFIX), argument=argument)


def check_writable(model: Settings, file: Path | None) -> None:
    """Make the folder of a checkpoint, if there is to be one.

    Raises
    ------
    TypeError
        If a setting of the model cannot be saved.
    OSError
        If nothing can be written there.
    """
    if file is None:
        return
    plain_settings(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    may_write = os.access(file.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
    if file.is_dir() or not may_write:
        raise PermissionError(f"checkpoint={str(file)!r} cannot be written: choose another path")


def read_run(resume: object, checkpoint: Path | None, model: Settings, is_new: bool) -> SavedModel | None:
    """The checkpoint of a run of this model, with its settings and data; None where a run is to begin.

    Raises
    ------
    FileNotFoundError
        If there is none, and it is not the one that is to be written.
    ValueError
        If it is damaged, none of a run, or one of another algorithm, settings or data, or the model is not new.
    """
    if resume is None:
        return None
    file = checkpoint_file("resume", resume)
    if checkpoint is not None and not file.exists() and file.resolve() == checkpoint.resolve():
        return None
    if not is_new:
        raise ValueError("resume is for a model that was not trained before: make a new one with the same settings")
    saved = SavedModel.read(file)
    if saved.run is None:
        raise ValueError(f"{file} holds a model, but no run to resume: load it, and fit it further")
    if not saved.is_of(type(model)):
        raise ValueError(f"{file} is a run of {saved.algorithm}, not of {type(model).__name__}")
    there, here = dict(saved.settings), plain_settings(model)
    here |= {name: there.get(name) for name in open_settings(model)}
    _refuse_differences(file, there | {"device": None}, here | {"device": None})
    if saved.data_info.fingerprint != model.data_info.fingerprint:
        raise ValueError(f"{file} is a run on other data ({saved.data_info}) than this model's ({model.data_info})")
    with refusing(file):
        first = saved.run["first_epoch"]
        require(
            type(first) is int and first >= 0 and isinstance(saved.run["fingerprint"], dict), "a run says what it is"
        )
    return saved


def resume_run(saved: SavedModel, run: Run, trainer: Trainer) -> tuple[list[Record], TrainState]:
    """Bring a trainer to where a run was when it was saved; its records, and the best state so far.

    Raises
    ------
    ValueError
        If the run has other settings, or what is saved contradicts itself.
    """
    assert saved.file is not None
    assert saved.run is not None
    _refuse_differences(saved.file, saved.run["fingerprint"], run.fingerprint)
    records = [dict(record) for record in saved.records]
    with refusing(saved.file):
        if saved.best:
            trainer.restore(saved.best)
        best_kept = trainer.epoch
        trainer.restore(saved.state)
        epochs = [record["epoch"] for record in run.own(records)]
        first, n = run.plan.first_epoch, len(epochs)
        require(0 < n <= run.plan.n_epochs and epochs == [*range(first + 1, first + n + 1)], "a run has its epochs")
        restores = run.stopping is not None and run.stopping.restore_best
        best = run.best_epoch(records) if restores else None
        if trainer.epoch == epochs[-1]:
            is_other = best is not None and best != trainer.epoch
            require(bool(saved.best) == is_other and best_kept == (best if is_other else 0), "the best epoch is kept")
        else:
            require(run.is_over(records) and trainer.epoch == best and not saved.best, "a run ends at its best epoch")
    state = saved.best if saved.best or best is None else trainer.state()
    return records, state


def _refuse_differences(file: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if differing:
        differences = [
            f"{name} is of other rows"
            if name in DIGESTS and there.get(name) and here.get(name)
            else f"{name} was {there.get(name)!r} and is {here.get(name)!r}"
            for name in differing
        ]
        raise ValueError(f"{file} is another run: {', '.join(differences)}; resume with the same, or begin anew")
