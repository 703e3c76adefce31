"""What pyproject.toml claims, against the code and the files beside it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

import recolib
from recolib.datasets import make_movies
from recolib.loading import ALGORITHMS
from tests.oldest import oldest

ROOT = Path(__file__).parent.parent
PACKAGE = Path(recolib.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FOR_USERS = ["ann", "parquet", "plots", "onnx", "serving", "postgres", "cli"]
MODULE_OF = {"scikit-learn": "sklearn", "faiss-cpu": "faiss", "prometheus-client": "prometheus_client"}
"""Of packages that are imported by another name."""
BY_THEMSELVES = {"serving", "cli"}
"""Packages that need extras, and that ``recolib`` does not import."""


def modules_of(packages: set[str]) -> set[str]:
    return {MODULE_OF.get(package, package) for package in packages}


def imported(later: bool) -> set[str]:
    """Other people's modules that recolib imports: with a file, or later.

    Later are imports within functions, for type checkers, and of packages that ``recolib`` does not import itself.
    """
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        blocks = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        blocks += [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
        inner = {id(node) for block in blocks for node in ast.walk(block)}
        by_itself = file.relative_to(PACKAGE).parts[0] in BY_THEMSELVES
        for node in ast.walk(tree):
            if (by_itself or id(node) in inner) != later:
                continue
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - {"recolib"} - sys.stdlib_module_names


CORE = modules_of(set(oldest([])))
OPTIONAL = modules_of(set(oldest(["all"]))) - CORE
BY_HAND = {"torchrec", "fbgemm_gpu"}
"""What an extra would install in a build that does not suit torch; see docs/scaling.md."""


def run(code: str) -> str:
    """What a new process prints that cannot import the optional packages."""
    without = f"import sys; sys.modules.update(dict.fromkeys({sorted(OPTIONAL)}))\n"
    done = subprocess.run([sys.executable, "-c", without + code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_import_is_of_a_package_that_is_declared():
    assert imported(later=False) <= CORE
    assert imported(later=True) <= CORE | OPTIONAL | BY_HAND


def test_the_tests_see_imports():
    assert {"torch", "numpy", "narwhals"} <= imported(later=False)
    assert {"matplotlib", "faiss", "pyarrow"} <= imported(later=True)


def test_recolib_works_without_the_optional_packages():
    assert {"matplotlib", "faiss", "pyarrow", "onnx", "onnxruntime"} <= OPTIONAL
    code = """
import recolib
from recolib.datasets import make_movies
data, info = recolib.DatasetPure.build_trainset(make_movies(n_users=50, n_items=40, n_ratings=800))
model = recolib.FM("ranking", info, n_epochs=1).fit(data, neg_sampling=True, verbose=0)
print(len(model.recommend_user(info.id2user[1], n_rec=3)[info.id2user[1]]))
"""
    assert run(code).split() == ["3"]


def loaded_by(module: str) -> set[str]:
    """The packages that are there when a module is imported."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "torch" in done.stdout.split()
    return set(done.stdout.split())


def test_importing_recolib_imports_neither_optional_nor_slow_packages():
    """pandas itself imports pyarrow where it is installed."""
    loaded = loaded_by("recolib")
    assert not loaded & (OPTIONAL | {"polars", "sklearn", "pooch", "requests", "ranx"}) - {"pyarrow"}


def test_commands_that_serve_nothing_import_no_server():
    """Processes that share ``recommend-all`` start sooner."""
    pytest.importorskip("typer", reason='there is no typer: pip install "recolib[cli]"')
    assert not loaded_by("recolib.cli") & {"fastapi", "pydantic", "starlette", "uvicorn", "prometheus_client"}


def test_a_server_without_fastapi_says_what_to_install():
    code = """
from recolib.serving import open_history
try:
    from recolib.serving import create_app
except ImportError as error:
    print(error)
"""
    assert run(code) == 'the server needs fastapi: pip install "recolib[serving]"\n'


LOAD = """
import sys, recolib
for file in sys.argv[1:]:
    model = recolib.load(file)
    user, item = model.data_info.id2user[1], model.data_info.id2item[1]
    model.recommend_user(user, 3)
    model.recommend_user(user, 3, history=[item])
    model.predict(user, item)
print("torch._dynamo" in sys.modules)
"""


def test_loading_a_model_does_not_import_the_compiler_of_torch(tmp_path):
    """Which takes two seconds, and a network on the device "meta" easily does."""
    frame = make_movies(n_users=50, n_items=40, n_ratings=800)
    frame["text"] = [[float(item % 7), 1.0] for item in frame["item"]]
    columns = {"item_col": ["genre1", "text"], "sparse_col": ["genre1"], "vector_col": ["text"]}
    data, info = recolib.DatasetFeat.build_trainset(frame, **columns)
    files = []
    for name, algorithm in ALGORITHMS.items():
        model = algorithm("ranking", info, **({} if name == "EASE" else {"n_epochs": 1}))
        files.append(model.fit(data, neg_sampling=True, verbose=0).save(tmp_path, name))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD, *files], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_requirement_has_a_floor(extra):
    assert oldest([extra])


def test_all_has_what_a_user_can_need_and_no_tools():
    assert oldest(["all"]) == oldest(FOR_USERS)
    assert not {"pytest", "ruff", "sphinx"} & set(oldest(["all"]))


def test_a_requirement_without_a_floor_is_refused(monkeypatch, tmp_path):
    project = tmp_path / "pyproject.toml"
    project.write_text('[project]\ndependencies = ["numpy"]\n[project.optional-dependencies]\n')
    monkeypatch.setattr("tests.oldest.PYPROJECT", project)
    with pytest.raises(ValueError, match="needs a floor"):
        oldest([])


def test_the_highest_of_several_floors_counts(monkeypatch, tmp_path):
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["torch>=2.10", "numpy>=1.26"]\n'
        '[project.optional-dependencies]\na = ["torch>=2.9"]\nb = ["recolib[a]", "NumPy>=2"]\n'
    )
    monkeypatch.setattr("tests.oldest.PYPROJECT", project)
    assert oldest(["b"]) == {"torch": "2.10", "numpy": "2"}
    assert oldest([]) == {"torch": "2.10", "numpy": "1.26"}


def test_the_oldest_python_is_the_first_that_is_listed():
    listed = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", name) for name in PROJECT["classifiers"]]
    assert PROJECT["requires-python"] == f">={next(match[1] for match in listed if match)}"


def test_the_changelog_has_this_version_dated_below_unreleased():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    version, day = headings[1].split(" - ")
    assert version == f"[{recolib.__version__}]"
    assert date.fromisoformat(day)


def test_the_hooks_run_the_linter_that_is_pinned():
    hooks = ROOT / ".pre-commit-config.yaml"
    if not hooks.exists():
        pytest.skip("a source archive has no hooks")
    pinned = set(re.findall(r"ruff==[\d.]+", hooks.read_text("utf-8")))
    assert pinned == {f"ruff=={oldest(['dev'])['ruff']}"}


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()
