"""Optuna: settings found by trial and error, and hopeless trials ended early.

Needs optuna: pip install "recolib[examples]"
"""

import optuna

from recolib import EarlyStopping
from recolib.algorithms import DeepFM
from recolib.data import DatasetFeat, split_by_ratio_chrono
from recolib.datasets import make_movies

frame = make_movies(n_users=300, n_items=150, n_ratings=8_000)
train, validation, test = split_by_ratio_chrono(frame, multi_ratios=[0.8, 0.1, 0.1])
train_data, data_info = DatasetFeat.build_trainset(
    train, user_col=["sex"], item_col=["genre1"], sparse_col=["sex", "genre1"]
)


def objective(trial: optuna.Trial) -> float:
    """The best validation loss of one choice of settings."""

    def report(record: dict[str, float]) -> None:
        trial.report(record["eval_loss"], step=int(record["epoch"]))
        if trial.should_prune():
            raise optuna.TrialPruned  # ends fit

    model = DeepFM(
        "ranking",
        data_info,
        n_epochs=8,
        batch_size=512,
        lr=trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        embed_size=trial.suggest_categorical("embed_size", [4, 8, 16]),
        dropout_rate=trial.suggest_float("dropout_rate", 0.0, 0.5),
        hidden_units=(32, 16),
    )
    model.fit(
        train_data,
        neg_sampling=True,
        verbose=0,
        eval_data=validation,
        early_stopping=EarlyStopping("loss"),
        callbacks=[report],
    )
    return model.history_["eval_loss"].min()


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner(3))
study.optimize(objective, n_trials=10)

n_pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in study.trials)
print(f"{len(study.trials)} trials, {n_pruned} of them ended early")
print(f"best: loss {study.best_value:.4f} with {study.best_params}")
