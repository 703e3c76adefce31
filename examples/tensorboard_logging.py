"""TensorBoard: each epoch's loss and metrics as curves, two runs side by side.

Needs tensorboard: pip install "recolib[examples]"
"""

import tempfile
from collections.abc import Callable

from torch.utils.tensorboard import SummaryWriter

from recolib.algorithms import FM
from recolib.data import DatasetFeat, split_by_ratio_chrono
from recolib.datasets import make_movies

train, test = split_by_ratio_chrono(make_movies(n_users=500, n_items=200, n_ratings=20_000), test_size=0.2)
train_data, data_info = DatasetFeat.build_trainset(
    train, user_col=["sex"], item_col=["genre1"], sparse_col=["sex", "genre1"]
)


def logging_to(writer: SummaryWriter) -> Callable[[dict[str, float]], None]:
    """A function that ``fit`` calls after each epoch."""

    def log(record: dict[str, float]) -> None:
        for name, value in record.items():
            if name != "epoch":
                writer.add_scalar(
                    name.replace("_", "/", 1) if name.startswith("eval_") else name, value, record["epoch"]
                )

    return log


folder = tempfile.mkdtemp(prefix="runs-")  # in practice "runs", beside your code
for lr in (0.001, 0.01):
    with SummaryWriter(f"{folder}/lr={lr}") as writer:
        model = FM("ranking", data_info, n_epochs=3, lr=lr)
        model.fit(
            train_data,
            neg_sampling=True,
            verbose=0,
            eval_data=test,
            metrics=["loss", "roc_auc"],
            callbacks=[logging_to(writer)],
        )
    print(f"lr={lr}: eval_roc_auc {model.history_['eval_roc_auc'].iloc[-1]:.3f}")
print(f"see both runs: tensorboard --logdir {folder}")
