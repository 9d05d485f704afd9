"""What tests of data sets share: a way to upload bytes, and the real data when it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.data import Dataset, Upload, read

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

Load = Callable[..., Dataset]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Uploads files by name and content, and opens the data set."""

    def loaded(format: str | None = None, **files: bytes | str) -> Dataset:
        uploads = []
        for at, (name, content) in enumerate(files.items()):
            path = tmp_path / f"upload-{at}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            uploads.append(Upload(name.replace("__", "."), path))
        parsed = tmp_path / f"parsed-{len(list(tmp_path.iterdir()))}"
        read(uploads, parsed, format)
        return Dataset.open(parsed)

    return loaded


@pytest.fixture
def shared(tmp_path: Path) -> Callable[..., Dataset]:
    """Uploads real files by their names; the test is skipped where they are not."""

    def loaded(*names: str) -> Dataset:
        missing = [name for name in names if not (SHARED / name).exists()]
        if missing:
            pytest.skip(f"the real data is not on this machine: {missing[0]} (looked for ../shared/data)")
        parsed = tmp_path / f"parsed-{names[0]}"
        read([Upload(name, SHARED / name) for name in names], parsed)
        return Dataset.open(parsed)

    return loaded
