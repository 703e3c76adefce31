"""What comes next, by RecBole's EASE, and by its SASRec in its trainer."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import EASE
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed
from scipy import sparse

from benchmarks.measures import peak_mib
from benchmarks.next_item import Items, Lists, Task, Watch
from benchmarks.protocol import Record, answer

Floats = NDArray[np.floating[Any]]


class EndOfTrainingError(Exception):
    """Ends an epoch before its last batch."""


def write_events(task: Task, folder: Path) -> None:
    """All events as RecBole's atomic file; RecBole sets the last two of each user aside itself."""
    folder.mkdir()
    users, items = task.known("test")
    users, items = np.append(users, np.arange(task.n_users)), np.append(items, task.test)
    rows = "".join(f"{user}\t{item}\t{time}\n" for time, (user, item) in enumerate(zip(users, items, strict=True)))
    head = "user_id:token\titem_id:token\ttimestamp:float\n"
    (folder / f"{folder.name}.inter").write_text(head + rows)


def prepared(request: Record, task: Task, folder: str) -> tuple[Config, Any, Any, dict[str, Any]]:
    """The configuration, the whole data, the batches of training, and the rows of each part."""
    write_events(task, Path(folder, "events"))
    told = request["settings"] | {
        "data_path": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "seed": request["seed"],
        "use_gpu": False,
        "show_progress": False,
    }
    config = Config(model=request["model"], dataset="events", config_dict=told)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, test = data_preparation(config, dataset)
    return config, dataset, train, {"valid": valid.dataset.inter_feat, "test": test.dataset.inter_feat}


def work(request: Record) -> Iterator[Record]:
    """Lists for what validates and for what tests, every part of an epoch, until the time is over."""
    torch.set_num_threads(request["threads"])
    task = Task.read(request["file"])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where RecBole writes what it logs
        config, dataset, train, rows = prepared(request, task, folder)
        os.chdir("/")
    user_codes = dataset.token2id("user_id", [str(user) for user in range(task.n_users)])
    item_codes = dataset.token2id("item_id", [str(item) for item in range(task.n_items)])
    if request["model"] == "EASE":
        watch = Watch(request["limit_s"])
        yield with_ease(EASE(config, train.dataset), task, watch, user_codes, item_codes)
    else:
        row_of = {part: feat["user_id"].argsort()[torch.as_tensor(user_codes) - 1] for part, feat in rows.items()}
        asked = {part: feat[row_of[part]] for part, feat in rows.items()}
        model = SASRec(config, train.dataset)
        yield from with_sasrec(model, Trainer(config, model), train, task, request, asked, item_codes)
    yield {"peak_mib": peak_mib()}


def with_ease(model: EASE, task: Task, watch: Watch, user_codes: Items, item_codes: Items) -> Record:
    """The lists of a model that is made when it is constructed."""

    def lists(part: str) -> Lists:
        had = model.interaction_matrix
        if part == "test":
            places = user_codes, item_codes[task.valid]
            had = had + sparse.csr_matrix((np.ones(task.n_users, np.float32), places), shape=had.shape)

        def score(users: Items) -> Floats:
            return np.asarray(had[user_codes[users]] @ model.item_similarity)[:, item_codes]

        return task.top(part, score)

    return watch.measure(0, lists)


def with_sasrec(
    model: SASRec,
    trainer: Trainer,
    train: Any,
    task: Task,
    request: Record,
    asked: dict[str, Any],
    item_codes: Items,
) -> Iterator[Record]:
    """The lists on the way: an epoch has a row for each event, and may take longer than there is time."""
    records = list[Record]()
    every = max(1, round(len(train) * request["step"]))
    n_done = 0

    @torch.no_grad()
    def lists(part: str) -> Lists:
        return task.top(part, lambda users: model.full_sort_predict(asked[part][users]).numpy()[:, item_codes])

    def measure() -> None:
        model.eval()
        records.append(watch.measure(round(n_done / len(train), 3), lists))
        model.train()

    def loss_after_others(batch: Any) -> torch.Tensor:
        nonlocal n_done
        is_over = watch.is_over
        if is_over or (n_done and n_done % every == 0):
            measure()
        if is_over:
            raise EndOfTrainingError
        n_done += 1
        return model.calculate_loss(batch)

    watch = Watch(request["limit_s"])
    with contextlib.suppress(EndOfTrainingError):
        for epoch in range(trainer.epochs):
            trainer._train_epoch(train, epoch, loss_func=loss_after_others)
    yield from records


if __name__ == "__main__":
    answer(work, "recbole", "torch", "numpy", "pandas")
