"""Tokens: what is kept of them, how they are compared, and what they open."""

import hashlib
import hmac
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from tocsin.cli import app
from tocsin.security import tokens as module
from tocsin.security.config import AuthConfig, IngestTokenConfig, TokenConfig
from tocsin.security.roles import ANONYMOUS, Principal, Role
from tocsin.security.tokens import Tokens, bearer_of, hash_text, new_token
from tocsin.service.loading import load_text

SECRET = "tocsin_abcdefghijklmnopqrstuvwxyz"  # noqa: S105  # for these tests


def token(secret: str = SECRET, role: str = "read", name: str = "grafana", **more: object) -> TokenConfig:
    return TokenConfig.model_validate({"name": name, "token": secret, "role": role, **more})


def mistake_in(**written: object) -> str:
    with pytest.raises(ValidationError) as found:
        TokenConfig.model_validate({"name": "x", "role": "read", **written})
    return str(found.value)


def test_a_token_is_known_by_its_text_and_by_its_written_hash() -> None:
    written = TokenConfig.model_validate({"name": "prom", "hash": hash_text("another" * 5), "role": "admin"})
    known = Tokens([token(projects=["a", "b"]), written])
    assert known.find(SECRET) == Principal("grafana", Role.READ, frozenset({"a", "b"}))
    assert known.find("another" * 5) == Principal("prom", Role.ADMIN)
    for wrong in (None, "", "x", SECRET + "x", SECRET[:-1], SECRET.upper(), hash_text(SECRET), "\udcff", "\x00"):
        assert known.find(wrong) is None


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=16), unique=True), st.data())
def test_exactly_the_tokens_that_are_known_are_found(made: list[str], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(made)))
    known = Tokens([token(secret, name=f"n{at}") for at, secret in enumerate(made[:number])])
    for at, secret in enumerate(made):
        found = known.find(secret)
        assert (found.name if found else None) == (f"n{at}" if at < number else None)


def test_nothing_is_kept_of_a_token_but_its_hash_and_that_is_not_shown() -> None:
    config = token()
    auth = AuthConfig(tokens=(IngestTokenConfig.model_validate({"name": "c", "token": SECRET}),))
    digest = hashlib.sha256(SECRET.encode())
    for one in (config, auth, Tokens([config]).find(SECRET), (config.token,)):
        shown = repr(one) + str(one)
        if isinstance(one, TokenConfig | AuthConfig):
            shown += repr(one.model_dump()) + one.model_dump_json() + repr(vars(one))
        assert SECRET not in shown
        assert digest.hexdigest() not in shown
        assert repr(digest.digest()) not in shown
    assert config.digest == digest.digest()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "give either token or hash"),
        ({"token": SECRET, "hash": hash_text(SECRET)}, "give either token or hash"),
        ({"token": "short"}, "a token is 16 to 512 letters"),
        ({"token": "with some spaces in it"}, "a token is 16 to 512 letters"),
        ({"token": "line\nbreak-in-the-middle"}, "a token is 16 to 512 letters"),
        ({"token": "ümlaute-gehen-hier-nicht"}, "a token is 16 to 512 letters"),
        ({"token": 12345678901234567890}, "a token is 16 to 512 letters"),
        ({"hash": "sha1:00"}, "a hash is written as sha256:"),
        ({"hash": SECRET}, "a hash is written as sha256:"),
        ({"token": SECRET, "role": "root"}, "Input should be 'ingest', 'read', 'write' or 'admin'"),
        ({"token": SECRET, "role": "ingest", "projects": ["a"]}, "can't be bound to projects: a span belongs to none"),
        ({"token": SECRET, "projects": []}, "an empty list would open nothing"),
    ],
)
def test_a_mistake_says_what_to_write_and_not_what_was_written(written: dict[str, object], said: str) -> None:
    message = mistake_in(**written)
    assert said in message
    for value in (written.get("token"), written.get("hash")):
        assert value is None or len(str(value)) < 10 or str(value) not in message


