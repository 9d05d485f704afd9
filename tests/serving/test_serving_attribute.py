"""What features add to an answer: by hand for models that can be checked with a pencil."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from serving_models import opened, points_model, publish

from service.errors import InvalidData, InvalidSpec
from service.serving import Registry, Served, attributed, heat_map

LN3 = float(np.log(3))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with opened(tmp_path) as store:
        yield Registry(store, 0).get(publish(store, points_model(tmp_path, np.eye(2))))


def test_a_step_along_one_axis_is_all_that_axis_doing(served: Served) -> None:
    """softmax(x, y) of (ln 3, 0) is (3/4, 1/4), and (1/2, 1/2) at nothing."""
    (found,) = attributed(served, [[LN3, 0.0]], None)
    assert found.target == "left"
    assert (found.answer, found.baseline) == pytest.approx((0.75, 0.5))
    assert found.features == {"x": pytest.approx(0.25, abs=1e-3), "y": 0.0}


def test_what_speaks_for_one_class_speaks_against_the_other(served: Served) -> None:
    against, predicted = (attributed(served, [[0.3, 1.1]], target)[0] for target in ("left", None))
    assert predicted.target == "right"
    assert [-each for each in against.features.values()] == pytest.approx(list(predicted.features.values()))
    assert sum(predicted.features.values()) == pytest.approx(predicted.answer - predicted.baseline, abs=1e-3)


def test_an_unknown_target_is_told_with_those_there_are(served: Served) -> None:
    with pytest.raises(InvalidSpec) as caught:
        attributed(served, [[1.0, 1.0]], "lefft")
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.allowed, fault.hint) == ("/target", ("left", "right"), "Did you mean 'left'?")
    with pytest.raises(InvalidData):
        attributed(served, [[1.0]], None)


def test_a_heat_map_is_red_where_it_adds_and_blue_where_it_takes_away() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow reads it")
    with image.open(BytesIO(heat_map(np.array([[2.0, -1.0], [0.0, 0.0]])))) as picture:
        assert (picture.size, picture.mode) == ((256, 256), "RGB")
        assert [picture.getpixel(at) for at in ((0, 0), (255, 0), (0, 255))] == [
            (255, 0, 0),
            (128, 128, 255),
            (255, 255, 255),
        ]
    with pytest.raises(InvalidSpec, match="pictures"):
        heat_map(np.zeros(3))
