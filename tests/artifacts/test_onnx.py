"""What onnxruntime makes of an exported model, against the model itself."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
import torch
from test_contract import ALGORITHMS, COMMON, SETTINGS, TYPICAL
from torch import Tensor
from torch.onnx._internal.exporter import _registration
from worlds import N_ITEMS, World, make_world

import recolib
from examples.serve_onnx import Server
from recolib import NotFittedError, UnknownIdWarning
from recolib.algorithms import AFM, FM, DeepFM, DeepIFM
from recolib.artifacts import onnx as exporting
from recolib.data import DataInfo
from recolib.data.log import past_of_lists
from recolib.data.rows import ABSENT, AVERAGE, Rows
from recolib.inference.scoring import encode_rows, score_catalogue, score_pairs
from recolib.nn import Component, Fields, FieldSpec, Joined
from recolib.recommender import Recommender

ROOT = Path(recolib.__file__).parents[1]
GRAPHS = ["encode_item", "encode_user", "score", "score_pairs"]
TOLERANCE = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore:no context given", "ignore:.*lists are shorter")
Case = tuple[type[Recommender], dict[str, Any], str]
REGISTRY = functools.cache(_registration.ONNXRegistry.from_torchlib)


@pytest.fixture(scope="module", autouse=True)
def one_registry() -> Iterator[None]:
    """``torch.onnx`` parses its thousands of functions anew for each graph, which is a third of an export's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_registration.ONNXRegistry, "from_torchlib", staticmethod(REGISTRY))
        yield


def cases() -> tuple[list[Case], list[Case]]:
    """The typical algorithms; and, with a tracing of seconds each, all others, some of them in other worlds.

    The plainest FM is that of the folder below, which the example serves.
    """
    few: list[Case] = [(*variant, "all kinds") for variant in TYPICAL]
    few.append((AFM, dict(TYPICAL)[AFM], "pure"))  # one field a side: there are no pairs within
    plain = {cls: (cls, SETTINGS[cls][0]) for cls in (FM, DeepFM, DeepIFM)}
    rest: list[Case] = [(*variant, "all kinds") for variant in ALGORITHMS if variant not in plain.values()]
    rest.append((*plain[DeepFM], "pure"))
    rest.append((DeepIFM, plain[DeepIFM][1] | {"multi_sparse_combiner": "normal"}, "all kinds"))
    return few, [case for case in rest if case not in few]


def cid(case: object) -> str:
    assert isinstance(case, tuple)
    return f"{case[0].__name__}-{case[2]}-{'-'.join(map(str, case[1].values()))}"


def fitted(case: Case, task: str = "ranking", **more: Any) -> Recommender:
    algorithm, settings, kind = case
    data, info = make_world(task, kind).build()
    how: dict[str, Any] = {**COMMON, "n_epochs": 1, **settings, "init_std": 0.3, **more}
    return algorithm(task, info, **how).fit(data, neg_sampling=task == "ranking", verbose=0)


def random_rows(info: DataInfo, sides: Sequence[Any], n: int, rng: np.random.Generator) -> Rows:
    """Rows of any codes that there are: known, unknown, the average, and absent where slots can be empty."""
    codes = [
        rng.integers(ABSENT if field.kind == "multi_sparse" else AVERAGE, len(info.vocabs[field.name]) + 1, n)
        for side in sides
        for field in info.schema.codes(side)
        for _ in range(field.width)
    ]
    n_dense = sum(info.schema.n_dense(side) for side in sides)
    dense = rng.normal(size=(n, n_dense)).astype(np.float32)
    rows = Rows(torch.from_numpy(np.stack(codes, 1).astype(np.int32)), torch.from_numpy(dense))
    if "user" not in sides:
        return rows
    n_items = len(info.vocabs["item"])
    return rows.with_past(past_of_lists([rng.integers(1, n_items + 1, rng.integers(0, 5)) for _ in range(n)]))


