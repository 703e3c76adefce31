"""Run: what one ``fit`` is to do. What is next follows from it and from the records of the epochs so far."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm.auto import tqdm

from recolib.artifacts.model_file import SavedModel, plain_settings
from recolib.checks import readable
from recolib.data.interactions import Interactions
from recolib.evaluation.measurement import check_labels
from recolib.exceptions import warn
from recolib.files import SUFFIX, file_of, local_path, refusing, require
from recolib.nn import Network
from recolib.sampling import check_num_neg
from recolib.settings import MAY_BE_OPEN, Settings
from recolib.training.batches import Examples
from recolib.training.catalogue import CatalogueExamples
from recolib.training.losses import needs_negatives
from recolib.training.schedules import PROBES
from recolib.training.stopping import EarlyStopping
from recolib.training.trainer import Plan, Trainer, TrainState, train

Record = dict[str, float]
Callback = Callable[[Record], object]
DIGESTS = ("train_data", "eval_data")


@dataclass(frozen=True, eq=False)
class Run:
    """What one ``fit`` is to do.

    Attributes
    ----------
    plan
        How to train, and which epochs.
    stopping
        When to stop before, if at all.
    checkpoint
        The file to write after each epoch, if any.
    callbacks
        Functions that are called with each epoch's record.
    verbose
        How much is printed.
    fingerprint
        All that decides what comes out beside the settings, as JSON has it; only where the run is saved.
    """

    plan: Plan
    stopping: EarlyStopping | None = None
    checkpoint: Path | None = None
    callbacks: Sequence[Callback] = ()
    verbose: int = 0
    fingerprint: Mapping[str, object] = field(default_factory=dict[str, object])

    def with_fingerprint(
        self,
        model: Settings,
        neg_sampling: bool,
        train_set: Interactions,
        eval_set: Interactions | None,
        **measured: object,
    ) -> Run:
        """The run with its fingerprint, sets by their digests."""
        schedule, stopping = self.plan.schedule, self.stopping
        fingerprint = {
            "neg_sampling": neg_sampling,
            "shuffle": self.plan.shuffle,
            "freeze_fm": self.plan.freeze_fm,
            "lr_schedule": None if schedule is None else [float(schedule(progress)) for progress in PROBES],
            "early_stopping": None if stopping is None else asdict(stopping),
            "train_data": train_set.digest(),
            "eval_data": None if eval_set is None else eval_set.digest(),
            **({} if eval_set is None else measured),
        }
        return replace(self, fingerprint=json.loads(json.dumps(fingerprint, default=np.generic.item)))

    def own(self, records: Sequence[Record]) -> Sequence[Record]:
        """Of a model's records, those of this run."""
        return [record for record in records if record["epoch"] > self.plan.first_epoch]

    def best_epoch(self, records: Sequence[Record]) -> int | None:
        """The best epoch so far; None without early stopping, or where none was an improvement."""
        if self.stopping is None:
            return None
        at = self.stopping.best(self._values(records))
        return None if at is None else self.plan.first_epoch + at + 1

    def is_over(self, records: Sequence[Record]) -> bool:
        """Whether there is no further epoch."""
        stops = self.stopping is not None and self.stopping.stops(self._values(records))
        return stops or len(self.own(records)) >= self.plan.n_epochs

    def _values(self, records: Sequence[Record]) -> Sequence[float]:
        assert self.stopping is not None
        return [record[self.stopping.column] for record in self.own(records)]

    def keep(self, best: TrainState, trainer: Trainer, records: Sequence[Record]) -> TrainState:
        """The state to go back to at the end: the trainer's if the last epoch is the best, else the one there was."""
        restores = self.stopping is not None and self.stopping.restore_best
        return trainer.state() if restores and self.best_epoch(records) == trainer.epoch else best

    def write(self, model: Settings, records: Sequence[Record], trainer: Trainer, best: TrainState) -> None:
        """Write the checkpoint, if there is to be one: the model, and what a later process needs to go on."""
        if self.checkpoint is None:
            return
        header = {"first_epoch": self.plan.first_epoch, "fingerprint": dict(self.fingerprint)}
        if best and self.best_epoch(records) == trainer.epoch:
            SavedModel.of(model, records, best, header).write(self.checkpoint)
        else:
            SavedModel.of(model, records, trainer.state(), header, best).write(self.checkpoint)

    def log_epoch(self, model: Settings, records: Sequence[Record], trainer: Trainer, best: TrainState) -> None:
        """Log the last epoch, write the checkpoint, and then call the callbacks."""
        if self.verbose > 1:
            tqdm.write(", ".join(f"{name}: {value:.4g}" for name, value in records[-1].items()))
        self.write(model, records, trainer, best)
        for callback in self.callbacks:
            callback(dict(records[-1]))

    def log_stop_reason(self, records: Sequence[Record]) -> None:
        """Log where early stopping ended, unless the run is silent."""
        if not self.verbose or self.stopping is None:
            return
        last, best = self.own(records)[-1]["epoch"], self.best_epoch(records)
        if best is None:
            tqdm.write(f"epoch {last} was the last: {self.stopping.metric} was never a number")
            return
        value = next(record[self.stopping.column] for record in records if record["epoch"] == best)
        now = best if self.stopping.restore_best else last
        tqdm.write(
            f"epoch {last} was the last: {self.stopping.metric} was best after epoch {best}, {value:.4g}; "
            f"the model is that of epoch {now}"
        )


