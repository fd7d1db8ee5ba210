"""Only what pyproject.toml cannot say: the Rust module is built where cargo is, and its absence is no error."""

import shutil

from setuptools import setup

if shutil.which("cargo") is None:
    # Without cargo setuptools-rust stops the build even for optional modules.
    import setuptools_rust.setuptools_ext as extension

    extension.rust_extensions = lambda *_: None

# The module keeps to the stable ABI, so one wheel serves every Python from 3.11; one without the module stays pure.
setup(options={"bdist_wheel": {"py_limited_api": "cp311"}})
