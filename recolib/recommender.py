"""Recommender: the one class that a user meets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from recolib.checks import check_bool, check_choice, check_integer
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.evaluation import Measurement, check_measure
from recolib.examples import Examples, training_rows
from recolib.exceptions import warn
from recolib.files import file_of, refusing
from recolib.nn import Component, FieldSpec, Precision
from recolib.queries import Feats, Id, Ids, codes_of, is_single, item_codes, pair_rows
from recolib.sampling import SAMPLERS
from recolib.saved import SavedModel, name_of
from recolib.scorer import Predictions, Scorer
from recolib.scoring import score_pairs
from recolib.toplists import Finder, Rules, TopList, as_table, lists_for
from recolib.training import Plan, Trainer, check_weights, train
from recolib.vectors import as_array
from recolib.wiring import build_network, check_start, network_without_memory

COLD_STARTS = ("average", "popular")
UNSAVED = ("data_info", "tf_sess_config")
"""Settings that are not saved as such: the data has a place of its own, and the other one is ignored."""


class Recommender(Scorer):
    """A model of users and items, by their ids and features.

    A subclass is an algorithm: it adds settings as annotated class variables and says its ``components``;
    see ``recolib.algorithms.deepfm``.
    """

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        self._records: list[dict[str, float]] = []

    def __repr__(self) -> str:
        """The algorithm, its settings, and how far it was trained."""
        trained = f"trained for {self._trainer.epoch} epochs" if self._trainer else "not trained"
        return f"{super().__repr__()[:-1]}; {trained})"

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """The terms of the network's score; what an algorithm says."""
        raise NotImplementedError(f"{type(self).__name__} does not say its components")

    # ---- training

    def fit(
        self,
        train_data: Interactions,
        neg_sampling: bool,
        verbose: int = 1,
        shuffle: bool = True,
        eval_data: object = None,
        metrics: Sequence[str] | str | None = None,
        k: int = 10,
        eval_batch_size: int = 8192,
        eval_user_num: int | None = None,
        num_workers: int = 0,
        *,
        filter_consumed: bool = True,
        init_from: Recommender | None = None,
        freeze_fm: bool = False,
    ) -> Self:
        """Train; a second call continues.

        Parameters
        ----------
        train_data
            What ``build_trainset`` returned.
        neg_sampling
            Whether rows are observations beside which negatives are drawn, or bring their own labels. With
            True each row with a label above 0 is a positive; the others are left out with a warning.
        verbose
            0: silent. 1: a progress bar for each epoch. 2: the metrics of each epoch as well.
        shuffle
            Whether each epoch takes the rows in a new order.
        eval_data
            A frame or an encoded set to measure after each epoch.
        metrics
            What to measure; see ``recolib.evaluation.evaluate``.
        k, eval_batch_size, eval_user_num, filter_consumed
            How, as in ``evaluate``; ``eval_user_num`` is its ``sample_user_num``.
        num_workers
            Accepted for LibRecommender's users and ignored: none are needed.
        init_from
            For a new model: a fitted FM of the same task, data, ``embed_size`` and ``multi_sparse_combiner`` to start
            from. Its vectors, linear weights and w0 are copied. AFM, IFM, INN, DeepIFM and DeepFM then start with the
            FM's scores, NFM with its vectors.
        freeze_fm
            Whether vectors, linear weights and w0 stay as they are during this call; for use with ``init_from``, or
            on a trained model.

        Returns
        -------
        Recommender
            The model itself. ``history_`` has a row for each epoch.

        Raises
        ------
        ValueError
            If the task, the labels, ``neg_sampling``, ``loss_type``, ``metrics``, ``init_from`` and the sets do not go
            together; before any work.
        FloatingPointError
            If the loss becomes infinite or NaN. The model is then what it was before the call.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
        >>> model = FM("ranking", info, n_epochs=2).fit(data, neg_sampling=True, verbose=0, eval_data=frame)
        >>> model.history_["epoch"].tolist()
        [1, 2]
        >>> "eval_loss" in model.history_
        True
        """
        self.check()
        for name, flag in (("neg_sampling", neg_sampling), ("shuffle", shuffle), ("freeze_fm", freeze_fm)):
            check_bool(name, flag)
        check_integer("num_workers", num_workers, 0)
        if eval_user_num is not None:
            check_integer("eval_user_num", eval_user_num, 1)
        how = eval_batch_size, metrics, k, eval_user_num, self.seed, filter_consumed
        check_measure(self.task, *how)
        check_integer("verbose", int(verbose) if isinstance(verbose, bool) else verbose, 0)
        train_set = training_rows(train_data, self, neg_sampling)
        check_start(self, init_from, freeze_fm, is_new=self._trainer is None)
        if metrics is not None and eval_data is None:
            warn("metrics without eval_data: nothing is measured")
        measurement = None if eval_data is None else Measurement.of(self, eval_data, neg_sampling, *how)

        draw = SAMPLERS[self.sampler](self.data_info) if neg_sampling and self.sampler else None
        plan = Plan.of(self, neg_sampling, shuffle, freeze_fm)
        fm = None if init_from is None else init_from._fitted()
        trainer = self._trainer or Trainer(build_network(self, self.components, fm), plan)
        trainer.network.precision = cast("Precision", self.precision)
        if not trainer.is_whole:
            warn("the model was saved with inference_only=True: its optimiser starts anew")
        examples = Examples.of(train_set, draw, self.num_neg, trainer.network.device)
        state = self._trainer, list(self._records)
        try:
            for record in train(trainer, plan, examples, self.n_epochs, verbose):
                self._trainer, self._version = trainer, self._version + 1
                if measurement is not None:
                    record |= {f"eval_{name}": value for name, value in measurement.measure(self).items()}
                self._records.append(record)
                if verbose > 1:
                    tqdm.write(", ".join(f"{name}: {value:.4g}" for name, value in record.items()))
        except FloatingPointError:
            self._trainer, self._records = state
            raise
        finally:
            self._version += 1  # however it ended, the weights are others
        return self

    @property
    def history_(self) -> pd.DataFrame:
        """A row for each epoch: training loss, seconds, scored pairs a second, and the metrics of ``eval_data``."""
        return pd.DataFrame(self._records).astype({"epoch": int} if self._records else {})

    # ---- prediction

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
            column by column, where ``feats`` do not say more. ``"popular"``: not at all; the answer is
            ``default_pred``.
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
        if feats is None and not self.data_info.context_col:
            asked = self._known("user", users), self._known("item", items)
        else:
            asked = pair_rows(self.data_info, users, items, feats, average=cold_start == "average")
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
            they are given. ``"popular"``: the most popular items.
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
        asked = self._asked(ids, codes, user_feats, context, average=cold_start == "average")
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

    # ---- files

    def save(
        self, path: str | os.PathLike[str], model_name: str, manual: bool = True, inference_only: bool = False
    ) -> Path:
        """Write the model to one file, ``path/model_name.safetensors``, its DataInfo included.

        A file of that name stays as it is until the new one is whole on the disk.

        Parameters
        ----------
        path
            A folder; it is made if there is none.
        model_name
            A plain name.
        manual
            Accepted for LibRecommender's users and ignored.
        inference_only
            Leave out what only further training needs: what the optimiser keeps, and the weights behind an average.

        Returns
        -------
        Path
            The file, for ``recolib.load``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``model_name`` is not a plain name.
        TypeError
            If a setting of an algorithm of one's own cannot be saved.

        Examples
        --------
        >>> import tempfile
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, user_col=["sex"], sparse_col=["sex"])
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = model.save(folder, "movies")
        ...     same = FM.load(folder, "movies")
        >>> file.name
        'movies.safetensors'
        >>> same.fit(data, neg_sampling=True, verbose=0).history_["epoch"].tolist()
        [1, 2]
        """
        check_bool("inference_only", inference_only)
        self._fitted()
        assert self._trainer is not None
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in UNSAVED}
        state = self._trainer.state(with_optimizer=not inference_only)
        saved = SavedModel(name_of(type(self)), settings, self.data_info, self._records, state)
        return saved.write(file_of(path, model_name))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model_name: str,
        data_info: DataInfo | None = None,
        manual: bool = True,
        *,
        device: str | None = None,
    ) -> Self:
        """Read what ``save`` wrote: a model that predicts the same, and trains on as if it had never stopped.

        Parameters
        ----------
        path, model_name
            As in ``save``.
        data_info
            The model's data, to be shared with other models; by default that of the file.
        manual
            Accepted for LibRecommender's users and ignored.
        device
            Where to put it; by default the device that it was made for.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, of a newer format, of another algorithm, or of other data than ``data_info``.

        Examples
        --------
        See ``save``.
        """
        saved = SavedModel.read(file_of(path, model_name))
        if not saved.is_of(cls):
            raise ValueError(f"{model_name!r} in {path} holds {saved.algorithm}, not {cls.__name__}: use its load")
        return cls.from_saved(saved, data_info, device)

    @classmethod
    def from_saved(cls, saved: SavedModel, data_info: DataInfo | None, device: str | None) -> Self:
        """The model that a file holds; see ``load``."""
        info = saved.data_info if data_info is None else saved.same_data(data_info)
        settings: dict[str, Any] = saved.settings_for({field.name for field in fields(cls)}, device)
        with refusing(saved.file):
            model = cls(data_info=info, **settings)
            if saved.is_of_recolib:
                check_weights(saved.state, network_without_memory(model, model.components))
            plan = Plan.of(model, neg_sampling=False, shuffle=True)  # till the next fit, which brings its own
            trainer = Trainer(build_network(model, model.components), plan)
            trainer.restore(saved.state)
        model._trainer, model._records = trainer, [dict(record) for record in saved.records]
        return model

    # ---- vectors

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
