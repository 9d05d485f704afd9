"""Runs the migrations on the connection that the store brings, or, from the command line, on the store of the settings.

A new one, after tables.py has changed: `alembic revision --autogenerate --rev-id 0002 -m "what it does"`, and HEAD in
service/storage/migrate.py.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine

from service import config
from service.storage.tables import metadata


def run(connection: Connection) -> None:
    """All in one transaction, which is the caller's: a store killed half-way is as it was before."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = create_engine(config.load().url)
    with engine.begin() as connection:
        run(connection)
    engine.dispose()
