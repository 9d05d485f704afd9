"""Convolutions over one, two and three axes of space."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from service.engine.contract import Initial, LayerPlan, LayerSpec, Layout, Parameter, Shape, Site, Step, Unfit, Units
from service.engine.layers.activations import ActivationField, Relu
from service.engine.layers.batch_norm import BatchNorm
from service.engine.layers.conv_norm import bind_folded, bind_normed, normed_memory
from service.engine.layers.conv_stage import Stage, bind_stage
from service.engine.layers.max_pool import MaxPool
from service.engine.layers.window import AROUND, Extents1, Extents2, Extents3, Padding, Window, space_first, window

WIDE = 4  # channels up to which an input is taken as it comes: images, which nobody lays out for us


class Conv(LayerSpec):
    """What convolutions of every rank share; each says its own `kernel_size`, `strides` and `dilation`."""

    kind: str = ""
    filters: Units = Field(description="Number of output channels.")
    padding: Padding = Field(default="valid", description=AROUND)
    groups: Units = Field(default=1, description="Channels and filters in so many separate parts; all: depthwise.")
    activation: ActivationField | None = Field(default=None, description="What follows; nothing means linear.")
    bias: bool = Field(default=True, description="Whether b is added.")
    initial: Initial | None = Field(default=None, description="Start of W; by default he before relu, else glorot.")

    def parts(self) -> tuple[LayerSpec, ...]:
        return (self,) if self.activation is None else (self, self.activation)

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """(kernel size, strides, dilation)"""
        raise NotImplementedError

    def window(self, shape: Shape) -> Window:
        kernel, strides, dilation = self.extents
        return window(shape, kernel, strides, dilation, self.padding, "kernel_size")

    def plan(self, shape: Shape) -> LayerPlan:
        w = self.window(shape)
        channels, holes = shape.dims[-1], int(np.prod(w.kernel))
        self._check(channels)
        each, rank = channels // self.groups, len(w.kernel)
        fans = (holes * each, holes * self.filters // self.groups)
        axes = (rank + 1, rank, *range(rank))
        weight = Parameter("weight", (*w.kernel, each, self.filters), fans, self.initial, axes=axes)
        parameters = (weight, Parameter("bias", (self.filters,))) if self.bias else (weight,)
        keeps_time = shape.timed and self.padding != "valid" and w.out == w.size and max(w.strides) == 1
        out = Shape((*w.out, self.filters), timed=keeps_time)
        warnings = ("the output of shorter rows includes their padding",) if shape.timed and not keeps_time else ()
        return LayerPlan(out, parameters, 2 * out.size * holes * each, warnings=warnings)

    def _check(self, channels: int) -> None:
        for name, n in (("channels of the input", channels), ("filters", self.filters)):
            if n % self.groups:
                raise Unfit(f"{n} {name} cannot be divided into {self.groups} groups", "/groups")

    def layout(self, shape: Shape, rows: int) -> Layout:
        return space_first(len(shape.dims) - 1) if shape.dims[-1] > WIDE else "rows"

    def stage(self, shape: Shape) -> Stage:
        return Stage(self.window(shape), shape.dims[-1], self.filters, self.groups)

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        return self.stage(shape).memory(rows, backward)

    def bind(self, site: Site) -> tuple[Step, Step]:
        return bind_stage(self.stage(site.shape), site)

    def fuse(self, following: LayerSpec, shape: Shape) -> LayerSpec | None:
        return FusedConv(conv=self).fuse(following, shape)


class Conv1d(Conv):
    """y[t, f] = activation(b[f] + sum over k, c of x[t stride + k dilation, c] W[k, c, f]). LeCun et al. 1989.

    x: (batch, time, channels), W: (kernel_size, channels / groups, filters), y: (batch, positions, filters). PyTorch's
    Conv1d keeps channels before time and W as (filters, channels / groups, kernel_size).
    """

    kind: Literal["conv1d"] = "conv1d"
    kernel_size: Extents1 = Field(description="Length of the window.")
    strides: Extents1 = Field(default=(1,), description="Steps from one position to the next.")
    dilation: Extents1 = Field(default=(1,), description="Steps between the window's inputs.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return self.kernel_size, self.strides, self.dilation


class Conv2d(Conv):
    """y[i, j, f] = activation(b[f] + sum over k, l, c of x[i s + k d, j s + l d, c] W[k, l, c, f]).

    s: strides, d: dilation. x: (batch, height, width, channels), W: (*kernel_size, channels / groups, filters).
    LeCun et al. 1989. PyTorch's Conv2d keeps channels before space and W as (filters, channels / groups,
    *kernel_size).
    """

    kind: Literal["conv2d"] = "conv2d"
    kernel_size: Extents2 = Field(description="Height and width of the window, or one number for both.")
    strides: Extents2 = Field(default=(1, 1), description="Steps from one position to the next.")
    dilation: Extents2 = Field(default=(1, 1), description="Steps between the window's inputs.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return self.kernel_size, self.strides, self.dilation


class Conv3d(Conv):
    """y = activation(b + x * W) as conv2d, with one more axis in front: videos and volumes. Ji et al. 2010.

    x: (batch, depth, height, width, channels), W: (*kernel_size, channels / groups, filters). PyTorch's Conv3d keeps
    channels before space and W as (filters, channels / groups, *kernel_size).
    """

    kind: Literal["conv3d"] = "conv3d"
    kernel_size: Extents3 = Field(description="Depth, height and width of the window, or one number for all.")
    strides: Extents3 = Field(default=(1, 1, 1), description="Steps from one position to the next.")
    dilation: Extents3 = Field(default=(1, 1, 1), description="Steps between the window's inputs.")

    @property
    def extents(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return self.kernel_size, self.strides, self.dilation


class FusedConv(LayerSpec):
    """A convolution with what follows it: batch norm, then ReLU and a max pool in either order, for they commute."""

    conv: Conv
    norm: BatchNorm | None = None
    relu: bool = False
    pool: MaxPool | None = None

    def plan(self, shape: Shape) -> LayerPlan:
        plan = self.conv.plan(shape)
        return plan if self.pool is None else replace(plan, shape=self.pool.plan(plan.shape).shape)

    def layout(self, shape: Shape, rows: int) -> Layout:
        return self.conv.layout(shape, rows)

    def fuse(self, following: LayerSpec, shape: Shape) -> LayerSpec | None:
        first = not self.relu and self.pool is None
        if isinstance(following, BatchNorm) and first and self.norm is None and not shape.timed:
            return self.model_copy(update={"norm": following})
        if isinstance(following, Relu) and not self.relu:
            return self.model_copy(update={"relu": True})
        if isinstance(following, MaxPool) and self.pool is None and self._can_take(following):
            return self.model_copy(update={"pool": following})
        return None

    def _can_take(self, pool: MaxPool) -> bool:
        """Disjoint windows; and not those that would keep a 3 x 3 kernel from Winograd's tiles."""
        kernel, strides, dilation = self.conv.extents
        tiled = kernel == (3, 3) and strides == dilation == (1, 1)
        return pool.disjoint and (not tiled or pool.extents[0] == (2, 2))

    def stage(self, shape: Shape) -> Stage:
        pool = None if self.pool is None else self.pool.extents[0]
        return replace(self.conv.stage(shape), relu=self.relu, pool=pool)

    def memory(self, shape: Shape, plan: LayerPlan, rows: int, backward: bool) -> int:
        stage = self.stage(shape)
        return normed_memory(stage, rows) if self.norm is not None and backward else stage.memory(rows, backward)

    def bind(self, site: Site) -> tuple[Step, Step]:
        stage = self.stage(site.shape)
        if self.norm is None:
            return bind_stage(stage, site)
        return (bind_normed if site.training else bind_folded)(stage, self.norm, site)
