"""What users consumed: of each event what came before it, in training and in answers."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

import recolib
from recolib.algorithms import DIN, EASE, FM, NFM, DeepFM, SASRec, YouTubeRetrieval
from recolib.data import DatasetFeat, DatasetPure
from recolib.data.log import NO_TIMES, ConsumedLog, past_of_lists
from recolib.data.rows import Past, Rows
from recolib.evaluation.metrics import ndcg
from recolib.exceptions import UnknownIdWarning, UnorderedHistoryWarning
from recolib.fitting.defaults import hold_out
from recolib.fitting.item_to_item import LIST_LENGTH, _Trial  # pyright: ignore[reportPrivateUsage]
from recolib.nn.past import PaddedItems, PastItems
from recolib.recommender import Recommender
from recolib.training.catalogue import CatalogueExamples
from recolib.training.catalogue_losses import Positives, softmax, softmax_of_vectors
from recolib.training.closed_form import item_to_item
from recolib.training.pasts import EventPasts

QUIET: dict[str, Any] = {"neg_sampling": True, "verbose": 0}
READERS: list[tuple[type[Recommender], dict[str, Any]]] = [
    (EASE, {}),
    (EASE, {"history": "recent"}),
    (FM, {"history": True}),
    (FM, {"history": "recent"}),
    (FM, {"item_to_item": True, "item_to_item_l2": 5.0, "item_to_item_weight": 2.0}),
    (FM, {"history": "recent", "item_to_item": True, "item_to_item_l2": 5.0, "item_to_item_weight": 2.0}),
    (NFM, {"history": True, "item_to_item": True, "hidden_units": (8,)}),
    (DeepFM, {"history": True, "hidden_units": (8,)}),
    (YouTubeRetrieval, {"hidden_units": (8,)}),
    (SASRec, {"n_layers": 2, "n_heads": 2}),
    (DIN, {"hidden_units": (8,), "attention_units": 4}),
]
every_reader = pytest.mark.parametrize(
    ("cls", "settings"),
    READERS,
    ids=[f"{cls.__name__}-{settings}" for cls, settings in READERS],
)


def events(n: int = 400, seed: int = 0, n_users: int = 20, n_items: int = 15) -> pd.DataFrame:
    """Of each user items that follow each other by their numbers, with some chance; times repeat."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"user": rng.integers(0, n_users, n), "item": rng.integers(0, n_items, n)})
    follows = rng.random(n) < 0.7
    for _, rows in frame.groupby("user"):
        for before, at in zip(rows.index, rows.index[1:], strict=False):
            if follows[at]:
                frame.loc[at, "item"] = (frame.loc[before, "item"] + 1) % n_items
    return frame.assign(item="i" + frame["item"].astype(str), label=1, time=np.sort(rng.integers(0, n // 3, n)))


def fitted(cls: type[Recommender], settings: dict[str, Any], frame: pd.DataFrame | None = None) -> Recommender:
    data, info = DatasetPure.build_trainset(events() if frame is None else frame)
    few = {} if cls is EASE else {"n_epochs": 4, "embed_size": 8}
    return cls("ranking", info, **{"max_history": 6, **few, **settings}).fit(data, **QUIET)


def spans_by_hand(frame: pd.DataFrame) -> list[list[str]]:
    """The items of each row's user that stand before it in time, or at the same time in rows before it."""
    order = frame["time"].argsort(kind="stable").to_numpy()
    place = np.empty(len(order), int)
    place[order] = np.arange(len(order))
    return [
        [
            frame["item"].iloc[j]
            for j in order
            if frame["user"].iloc[j] == frame["user"].iloc[at] and place[j] < place[at]
        ]
        for at in range(len(frame))
    ]


def items_of(past: Past, at: int) -> NDArray[np.int64]:
    begin, end, hole = past.spans[at].tolist()
    codes = past.items[begin:end].numpy()
    return np.delete(codes, hole - begin) if hole >= 0 else codes


# ---- the log


def test_an_event_has_before_it_what_came_before_it_in_time() -> None:
    frame = events()
    data, info = DatasetPure.build_trainset(frame)
    past = info.log.past_before(data.user_indices, data.item_indices, data.times)
    for at, wanted in enumerate(spans_by_hand(frame)):
        assert info.vocabs["item"].decode(items_of(past, at)).tolist() == wanted


def test_without_times_an_event_has_all_but_itself() -> None:
    frame = events().drop(columns="time")
    data, info = DatasetPure.build_trainset(frame)
    past = info.log.past_before(data.user_indices, data.item_indices, data.times)
    seen = set[int]()
    for at in range(len(frame)):
        own = past.items.numpy()[past.spans[at, 2]]
        all_of_user = frame.loc[frame["user"] == frame["user"].iloc[at], "item"].tolist()
        assert info.id2item[int(own)] == frame["item"].iloc[at]
        all_of_user.remove(frame["item"].iloc[at])
        assert sorted(info.vocabs["item"].decode(items_of(past, at)).tolist()) == sorted(all_of_user)
        seen.add(int(past.spans[at, 2]))
    assert len(seen) == len(frame)  # equal events are each a place of their own


def test_an_event_that_is_not_in_the_log_has_what_is_earlier() -> None:
    log = ConsumedLog.of(np.array([1, 1, 2], np.int32), np.array([3, 4, 3], np.int32), np.array([10, 20, 5]), n_users=2)
    past = log.past_before(np.array([1, 1, 2], np.int32), np.array([9, 9, 9], np.int32), np.array([15, 20, 1]))
    assert [items_of(past, at).tolist() for at in range(3)] == [[3], [3], []]


def test_only_what_counts_as_consumed_is_in_the_log() -> None:
    frame = events().assign(label=lambda f: (np.arange(len(f)) % 3 > 0).astype(int))
    _, info = DatasetPure.build_trainset(frame)
    assert len(info.log) == int(frame["label"].sum())
    _, info = DatasetPure.build_trainset(frame, consumed="all")
    assert len(info.log) == len(frame)


def test_rows_of_users_have_their_log_and_unknown_ones_none() -> None:
    _, info = DatasetPure.build_trainset(events())
    past = info.users.rows.past
    assert past is not None
    assert len(items_of(past, 0)) == 0
    for code in range(1, info.n_users + 1):
        assert items_of(past, code).tolist() == info.log.latest(code).tolist()


def test_merged_events_come_in_their_order() -> None:
    frame = events()
    first, second = frame.iloc[::2], frame.iloc[1::2]
    _, info = DatasetPure.build_trainset(first)
    _, merged = DatasetPure.merge_trainset(second, info)
    _, whole = DatasetPure.build_trainset(frame)
    for user in frame["user"].unique():
        logs = [one.log.latest(one.user2id[user]) for one in (merged, whole)]
        times = [one.log.times[one.log.starts[one.user2id[user]] :][: len(logs[0])] for one in (merged, whole)]
        assert times[0].tolist() == times[1].tolist()
        assert sorted(merged.vocabs["item"].decode(logs[0])) == sorted(whole.vocabs["item"].decode(logs[1]))
    _, untimed = DatasetPure.merge_trainset(second.drop(columns="time"), info)
    user = frame["user"].iloc[0]
    n = int((second["user"] == user).sum())
    last = untimed.log.latest(untimed.user2id[user])[-n:]
    assert untimed.vocabs["item"].decode(last).tolist() == second.loc[second["user"] == user, "item"].tolist()
    _, alone = DatasetPure.merge_trainset(second, info, merge_behavior=False)
    assert len(alone.log) == len(second)


def test_pasts_end_to_end_are_those_that_they_were() -> None:
    pasts = [past_of_lists([np.array([1, 2]), np.array([], int)]), past_of_lists([np.array([3])])]
    both = Past.cat(pasts)
    assert [items_of(both, at).tolist() for at in range(3)] == [[1, 2], [], [3]]
    held = Past(both.items, torch.tensor([[0, 3, 1]]))
    assert items_of(Past.cat([held, held]), 1).tolist() == items_of(held, 0).tolist()


@pytest.mark.parametrize("hole", [-1, 0, 3, 7, 9])
@pytest.mark.parametrize("longest", [1, 3, 8, 20])
def test_the_latest_items_count_and_a_hole_takes_no_place(hole: int, longest: int) -> None:
    items = np.arange(1, 11)
    left = [one for place, one in enumerate(items) if place != hole][-longest:]
    model = fitted(FM, {"history": True})
    past = Past(torch.from_numpy(items), torch.tensor([[0, 10, hole]]))
    found = PastItems.of(past, torch.Size([1]), longest, model.engine.network.item)
    assert found.pairs[1].tolist() == left
    empty = PastItems.of(None, torch.Size([2]), longest, model.engine.network.item)
    assert len(empty) == 2
    assert len(empty.pairs[0]) == 0


# ---- training


def test_a_row_is_cut_at_one_of_its_events_and_has_the_others_as_positives() -> None:
    frame = events()
    data, info = DatasetPure.build_trainset(frame)
    examples = CatalogueExamples.of(data, torch.device("cpu"), reads_past=True)
    sizes = examples.starts.diff()
    places = set[int]()
    for epoch in range(20):
        batch = examples._cutting(0, epoch).batch(torch.arange(len(examples)))  # pyright: ignore[reportPrivateUsage]
        assert batch.past is not None
        for row in range(len(examples)):
            of_row = batch.positives.rows == row
            before = items_of(Past(batch.past.items, batch.past.spans[:, 0]), row)
            code = int(examples.user_table.codes[examples.user_rows[row], 0])
            own = [*before.tolist(), *(batch.positives.columns[of_row] + 1).tolist()]
            assert own == info.log.latest(code).tolist()
            assert len(before) < sizes[row]
            places.add(len(before))
    assert 0 in places
    assert len(places) > 10


def test_of_recent_histories_a_positive_counts_the_less_the_more_others_come_before_it() -> None:
    frame = events().assign(weight=np.random.default_rng(5).uniform(0.5, 2, 400))
    data, _ = DatasetPure.build_trainset(frame, weight_col="weight")
    plain, recent = (
        CatalogueExamples.of(data, torch.device("cpu"), reads_past=True, by_recency=one)._cutting(0, 1)  # pyright: ignore[reportPrivateUsage]
        for one in (False, True)
    )
    alike, by_recency = (cutting.batch(torch.tensor([7, 2, 11])).positives for cutting in (plain, recent))
    assert torch.equal(alike.columns, by_recency.columns)
    assert alike.weights is not None
    assert by_recency.weights is not None
    places = np.concatenate([np.arange(int((alike.rows == row).sum())) for row in range(3)])
    wanted = alike.weights.numpy() / (1 + places)
    np.testing.assert_allclose(by_recency.weights.numpy(), wanted / wanted.mean(), rtol=1e-5)


@pytest.mark.parametrize("history", [True, "recent"])
def test_the_training_loss_is_a_mean_over_the_positives_after_the_cuts(history: bool | str) -> None:
    model = fitted(FM, {"history": history, "num_neg": "all", "lr": 1e-9, "loss_type": "softmax"})
    n_items = model.data_info.n_items  # scores are all about 0 at first
    np.testing.assert_allclose(model.history_["train_loss"], np.log(n_items), rtol=0.05)


@pytest.mark.parametrize("cls", [FM, EASE])
def test_without_times_recent_is_by_row(cls: type[Recommender]) -> None:
    frame = events()
    timed, untimed = (fitted(cls, {"history": "recent"}, one) for one in (frame, frame.drop(columns="time")))
    assert timed.item_to_item_l2 == untimed.item_to_item_l2
    assert np.array_equal(timed.predict(list(range(5)), ["i1"] * 5), untimed.predict(list(range(5)), ["i1"] * 5))


def test_a_recent_field_is_a_weighted_sum_of_the_items() -> None:
    network = fitted(FM, {"history": "recent"}).engine.network
    vectors = network.item.vectors.weight.detach().numpy()
    past = past_of_lists([np.array([3, 9, 1, 9]), np.array([], np.int64), np.array([5])])
    items = PastItems.of(past, torch.Size([3]), 3, network.item)
    assert network.pooled is not None
    for of in (items, PaddedItems.of_matrix(items.matrix(3), torch.Size([3]), network.item)):
        fields = network.pooled.eval()(of)
        w = np.array([1 / 3, 1 / 2, 1.0])
        wanted = w @ vectors[[10, 2, 10]] / np.sqrt((w**2).sum())
        np.testing.assert_allclose(fields.vectors[0, 0].detach().numpy(), wanted, rtol=1e-5)
        np.testing.assert_allclose(fields.vectors[2, 0].detach().numpy(), vectors[6], rtol=1e-6)
        assert fields.present[:, 0].tolist() == [True, False, True]
        assert not fields.vectors[1].any()


def test_a_history_is_true_false_or_recent() -> None:
    _, info = DatasetPure.build_trainset(events())
    with pytest.raises(ValueError, match="history must be True, False or 'recent', got 'recnt'; did you mean"):
        FM("ranking", info, history="recnt")
    with pytest.raises(ValueError, match="history must be True, False or 'recent', got 3"):
        FM("ranking", info, history=3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("history", [True, "recent"])
def test_a_sequence_has_no_pooled_history(history: bool | str) -> None:
    _, info = DatasetPure.build_trainset(events())
    with pytest.raises(ValueError, match=rf"history={history!r} pools .*leave history out; .*such as EASE and FM"):
        SASRec("ranking", info, history=history)
    with pytest.raises(TypeError, match="history must be True or False, got 0"):
        SASRec("ranking", info, history=0)


def test_ease_has_a_history_whatever_is_said_and_its_order_if_it_is_recent() -> None:
    asked = [1] * 15, [f"i{at}" for at in range(15)]
    plain, alike, recent = (fitted(EASE, {"history": one}).predict(*asked) for one in (False, True, "recent"))
    assert np.array_equal(plain, alike)
    assert np.abs(recent - plain).max() > 0.01


def test_without_times_the_cut_is_through_a_new_order_each_epoch() -> None:
    data, info = DatasetPure.build_trainset(events().drop(columns="time"))
    examples = CatalogueExamples.of(data, torch.device("cpu"), reads_past=True)
    orders = set[tuple[int, ...]]()
    for epoch in range(6):
        batch = examples._cutting(0, epoch).batch(torch.arange(len(examples)))  # pyright: ignore[reportPrivateUsage]
        assert batch.past is not None
        before = items_of(Past(batch.past.items, batch.past.spans[:, 0]), 0).tolist()
        own = [*before, *(batch.positives.columns[batch.positives.rows == 0] + 1).tolist()]
        code = int(examples.user_table.codes[examples.user_rows[0], 0])
        assert sorted(own) == sorted(info.log.latest(code).tolist())
        orders.add(tuple(own))
    assert len(orders) == 6


def test_pasts_of_a_million_events_are_made_at_once() -> None:
    rng = np.random.default_rng(0)
    n = 1_000_000
    users, items = rng.integers(1, 50_001, n).astype(np.int32), rng.integers(1, 20_001, n).astype(np.int32)
    times = rng.integers(0, 10**9, n)
    log = ConsumedLog.of(users, items, times, 50_000)
    past = log.past_before(users, items, times)
    own = past.items[past.spans[:, 1]].numpy()
    assert np.array_equal(own, items)  # each event's past ends where it stands
    assert (past.spans[:, 0].numpy() == log.starts[users]).all()


def test_a_softmax_by_blocks_has_the_loss_and_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recolib.training.catalogue_losses.NUMBERS_AT_ONCE", 1000)
    torch.manual_seed(0)
    rows, columns = torch.randint(0, 50, (120,)).sort().values, torch.randint(0, 60, (120,))
    for rates in (None, torch.rand(60) * 0.5 + 0.3):
        for weights in (None, torch.rand(120)):
            users, items = (torch.randn(n, 8, requires_grad=True) for n in (50, 60))
            positives = Positives(rows, columns, weights, rates)
            whole, by_blocks = softmax(users @ items.T, positives), softmax_of_vectors(users, items, positives)
            torch.testing.assert_close(by_blocks, whole)
            wanted = torch.autograd.grad(whole, (users, items))
            torch.testing.assert_close(torch.autograd.grad(by_blocks, (users, items)), wanted)


@every_reader
def test_training_gives_the_same_bits_again(cls: type[Recommender], settings: dict[str, Any]) -> None:
    one, other = (fitted(cls, settings).predict([0, 1, 2], ["i1", "i2", "i3"]) for _ in range(2))
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize("cls", [SASRec, YouTubeRetrieval])
def test_what_follows_what_is_learnt(cls: type[Recommender]) -> None:
    """Seven times of ten the next item is the next number."""
    frame = events(3000, n_users=60)
    settings = {"n_epochs": 40, "lr": 0.01, "embed_size": 16, "prior": 0.0, "embed_dropout": 0.0, "max_history": 20}
    model = fitted(cls, settings, frame)
    right = [
        model.recommend_user("new", 1, seq=[f"i{(at - 1) % 15}", f"i{at}"], filter_consumed=False)["new"][0]
        for at in range(15)
    ]
    n_right = sum(item == f"i{(at + 1) % 15}" for at, item in enumerate(right))
    assert n_right >= (13 if cls is SASRec else 1)  # a sum knows no order


# ---- answers


@every_reader
def test_known_and_brought_items_are_one_past(cls: type[Recommender], settings: dict[str, Any]) -> None:
    model = fitted(cls, settings)
    info = model.data_info
    user = 3
    log = info.vocabs["item"].decode(info.log.latest(info.user2id[user])).tolist()
    plain = {"n_rec": 5, "filter_consumed": False, "return_scores": True}
    known = model.recommend_user(user, **plain)[user]
    as_seq = model.recommend_user(user, seq=log, **plain)[user]
    np.testing.assert_allclose(as_seq[1], known[1], rtol=1e-5, atol=1e-6)
    with_more = model.recommend_user(user, history=["i1", "i2"], **plain)[user]
    by_hand = model.recommend_user(user, seq=[*log, "i1", "i2"], **plain)[user]
    np.testing.assert_allclose(with_more[1], by_hand[1], rtol=1e-5, atol=1e-6)
    assert with_more[0].tolist() == by_hand[0].tolist()
    both = model.recommend_user([user, "new"], seq={user: log, "new": log[:3]}, **plain)
    np.testing.assert_allclose(both[user][1], known[1], rtol=1e-5, atol=1e-6)


@every_reader
def test_what_is_brought_stays_out_of_the_list(cls: type[Recommender], settings: dict[str, Any]) -> None:
    model = fitted(cls, settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        items = model.recommend_user("new", 12, history=["i3", "i4", "i5"])["new"]
    assert not {"i3", "i4", "i5"} & {*items}
    assert len(items) == 12


@every_reader
def test_only_the_latest_items_count(cls: type[Recommender], settings: dict[str, Any]) -> None:
    model = fitted(cls, settings | {"max_history": 3})
    long, short = (
        model.recommend_user("new", 5, seq=seq, filter_consumed=False, return_scores=True)["new"][1]
        for seq in (["i9", "i8", "i1", "i2", "i3"], ["i1", "i2", "i3"])
    )
    np.testing.assert_allclose(long, short, rtol=1e-6)


@every_reader
def test_a_file_and_a_copy_say_the_same(cls: type[Recommender], settings: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(cls, settings)
    file = model.save(tmp_path, "model")
    again = recolib.load(file)
    for other in (again, model.__copy__()):
        ours, theirs = (one.recommend_user(2, 5, history=["i1"], return_scores=True)[2] for one in (model, other))
        assert ours[0].tolist() == theirs[0].tolist()
        assert ours[1].tolist() == theirs[1].tolist()
    assert again.data_info.log.items.tolist() == model.data_info.log.items.tolist()
    assert again.data_info.log.times.tolist() == model.data_info.log.times.tolist()


@every_reader
def test_an_update_appends(cls: type[Recommender], settings: dict[str, Any]) -> None:
    model = fitted(cls, settings)
    more = pd.DataFrame({"user": [3, "new"], "item": ["i1", "i99"], "label": 1, "time": 10**6})
    before = model.data_info.log.latest(model.data_info.user2id[3]).tolist()
    model.update(more, neg_sampling=True, verbose=0)
    info = model.data_info
    assert info.log.latest(info.user2id[3]).tolist() == [*before, info.item2id["i1"]]
    assert info.log.latest(info.user2id["new"]).tolist() == [info.item2id["i99"]]
    assert len(model.recommend_user(["new", 3], 3)["new"]) == 3


@every_reader
def test_who_is_forgotten_is_in_no_past(cls: type[Recommender], settings: dict[str, Any]) -> None:
    model = fitted(cls, settings)
    kept = model.recommend_user(5, 5, seq=["i1", "i2"], filter_consumed=False, return_scores=True)[5]
    kept = {item: score for item, score in zip(*kept, strict=True) if item != "i7"}
    model.forget(users=[3], items=["i7"])
    info = model.data_info
    assert len(info.log.starts) == info.n_users + 2
    assert 1 <= info.log.items.min() <= info.log.items.max() <= info.n_items
    after = dict(
        zip(*model.recommend_user(5, 14, seq=["i1", "i2"], filter_consumed=False, return_scores=True)[5], strict=True)
    )
    for item, score in kept.items():
        assert after[item] == pytest.approx(score, rel=1e-4)


def test_a_sequence_sees_no_future() -> None:
    """The state after an item is the same whatever comes later, in one pass and by itself."""
    model = fitted(SASRec, {"n_layers": 2, "n_heads": 2, "max_history": 20})
    network = model.engine.network
    rng = np.random.default_rng(0)
    one = rng.integers(1, 16, 12)
    other = np.append(one[:7], rng.integers(1, 16, 5))
    blank = model.data_info.users.rows[torch.zeros(12, dtype=torch.int64)]
    states: list[torch.Tensor] = []
    for items in (one, other):
        spans = torch.tensor([[0, end, -1] for end in range(1, 13)])
        rows = blank.with_past(Past(torch.from_numpy(items), spans))
        alone = torch.cat([network.encode("user", rows[slice(at, at + 1)]).parts[0].vector for at in range(12)])  # pyright: ignore[reportAttributeAccessIssue]
        torch.testing.assert_close(network.encode("user", rows).parts[0].vector, alone)  # pyright: ignore[reportAttributeAccessIssue]
        term = network.terms[0]
        term.train()
        term.rate, rate = 0.0, term.rate  # pyright: ignore[reportAttributeAccessIssue]
        for layer in term.layers:  # pyright: ignore[reportAttributeAccessIssue, reportGeneralTypeIssues]
            layer.dropout.rate = 0.0
        torch.testing.assert_close(network.encode("user", rows).parts[0].vector, alone)  # pyright: ignore[reportAttributeAccessIssue]
        term.rate = rate  # pyright: ignore[reportAttributeAccessIssue]
        term.eval()
        states.append(alone)
    torch.testing.assert_close(states[0][:7], states[1][:7])
    assert not torch.allclose(states[0][8], states[1][8])


def test_a_transformer_is_the_equations() -> None:
    model = fitted(SASRec, {"n_layers": 2, "n_heads": 2, "max_history": 6, "embed_size": 8})
    network = model.engine.network
    weights = {name: tensor.double() for name, tensor in network.state_dict().items()}
    codes = [3, 1, 4, 1, 5]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]
            + weights[f"{name}.bias"]
        )

    x = torch.stack([weights["item.vectors.weight"][code + 1] for code in codes]) * 8**0.5
    x = x + weights["components.0.places"][: len(codes)]
    for number in range(2):
        layer = f"components.0.layers.{number}"
        y = norm(x, f"{layer}.first") @ weights[f"{layer}.projections.weight"].T + weights[f"{layer}.projections.bias"]
        heads: list[torch.Tensor] = []
        for head in range(2):
            q, k, v = (y[:, part * 8 + head * 4 : part * 8 + head * 4 + 4] for part in range(3))
            rows: list[torch.Tensor] = []
            for t in range(len(codes)):
                share = torch.softmax(torch.stack([q[t] @ k[s] / 2 for s in range(t + 1)]), 0)
                rows.append(sum((share[s] * v[s] for s in range(t + 1)), start=torch.zeros(4).double()))
            heads.append(torch.stack(rows))
        x = x + torch.cat(heads, 1) @ weights[f"{layer}.out.weight"].T + weights[f"{layer}.out.bias"]
        y = norm(x, f"{layer}.second") @ weights[f"{layer}.up.weight"].T + weights[f"{layer}.up.bias"]
        x = x + y.relu() @ weights[f"{layer}.down.weight"].T + weights[f"{layer}.down.bias"]
    state = norm(x, "components.0.norm")[-1]
    logits = weights["item.vectors.weight"][2:] @ state + weights["bias"]
    items, scores = model.recommend_user(
        "new", 15, seq=[model.data_info.id2item[code] for code in codes], filter_consumed=False, return_scores=True
    )["new"]
    wanted = torch.sigmoid(logits)[torch.tensor([model.data_info.item2id[item] - 1 for item in items])]
    np.testing.assert_allclose(scores, wanted.numpy(), rtol=1e-4)


def test_target_attention_is_the_equations() -> None:
    model = fitted(DIN, {"hidden_units": (8,), "attention_units": 4, "use_bn": False})
    network = model.engine.network
    w = {name: tensor.double() for name, tensor in network.state_dict().items()}
    din = "components.1"
    history, user, item = [3, 1, 4], 2, 5
    e_user, e_item = w["user.vectors.weight"][user + 1], w["item.vectors.weight"][item + 1]
    interest = torch.zeros(8).double()
    for code in history:
        h = w["item.vectors.weight"][code + 1]
        hidden = h @ w[f"{din}.of_history.weight"].T + w[f"{din}.of_history.bias"]
        hidden = hidden + e_item @ w[f"{din}.of_item.weight"].T + (h * e_item) @ w[f"{din}.of_product.weight"].T
        interest = interest + (hidden.relu() @ w[f"{din}.weigh.weight"].T + w[f"{din}.weigh.bias"]) * h
    hidden = torch.cat([e_user, e_item]) @ w[f"{din}.first.weight"].T + w[f"{din}.first.bias"]
    hidden = hidden + interest @ w[f"{din}.of_interest.weight"].T
    logit = hidden.relu() @ w[f"{din}.rest.1.weight"].T + w[f"{din}.rest.1.bias"]
    logit = logit + w["bias"] + w["user.weights.weight"][user + 1] + w["item.weights.weight"][item + 1]
    info = model.data_info
    items, scores = model.recommend_user(
        info.id2user[user], 15, seq=[info.id2item[code] for code in history], filter_consumed=False, return_scores=True
    )[info.id2user[user]]
    score = dict(zip(items, scores, strict=True))[info.id2item[item]]
    assert score == pytest.approx(float(torch.sigmoid(logit)), rel=1e-4)


# ---- items to items


def ease_by_hand(x: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """B, column by column: each item from the others, by least squares with a penalty."""
    n = x.shape[1]
    weights = np.zeros((n, n))
    for j in range(n):
        others = [i for i in range(n) if i != j]
        a = x[:, others]
        weights[others, j] = np.linalg.solve(a.T @ a + l2 * np.eye(n - 1), a.T @ x[:, j])
    return weights


def test_the_closed_form_is_least_squares_of_each_item() -> None:
    from scipy import sparse

    x = (np.random.default_rng(0).random((40, 9)) < 0.3).astype(float)
    weights = item_to_item(sparse.csr_array(x.astype(np.float32)), 3.0)
    np.testing.assert_allclose(weights.numpy(), ease_by_hand(x, 3.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("history", [False, "recent"])
@pytest.mark.parametrize("max_dense", [100, 3])
def test_scores_are_those_of_the_formula(max_dense: int, history: bool | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recolib.nn.components.item_to_item.MAX_DENSE", max_dense)
    frame = events()
    model = fitted(EASE, {"item_to_item_l2": 4.0, "max_history": 1000, "history": history}, frame)
    info = model.data_info
    x = np.zeros((info.n_users, info.n_items))
    counts = np.zeros_like(x)
    for user, items in frame.groupby("user")["item"]:
        for at, item in enumerate(items):  # of an item that is there again the last one counts
            place = info.user2id[user] - 1, info.item2id[item] - 1
            x[place] = 1
            counts[place] = 1 / (1 + len(items) - 1 - at) if history else 1
    weights = ease_by_hand(x, 4.0)
    scores = counts @ weights
    for user in (0, 7):
        found = model.predict([user] * info.n_items, [info.id2item[code] for code in range(1, info.n_items + 1)])
        np.testing.assert_allclose(np.log(found / (1 - found)), scores[info.user2id[user] - 1], rtol=1e-3, atol=1e-4)
    reasons = model.explain(0, "i3")
    said = reasons[reasons["kind"] == "history"]
    for item, contribution in zip(said["first_value"], said["contribution"], strict=True):
        at = info.item2id[item] - 1
        wanted = counts[info.user2id[0] - 1, at] * weights[at, info.item2id["i3"] - 1]
        assert contribution == pytest.approx(wanted, abs=1e-5)
    assert reasons["contribution"].sum() == pytest.approx(reasons.attrs["logit"], abs=1e-5)


@pytest.mark.parametrize("history", [True, "recent"])
def test_the_items_of_a_pooled_history_say_what_they_add(history: bool | str) -> None:
    model = fitted(FM, {"history": history, "max_history": 20, "use_bn": True})
    info, user = model.data_info, 3
    reasons = model.explain(user, "i3")
    said = reasons[reasons["kind"] == "history"].set_index("first_value")["contribution"]
    log = info.log.latest(info.user2id[user])[-20:]
    weights = 1 / np.arange(len(log), 0, -1.0) if history == "recent" else np.ones(len(log))
    assert {*said.index} == {*info.vocabs["item"].decode(np.unique(log)).tolist()}
    assert reasons["contribution"].sum() == pytest.approx(reasons.attrs["logit"], abs=1e-4)
    network = model.engine.network
    vectors = network.item.vectors.weight.detach().double()
    scale = network.terms[1].pair_factors()[0].detach().double()  # pyright: ignore[reportOptionalSubscript]
    others = network.user.vectors.weight.detach().double()[info.user2id[user] + 1] + vectors[info.item2id["i3"] + 1]
    for item, contribution in said.items():
        code = info.item2id[str(item)]
        share = weights[log == code].sum() / np.sqrt((weights**2).sum())
        wanted = share * (vectors[code + 1] * scale) @ others
        assert contribution == pytest.approx(float(wanted), abs=1e-5)


@pytest.mark.parametrize("history", [False, "recent"])
@pytest.mark.parametrize("max_dense", [100, 3])
def test_a_matrix_of_items_says_what_items_without_padding_say(
    max_dense: int, history: bool | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recolib.nn.components.item_to_item.MAX_DENSE", max_dense)
    network = fitted(EASE, {"item_to_item_l2": 4.0, "history": history}).engine.network
    (term,) = network.terms
    lists = [[3, 9, 1, 9, 9], [], [5], [2, 2, 4, 7]]
    items = PastItems.of(past_of_lists([np.array(one, np.int64) for one in lists]), torch.Size([4]), 4, network.item)
    blank = network.user(Rows(torch.zeros(4, 1, dtype=torch.int32), torch.zeros(4, 0)))
    said = term.encode_user(blank, items).part.numpy()
    if max_dense == 100:
        padded = PaddedItems.of_matrix(items.matrix(4), torch.Size([4]), network.item)
        np.testing.assert_allclose(term.encode_user(blank, padded).part.numpy(), said, rtol=1e-5, atol=1e-7)
    b = np.array(
        [
            [
                term.of_each(
                    PastItems.of(past_of_lists([np.array([j])]), torch.Size([1]), 4, network.item), torch.tensor(i)
                )[1].item()
                for i in range(16)
            ]
            for j in range(1, 16)
        ]
    )
    for row, items_of_row in zip(said, lists, strict=True):
        latest, wanted = items_of_row[-4:], np.zeros(16)
        for item in {*latest}:
            k = latest[::-1].index(item)
            wanted += b[item - 1] / (1 + k if history else 1)
        np.testing.assert_allclose(row, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("history", [False, "recent"])
def test_the_penalty_is_chosen_by_the_lists_of_a_model_that_has_it(history: bool | str) -> None:
    data, _ = DatasetPure.build_trainset(events(1500, n_users=60, n_items=80))
    rest, held = hold_out(data, 0.2, True, 0, True)
    settings: dict[str, Any] = {"history": history, "max_history": 5}
    figures: list[float] = []
    for l2 in (2.0, 50.0):
        model = EASE("ranking", rest.data_info, item_to_item_l2=l2, **settings).fit(rest, **QUIET)
        users = rest.data_info.vocabs["user"].decode(np.unique(held.user_indices)).tolist()
        lists = model.recommend_user(users, LIST_LENGTH)
        wanted = {user: set[str]() for user in users}
        for user, item in zip(held.user_indices, held.item_indices, strict=True):
            wanted[rest.data_info.id2user[int(user)]].add(rest.data_info.id2item[int(item)])
        hits = np.array([[item in wanted[user] for item in lists[user]] for user in users])
        figures.append(ndcg(hits, np.array([len(wanted[user]) for user in users])))
        trial = _Trial.of(model.engine, held)
        assert trial.figure(l2, None) == pytest.approx(figures[-1], abs=1e-6)
    assert figures[0] != figures[1]


def test_penalty_and_weight_are_chosen_and_can_be_read() -> None:
    frame = events(2000, n_users=50)
    model = fitted(FM, {"item_to_item": True}, frame)
    assert model.item_to_item_l2 > 0
    assert model.item_to_item_weight >= 0
    kept = fitted(FM, {"item_to_item": True, "item_to_item_l2": 7.0}, frame)
    assert kept.item_to_item_l2 == 7.0
    ease = fitted(EASE, {}, frame)
    assert ease.n_epochs == 0
    assert len(ease.history_) == 0


@pytest.mark.parametrize("verbose", [1, 2])
def test_ease_says_what_is_chosen_and_no_epochs(verbose: int, capsys: pytest.CaptureFixture[str]):
    data, info = DatasetPure.build_trainset(events())
    model = EASE("ranking", info).fit(data, neg_sampling=True, verbose=verbose)
    assert model.item_to_item_l2 is not None
    said = capsys.readouterr().out
    assert "rows are held out to choose item_to_item_l2, item_to_item_weight" in said
    assert "epoch" not in said


def test_too_many_items_are_refused_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recolib.training.closed_form.MAX_ITEMS", 10)
    with pytest.raises(ValueError, match=r"15 items are too many .* up to 10"):
        fitted(EASE, {})


def test_ratings_have_no_weights_from_item_to_item() -> None:
    data, info = DatasetPure.build_trainset(events().assign(label=lambda f: 1 + np.arange(len(f)) % 5))
    with pytest.raises(ValueError, match="item_to_item says what users consume"):
        EASE("rating", info)
    assert len(data) == 400


# ---- bad input


def test_a_sequence_for_a_model_without_one_names_those_that_take_it() -> None:
    model = fitted(FM, {})
    with pytest.raises(ValueError, match=r"doesn't support arbitrary seq inference: EASE, SASRec, .*history=True"):
        model.recommend_user(1, 3, seq=["i1"])


def test_history_and_seq_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="give one of them"):
        fitted(EASE, {}).recommend_user(1, 3, history=["i1"], seq=["i2"])


def test_unknown_items_of_a_history_are_counted_in_one_warning() -> None:
    model = fitted(SASRec, {})
    with pytest.warns(UnknownIdWarning, match="2 of the history are unknown items") as told:
        lists = model.recommend_user("new", 3, history=["i1", "nothing", "never"])
    assert len(told) == 1
    assert lists["new"].tolist() == model.recommend_user("new", 3, history=["i1"])["new"].tolist()


def test_several_users_need_a_mapping() -> None:
    with pytest.raises(ValueError, match="seq of several users must map"):
        fitted(SASRec, {}).recommend_user([1, 2], 3, seq=["i1"])


def test_a_frame_of_items_is_sorted_by_time_with_a_word() -> None:
    model = fitted(SASRec, {})
    ask = {"n_rec": 5, "filter_consumed": False, "return_scores": True}
    frame = pd.DataFrame({"user": ["b", "a", "a", "b"], "item": ["i1", "i2", "i3", "i4"], "time": [9, 8, 7, 12]})
    with pytest.warns(UnorderedHistoryWarning, match="1 rows of seq are earlier than the row before them"):
        lists = model.recommend_user(["a", "b"], seq=frame.iloc[[0, 1, 3, 2]], **ask)
    by_hand = model.recommend_user(["a", "b"], seq={"a": ["i3", "i2"], "b": ["i1", "i4"]}, **ask)
    for user in ("a", "b"):
        assert lists[user][0].tolist() == by_hand[user][0].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = model.recommend_user("a", seq=pd.DataFrame({"item": ["i3", "i2"]}), **ask)
    assert alone["a"][0].tolist() == by_hand["a"][0].tolist()
    with pytest.raises(ValueError, match="columns \\['item'\\] are not in seq"):
        model.recommend_user("a", 3, seq=pd.DataFrame({"items": ["i3"]}))
    with pytest.raises(ValueError, match="columns \\['user'\\] are not in history"):
        model.recommend_user(["a", "b"], 3, history=pd.DataFrame({"item": ["i3"]}))


def test_heads_divide_the_vectors() -> None:
    with pytest.raises(ValueError, match=r"n_heads=3 must divide embed_size=8"):
        fitted(SASRec, {"n_heads": 3})


def test_context_features_and_histories_go_together() -> None:
    rng = np.random.default_rng(1)
    frame = events().assign(sex=lambda f: np.where(f["user"] % 2, "F", "M"), hour=lambda f: rng.integers(0, 4, len(f)))
    columns = {"user_col": ["sex"], "context_col": ["hour"], "sparse_col": ["sex", "hour"]}
    data, info = DatasetFeat.build_trainset(frame, **columns)
    for cls, settings in READERS[1:]:
        few = {"n_epochs": 2, "embed_size": 8, "max_history": 6}
        model = cls("ranking", info, **{**few, **settings}).fit(data, **QUIET)
        lists = model.recommend_user("new", 3, {"sex": "F"}, history=["i1", "i2"], context={"hour": 1})
        assert len(lists["new"]) == 3
        at = frame.index[0]
        alone = model.recommend_user(
            frame["user"][at], 15, context={"hour": 1}, filter_consumed=False, return_scores=True
        )
        items, scores = alone[frame["user"][at]]
        np.testing.assert_allclose(
            model.predict(frame["user"][at], items, feats={"hour": 1}), scores, rtol=1e-5, atol=1e-6
        )


def test_sets_without_an_own_log_take_that_of_the_model() -> None:
    """An evaluation set that was encoded before an update has the pasts of after it."""
    frame = events()
    data, info = DatasetPure.build_trainset(frame.head(300))
    held = DatasetPure.build_evalset(frame.tail(100), data_info=info)
    model = SASRec("ranking", info, n_epochs=2, embed_size=8).fit(data, **QUIET)
    model.update(frame.iloc[300:350], neg_sampling=True, verbose=0)
    fresh = DatasetPure.build_evalset(frame.tail(100), data_info=model.data_info)
    ours, theirs = (
        recolib.evaluate(model, one, neg_sampling=True, metrics=["ndcg"], filter_consumed=False)
        for one in (held, fresh)
    )
    assert ours == theirs


def test_a_log_without_a_row_is_one() -> None:
    log = ConsumedLog.of(np.empty(0, np.int32), np.empty(0, np.int32), NO_TIMES, 3)
    assert len(log) == 0
    assert log.past_of(np.array([1, 2, 0])).spans.tolist() == [[0, 0, -1]] * 3
    pasts = replace(EventPasts(log, np.empty((0, 3), np.int64), False))
    assert len(pasts.of_epoch(0, 0).spans) == 0
    assert Rows.cat([Rows(torch.zeros(1, 1), torch.zeros(1, 0))]).past is None


def test_reasons_of_what_was_consumed_after_training_add_up_to_the_score_of_a_list() -> None:
    model = fitted(FM, {"history": True, "item_to_item": True, "item_to_item_l2": 4.0, "item_to_item_weight": 0.5})
    clicked = ["i5", "i9"]
    for user in (3, "new"):
        reasons = model.explain(user, "i3", history=clicked)
        assert {*clicked} <= {*reasons[reasons["kind"] == "history"]["first_value"]}
        assert reasons["contribution"].sum() == pytest.approx(reasons.attrs["logit"], abs=1e-4)
        scored = model.recommend_user(
            user, 1, history=clicked, candidates=["i3"], filter_consumed=False, return_scores=True
        )
        assert reasons.attrs["prediction"] == pytest.approx(float(scored[user][1][0]), abs=1e-5)
    with pytest.raises(ValueError, match="fits a vector"):
        fitted(FM, {}).explain(3, "i3", history=clicked)