def test_two_tokens_of_a_listener_have_two_names_and_are_two() -> None:
    one = {"name": "a", "token": SECRET}
    for other, said in (
        ({"name": "a", "token": SECRET + "2"}, "two tokens are called 'a'"),
        ({"name": "b", "hash": hash_text(SECRET)}, "two names have the same token"),
    ):
        with pytest.raises(ValidationError, match=said):
            AuthConfig.model_validate({"tokens": [one, other]})
    with pytest.raises(ValidationError, match="none of the tokens opens anything here; give one the role ingest"):
        AuthConfig.model_validate({"tokens": [one | {"role": "read"}]})


ALLOWED = {
    Role.INGEST: {Role.INGEST},
    Role.READ: {Role.READ},
    Role.WRITE: {Role.READ, Role.WRITE},
    Role.ADMIN: set(Role),
}


@pytest.mark.parametrize(("role", "needed"), list(itertools.product(Role, Role)))
def test_a_role_permits_what_the_table_says(role: Role, needed: Role) -> None:
    assert role.permits(needed) == (needed in ALLOWED[role])


def test_a_principal_sees_its_projects_and_no_other() -> None:
    bound = Principal("x", Role.WRITE, frozenset({"a"}))
    assert bound.may(Role.WRITE, "a")
    assert not bound.may(Role.WRITE, "b")
    assert not bound.may(Role.ADMIN, "a")
    assert ANONYMOUS.may(Role.ADMIN, "anything")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["Bearer abc"], "abc"),
        (["bearer abc"], "abc"),
        (["BEARER  abc "], "abc"),
        ([], None),
        ([""], None),
        (["Bearer"], None),
        (["Bearer "], None),
        (["Basic abc"], None),
        (["abc"], None),
        (["Bearer abc", "Bearer abc"], None),
        (["Bearer " + "x" * 600], None),
    ],
)
def test_exactly_one_bearer_token_is_read(values: Sequence[str], expected: str | None) -> None:
    assert bearer_of(values) == expected


def test_every_hash_is_compared_in_constant_time_wherever_the_right_one_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def counted(known: bytes, presented: bytes) -> bool:
        compared.append((known, presented))
        return hmac.compare_digest(known, presented)

    monkeypatch.setattr(module, "compare_digest", counted)
    made = [new_token() for _ in range(5)]
    known = Tokens([token(secret, name=f"n{at}") for at, secret in enumerate(made)])
    for presented in (made[0], made[2], made[4], "wrong", ""):
        compared.clear()
        known.find(presented)
        assert [one for one, _ in compared] == [hashlib.sha256(secret.encode()).digest() for secret in made]
        assert {one for _, one in compared} == {hashlib.sha256(presented.encode()).digest()}


def test_a_new_token_is_random_long_and_can_be_written() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) >= 50 for one in made)
    for one in made:
        token(one)


@pytest.mark.parametrize("role", list(Role))
def test_the_command_shows_a_token_once_with_what_knows_it(role: Role) -> None:
    told = CliRunner().invoke(app, ["token", "--role", role.value, "--name", "ci"])
    assert told.exit_code == 0
    made = told.stdout.strip()
    assert "\n" not in made
    assert made not in told.stderr
    entry = told.stderr.splitlines()[1]
    other = "- {name: other, token: 0123456789abcdef0, role: read}"
    if role is Role.INGEST:
        text = f"receivers:\n  otlp:\n    http:\n      auth:\n        tokens:\n        {entry.strip()}"
    else:
        text = f"api:\n  tokens:\n    {entry.strip()}\n    {other}"
    configuration = load_text(text + "\nrules: []\n", environ={}).configuration
    http = configuration.receivers.otlp.http
    found = (http.auth.tokens if http and http.auth else ()) if role is Role.INGEST else configuration.api.tokens
    assert Tokens(found).find(made) == Principal("ci", role)


def test_the_command_refuses_projects_for_senders_and_binds_others_to_them() -> None:
    assert CliRunner().invoke(app, ["token", "--role", "ingest", "--project", "a"]).exit_code == 1
    told = CliRunner().invoke(app, ["token", "--role", "write", "--project", "a", "--project", "b"])
    assert "projects: [a, b]" in told.stderr
