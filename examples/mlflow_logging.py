"""MLflow: settings, each epoch's metrics and the model's file in one run.

Needs mlflow: pip install "recolib[examples]"
"""

import tempfile
from pathlib import Path

import mlflow

from recolib.algorithms import FM
from recolib.data import DatasetFeat, split_by_ratio_chrono
from recolib.datasets import make_movies

train, test = split_by_ratio_chrono(make_movies(n_users=500, n_items=200, n_ratings=20_000), test_size=0.2)
train_data, data_info = DatasetFeat.build_trainset(
    train, user_col=["sex"], item_col=["genre1"], sparse_col=["sex", "genre1"]
)


def log(record: dict[str, float]) -> None:
    """What ``fit`` calls after each epoch: the record's numbers go to the active run."""
    values = {name: value for name, value in record.items() if name != "epoch"}
    mlflow.log_metrics(values, step=int(record["epoch"]))


folder = Path(tempfile.mkdtemp())  # in practice beside your code, or the address of a server
mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
mlflow.set_experiment(experiment_id=mlflow.create_experiment("movies", artifact_location=(folder / "files").as_uri()))
settings = {"n_epochs": 3, "lr": 0.01, "embed_size": 16}
with mlflow.start_run() as run:
    mlflow.log_params(settings)
    model = FM("ranking", data_info, **settings)
    model.fit(train_data, neg_sampling=True, verbose=0, eval_data=test, metrics=["loss", "roc_auc"], callbacks=[log])
    mlflow.log_artifact(str(model.save(folder, "movies")))

kept = mlflow.MlflowClient().get_metric_history(run.info.run_id, "eval_roc_auc")
print("eval_roc_auc by epoch:", [round(metric.value, 3) for metric in kept])
print(f"see the run: pip install mlflow; mlflow ui --backend-store-uri sqlite:///{folder}/mlflow.db")
