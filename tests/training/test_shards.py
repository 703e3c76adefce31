from __future__ import annotations

import sys

import pytest
import torch

from recolib import FM, DeepFM, SASRec
from recolib.data import DatasetPure
from recolib.datasets import make_movies
from recolib.training import shards

DATA, INFO = DatasetPure.build_trainset(make_movies(n_users=30, n_items=20, n_ratings=200))
SHARED = {"shard": "rows", "optimizer": "rowwise_adagrad", "n_epochs": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shard": "columns"}, r"shard must be one of \['rows'\], got 'columns'"),
        ({"optimizer": "auto"}, "with optimizer='rowwise_adagrad': got 'auto'"),
        ({"ema": 0.9}, "leave ema None"),
        ({"clip_norm": 1.0}, "leave clip_norm None"),
        ({"embed_size": 10}, "a multiple of 4 numbers, got embed_size=10"),
    ],
)
def test_settings_that_do_not_go_with_shards_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        FM("ranking", INFO, **SHARED | given)


def test_models_that_read_what_users_consumed_are_refused():
    for model in (FM("ranking", INFO, history=True, **SHARED), SASRec("ranking", INFO, **SHARED)):
        with pytest.raises(ValueError, match="this model reads what users consumed"):
            model.fit(DATA, neg_sampling=True, verbose=0)


def test_vectors_that_are_frozen_are_refused():
    start = FM("ranking", INFO, embed_size=8, n_epochs=1).fit(DATA, neg_sampling=True, verbose=0)
    model = DeepFM("ranking", INFO, embed_size=8, **SHARED)
    with pytest.raises(ValueError, match="freeze_fm=True"):
        model.fit(DATA, neg_sampling=True, verbose=0, init_from=start, freeze_fm=True)


def test_a_process_alone_trains_as_without_shards():
    shared, whole = (
        FM("ranking", INFO, embed_size=8, **SHARED | {"shard": shard}).fit(DATA, neg_sampling=True, verbose=0)
        for shard in ("rows", None)
    )
    assert all(torch.equal(one, whole._state[name]) for name, one in shared._state.items())


def test_what_is_missing_is_said_with_the_lines_that_install_it(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    monkeypatch.setitem(sys.modules, "torchrec", None)
    with pytest.raises(ImportError, match="is missing or of another torch") as found:
        shards.check_torchrec()
    assert "pip install tensordict torchmetrics==1.0.3 tqdm pyre-extensions\n" in str(found.value)
    assert "pip install --no-deps torchrec==1.8.0 fbgemm-gpu" in str(found.value)


def test_another_release_of_torchrec_is_refused(monkeypatch):
    torchrec = pytest.importorskip("torchrec", reason="needs torchrec: make torchrec")
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    shards.check_torchrec()
    monkeypatch.setattr(torchrec, "__version__", "1.9.2")
    with pytest.raises(ImportError, match=r"and fbgemm are 1\.8\.0 and 1\.9\.2"):
        shards.check_torchrec()


def test_a_torch_that_shards_were_not_tried_with_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    with pytest.raises(ImportError, match=r"was tried with torch 2\.13, and this is torch 2\.99\.0"):
        shards.check_torchrec()
