from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path

import pytest

import recolib

ROOT = Path(recolib.__file__).parent
MAX_LINES = 250  # of code: docstrings, blank lines and comments are for the reader

# From the bottom up. A module imports from ranks below its own and from its own package, nothing else.
RANKS = [
    {"process_group"},
    {"caching", "exceptions", "processes", "version"},
    {"checks", "randomness", "files"},
    {"data", "datasets"},
    {"nn", "sampling"},
    {"evaluation"},
    {"training"},
    {"annotations", "plots"},
    {"settings"},
    {"inference", "artifacts"},
    {"fitting"},
    {"predictor"},
    {"persistence", "forgetting", "update"},
    {"recommender"},
    {"algorithms", "ann"},
    {"loading", "testing"},
    {"serving"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
BANNED_WORDS = {"utils", "util", "helpers", "helper", "misc", "base", "common", "manager"}
WHEN_WANTED = {("recolib.serving", "recolib.serving.app")}
"""What a package imports when it is asked for: its third parties take long, and most who import it do without."""
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_METHODS = {"import_module", "read_pickle", "to_pickle", "system"}
LOADERS = {"load", "save"}
"""Of other libraries these may unpickle: torch.load, np.load, torch.jit.load, …; called are safetensors' alone, and
what writes an ONNX graph."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = pytest.mark.parametrize("module", FILES)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text("utf-8"))


def imported(node: ast.AST, module: str) -> set[str]:
    """The modules that an import statement names, in full."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    assert isinstance(node, ast.ImportFrom)
    source = node.module or ""
    if node.level:
        package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
        source = importlib.util.resolve_name("." * node.level + source, package)
    whole = {f"{source}.{alias.name}" for alias in node.names}
    return {source if source in FILES and name not in FILES else name for name in whole}


def imports(module: str) -> set[str]:
    nodes = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for node in nodes for name in imported(node, module)}


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "recolib"}


def part(module: str) -> str:
    """What has a rank: the module or package right below the root; of the root itself, nothing."""
    return module.split(".")[1] if "." in module else ""


def test_every_module_has_a_rank_and_every_rank_a_module():
    assert {part(module) for module in FILES} - {""} == set(RANK)
    assert sum(map(len, RANKS)) == len(RANK)


@MODULES
def test_imports_go_only_down(module):
    if module == "recolib":
        return  # names for the user, of any rank; that nothing imports it back is the next test's
    mine = part(module)
    for name in own(imports(module)):
        assert part(name) == mine or RANK[part(name)] < RANK[mine], f"{module} imports {name}"


@MODULES
def test_nothing_imports_the_top(module):
    assert "recolib" not in imports(module)


def test_imports_have_no_cycles():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in sorted(own(imports(module))):
                visit(name, (*path, module))
            done.add(module)

    for module in FILES:
        visit(module, ())
    assert done == set(FILES)


@MODULES
def test_imports_within_functions_are_of_third_parties_alone(module):
    functions = [
        n for n in ast.walk(tree(module)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    ]
    inner = [n for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]
    for name in {name for node in inner for name in imported(node, module)}:
        top = name.split(".")[0]
        assert top != "recolib" or (module, name) in WHEN_WANTED, f"{module} imports {name} within a function"
        assert top not in sys.stdlib_module_names, f"{module} imports {name} within a function"


@MODULES
def test_networks_know_of_the_data_only_its_rows(module):
    if part(module) == "nn":
        of_data = {name for name in imports(module) if name.startswith("recolib.data")}
        assert of_data <= {"recolib.data.rows"}


@MODULES
def test_data_knows_no_network(module):
    """Rows are tensors; what learns is not the data's business."""
    if part(module) == "data":
        assert not {name for name in imports(module) if name.startswith(("torch.nn", "torch.optim"))}


@MODULES
def test_files_can_be_read_in_one_sitting(module):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = [
        node.body[0] for node in ast.walk(tree(module)) if isinstance(node, documented) and ast.get_docstring(node)
    ]
    prose = {line for node in docstrings for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = enumerate(FILES[module].read_text("utf-8").splitlines(), start=1)
    n_lines = sum(bool(line.strip()) and not line.strip().startswith("#") for at, line in lines if at not in prose)
    assert n_lines <= MAX_LINES, f"{FILES[module].name} has {n_lines} lines of code"


@MODULES
def test_a_module_is_called_by_what_it_holds(module):
    assert not BANNED_WORDS & set(module.replace(".", "_").split("_"))


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@MODULES
def test_nothing_is_pickled_or_evaluated(module):
    assert not UNSAFE_MODULES & {name.split(".")[0] for name in imports(module)}
    calls = [node for node in ast.walk(tree(module)) if isinstance(node, ast.Call)]
    called = {tuple(dotted(call.func).rpartition(".")[::2]) for call in calls}
    assert not UNSAFE_BUILTINS & {name for owner, name in called if owner in ("", "builtins")}
    assert not UNSAFE_METHODS & {name for _, name in called}
    of_models = {"half", "case.algorithm"} if module == "recolib.testing.algorithms" else set()
    of_models |= {"model"} if module == "recolib.cli.versions" else set()
    safe = {"safetensors.numpy", "torch.onnx.ONNXProgram", "loading"} | of_models  # recolib.loading
    assert {owner for owner, name in called if name in LOADERS} <= safe
    assert not {name for name in imports(module) - own(imports(module)) if name.split(".")[-1] in LOADERS}
    assert "allow_pickle" not in {keyword.arg for call in calls for keyword in call.keywords}


@MODULES
def test_every_module_says_what_it_is(module):
    assert ast.get_docstring(tree(module)), f"{module} has no docstring"


@MODULES
def test_annotations_are_strings_everywhere(module):
    """``from __future__ import annotations`` where there is code of our own."""
    if FILES[module].name != "__init__.py":
        futures = [n for n in tree(module).body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
        assert futures
