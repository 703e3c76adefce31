"""A server of a model whose columns are hashed: any value may be asked with, and buckets are shown."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from starlette.testclient import TestClient

from recolib.algorithms import FM
from recolib.data import DatasetFeat
from recolib.recommender import Recommender
from recolib.serving import create_app, publish

pytestmark = pytest.mark.filterwarnings("error::recolib.exceptions.UnseenValueWarning")


@pytest.fixture(scope="module")
def hashed(frame: pd.DataFrame) -> Recommender:
    data, info = DatasetFeat.build_trainset(
        frame,
        item_col=["genre", "tags"],
        context_col=["hour"],
        sparse_col=["genre", "hour"],
        multi_sparse_col=["tags"],
        encoding="hash",
        n_buckets=60,
    )
    return FM("ranking", info, n_epochs=3, embed_size=8).fit(data, neg_sampling=True, verbose=0)


def test_any_value_can_be_asked_with_and_buckets_are_shown(hashed: Recommender, tmp_path: Path) -> None:
    pointer, model = publish(tmp_path / "CURRENT", hashed.save(tmp_path, "hashed")), hashed
    genres = model.data_info.item_frame().set_index("item")["genre"]
    with TestClient(create_app(pointer)) as client:
        about = client.get("/v1/model").json()
        hour = about["context_columns"][0]
        assert (hour["name"], hour["kind"], hour["values"], hour["n_values"]) == ("hour", "category", [], None)
        for value in (9, "nine", 999, "bucket 7 of 60"):
            body = {"users": [3], "n_rec": 4, "context": {"hour": value}, "columns": ["genre"]}
            (found,) = client.post("/v1/recommend", json=body).json()["results"]
            expected = model.recommend_user(3, 4, context={"hour": value})[3].tolist()
            assert [one["item"] for one in found["items"]] == expected
            assert [one["columns"]["genre"] for one in found["items"]] == genres[expected].tolist()
        said = client.post("/v1/explain", json={"user": 3, "item": 101, "feats": {"hour": 5}, "n_terms": 500}).json()
        shown = model.data_info.vocabs["hour"].code(5)
        assert f"bucket {shown} of 60" in str(said["terms"])
        assert client.get("/openapi.json").status_code == 200
