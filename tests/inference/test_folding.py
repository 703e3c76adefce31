"""What a user is scored from who brings a few interactions."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logit
from test_contract import ALGORITHMS, COMMON, READ_THE_PAST, TYPICAL
from worlds import COLUMNS, N_ITEMS, World, make_world, two_tastes

import recolib
from recolib import UnknownIdWarning
from recolib.algorithms import FM, DeepFM
from recolib.ann import Retriever
from recolib.inference.folding import Catalogue, fold_in, minimise, spread_of
from recolib.inference.history_weight import DEFAULT
from recolib.recommender import Recommender

pytestmark = [
    pytest.mark.filterwarnings("ignore::recolib.UnknownIdWarning"),
    pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter"),
]

OF_ITEMS = {"item_col": ["genre1", "price"], "sparse_col": ["genre1"], "dense_col": ["price"]}
"""Columns of items alone, so that the taste of a user is his vector's to tell."""
EVEN, ODD = ["i2", "i6", "i12"], ["i3", "i7", "i13"]


def fitted(
    task: str = "ranking", kind: str = "sparse", algorithm: type[Recommender] = FM, **settings: Any
) -> Recommender:
    world = make_world(task, "pure" if kind == "items" else kind)
    world = World(world.frame, OF_ITEMS) if kind == "items" else world
    data, info = world.build()
    more: dict[str, Any] = {**COMMON, "n_epochs": 30, "init_std": 0.1, **settings}
    return algorithm(task, info, **more).fit(data, neg_sampling=task == "ranking", verbose=0)


def odds(items: NDArray[Any]) -> list[int]:
    return [int(item[1:]) % 2 for item in items]


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fitted(id_dropout=0.3)


@pytest.fixture(scope="module")
def pure() -> Recommender:
    return fitted(kind="pure", use_bn=False)


