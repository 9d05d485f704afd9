"""Experiments, as MLflow's clients know them: names that a run's tag `experiment=<name>` puts it under."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select, update

from service.errors import Conflict, Fault, InvalidSpec
from service.storage import moment
from service.storage.conditions import DEFAULT_EXPERIMENT, EXPERIMENT
from service.storage.database import Database
from service.storage.rows import Experiment
from service.storage.tables import experiments, run_tags

_TAG = f"{EXPERIMENT}="


class Experiments:
    """The verbs on experiments. One exists when it was made, or when a run has its tag."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> tuple[Experiment, ...]:
        """All of them by name, the default one first."""
        with self._database.read() as connection:
            made = {row.name: row for row in connection.execute(select(experiments))}
            tagged = select(run_tags.c.tag).where(run_tags.c.tag > _TAG, run_tags.c.tag < f"{EXPERIMENT}>").distinct()
            names = {tag.removeprefix(_TAG) for (tag,) in connection.execute(tagged)} | made.keys()
        found = [DEFAULT_EXPERIMENT, *sorted(names - {DEFAULT_EXPERIMENT})]
        return tuple(
            Experiment(name, made[name].tags, moment.unpack(made[name].created_at))
            if name in made
            else Experiment(name, {}, None)
            for name in found
        )

    def create(self, name: str, tags: Mapping[str, str]) -> None:
        """Raises Conflict when there is one of that name, InvalidSpec for a name that cannot be a tag's value."""
        if not name.strip() or any(ord(sign) < 32 for sign in name):
            words = "an experiment's name is one line of text"
            raise InvalidSpec(words, faults=[Fault("/name", "invalid_name", words)])
        if any(each.name == name for each in self.list()):
            words = f"there is an experiment {name[:100]!r} already"
            raise Conflict(words, faults=[Fault("/name", "already_exists", words)])
        with self._database.write() as connection:
            _make(connection, name, tags)

    def tag(self, name: str, key: str, value: str) -> None:
        """Sets a tag of an experiment."""
        with self._database.write() as connection:
            row = connection.execute(select(experiments).where(experiments.c.name == name)).one_or_none()
            if row is None:
                _make(connection, name, {key: value})
            else:
                changed = update(experiments).where(experiments.c.name == name)
                connection.execute(changed.values(tags={**row.tags, key: value}))


def _make(connection: Connection, name: str, tags: Mapping[str, str]) -> None:
    connection.execute(insert(experiments), {"name": name, "created_at": moment.now(), "tags": dict(tags)})
