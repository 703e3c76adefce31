"""Settings of the documentation site: Markdown pages, built by Sphinx."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "recolib"
author = "the recolib developers"
copyright = "2026, the recolib developers"
release = version = installed_version("recolib")

extensions = ["myst_parser", "sphinx.ext.mathjax"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"recolib {release}"
