"""What stands behind the layers that are listed."""

from __future__ import annotations

from service.specs.artifact import NetworkModel


def finish_of(model: NetworkModel) -> str | None:
    """The kind of the activation that the loss implies; None when the last layer is one, or learns nothing."""
    layers = model.network.layers
    linear = getattr(layers[-1], "activation", None) is None
    trained = any(name.startswith(f"{len(layers) - 1}.") for name in model.weights)
    return model.loss.finish if linear and trained else None
