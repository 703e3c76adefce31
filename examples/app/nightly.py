"""Each night: what happened is first a test of the model in service and of an updated one, and then learnt.

The earlier part of the events updates a candidate. The later part, which neither model has seen, is played back to
both, and to popularity: would the movie have been among the ten that each had listed at that moment? Only what people
searched for counts, since a click on a list is a hit of the version that made it. A candidate that loses more than
chance explains is not published, and the next night tries again.
"""

import json
import sys

import numpy as np
import pandas as pd
from places import HISTORY, POINTER, database
from versions import serve_version

import recolib
from recolib.recommender import Recommender
from recolib.serving import open_history, read_pointer

N_REC = 10
LEARNT = 0.7
"""The share of the events that the candidate is updated with before both are compared."""


def nightly() -> dict[str, object]:
    """Compare, update and publish; what came of it."""
    before = read_pointer(POINTER)
    events = new_events(before.data_until or 0)
    if len(events) < 2:
        return {"published": None, "events": len(events)}
    early, late = events.iloc[: int(LEARNT * len(events))], events.iloc[int(LEARNT * len(events)) :]
    current, candidate = recolib.load(before.file), recolib.load(before.file)
    candidate.update(early, neg_sampling=True, verbose=0)
    found = pd.DataFrame(
        {
            "current": hits(current, early, late),
            "candidate": hits(candidate, early.head(0), late),
            "popularity": popular_hits(current, early, late),
        }
    )[late["searched"].to_numpy(bool)]
    report: dict[str, object] = {"events": len(events), "compared_on": len(found)}
    report["hit_rate"] = found.mean().round(4).to_dict() if len(found) else None
    if is_worse(found["candidate"].to_numpy(), found["current"].to_numpy()):
        return report | {"published": None}
    candidate.update(late, neg_sampling=True, verbose=0)
    return report | {"published": serve_version(candidate, events)}


def new_events(since: float) -> pd.DataFrame:
    """What the store has and the model does not know, in the order of time, with features of users and movies."""
    with open_history(HISTORY) as history:
        rows = [(event.user, event.item, event.time) for event in history.events(since)]
    with database() as tables:
        users = pd.read_sql("SELECT user, sex, age FROM users", tables)
        movies = pd.read_sql("SELECT * FROM movies", tables)
        searched = pd.read_sql("SELECT user, item, 1 AS searched FROM searched", tables)
    events = pd.DataFrame(rows, columns=["user", "item", "time"]).assign(label=1)
    whole = events.merge(users, on="user").merge(movies, on="item").merge(searched, "left", ["user", "item"])
    return whole.fillna({"searched": 0}).sort_values("time", ignore_index=True)


def hits(model: Recommender, known: pd.DataFrame, late: pd.DataFrame) -> np.ndarray:
    """Whether each later event is in the list that a server had made just before it.

    A server goes by what a user did since training: by the events of ``known``, and by the later ones so far.
    """
    history = known.groupby("user")["item"].agg(list).to_dict()
    found = pd.Series(False, index=late.index)
    for _, rows in late.groupby(late.groupby("user").cumcount()):  # the first of each user, the second, …
        users = rows["user"].tolist()
        past = {user: history[user] for user in users if user in history}
        feats = rows[["user", "sex", "age"]]
        lists = model.recommend_user(users, N_REC, user_feats=feats, cold_start="features", history=past or None)
        for at, user, item in rows[["user", "item"]].itertuples():
            found[at] = item in lists[user]
            history.setdefault(user, []).append(item)
    return found.to_numpy()


def popular_hits(model: Recommender, known: pd.DataFrame, late: pd.DataFrame) -> np.ndarray:
    """The same of the movies that most users watched, without those that the user has watched."""
    info, found = model.data_info, []
    watched = known.groupby("user")["item"].agg(set).to_dict()
    for user, item in late[["user", "item"]].itertuples(index=False):
        trained = {info.id2item[code] for code in model.user_consumed.get(info.user2id.get(user, 0), ())}
        mine = watched.setdefault(user, set())
        fresh = [one for one in info.popular_items if one not in mine | trained]
        found.append(item in fresh[:N_REC])
        mine.add(item)
    return np.array(found)


def is_worse(new: np.ndarray, old: np.ndarray) -> bool:
    """Whether the new model loses more hits than it wins, by more than two standard deviations of chance."""
    lost, won = (old & ~new).sum(), (new & ~old).sum()
    return bool(lost - won > 2 * np.sqrt(lost + won))


if __name__ == "__main__":
    report = nightly()
    print(json.dumps(report))
    sys.exit(report["events"] > 1 and report["published"] is None)  # a timer's unit fails, and somebody looks
