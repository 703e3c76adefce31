from __future__ import annotations

import pandas as pd
import pytest
import torch

from recolib.algorithms import FM
from recolib.data import DatasetPure
from recolib.data.rows import ABSENT, Rows
from recolib.inference import scoring
from recolib.inference.scoring import Encoded, encode_rows, score_catalogue, score_pairs, users_per_block
from recolib.nn import CodeField, Deep, FieldEmbedding, FieldSpec, Linear, Network, Pairwise, SideLayout
from recolib.nn.embedding import field_numbers

BLOCK = 12
AROUND = [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 5]
USERS = SideLayout((CodeField(30), CodeField(4)), 1)
ITEMS = SideLayout((CodeField(40), CodeField(5, width=3, multi=True)), 2)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(scoring, "NUMBERS_PER_BLOCK", BLOCK)
    monkeypatch.setattr(Network, "numbers_per_pair", 1)


def random_rows(layout: SideLayout, n: int) -> Rows:
    codes = torch.cat(
        [torch.randint(0, f.n_values + 1, (n, f.width), dtype=torch.int32) for f in layout.code_fields], 1
    )
    codes[:, 1:][torch.rand(n, codes.shape[1] - 1) < 0.3] = ABSENT if layout is ITEMS else 0
    return Rows(codes, torch.randn(n, layout.n_dense))


@pytest.fixture(params=["FM", "FM-bn", "DeepFM"])
def network(request) -> Network:
    torch.manual_seed(0)
    spec = FieldSpec(*field_numbers(USERS, ITEMS, "sqrtn"), 4)
    terms = [Linear(spec), Pairwise(spec, use_bn=request.param == "FM-bn")]
    if request.param == "DeepFM":
        terms.append(Deep(spec, (6, 3)))
    network = Network(FieldEmbedding(USERS, 4), FieldEmbedding(ITEMS, 4), terms, bias=0.2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    return network.eval()


@pytest.mark.parametrize("n_items", AROUND)
@pytest.mark.parametrize("n_users", AROUND)
def test_catalogue_scores_are_the_scores_of_the_pairs(network, n_users, n_items):
    users, items = random_rows(USERS, n_users), random_rows(ITEMS, n_items)
    whole = score_catalogue(network, users, encode_rows(network, "item", items)[None], n_items)
    assert whole.shape == (n_users, n_items)
    u, i = torch.cartesian_prod(torch.arange(n_users), torch.arange(n_items)).T
    torch.testing.assert_close(whole, score_pairs(network, users[u], items[i]).view(n_users, n_items))


@pytest.mark.parametrize("n", AROUND)
def test_pairs_in_batches_score_as_pairs_alone(network, n):
    users, items = random_rows(USERS, n), random_rows(ITEMS, n)
    whole = network(users[:, None], items[:, None])[:, 0]
    torch.testing.assert_close(score_pairs(network, users, items), whole)
    one = torch.stack([network(users[i : i + 1][:, None], items[i : i + 1][:, None])[0, 0] for i in range(n)])
    torch.testing.assert_close(whole, one)


@pytest.mark.parametrize("known", ["user", "item", "user item"])
@pytest.mark.parametrize("n", AROUND)
def test_pairs_of_known_states_score_as_their_rows(network, known, n):
    rows = {"user": random_rows(USERS, 9), "item": random_rows(ITEMS, 7)}
    at = {side: torch.randint(0, len(table), (n,), dtype=torch.int32) for side, table in rows.items()}
    asked = {side: table[at[side]] for side, table in rows.items()}
    expected = score_pairs(network, asked["user"], asked["item"])
    for side in known.split():
        asked[side] = Encoded(encode_rows(network, side, rows[side]), at[side])
    torch.testing.assert_close(score_pairs(network, asked["user"], asked["item"]), expected)


@pytest.mark.parametrize("n_users", AROUND)
def test_known_users_meet_the_catalogue_as_their_rows(network, n_users):
    users, items = random_rows(USERS, 9), encode_rows(network, "item", random_rows(ITEMS, 7))[None]
    at = torch.randint(0, 9, (n_users,), dtype=torch.int32)
    whole = score_catalogue(network, Encoded(encode_rows(network, "user", users), at), items, 7)
    torch.testing.assert_close(whole, score_catalogue(network, users[at], items, 7))


def tensors(state) -> list[torch.Tensor]:
    return [tensor for part in state.parts for tensor in vars(part).values()]


@pytest.mark.parametrize("n_items", AROUND)
def test_items_encoded_in_blocks_equal_items_encoded_whole(network, n_items):
    items = random_rows(ITEMS, n_items)
    with torch.no_grad():
        whole = network.encode("item", items)
    in_blocks = encode_rows(network, "item", items)
    for one, other in zip(tensors(in_blocks), tensors(whole), strict=True):
        assert one.shape[0] == n_items
        torch.testing.assert_close(one, other)


def test_scores_know_nothing_of_gradients(network):
    users, items = random_rows(USERS, 3), random_rows(ITEMS, 3)
    states = encode_rows(network, "item", items)[None]
    assert not any(tensor.requires_grad for tensor in tensors(states))
    assert not score_catalogue(network, users, states, 3).requires_grad
    assert not score_pairs(network, users, items).requires_grad


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_the_modules_in_their_mode(network, training):
    users, items = random_rows(USERS, 30), random_rows(ITEMS, 30)
    network.train(training)
    score_pairs(network, users, items)
    score_catalogue(network, users, encode_rows(network, "item", items)[None], 30)
    assert {module.training for module in network.modules()} == {training}


@pytest.mark.parametrize("n_items", [1, 5, 31])
def test_no_block_has_more_pairs_than_it_may(network, monkeypatch, n_items):
    sizes = []
    score = network.score

    def watched(user, item):
        scores = score(user, item)
        sizes.append(scores.numel())
        return scores

    monkeypatch.setattr(network, "score", watched)
    users, items = random_rows(USERS, 29), random_rows(ITEMS, n_items)
    score_catalogue(network, users, encode_rows(network, "item", items)[None], n_items)
    assert sum(sizes) == 29 * n_items
    assert max(sizes) <= BLOCK


@pytest.mark.parametrize("n_items", [0, 1, 1000, 2**23, 2**30])
def test_scores_of_at_least_one_user_are_held_and_of_no_more_than_fit(n_items):
    n_users = users_per_block(n_items)
    assert n_users >= 1
    assert n_users == 1 or n_users * n_items <= scoring.SCORES_PER_BLOCK


def test_scores_beside_a_random_list_are_predictions():
    frame = pd.DataFrame({"user": [1, 1, 2, 2, 3, 3], "item": [1, 2, 2, 3, 3, 4], "label": 1})
    data, info = DatasetPure.build_trainset(frame)
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    items, scores = model.recommend_user(1, 2, random_rec=True, return_scores=True)[1]
    assert scores == pytest.approx(model.predict([1, 1], items.tolist()), abs=1e-5)
