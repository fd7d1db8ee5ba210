"""Runs revisions on the connection that `tocsin.storage.schema` gives, in its transaction."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,  # our SQLite connections begin transactions themselves, so that DDL rolls back too
    render_as_batch=True,
)
context.run_migrations()
