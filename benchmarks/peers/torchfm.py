"""pytorch-fm's DeepFM, trained by the steps that its example takes; pytorch-fm has no loop of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchfm.dataset.movielens import MovieLens20MDataset
from torchfm.model.dfm import DeepFactorizationMachineModel
from tqdm import tqdm

from benchmarks.protocol import Record, answer


def work(request: Record) -> Iterator[Record]:
    """The speed of each epoch, and the test AUC after the last."""
    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    settings = request["settings"]
    dataset = MovieLens20MDataset(request["ratings"])  # reads user, item, rating; above three stars is positive
    n_train, n_valid, n_test = request["sizes"]
    size = settings["batch_size"]
    train = DataLoader(Subset(dataset, range(n_train)), batch_size=size)
    test = DataLoader(Subset(dataset, range(n_train + n_valid, n_train + n_valid + n_test)), batch_size=size)
    model = DeepFactorizationMachineModel(
        dataset.field_dims, settings["embed_size"], settings["hidden_units"], settings["dropout_rate"]
    )
    criterion = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], weight_decay=settings["reg"])
    for epoch in range(1, request["epochs"] + 1):
        start, total = time.perf_counter(), 0.0
        model.train()
        for fields, target in tqdm(train, smoothing=0, mininterval=1.0):
            loss = criterion(model(fields), target.float())
            model.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        spent = time.perf_counter() - start
        yield {"epoch": epoch, "seconds": spent, "rows_per_s": n_train / spent, "loss": total / len(train)}
    model.eval()
    with torch.no_grad():
        scored = [(model(fields), target) for fields, target in test]
    predictions, targets = map(torch.cat, zip(*scored, strict=True))
    yield {"auc": roc_auc_score(targets, predictions)}


if __name__ == "__main__":
    answer(work, "torchfm", "torch", "numpy", "pandas")
