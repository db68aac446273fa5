"""Sphinx configuration: everything is made from what lies in the repository, without a network."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs/_ext")]
os.environ.setdefault("X_BANK", str(ROOT / "../shared/x_bank"))

import nirs4all_vit  # noqa: E402 - found through the path above

project, author = "nirs4all_vit", "The nirs4all_vit developers"
project_copyright = "The nirs4all_vit developers"
release = version = nirs4all_vit.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "generated_pages",
]
exclude_patterns = ["build", "examples/README.rst"]
nitpicky = False
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # the gallery's order is a class

templates_path = ["_templates"]
html_theme = "furo"
html_title = f"nirs4all_vit {release}"
html_static_path = ["_static"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says it, with shapes and units
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "reset_modules": ("matplotlib",),
}

# What libraries say to their own developers is not for the gallery's pages.
warnings.filterwarnings("ignore", category=DeprecationWarning)
