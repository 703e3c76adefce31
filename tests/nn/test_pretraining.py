from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from worlds import KINDS, World, make_world

from recolib import NotFittedError
from recolib.algorithms import AFM, FM, IFM, INN, NFM, DeepFM, DeepIFM, WideDeep
from recolib.recommender import Recommender

SIZE = 6
PRESERVING: list[tuple[type[Recommender], dict[str, Any]]] = [
    (AFM, {"pair_dropout": 0.1}),
    (IFM, {"temperature": 3.0}),
    (INN, {}),
    (INN, {"hidden_units": (4, 3, 2)}),
    (DeepIFM, {"hidden_units": (5,)}),
    (DeepFM, {"hidden_units": (5,), "combine": "concat"}),
]
FOLDING: list[type[Recommender]] = [NFM, DeepFM]
pytestmark = pytest.mark.filterwarnings("ignore:no context given")


def pretrained(world: World, task: str, negative: bool = False, **more: Any) -> FM:
    data, info = world.build()
    settings: dict[str, Any] = {"embed_size": SIZE, "n_epochs": 4, "lr": 0.05, "batch_size": 64, "init_std": 0.2}
    model = FM(task, info, **settings | {"use_bn": True} | more).fit(data, neg_sampling=task == "ranking", verbose=0)
    if negative:
        with torch.no_grad():
            model.engine.network.components[1].norm.weight[::2] *= -1.5  # pyright: ignore
            model.engine.network.components[1].norm.bias += 0.1  # pyright: ignore
    return model


def network(model: Recommender) -> Any:
    return model.engine.network


def started(cls: type[Recommender], fm: FM, world: World, freeze_fm: bool = False, **more: Any) -> Recommender:
    """A model right after its start: steps of nothing follow."""
    data, info = world.build()
    settings: dict[str, Any] = {"embed_size": SIZE, "n_epochs": 1, "lr": 1e-30, "optimizer": "sgd"}
    model = cls(fm.task, info, **settings | more)
    return model.fit(data, neg_sampling=fm.task == "ranking", verbose=0, init_from=fm, freeze_fm=freeze_fm)


def scores(model: Recommender, world: World, whole: bool = True) -> np.ndarray:
    """Logits or unclipped ratings of all rows; with ``whole`` of those alone where no field is absent."""
    frame = world.frame
    data, info = world.build()
    users = info.users.current[torch.from_numpy(data.user_indices).long()].join(data.context)
    items = info.items.current[torch.from_numpy(data.item_indices).long()]
    present = np.ones(len(frame), bool)
    fields = [network(model).embedding(side)(rows).present for side, rows in (("user", users), ("item", items))]
    present = torch.cat(fields, -1).all(-1).numpy()
    with torch.inference_mode():
        found = network(model)(users[:, None], items[:, None]).squeeze(1).numpy()
    return found[present] if whole else found


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest) -> World:
    return make_world("rating", request.param)


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize(("cls", "settings"), PRESERVING)
def test_a_model_starts_with_the_scores_of_the_fm(cls, settings, negative, world):
    fm = pretrained(world, "rating", negative)
    if negative:
        assert (network(fm).components[1].pair_factors()[0] < 0).any()
    expected = scores(fm, world)
    assert len(expected) > 20
    # w0 is the mean rating: scores near 0 have the rounding of terms of 3
    np.testing.assert_allclose(scores(started(cls, fm, world, **settings), world), expected, rtol=0, atol=4e-6)


