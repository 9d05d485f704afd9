"""What stands behind the layers that are listed."""

from __future__ import annotations

from service.specs.artifact import NetworkModel


def finish_of(model: NetworkModel) -> str | None:
    """The kind of the activation that the loss implies; None when the last layer is it."""
    return model.loss.ending(model.network.end)
