"""A model as a thing that is kept: its copies, parameters, pickles and files."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Self, cast

import pandas as pd

from recolib.artifacts.card import write_card
from recolib.artifacts.model_file import SavedModel, predicting
from recolib.artifacts.onnx import export
from recolib.caching import Lock, one_at_a_time
from recolib.checks import check_bool, check_names
from recolib.data.info import DataInfo
from recolib.files import file_of, prefixed, refusing
from recolib.fitting.defaults import open_settings
from recolib.fitting.wiring import check_file_state, grown_state, network_of_state, to_predictions
from recolib.inference.engine import Engine
from recolib.nn import Component, FieldSpec, Network, Precision
from recolib.predictor import Predictor
from recolib.process_group import ProcessGroup
from recolib.settings import sizes_of
from recolib.training.state import TrainState

SHAPING = "task", "data_info", "multi_sparse_combiner"
"""Settings beside the sizes of weights that a trained model keeps."""


class Persistent(Predictor):
    """What a model knows, which is set at once, copied, pickled, and written to files."""

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        self.changing = Lock()  # what changes the model holds it
        self._state: TrainState = {}
        self._is_whole = True  # whether the state has what only training needs
        self._records: list[dict[str, float]] = []

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        """The terms of the network's score; what an algorithm says."""
        raise NotImplementedError(f"{type(self).__name__} does not say its components")

    # ---- what it knows

    @property
    def history_(self) -> pd.DataFrame:
        """A row for each epoch: training loss, seconds, scored pairs a second, and the metrics of ``eval_data``."""
        columns = None if self._records else ["epoch", "train_loss", "seconds", "rows_per_second"]
        return pd.DataFrame(self._records, columns=columns).astype({"epoch": int})

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
        return Engine(network.eval(), self.data_info, to_predictions(self), self.task, self.seed)

    def _become(self, other: Self) -> Self:
        """Take over all that another model of this kind is."""
        self._take(vars(other))
        return self

    def _take(self, values: Mapping[str, Any]) -> None:
        """Set all of these attributes at once: who reads or copies the model beside it sees all or none."""
        before = dict(vars(self))  # were the former values freed between two of them, other threads could come between
        vars(self).update(values)
        del before

    def __copy__(self) -> Self:
        """The model as it is now, whole even if another thread changes this one."""
        model = object.__new__(type(self))
        vars(model).update(vars(self))
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A model of the same weights, which train apart; it is whole even if another thread trains this one."""
        model = object.__new__(type(self))
        memo[id(self)] = model
        vars(model).update(copy.deepcopy(dict(vars(self)), memo))
        return model

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """A pickle of a model is its class and the bytes of its file; of one that was never trained, its parameters.

        Functions among the settings are then what they are in a file: their names.
        """
        model = copy.copy(self)
        if model._engine is None:
            return _with_parameters, (type(self), model.get_params())
        return _from_bytes, (type(self), model._saved().to_bytes())

    # ---- parameters, as scikit-learn asks for them

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name, ``task`` and ``data_info`` among them: the arguments that make an equal model.

        Parameters
        ----------
        deep
            Accepted for scikit-learn and ignored.

        Examples
        --------
        >>> from recolib.algorithms import FM
        >>> from recolib.data import DatasetPure
        >>> from recolib.datasets import make_movies
        >>> data, info = DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
        >>> model = FM("ranking", info, lr=0.01)
        >>> model.set_params(lr=0.02, n_epochs=3).get_params()["lr"]
        0.02
        """
        check_bool("deep", deep)
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @one_at_a_time
    def set_params(self, **params: Any) -> Self:
        """Change settings; all of them, or where one is wrong none.

        Parameters
        ----------
        **params
            Settings by name.

        Returns
        -------
        Persistent
            The model itself.

        Raises
        ------
        ValueError, TypeError
            If there is no such setting, or it cannot have this value; or if the model was trained, and the setting
            shapes its weights.

        Examples
        --------
        See ``get_params``.
        """
        known = [field.name for field in fields(self)]
        check_names(params, known, f"a setting of {self.model_name}")
        shaping = [name for name in params if name in (*SHAPING, *sizes_of(type(self)))]
        changed = [name for name in shaping if self._state and params[name] is not getattr(self, name)]
        if changed:
            raise ValueError(f"the model was trained with its {changed[0]}: make a new one with {changed}")
        model = copy.copy(self)
        vars(model).update(params)
        model.check()
        self._take(vars(model))
        return self

    def __sklearn_clone__(self) -> Self:
        """What ``sklearn.base.clone`` gives: a model of the same settings and data, not trained."""
        return type(self)(**self.get_params())

    # ---- files

    def save(
        self, path: str | os.PathLike[str], model_name: str, manual: bool = True, inference_only: bool = False
    ) -> Path:
        """Write the model to one file, ``path/model_name.safetensors``, its DataInfo included.

        A file of that name stays as it is until the new one is whole on the disk. Of processes that train together the
        first one alone writes, and the others do not wait for it.

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
        if not ProcessGroup.current().is_first:
            return file_of(path, model_name)
        return copy.copy(self)._saved(inference_only).write(file_of(path, model_name))

    def _saved(self, inference_only: bool = False) -> SavedModel:
        """The model as its file has it; of a copy, lest another thread changes it meanwhile."""
        return SavedModel.of(self, self._records, self._state, inference_only=inference_only or not self._is_whole)

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
        model = copy.copy(self)
        return export(model, model.engine.network, path)

    @one_at_a_time
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
        self.set_params(**{name: saved.settings[name] for name in open_settings(self) if name in saved.settings})
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
        model = copy.copy(self)
        return write_card(model, model.engine.network, model.history_, path)

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


def _with_parameters(cls: type[Persistent], params: Mapping[str, Any]) -> Persistent:
    return cls(**params)


def _from_bytes(cls: type[Persistent], content: bytes) -> Persistent:
    saved = SavedModel.from_bytes(content)
    saved.refuse_other_algorithm(cls)
    return cls.from_saved(saved, None, None)
