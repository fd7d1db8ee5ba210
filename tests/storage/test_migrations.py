"""Tables are made from nothing and from every older revision, and are what the statements expect."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from event_samples import event_of
from postgres_cluster import PASSWORD, Cluster
from pydantic import SecretStr, ValidationError
from sqlalchemy import Connection, text

from tocsin.alerts.document import dump_event
from tocsin.errors import ConfigError
from tocsin.storage import schema
from tocsin.storage.config import StorageConfig
from tocsin.storage.database import Database
from tocsin.storage.engines import engine_of, prepare_directory
from tocsin.storage.tables import METADATA

AT = 1_767_669_250_000_000_000


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, METADATA))


def test_the_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", "tocsin.storage:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


async def test_from_nothing_the_tables_become_what_the_statements_expect(place: StorageConfig) -> None:
    prepare_directory(place)
    engine = engine_of(place)
    try:
        await schema.migrate(engine)
        await schema.migrate(engine)
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()


async def test_what_an_older_version_left_is_delivered_after_the_upgrade(place: StorageConfig) -> None:
    event = event_of(1)
    prepare_directory(place)
    engine = engine_of(place)
    async with engine.begin() as connection:
        await connection.run_sync(schema.upgrade, "0001")
        await connection.execute(
            text(
                "INSERT INTO deliveries (contact_point, event_id, alert_id, transition, project, rule, severity, "
                "status, attempts, published, outcome, document) VALUES ('hook', :id, 'alt_1', 'firing', 'default', "
                "'r', 'low', 'waiting', 3, :at, '', :document)"
            ),
            {"id": event.id, "at": AT, "document": dump_event(event)},
        )
    await engine.dispose()
    async with Database(place) as database:
        (left,) = database.unfinished("hook")
        assert (left.event, left.attempts) == (event, 3)
        async with database.connection() as connection:
            assert await connection.run_sync(differences) == []


async def test_an_upgrade_that_breaks_off_leaves_the_tables_as_they_were(place: StorageConfig) -> None:
    prepare_directory(place)
    engine = engine_of(place)

    class PulledError(Exception):
        pass

    async def broken_off() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(schema.upgrade)
            raise PulledError

    try:
        async with engine.begin() as connection:
            await connection.run_sync(schema.upgrade, "0001")
        with pytest.raises(PulledError):
            await broken_off()
        async with engine.connect() as connection:
            assert await connection.run_sync(schema.revision_of) == "0001"
        await schema.migrate(engine)
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()


async def test_a_database_of_a_newer_version_is_not_touched(place: StorageConfig) -> None:
    async with Database(place) as database:
        await database._transaction(
            lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        )
    with pytest.raises(ConfigError, match="of revision '9999', and this version knows up to"):
        async with Database(place):
            pass


@pytest.mark.peer
@pytest.mark.parametrize("mistake", ["password", "database"])
async def test_what_only_the_operator_can_mend_ends_the_start_without_showing_the_password(
    cluster: Cluster, tmp_path: Path, mistake: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = cluster.url("postgres", "wr0ng-secret") if mistake == "password" else cluster.url("no_such_database")
    config = StorageConfig(directory=tmp_path, url=SecretStr(url))
    with pytest.raises(
        ConfigError, match=r"storage.url: the database can't be used \(\w+ \((28P01|3D000)\)\)"
    ) as raised:
        async with Database(config):
            pass
    shown = str(raised.value) + caplog.text + repr(config) + repr(Database(config))
    assert "wr0ng-secret" not in shown
    assert PASSWORD not in shown


@pytest.mark.peer
async def test_the_password_is_nowhere_while_the_database_is_down(
    cluster: Cluster, on_postgresql: StorageConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with Database(on_postgresql) as database:
        await asyncio.to_thread(cluster.stop)
        try:
            database.record(event_of(1))
            async with asyncio.timeout(20):
                while database.degraded is None:  # noqa: ASYNC110  # nothing tells of it but this
                    await asyncio.sleep(0.01)
            shown = database.degraded + caplog.text + "".join(str(record.__dict__) for record in caplog.records)
            assert PASSWORD not in shown
        finally:
            await asyncio.to_thread(cluster.start)
        await database.settled()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hidden@h/x",
        "postgresql://u:hidden@h:port/x",
        "postgresql://u:hidden@h",
        "http://u:hidden@[::1/x",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        StorageConfig.model_validate({"url": url})
    assert "postgresql://user:password@host:5432/name" in str(raised.value)
    assert "hidden" not in str(raised.value)
