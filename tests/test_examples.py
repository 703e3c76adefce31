"""What people copy runs: the README's code, the examples, the docstrings."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import multiprocessing
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import recolib

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
MODULES = sorted(module.name for module in pkgutil.walk_packages(recolib.__path__, "recolib."))
CODE = re.compile(r"```python\n((?:from|import) .*?)```", re.DOTALL)  # programs; others are pieces
PAGES = [
    pytest.param(page, id=page.stem) for page in sorted((ROOT / "docs").glob("*.md")) if CODE.search(page.read_text())
]
NEEDS = {
    "mlflow_logging": ("mlflow", "examples"),
    "mlflow_model": ("mlflow", "examples"),
    "tensorboard_logging": ("tensorboard", "examples"),
    "tune": ("optuna", "examples"),
    "serve_onnx": ("onnxscript", "onnx"),
    "exporting": ("onnxscript", "onnx"),
    "data": ("pyarrow", "parquet"),
    "recolib.recommender": ("onnxscript", "onnx"),
    "recolib.serving": ("fastapi", "serving"),
    "recolib.cli": ("typer", "cli"),
}
"""What examples, pages and modules need, and the extra that has it."""
NUMBER = re.compile(r"-?\d+\.\d+")
FORKS = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
FORKS.set_forkserver_preload(["recolib"])  # whose import is most of a short program's time
AS_A_PROGRAM = """
import os, sys, tempfile, types, warnings
os.chdir(root)
os.dup2(os.open(os.path.join(folder, "output"), os.O_WRONLY | os.O_CREAT), 1)
os.dup2(1, 2)
tempfile.tempdir = folder
warnings.simplefilter("ignore")
sys.modules["__main__"] = main = types.ModuleType("__main__")
exec(code, vars(main))
"""


def skip_without_what_it_needs(name: str) -> None:
    package, extra = NEEDS.get(name, ("", ""))
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f'there is no {package}: pip install "recolib[{extra}]"')


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_code(code: str, folder: Path) -> None:
    """Run a program as ``python -W ignore -c`` does, in a process that has imported recolib before."""
    process = FORKS.Process(target=exec, args=(AS_A_PROGRAM, {"code": code, "folder": str(folder), "root": str(ROOT)}))
    process.start()
    process.join(300)
    process.kill()
    process.join()
    assert process.exitcode == 0, (folder / "output").read_text()


def test_code_that_fails_is_found(tmp_path: Path) -> None:
    run_code("from dataclasses import dataclass\n@dataclass\nclass A:\n    a: 'int'\nprint(A(1))", tmp_path)
    assert "A(a=1)" in (tmp_path / "output").read_text()
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_code("1 / 0", tmp_path)


def test_readme_prints_what_it_says() -> None:
    """Words and the number of items to the letter, means over the data to a hundredth or two.

    The prediction of one pair is a probability, and no more: sums in another order lead training elsewhere.
    """
    code, printed = re.findall(r"```(?:python)?\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2]
    output = run("-W", "ignore", "-c", code)
    shape = [
        re.sub(r"\[.*\]", lambda m: f"{len(m[0].split(','))} items", NUMBER.sub("x", text))
        for text in (printed, output)
    ]
    assert [line.split() for line in shape[0].splitlines()] == [line.split() for line in shape[1].splitlines()]
    (*means, prediction), (*found, predicted) = ([float(n) for n in NUMBER.findall(text)] for text in (printed, output))
    assert found == pytest.approx(means, abs=0.02)
    assert 0 < prediction < 1
    assert 0 < predicted < 1


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_other_code_of_the_readme_runs(tmp_path: Path) -> None:
    for code in CODE.findall((ROOT / "README.md").read_text())[1:]:
        run_code(code, tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_code_of_the_documentation_runs(page: Path, tmp_path: Path) -> None:
    skip_without_what_it_needs(page.stem)
    for code in CODE.findall(page.read_text()):
        run_code(code, tmp_path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_is_short(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(path.read_text().splitlines()) < 60
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # what they write does not stay
    skip_without_what_it_needs(path.stem)
    if path.stem != "mlflow_model" and "RECOLIB_DATA_HOME" not in path.read_text():  # other tests run these
        assert run("-W", "ignore", str(path))


def test_mlflow_keeps_a_model_without_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without_what_it_needs("mlflow_model")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    *lists, kept = run("-W", "ignore", str(ROOT / "examples" / "mlflow_model.py")).splitlines()
    assert [line.split()[1] for line in lists] == ["rank", *"123123"]  # of a known user, and of a new one
    assert {"MLmodel", "mlflow_model.py", "movies.safetensors"} <= {*re.findall(r"'(.*?)'", kept)}
    assert not list(tmp_path.glob("**/*.pkl"))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name: str) -> None:
    skip_without_what_it_needs(name if name in NEEDS else ".".join(name.split(".")[:2]))
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not result.failed


def public() -> dict[str, object]:
    """What the documentation is about: the functions of the public modules, and the methods of the public classes."""
    found: dict[str, object] = {}
    for module in (recolib, recolib.algorithms, recolib.data, recolib.datasets, recolib.evaluation.measurement):
        for name in getattr(module, "__all__", ["evaluate"]):
            found[name] = getattr(module, name)
    for cls in (recolib.recommender.Recommender, recolib.DataInfo, recolib.DatasetFeat):
        of_users = {"fit", "predict", "recommend_user", "recommend", "save", "load"}
        of_users |= {"explain", "feature_importance", "similar_items", "similar_users"}
        of_users |= {"build_trainset", "build_evalset", "build_testset", "assign_user_features", "assign_item_features"}
        found |= {f"{cls.__name__}.{name}": getattr(cls, name) for name in sorted(of_users) if hasattr(cls, name)}
    return found


@pytest.mark.parametrize(("name", "thing"), public().items(), ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_public_is_documented_with_an_example(name: str, thing: object) -> None:
    doc = thing.__doc__ or ""
    assert len(doc.splitlines()[0]) > 10
    if inspect.isroutine(thing) and name != "fetch_movielens":  # whose example would need a network
        assert "Examples\n" in doc, name
