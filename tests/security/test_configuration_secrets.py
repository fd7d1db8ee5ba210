"""No secret of a configuration shows in what may be printed of it."""

import base64
import hashlib
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, SecretStr

from tocsin.errors import ConfigError
from tocsin.security.config import TokenHash
from tocsin.service.config import Configuration
from tocsin.service.loading import load_text

TEXT = """
receivers:
  otlp:
    grpc: {auth: {tokens: [{name: a, token: "${env:GRPC}"}]}}
    http: {auth: {tokens: [{name: b, token: "${file:http-token}"}, {name: c, hash: "sha256:${env:HASH}"}]}}
api:
  tokens: [{name: d, token: "${env:API}", role: admin}]
storage: {url: "postgresql://tocsin:${env:DATABASE}@127.0.0.1/tocsin"}
forward:
  otlp: {endpoint: "http://127.0.0.1:1", headers: {authorization: "Bearer ${env:FORWARD}"}}
contact_points:
  hook:
    type: webhook
    url: https://hooks.example/in/${env:HOOK_PATH}
    secret: ${env:HOOK_KEY}
    headers: {Authorization: "Basic ${env:HOOK_HEADER}"}
  slack: {type: slack, webhook_url: "https://hooks.slack.example/services/${env:SLACK_PATH}"}
  bot: {type: slack, bot_token: "${env:SLACK_BOT}", channel: "#alerts"}
  pager: {type: pagerduty, routing_key: "${env:PAGER}"}
  mail: {type: email, host: smtp.example, from: a@example.com, to: b@example.com, username: u, password: "${env:MAIL}"}
  logs: {type: otlp, endpoint: "https://c.example", headers: {authorization: "Bearer ${env:OTLP}"}}
  topic: {type: kafka, brokers: k.example, topic: t, tls: true, username: u, password: "${env:KAFKA}"}
  issues: {type: ticket, system: github, repository: a/b, token: "${env:TICKET}"}
  chat: {type: apprise, urls: ["json://x.example/${env:APPRISE}", "discord://${env:DISCORD}/x"]}
rules: []
"""
NAMES = ["GRPC", "API", "DATABASE", "FORWARD", "HOOK_PATH", "HOOK_HEADER", "SLACK_PATH", "SLACK_BOT", "PAGER", "MAIL"]
NAMES += ["OTLP", "KAFKA", "TICKET", "APPRISE", "DISCORD"]
MARKED = {name: f"marker{name.replace('_', '').lower()}0123456789" for name in NAMES}
ENVIRON = MARKED | {
    "HASH": hashlib.sha256(b"marker-of-a-hash").hexdigest(),
    "HOOK_KEY": "whsec_" + base64.b64encode(b"marker-of-a-signing-key-0123456789").decode(),
}
FILE = "marker-of-a-file-0123456789"


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    (tmp_path / "http-token").write_text(FILE + "\n")
    return load_text(TEXT, directory=tmp_path, environ=ENVIRON).configuration


def forms(secret: str) -> set[str]:
    """The texts that would give a secret away, or let it be tried out."""
    data = secret.encode()
    return {
        secret,
        hashlib.sha256(data).hexdigest(),
        base64.b64encode(data).decode(),
        repr(hashlib.sha256(data).digest()),
    }


def test_no_secret_is_in_the_text_or_the_dump_of_a_configuration(configuration: Configuration) -> None:
    shown = [
        repr(configuration),
        str(configuration),
        repr(configuration.model_dump()),
        repr(configuration.model_dump(mode="json")),
        configuration.model_dump_json(),
        repr(configuration.receivers.otlp.grpc),
        repr(dict(configuration.contact_points)),
        f"{configuration!s}{configuration.api.tokens}",
    ]
    assert all("smtp.example" in text for text in shown[:5])
    for secret in (*ENVIRON.values(), FILE):
        for form in forms(secret):
            assert not any(form in text for text in shown), secret


def test_of_tokens_only_hashes_are_kept(configuration: Configuration) -> None:
    def texts(value: object) -> Iterator[str]:
        if isinstance(value, BaseModel):
            for name in type(value).model_fields:
                yield from texts(getattr(value, name))
        elif isinstance(value, dict):
            for one in value.values():
                yield from texts(one)
        elif isinstance(value, tuple | list):
            for one in value:
                yield from texts(one)
        elif isinstance(value, SecretStr):
            yield value.get_secret_value()
        else:
            yield str(value)

    kept = "\n".join(texts(configuration))
    assert MARKED["PAGER"] in kept  # which must be sent in the clear
    for name in (MARKED["GRPC"], MARKED["API"], FILE):
        assert name not in kept


