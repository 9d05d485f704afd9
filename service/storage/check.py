"""Whether the store is sound: the database's pages and keys, every row that must agree with another, every file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, and_, exists, func, select

from service.storage import references, trials
from service.storage.blobs import Blobs
from service.storage.database import Database
from service.storage.rows import FINAL
from service.storage.tables import aliases, attempts, blocks, jobs, model_versions, runs, series


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    code: str  # database_damaged, row_dangling, rows_disagree, file_missing, file_damaged
    where: str  # a page, a row or a file
    message: str


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was looked at and what was found. Unused files are none of the findings: the server removes them."""

    findings: tuple[Finding, ...]
    runs: int
    files: int
    bytes: int
    unused_files: int
    unused_bytes: int

    @property
    def sound(self) -> bool:
        return not self.findings


def check(database: Database, blobs: Blobs) -> Checkup:
    """Reads everything; beside a running server too, for a file that was let go of meanwhile is not missed."""
    findings = rows(database)
    if any(each.code == "database_damaged" for each in findings):
        return Checkup(findings, 0, 0, 0, 0, 0)
    present = set(blobs.every())  # looked at first: what is put now is not unused
    with database.read() as connection:
        pointers = references.pointers(connection)
        count = connection.execute(select(func.count()).select_from(runs)).scalar_one()
    files = tuple(_broken(database, blobs, pointers))
    unused = present - pointers.keys()
    used_bytes, unused_bytes = (sum(map(blobs.size, each)) for each in (pointers, unused))
    return Checkup(findings + files, count, len(pointers), used_bytes, len(unused), unused_bytes)


def rows(database: Database) -> tuple[Finding, ...]:
    """The same for the database alone."""
    damage = tuple(Finding("database_damaged", "database", each) for each in database.damage())
    if damage:
        return damage
    with database.read() as connection:
        dangling = [Finding("row_dangling", *each) for each in database.dangling(connection)]
        return (*dangling, *_disagreeing(connection))


def _disagreeing(connection: Connection) -> Iterator[Finding]:
    """Rows of which each is well-formed, but not all can be true."""
    for message, query in _RULES.items():
        for (where,) in connection.execute(query):
            yield Finding("rows_disagree", str(where), message)


def _broken(database: Database, blobs: Blobs, pointers: Mapping[str, str]) -> Iterator[Finding]:
    for blob, pointer in pointers.items():
        if blobs.verify(blob):
            continue
        with database.read() as connection:
            if references.without(connection, [blob]):
                continue
        if blobs.path(blob).exists():
            yield Finding("file_damaged", blob, f"its content is not what its name says; {pointer} needs it")
        else:
            yield Finding("file_missing", blob, f"it is not there; {pointer} needs it")


_SEALED = (
    select(func.coalesce(func.sum(blocks.c.n), 0))
    .where(blocks.c.run_key == series.c.run_key, blocks.c.name == series.c.name)
    .scalar_subquery()
)
_LIVE = exists().where(
    attempts.c.run_key == runs.c.key, attempts.c.token == runs.c.token, attempts.c.ended_at.is_(None)
)
_RULES: Mapping[str, Select[tuple[str]]] = {
    "the job has no run": select(jobs.c.id).where(~exists().where(runs.c.job_id == jobs.c.id)),
    "the run and its job are in different states": select(runs.c.id)
    .join(jobs, jobs.c.id == runs.c.job_id)
    .where(runs.c.status != jobs.c.status, jobs.c.type != trials.SEARCH),
    "the search has ended, but one of its runs has not": select(runs.c.id)
    .join(jobs, jobs.c.id == runs.c.job_id)
    .where(jobs.c.status.in_(FINAL), runs.c.status.not_in(FINAL)),
    "the run is said to run, but no attempt is": select(runs.c.id).where(
        runs.c.status == "running", runs.c.type != "external", ~_LIVE
    ),
    "the series' count is not that of its points": select(runs.c.id + "/" + series.c.name)
    .join(series, series.c.run_key == runs.c.key)
    .where(series.c.n != series.c.tail_n + _SEALED),
    "the alias points at a version that is not there": select(aliases.c.name + "@" + aliases.c.alias).where(
        aliases.c.version.is_not(None),
        ~exists().where(and_(model_versions.c.name == aliases.c.name, model_versions.c.version == aliases.c.version)),
    ),
}
