"""The schema: made at once or step by step it is the same, and a store of another time is brought along or refused."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command, config
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.schema import CreateIndex, CreateTable

from service import storage
from service.errors import InvalidSpec, ServiceError
from service.storage import Store, migrate
from service.storage.tables import metadata


def settings() -> config.Config:
    made = config.Config()
    made.set_main_option("script_location", str(migrate.FOLDER))
    return made


def migrated(path: Path) -> None:
    """A store made by the migrations alone."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        made = settings()
        made.attributes["connection"] = connection
        command.upgrade(made, "head")
    engine.dispose()


def schema(path: Path) -> dict[str, list[str]]:
    """What SQLite itself says of every table and index, but for spelling and the order of constraints."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    words = {name: re.sub(r"[\s\"]+", "", sql).lower() for name, sql in rows}
    return {name: sorted(re.split(r",(?=constraint)|\)(?=without|$)", sql)) for name, sql in words.items()}


def test_the_code_knows_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(settings()).get_current_head() == migrate.HEAD


def test_the_migrations_lead_to_the_tables_of_the_code(tmp_path: Path) -> None:
    migrated(tmp_path / "m.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'm.db'}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
    engine.dispose()


@pytest.mark.sqlite
def test_a_store_made_at_once_is_the_one_made_by_the_migrations(store: Store, tmp_path: Path) -> None:
    migrated(tmp_path / "m.db")
    assert schema(store.data_dir / "store.db") == schema(tmp_path / "m.db")


def test_a_store_without_a_revision_row_is_brought_to_the_newest(tmp_path: Path) -> None:
    """An upgrade for real, from nothing: what a store of an earlier time goes through."""
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.close()
    store = storage.open(f"sqlite:///{path}", tmp_path)
    assert store.jobs.submit(type="train", spec={}).status == "queued"
    store.close()


@pytest.mark.sqlite
def test_a_store_of_a_newer_version_is_refused_and_not_touched(store: Store, folder: Path) -> None:
    store.close()
    connection = sqlite3.connect(folder / "store.db", isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ServiceError, match="newer version"):
        storage.open(f"sqlite:///{folder / 'store.db'}", folder)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


@pytest.mark.sqlite
def test_a_migration_that_ends_half_way_leaves_the_store_as_it_was(store: Store, folder: Path) -> None:
    store.jobs.submit(type="train", spec={})
    before = schema(folder / "store.db")

    def half() -> None:
        with store._database.remake() as connection:
            connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN colour TEXT")
            connection.exec_driver_sql("DROP TABLE runs")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert schema(folder / "store.db") == before
    assert len(store.runs.list().data) == 1
    with store._database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


@pytest.mark.sqlite
def test_opening_a_store_again_changes_nothing(store: Store, folder: Path) -> None:
    store.jobs.submit(type="train", spec={})
    before = schema(folder / "store.db")
    again = storage.open(f"sqlite:///{folder / 'store.db'}", folder)
    assert schema(folder / "store.db") == before
    assert len(again.jobs.list().data) == 1
    again.close()


def test_processes_that_open_a_fresh_store_at_once_do_not_collide(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from service import storage; folder = Path(sys.argv[1]);"
        "store = storage.open(f'sqlite:///{folder}/store.db', folder);"
        "store.jobs.submit(type='train', spec={}); store.close()"
    )
    command_line = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "fresh")]
    processes = [subprocess.Popen(command_line, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(each.communicate()[1], each.returncode) for each in processes] == [("", 0)] * 4
    store = storage.open(f"sqlite:///{tmp_path / 'fresh' / 'store.db'}", tmp_path / "fresh")
    assert len(store.jobs.list().data) == 4
    store.close()


def test_opening_does_not_import_alembic_unless_something_is_to_be_done(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from service import storage; folder = Path(sys.argv[1]);"
        "storage.open(f'sqlite:///{folder}/store.db', folder).close();"
        "assert not {'alembic', 'sqlalchemy.orm'} & set(sys.modules)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_the_tables_can_be_made_on_postgresql() -> None:
    """Only that its compiler takes them all; no server is asked."""
    dialect = PGDialect()  # type: ignore[no-untyped-call]
    made = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    made += [
        str(CreateIndex(index).compile(dialect=dialect))
        for table in metadata.tables.values()
        for index in table.indexes
    ]
    assert all("CREATE" in each for each in made)
    assert sum("BYTEA" in each for each in made) == 2


def test_another_kind_of_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec):
        storage.open("mysql://localhost/x", tmp_path)
