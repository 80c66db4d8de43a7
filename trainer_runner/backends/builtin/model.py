"""The network: a small U-Net that learns the velocity of a flow from noise to images, conditioned on a caption (flow matching)."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from trainer_runner.backends.builtin.text import CaptionEncoder, Vocabulary


class Shape(NamedTuple):
    """What the network is built from; stored with every model file. *side* in pixels, a multiple of 4."""

    side: int = 16
    channels: int = 1
    base: int = 24
    condition: int = 64

    @classmethod
    def from_json(cls, value: "dict[str, Any]") -> "Shape":
        """Raises KeyError, TypeError or ValueError when *value* is no shape."""
        return cls(*(int(value[name]) for name in cls._fields))


class FlowModel(nn.Module):
    """U-Net and caption encoder. At time 0 an image is noise, at time 1 it is data; the output is the velocity between them."""

    def __init__(self, shape: Shape, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.shape = shape
        self.vocabulary = vocabulary
        base, condition = shape.base, shape.condition
        self.captions = CaptionEncoder(len(vocabulary), condition)
        self.time = nn.Sequential(nn.Linear(condition, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.first = nn.Conv2d(shape.channels, base, 3, padding=1)
        self.down_1 = Block(base, base, condition)
        self.shrink_1 = nn.Conv2d(base, 2 * base, 2, stride=2)
        self.down_2 = Block(2 * base, 2 * base, condition)
        self.shrink_2 = nn.Conv2d(2 * base, 2 * base, 2, stride=2)
        self.middle = Block(2 * base, 2 * base, condition)
        self.grow_2 = nn.Conv2d(4 * base, 2 * base, 1)
        self.up_2 = Block(2 * base, 2 * base, condition)
        self.grow_1 = nn.Conv2d(3 * base, base, 1)
        self.up_1 = Block(base, base, condition)
        self.norm = nn.GroupNorm(4, base)
        self.last = nn.Conv2d(base, shape.channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, images: Tensor, times: Tensor, tokens: Tensor) -> Tensor:
        """(batch, channels, side, side), (batch,) in 0 to 1, (batch, length) token ids: the velocity, shaped as the images."""
        return self.velocity(images, times, self.captions(tokens))

    def velocity(self, images: Tensor, times: Tensor, captions: Tensor) -> Tensor:
        """As `forward`, with captions already encoded: (batch, condition)."""
        condition = F.silu(self.time(_waves(times, self.shape.condition)) + captions)
        full = self.down_1(self.first(images), condition)
        half = self.down_2(self.shrink_1(full), condition)
        quarter = self.middle(self.shrink_2(half), condition)
        half = self.up_2(self.grow_2(torch.cat((_doubled(quarter), half), dim=1)), condition)
        full = self.up_1(self.grow_1(torch.cat((_doubled(half), full), dim=1)), condition)
        out: Tensor = self.last(F.silu(self.norm(full)))
        return out


class Block(nn.Module):
    """Two convolutions with a way around them, scaled and shifted by the condition between them."""

    def __init__(self, inside: int, outside: int, condition: int) -> None:
        super().__init__()
        self.norm_1 = nn.GroupNorm(4, inside)
        self.conv_1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.modulate = nn.Linear(condition, 2 * outside)
        self.norm_2 = nn.GroupNorm(4, outside)
        self.conv_2 = nn.Conv2d(outside, outside, 3, padding=1)
        nn.init.zeros_(self.conv_2.weight)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        hidden = self.conv_1(F.silu(self.norm_1(images)))
        scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
        hidden = self.conv_2(F.silu(self.norm_2(hidden) * (1 + scale) + shift))
        out: Tensor = images + hidden
        return out


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _doubled(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2.0, mode="nearest")


def _waves(times: Tensor, width: int) -> Tensor:
    frequencies = torch.exp(torch.arange(width // 2, device=times.device) * (-math.log(1000.0) / (width // 2)))
    angles = times[:, None] * frequencies[None] * 1000.0
    return torch.cat((angles.cos(), angles.sin()), dim=1)
