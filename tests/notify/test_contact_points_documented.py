"""docs/contact-points.md names every kind of contact point and every key of each, and its examples load."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from tocsin.api.contact_points import KINDS
from tocsin.notify.contact import ContactConfig
from tocsin.service.loading import load_text

TEXT = (Path(__file__).parents[2] / "docs" / "contact-points.md").read_text()
SECTIONS = {part.partition("\n")[0].strip(): part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}
SHARED = set(ContactConfig.model_fields)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_section_that_names_its_keys(kind: str) -> None:
    assert f"`{kind}`" in SECTIONS["Every contact point"]
    model: type[BaseModel] = KINDS[kind]
    keys = {field.alias or name for name, field in model.model_fields.items()} - SHARED - {"type"}
    assert {key for key in keys if f"`{key}`" not in SECTIONS[kind]} == set()


def test_what_all_share_is_named() -> None:
    assert {key for key in SHARED if f"`{key}`" not in SECTIONS["Every contact point"]} == set()


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(contact_points:.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
def test_every_example_loads(block: str) -> None:
    names = set(re.findall(r"\$\{env:(\w+)\}", block))
    secrets = dict.fromkeys(names, "0123456789abcdef" * 2) | {"WEBHOOK_SECRET": "whsec_" + "A" * 32}
    loaded = load_text(f"{block}rules: []\n", environ=secrets)
    assert set(loaded.configuration.contact_points) == set(YAML(typ="safe", pure=True).load(block)["contact_points"])
