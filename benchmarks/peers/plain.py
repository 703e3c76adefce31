"""DeepFM as one writes it in a notebook: plain PyTorch, a ``DataLoader``, Adam."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.protocol import Record, answer


class DeepFM(nn.Module):
    """Two columns of codes -> the probability of a like."""

    def __init__(self, n_users: int, n_items: int, embed_size: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        sizes = n_users, n_items
        self.weights = nn.ModuleList(nn.Embedding(size, 1) for size in sizes)
        self.vectors = nn.ModuleList(nn.Embedding(size, embed_size) for size in sizes)
        for table in (*self.weights, *self.vectors):
            nn.init.normal_(table.weight, std=0.01)  # with nn.Embedding's own N(0, 1) it learns far less
        self.bias = nn.Parameter(torch.zeros(1))
        widths = [2 * embed_size, *hidden]
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [nn.Linear(width, following), nn.BatchNorm1d(following), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, 2) -> probabilities (B,)."""
        first = sum(table(codes[:, number]) for number, table in enumerate(self.weights))
        user, item = (table(codes[:, number]) for number, table in enumerate(self.vectors))
        pair = (user * item).sum(1, keepdim=True)
        deep = self.layers(torch.cat([user, item], dim=1))
        return torch.sigmoid(self.bias + first + pair + deep).squeeze(1)


def work(request: Record) -> Iterator[Record]:
    """The speed of each epoch, and the test AUC after the last."""
    torch.set_num_threads(request["threads"])
    torch.manual_seed(request["seed"])
    settings = request["settings"]
    frame = pd.read_csv(request["ratings"])
    codes = torch.from_numpy(frame[["user", "item"]].to_numpy())
    labels = torch.from_numpy(frame["label"].to_numpy("float32"))
    n_train, n_valid, _ = request["sizes"]
    loader = DataLoader(
        TensorDataset(codes[:n_train], labels[:n_train]), batch_size=settings["batch_size"], shuffle=True
    )
    n_users, n_items = (codes.amax(0) + 1).tolist()
    model = DeepFM(n_users, n_items, settings["embed_size"], settings["hidden_units"], settings["dropout_rate"])
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], weight_decay=settings["reg"])
    criterion = nn.BCELoss()
    for epoch in range(1, request["epochs"] + 1):
        start, total = time.perf_counter(), 0.0
        model.train()
        for batch, target in loader:
            optimizer.zero_grad()
            loss = criterion(model(batch), target)
            loss.backward()
            optimizer.step()
            total += loss.item()
        spent = time.perf_counter() - start
        yield {"epoch": epoch, "seconds": spent, "rows_per_s": n_train / spent, "loss": total / len(loader)}
    model.eval()
    with torch.no_grad():
        yield {"auc": roc_auc_score(labels[n_train + n_valid :], model(codes[n_train + n_valid :]))}


if __name__ == "__main__":
    answer(work, "torch", "numpy", "pandas")
