"""MLflow's tracking API over our runs: its unchanged clients search and read every run, and log into external ones."""

from fastapi import APIRouter

from service.api.mlflow import experiments, logs, runs
from service.api.mlflow.shapes import PREFIX

router = APIRouter(prefix=PREFIX, include_in_schema=False)
for part in (experiments, runs, logs):
    router.include_router(part.router)
