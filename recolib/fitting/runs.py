"""Run: what one ``fit`` is to do. What is next follows from it and from the records of the epochs so far."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from recolib.artifacts.model_file import SavedModel, plain_settings
from recolib.data.interactions import Interactions
from recolib.evaluation.metrics import less_is_better
from recolib.exceptions import OverfittingWarning, warn
from recolib.nn import Network
from recolib.process_group import ProcessGroup
from recolib.settings import Settings
from recolib.training.schedules import PROBES, Schedule
from recolib.training.state import TrainState
from recolib.training.stopping import EarlyStopping
from recolib.training.trainer import AnyExamples, Plan, Trainer, train

Record = dict[str, float]
Callback = Callable[[Record], object]
MEASURED = "eval_"
"""How the names of metrics begin in a record."""
WORSE_EPOCHS = 3
"""Epochs in a row that were worse than the best one before of which a warning tells."""


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
        plan = self.plan
        fingerprint = {
            **course_of(neg_sampling, plan.shuffle, plan.freeze_fm, plan.schedule, self.stopping),
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
        if self.checkpoint is None or not ProcessGroup.current().is_first:
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
        own = self.own(records)
        if not self.verbose or self.stopping is None or not own:
            return
        last, best = own[-1]["epoch"], self.best_epoch(records)
        if best is None:
            tqdm.write(f"epoch {last} was the last: {self.stopping.metric} was never a number")
            return
        value = next(record[self.stopping.column] for record in records if record["epoch"] == best)
        now = best if self.stopping.restore_best else last
        tqdm.write(
            f"epoch {last} was the last: {self.stopping.metric} was best after epoch {best}, {value:.4g}; "
            f"the model is that of epoch {now}"
        )

    def warn_if_worse(self, records: Sequence[Record]) -> None:
        """Warn where the last epochs made the first metric worse, and nothing stopped them."""
        own = self.own(records)
        if not own or self.stopping is not None:
            return
        known = (name for name in own[-1] if name.startswith(MEASURED) and less_is_better(name) is not None)
        name = next(known, None)  # of metrics of one's own the direction is not known here
        if name is None:
            return
        values = [record[name] for record in own if name in record]
        best = EarlyStopping(name.removeprefix(MEASURED)).best(values)
        if best is not None and len(values) - 1 - best >= WORSE_EPOCHS and values[-1] != values[best]:
            metric = name.removeprefix(MEASURED)
            warn(
                f"{name} was best after epoch {own[best]['epoch']}, {values[best]:.4g}, and is {values[-1]:.4g} after "
                f"the last: pass early_stopping=EarlyStopping({metric!r}), or train for fewer epochs",
                OverfittingWarning,
            )


Hold = Callable[[Network, TrainState, Sequence[Record]], None]
"""Makes a model answer with a network, and its next ``fit`` go on from a state of it."""


def follow(
    run: Run,
    model: Settings,
    trainer: Trainer,
    examples: AnyExamples,
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
    epochs, steps, group = train(trainer, examples, run.verbose), trainer.steps, trainer.group
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
            with group.failing_together():
                if group.is_first:
                    record |= {f"eval_{name}": value for name, value in measure(trainer.network).items()}
            record |= group.of_first(record)
            best = run.keep(best, trainer, records)
            with group.failing_together():
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
    run.warn_if_worse(records)


def course_of(
    neg_sampling: bool, shuffle: bool, freeze_fm: bool, schedule: Schedule | None, stopping: EarlyStopping | None
) -> dict[str, object]:
    """Those arguments of ``fit`` that decide what it does with a set, as JSON has them."""
    return {
        "neg_sampling": neg_sampling,
        "shuffle": shuffle,
        "freeze_fm": freeze_fm,
        "lr_schedule": None if schedule is None else [float(schedule(progress)) for progress in PROBES],
        "early_stopping": None if stopping is None else asdict(stopping),
    }


def meet_others(
    model: Settings, data: Interactions, course: Mapping[str, object], *states: TrainState | None
) -> ProcessGroup:
    """Wait for the processes that train the same model, and see that they do.

    Parameters
    ----------
    model, data
        What is trained, and on what.
    course
        The arguments of ``fit``, as JSON has them.
    states
        The model's state and that of the checkpoint, which training goes on from.

    Raises
    ------
    ValueError
        If one has other settings, data or arguments, or goes on from another epoch.
    """
    group = ProcessGroup.current()
    if not group.is_alone:
        group.meet()
        settings = plain_settings(model) | {"device": None, "algorithm": model.model_name}
        epochs = [state["progress"].tolist() if state else None for state in states]
        trained = {"trained epochs or checkpoint": epochs}
        group.check_same({"settings": settings, "train_data": data.digest(), **course, **trained})
    return group
