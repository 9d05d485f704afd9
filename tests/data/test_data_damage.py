"""Damaged files of every format: read or refused with words, never another error; what is read is lawful."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.data import Dataset, DatasetSpec, TargetKind, Upload, prepare, read
from service.errors import InvalidData, RequestError

Load = Callable[..., Dataset]


def npz() -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, a=np.arange(6, dtype=np.uint8).reshape(2, 3), b=np.array(["x", "y"]))
    return out.getvalue()


def npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(12.0).reshape(3, 4))
    return out.getvalue()


WHOLE = {
    "csv": b'a,b,c\n1,"x y",3.5\n2,z,?\n-4,"q\nr",1e5\n',
    "jsonl": b'{"a":1,"b":"x","c":[1,2]}\n{"a":null,"b":"y","c":[3,4]}\n',
    "json": b'[{"a":1,"b":true},{"a":2.5,"b":false}]',
    "npy": npy(),
    "npz": npz(),
    "idx": b"\0\0\x08\3\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh",
    "text": "héllo\nworld\n".encode(),
}
PIECES = [b"NaN", b"inf", b"1_0", b"1e999", b'"', b"\xef\xbb\xbf", b"null", b"[[", b"{}", b"\xed\xa0\x80", b"9" * 400]
EDIT = st.tuples(
    st.integers(0, 400), st.integers(0, 6), st.one_of(st.binary(max_size=4), st.sampled_from(PIECES))
)  # at this place so many bytes are replaced by these
KINDS: tuple[TargetKind, ...] = ("class", "number", "binary")


def damaged(whole: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, gone, new in edits:
        at = at % (len(whole) + 1)
        whole = whole[:at] + new + whole[at + gone :]
    return whole


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(WHOLE)), st.lists(EDIT, max_size=4), st.booleans(), st.booleans())
def test_a_damaged_file_is_read_or_refused(
    name: str, edits: list[tuple[int, int, bytes]], pack: bool, tell: bool
) -> None:
    data = damaged(WHOLE[name], edits)
    with tempfile.TemporaryDirectory() as folder:
        upload, parsed = Path(folder) / "upload", Path(folder) / "parsed"
        upload.write_bytes(gzip.compress(data) if pack else data)
        refused = refusal(upload, parsed, name if tell else None)
        if refused is not None:
            assert len(refused) < 500
            assert not parsed.exists()
            return
        found = Dataset.open(parsed)
        json.dumps(found.preview(5), allow_nan=False)
        for kind in KINDS:
            check_law(found, kind)


def refusal(upload: Path, parsed: Path, format: str | None) -> str | None:
    try:
        read([Upload("upload", upload)], parsed, format)
    except RequestError as error:
        return error.message
    return None


def check_law(data: Dataset, kind: TargetKind) -> None:
    try:
        found = prepare(data, DatasetSpec.model_validate({"id": "ds_1", "validation": 0.3}), kind)
    except RequestError:
        return
    for part in (found.train, found.validation):
        if part is not None:
            assert found.table.rows(data.take(part.rows)).tobytes() == part.x.tobytes()


def test_values_beyond_float64_in_a_list_are_null_in_a_preview_and_cannot_be_learned_from(load: Load) -> None:
    data = load(a__jsonl='{"a":[1,2],"label":0}\n{"a":[3,1e999],"label":1}\n')
    assert data.preview()[1]["a"] == [3.0, None]
    for fields in ({}, {"target": "a", "features": ["label"]}):
        with pytest.raises(RequestError, match="not finite"):
            prepare(data, DatasetSpec.model_validate({"id": "ds_1", **fields}), "number")


def test_a_column_must_have_a_name_that_can_be_typed(load: Load) -> None:
    for name in ("", "c" * 300):
        with pytest.raises(InvalidData, match="the name of a column"):
            load(a__jsonl=json.dumps({name: 1}))
    with pytest.raises(InvalidData, match="the name of a column"):
        load(a__csv="a," + "c" * 300 + "\n1,2\n")
