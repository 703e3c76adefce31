"""Recommender: the one class that a user meets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Self, cast

import pandas as pd
from tqdm.auto import tqdm

from recolib.checks import check_bool, check_integer
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.evaluation import Measurement, check_measure
from recolib.examples import Examples, training_rows
from recolib.exceptions import warn
from recolib.files import file_of, refusing
from recolib.nn import Component, FieldSpec, Precision
from recolib.predictor import Predictor
from recolib.sampling import SAMPLERS
from recolib.saved import SavedModel, name_of
from recolib.training import Plan, Trainer, check_weights, train
from recolib.wiring import build_network, check_start, network_without_memory

UNSAVED = ("data_info", "tf_sess_config")
"""Settings that are not saved as such: the data has a place of its own, and the other one is ignored."""


class Recommender(Predictor):
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
        examples = Examples.of(train_set, draw, self.num_neg, trainer.network.device, self.id_dropout)
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
