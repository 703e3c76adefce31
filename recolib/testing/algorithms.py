"""What every algorithm must do, whatever the task and the columns."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from recolib.caching import cached
from recolib.evaluation import evaluate
from recolib.recommender import Recommender
from recolib.testing.worlds import N_ITEMS, World, make_world

QUICK: Mapping[str, object] = {"embed_size": 8, "n_epochs": 3, "lr": 0.02, "batch_size": 64}
"""Settings with which a model of a small world is trained in a moment."""
TASKS, KINDS = ("ranking", "rating"), ("pure", "all kinds")
TOLERANCE = 1e-5


@dataclass
class Case:
    """An algorithm with its settings, in a world."""

    algorithm: type[Recommender]
    settings: Mapping[str, object]
    task: str
    world: World

    @property
    def sampled(self) -> bool:
        """Whether negatives are drawn."""
        return self.task == "ranking"

    @property
    def users(self) -> list[Any]:
        """The known users."""
        return self.world.frame["user"].unique().tolist()

    def new(self, **more: object) -> Recommender:
        """A model that was not trained."""
        settings: dict[str, Any] = {**QUICK, **self.settings, **more}
        return self.algorithm(self.task, self.world.build()[1], **settings)

    def fitted(self, **more: object) -> Recommender:
        """A model that was trained for a moment."""
        return self.fit(self.new(**more))

    def fit(self, model: Recommender) -> Recommender:
        """Train a model on the world."""
        return model.fit(self.world.build()[0], self.sampled, verbose=0)

    @cached
    def model(self) -> Recommender:
        """A trained model that promises do not change."""
        return self.fitted()

    def predictions(self, model: Recommender) -> NDArray[np.float32]:
        """Those of each user for each item, and of an unknown user and an unknown item."""
        users, items = [*self.users, "nobody"], [*self.world.frame["item"].unique().tolist(), "nothing"]
        found = model.predict([user for user in users for _ in items], items * len(users))
        return cast("NDArray[np.float32]", found)


def check_algorithm(
    algorithm: type[Recommender],
    settings: Mapping[str, object] | None = None,
    *,
    tasks: Sequence[str] = TASKS,
    kinds: Sequence[str] = KINDS,
) -> None:
    """Check an algorithm of one's own.

    For each task it is trained on two small worlds, one of ids alone and one with every kind of column. It must

    * change its predictions by training, with a finite loss, and give the same bits for the same seed;
    * predict in range, one pair as many, and change nothing by predicting;
    * make lists of distinct items without those that the user consumed, one user's as many users';
    * answer for unknown users and items, by ``cold_start="average"``, ``"popular"`` and ``"features"``;
    * be measured by ``evaluate``, predict the same after ``save`` and ``load``, and go on training as if it had not
      been saved;
    * learn new users and items by ``update``.

    Parameters
    ----------
    algorithm
        The class.
    settings
        Settings to make it with, beside few epochs and short vectors.
    tasks
        ``"ranking"``, ``"rating"`` or both.
    kinds
        The columns of the worlds: ``"pure"``, ``"sparse"`` or ``"all kinds"``.

    Raises
    ------
    AssertionError
        If the algorithm does not do one of these; the message says which, and in which world.

    Examples
    --------
    >>> from collections.abc import Sequence
    >>> from recolib.nn import Component, Deep, FieldSpec, Linear, Pairwise
    >>> from recolib.recommender import Recommender
    >>> from recolib.settings import Flag, Widths
    >>> from recolib.testing import check_algorithm
    >>> class DeeperFM(Recommender):
    ...     hidden_units: Widths = (32, 16)
    ...     second_hidden_units: Widths = (16,)
    ...     use_bn: Flag = True
    ...
    ...     def components(self, spec: FieldSpec) -> Sequence[Component]:
    ...         widths = self.hidden_units, self.second_hidden_units
    ...         return [Linear(spec), Pairwise(spec), *(Deep(spec, one, self.use_bn) for one in widths)]
    >>> check_algorithm(DeeperFM, {"hidden_units": (8,)})
    """
    for task in tasks:
        for kind in kinds:
            case = Case(algorithm, settings or {}, task, make_world(task, kind))
            for promise in PROMISES:
                check_promise(promise, case, f"{algorithm.__name__} with task={task!r} and columns of {kind!r}")


def check_promise(promise: Callable[[Case], None], case: Case, name: str) -> None:
    """Check one promise; the message of its error begins with a name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unknown ids, short lists and contexts that are not given
            promise(case)
    except AssertionError as error:
        raise AssertionError(f"{name}: {error}") from None


