"""Recommender: the one class that a user meets."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from recolib.caching import one_at_a_time
from recolib.data.dataset import DatasetFeat
from recolib.data.info import DataInfo
from recolib.data.interactions import Interactions
from recolib.data.merging import with_ids
from recolib.evaluation.measurement import Measurement, as_encoded, check_measure
from recolib.evaluation.metrics import Lengths, Metrics
from recolib.exceptions import warn
from recolib.fitting.arguments import check_arguments, check_start, training_rows
from recolib.fitting.checkpoints import check_writable, checkpoint_file, first_epoch, read_run, resume_run
from recolib.fitting.defaults import HELD_OUT, hold_out, in_order, settle
from recolib.fitting.item_to_item import choose, is_open, solve
from recolib.fitting.runs import Callback, Run, course_of, follow, meet_others
from recolib.fitting.scouting import scout
from recolib.fitting.wiring import examples_of, grown_state, network_of_state, plan_of, started_network
from recolib.forgetting import forgotten_data, forgotten_state
from recolib.inference.ids import Ids
from recolib.nn import Network, Precision
from recolib.persistence import Persistent
from recolib.training.optimizers import OPTIMIZERS
from recolib.training.schedules import Schedule, as_schedule
from recolib.training.stopping import EarlyStopping, check_stopping
from recolib.training.trainer import Trainer
from recolib.update import check_update, epochs_of_update, lr_of_update, with_replay


class Recommender(Persistent):
    """A model of users and items, by their ids and features.

    A subclass is an algorithm: it adds settings as annotated class variables and says its ``components``;
    see ``recolib.algorithms.deepfm``.
    """

    def __repr__(self) -> str:
        """The algorithm, its settings, and how far it was trained."""
        trained = f"trained for {self._n_epochs_done} epochs" if self._state else "not trained"
        return f"{super().__repr__()[:-1]}; {trained})"

    # ---- training

    @one_at_a_time
    def fit(
        self,
        train_data: Interactions,
        neg_sampling: bool,
        verbose: int = 1,
        shuffle: bool = True,
        eval_data: object = None,
        metrics: Metrics | None = None,
        k: Lengths = 10,
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
            A frame, an encoded set, or what is read in parts, as in ``evaluate``, to measure after each epoch.
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
            number of epochs is chosen, the latest if the data has times or the model reads its rows in order, else some
            at random. A model of the same settings is trained on the others until its figure on these gets no better:
            nDCG of lists of 100 with ``neg_sampling``, else log loss or RMSE. ``ALS`` chooses its ``prior`` by them.
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
        flags = {"neg_sampling": neg_sampling, "shuffle": shuffle, "freeze_fm": freeze_fm, "refit": refit}
        check_arguments(flags, validation, num_workers, verbose, eval_user_num, callbacks)
        how = eval_batch_size, metrics, k, eval_user_num, self.seed, filter_consumed
        measured = list(check_measure(self.task, *how))
        early_stopping = check_stopping(early_stopping, measured if eval_data is not None else [])
        schedule, is_new = as_schedule(lr_schedule), not self._state
        file = None if checkpoint is None else checkpoint_file("checkpoint", checkpoint)
        saved = read_run(resume, file, self, is_new)
        train_set = training_rows(train_data, self, neg_sampling)
        check_start(self, init_from, freeze_fm and saved is None, is_new)
        check_writable(self, file)
        if metrics is not None and eval_data is None:
            warn("metrics without eval_data: nothing is measured")
        eval_set = None if eval_data is None else as_encoded(eval_data, self.data_info)
        course = course_of(neg_sampling, shuffle, freeze_fm, schedule, early_stopping)
        course |= {"validation": validation, "refit": refit, "init_from": init_from is not None}
        if not meet_others(self, train_set, course, self._state, None if saved is None else saved.state).is_first:
            verbose, callbacks = 0, ()
        measurement = None if eval_set is None else Measurement.of(self, eval_set, neg_sampling, *how)

        before = dict(vars(self))
        try:
            settle(self, train_set, neg_sampling, early_stopping is not None, {} if saved is None else saved.settings)
            if self.n_epochs is None or self.prior is None or is_open(self):
                rest, held = hold_out(train_set, validation, in_order(self, train_data), self.seed, neg_sampling)
                arguments = {"shuffle": shuffle, "init_from": init_from, "freeze_fm": freeze_fm}
                found = scout(self, rest, held, neg_sampling, verbose, **arguments)
                self.n_epochs = found._n_epochs_done if self.n_epochs is None else self.n_epochs
                self.prior = found.prior
                choose(self, found.engine, held)
                if not refit:
                    solve(found.engine.network, rest.data_info, self)
                    self._hold(found.engine.network, found._state, found._records)
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
            solve(trainer.network, train_set.data_info, self)
            records = [record for record in self._records if record["epoch"] <= trainer.epoch]
            records, best = (records, {}) if saved is None else resume_run(saved, run, trainer)
            examples = examples_of(self, train_set, neg_sampling, trainer.network)
        except BaseException:
            self._take(before)
            raise
        if not self._is_whole and (OPTIMIZERS[self.optimizer].keeps or self.ema is not None):
            warn("the model was saved with inference_only=True: its optimiser starts anew")

        def measure(network: Network) -> Mapping[str, float]:
            return {} if measurement is None else measurement.measure(self._engine_of(network))

        follow(run, self, trainer, examples, records, best, measure, self._hold, lambda: self._take(before))
        return self

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

    @property
    def _n_epochs_done(self) -> int:
        return int(self._state["progress"][0]) if self._state else 0

    # ---- more data

    @one_at_a_time
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
        k: Lengths = 10,
        replay: int | None = None,
    ) -> Self:
        """Go on with further events, new users, items and values among them, as often as there are some.

        What was learnt stays: known rows keep their vectors and what the optimiser knows of them, new ones start as the
        mean of their column. Then ``n_epochs`` are trained on the new events among known ones; fewer in proportion if
        the new events are less than a tenth of all, and one where they are a few. The learning rate is multiplied by
        their share of all, or a tenth if that is more. So an event may go into the model as it comes. For other
        arguments of ``fit``, merge and ``grow`` in steps of their own; see there.

        Parameters
        ----------
        train_data
            A frame of events, as ``DatasetFeat.merge_trainset`` takes it.
        neg_sampling, verbose, eval_data, metrics, k
            As in ``fit``.
        user_features, item_features, weight_col, merge_behavior
            As in ``merge_trainset``.
        replay
            How much of what is known each epoch has beside the new events. Against the catalogue: users, with all items
            that they liked; those of the new events have theirs as well. Else: events, whose label is what the
            model predicts where no negatives are drawn. None: so many that batches are full, and at least as many as
            are new. 0: the new events alone.

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
        check_update(self, replay)
        data, info = DatasetFeat.merge_trainset(train_data, self.data_info, merge_behavior, **features)
        grown = self._grown(info)
        rows = training_rows(data, grown, neg_sampling, alone=replay == 0)
        share = len(data) / info.data_size
        grown.n_epochs, grown.lr = epochs_of_update(self.n_epochs, share), lr_of_update(self.lr, share)
        if replay != 0:
            rows = with_replay(grown, grown.engine, rows, self.data_info, neg_sampling, replay, self._n_epochs_done)
        grown.fit(rows, neg_sampling, verbose, eval_data=eval_data, metrics=metrics, k=k)
        grown.n_epochs, grown.lr = self.n_epochs, self.lr
        return self._become(grown)

    @one_at_a_time
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

    @one_at_a_time
    def add_users(self, user_features: object) -> Self:
        """Make users known by their features, and give known ones new features, without training.

        Parameters
        ----------
        user_features
            A frame with ``user`` and any user feature columns, one row each. Of known users a missing value changes
            nothing.

        Returns
        -------
        Recommender
            The model itself. The new users are scored from their features and the unknown id, which ``id_dropout``
            trains; ``update`` gives them vectors of their own with their first events.

        Raises
        ------
        ValueError
            If a column does not exist, or a user stands twice. The model is then what it was before.

        Examples
        --------
        See ``add_items``.
        """
        return self.grow(with_ids(self.data_info, "user", user_features))

    @one_at_a_time
    def add_items(self, item_features: object) -> Self:
        """Make items known by their features, and give known ones new features, without training.

        A job that does it every night can be run twice: what is known already is not added again.

        Parameters
        ----------
        item_features
            A frame with ``item`` and any item feature columns, one row each. Of known items a missing value changes
            nothing, and sets that were encoded before keep what was true of their events.

        Returns
        -------
        Recommender
            The model itself. The new items are scored from their features and the unknown id, and stand in lists with
            ``include_cold_items=True``; ``update`` gives them vectors of their own with their first events.

        Raises
        ------
        ValueError
            If a column does not exist, or an item stands twice. The model is then what it was before.

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

    @one_at_a_time
    def forget(self, users: Ids | None = None, items: Ids | None = None) -> Self:
        """Remove users and items: from vocabularies, tables, histories, weights and the optimiser's moments.

        Asked for again they are unknown, and no file that is saved from now on has them, nor a feature value that
        nobody else has. All other weights stay as they were learnt, from them as well: to be rid of that, train anew.
        Files that were saved before, copies of the model, frames, sets and the former ``data_info`` are yours to
        remove.

        Parameters
        ----------
        users, items
            Ids. Of those that are not known there is a warning.

        Returns
        -------
        Recommender
            The model itself, with a ``data_info`` of fewer codes. For a further ``fit`` encode the remaining events by
            ``build_testset``, or give them to ``update``: sets that were made before have the forgotten ones.

        Raises
        ------
        ValueError
            If nothing is named, or no user or no item would be left.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
        >>> user = info.id2user[1]
        >>> user in model.forget(users=user).data_info.user2id
        False
        """
        model, rest = copy.copy(self), forgotten_data(self.data_info, users, items)
        model.data_info = rest.data_info
        if self._state:
            state = forgotten_state(self._state, self.data_info, rest)
            network = network_of_state(model, model.components, state)
            network.refresh_averages()
            model._hold(network, state, self._records, self._is_whole)
        return self._become(model)