SECRETIVE = re.compile(r"token$|secret|password|routing_key|headers$|webhook_url|^urls?$|^hash$")
PLAIN = {
    "PagerDutyConfig.url",  # the same for everybody
    "AttributesConfig.time_to_first_token",
    "GuardConfig.headers",  # which header has which label
}


def fields(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[tuple[str, str, Any]]:
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield model.__name__, name, field.annotation
        for kind in kinds(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from fields(kind, seen)


def kinds(annotation: Any) -> Iterator[Any]:  # noqa: ANN401  # any annotation
    origin = get_origin(annotation)
    if origin is None:
        yield annotation
    arguments = get_args(annotation)[:1] if origin is Annotated else get_args(annotation)
    if origin in (Union, types.UnionType, Annotated, tuple, list, dict):
        for one in arguments:
            yield from kinds(one)


ALL = list(fields(Configuration, set()))


def test_the_walk_sees_the_whole_tree() -> None:
    assert {"TokenConfig", "WebhookConfig", "SlackConfig", "StorageConfig", "OtlpForwardConfig"} <= {
        model for model, _, _ in ALL
    }


@pytest.mark.parametrize(
    ("model", "name", "annotation"),
    [one for one in ALL if SECRETIVE.search(one[1]) and f"{one[0]}.{one[1]}" not in PLAIN],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_sounds_like_a_secret_is_of_a_secret_type(model: str, name: str, annotation: object) -> None:
    found = set(kinds(annotation)) - {type(None), Ellipsis}
    assert found & {SecretStr, TokenHash}, f"{model}.{name}"
    assert not found - {SecretStr, TokenHash, str} or found <= {SecretStr, TokenHash}
    assert str not in found or get_origin(annotation) is dict  # the names of headers


@pytest.mark.parametrize(
    "mistake",
    [
        "api: {endpoint: '${env:API}'}",
        "api: {tokens: [{name: '${env:API}:', token: x, role: '${env:MAIL}'}]}",
        "api: {tokens: [{name: a, token: 'two words ${env:API}', role: read}]}",
        "api: {tokens: [{name: a, hash: '${env:API}', role: read}]}",
        "api: {public_url: 'https://user:${env:MAIL}@bell.example'}",
        "storage: {url: 'mysql://u:${env:DATABASE}@h/d'}",
        "storage: {url: 'postgresql://u:${env:DATABASE}@h:port/d'}",
        "forward: {otlp: {endpoint: 'http://u:${env:FORWARD}@h:1'}}",
        "forward: {otlp: {endpoint: 'http://h:1', headers: {authorization: \"${env:FORWARD}\\n\"}}}",
        "contact_points: {x: {type: webhook, url: 'ftp://${env:HOOK_PATH}'}}",
        "contact_points: {x: {type: webhook, url: 'https://h/', secret: '${env:HOOK_PATH}!'}}",
        "contact_points: {x: {type: webhook, url: 'https://h/', headers: {X: \"${env:HOOK_HEADER}\\n\"}}}",
        "contact_points: {x: {type: slack, webhook_url: 'slack/${env:SLACK_PATH}'}}",
        "contact_points: {x: {type: slack, bot_token: '${env:SLACK_BOT} x', channel: a}}",
        "contact_points: {x: {type: pagerduty, routing_key: '${env:PAGER}-'}}",
        "contact_points: {x: {type: otlp, endpoint: 'https://h', headers: {x: \"${env:OTLP}\\n\"}}}",
        "contact_points: {x: {type: kafka, brokers: k, topic: t, username: u, password: '${env:KAFKA}'}}",
        "contact_points: {x: {type: ticket, system: github, repository: a/b, token: '${env:TICKET} x'}}",
        "contact_points: {x: {type: apprise, urls: ['no address ${env:APPRISE}']}}",
        "contact_points: {x: {type: apprise, urls: {a: '${env:APPRISE}'}}}",
        "contact_points: {x: {type: '${env:PAGER}'}}",
        "log: {level: '${env:MAIL}'}",
        "'${env:MAIL}': 1",
        "rules: [{name: r, metric: '${env:MAIL}', condition: gt, threshold: 1}]",
        "rules: '${env:MAIL}'",
    ],
)
def test_no_mistake_repeats_what_came_from_outside(mistake: str) -> None:
    with pytest.raises(ConfigError) as found:
        load_text(mistake + ("" if "rules" in mistake else "\nrules: []") + "\n", environ=ENVIRON)
    for secret in ENVIRON.values():
        assert secret not in str(found.value)