@pytest.mark.parametrize(("cls", "settings"), PRESERVING)
def test_predictions_are_the_same_to_a_millionth(cls, settings):
    world = make_world("ranking", "sparse")
    fm = pretrained(world, "ranking", negative=True)
    model = started(cls, fm, world, **settings)
    frame = world.frame
    np.testing.assert_allclose(
        model.predict(frame["user"], frame["item"]), fm.predict(frame["user"], frame["item"]), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("use_bn", [False, True])
def test_deepfm_starts_as_the_fm_by_its_vectors(use_bn, world):
    fm = pretrained(world, "rating", use_bn=use_bn)
    model = started(DeepFM, fm, world, hidden_units=(5,))
    np.testing.assert_allclose(scores(model, world, False), scores(fm, world, False), rtol=0, atol=2e-6)


def test_nfm_starts_with_the_vectors_of_the_fm(world):
    """And with its batch norm in them: their products are the FM's, normalised."""
    fm = pretrained(world, "rating")
    mine, its = network(started(NFM, fm, world, hidden_units=(5,))), network(fm)
    scale, shift = its.components[1].pair_factors()
    for side in ("user", "item"):
        trained = its.embedding(side).trained
        torch.testing.assert_close(
            mine.embedding(side).vectors.weight[trained], (its.embedding(side).vectors.weight * scale.sqrt())[trained]
        )
        torch.testing.assert_close(mine.embedding(side).weights.weight, its.embedding(side).weights.weight)
    torch.testing.assert_close(mine.bias, its.bias + shift)


@pytest.mark.parametrize("cls", FOLDING)
def test_vectors_cannot_turn_a_sign(cls):
    world = make_world("rating", "sparse")
    fm = pretrained(world, "rating", negative=True)
    with pytest.raises(ValueError, match=r"turns the sign of 3 of 6 elements .* use_bn=False"):
        started(cls, fm, world, hidden_units=(5,))


def test_the_fm_itself_is_left_as_it_is():
    world = make_world("rating", "all kinds")
    fm = pretrained(world, "rating")
    before = {name: tensor.clone() for name, tensor in network(fm).state_dict().items()}
    started(NFM, fm, world, lr=0.1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network(fm).state_dict().items())


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam"])
@pytest.mark.parametrize("cls", [AFM, IFM, DeepIFM, NFM])
def test_a_frozen_fm_stands_still_and_the_rest_learns(cls, optimizer):
    world = make_world("rating", "all kinds")
    fm = pretrained(world, "rating", use_bn=False)
    model = started(cls, fm, world, freeze_fm=True, lr=0.05, n_epochs=2, optimizer=optimizer, ema=0.9)
    for mine, its in zip(network(model).embedding_weights(), network(fm).embedding_weights(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-7)  # settling takes means anew
    assert np.abs(scores(model, world) - scores(fm, world)).max() > 1e-3


@pytest.mark.parametrize("ema", [None, 0.99])
def test_what_predicts_stands_still_when_a_trained_model_is_frozen(ema):
    world = make_world("rating", "all kinds")
    data, info = world.build()
    model = AFM("rating", info, embed_size=SIZE, lr=0.05, n_epochs=2, ema=ema)
    model.fit(data, neg_sampling=False, verbose=0)
    before = [weight.detach().clone() for weight in network(model).embedding_weights()]
    model.fit(data, neg_sampling=False, verbose=0, freeze_fm=True)
    for mine, other in zip(network(model).embedding_weights(), before, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)
    model.fit(data, neg_sampling=False, verbose=0)
    assert not torch.allclose(network(model).user.vectors.weight, before[0], atol=1e-3)


def test_freezing_needs_something_to_freeze_and_something_to_train():
    data, info = make_world("rating", "sparse").build()
    with pytest.raises(ValueError, match="freeze_fm=True needs init_from"):
        AFM("rating", info).fit(data, neg_sampling=False, verbose=0, freeze_fm=True)
    fm = FM("rating", info, use_bn=False, n_epochs=1).fit(data, neg_sampling=False, verbose=0)
    with pytest.raises(ValueError, match="nothing to train"):
        fm.fit(data, neg_sampling=False, verbose=0, freeze_fm=True)
    assert len(fm.fit(data, neg_sampling=False, verbose=0).history_) == 2


def test_the_next_fit_thaws_what_was_frozen():
    world = make_world("rating", "all kinds")
    fm = pretrained(world, "rating", use_bn=False)
    model = started(AFM, fm, world, freeze_fm=True, lr=0.05)
    model.fit(world.build()[0], neg_sampling=False, verbose=0)
    assert not torch.allclose(network(model).user.vectors.weight, network(fm).user.vectors.weight, atol=1e-3)


def test_an_average_of_weights_starts_from_the_fm_too():
    world = make_world("rating", "sparse")
    fm = pretrained(world, "rating")
    np.testing.assert_allclose(scores(started(AFM, fm, world, ema=0.99), world), scores(fm, world), rtol=0, atol=2e-6)


def test_attention_learns_from_its_equal_start():
    """A query of zeros has a gradient, if it has no symmetry to break."""
    world = make_world("rating", "all kinds")
    model = started(IFM, pretrained(world, "rating"), world, lr=0.05, optimizer="adam", n_epochs=3)
    pairs = network(model).components[1]
    assert (pairs.query != 0).any()
    assert torch.linalg.matrix_rank(pairs.mixture.detach()) > 1


def test_training_goes_on_from_the_fms_loss():
    """The first epoch from the FM is better than the first by chance."""
    world = make_world("rating", "all kinds")
    data, info = world.build()
    fm = pretrained(world, "rating", n_epochs=20)
    settings: dict[str, Any] = {"embed_size": SIZE, "n_epochs": 1, "lr": 1e-3}
    start, anew = (
        AFM("rating", info, **settings).fit(data, neg_sampling=False, verbose=0, init_from=source).history_
        for source in (fm, None)
    )
    assert start["train_loss"][0] < 0.7 * anew["train_loss"][0]


# ---- what is refused, before any work


def refusing(
    match: str, fm: Any, cls: type[Recommender] = AFM, error: type[Exception] = ValueError, **more: Any
) -> None:
    data, info = make_world("rating", "sparse").build()
    model = cls(more.pop("task", "rating"), info, **{"embed_size": SIZE, **more})
    with pytest.raises(error, match=match):
        model.fit(data, neg_sampling=model.task == "ranking", verbose=0, init_from=fm)
    assert not len(model.history_)


def test_what_does_not_suit_is_refused():
    world = make_world("rating", "sparse")
    fm = pretrained(world, "rating")
    info = world.build()[1]
    refusing("init_from has embed_size=6, and this model 7", fm, embed_size=7)
    refusing("init_from has embed_size=6, and this model leaves it open: pass embed_size=6", fm, embed_size=None)
    refusing("init_from has task='rating', and this model 'ranking'", fm, task="ranking")
    refusing("init_from has multi_sparse_combiner='sqrtn', and this model 'sum'", fm, multi_sparse_combiner="sum")
    refusing("init_from must be a fitted FM, got str", "fm", error=TypeError)
    refusing("no weights yet", FM("rating", info, embed_size=SIZE), error=NotFittedError)
    refusing("init_from must be a factorization machine", started(AFM, fm, world))
    refusing("init_from must be a factorization machine", started(DeepFM, fm, world, hidden_units=(4,)))
    refusing("a term made of pairs of fields, and this one has none", fm, cls=WideDeep)
    refusing("a factorization machine does not start from another", fm, cls=FM)
    refusing("at least 2 units", fm, cls=INN, hidden_units=(1,))
    refusing("at least 2 units", fm, cls=INN, hidden_units=(4, 1))
    refusing("trained on other data", pretrained(make_world("rating", "pure"), "rating"))


def test_a_model_that_was_trained_does_not_start_again():
    world = make_world("rating", "sparse")
    fm = pretrained(world, "rating")
    model = started(AFM, fm, world)
    with pytest.raises(ValueError, match="not trained before"):
        model.fit(world.build()[0], neg_sampling=False, verbose=0, init_from=fm)


def test_freeze_fm_is_a_flag():
    world = make_world("rating", "sparse")
    data, info = world.build()
    with pytest.raises(TypeError, match="freeze_fm"):
        AFM("rating", info).fit(data, neg_sampling=False, freeze_fm="yes")


def test_a_start_takes_the_roots_of_the_scale():
    """On one pair: √α·u · √α·v = α·u·v."""
    world = make_world("rating", "pure")
    fm = pretrained(world, "rating")
    scale = network(fm).components[1].pair_factors()[0]
    mine = network(started(DeepFM, fm, world, hidden_units=(4,)))
    ratio = mine.user.vectors.weight[3] / network(fm).user.vectors.weight[3]
    torch.testing.assert_close(ratio, scale.sqrt(), rtol=1e-4, atol=0)
