"""What is no bundle is refused with a word on where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import InvalidData
from service.exchange import opened


@pytest.mark.parametrize(
    ("begin", "hint"),
    [
        (b'{"class_name": "Sequential"}', "POST /v1/specs/import"),
        (b"PK\x03\x04 a .keras or a .pt", "as ONNX"),
        (b"\x89HDF\r\n an .h5", "as ONNX"),
        (b"\x80\x04\x95 an old .pt", "Pickles are never read"),
    ],
)
def test_a_file_of_another_program_is_told_its_way(tmp_path: Path, begin: bytes, hint: str) -> None:
    (tmp_path / "m").write_bytes(begin.ljust(200))
    with pytest.raises(InvalidData, match="neither a bundle nor ONNX") as caught:
        opened(tmp_path / "m")
    assert hint in str(caught.value.hint)
