"""MLflow: a model of lists that anything of MLflow's can serve. A frame goes in, a frame comes out.

MLflow keeps this file and recolib's own, and pickles nothing: it runs the first and hands it the second. A row of the
input is a user; other columns are features to use instead of the known ones.

Needs mlflow: pip install "recolib[examples]"
"""

import tempfile
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

import recolib


class Lists(PythonModel):
    """The best items for each user of a frame."""

    def load_context(self, context: PythonModelContext) -> None:
        self.model = recolib.load(context.artifacts["model"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, int] | None = None
    ) -> pd.DataFrame:
        """A row for each place in a list: user, rank, item, score."""
        users, feats = model_input["user"].tolist(), model_input if len(model_input.columns) > 1 else None
        n_rec = (params or {}).get("n_rec", 10)
        lists = self.model.recommend_user(users, n_rec, user_feats=feats, cold_start="features", return_scores=True)
        rows = [(user, rank, *one) for user in users for rank, one in enumerate(zip(*lists[user], strict=True), 1)]
        return pd.DataFrame(rows, columns=["user", "rank", "item", "score"])


mlflow.models.set_model(Lists())  # what MLflow takes when it runs this file

if __name__ == "__main__":
    from mlflow.models import infer_signature

    from recolib.datasets import make_movies

    data, info = recolib.DatasetFeat.build_trainset(
        make_movies(n_users=200, n_items=100, n_ratings=5000), user_col=["sex"], sparse_col=["sex"]
    )
    trained = recolib.FM("ranking", info, n_epochs=3, id_dropout=0.1).fit(data, neg_sampling=True, verbose=0)
    folder, users = Path(tempfile.mkdtemp()), pd.DataFrame({"user": [info.id2user[1], 9001], "sex": ["F", "M"]})
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")  # in practice the address of a server
    mlflow.create_experiment("movies", artifact_location=(folder / "files").as_uri())
    mlflow.set_experiment("movies")
    logged = mlflow.pyfunc.log_model(
        name="lists",
        python_model=__file__,  # this file as it stands
        artifacts={"model": str(trained.save(folder, "movies"))},
        signature=infer_signature(users, params={"n_rec": 10}),
        pip_requirements=["recolib", "mlflow-skinny"],
    )
    print(mlflow.pyfunc.load_model(logged.model_uri).predict(users, params={"n_rec": 3}).to_string(index=False))
    print("kept:", sorted(file.name for file in folder.glob("files/**/artifacts/**/*") if file.is_file()))
