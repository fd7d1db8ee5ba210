"""What the pages about deploying say is there: files, commands, and what systemd says of the unit."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "deploy.md", *sorted((ROOT / "deploy").glob("*/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_files_that_commands_name_are_there(page: Path) -> None:
    for command in re.findall(r"^\$ (.+)$", page.read_text(), re.MULTILINE):
        for word in shlex.split(command):
            if word.startswith("deploy/") or word == "config.example.yaml":
                assert (ROOT / word).exists(), command


def test_each_kind_has_a_page() -> None:
    kinds = {path.name for path in (ROOT / "deploy").iterdir() if path.is_dir()}
    assert {page.parent.name for page in PAGES[1:]} == kinds
