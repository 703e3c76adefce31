"""Predictor: a model's answers, by ids and features."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from recolib.checks import check_bool, check_choice, check_integer
from recolib.queries import Feats, Id, Ids, codes_of, is_single, item_codes, pair_rows
from recolib.scorer import Predictions, Scorer
from recolib.scoring import score_pairs
from recolib.toplists import Finder, Rules, TopList, as_table, lists_for
from recolib.vectors import as_array

COLD_STARTS = ("average", "popular", "features")


class Predictor(Scorer):
    """A fitted model as those see it who ask it: predictions, lists and vectors of users and items, by their ids."""

    def predict(
        self, user: Ids, item: Ids, feats: Feats | None = None, cold_start: str = "average", inner_id: bool = False
    ) -> float | Predictions:
        """How much users would like items.

        Parameters
        ----------
        user, item
            An id each, or sequences of as many; one id goes with each of a sequence.
        feats
            Feature values to use instead of the known ones, of any side and of the context: one mapping for
            all pairs, a list with one mapping a pair, or a frame with one row a pair.
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
        network = self._fitted()
        check_choice("cold_start", cold_start, COLD_STARTS)
        check_bool("inner_id", inner_id)
        users = codes_of(self.data_info, "user", user, inner_id)[1]
        items = codes_of(self.data_info, "item", item, inner_id)[1]
        if len(users) != len(items) and not (is_single(user) or is_single(item)):
            raise ValueError(f"user has {len(users)} ids and item has {len(items)}")
        users, items = (np.ascontiguousarray(codes) for codes in np.broadcast_arrays(users, items))
        as_average = cold_start != "features" or (users.all() and items.all())
        if feats is None and as_average and not self.data_info.context_col:
            asked = self._known("user", users), self._known("item", items)
        else:
            asked = pair_rows(self.data_info, users, items, feats, average=cold_start != "features")
        predictions = self._finished(score_pairs(network, *asked).cpu().numpy())
        if cold_start == "popular":
            predictions[(users == 0) | (items == 0)] = self.default_pred
        return float(predictions[0]) if is_single(user) and is_single(item) else predictions

    def recommend_user(
        self,
        user: Ids,
        n_rec: int,
        user_feats: Feats | None = None,
        seq: object = None,
        cold_start: str = "average",
        inner_id: bool = False,
        filter_consumed: bool = True,
        random_rec: bool = False,
        *,
        context: Feats | None = None,
        candidates: Ids | None = None,
        exclude: Ids | None = None,
        return_scores: bool = False,
        retriever: Finder | None = None,
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
            For sequence models, of which this is none.
        cold_start
            What unknown users get. ``"average"``: the best items of the mean user, or of ``user_feats`` where
            they are given. ``"features"``: what ``user_feats`` make the model say without an id, which ``id_dropout``
            taught it. ``"popular"``: the most popular items.
        inner_id
            Whether ids are codes, those asked for and those returned.
        filter_consumed
            Leave out what the user consumed in training, liked or not.
        random_rec
            Draw the lists at random, in proportion to exp(logit), instead of taking the best first.
        context
            Values of the context columns: one mapping for all users, or a frame keyed by ``user``.
        candidates
            The only items that may be recommended.
        exclude
            Items that may not.
        return_scores
            Whether to return predictions beside the items.
        retriever
            A ``recolib.ann.Retriever`` of this model, to score some items instead of all.

        Returns
        -------
        dict
            For each user an array of item ids, or with ``return_scores`` a pair of arrays, items and predictions;
            lists of the most popular items have no predictions, but NaN.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_rec`` is below 1, a column does not exist, or ``cold_start`` is unknown.

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
        """
        self._fitted()
        check_choice("cold_start", cold_start, COLD_STARTS)
        check_integer("n_rec", n_rec, 1)
        for name, value in (("filter_consumed", filter_consumed), ("random_rec", random_rec), ("inner_id", inner_id)):
            check_bool(name, value)
        if seq is not None:
            raise ValueError(f"{self.model_name} doesn't support arbitrary seq inference: leave seq out")
        ids, codes = codes_of(self.data_info, "user", user, inner_id)
        asked = self._asked(ids, codes, user_feats, context, average=cold_start != "features")
        rules = Rules(
            item_codes(self.data_info, "candidates", candidates, inner_id),
            item_codes(self.data_info, "exclude", exclude, inner_id),
            filter_consumed,
            self._generator if random_rec else None,
        )
        find = partial(self._top_lists, finder=retriever)
        lists = lists_for(self.data_info, asked, codes, n_rec, rules, cold_start == "popular", find)
        return {one: self._answer(top, inner_id, return_scores) for one, top in zip(ids, lists, strict=True)}

    def recommend(
        self,
        users: Ids | None = None,
        n_rec: int = 10,
        *,
        user_feats: Feats | None = None,
        cold_start: str = "average",
        filter_consumed: bool = True,
        context: Feats | None = None,
        candidates: Ids | None = None,
        exclude: Ids | None = None,
        retriever: Finder | None = None,
    ) -> pd.DataFrame:
        """The best items for many users as a table.

        Parameters
        ----------
        users
            User ids; by default all known users.
        n_rec, user_feats, cold_start, filter_consumed, context, candidates, exclude, retriever
            As in ``recommend_user``.

        Returns
        -------
        DataFrame
            ``user``, ``item``, ``score`` (the prediction, NaN in lists of the most popular items) and ``rank``
            (from 1), best first within a user.

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
        ids = self.data_info.vocabs["user"].values.tolist() if users is None else users
        lists = self.recommend_user(
            ids,
            n_rec,
            user_feats,
            cold_start=cold_start,
            filter_consumed=filter_consumed,
            context=context,
            candidates=candidates,
            exclude=exclude,
            return_scores=True,
            retriever=retriever,
        )
        return as_table(lists)

    def item_vectors(self) -> Predictions:
        """Vectors of all items whose inner products with those of users order the items as the model does, or nearly.

        For ``FM`` inner products are logits. No other score is an inner product: item vectors are then the 64
        directions that say most about the scores of 256 users drawn at random, and inner products come near the
        logits. Made for an index from which candidates are taken for ``predict``; see ``recolib.ann``, which does it.

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
        return as_array(self.vectors().items)

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
        known = self.data_info.vocabs["user"].values if users is None else users
        asked = self._asked(*codes_of(self.data_info, "user", known, False), user_feats, context, average=True)
        return as_array(self.vectors().of_users(self._fitted(), asked))

    def _answer(self, top: TopList, inner_id: bool, with_scores: bool) -> Any:
        items = top.items if inner_id else self.data_info.vocabs["item"].decode(top.items)
        return (items, self._finished(top.logits)) if with_scores else items
