"""`${env:}` and `${file:}`, and that what they stand for is never shown."""

# ruff: noqa: E501  # one case a line

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import ConfigError
from tocsin.service.loading import load, load_text
from tocsin.service.reading import Reading
from tocsin.service.references import References

SECRET = "s3cr3t-Zebra/4711"  # noqa: S105  # not one


def replaced(text: str, directory: Path = Path(), **environ: str) -> str:
    found = References(directory, environ, Reading()).substitute(text)
    assert found.problems == ()
    return found.text


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("${env:A}", "1"),
        ("x${env:A}y${env:B}", "x1y2"),
        ("${env:C:-default}", "default"),
        ("${env:C:-}", ""),
        ("${env:EMPTY:-default}", "default"),
        ("${env:EMPTY}", ""),
        ("$${env:A}", "${env:A}"),
        ("$$${env:A}", "$1"),
        ("$$$${env:A}", "$${env:A}"),
        ("pa$$word", "pa$$word"),
        ("$5", "$5"),
        ("${{ value }}", "${{ value }}"),
        ("{{ a }}${env:A}", "{{ a }}1"),
    ],
)
def test_are_replaced(text: str, becomes: str) -> None:
    assert replaced(text, A="1", B="2", EMPTY="") == becomes


@given(st.text(max_size=40))
def test_text_without_references_stays(text: str) -> None:
    assert "${" in text or replaced(text) == text


def test_a_value_is_not_replaced_again() -> None:
    assert replaced("${env:A}", A="${env:B}", B="x") == "${env:B}"


