"""Recommender: the one class that a user meets."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import pandas as pd
from tqdm.auto import tqdm

from recolib.artifacts.card import write_card
from recolib.artifacts.model_file import SavedModel, predicting
from recolib.artifacts.onnx import export
from recolib.checks import check_bool, check_integer, check_number
from recolib.data.dataset import DatasetFeat
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.merging import with_ids
from recolib.defaults import HELD_OUT, LIST_LENGTH, MOST_EPOCHS, N_MEASURED, PATIENCE, hold_out, metric_of, settle
from recolib.evaluation.measurement import Measurement, as_encoded, check_measure
from recolib.evaluation.metrics import Metrics
from recolib.exceptions import warn
from recolib.files import file_of, prefixed, refusing
from recolib.inference.engine import Engine
from recolib.nn import Component, FieldSpec, Network, Precision
from recolib.predictor import Predictor, check_verbose
from recolib.runs import (
    Callback,
    Record,
    Run,
    check_callbacks,
    checkpoint_file,
    first_epoch,
    follow,
    read_run,
    resume_run,
    training_rows,
)
from recolib.training.optimizers import OPTIMIZERS
from recolib.training.schedules import Schedule, as_schedule
from recolib.training.stopping import EarlyStopping, check_stopping
from recolib.training.trainer import Trainer, TrainState
from recolib.wiring import (
    check_file_state,
    check_start,
    examples_of,
    grown_state,
    network_of_state,
    plan_of,
    started_network,
    to_predictions,
)


class Recommender(Predictor):
    """A model of users and items, by their ids and features.

    A subclass is an algorithm: it adds settings as annotated class variables and says its ``components``;
    see ``recolib.algorithms.deepfm``.
    """

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        self._state: TrainState = {}
        self._is_whole = True  # whether the state has what only training needs
        self._records: list[Record] = []

    def __repr__(self) -> str:
        """The algorithm, its settings, and how far it was trained."""
        trained = f"trained for {self._n_epochs_done} epochs" if self._state else "not trained"
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
        metrics: Metrics | None = None,
        k: int = 10,
        eval_batch_size: int = 8192,
        eval_user_num: int | None = None,
        num_workers: int = 0,
        *,
        filter_consumed: bool = True,
        init_from: Recommender | None = None,
        freeze_fm: bool = False,
        early_stopping: EarlyStopping | None = None,
        lr_schedule: str | Schedule | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: str | os.PathLike[str] | None = None,
        callbacks: Sequence[Callback] = (),
        validation: float = HELD_OUT,
        refit: bool = True,
    ) -> Self:
        """Train; a second call continues.

        Settings that are None are chosen by the first call, and can be read from the model afterwards.

        Parameters
        ----------
        train_data
            What ``build_trainset`` returned. Its ``weights`` multiply the losses of their rows; a negative has the
            weight of its positive.
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
            from. Its vectors, linear weights and w0 are copied. A model whose components can start as a factorization
            machine begins with the FM's scores, any other with its vectors.
        freeze_fm
            Whether vectors, linear weights and w0 stay as they are during this call; for use with ``init_from``, or
            on a trained model.

        early_stopping
            An ``EarlyStopping`` by one of the ``metrics`` of ``eval_data``, or by the training loss. The model then
            ends as it was after its best epoch; ``history_`` keeps the rows of all epochs that ran, and the next
            ``fit`` drops those beyond the model's.
        lr_schedule
            What multiplies the learning rate at each step, beside ``lr_decay``: ``"linear"`` and ``"cosine"`` go from 1
            to 0 in the course of this call, ``"warmup_cosine"`` first rises for 5 % of the steps; or a function of the
            share of the steps that were made, from 0 to below 1.
        checkpoint
            A path such as ``"runs/movies"``: after each epoch the model is written to ``runs/movies.safetensors``, for
            ``resume`` and for ``recolib.load``.
        resume
            A checkpoint of a call that did not come to its end, for a new model with the same settings, data and
            arguments: its epochs are taken over, and those that are left are trained. What comes out is the same to the
            bit. If there is no such file and ``checkpoint`` is the same path, training begins anew, so that one program
            can be started again until it is done. Of a run that is done nothing is trained.
        callbacks
            Functions of an epoch's record, a dict that is theirs to keep: ``epoch``, ``train_loss``, ``seconds``,
            ``rows_per_second`` and the metrics as ``eval_...``. They are called after each epoch, when its checkpoint
            is written, and may use or save the model as it is then. What they return is ignored. What they raise ends
            the call, and the model keeps its epochs. Without callbacks the model answers as before until the call ends.
        validation
            Where ``n_epochs`` is None and there is no ``early_stopping``: the share of each user's rows by which the
            number of epochs is chosen, the latest if the data has times, else some at random. A model of the same
            settings is trained on the others until its figure on these gets no better: nDCG of lists of 100 with
            ``neg_sampling``, else log loss or RMSE.
        refit
            Whether a model is then trained on all rows for as many epochs. False keeps the one that was trained to
            choose their number, in half the time.

        Returns
        -------
        Recommender
            The model itself. ``history_`` has a row for each epoch.

        Raises
        ------
        ValueError
            If the task, the labels, ``neg_sampling``, ``loss_type``, ``metrics``, ``init_from`` and the sets do not go
            together, or ``resume`` is a run of something else; before any work.
        FileNotFoundError
            If ``resume`` is no file, and not what ``checkpoint`` is to write.
        FloatingPointError
            If the loss becomes infinite or NaN. The model is then what it was before the call.
        KeyboardInterrupt
            If the user interrupts it. The model keeps the steps that were made and can predict; the epoch that
            was not finished does not count, and the next ``fit`` takes it from its beginning.

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
        for name, flag in (
            ("neg_sampling", neg_sampling),
            ("shuffle", shuffle),
            ("freeze_fm", freeze_fm),
            ("refit", refit),
        ):
            check_bool(name, flag)
        check_number("validation", validation, 0, 0.5, open_low=True)
        check_integer("num_workers", num_workers, 0)
        check_verbose(verbose)
        if eval_user_num is not None:
            check_integer("eval_user_num", eval_user_num, 1)
        how = eval_batch_size, metrics, k, eval_user_num, self.seed, filter_consumed
        measured = check_measure(self.task, *how)
        early_stopping = check_stopping(early_stopping, measured if eval_data is not None else [])
        check_callbacks(callbacks)
        schedule, is_new = as_schedule(lr_schedule), not self._state
        file = None if checkpoint is None else checkpoint_file("checkpoint", checkpoint)
        saved = read_run(resume, file, self, is_new)
        train_set = training_rows(train_data, self, neg_sampling)
        check_start(self, init_from, freeze_fm and saved is None, is_new)
        if metrics is not None and eval_data is None:
            warn("metrics without eval_data: nothing is measured")
        eval_set = None if eval_data is None else as_encoded(eval_data, self.data_info)
        measurement = None if eval_set is None else Measurement.of(self, eval_set, neg_sampling, *how)

        before = dict(vars(self))
        try:
            settle(self, train_set, neg_sampling, early_stopping is not None, {} if saved is None else saved.settings)
            if self.n_epochs is None:
                rest, held = hold_out(train_set, validation, train_data.has_times, self.seed)
                scout = self._scout(rest, held, neg_sampling, verbose, shuffle, init_from, freeze_fm)
                self.n_epochs = scout._n_epochs_done
                if not refit:
                    self._hold(scout.engine.network, scout._state, scout._records)
                    return self
            first = first_epoch(saved) if is_new else self._n_epochs_done
            plan = plan_of(self, neg_sampling, shuffle, freeze_fm, schedule, first)
            run = Run(plan, early_stopping, file, tuple(callbacks), int(verbose))
            if file is not None or saved is not None:
                how_measured = {"eval_batch_size": eval_batch_size, "k": k, "eval_user_num": eval_user_num}
                how_measured |= {"metrics": [metric.name for metric in measured], "filter_consumed": filter_consumed}
                run = run.with_fingerprint(self, neg_sampling, train_set, eval_set, **how_measured)
            fm = None if init_from is None or saved is not None else init_from.engine.network
            trainer = self._trainer(run, fm, train_set, neg_sampling)
            records = [record for record in self._records if record["epoch"] <= trainer.epoch]
            records, best = (records, {}) if saved is None else resume_run(saved, run, trainer)
            examples = examples_of(self, train_set, neg_sampling, trainer.network.device)
        except BaseException:
            vars(self).update(before)
            raise
        if not self._is_whole and (OPTIMIZERS[self.optimizer].keeps or self.ema is not None):
            warn("the model was saved with inference_only=True: its optimiser starts anew")

        def measure(network: Network) -> Mapping[str, float]:
            return {} if measurement is None else measurement.measure(self._engine_of(network))

        follow(run, self, trainer, examples, records, best, measure, self._hold, lambda: vars(self).update(before))
        return self

    def _scout(
        self,
        rest: Interactions,
        held: Interactions,
        neg_sampling: bool,
        verbose: int,
        shuffle: bool,
        init_from: Recommender | None,
        freeze_fm: bool,
    ) -> Self:
        """A model of the same settings, trained on some rows for as long as it gets better on the others."""
        scout = replace(self, data_info=rest.data_info, n_epochs=MOST_EPOCHS)
        metric = metric_of(self.task, neg_sampling)
        arguments: dict[str, Any] = {"metrics": [metric], "k": LIST_LENGTH, "eval_user_num": N_MEASURED}
        arguments |= {"init_from": init_from, "freeze_fm": freeze_fm}
        stopping = EarlyStopping(metric, PATIENCE)
        if verbose:
            tqdm.write(f"{len(held)} rows are held out to choose n_epochs")
        return scout.fit(rest, neg_sampling, verbose, shuffle, held, early_stopping=stopping, **arguments)

    def _trainer(self, run: Run, fm: Network | None, data: Interactions, neg_sampling: bool) -> Trainer:
        """A trainer that begins, or goes on from where the model stands; the network that answers is not touched."""
        if not self._state:
            trainer = Trainer(started_network(self, self.components, data, neg_sampling, fm), run.plan)
        else:
            trainer = Trainer(copy.deepcopy(self.engine.network), run.plan)
            trainer.restore(self._state)
            trainer.freeze_where_it_predicts()
        trainer.network.precision = cast("Precision", self.precision)
        return trainer

    def _hold(
        self, network: Network, state: TrainState, records: Sequence[Mapping[str, float]], is_whole: bool = True
    ) -> None:
        """Answer from now on with this network, and let the next ``fit`` go on from this state of it."""
        weights = {name: weight.detach() for name, weight in network.state_dict().items()}
        self._take(
            {
                "_state": {**state, **prefixed("network", weights)},
                "_is_whole": is_whole,
                "_records": [dict(record) for record in records],
                "_engine": self._engine_of(network),
            }
        )

    def _engine_of(self, network: Network) -> Engine:
        network.precision = cast("Precision", self.precision)
        return Engine(network, self.data_info, to_predictions(self), self.task, self.seed)

    @property
    def _n_epochs_done(self) -> int:
        return int(self._state["progress"][0]) if self._state else 0

    @property
    def history_(self) -> pd.DataFrame:
        """A row for each epoch: training loss, seconds, scored pairs a second, and the metrics of ``eval_data``."""
        return pd.DataFrame(self._records).astype({"epoch": int} if self._records else {})

    # ---- more data

    def update(
        self,
        train_data: object,
        neg_sampling: bool,
        verbose: int = 1,
        *,
        user_features: object = None,
        item_features: object = None,
        weight_col: str | None = None,
        merge_behavior: bool = True,
        eval_data: object = None,
        metrics: Metrics | None = None,
        k: int = 10,
    ) -> Self:
        """Go on with further events, new users, items and values among them, as often as there are some.

        What was learnt stays: known rows keep their vectors and what the optimiser knows of them, new ones start as the
        mean of their column. Then ``n_epochs`` are trained on the new events alone; set ``model.n_epochs`` before to
        train less. For other arguments of ``fit``, merge and ``grow`` in steps of their own; see there.

        Parameters
        ----------
        train_data
            A frame of events, as ``DatasetFeat.merge_trainset`` takes it.
        neg_sampling, verbose, eval_data, metrics, k
            As in ``fit``.
        user_features, item_features, weight_col, merge_behavior
            As in ``merge_trainset``.

        Returns
        -------
        Recommender
            The model itself, with ``data_info`` that knows the new events, too. The former ``data_info`` is as it was.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError, FloatingPointError
            As ``merge_trainset`` and ``fit``. The model is then what it was before.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetPure.build_trainset(frame.head(600))
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> model.update(frame.tail(200), neg_sampling=True, verbose=0).data_info.data_size
        800
        """
        _ = self.engine  # before any work
        features: dict[str, Any] = {"user_features": user_features, "item_features": item_features}
        features["weight_col"] = weight_col
        data, info = DatasetFeat.merge_trainset(train_data, self.data_info, merge_behavior, **features)
        grown = self._grown(info)
        grown.fit(data, neg_sampling, verbose, eval_data=eval_data, metrics=metrics, k=k)
        return self._become(grown)

    def grow(self, data_info: DataInfo) -> Self:
        """Take over data into which more was merged, for a ``fit`` to come.

        Parameters
        ----------
        data_info
            What ``merge_trainset`` returned for this model's ``data_info``.

        Returns
        -------
        Recommender
            The model itself. Predictions for known users and items do not change; new values start from their column's
            mean embedding.

        Raises
        ------
        ValueError
            If it is other data.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetPure.build_trainset(frame.head(600))
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> data, info = DatasetPure.merge_trainset(frame.tail(200), info)
        >>> model.grow(info).fit(data, neg_sampling=True, verbose=0).data_info is info
        True
        """
        if not isinstance(data_info, DataInfo):
            raise TypeError(f"data_info must be a DataInfo, got {type(data_info).__name__}")
        if not data_info.extends(self.data_info):
            raise ValueError(f"data_info ({data_info}) is not the model's ({self.data_info}) with more merged into it")
        return self._become(self._grown(data_info))

    def _grown(self, data_info: DataInfo) -> Self:
        """Another model like this one, of data into which more was merged."""
        model = copy.copy(self)
        model.data_info = data_info
        model.check()
        if self._state:
            state = grown_state(self, self._state, self.data_info, data_info)
            model._hold(network_of_state(model, model.components, state), state, self._records, self._is_whole)
        return model

    def _become(self, other: Self) -> Self:
        """Take over all that another model of this kind is."""
        self._take(vars(other))
        return self

    def _take(self, values: Mapping[str, Any]) -> None:
        """Set all of these attributes at once: who reads or copies the model beside it sees all or none."""
        vars(self).update(values)

    def add_users(self, user_features: object) -> Self:
        """Make users known by their features, without training.

        Parameters
        ----------
        user_features
            A frame with ``user`` and any user feature columns, one row each.

        Returns
        -------
        Recommender
            The model itself. The new users are scored from their features and the unknown id, which ``id_dropout``
            trains; ``update`` gives them vectors of their own with their first events.

        Raises
        ------
        ValueError
            If a column does not exist, or a user is known, or stands twice.

        Examples
        --------
        See ``add_items``.
        """
        return self.grow(with_ids(self.data_info, "user", user_features))

    def add_items(self, item_features: object) -> Self:
        """Make items known by their features, without training.

        Parameters
        ----------
        item_features
            A frame with ``item`` and any item feature columns, one row each.

        Returns
        -------
        Recommender
            The model itself. The new items are scored from their features and the unknown id, and stand in lists with
            ``include_cold_items=True``; ``update`` gives them vectors of their own with their first events.

        Raises
        ------
        ValueError
            If a column does not exist, or an item is known, or stands twice.

        Examples
        --------
        >>> import pandas as pd
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetFeat
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetFeat.build_trainset(frame, item_col=["genre1"], sparse_col=["genre1"])
        >>> model = FM("ranking", info, n_epochs=1, id_dropout=0.2).fit(data, neg_sampling=True, verbose=0)
        >>> model = model.add_items(pd.DataFrame({"item": ["new"], "genre1": ["Drama"]}))
        >>> 0 < model.predict(frame["user"][0], "new") < 1
        True
        """
        return self.grow(with_ids(self.data_info, "item", item_features))

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
            Leave out what only further training needs: the optimiser's moments, and the weights behind an average.

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
        _ = self.engine  # before any work
        saved = SavedModel.of(self, self._records, self._state, inference_only=inference_only or not self._is_whole)
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
        saved.refuse_other_algorithm(cls)
        return cls.from_saved(saved, data_info, device)

    def export_onnx(self, path: str | os.PathLike[str]) -> Path:
        """Write the network as ONNX graphs, for a process that has neither torch nor recolib.

        The graphs are ``encode_user`` and ``encode_item`` (a row to its state), ``score`` (states of B users and n
        items to logits (B, n)) and ``score_pairs`` (B users and B items to logits (B,)), of any B and n, in float32.
        ``vocabularies.json`` says what a row consists of and how a logit becomes a prediction; ``rows.safetensors``
        has the rows of all users and items, and what users consumed.

        Parameters
        ----------
        path
            A folder; it is made if there is none. Of one that is there, files of the same names are replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ImportError
            If there is no onnx: ``pip install "recolib[onnx]"``.
        ValueError
            If ``path`` is a file.

        Examples
        --------
        >>> import tempfile
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> with tempfile.TemporaryDirectory() as path:
        ...     sorted(file.name for file in model.export_onnx(path).iterdir() if file.suffix == ".onnx")
        ['encode_item.onnx', 'encode_user.onnx', 'score.onnx', 'score_pairs.onnx']
        """
        return export(self, self.engine.network, path)

    def rebuild_model(self, path: str | os.PathLike[str], model_name: str, full_assign: bool = True) -> Self:
        """Take over what a saved model learnt, into a new one of data into which more was merged.

        ``recolib.load`` and ``update`` do the same in one step; this is how LibRecommender's users do it.

        Parameters
        ----------
        path, model_name
            As in ``save``.
        full_assign
            Whether to take over the optimiser's moments, too.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is of another algorithm, of weights of other sizes, or of data that this model's does not go on from;
            or if this model was trained already.

        Examples
        --------
        >>> import tempfile
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DataInfo, DatasetPure
        >>> from recolib.datasets import make_movies
        >>> frame = make_movies(n_users=50, n_items=40, n_ratings=800)
        >>> data, info = DatasetPure.build_trainset(frame.head(600))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0).save(folder, "movies")
        ...     data, info = DatasetPure.merge_trainset(frame.tail(200), DataInfo.load(folder, "movies"))
        ...     model = FM("ranking", info, n_epochs=1).rebuild_model(folder, "movies")
        >>> model.fit(data, neg_sampling=True, verbose=0).history_["epoch"].tolist()
        [1, 2]
        """
        check_bool("full_assign", full_assign)
        if self._state:
            raise ValueError("the model was trained already: rebuild a new one")
        saved = SavedModel.read(file_of(path, model_name))
        saved.refuse_other_algorithm(type(self))
        if not self.data_info.extends(saved.data_info):
            raise ValueError(
                f"{saved.file} is of data ({saved.data_info}) that this model's ({self.data_info}) does not go on "
                "from: merge with the data_info of that model"
            )
        state = saved.state if full_assign else predicting(saved.state)
        with refusing(saved.file):
            state = grown_state(self, state, saved.data_info, self.data_info)
            network = network_of_state(self, self.components, state)
        self._hold(network, state, saved.records, full_assign and not saved.inference_only)
        return self

    def model_card(self, path: str | os.PathLike[str]) -> Path:
        """Write a model card: what the model is, what it learnt from, how good it is and where it ends.

        A page of Markdown with the algorithm and its paper, a checksum of the weights, the data and its columns, all
        settings, the course of training with its metrics, limits and versions, and what its makers have to add.
        A plot of the history stands beside it, ``card_history.png`` for ``card.md``, if matplotlib is installed.

        Parameters
        ----------
        path
            The file; its folder is made if there is none.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``path`` is a folder.

        References
        ----------
        Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019.

        Examples
        --------
        >>> import tempfile
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.model_card(f"{folder}/card.md").read_text().splitlines()[0]
        '# Model card: FM'
        """
        return write_card(self, self.engine.network, self.history_, path)

    @classmethod
    def from_saved(cls, saved: SavedModel, data_info: DataInfo | None, device: str | None) -> Self:
        """The model that a file holds; see ``load``."""
        info = saved.data_info if data_info is None else saved.same_data(data_info)
        settings: dict[str, Any] = saved.settings_for(cls, device)
        with refusing(saved.file):
            model = cls(data_info=info, **settings)
            if saved.is_of_recolib:
                check_file_state(model, model.components, saved.state, saved.inference_only)
            network = network_of_state(model, model.components, saved.state)
        model._hold(network, saved.state, saved.records, not saved.inference_only)
        return model
