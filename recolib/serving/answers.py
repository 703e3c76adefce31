"""From a request to an answer, by one model; these functions compute, and run in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd

from recolib.serving.arguments import Consumed, RefusedRequest, arguments_of, check_columns, check_feats, history_of
from recolib.serving.columns import as_json, user_features
from recolib.serving.models import Served
from recolib.serving.schemas import (
    MAX_HISTORY,
    ExplainRequest,
    PredictRequest,
    RecommendRequest,
    SimilarRequest,
)

Id = int | str
Answer = dict[str, Any]
T = TypeVar("T")
N_LATEST = 10
"""How many of the items that a user consumed are shown."""
NO_MODEL_SAYS = "the model cannot answer this request: a value is none that its columns can have"


def recommend(served: Served, ask: RecommendRequest, consumed: Consumed) -> Answer:
    """A list for each user."""
    arguments = arguments_of(served, ask, consumed)
    lists = _asked(lambda: served.model.recommend_user(ask.users, **arguments))
    return lists_answer(served, ask, lists)


def recommend_plain(served: Served, asks: Sequence[RecommendRequest], consumed: Consumed) -> list[Answer]:
    """The answers to several requests that wish nothing but lists, computed together."""
    users = list(dict.fromkeys(user for ask in asks for user in ask.users))
    n_rec = max(ask.n_rec for ask in asks)
    with_events = [user for user in users if user in consumed.items]
    others = [user for user in users if user not in consumed.items]
    lists = served.model.recommend_user(others, n_rec, return_scores=True) if others else {}
    if with_events:
        ask = RecommendRequest.model_construct(users=with_events, n_rec=n_rec)
        lists |= served.model.recommend_user(with_events, **arguments_of(served, ask, consumed))
    return [lists_answer(served, ask, lists) for ask in asks]


def lists_answer(served: Served, ask: RecommendRequest, lists: Mapping[Id, Any]) -> Answer:
    """Lists as a request wants them."""
    known = served.info.user2id
    results = [
        {
            "user": user,
            "known": user in known,
            "items": _items(served, lists[user], ask.columns, ask.n_rec),
        }
        for user in ask.users
    ]
    return {"model_version": served.version.name, "results": results}


def predict(served: Served, ask: PredictRequest) -> Answer:
    """A prediction for each pair."""
    if ask.feats is not None:
        check_feats(served.info, ask.feats, "feats")
    users, items = [pair.user for pair in ask.pairs], [pair.item for pair in ask.pairs]
    feats = None if ask.feats is None else [ask.feats] * len(users)
    scores: Any = _asked(lambda: served.model.predict(users, items, feats, ask.cold_start))
    results = [
        {**_pair(served, user, item), "score": score}
        for user, item, score in zip(users, items, scores.tolist(), strict=True)
    ]
    return {"model_version": served.version.name, "results": results}


def similar(served: Served, ask: SimilarRequest) -> Answer:
    """The neighbours of each item."""
    check_columns("columns", ask.columns, served.columns)
    found = served.model.similar_items(ask.items, ask.n, include_cold_items=ask.include_cold_items, return_scores=True)
    known = served.info.item2id
    results = [
        {"item": item, "known": item in known, "items": _items(served, lists, ask.columns)}
        for item, lists in ((item, found[item]) for item in ask.items)
    ]
    return {"model_version": served.version.name, "results": results}


def explain(served: Served, ask: ExplainRequest, consumed: Consumed) -> Answer:
    """What adds up to a score; what was consumed since training is among it where the model reads histories."""
    if ask.feats is not None:
        check_feats(served.info, ask.feats, "feats")
    reads = served.model.engine.network.reads_past
    history = history_of(ask.user, ask.history or (), consumed)[-MAX_HISTORY:]
    table: pd.DataFrame = _asked(
        lambda: served.model.explain(
            ask.user, ask.item, ask.feats, ask.cold_start, history=history if reads and history else None
        )
    )
    terms = table.head(ask.n_terms)
    return {
        "model_version": served.version.name,
        **_pair(served, ask.user, ask.item),
        "prediction": table.attrs["prediction"],
        "logit": table.attrs["logit"],
        "reads_history": reads,
        "terms": [{name: as_json(value) for name, value in row.items()} for row in terms.to_dict("records")],
    }


def search(served: Served, query: str, limit: int) -> Answer:
    """The items that a query finds."""
    return {"model_version": served.version.name, "items": _shown(served, served.search(query, limit))}


def search_users(served: Served, query: str, limit: int) -> Answer:
    """The known users that a query finds."""
    codes, info = served.users.find(query, limit), served.info
    features = user_features(info, codes)
    found = [
        {
            "user": info.id2user[code],
            "columns": features[at],
            "n_consumed": len(info.user_consumed[code]),
            "latest": _shown(served, dict.fromkeys(info.log.latest(code)[: -N_LATEST - 1 : -1].tolist())),
        }
        for at, code in enumerate(codes)
    ]
    return {"model_version": served.version.name, "users": found}


def _shown(served: Served, codes: Iterable[int]) -> list[Answer]:
    """Items with all their columns."""
    items = served.column("item")
    return [
        {"item": items[code - 1], "columns": {name: served.column(name)[code - 1] for name in served.columns}}
        for code in codes
    ]


def _items(served: Served, lists: tuple[Any, Any], columns: Sequence[str], n: int | None = None) -> list[Answer]:
    pairs = zip(lists[0][:n].tolist(), lists[1][:n].tolist(), strict=True)
    found: list[Answer] = [{"item": item, "score": None if score != score else score} for item, score in pairs]
    if columns:
        codes = served.info.item2id
        for one in found:
            one["columns"] = {name: served.column(name)[codes[one["item"]] - 1] for name in columns}
    return found


def _pair(served: Served, user: Id, item: Id) -> Answer:
    known, item_known = user in served.info.user2id, item in served.info.item2id
    return {"user": user, "item": item, "known": known, "item_known": item_known}


def _asked(call: Callable[[], T]) -> T:
    """What a model answers; what it cannot, the request is to blame for: the model itself is whole."""
    try:
        return call()
    except (ValueError, TypeError, OverflowError) as error:
        raise RefusedRequest((), NO_MODEL_SAYS) from error
