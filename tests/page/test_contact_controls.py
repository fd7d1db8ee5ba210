"""The form of a contact point: what it shows is what the file has, but for secrets, and comes back as it was."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.api.contact_points import KINDS, secrets_of
from tocsin.api.editing import RejectedError
from tocsin.page.controls import Kind, controls_of, fields_of
from tocsin.page.forms import Form

words = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "S", "P"], exclude_characters=","), min_size=1, max_size=20
)
FIELDS: dict[str, dict[str, Any]] = {
    "webhook": {"url": "https://hooks.example.com/a", "secret": "whsec_c2VjcmV0", "headers": {"X-A": "b"}},
    "email": {
        "host": "smtp.example.com",
        "port": 2525,
        "from": "a@example.com",
        "to": ["b@example.com", "c@example.com"],
    },
    "slack": {
        "bot_token": "xoxb-1",
        "channel": "#alerts",
        "template": {"text": "{{ summary }}\nand more", "details": False},
    },
    "alertmanager": {
        "url": "https://am.example.com",
        "labels": {"team": "support", "zone": "eu"},
        "resend_interval": "30s",
    },
    "pagerduty": {"routing_key": "0123456789abcdef0123456789abcdef", "min_severity": "high", "allow_private": False},
    "log": {"mute_timings": ["nights", "weekends"], "rate_limit": "30/m", "timeout": "3s"},
}


def sent(kind: str, fields: dict[str, Any], **changed: str) -> dict[str, Any]:
    """Return what a form stands for that shows these fields and of which some are filled in otherwise."""
    controls = controls_of(KINDS[kind], secrets_of(kind), fields, None)
    shown = {control.name: control.value for control in controls} | changed
    return fields_of(controls, Form({name: [text.replace("\n", "\r\n")] for name, text in shown.items()}))


@pytest.mark.parametrize("kind", FIELDS)
def test_a_form_that_nobody_touched_is_the_contact_point_again_without_its_secrets(kind: str) -> None:
    open_ones = {name: value for name, value in FIELDS[kind].items() if name not in secrets_of(kind)}
    assert sent(kind, FIELDS[kind]) == open_ones


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_form_that_shows_no_secret(kind: str) -> None:
    hidden = {name: f"the-secret-{name}" for name in secrets_of(kind)}
    controls = controls_of(KINDS[kind], secrets_of(kind), hidden, Form({name: [text] for name, text in hidden.items()}))
    assert not any("the-secret" in control.value for control in controls)
    assert {control.name for control in controls if control.is_set} == set(hidden)
    assert fields_of(controls, Form({})) == {}


@given(st.lists(words, min_size=1, max_size=4), words)
def test_lists_and_texts_come_back_as_they_were_written(names: list[str], channel: str) -> None:
    assert sent("log", {"mute_timings": names}) == {"mute_timings": [name.strip() for name in names if name.strip()]}
    assert sent("slack", {}, channel=channel) == {"channel": channel}


def test_a_secret_that_is_given_goes_in_and_one_that_is_taken_out_goes() -> None:
    assert sent("webhook", FIELDS["webhook"], headers="X-A: 1\nAuthorization: Bearer b: c") == {
        "headers": {"X-A": "1", "Authorization": "Bearer b: c"}
    }
    assert sent("webhook", FIELDS["webhook"], **{"remove.secret": "on"}) == {"secret": None}


def test_what_a_control_can_not_hold_is_told_at_it() -> None:
    with pytest.raises(RejectedError) as refused:
        sent("alertmanager", {}, labels="{a: [", headers="no colon")
    assert sorted(problem.field for problem in refused.value.problems) == ["headers", "labels"]


def test_labels_are_for_people() -> None:
    controls = {one.name: one for one in controls_of(KINDS["slack"], secrets_of("slack"), {}, None)}
    assert controls["webhook_url"].label == "Webhook URL"
    assert controls["template.text"].label == "Text"
    assert controls["template.text"].kind is Kind.LINES
    assert controls["timeout"].otherwise == "10s"
