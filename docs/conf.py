"""Settings of the documentation site: Markdown pages, built by Sphinx."""

from __future__ import annotations

from importlib.metadata import version as installed_version

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

project = "recolib"
author = "the recolib developers"
copyright = "2026, the recolib developers"
release = version = installed_version("recolib")

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"recolib {release}"
html_math_renderer = "mathml"


def inline_math(translator: HTML5Translator, node: nodes.math) -> None:
    """A formula within a line."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display_math(translator: HTML5Translator, node: nodes.math_block) -> None:
    """A formula of its own."""
    formula = convert(node.astext(), display="block")
    translator.body.append(f'<div style="padding: 0.3em 0">{formula}</div>')  # the limits of a sum reach below its box
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Write formulas as MathML, which browsers draw without a script or a network."""
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
