"""Failures in MLflow's words, which its clients turn into their exceptions."""

from __future__ import annotations

from collections.abc import Mapping

PREFIXES = ("/api/2.0/mlflow", "/api/3.0/mlflow", "/ajax-api/")
_CODES: Mapping[str, str] = {
    "not_found": "RESOURCE_DOES_NOT_EXIST", "conflict": "INVALID_STATE", "already_exists": "RESOURCE_ALREADY_EXISTS",
    "nothing_there": "ENDPOINT_NOT_FOUND", "method_not_allowed": "ENDPOINT_NOT_FOUND",
    "queue_full": "RESOURCE_EXHAUSTED", "draining": "TEMPORARILY_UNAVAILABLE",
    "storage_busy": "TEMPORARILY_UNAVAILABLE", "storage_full": "RESOURCE_EXHAUSTED", "internal": "INTERNAL_ERROR",
    "unauthorized": "UNAUTHENTICATED", "forbidden": "PERMISSION_DENIED",
}  # fmt: skip


def code_of(code: str) -> str:
    """MLflow's for one of ours; whatever the caller can mend is an invalid value."""
    return _CODES.get(code, "INVALID_PARAMETER_VALUE")