Hold = Callable[[Network, TrainState, Sequence[Record]], None]
"""Makes a model answer with a network, and its next ``fit`` go on from a state of it."""


def follow(
    run: Run,
    model: Settings,
    trainer: Trainer,
    examples: Examples | CatalogueExamples,
    records: list[Record],
    best: TrainState,
    measure: Callable[[Network], Mapping[str, float]],
    hold: Hold,
    undo: Callable[[], None],
) -> None:
    """Train epoch by epoch until a run is over.

    Parameters
    ----------
    run, model
        What is to be done, and with which settings.
    trainer, examples
        What trains, and on what.
    records, best
        The epochs before, to which this adds, and the state of the best so far.
    measure
        The metrics of a network on the evaluation set.
    hold
        Called with what came out: at the end, or where the user or a callback ends the run before. Callbacks may ask
        the model, so that it holds a copy of each epoch for them.
    undo
        Called where training fails: the model is then what it was.
    """
    epochs, steps = train(trainer, examples, run.verbose), trainer.steps
    while not run.is_over(records):
        try:
            record = next(epochs)
        except KeyboardInterrupt:
            if trainer.steps > steps:
                hold(trainer.network, trainer.state(copy=False), records)
            raise
        except BaseException:
            undo()
            raise
        records.append(record)
        try:
            record |= {f"eval_{name}": value for name, value in measure(trainer.network).items()}
            best = run.keep(best, trainer, records)
            if run.callbacks:
                hold(deepcopy(trainer.network), trainer.state(), records)
            run.log_epoch(model, records, trainer, best)
        except BaseException:
            hold(trainer.network, trainer.state(copy=False), records)
            raise
    if best and run.best_epoch(records) != trainer.epoch:
        trainer.restore(best)
        run.write(model, records, trainer, best)
    hold(trainer.network, trainer.state(copy=False), records)
    run.log_stop_reason(records)


def check_callbacks(callbacks: object) -> None:
    """Raise unless these are functions in a list."""
    if not isinstance(callbacks, Sequence) or not all(callable(one) for one in cast("Sequence[object]", callbacks)):
        raise TypeError(f"callbacks must be a list of functions, got {callbacks!r}")


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
    if file.is_dir() or not os.access(file.parent, os.W_OK):
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
    here |= {name: there.get(name) for name in MAY_BE_OPEN if here.get(name, 0) is None}
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


def training_rows(data: Interactions, settings: Settings, neg_sampling: bool) -> Interactions:
    """The rows to train on: all, or with sampling those whose label is above 0.

    Raises
    ------
    TypeError
        If ``data`` is not an encoded set.
    ValueError
        If it is one of other data or has unknown ids, or its labels or the settings do not suit ``neg_sampling``.
    """
    if not isinstance(data, Interactions):
        raise TypeError(f"train_data must be what build_trainset returned, got {type(data).__name__}")
    data.refuse_other(settings.data_info)
    if not (data.user_indices.all() and data.item_indices.all()):
        raise ValueError("train_data has users or items that data_info does not know: build it with build_trainset")
    if neg_sampling and settings.sampler is None:
        raise ValueError("neg_sampling=True needs a sampler, got sampler=None")
    if settings.loss_type is not None and needs_negatives(settings.loss_type, settings.task) and not neg_sampling:
        raise ValueError(
            f"loss_type={readable(settings.loss_type)} sets an observed item against negatives: pass neg_sampling=True"
        )
    check_labels(data, settings.task, neg_sampling)
    if neg_sampling and isinstance(settings.num_neg, int):
        check_num_neg(settings.num_neg, settings.data_info)
    if neg_sampling:
        unobserved = data.labels <= 0
        if unobserved.all():
            raise ValueError("no label is above 0: with neg_sampling=True there is no positive row")
        if unobserved.any():
            n_left_out = int(unobserved.sum())
            warn(f"{n_left_out} rows with label 0 or below are left out: neg_sampling=True draws negatives")
            data = data.take(np.flatnonzero(~unobserved))
    elif settings.task == "ranking" and data.labels.min() == data.labels.max():
        warn(f"all labels are {data.labels[0]:g}: there is nothing to tell apart, or neg_sampling=True is meant")
    if len(data) < 2:
        raise ValueError(f"training needs at least 2 rows, got {len(data)}")
    if not (data.weights.min() >= 0 and 0 < data.weights.max() < np.inf):
        raise ValueError("weights must be finite, at least 0, and above 0 in some of the rows to train on")
    return data
