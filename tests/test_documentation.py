"""The pages lead to each other, and the reference has every public name."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

import recolib
from recolib import ann, data, datasets, evaluation, plots, testing
from recolib.evaluation import metrics
from recolib.recommender import Recommender
from recolib.settings import Settings

try:
    from recolib import serving
except ImportError:
    serving = None

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("*.md"), *DOCS.glob("reference/*.*")])
REFERENCE = {path.stem: path.read_text("utf-8") for path in DOCS.glob("reference/*.rst")}
ENTRY = re.compile(r"^\.\. auto(?:class|function|exception|method|property):: ([\w.]+)", re.MULTILINE)
WITHIN = {
    "check",
    "from_saved",
    "embed_dropout_rates",
    "has_catalogue",
    "alternates",
    "has_epochs",
    "has_sequences",
    "is_of_pairs",
    "id_dropout_rates",
    "neighbourhood",
    "rank_items",
    "score_rows",
    "vectors",
    "engine",
}
"""Members of a recommender that other modules of the library call, and users do not."""


def entries(text: str) -> set[str]:
    return {name.rpartition(".")[2] for name in ENTRY.findall(text)}


def trees(page: Path) -> list[str]:
    """What the tables of contents of a page list."""
    listed = re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = [line for block in listed for line in block.splitlines() if line and not line.startswith(":")]
    return [re.sub(r".*<(.+)>", r"\1", line) for line in lines]


def test_every_page_is_found_from_the_index() -> None:
    found, waiting = set[Path](), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        found.add(page)
        for name in trees(page):
            waiting += [path for path in PAGES if path.with_suffix("") == (page.parent / name)]
    assert found == set(PAGES)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda path: path.stem)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    links += [f"{name}.md" for name in re.findall(r":doc:`([^`]+)`", page.read_text("utf-8"))]
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not gone


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda path: path.stem)
def test_a_user_is_they(page: Path) -> None:
    assert not re.findall(r"\b(?:he|[Hh]is|him|[Ss]trangers?)\b", page.read_text("utf-8"))  # He is an author


def test_every_public_name_is_in_the_reference() -> None:
    public = {*recolib.__all__} - {"__version__"}
    public |= {*data.__all__} - {"TransformedSet", "TransformedEvalSet"}
    public |= {*serving.__all__} if serving is not None else set()
    public |= {*datasets.__all__, *plots.__all__, *evaluation.__all__, *testing.__all__, ann.Retriever.__name__}
    there = set[str]().union(*map(entries, REFERENCE.values()))
    assert public <= there, sorted(public - there)
    assert "TransformedSet" in REFERENCE["data"]
    assert "__version__" in REFERENCE["loading"]


def test_every_metric_is_in_the_reference() -> None:
    own = {
        name
        for name, thing in inspect.getmembers(metrics, inspect.isfunction)
        if {"hits", "labels", "items"} & {*inspect.signature(thing).parameters}
    }
    assert len(own) >= 16
    assert own <= entries(REFERENCE["evaluation"])


def test_every_method_of_a_model_is_in_the_reference() -> None:
    settings = {field.name for field in fields(Settings)}
    methods = {name for name in dir(Recommender) if not name.startswith("_")} - settings - WITHIN
    assert methods <= entries(REFERENCE["recommender"]), sorted(methods - entries(REFERENCE["recommender"]))


def test_every_setting_is_described() -> None:
    described = re.findall(r"^(\w+(?:, \w+)*)$", inspect.getdoc(Settings) or "", re.MULTILINE)
    names = {name for line in described for name in line.split(", ")}
    assert {field.name for field in fields(Settings)} - {"_"} <= names