def test_files_lose_one_newline(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\n\n")
    (tmp_path / "b").write_bytes(b"two\r\n")
    assert replaced("${file:a}", tmp_path) == "one\n"
    assert replaced(f"${{file:{tmp_path}/b}}", Path("/nowhere")) == "two"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${env:TOCSIN_KEY}", "environment variable 'TOCSIN_KEY' is not set; set it, or write '${env:TOCSIN_KEY:-default}'"),
        ("${env:PAGERDUTY_KEI}", "'PAGERDUTY_KEI' is not set; set it, or write '${env:PAGERDUTY_KEI:-default}'; did you mean 'PAGERDUTY_KEY'?"),
        ("${env:1}", "'${env:1}' is no variable's name; write '${env:NAME}'"),
        ("${TOCSIN_KEY}", "'${TOCSIN_KEY}' names no source; write '${env:TOCSIN_KEY}', or '$${TOCSIN_KEY}' for the text"),
        ("${ENV:X}", "'ENV' is no source; write '${env:NAME}' or '${file:PATH}'"),
        ("${file:}", "'${file:}' names no file; write '${file:PATH}'"),
        ("${file:gone}", "'${file:gone}': no such file; create it, or fix the path"),
        ("${file:folder}", "'${file:folder}': is a directory; name a file"),
        ("${file:big}", "'${file:big}': is larger than 64 KiB; make it smaller"),
        ("${file:binary}", "'${file:binary}': not UTF-8 text; write it as text"),
        ("${file:pipe}", "'${file:pipe}': is not a regular file; name one that is"),
    ],
)  # fmt: skip
def test_say_what_is_missing(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "big").write_bytes(b"x" * (64 * 1024 + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xff")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError) as caught:
        load_text(f"trace_url: '{text}'", directory=tmp_path, environ={"PAGERDUTY_KEY": "x"})
    assert caught.value.problems[0].endswith(says)
    assert caught.value.problems[0].startswith(f"{tmp_path}/config.yaml:1:12: ")


PLACES = [
    "trace_url: %s",
    "api: {endpoint: %s}",
    "api: {endpoint: 'http://%s@x'}",
    "api: {base_path: %s}",
    "log: {level: %s}",
    "log: {%s: 1}",
    "trace: {grace: %s}",
    "limits: {groups: %s, in_flight_bytes: %s}",
    "network: {allow_private: %s}",
    "sampling: %s",
    "receivers: {otlp: {grpc: {endpoint: %s}}}",
    "receivers: {otlp: {grpc: {max_request_size: %s}}}",
    "rule_files: [%s]",
    "prices: {overrides: {x: {input: %s}}}",
    "prices: {prefer: %s}",
    "contact_points: %s",
    "contact_points: {x: %s}",
    "contact_points: {x: {type: %s}}",
    "contact_points: {x: {type: log, timeout: %s, min_severity: %s}}",
    "contact_points: {x: {type: pagerduty, routing_key: %s}}",
    "contact_points: {x: {type: pagerduty, routing_key: [%s]}}",
    "contact_points: {x: {type: slack, webhook_url: %s}}",
    "contact_points: {x: {type: slack, webhook_url: 'http://hooks.example/%s', bot_token: %s}}",
    "contact_points: {x: {type: slack, bot_token: %s, channel: '#c'}}",
    "contact_points: {x: {type: webhook, url: 'https://u:%s@h.example'}}",
    "contact_points: {x: {type: webhook, url: 'https://h.example', secret: %s}}",
    "contact_points: {x: {type: webhook, url: 'https://h.example', headers: {Authorization: \"%s\\n\"}}}",
    "contact_points: {x: {type: webhook, url: 'https://h.example', headers: %s}}",
    "contact_points: {x: {type: email, host: %s, from: %s, to: %s}}",
    "contact_points: {x: {type: email, host: h.example, port: %s, password: [%s], from: a@b.c, to: [a@b.c]}}",
    "contact_points: {x: {type: email, host: h.example, password: %s, from: a@b.c, to: [%s]}}",
    "rules: [{name: r, metric: %s, condition: %s, threshold: %s, window: %s}]",
    "rules: [{name: r, metric: cost, condition: gt, threshold: %s, filters: {a: '~(%s'}}]",
    "rules: [{name: r, metric: cost, condition: gt, threshold: 1, notify: [%s], summary: '{{ %s'}]",
    "rules: [{name: r, metric: cost, condition: gt, threshold: 1, summary: '{{ x | %s }}{%% %s %%}'}]",
    "rules: [{name: r, metric: cost, condition: gt, threshold: 1, group_by: [a, '%s %s'], runbook_url: %s}]",
    "rules: [{name: '%s/', project: ' %s', metric: cost, condition: gt, threshold: 1}]",
    "rules: [{name: '%s', metric: cost, condition: gt, threshold: 1}, {name: '%s', metric: cost, condition: gt}]",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("source", ["env", "file"])
def test_a_secret_is_in_no_problem(tmp_path: Path, place: str, source: str) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    reference = "${env:TOP_SECRET}" if source == "env" else "${file:secret}"
    body = place.replace("%%", "\0").replace("%s", reference).replace("\0", "%")
    # Plain values that hold a reference need no quotes: '$' begins no YAML of its own, '}' ends a flow mapping.
    text = body.replace(f": {reference}", f": '{reference}'").replace(f"[{reference}]", f"['{reference}']")
    text = text.replace(f"{{{reference}:", f"{{'{reference}':")
    try:
        load_text(text, directory=tmp_path, environ={"TOP_SECRET": SECRET})
    except ConfigError as error:
        shown = str(error).lower()
        assert not any(SECRET[at : at + 6].lower() in shown for at in range(len(SECRET) - 5)), shown
        assert "config.yaml:1:" in shown
    else:
        # Where any text is valid nothing is to be said; these places accept it.
        assert place.count("%s") == 1


def test_yaml_mistakes_do_not_quote_the_text_around_them() -> None:
    for text in (
        f"a: !{SECRET}!x\n",
        f"a: *{SECRET}\n",
        f"a: !{SECRET}\n",
        f"password: '{SECRET}\n",
        f"a: {SECRET}: b: c\n",
    ):
        with pytest.raises(ConfigError) as caught:
            load_text(text)
        assert "Zebra" not in str(caught.value)


def test_a_secret_in_a_rule_file_is_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "team").write_text("blue\n")
    (tmp_path / "rules" / "a.yaml").write_text(
        "rules: [{name: r, metric: cost, condition: gt, threshold: 1, labels: {team: '${file:team}'}}]"
    )
    (tmp_path / "c.yaml").write_text("rule_files: [rules/*.yaml]")
    found = load(tmp_path / "c.yaml")
    assert found.rules[0].labels == {"team": "blue"}
    assert {path.name for path in found.files} == {"c.yaml", "a.yaml", "team"}


@pytest.mark.parametrize(
    "point",
    [
        f"{{type: pagerduty, routing_key: '{SECRET} x'}}",
        f"{{type: pagerduty, routing_key: ['{SECRET}']}}",
        f"{{type: pagerduty, routing_key: {{'{SECRET}': 1}}}}",
        f"{{type: pagerduty, 'https://x/{SECRET}': }}",
        f"{{type: pagerduty, routing_key: x, 'https://x/{SECRET}': 1, 'https://x/{SECRET}': 2}}",
        f"{{type: slack, webhook_url: '{SECRET}'}}",
        f"{{type: slack, webhook_url: 'https://u:{SECRET}@x.example'}}",
        f"{{type: slack, bot_token: '{SECRET} {SECRET}', channel: c}}",
        f"{{type: webhook, url: 'https://h.example', secret: '{SECRET}'}}",
        f"{{type: webhook, url: 'https://h.example', secret: 'whsec_{SECRET}!'}}",
        f"{{type: webhook, url: 'https://h.example', headers: {{Authorization: [{SECRET}]}}}}",
        f"{{type: webhook, url: 'https://h.example', headers: '{SECRET}'}}",
        f"{{type: email, host: h.example, from: a@b.example, to: a@b.example, password: '{SECRET}'}}",
        f"{{type: email, host: h.example, from: a@b.example, to: a@b.example, username: a, password: [{SECRET}]}}",
    ],
)
def test_a_secret_that_is_written_out_is_in_no_problem(point: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"contact_points: {{x: {point}}}", environ={})
    assert "Zebra" not in str(caught.value)
