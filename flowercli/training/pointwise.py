"""Convolutions of a single pixel that skip pixels: oneDNN writes where it may not in their backward pass.

On x86 CPUs, with channels last in memory and fewer than 16 of them at the input, it computes with 16: what lies
behind is overwritten, and the process ends in glibc's arms (torch 2.14.1, timm's ``gernet_s``), or goes on with it.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812  (the name everybody uses)
from torch import Tensor, nn

ENOUGH_CHANNELS = 16


def avoid_strided_pointwise(model: nn.Module) -> None:
    """Let such convolutions take the pixels that they keep, and skip none. Weights and answers stay as they are."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and _is_affected(module):
            # The class is exchanged, not the method, so that copies of the model are safe too.
            kind = type(module)
            module.__class__ = type(f"Skipping{kind.__name__}", (Skipping, kind), {})


def _is_affected(convolution: nn.Conv2d) -> bool:
    pointwise = max(convolution.kernel_size) == 1 and convolution.padding in {(0, 0), "valid", "same"}
    return pointwise and max(convolution.stride) > 1 and convolution.in_channels < ENOUGH_CHANNELS


class Skipping(nn.Conv2d):
    """What a convolution is mixed with so that it skips pixels before it computes."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Convolve ``[N, C, H, W]``."""
        rows, columns = self.stride
        return F.conv2d(pixels[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)
