"""Settings of the documentation site: Markdown guides and a reference from the docstrings, built by Sphinx."""

from __future__ import annotations

import re
from importlib.metadata import version as installed_version
from inspect import Parameter, Signature, signature

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.util.nodes import make_refnode
from sphinx.writers.html5 import HTML5Translator
from torch.nn import Module

from recolib.recommender import Recommender

project = "recolib"
author = "the recolib developers"
copyright = "2026, the recolib developers"
release = version = installed_version("recolib")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
ALIASES = ("Callback", "Feats", "Id", "Ids", "Metrics", "Sampler", "Schedule", "Strategy", "Where")
"""Types of arguments that reference/index.md describes."""
autodoc_type_aliases = {name: name for name in ALIASES}
autosummary_generate = False  # the tables list what their own page documents
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # types stand in the signature alone
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"recolib {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["recolib.css"]


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    """A formula within a line."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    """A formula of its own, scrolled where the page is narrower."""
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def short_signature(
    app: Sphinx, what: str, name: str, thing: object, options: object, arguments: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """A signature with aliases by their names; of an algorithm its own settings, and ``**settings`` for the others."""
    if isinstance(thing, type) and issubclass(thing, Module):
        return "", None  # what layers it is made of concerns who writes one
    if not (isinstance(thing, type) and issubclass(thing, Recommender)):
        plain = [text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text) for text in (arguments, returned)]
        return plain[0], plain[1]
    if thing is Recommender:
        return "(task, data_info, loss_type='cross_entropy', *, **settings)", None
    own = [
        parameter.replace(annotation=Parameter.empty)
        for parameter in signature(thing).parameters.values()
        if parameter.name in thing.__annotations__
    ]
    first = [Parameter(one, Parameter.POSITIONAL_OR_KEYWORD) for one in ("task", "data_info")]
    shared = Parameter("settings", Parameter.VAR_KEYWORD)
    return str(Signature([*first, *own, shared])), None


def keep_colon(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Let no colon in the first line of a property be read as the end of its type."""
    if what == "property" and lines:
        lines[0] = lines[0].replace(": ", " \N{EN DASH} ", 1)


CALL = re.compile(r"((?:\w+\.)*(\w+))(\(.*\))?", re.DOTALL)
WORDS = {"load", "item", "user", "items", "users", "labels", "weights", "schema", "metric", "best", "random", "state"}
WORDS |= {"precision", "importance", "explanation", "model_name", "encode", "decode", "extend", "code", "components"}
WORDS |= {"user_col", "item_col", "sparse_col", "dense_col", "context_col"}
"""Names that mean other things in most places: linked where they are called, or by their full path."""
OTHERS = ("np.", "torch.", "libreco", "pandas.", "optimizers.", "nn.")
FIRST = ("recolib.recommender.Recommender.", "recolib.data.DatasetFeat.")
"""Whose member is meant where several have it."""


def target_of(code: str, by_name: dict[str, list[str]]) -> str | None:
    """The public name that a code span is, or calls; None if it is none, or one of several."""
    called = CALL.fullmatch(code)
    if called is None or code.startswith(OTHERS):
        return None
    path, name, arguments = called.groups()
    named = by_name.get(name, [])
    exact = [full for full in named if f".{full}".endswith(f".{path}")] if "." in path else []
    if exact:
        return exact[0]
    if name in WORDS and arguments is None:
        return None
    preferred = [full for full in named if full.startswith(FIRST)] or named
    return preferred[0] if len(preferred) == 1 else None


def link_names(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Make each code span that is a public name, or a call of it, a link to its place in the reference."""
    domain = app.env.domains["py"]
    assert isinstance(domain, PythonDomain)
    by_name: dict[str, list[str]] = {}
    for full, entry in domain.objects.items():
        if not entry.aliased and not full.startswith("recolib.nn."):  # whose names are words
            by_name.setdefault(full.rpartition(".")[2], []).append(full)
    for code in list(doctree.findall(nodes.literal)):
        full = None if isinstance(code.parent, nodes.reference | nodes.title) else target_of(code.astext(), by_name)
        if full is not None:
            entry = domain.objects[full]
            code.replace_self(make_refnode(app.builder, page, entry.docname, entry.node_id, code.deepcopy(), full))


def setup(app: Sphinx) -> None:
    """Write formulas as MathML, which browsers draw without a script or a network, and link the names."""
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("autodoc-process-signature", short_signature)
    app.connect("autodoc-process-docstring", keep_colon, priority=400)  # before napoleon reads it
    app.connect("doctree-resolved", link_names)
