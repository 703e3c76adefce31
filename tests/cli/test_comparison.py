"""What models are compared with."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("typer", reason='there is no typer: pip install "recolib[cli]"')

from recolib.cli.comparison import baselines, compare, consumed_frame
from recolib.cli.events import Events
from recolib.data import DatasetPure, split_by_ratio_chrono
from recolib.datasets import make_movies


def test_popularity_leaves_out_what_was_consumed() -> None:
    info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))[1]
    popularity = baselines(info)["popularity"]
    codes = np.arange(info.n_users + 1, dtype=np.int32)
    lists = popularity.rank_items(info.users.current[codes], codes, 10, True, False)
    for code, found in zip(codes, lists, strict=True):
        own = set(info.user_consumed[int(code)].tolist()) if code else set()
        expected = [item for item in info.ranked_items.tolist() if item not in own][:10]
        assert found[found > 0].tolist() == expected
    every = popularity.rank_items(info.users.current[codes], codes, 10, False, False)
    assert (every == info.ranked_items[:10]).all()


def test_what_was_consumed_comes_back() -> None:
    frame = make_movies(n_users=50, n_items=40, n_ratings=800)
    info = DatasetPure.build_trainset(frame.assign(label=(frame["label"] >= 4).astype(int)), consumed="all")[1]
    back = consumed_frame(info)
    expected = frame.assign(label=(frame["label"] >= 4).astype(int))[["user", "item", "label"]]
    assert sorted(map(tuple, back.to_numpy().tolist())) == sorted(map(tuple, expected.to_numpy().tolist()))


def test_ease_is_compared_once() -> None:
    train, test = split_by_ratio_chrono(make_movies(n_users=50, n_items=40, n_ratings=800), test_size=0.2)
    info = DatasetPure.build_trainset(train.assign(label=1))[1]
    model = baselines(info)["EASE"]
    rows = compare(model, Events.of(test.assign(label=1)), 5)  # type: ignore[arg-type]
    assert [row["method"] for row in rows] == ["EASE", "popularity"]
