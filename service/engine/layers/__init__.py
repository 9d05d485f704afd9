"""Every layer there is, one file each; a new one is its file and its line here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.engine.layers.activations import (
    ACTIVATIONS,
    ActivationField,
    AnyActivation,
    Elu,
    LeakyRelu,
    Relu,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from service.engine.layers.average_pool import AveragePool1d, AveragePool2d, AveragePool3d
from service.engine.layers.batch_norm import BatchNorm
from service.engine.layers.bidirectional import Bidirectional
from service.engine.layers.conv import Conv1d, Conv2d, Conv3d
from service.engine.layers.dense import Dense
from service.engine.layers.dropout import Dropout
from service.engine.layers.embedding import Embedding
from service.engine.layers.flatten import Flatten, Reshape
from service.engine.layers.gelu import Gelu
from service.engine.layers.global_pool import GlobalAveragePool, GlobalMaxPool
from service.engine.layers.gru import Gru
from service.engine.layers.layer_norm import LayerNorm
from service.engine.layers.lstm import Lstm
from service.engine.layers.max_pool import MaxPool1d, MaxPool2d, MaxPool3d
from service.engine.layers.residual import Residual
from service.engine.layers.simple_rnn import SimpleRnn
from service.engine.layers.softmax import LogSoftmax, Softmax
from service.engine.layers.swiglu import Swiglu

Layer = Annotated[
    Dense
    | Conv1d
    | Conv2d
    | Conv3d
    | MaxPool1d
    | MaxPool2d
    | MaxPool3d
    | AveragePool1d
    | AveragePool2d
    | AveragePool3d
    | GlobalMaxPool
    | GlobalAveragePool
    | Embedding
    | SimpleRnn
    | Lstm
    | Gru
    | Bidirectional
    | BatchNorm
    | LayerNorm
    | Dropout
    | Flatten
    | Reshape
    | Residual
    | Sigmoid
    | Tanh
    | Relu
    | LeakyRelu
    | Gelu
    | Silu
    | Elu
    | Softplus
    | Softmax
    | LogSoftmax
    | Swiglu,
    Field(discriminator="kind"),
]

Residual.model_rebuild(_types_namespace={"Layer": Layer})

__all__ = ["ACTIVATIONS", "ActivationField", "AnyActivation", "Layer", "LogSoftmax", "Sigmoid", "Softmax"]
