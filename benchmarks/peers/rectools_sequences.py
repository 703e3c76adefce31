"""What comes next, by RecTools' EASE and SASRec."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import LightningModule, Trainer, seed_everything
from pytorch_lightning.callbacks import LambdaCallback
from rectools import Columns
from rectools.dataset import Dataset, IdMap, Interactions
from rectools.models import EASEModel, SASRecModel

from benchmarks.measures import peak_mib
from benchmarks.next_item import PARTS, K, Lists, Task, Watch
from benchmarks.protocol import Record, answer


def events(task: Task, part: str) -> Dataset:
    """What is known before a part, in RecTools' form; its codes of users and items are the task's."""
    users, items = task.known(part)
    times = pd.to_datetime(np.arange(len(users)), unit="s")  # what counts is their order
    columns = {Columns.User: users, Columns.Item: items, Columns.Weight: 1.0, Columns.Datetime: times}
    codes = [IdMap.from_values(np.arange(n)) for n in (task.n_users, task.n_items)]
    return Dataset(*codes, Interactions.from_raw(pd.DataFrame(columns), *codes))


def work(request: Record) -> Iterator[Record]:
    """Lists for what validates and for what tests, every few epochs, until the time is over."""
    torch.set_num_threads(request["threads"])
    warnings.simplefilter("ignore")
    seed_everything(request["seed"])
    task = Task.read(request["file"])
    before = {part: events(task, part) for part in PARTS}
    records = list[Record]()

    def lists(part: str) -> Lists:
        table = model.recommend(np.arange(task.n_users), before[part], K, filter_viewed=True)
        table = table.sort_values([Columns.User, Columns.Rank], kind="stable")
        return table[Columns.Item].to_numpy().reshape(task.n_users, K).tolist()

    def after_batch(trainer: Trainer, network: LightningModule, *_: object) -> None:
        is_over, n_batches = watch.is_over, int(trainer.num_training_batches)
        if is_over or trainer.global_step % max(1, round(n_batches * request["step"])) == 0:
            model.is_fitted = True  # which fit says when it returns
            records.append(watch.measure(round(trainer.global_step / n_batches, 3), lists))
            network.train()  # recommend has it evaluate
        trainer.should_stop = is_over

    def trainer() -> Trainer:
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        callback = LambdaCallback(on_train_batch_end=after_batch)
        return Trainer(accelerator="cpu", devices=1, max_epochs=-1, callbacks=[callback], **quiet)

    if request["model"] == "EASE":
        model = EASEModel(recommend_n_threads=request["threads"], **request["settings"])
    else:
        model = SASRecModel(get_trainer_func=trainer, **request["settings"])
    watch = Watch(request["limit_s"])
    model.fit(before["valid"])
    yield from records or [watch.measure(0, lists)]
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "rectools", "torch", "numpy", "pandas")
