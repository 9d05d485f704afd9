"""Runs are found by their specs, series count their rewrites, and MLflow's experiments are kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from service.storage import params

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("tags", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_experiments"),
    )
    op.create_table(
        "run_params",
        sa.Column("run_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("number", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["run_key"], ["runs.key"], name="fk_run_params_run_key", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_key", "name", name="pk_run_params"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_params_name_number", "run_params", ["name", "number"])
    op.create_index("ix_run_params_name_text", "run_params", ["name", "text"])
    with op.batch_alter_table("series") as series:
        series.add_column(sa.Column("rewrites", sa.Integer(), server_default="0", nullable=False))
    for end in ("last", "max", "min"):
        op.drop_index(f"ix_series_name_{end}", "series")
        op.create_index(f"ix_series_name_{end}_run_key", "series", ["name", end, "run_key"])
    connection = op.get_bind()
    runs = sa.table("runs", sa.column("key", sa.Integer), sa.column("spec", sa.JSON))
    for key, spec in connection.execute(sa.select(runs.c.key, runs.c.spec)).all():
        params.index(connection, key, spec)


def downgrade() -> None:
    for end in ("last", "max", "min"):
        op.drop_index(f"ix_series_name_{end}_run_key", "series")
        op.create_index(f"ix_series_name_{end}", "series", ["name", end])
    with op.batch_alter_table("series") as series:
        series.drop_column("rewrites")
    op.drop_table("run_params")
    op.drop_table("experiments")