class Exported:
    """A folder's graphs in onnxruntime, fed by hand."""

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "vocabularies.json").read_text())
        for name in GRAPHS:
            onnx.checker.check_model(folder / f"{name}.onnx", full_check=True)
        self.sessions = {name: onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in GRAPHS}

    def encode(self, side: str, rows: Rows) -> dict[str, np.ndarray]:
        inputs = {"codes": rows.codes.numpy(), "dense": rows.dense.numpy()}
        if rows.past is not None:
            shapes = {one.name: one.shape for one in self.sessions[f"encode_{side}"].get_inputs()}
            inputs["history"] = np.zeros((len(rows), shapes.get("history", [0, 9])[1]), np.int64)
            for row, (begin, end, _) in enumerate(rows.past.spans.tolist()):
                latest = rows.past.items[begin:end].numpy()[-inputs["history"].shape[1] :]
                inputs["history"][row, : len(latest)] = latest
        return self.run(f"encode_{side}", inputs)

    def logits(self, graph: str, users: Rows, items: Rows) -> np.ndarray:
        return self.run(graph, self.encode("user", users) | self.encode("item", items))["logits"]

    def run(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        graph, session = self.about["graphs"][name], self.sessions[name]
        assert graph["inputs"] == [one.name for one in session.get_inputs()]
        assert graph["outputs"] == [one.name for one in session.get_outputs()]
        outputs = session.run(None, {one: inputs[one] for one in graph["inputs"]})
        return dict(zip(graph["outputs"], outputs, strict=True))


def assert_scores_agree(model: Recommender, folder: Path) -> None:
    exported, info, rng = Exported(folder), model.data_info, np.random.default_rng(0)
    network = model.engine.network
    for n_users in (1, 2, 7):
        users = random_rows(info, ["user", "context"], n_users, rng)
        for n_items in (1, 2, N_ITEMS):
            items = random_rows(info, ["item"], n_items, rng)
            expected = score_catalogue(network, users, encode_rows(network, "item", items)[None], n_items).numpy()
            logits = exported.logits("score", users, items)
            assert logits.shape == (n_users, n_items)
            np.testing.assert_allclose(logits, expected, rtol=0, atol=TOLERANCE)
        assert expected.std() > 100 * TOLERANCE  # else all would agree
        items = random_rows(info, ["item"], n_users, rng)
        pairs = exported.logits("score_pairs", users, items)
        assert pairs.shape == (n_users,)
        np.testing.assert_allclose(pairs, score_pairs(network, users, items).numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("case", cases()[0], ids=cid)
def test_onnxruntime_scores_as_the_model_does(case: Case, tmp_path: Path) -> None:
    """In float32 even where the model's precision is another."""
    model = fitted(case, precision="bf16" if case[0] is DeepFM else "float32")
    folder = model.export_onnx(tmp_path / "onnx")
    model.precision = "float32"
    assert_scores_agree(model, folder)


@pytest.mark.slow
@pytest.mark.parametrize("case", cases()[1], ids=cid)
def test_onnxruntime_scores_as_every_variant_does(case: Case, tmp_path: Path) -> None:
    model = fitted(case, "rating")
    assert_scores_agree(model, model.export_onnx(tmp_path / "onnx"))


@pytest.mark.parametrize("history", [pytest.param(True, marks=pytest.mark.slow), "recent"])
def test_weights_from_item_to_item_are_exported(history: bool | str, tmp_path: Path) -> None:
    solved = {"item_to_item": True, "item_to_item_l2": 2.0, "item_to_item_weight": 3.0}
    model = fitted((FM, {"history": history, "max_history": 4, **solved}, "all kinds"))
    assert_scores_agree(model, model.export_onnx(tmp_path))


class Whole(Joined):
    """A component that cannot be cut."""

    def forward(self, fields: Fields) -> Tensor:
        return (fields.vectors[..., 0, :] * fields.vectors[..., -1, :]).tanh().sum(-1) * fields.present.sum(-1)


class OfOnesOwn(Recommender):
    """An algorithm that recolib does not know."""

    def components(self, spec: FieldSpec) -> Sequence[Component[Any]]:
        return [Whole()]


def test_components_that_cannot_be_cut_are_exported_too(tmp_path: Path) -> None:
    model = fitted((OfOnesOwn, {}, "all kinds"))
    assert_scores_agree(model, model.export_onnx(tmp_path))


# ---- the folder


@pytest.fixture(scope="module", params=["ranking", "rating"])
def model(request: pytest.FixtureRequest) -> Recommender:
    return fitted((FM, {}, "all kinds"), request.param)


@pytest.fixture(scope="module")
def folder(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model.export_onnx(tmp_path_factory.mktemp("made") / "a" / "b")


def test_the_manifest_says_what_a_row_and_a_prediction_are(model: Recommender, folder: Path) -> None:
    about = json.loads((folder / "vocabularies.json").read_text())
    info = model.data_info
    assert (about["format"], about["recolib"], about["algorithm"]) == (1, recolib.__version__, "FM")
    assert about["special_codes"] == {"unknown": 0, "average": -1, "absent": -2}
    assert about["vocabularies"]["user"] == list(info.user2id)
    assert about["vocabularies"]["sex"] == ["F", "M"]
    users, items = about["user"], about["item"]
    assert [(field["name"], field["side"], field["start"]) for field in users["codes"]] == [
        ("user", "user", 0),
        ("sex", "user", 1),
        ("hour", "context", 2),
    ]
    assert [(field["name"], field["kind"], field["start"], field["width"]) for field in items["codes"]] == [
        ("item", "sparse", 0, 1),
        ("genre1", "multi_sparse", 1, 2),
        ("tags", "multi_sparse", 3, 1),
    ]
    genre = items["codes"][1]
    assert (genre["columns"], genre["lists"], genre["pad_value"]) == (["genre1", "genre2"], False, "missing")
    assert genre["unknown"] == [0, -2]
    (age,) = users["dense"]
    raw = make_world("ranking", "all kinds").frame.set_index("user")["age"]
    rows = safetensors.numpy.load_file(folder / "rows.safetensors")
    for user, code in list(info.user2id.items())[:5]:
        scaled = (raw[user].iloc[0] - age["offset"]) / age["scale"]
        assert rows["user_dense"][code, age["start"]] == pytest.approx(scaled, abs=1e-6)
    if model.task == "rating":
        assert about["prediction"] == {"function": "clip", "low": 1.0, "high": 5.0}
    else:
        assert about["prediction"] == {"function": "sigmoid"}


def test_integers_and_strings_stay_apart_in_vocabularies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = make_world("ranking", "pure").frame.astype({"user": object})
    frame.loc[frame["user"] == 101, "user"] = "100"
    data, info = World(frame, None).build()
    model = FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
    monkeypatch.setattr(exporting, "_write_graphs", lambda *_: {})
    about = json.loads((model.export_onnx(tmp_path) / "vocabularies.json").read_text())
    values = about["vocabularies"]["user"]
    assert {100, "100"} <= set(values)
    assert values == list(info.user2id)


def test_the_manifest_has_the_digest_of_every_other_file(folder: Path) -> None:
    files = json.loads((folder / "vocabularies.json").read_text())["files"]
    there = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    del there["vocabularies.json"]
    assert files == there
    assert sorted(files) == sorted([*(f"{name}.onnx" for name in GRAPHS), "rows.safetensors"])


def test_no_file_tells_of_the_machine_that_it_was_made_on(folder: Path) -> None:
    for file in folder.iterdir():
        content = file.read_bytes()
        assert str(ROOT).encode() not in content
        assert b".py" not in content


def test_export_is_silent_and_leaves_the_model_as_it_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted((FM, {}, "sparse"))
    network = model.engine.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    lists, drawn = model.recommend(n_rec=3), torch.get_rng_state()
    level = logging.getLogger("torch.onnx").level
    monkeypatch.setattr(_registration.ONNXRegistry, "from_torchlib", REGISTRY.__wrapped__)  # which may speak, too
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.export_onnx(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(weight.requires_grad for weight in network.parameters())
    assert not network.training
    assert model.recommend(n_rec=3).equals(lists)


def test_the_checksum_is_that_of_the_weights(model: Recommender, folder: Path, tmp_path: Path) -> None:
    about = json.loads((folder / "vocabularies.json").read_text())
    loaded = recolib.load(model.save(tmp_path, "saved"))
    network = loaded.engine.network
    assert exporting.fingerprint(network) == about["weights_sha256"]
    with torch.no_grad():
        network.bias.add_(1.0)
    assert exporting.fingerprint(network) != about["weights_sha256"]


# ---- writing: graphs are beside the point, and not made


@pytest.fixture
def fast(model: Recommender, monkeypatch: pytest.MonkeyPatch) -> Recommender:
    def graphs(info: object, network: object, folder: Path) -> dict[str, Any]:
        (folder / "score.onnx").write_text("graph")
        return {}

    monkeypatch.setattr(exporting, "_write_graphs", graphs)
    return model


def test_a_file_is_refused(fast: Recommender, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="path must be a folder"):
        fast.export_onnx(tmp_path / "file")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_keeps_what_is_not_the_models(fast: Recommender, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    (folder / "score.onnx").write_text("old")
    assert fast.export_onnx(str(folder)) == folder.resolve()
    assert (folder / "README.md").read_text() == "mine"
    assert (folder / "score.onnx").read_text() == "graph"
    assert len(list(folder.iterdir())) == 4
    assert list(tmp_path.iterdir()) == [folder]


def test_a_failure_leaves_nothing_behind(fast: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(exporting, "write_file", fail)
    with pytest.raises(OSError, match="no space"):
        fast.export_onnx(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_export_needs_a_fit_and_onnx(fast: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFittedError):
        FM("ranking", fast.data_info).export_onnx(tmp_path / "new")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"recolib\[onnx\]"):
        fast.export_onnx(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


# ---- serving


def test_the_example_serves_what_the_model_recommends(model: Recommender, folder: Path) -> None:
    server = Server(folder)
    for user in [*list(model.data_info.user2id)[:8], "stranger"]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownIdWarning)
            asked = model.recommend_user(user, 5, return_scores=True)[user]
        items, scores = server.recommend(user, 5)
        assert items == asked[0].tolist()
        np.testing.assert_allclose(scores, asked[1], atol=TOLERANCE)


READS = FM, {"history": "recent", "max_history": 4}, "pure"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recommender, Server]:
    model = fitted(READS)
    return model, Server(model.export_onnx(tmp_path_factory.mktemp("reads")))


@pytest.mark.parametrize("n_later", [0, 1, 3, 6])
def test_the_example_serves_models_that_read_histories(reader: tuple[Recommender, Server], n_later: int) -> None:
    model, server = reader
    info = model.data_info
    later = info.item_frame()["item"].tolist()[:n_later]
    for user in [*list(info.user2id)[:8], "newcomer"]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownIdWarning)
            asked = model.recommend_user(user, 5, history=later or None, return_scores=True)[user]
            other = model.recommend_user(user, 5, return_scores=True)[user]
        items, scores = server.recommend(user, 5, history=[*later, "no such item"] if later else [])
        assert items == asked[0].tolist()
        np.testing.assert_allclose(scores, asked[1], atol=TOLERANCE)
        assert not later or np.abs(scores[:2] - other[1][:2]).max() > 10 * TOLERANCE  # they were read


def test_the_example_refuses_histories_that_the_model_does_not_read(folder: Path) -> None:
    with pytest.raises(AssertionError, match=r"history is for models that read it, .* this FM does not"):
        Server(folder).recommend(100, 3, history=["i1"])


def test_the_example_needs_neither_torch_nor_recolib(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['recolib'] = sys.modules['safetensors'] = None\n"
        "from examples.serve_onnx import Server\n"
        f"print(Server({str(folder)!r}).recommend(100, 3)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'i") == 3