def training_changes_predictions_and_keeps_the_loss_finite(case: Case) -> None:
    """Weights are trained."""
    losses = case.model.history_["train_loss"]
    assert len(losses) == case.model.n_epochs, f"history_ has {len(losses)} rows for {case.model.n_epochs} epochs"
    assert np.isfinite(losses).all(), f"the training loss is not finite: {losses.tolist()}"
    one = case.fitted(n_epochs=1)
    assert not np.array_equal(case.predictions(one), case.predictions(case.model)), "epochs change no prediction"


def the_same_seed_gives_the_same_bits(case: Case) -> None:
    """And another seed others."""
    again = case.fitted()
    same_loss = again.history_["train_loss"].tolist() == case.model.history_["train_loss"].tolist()
    assert same_loss, "the same seed gives another training loss: draw from torch's generator alone"
    _same(case.predictions(again), case.predictions(case.model), "the same seed gives other predictions")
    other = case.predictions(case.fitted(seed=43))
    assert not np.array_equal(other, case.predictions(case.model)), "another seed gives the same predictions"


def predictions_are_in_range(case: Case) -> None:
    """Probabilities, or ratings as far as labels go."""
    low, high = (0.0, 1.0) if case.sampled else (case.model.lower_bound, case.model.upper_bound)
    found = case.predictions(case.model)
    assert found.dtype == np.float32, f"predictions are {found.dtype}, not float32"
    assert np.isfinite(found).all(), "predictions are not all finite"
    assert low <= found.min() <= found.max() <= high, f"predictions go from {found.min()} to {found.max()}"


def one_pair_is_predicted_as_among_many(case: Case) -> None:
    """In evaluation no row depends on others."""
    frame = case.world.frame.head(9)
    users, items = frame["user"].tolist(), frame["item"].tolist()
    singles = [case.model.predict(user, item) for user, item in zip(users, items, strict=True)]
    _near(case.model.predict(users, items), singles, "pairs are predicted otherwise alone than among others")


def lists_have_distinct_items_that_the_user_did_not_consume(case: Case) -> None:
    """For one user as for all."""
    frame = case.world.frame
    consumed = {user: set(frame["item"][frame["user"] == user]) for user in case.users}
    lists = case.model.recommend_user(case.users, N_ITEMS)
    for user in case.users:
        items = lists[user].tolist()
        assert len(set(items)) == len(items), f"the list of user {user!r} has an item twice: {items}"
        assert not set(items) & consumed[user], f"the list of user {user!r} has consumed items: {items}"
        assert len(items) == N_ITEMS - len(consumed[user]), f"the list of user {user!r} lacks items: {items}"
    for user in case.users[:3]:
        alone = case.model.recommend_user(user, N_ITEMS)[user].tolist()
        assert alone == lists[user].tolist(), f"user {user!r} has another list alone than among others"


def scores_of_a_list_are_predictions_and_fall(case: Case) -> None:
    """Lists and pairs are scored alike."""
    user = case.users[0]
    items, scores = case.model.recommend_user(user, 5, return_scores=True)[user]
    _near(case.model.predict([user] * len(items), items.tolist()), scores, "a list's scores are not its predictions")
    assert (np.diff(scores) <= 0).all(), f"a list's scores do not fall: {scores}"


