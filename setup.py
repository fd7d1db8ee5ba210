"""Only what pyproject.toml cannot say: the Rust module is built where cargo is, and its absence is no error."""

import shutil

from setuptools import setup

if shutil.which("cargo") is None:
    # Without cargo setuptools-rust stops the build even for optional modules.
    import setuptools_rust.setuptools_ext as extension

    extension.rust_extensions = lambda *_: None

setup()
