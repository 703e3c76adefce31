"""What the model says of those of whom it knows the features alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from worlds import COLUMNS, World, two_tastes

from recolib import FM, DeepFM, UnknownIdWarning
from recolib.data.rows import UNKNOWN
from recolib.recommender import Recommender
from recolib.sampling import SAMPLERS
from recolib.training.batches import Examples
from recolib.training.order import batch_bounds

WORLD = World(two_tastes(40, 30), COLUMNS["sparse"])


def fitted(algorithm: type[Recommender] = FM, **settings: Any) -> Recommender:
    data, info = WORLD.build()
    common = {"embed_size": 8, "n_epochs": 12, "lr": 0.02, "batch_size": 64}
    return algorithm("ranking", info, num_neg=1, **{**common, **settings}).fit(data, neg_sampling=True, verbose=0)


def batches(share: float | tuple[float, float], epoch: int = 0, num_neg: int = 2) -> tuple[np.ndarray, np.ndarray]:
    data, info = WORLD.build()
    examples = Examples.of(
        data,
        SAMPLERS["random"](info),
        num_neg,
        torch.device("cpu"),
        share if isinstance(share, tuple) else (share, share),
    )
    candidates, hidden = examples.candidates(1, epoch), examples.dropped_ids(1, epoch)
    some = examples.batches(torch.arange(len(data)), candidates, batch_bounds(len(data), 50), hidden)
    users, items = zip(*((users.codes[..., 0], items.codes[..., 0]) for users, items, *_ in some), strict=True)
    return torch.cat(users).numpy(), torch.cat(items).numpy()


def test_a_share_of_the_ids_is_hidden_each_side_by_itself():
    users, items = batches(0.3)
    whole_users, whole_items = batches(0.0)
    for hidden, whole in ((users, whole_users), (items, whole_items)):
        assert abs((hidden == UNKNOWN).mean() - 0.3) < 0.06
        assert (hidden[hidden != UNKNOWN] == whole[hidden != UNKNOWN]).all()
        assert (whole != UNKNOWN).all()
    both = ((users == UNKNOWN) & (items == UNKNOWN)).mean()
    assert abs(both - 0.09) < 0.04


def test_one_side_alone_can_be_hidden(tmp_path):
    users, items = batches((0.3, 0.0))
    assert abs((users == UNKNOWN).mean() - 0.3) < 0.06
    assert (items != UNKNOWN).all()
    users, items = batches((0.0, 0.3))
    assert (users != UNKNOWN).all()
    assert abs((items == UNKNOWN).mean() - 0.3) < 0.06
    model = fitted(id_dropout=[0.3, 0], n_epochs=1)
    network = model.engine.network
    assert network.user.trained[1]
    assert not network.item.trained[1]
    back = FM.load(model.save(tmp_path, "m").parent, "m")
    assert back.id_dropout == model.id_dropout == (0.3, 0)


def test_each_epoch_hides_others_and_repeats_itself():
    once, again, later = batches(0.3)[0], batches(0.3)[0], batches(0.3, epoch=1)[0]
    assert (once == again).all()
    assert (once != later).any()


def test_what_is_hidden_leaves_negatives_as_they_were():
    hidden, whole = batches(0.5)[1], batches(0.0)[1]
    shown = hidden != UNKNOWN
    assert (hidden[shown] == whole[shown]).all()


@pytest.mark.parametrize("algorithm", [FM, DeepFM])
def test_hidden_ids_teach_code_0_to_speak_from_features(algorithm: type[Recommender]):
    model = fitted(algorithm, id_dropout=0.3)
    lists = {sex: model.recommend_user("new", 5, {"sex": sex}, cold_start="features")["new"].tolist() for sex in "FM"}
    right = [int(item[1:]) % 2 == (sex == "M") for sex, items in lists.items() for item in items]
    assert np.mean(right) == 1.0


def test_features_are_scored_from_code_0_and_the_average_is_not():
    model = fitted(id_dropout=0.5)
    scores = [model.predict("new", "i4", {"sex": "F"}, cold_start=how) for how in ("features", "average")]
    assert scores[0] != scores[1]
    info, network = model.data_info, model.engine.network
    users = info.users.rows[torch.tensor([0])]
    users.codes[0, 1] = info.vocabs["sex"].code("F")
    with torch.no_grad():
        logit = network(users[:, None], info.items.rows[torch.tensor([info.item2id["i4"]])][:, None])
    assert scores[0] == pytest.approx(float(logit.sigmoid()), rel=1e-5)


def test_without_it_code_0_is_the_average():
    model = fitted()
    with pytest.warns(UnknownIdWarning):
        pairs = [model.predict(["new", 100], ["i4", "none"], cold_start=how) for how in ("features", "average")]
    np.testing.assert_allclose(pairs[0], pairs[1], rtol=1e-5)
    embedding = model.engine.network.user  # pyright: ignore[reportPrivateUsage]
    assert not embedding.trained[1]


def test_known_users_are_asked_about_as_ever():
    model = fitted(id_dropout=0.2)
    assert model.predict(100, "i4", cold_start="features") == model.predict(100, "i4")
    one, other = (model.recommend_user([100, 101], 4, cold_start=how) for how in ("features", "average"))
    assert all(one[user].tolist() == other[user].tolist() for user in (100, 101))


def test_it_is_saved_and_trains_on_to_the_bit(tmp_path):
    data, _ = WORLD.build()
    whole, part = fitted(id_dropout=0.2, n_epochs=2), fitted(id_dropout=0.2, n_epochs=1)
    back = FM.load(part.save(tmp_path, "m").parent, "m").fit(data, neg_sampling=True, verbose=0)
    assert back.id_dropout == 0.2
    for one, other in zip(whole.engine.network.parameters(), back.engine.network.parameters(), strict=True):  # pyright: ignore
        assert torch.equal(one, other)


@pytest.mark.parametrize("wrong", [-0.1, 1.0, "half", None, True, (0.1,), (0.1, 0.2, 0.3), (0.1, 1.0), (0.1, "no")])
def test_a_share_is_a_number_below_1(wrong: object):
    with pytest.raises((ValueError, TypeError), match="id_dropout"):
        fitted(id_dropout=wrong)