def unknown_users_and_items_are_answered(case: Case) -> None:
    """By each cold start."""
    for cold_start in ("average", "popular", "features"):
        lists = case.model.recommend_user(["nobody", "no one"], 6, cold_start=cold_start)
        one, other = (lists[user].tolist() for user in ("nobody", "no one"))
        assert len(set(one)) == 6, f"cold_start={cold_start!r} gives an unknown user {one}, not 6 items"
        assert one == other, f"cold_start={cold_start!r} gives two unknown users different lists"
        pairs = case.model.predict(["nobody", case.users[0]], ["i1", "nothing"], cold_start=cold_start)
        assert np.isfinite(pairs).all(), f"cold_start={cold_start!r} predicts {pairs}"


def it_can_be_measured(case: Case) -> None:
    """Predictions and, for ranking, lists."""
    metrics = ["loss", "ndcg", "coverage"] if case.sampled else ["loss", "mae"]
    measured = evaluate(case.model, case.world.frame, case.sampled, metrics=metrics, filter_consumed=False)
    assert np.isfinite([*measured.values()]).all(), f"evaluate gives {measured}"


def answers_change_nothing(case: Case) -> None:
    """Neither the model nor the global generators."""
    once, state, numpy_state = case.predictions(case.model), torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    it_can_be_measured(case)
    case.model.recommend_user(case.users[0], 3)
    _same(case.predictions(case.model), once, "predictions are others after lists were made")
    assert torch.equal(torch.get_rng_state(), state), "an answer draws from torch's global generator"
    same = np.array_equal(cast("Any", np.random.get_state())[1], cast("Any", numpy_state)[1])  # noqa: NPY002
    assert same, "an answer draws from NumPy's global generator"


def a_saved_model_is_the_same(case: Case) -> None:
    """And goes on training as if it had never been saved."""
    whole = case.fitted(n_epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        half = case.fitted(n_epochs=1)
        half.save(folder, "half")
        back = case.algorithm.load(folder, "half")
    _same(case.predictions(back), case.predictions(half), "a loaded model predicts otherwise")
    _same(case.predictions(case.fit(back)), case.predictions(whole), "a loaded model trains on otherwise")


def new_users_and_items_are_learnt(case: Case) -> None:
    """By ``update``, which leaves what is known as it is until it trains."""
    model = case.fitted(n_epochs=1)
    n_users, n_items, known = model.n_users, model.n_items, case.world.frame
    more = pd.concat([known.head(30), known.head(30).assign(user=999, item="new")], ignore_index=True)
    model.update(more, case.sampled, verbose=0)
    assert model.n_users == n_users + 1, "update does not learn a new user"
    assert model.n_items == n_items + 1, "update does not learn a new item"
    assert np.isfinite(case.predictions(model)).all(), "predictions are not finite after update"
    assert len(model.recommend_user(999, 4)[999]) == 4, "a user that update learnt has no list"


PROMISES: tuple[Callable[[Case], None], ...] = (
    training_changes_predictions_and_keeps_the_loss_finite,
    the_same_seed_gives_the_same_bits,
    predictions_are_in_range,
    one_pair_is_predicted_as_among_many,
    lists_have_distinct_items_that_the_user_did_not_consume,
    scores_of_a_list_are_predictions_and_fall,
    unknown_users_and_items_are_answered,
    it_can_be_measured,
    answers_change_nothing,
    a_saved_model_is_the_same,
    new_users_and_items_are_learnt,
)
"""What ``check_algorithm`` checks, one function each."""


def _same(found: NDArray[np.float32], expected: NDArray[np.float32], what: str) -> None:
    gap = float(np.abs(found - expected).max())
    assert np.array_equal(found, expected), f"{what}: they differ by up to {gap:.3g}"


def _near(found: object, expected: object, what: str) -> None:
    mine, theirs = np.asarray(found, float), np.asarray(expected, float)
    gap = float(np.abs(mine - theirs).max())
    assert np.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE), f"{what}: they differ by up to {gap:.3g}"