@pytest.mark.parametrize(
    ("algorithm", "settings", "task", "kind"),
    [
        (*one, "ranking", "all kinds")
        for one in ALGORITHMS
        if one[0] not in READ_THE_PAST and not one[1].get("history")  # they do not fold in
    ]
    + [
        (*one, *world)
        for one in TYPICAL
        for world in (("ranking", "pure"), ("rating", "pure"), ("rating", "all kinds"))
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_a_history_of_one_taste_gives_items_of_that_taste(
    algorithm: type[Recommender], settings: dict[str, Any], task: str, kind: str
) -> None:
    model = fitted(task, kind, algorithm, **settings)
    lists = model.recommend_user(["a", "b"], 4, history={"a": EVEN, "b": ODD})
    assert sum(odds(lists["a"])) <= 1
    assert sum(odds(lists["b"])) >= 3
    assert not set(lists["a"]) & set(EVEN)
    single = model.recommend_user("a", 4, history=EVEN)
    assert single["a"].tolist() == lists["a"].tolist()


def logits(model: Recommender, point: NDArray[np.float64], row: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores of a pure FM of all items, by hand: w0 + w_u + w_i + ⟨v_u, v_i⟩."""
    network = model.engine.network
    vectors, weights = (
        table.weight.detach().double().numpy()[2:] for table in (network.item.vectors, network.item.weights)
    )
    user = row + point
    return network.bias.item() + user[-1] + weights[:, 0] + vectors @ user[:-1]


def own_rows(model: Recommender) -> NDArray[np.float64]:
    """The vectors and linear weights of the ids: the average, code 0, and all users."""
    user = model.engine.network.user  # pyright: ignore[reportPrivateUsage]
    return torch.cat([user.vectors.weight, user.weights.weight], 1).detach().double().numpy()


@pytest.mark.parametrize("who", ["new", 104])
def test_the_fit_is_the_least_of_what_the_docstring_says(pure: Recommender, who: str | int) -> None:
    rows, info = own_rows(pure), pure.data_info
    covariance = np.cov(rows[2:].T)
    start, prior_weight = rows[0], 1.0
    if who == 104:
        start, prior_weight = rows[1 + info.user2id[104]], 1.0 + len(info.user_consumed[info.user2id[104]])
    precision = prior_weight * np.linalg.inv(covariance)
    met = [info.item2id[item] - 1 for item in ODD]

    def objective(moved: NDArray[np.float64]) -> float:
        scores = logits(pure, moved, start)
        return DEFAULT * (len(met) * np.logaddexp.reduce(scores) - scores[met].sum()) + 0.5 * moved @ precision @ moved

    root = np.linalg.cholesky(covariance)
    best = minimize(lambda z: objective(root @ z), np.zeros(len(start)), method="BFGS", options={"gtol": 1e-8}).x
    probabilities = 1 / (1 + np.exp(-logits(pure, root @ best, start)))
    items, scores = pure.recommend_user(who, N_ITEMS, history=ODD, filter_consumed=False, return_scores=True)[who]
    codes = np.array([info.item2id[item] for item in items])
    np.testing.assert_allclose(scores, probabilities[codes - 1], atol=2e-4)
    assert np.abs(scores - pure.predict(who, items)).max() > 0.005  # he was moved


def test_steps_reach_the_least_of_many_functions_at_once() -> None:
    rng = np.random.default_rng(0)
    roots = torch.from_numpy(rng.normal(size=(5, 4, 4))).float()
    shapes = roots @ roots.mT + torch.eye(4)
    centres = torch.from_numpy(rng.normal(size=(5, 4))).float()

    def objective(point: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        away = point - centres
        slope = (shapes @ away.unsqueeze(-1)).squeeze(-1)
        return 0.5 * (away * slope).sum(1), slope

    torch.testing.assert_close(minimise(objective, torch.zeros(5, 4)), centres, atol=2e-3, rtol=0)


def covariance(model: Recommender, *is_unknown: bool) -> NDArray[np.float64]:
    """That which the spread is a root of, of all fields of the user's side, (F·(K+1), F·(K+1))."""
    root = spread_of(model.engine.network, model.data_info, np.array(is_unknown)).double()  # pyright: ignore[reportPrivateUsage]
    return (root.flatten(0, 1) @ root.flatten(0, 1).T).numpy()


def test_a_spread_is_a_root_of_the_covariance_of_what_is_not_known(model: Recommender) -> None:
    info = model.data_info
    rows = own_rows(model)
    own, sex = rows[2 : 2 + info.n_users], rows[2 + info.n_users :]  # each block begins with its average and code 0
    of_sex = sex[info.users.current.codes[1:, 1].numpy() + 1]
    known = np.zeros_like(of_sex)
    for is_unknown, second in (((True, False), known), ((False, False), known), ((True, True), of_sex)):
        np.testing.assert_allclose(covariance(model, *is_unknown), np.cov(np.hstack([own, second]).T), atol=1e-6)


def test_users_who_have_only_features_are_not_in_the_spread() -> None:
    data, info = World(two_tastes(), COLUMNS["sparse"]).apart().build()
    model = FM("ranking", info, **COMMON).fit(data, neg_sampling=True, verbose=0)
    trained = info.users.current.codes[1:, 0].numpy() > 0
    assert not trained.all()
    rows = own_rows(model)[2 : 2 + info.n_users][trained]
    n = rows.shape[1]
    np.testing.assert_allclose(covariance(model, True, False)[:n, :n], np.cov(rows.T), atol=1e-6)


def test_of_a_long_catalogue_some_items_stand_for_all(monkeypatch: pytest.MonkeyPatch, pure: Recommender) -> None:
    monkeypatch.setattr("recolib.inference.folding.HEAD", 5)
    monkeypatch.setattr("recolib.inference.folding.TAIL", 4)
    info, own = pure.data_info, np.array([19, 20], np.int32)
    states = pure.engine.items
    assert states is not None
    catalogue = Catalogue.of(info, lambda codes: states[torch.from_numpy(codes).long()], own, torch.device("cpu"))
    assert set(info.ranked_items[:5]) | set(own) <= set(catalogue.codes.tolist())
    assert len(catalogue.codes) < 12 < N_ITEMS
    assert catalogue.log_shares.exp().sum().item() == pytest.approx(N_ITEMS)
    assert (np.diff(catalogue.codes) > 0).all()
    lists = pure.recommend_user(["a", "b"], 4, history={"a": EVEN, "b": ODD})
    assert odds(lists["a"]) == [0] * 4
    assert odds(lists["b"]) == [1] * 4


def test_more_of_one_taste_says_more() -> None:
    model = fitted()
    few, many = (
        model.recommend_user("new", 20, history=history, return_scores=True, filter_consumed=False)["new"]
        for history in (EVEN[:1], [f"i{n}" for n in range(0, 12, 2)])
    )
    gaps = [
        logit(scores)[np.array(odds(items)) == 0].mean() - logit(scores)[np.array(odds(items)) == 1].mean()
        for items, scores in (few, many)
    ]
    assert 0 < gaps[0] < gaps[1]


def test_no_history_is_an_empty_one(model: Recommender) -> None:
    plain = model.recommend_user(["a", "b"], 5, return_scores=True)
    for history in ({}, {"a": []}, {"a": [], "b": ()}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asked = model.recommend_user(["a", "b"], 5, history=history, return_scores=True)
        assert all((asked[u][0] == plain[u][0]).all() and (asked[u][1] == plain[u][1]).all() for u in plain)
    assert model.recommend_user("a", 5, history=[])["a"].tolist() == plain["a"][0].tolist()


def test_who_has_no_history_is_answered_as_ever(model: Recommender) -> None:
    plain = model.recommend_user(["a", 101, "b"], 5, [{"sex": "F"}, {"sex": "M"}, {}], cold_start="features")
    asked = model.recommend_user(
        ["a", 101, "b"], 5, [{"sex": "F"}, {"sex": "M"}, {}], cold_start="features", history={"b": ODD}
    )
    assert [asked[u].tolist() for u in ("a", 101)] == [plain[u].tolist() for u in ("a", 101)]
    assert odds(asked["b"]) == [1] * 5


def test_features_stand_beside_a_history(model: Recommender) -> None:
    for how in ("average", "features"):
        scores = [
            model.recommend_user("new", 5, feats, cold_start=how, history=["i0"], return_scores=True)["new"][1].max()
            for feats in ({"sex": "F"}, {"sex": "M"}, None)
        ]
        assert len(set(scores)) == 3


def test_a_known_user_is_held_by_what_he_consumed(pure: Recommender) -> None:
    plain = pure.recommend_user(101, 3, filter_consumed=False)[101]
    assert odds(plain) == [1] * 3
    moved = pure.recommend_user(101, 20, history=EVEN[:1], filter_consumed=False, return_scores=True)[101]
    new = pure.recommend_user("new", 20, history=EVEN[:1], filter_consumed=False, return_scores=True)["new"]
    assert odds(moved[0][:3]) == [1] * 3
    change = {
        who: np.abs(logit(scores) - logit(pure.predict(who, items))).mean()
        for who, (items, scores) in ((101, moved), ("new", new))
    }
    assert 0 < change[101] < change["new"]


def test_a_history_is_left_out_if_what_is_consumed_is(model: Recommender) -> None:
    items = model.recommend_user("new", 20, history=EVEN)["new"]
    assert set(items) == {f"i{n}" for n in range(N_ITEMS)} - set(EVEN)
    assert set(model.recommend_user("new", 20, history=EVEN, filter_consumed=False)["new"]) >= set(EVEN)
    both = model.recommend_user(["new", "b"], 20, history={"new": EVEN, "b": ODD}, exclude={"new": ["i0"]})
    assert set(both["new"]) == {f"i{n}" for n in range(1, N_ITEMS)} - set(EVEN)
    assert set(both["b"]) == {f"i{n}" for n in range(N_ITEMS)} - set(ODD)
    known = model.recommend_user(100, 20, history=["i0", "i2", "i4"])[100]
    consumed = {model.data_info.id2item[code] for code in model.user_consumed[model.data_info.user2id[100]]}
    assert not set(known) & (consumed | {"i0", "i2", "i4"})


def test_items_that_stand_twice_count_once(model: Recommender) -> None:
    once, twice = (model.recommend_user("new", 5, history=h, return_scores=True)["new"] for h in (EVEN, EVEN * 2))
    assert (once[1] == twice[1]).all()


def test_unknown_items_are_warned_of_and_ignored(model: Recommender) -> None:
    with pytest.warns(UnknownIdWarning, match="1 of the history are unknown items"):
        some = model.recommend_user("new", 5, history=[*EVEN, "nothing"])["new"]
    assert some.tolist() == model.recommend_user("new", 5, history=EVEN)["new"].tolist()
    with pytest.warns(UnknownIdWarning, match="history"):
        none = model.recommend_user("new", 5, history=["nothing"])["new"]
    assert none.tolist() == model.recommend_user("new", 5)["new"].tolist()


def test_inner_ids_ask_the_same(model: Recommender) -> None:
    info = model.data_info
    inner = model.recommend_user(0, 5, history=[info.item2id[item] for item in EVEN], inner_id=True)[0]
    assert [info.id2item[code] for code in inner] == model.recommend_user("new", 5, history=EVEN)["new"].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"user": ["a", "b"], "history": EVEN}, "history of several users must map each"),
        ({"user": "a", "history": EVEN, "cold_start": "popular"}, "history says what a user is scored from"),
        ({"user": "a", "history": EVEN, "cold_start": lambda *_: []}, "history says what a user is scored from"),
        ({"user": "a", "history": {"a": np.zeros((2, 2))}}, r"history\['a'\] must be an id, or a flat list"),
        ({"user": "a", "history": [1.5]}, "history"),
    ],
)
def test_bad_histories_are_refused(model: Recommender, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        model.recommend_user(n_rec=3, **arguments)


@pytest.mark.parametrize("algorithm", [FM, DeepFM])
def test_a_question_changes_nothing_and_repeats_in_threads(algorithm: type[Recommender]) -> None:
    model = fitted(algorithm=algorithm, kind="all kinds", n_epochs=3)
    network = model.engine.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    histories = {f"n{n}": [f"i{n % 20}", f"i{(n + 2) % 20}"] for n in range(16)}

    def ask(user: str) -> list[float]:
        items, scores = model.recommend_user(user, 5, history=histories[user], return_scores=True)[user]
        return [*items, *scores.tolist()]

    state = torch.get_rng_state()
    expected = {user: ask(user) for user in histories}
    wrong: list[str] = []
    threads = [
        threading.Thread(target=lambda: wrong.extend(u for u in histories if ask(u) != expected[u])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None and weight.requires_grad for weight in network.parameters())
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_it_goes_by_the_weights_as_they_are_now() -> None:
    def scores(model: Recommender) -> list[float]:
        return model.recommend_user("new", 5, history=EVEN, return_scores=True)["new"][1].tolist()

    model = fitted(n_epochs=2)
    once = scores(model)
    data, _ = make_world("ranking", "sparse").build()
    model.fit(data, neg_sampling=True, verbose=0)
    assert once != scores(model) == scores(fitted(n_epochs=4))


def test_a_loaded_model_folds_in_to_the_bit(model: Recommender, tmp_path: Any) -> None:
    back = recolib.load(model.save(tmp_path, "m"))
    one, other = (m.recommend_user("new", 5, history=ODD, return_scores=True)["new"] for m in (model, back))
    assert (one[0] == other[0]).all()
    assert (one[1] == other[1]).all()


def test_a_retriever_finds_for_folded_users(model: Recommender) -> None:
    found = model.recommend_user(["a", "b"], 4, history={"a": EVEN, "b": ODD}, retriever=Retriever(model))
    assert odds(found["a"]) == [0] * 4
    assert odds(found["b"]) == [1] * 4
    assert not set(found["a"]) & set(EVEN)


def test_users_in_blocks_are_users_at_once(monkeypatch: pytest.MonkeyPatch, pure: Recommender) -> None:
    info = pure.data_info
    states = pure.engine.item_states
    network = pure.engine.network
    codes = np.array([0, 3, 0, 5, 0], np.int32)
    histories = [np.array(one, np.int32) for one in ([1, 2], [], [4], [7, 8, 9], [])]
    users = info.users.rows[torch.from_numpy(codes)].averaged(codes)
    prior_weight = np.ones(5)
    whole = fold_in(network, info, states, users, histories, prior_weight, DEFAULT)
    monkeypatch.setattr("recolib.inference.folding.pairs_per_block", lambda _: 1)
    single = fold_in(network, info, states, users, histories, prior_weight, DEFAULT)
    plain = network.encode("user", users)
    at_once, in_blocks, before = (
        network.vectors("user", state) for state in (whole.states[whole.codes], single.states[single.codes], plain)
    )
    assert at_once is not None
    assert before is not None
    torch.testing.assert_close(at_once, in_blocks, atol=1e-4, rtol=1e-3)
    assert (at_once == before).all(1).tolist() == [False, True, False, False, True]
