"""A trained network as one Python file that needs NumPy only."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from service import tensors
from service.exchange.finish import finish_of
from service.specs import artifact
from service.specs.artifact import NetworkModel

_PROGRAM = Path(__file__).with_name("predictor.py")
_EMPTY = 'MODEL = ""'


def to_python(model: NetworkModel) -> bytes:
    """`predictor.py` with the model in it: `python FILE rows.json`, or `from FILE import predict`."""
    arrays, metadata = artifact.pack(model)
    told = json.loads(metadata["model"]) | {"finish": finish_of(model)}
    packed = b"".join(tensors.pieces(arrays, {"model": json.dumps(told)}))
    program = _PROGRAM.read_text(encoding="utf-8")
    assert program.count(_EMPTY) == 1
    return program.replace(_EMPTY, f'MODEL = "{base64.b85encode(packed).decode()}"').encode()
