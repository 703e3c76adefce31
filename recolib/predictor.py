"""Predictor: what a model answers, by ids and features."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from recolib.checks import check_bool, check_choice, check_integer, check_verbose
from recolib.data.rows import Codes, Rows
from recolib.evaluation.importance import importance
from recolib.evaluation.metrics import OneMetric
from recolib.exceptions import NotFittedError, RatingsAsListsWarning, warn
from recolib.inference.cold_start import COLD_STARTS, SCORED_COLD_STARTS, Strategy
from recolib.inference.engine import Engine, Predictions, Retriever
from recolib.inference.explaining import explanation, with_history
from recolib.inference.features import Feats, pair_codes, pair_rows, user_rows
from recolib.inference.histories import Histories
from recolib.inference.ids import Id, Ids, codes_of, is_single
from recolib.inference.item_shards import read_items_at_once
from recolib.inference.parquet import check_parquet
from recolib.inference.recommend import columns_shown, each_of, recommend, recommend_blocks, table_of, warn_of_short
from recolib.inference.request import Request, Where
from recolib.inference.toplists import TopLists
from recolib.inference.users_in_parts import UsersInParts, write_lists
from recolib.inference.vectors import as_array
from recolib.nn import NetworkSide, Precision
from recolib.settings import Settings


class Predictor(Settings):
    """The answers of a model: predictions, lists and vectors of users and items, by their ids."""

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        self._engine: Engine | None = None
        self._told_of_lists = False
        self._generator = torch.Generator().manual_seed(self.seed)

    @property
    def engine(self) -> Engine:
        """What answers: the fitted network and its data, which never change.

        A ``fit`` or an ``update`` puts a new engine in its place by one assignment.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        if self._engine is None:
            raise NotFittedError(f"{self.model_name} has no weights yet: call fit first")
        return self._engine.current(cast("Precision", self.precision))

    def _warn_of_ratings(self) -> None:
        """Warn, once a model, that lists by ratings are not what users choose."""
        if self.task == "rating" and not self._told_of_lists:
            self._told_of_lists = True
            warn(
                "lists of task='rating' go by the expected rating, not by what users choose, and are often worse than "
                "the most popular items: train task='ranking' with neg_sampling=True on the liked rows, "
                "as docs/choosing.md says under 'Lists from ratings'",
                RatingsAsListsWarning,
            )

    @property
    def default_recs(self) -> Codes:
        """The codes of the mean user's 100 best items, best first."""
        return self.engine.default_recs.copy()

    def score_rows(self, users: Rows, items: Rows) -> Predictions:
        """Ratings, or for ranking logits; see ``Engine.score_rows``."""
        return self.engine.score_rows(users, items)

    def rank_items(
        self, users: Rows, codes: Codes, k: int, filter_consumed: bool, include_cold_items: bool = False
    ) -> Codes:
        """The codes of the best items of user rows; see ``Engine.rank_items``."""
        return self.engine.rank_items(users, codes, k, filter_consumed, include_cold_items)

    def predict(
        self, user: Ids, item: Ids, feats: Feats | None = None, cold_start: str = "average", inner_id: bool = False
    ) -> float | Predictions:
        """How much users would like items.

        Parameters
        ----------
        user, item
            An id each, or sequences of as many; one id goes with each of a sequence.
        feats
            Feature values to use instead of the known ones, of any side and of the context: a mapping for all pairs,
            in which a list is one value a pair, a list with one mapping a pair, or a frame with one row a pair.
        cold_start
            What an unknown user or item is scored from. ``"average"``: the mean of what training learnt,
            column by column, where ``feats`` do not say more. ``"features"``: ``feats``, and what ``id_dropout`` taught
            the model to say without an id. ``"popular"``: not at all; the answer is ``default_pred``.
        inner_id
            Whether ids are codes, as ``data_info.user2id`` gives them.

        Returns
        -------
        float or ndarray
            A rating, or a probability; a float for one pair, else float32 of shape (n,).

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If lengths differ, a column does not exist, or ``cold_start`` is unknown.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
        >>> model = FM("rating", info, n_epochs=1).fit(data, neg_sampling=False, verbose=0)
        >>> user, item = frame["user"][0], frame["item"][0]
        >>> 1 <= model.predict(user, item) <= 5
        True
        >>> model.predict(user, info.popular_items[:3], feats={"sex": "F"}).shape
        (3,)
        """
        engine = self.engine
        info = engine.data_info
        if callable(cold_start):
            raise ValueError("a function as cold_start makes lists: predict needs a name, such as 'average'")
        if cold_start != "average":
            check_choice("cold_start", cold_start, COLD_STARTS)
        check_bool("inner_id", inner_id)
        users, items, feats = pair_codes(info, user, item, feats, inner_id)
        average = cold_start != "features"
        if feats is None and not info.has_context and (average or (users.all() and items.all())):
            pairs = engine.rows_of("user", users), engine.rows_of("item", items)
        else:
            pairs = pair_rows(info, users, items, feats, average)
        predictions = engine.predict_pairs(*pairs)
        if cold_start == "popular":
            predictions[(users == 0) | (items == 0)] = self.default_pred
        return float(predictions[0]) if is_single(user) and is_single(item) else predictions

    def recommend_user(
        self,
        user: Ids,
        n_rec: int,
        user_feats: Feats | None = None,
        seq: Histories | None = None,
        cold_start: str | Strategy = "average",
        inner_id: bool = False,
        filter_consumed: bool = True,
        random_rec: bool = False,
        *,
        history: Histories | None = None,
        context: Feats | None = None,
        candidates: Ids | None = None,
        exclude: Ids | Mapping[Any, Ids] | None = None,
        where: Where | None = None,
        max_per_group: Mapping[str, int] | None = None,
        min_score: float | None = None,
        include_cold_items: bool = False,
        segment: str | Sequence[str] | None = None,
        return_scores: bool = False,
        retriever: Retriever | None = None,
    ) -> dict[Id, Any]:
        """The best items for users, best first, each at most once.

        Parameters
        ----------
        user
            A user id, or several.
        n_rec
            The length of the lists. They are shorter, with a warning, where fewer items may be recommended.
        user_feats
            Feature values of the users to use instead of the known ones: a mapping for one user; for several a
            list with one mapping each, or a frame keyed by ``user``.
        seq
            For models that read what users consumed, such as ``EASE``, ``SASRec`` and those with ``history=True``: all
            that the user consumed, in order, in the place of what is known. For several users as ``history``.
        cold_start
            What unknown users get. ``"average"``: the best items of the mean user, or of ``user_feats`` where
            they are given. ``"features"``: what ``user_feats`` make the model say without an id, which ``id_dropout``
            taught it. ``"popular"``: the most popular items, with ``segment`` among users like this one. A function
            of the app's own: called with the model, a list of the unknown users' ids and ``n_rec``, it returns for each
            a list of at most ``n_rec`` item ids, best first. What ``candidates``, ``exclude``, ``where`` and
            ``max_per_group`` do not allow is left out of such a list, which is not filled up.
        inner_id
            Whether ids are codes, those given and those returned.
        filter_consumed
            Leave out what the user consumed in training; ``build_trainset(consumed=…)`` says which rows count.
        random_rec
            Draw the lists at random, in proportion to exp(logit), instead of taking the best first.
        history
            Items that the user consumed after training; for several users, or one, a mapping from each to their items,
            or a frame of ``user`` and ``item``, and of ``time`` if its rows are not in order.
            A model that reads what users consumed has them, in this order, behind what it knows. In any other the
            user's vector and linear weight are then fitted to these items, starting from where they stand and
            staying within what is usual for the users of training; nothing of the model changes. See
            ``recolib.inference.folding.fold_in``. What a known user consumed in training holds their vector where it
            is. With ``filter_consumed`` these items are left out of the list.
        context
            Values of the context columns: one mapping for all users, or a frame keyed by ``user``.
        candidates
            The only items that may be recommended.
        exclude
            Items that may not; or a mapping from users to the items that each of them may not get.
        where
            Which items may be recommended: a function from the frame of all items (see ``DataInfo.item_frame``) to a
            boolean for each, or a narwhals expression of its columns, such as ``nw.col("price") < 10``. Where the
            answer is missing, the item is left out.
        max_per_group
            For sparse and multi-sparse columns of items, how many items of each value a list has at most, such as
            ``{"genre": 2}``. Items are taken from the best on. An item of several values counts for each, and a column
            of a group stands for the group; missing and unknown values are not limited.
        min_score
            The least prediction that an item may have. It does not apply to lists that have no predictions.
        include_cold_items
            Whether items without any interaction may be recommended, by what the model makes of their features; without
            ``id_dropout`` it has not learnt to. Those that ``candidates`` name may, anyway.
        segment
            For ``cold_start="popular"``: one or more sparse columns of users. Unknown users get what is most popular
            with the known ones whose values are now those in ``user_feats``; ties, and items that nobody of these
            liked, go by overall popularity, and so does everything where a value is missing or unknown.
        return_scores
            Whether to return predictions beside the items.
        retriever
            A ``recolib.ann.Retriever`` of this model, to score some items instead of all.

        Returns
        -------
        dict
            For each user an array of item ids, or with ``return_scores`` a pair of arrays, items and predictions;
            lists of the most popular items, and those of a function, have no predictions, but NaN.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_rec`` is below 1, a column does not exist, ``cold_start`` is unknown, ``history`` stands beside a
            ``cold_start`` that scores nothing or does not say whose it is, ``where`` does not give a
            boolean for each item, or a function as ``cold_start`` does not give a list of known items for each user.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> user = frame["user"][0]
        >>> len(model.recommend_user(user, n_rec=5)[user])
        5
        >>> items, scores = model.recommend_user(user, 3, candidates=info.popular_items, return_scores=True)[user]
        >>> bool(scores[0] >= scores[1] >= scores[2])
        True
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     lists = model.recommend_user("someone new", 3, {"sex": "F"}, history=info.popular_items[:2])
        >>> bool(set(lists["someone new"]) & set(info.popular_items[:2]))
        False
        """
        engine = self.engine
        request = Request.of(locals())
        self._warn_of_ratings()
        batch = request.resolve(engine, user, self._generator)
        lists = recommend(engine, request, batch, self)
        warn_of_short(lists.n_short(n_rec), n_rec)
        items, scores = each_of(engine, lists, inner_id)
        answers = zip(items, scores, strict=True) if return_scores else items
        return dict(zip(batch.ids.tolist(), answers, strict=True))

    def recommend(
        self,
        users: Ids | None = None,
        n_rec: int = 10,
        *,
        user_feats: Feats | None = None,
        cold_start: str | Strategy = "average",
        inner_id: bool = False,
        filter_consumed: bool = True,
        random_rec: bool = False,
        history: Histories | None = None,
        seq: Histories | None = None,
        context: Feats | None = None,
        candidates: Ids | None = None,
        exclude: Ids | Mapping[Any, Ids] | None = None,
        where: Where | None = None,
        max_per_group: Mapping[str, int] | None = None,
        min_score: float | None = None,
        include_cold_items: bool = False,
        segment: str | Sequence[str] | None = None,
        retriever: Retriever | None = None,
        columns: str | Sequence[str] | None = None,
        verbose: int = 1,
    ) -> pd.DataFrame:
        """The best items for many users as a table.

        Parameters
        ----------
        users
            User ids; by default all known users.
        n_rec, user_feats, cold_start, inner_id, filter_consumed, random_rec, history, seq, context
            As in ``recommend_user``. A function as ``cold_start`` is called for some users at a time.
        candidates, exclude, where, max_per_group, min_score, include_cold_items, segment, retriever
            As in ``recommend_user``.
        columns
            Columns of the items to show beside each, such as ``["title"]``: those of ``DataInfo.item_frame``.
        verbose
            0: silent. 1: a progress bar, once it takes more than a second.

        Returns
        -------
        DataFrame
            ``user``, ``item``, ``score`` (the prediction, NaN in lists that have none) and ``rank`` (from 1), best
            first within a user; then ``columns``, as the items are now.

        Raises
        ------
        ValueError
            As in ``recommend_user``, and if items have no such column, or the table has it already.

        See Also
        --------
        recommend_to : the same as a file, where the table is too large for memory.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> model.recommend(n_rec=2).columns.tolist()
        ['user', 'item', 'score', 'rank']
        """
        check_verbose(verbose)
        engine = self.engine
        request, shown = Request.of(locals()), columns_shown(engine, columns)
        self._warn_of_ratings()
        asked = request.known_users(engine) if users is None else users
        batch = request.resolve(engine, asked, self._generator, once=True)
        lists = TopLists.empty(len(batch), min(n_rec, engine.data_info.n_items))
        for block, some in recommend_blocks(engine, request, batch, self, verbose):
            lists.put(block, some)
        return table_of(engine, batch.ids, lists, inner_id, shown)

    def recommend_to(
        self,
        path: str | os.PathLike[str],
        users: Ids | UsersInParts | None = None,
        n_rec: int = 10,
        *,
        user_feats: Feats | None = None,
        cold_start: str | Strategy = "average",
        inner_id: bool = False,
        filter_consumed: bool = True,
        random_rec: bool = False,
        history: Histories | None = None,
        seq: Histories | None = None,
        context: Feats | None = None,
        candidates: Ids | None = None,
        exclude: Ids | Mapping[Any, Ids] | None = None,
        where: Where | None = None,
        max_per_group: Mapping[str, int] | None = None,
        min_score: float | None = None,
        include_cold_items: bool = False,
        segment: str | Sequence[str] | None = None,
        retriever: Retriever | None = None,
        columns: str | Sequence[str] | None = None,
        items_at_once: int | None = None,
        verbose: int = 1,
    ) -> Path:
        """Write what ``recommend`` returns to a Parquet file, part by part, so that little of it is in memory.

        A file of that name stays as it is until the new one is whole on the disk. Needs pyarrow:
        ``pip install "recolib[parquet]"``.

        Parameters
        ----------
        path
            The file; its folder is made if there is none.
        users
            As in ``recommend``; or what has a column ``user`` and is read in parts, so that not all users are in memory
            either: a ``pathlib.Path`` of Parquet files, a ``pyarrow.dataset.Dataset``, an iterator of frames or a
            function that returns one. A user who stands there several times has one list.
        n_rec, user_feats, cold_start, inner_id, filter_consumed, random_rec, history, seq, context
            As in ``recommend``.
        candidates, exclude, where, max_per_group, min_score, include_cold_items, segment, retriever, columns, verbose
            As in ``recommend``.
        items_at_once
            How many items are encoded at a time. By default all of them where that needs at most 256 MB, and otherwise
            131,072 or as many as that holds. Lists are the same.

        Returns
        -------
        Path
            The file, with the columns ``user``, ``item``, ``score`` and ``rank``, and then ``columns``.

        Raises
        ------
        ImportError
            If there is no pyarrow.
        ValueError
            As in ``recommend``, and if ids of users or of items, or a column's values, are integers and strings, or if
            ``items_at_once`` is given beside ``random_rec`` or ``retriever``.

        Examples
        --------
        >>> import tempfile
        >>> import pandas as pd
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = model.recommend_to(f"{folder}/lists.parquet", n_rec=3)
        ...     table = pd.read_parquet(file)
        >>> len(table) == 3 * info.n_users
        True
        """
        check_verbose(verbose)
        check_parquet(path)
        engine = self.engine
        request, shown = Request.of(locals()), columns_shown(engine, columns)
        at_once = read_items_at_once(engine, request, items_at_once)
        self._warn_of_ratings()
        return write_lists(path, engine, request, users, self._generator, self, verbose, shown, at_once)

    def item_vectors(self) -> Predictions:
        """Vectors of all items whose inner products with those of users order the items as the model does, or nearly.

        Where all terms of a model are inner products, as in a factorization machine, those of these vectors are its
        logits. Else item vectors are the 64 directions that say most about the scores of 256 users drawn at random,
        and inner products come near the logits. Made for an index from which candidates are taken for ``predict``; see
        ``recolib.ann``, which does it.

        Returns
        -------
        ndarray
            Of codes 1, 2, … in turn: row ``n`` belongs to ``data_info.id2item[n + 1]``. Float32, (n_items, V), and
            not to be written to.

        Raises
        ------
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("rating", info, n_epochs=1, embed_size=8).fit(data, neg_sampling=False, verbose=0)
        >>> user, item = info.id2user[1], info.id2item[1]
        >>> rating = float(model.user_vectors([user])[0] @ model.item_vectors()[0])
        >>> abs(rating - model.predict(user, item)) < 1e-4
        True
        """
        return as_array(self.engine.vectors().items)

    def user_vectors(
        self, users: Ids | None = None, user_feats: Feats | None = None, *, context: Feats | None = None
    ) -> Predictions:
        """Vectors of users, to be multiplied with ``item_vectors`` of the same model and data.

        Parameters
        ----------
        users
            User ids; by default all known users, in the order of their codes 1, 2, …. Who is unknown is the average.
        user_feats, context
            As in ``recommend_user``.

        Returns
        -------
        ndarray
            Float32, (n_users, V).

        Examples
        --------
        See ``item_vectors``.
        """
        engine = self.engine
        info = engine.data_info
        asked, described = info.vocabs["user"].values if users is None else users, user_feats is not None
        ids, codes = codes_of(info, "user", asked, False, described=described)
        if user_feats is None and context is None and not info.has_context:
            rows = engine.rows_of("user", codes)
        else:
            rows = user_rows(info, ids, codes, user_feats, context, average=True)
        return as_array(engine.vectors().of_users(engine.network, rows))

    def similar_items(
        self,
        item: Ids,
        n: int = 10,
        *,
        include_cold_items: bool = False,
        return_scores: bool = False,
        inner_id: bool = False,
    ) -> dict[Id, Any]:
        """The items that the same users like, most similar first, never the item itself.

        Two items are as similar as the model's scores of them are correlated over users, when each item's and each
        user's mean is taken from the scores: neither how popular items are counts, nor how generous users are. This
        means the same for all models. It is computed from ``item_vectors``, over at most 2,048 users drawn at random:
        exact where these vectors are, and nearly so elsewhere.

        Parameters
        ----------
        item
            An item id, or several.
        n
            The length of the lists.
        include_cold_items
            Whether items without any interaction may be neighbours, by what the model makes of their features.
        return_scores
            Whether to return similarities beside the items.
        inner_id
            Whether ids are codes, those given and those returned.

        Returns
        -------
        dict
            For each item an array of item ids, or with ``return_scores`` a pair of arrays, items and similarities from
            −1 to 1. Ties go to the lower code. An unknown item has no neighbours, and there is a warning.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n`` is below 1.

        References
        ----------
        The correlation is that of item-based collaborative filtering, Sarwar et al., *Item-Based Collaborative
        Filtering Recommendation Algorithms*, WWW 2001, over what the model predicts instead of what was observed.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
        >>> item = info.popular_items[0]
        >>> items, similarities = model.similar_items(item, n=3, return_scores=True)[item]
        >>> len(items), bool(1 >= similarities[0] >= similarities[2] >= -1)
        (3, True)
        """
        return self._similar("item", item, n, include_cold_items, return_scores, inner_id)

    def similar_users(
        self,
        user: Ids,
        n: int = 10,
        *,
        include_cold_users: bool = False,
        return_scores: bool = False,
        inner_id: bool = False,
    ) -> dict[Id, Any]:
        """The users who like the same items, most similar first, never the same user.

        Parameters
        ----------
        user
            A user id, or several.
        n, include_cold_users, return_scores, inner_id
            As in ``similar_items``.

        Returns
        -------
        dict
            For each user an array of user ids, or with ``return_scores`` a pair of arrays, users and similarities.
            Users are compared in a context of which nothing is known.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
        >>> user = info.id2user[1]
        >>> len(model.similar_users(user, n=5)[user])
        5
        """
        return self._similar("user", user, n, include_cold_users, return_scores, inner_id)

    def explain(
        self, user: Id, item: Id, feats: Feats | None = None, cold_start: str = "average", history: Histories = None
    ) -> pd.DataFrame:
        """What adds up to the score of one pair: a constant, each column, and each two columns together.

        The numbers are the terms of the model's formula, and their sum is the logit, or for ``task="rating"`` the
        rating before it is clipped. First-order weights are terms of columns. Inner products, plain or weighted by
        attention, are terms of pairs. What is no such sum, a perceptron for instance, is one term, ``rest``. A model
        that has nothing but ``rest`` beside the constant is better explained by ``feature_importance``.

        Parameters
        ----------
        user, item
            An id each.
        feats
            Feature values to use instead of the known ones, of any side and of the context, as in ``predict``.
        cold_start
            What an unknown user or item is scored from, ``"average"`` or ``"features"``, as in ``predict``.
        history
            Items that the user consumed after training, as in ``recommend_user``; for models that read histories.

        Returns
        -------
        DataFrame
            A row for each term, those that add or take most first.

            * ``term``: such as ``"bias"``, ``"genre"``, ``"sex × genre"`` or ``"rest"``
            * ``kind``: ``"bias"``, ``"column"``, ``"pair"``, ``"rest"``, or ``"history"``: what one of the items that
              the user consumed adds, by weights from item to item or in pairs, its id as ``first_value``
            * ``first``, ``second``: the columns, None where there are none; a multi-sparse group goes by its first
            * ``first_value``, ``second_value``: what stands there, several values of a group as one text;
              ``"(unknown)"`` or ``"(average)"`` where the pair is scored from that
            * ``contribution``: what the term adds, float64

            In ``attrs`` are ``"logit"`` and ``"prediction"``, the same as from ``predict``. With ``precision="bf16"``
            terms and logit are those in float32.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If there is more than one user or item, a column does not exist, ``cold_start`` is unknown, or the model
            does not read histories.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
        >>> model = FM("rating", info, n_epochs=1).fit(data, neg_sampling=False, verbose=0)
        >>> reasons = model.explain(frame["user"][0], frame["item"][0])
        >>> sorted(reasons["term"])
        ['bias', 'item', 'sex', 'sex × item', 'user', 'user × item', 'user × sex']
        >>> bool(abs(reasons["contribution"].sum() - reasons.attrs["logit"]) < 1e-4)
        True
        """
        engine = self.engine
        check_choice("cold_start", cold_start, SCORED_COLD_STARTS)
        if not (is_single(user) and is_single(item)):
            raise ValueError(f"explain takes one user and one item, got user={user!r} and item={item!r}")
        users, items, feats = pair_codes(engine.data_info, user, item, feats)
        pair = pair_rows(engine.data_info, users, items, feats, average=cold_start != "features")
        pair = with_history(engine.network, engine.data_info, user, users, pair, history)
        return explanation(engine.network, engine.data_info, *pair, prediction=float(engine.predict_pairs(*pair)[0]))

    def feature_importance(
        self,
        data: object,
        neg_sampling: bool,
        metric: OneMetric | None = None,
        n_repeats: int = 5,
        seed: int = 42,
        verbose: int = 1,
    ) -> pd.DataFrame:
        """How much worse predictions get when a column's values are permuted among the rows of the data.

        A column that the model does not need has an importance of about 0. Of columns that say the same, such as an
        item's id and its genre, each can stand in for the other, so that each alone seems to matter less than both.

        Parameters
        ----------
        data
            A frame, or a set that ``build_evalset`` made, best of what the model was not trained on. It is not
            changed.
        neg_sampling
            Whether to add negatives, as in ``recolib.evaluation.evaluate``. They are drawn once.
        metric
            A metric of predictions, as in ``evaluate``: a name, a function or a ``Metric``; by default ``roc_auc``, or
            ``rmse`` for a task of rating.
        n_repeats
            How often each column is permuted.
        seed
            For the permutations and for the negatives.
        verbose
            0: silent. 1: a progress bar.

        Returns
        -------
        DataFrame
            Most important first.

            * ``column``: ``user`` and ``item``, the ids, and each feature and context column; a multi-sparse group is
              one, by the name of its first column
            * ``importance``: the mean fall of the metric, or of a loss the rise
            * ``deviation``: its standard deviation over the repeats

            In ``attrs`` are ``"metric"`` and its ``"value"`` on the data as it is.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the metric is not one of predictions, or of another task, or the data does not suit the task.

        References
        ----------
        Breiman, *Random Forests*, Machine Learning 2001; Fisher, Rudin and Dominici, *All Models are Wrong, but Many
        are Useful*, JMLR 2019.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
        >>> model = FM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0)
        >>> table = model.feature_importance(frame, neg_sampling=True, n_repeats=2, verbose=0)
        >>> table.columns.tolist(), sorted(table["column"])
        (['column', 'importance', 'deviation'], ['item', 'sex', 'user'])
        """
        _ = self.engine  # before any work
        return importance(copy.copy(self), data, neg_sampling, metric, n_repeats, seed, verbose)

    def _similar(
        self, side: NetworkSide, ids: Ids, n: int, include_cold: bool, return_scores: bool, inner_id: bool
    ) -> dict[Id, Any]:
        engine = self.engine
        check_integer("n", n, 1)
        for name, value in ((f"include_cold_{side}s", include_cold), ("return_scores", return_scores)):
            check_bool(name, value)
        check_bool("inner_id", inner_id)
        of, codes = codes_of(engine.data_info, side, ids, inner_id, fate="they have no neighbours")
        found = engine.neighbourhood(side).nearest(codes, n, include_cold)
        decode = engine.data_info.vocabs[side].decode
        answers = [(near if inner_id else decode(near), similarities) for near, similarities in found]
        return {one: both if return_scores else both[0] for one, both in zip(of, answers, strict=True)}
