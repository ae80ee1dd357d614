"""Convolutions that oneDNN computes badly on a CPU, exchanged for others of the same weights and answers.

Depthwise ones train faster in fp32 than in bf16: there its backward pass is fast for kernels of 3 with stride 1 only.
Forward and backward of a batch of 32 on two cores with avx512_bf16, in milliseconds, bf16 and fp32: 3x3 with stride 2
on ``[96, 112, 112]`` 439 and 234; 5x5 on ``[240, 28, 28]`` 207 and 73. A training step of EfficientNet-Lite0 takes two
thirds of the time.

Those of a single pixel that skip pixels write where they may not in their backward pass. On x86 CPUs, with channels
last in memory and fewer than 16 of them at the input, it computes with 16: what lies behind is overwritten, and the
process ends in glibc's arms (torch 2.14.1, timm's ``gernet_s``), or goes on with it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  (the name everybody uses)
from torch import Tensor, nn

FAST_KERNEL = 3
ENOUGH_CHANNELS = 16


def speed_up_depthwise(model: nn.Module) -> None:
    """Let the slow depthwise convolutions of a model compute in fp32 under autocast. Its weights stay as they are."""
    _mix_in(InFp32, _is_slow, model)


def avoid_strided_pointwise(model: nn.Module) -> None:
    """Let those of a single pixel take the pixels that they keep, and skip none. Weights and answers stay."""
    _mix_in(Skipping, _is_affected, model)


def _mix_in(mixin: type[nn.Module], is_meant: Callable[[nn.Conv2d], bool], model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and is_meant(module):
            # The class is exchanged, not the method, so that copies of the model are like it.
            kind = type(module)
            module.__class__ = type(f"{mixin.__name__}{kind.__name__}", (mixin, kind), {})


def _is_slow(convolution: nn.Conv2d) -> bool:
    depthwise = 1 < convolution.groups == convolution.in_channels
    return depthwise and (max(convolution.kernel_size) > FAST_KERNEL or max(convolution.stride) > 1)


class InFp32(nn.Module):
    """What a convolution is mixed with so that it computes in fp32, whatever the precision of its input."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Convolve ``[N, C, H, W]``; the result is of the input's dtype."""
        with torch.autocast(pixels.device.type, enabled=False):
            result: Tensor = super().forward(pixels.float())
        return result.to(pixels.dtype)


def _is_affected(convolution: nn.Conv2d) -> bool:
    pointwise = max(convolution.kernel_size) == 1 and convolution.padding in {(0, 0), "valid", "same"}
    return pointwise and max(convolution.stride) > 1 and convolution.in_channels < ENOUGH_CHANNELS


class Skipping(nn.Conv2d):
    """What a convolution is mixed with so that it skips pixels before it computes."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Convolve ``[N, C, H, W]``."""
        rows, columns = self.stride
        return F.conv2d(pixels[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)
