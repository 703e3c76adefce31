"""RecBole's LightGCN in RecBole's trainer, an epoch at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import LightGCN
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.lists.task import Floats, Ints, Task, Watch
from benchmarks.measures import peak_mib
from benchmarks.protocol import Record, answer

PARTS = ["train", "valid", "test"]


def write_parts(task: Task, folder: Path) -> None:
    """The training pairs as RecBole's atomic files; the other parts, which it wants, are the first of them."""
    folder.mkdir()
    for part in PARTS:
        n = len(task.users) if part == "train" else 1
        rows = "".join(f"{user}\t{item}\n" for user, item in zip(task.users[:n], task.items[:n], strict=True))
        (folder / f"{folder.name}.{part}.inter").write_text("user_id:token\titem_id:token\n" + rows)


def work(request: Record) -> Iterator[Record]:
    """The lists after each ``step`` of epochs, until they get no better."""
    torch.set_num_threads(request["threads"])
    task = Task.read(request["folder"])
    settings = dict(request["settings"])
    n_epochs, step = settings.pop("epochs"), settings.pop("step")
    told = settings | {
        "benchmark_filename": PARTS,
        "load_col": {"inter": ["user_id", "item_id"]},
        "seed": request["seed"],
        "use_gpu": False,
        "show_progress": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where RecBole writes what it logs
        write_parts(task, Path(folder, "pairs"))
        config = Config(model="LightGCN", dataset="pairs", config_dict=told | {"data_path": folder})
        init_seed(config["seed"], config["reproducibility"])
        dataset = create_dataset(config)
        train, _, _ = data_preparation(config, dataset)
        user_codes = dataset.token2id("user_id", [str(user) for user in range(task.n_users)])
        item_codes = dataset.token2id("item_id", [str(item) for item in range(task.n_items)])
        watch = Watch(task, request)
        model = LightGCN(config, train.dataset)  # makes the graph
        trainer = Trainer(config, model)

        @torch.no_grad()
        def lists() -> Ints:
            model.eval()
            users, items = model.forward()
            wanted = items[item_codes].T

            def score(asked: Ints) -> Floats:
                return (users[user_codes[asked]] @ wanted).numpy()

            return task.top(score)

        for epoch in range(1, n_epochs + 1):
            trainer._train_epoch(train, epoch, show_progress=False)
            if epoch % step == 0:
                yield watch.measure(epoch, lists)
            if watch.is_over:
                break
        os.chdir("/")
    yield {"peak_mib": peak_mib()}


if __name__ == "__main__":
    answer(work, "recbole", "torch", "numpy", "scipy")
