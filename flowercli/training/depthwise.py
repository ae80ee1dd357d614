"""Depthwise convolutions that oneDNN computes faster in fp32 than in bf16.

In bf16 on a CPU its backward pass is fast for kernels of 3 with stride 1 only. Forward and backward of a batch of
32 on two cores with avx512_bf16, in milliseconds, bf16 and fp32: 3x3 with stride 2 on ``[96, 112, 112]`` 439
and 234; 5x5 on ``[240, 28, 28]`` 207 and 73. A training step of EfficientNet-Lite0 takes two thirds of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FAST_KERNEL = 3


def speed_up_depthwise(model: nn.Module) -> None:
    """Let the slow depthwise convolutions of a model compute in fp32 under autocast. Its weights stay as they are."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and _is_slow(module):
            # The class is exchanged, not the method, so that copies of the model are fast too.
            kind = type(module)
            module.__class__ = type(f"InFp32{kind.__name__}", (InFp32, kind), {})


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
