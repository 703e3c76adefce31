"""Who asks for a list, and which items are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recolib.data import DataInfo, DatasetFeat, DatasetPure, Interactions
from recolib.data.rows import AVERAGE
from recolib.evaluation.relevance import EvalQueries, QueryBlocks

KNOWN_USERS, KNOWN_ITEMS = range(1, 5), range(1, 7)
Request = tuple[int, int, tuple[bool, ...]]


def info_of_hours() -> DataInfo:
    """Users 1 to 4, items 1 to 6 and hours 1 to 3, so that each id is its own code."""
    events = [(user, item, 1, 1 + (user + item) % 3) for user in KNOWN_USERS for item in KNOWN_ITEMS]
    frame = pd.DataFrame(events, columns=["user", "item", "label", "hour"])
    return DatasetFeat.build_trainset(frame, context_col=["hour"], sparse_col=["hour"])[1]


INFO = info_of_hours()
EVENTS = st.lists(
    st.tuples(st.integers(1, 7), st.integers(1, 10), st.sampled_from([0, 1, 5]), st.integers(1, 3)),
    min_size=1,
    max_size=30,
)  # users above 4 and items above 6 were never seen


def queries_of(data: Interactions, *sample: int) -> EvalQueries:
    """All queries of a small set together."""
    (queries,) = QueryBlocks.of(data, *sample)
    return queries


def encoded(events: list[Any], info: DataInfo = INFO) -> Interactions:
    frame = pd.DataFrame(events, columns=["user", "item", "label", "hour"])
    return DatasetFeat.build_testset(frame, data_info=info)


def by_hand(events: list[Any], items: list[int]) -> list[Request]:
    """Code, number of relevant items and hits of each request for the one list that all of them get."""
    relevant: dict[tuple[int, int], set[int]] = {}
    for user, item, label, hour in events:
        if label > 0:
            relevant.setdefault((user, hour), set()).add(item)
    return sorted(
        (user if user in KNOWN_USERS else 0, len(right), tuple(item in right for item in items))
        for (user, _), right in relevant.items()
    )


def measured(requests: EvalQueries, items: list[int]) -> list[Request]:
    hits = requests.hits(np.tile(np.array(items, np.int32), (len(requests.codes), 1)))
    rows = zip(requests.codes.tolist(), requests.n_relevant.tolist(), hits.tolist(), strict=True)
    return sorted((code, n_relevant, tuple(row)) for code, n_relevant, row in rows)


@given(EVENTS, st.permutations([*KNOWN_ITEMS, 0, 0]))
def test_requests_are_a_loop_over_positive_rows(events: list[Any], items: list[int]) -> None:
    assume(any(label > 0 for _, _, label, _ in events))
    assert measured(queries_of(encoded(events)), items) == by_hand(events, items)


def test_requests_by_hand() -> None:
    events = [
        (1, 2, 1, 1), (1, 2, 1, 1), (1, 9, 1, 1), (1, 8, 1, 1), (1, 9, 5, 1),  # three items, two of them never seen
        (1, 3, 1, 2), (1, 4, 0, 2),  # another context, one item
        (2, 5, 0, 1),  # nothing
        (77, 1, 1, 1), (66, 1, 1, 1), (66, 6, 1, 1),  # two strangers
    ]  # fmt: skip
    requests = queries_of(encoded(events))
    assert measured(requests, [2, 1, 3, 6]) == [
        (0, 1, (False, True, False, False)),
        (0, 2, (False, True, False, True)),
        (1, 1, (False, False, True, False)),
        (1, 3, (True, False, False, False)),
    ]


def test_a_request_is_the_row_of_its_user_with_its_context() -> None:
    requests = queries_of(encoded([(3, 1, 1, 2), (3, 1, 1, 1), (99, 1, 1, 3), (2, 1, 1, 1)]))
    assert sorted(requests.users.codes.tolist()) == [[AVERAGE, 3], [2, 1], [3, 1], [3, 2]]
    assert requests.users.codes[:, 0].tolist() == [code or AVERAGE for code in requests.codes.tolist()]


def test_items_never_seen_are_no_hit_of_the_next_request() -> None:
    """Their numbers stand behind those of the catalogue, and must not run over."""
    unseen = [(1, 100 + i, 1, 1) for i in range(50)]
    requests = queries_of(encoded([*unseen, (2, 6, 1, 1), (3, 1, 1, 1), (4, 105, 1, 1), (9, 149, 1, 1)]))
    none = (False,) * 6
    assert measured(requests, [*KNOWN_ITEMS]) == [
        (0, 1, none),
        (1, 50, none),
        (2, 1, (False,) * 5 + (True,)),
        (3, 1, (True,) + (False,) * 5),
        (4, 1, none),
    ]


def test_no_item_is_no_hit() -> None:
    requests = queries_of(encoded([(1, 1, 1, 1), (2, 99, 1, 1)]))
    assert not requests.hits(np.zeros((2, 3), np.int32)).any()


@given(EVENTS, st.integers(1, 8), st.integers(0, 5))
def test_a_sample_of_users_keeps_all_that_they_ask(events: list[Any], n_users: int, seed: int) -> None:
    positive = [event for event in events if event[2] > 0]
    assume(positive)
    everyone = {event[0] for event in positive}
    some = queries_of(encoded(events), n_users, seed)
    items = [*KNOWN_ITEMS]
    chosen = set(some.codes.tolist()) - {0}
    n_strangers = min(n_users, len(everyone)) - len(chosen)
    assert 0 <= n_strangers <= len(everyone - set(KNOWN_USERS))
    known = [request for request in measured(some, items) if request[0]]
    assert known == by_hand([event for event in positive if event[0] in chosen], items)
    assert measured(queries_of(encoded(events), n_users, seed), items) == measured(some, items)


def test_without_a_positive_row_there_is_nothing_to_ask() -> None:
    with pytest.raises(ValueError, match="metrics of lists need rows with a label above 0, and the data has none"):
        queries_of(encoded([(1, 1, 0, 1)]))


def test_a_large_catalogue_does_not_overflow() -> None:
    """Request times stride is beyond 32 bits."""
    n = 70_000
    frame = pd.DataFrame({"user": np.arange(n), "item": np.arange(n), "label": 1})
    data, _ = DatasetPure.build_trainset(frame)
    requests = queries_of(data)
    assert requests.hits(data.item_indices[:, None]).all()
    assert not requests.hits(np.roll(data.item_indices, 1)[:, None]).any()
    assert (requests.n_relevant == 1).all()
