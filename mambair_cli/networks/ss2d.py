"""The vision state-space module: projection, depth-wise convolution, four-direction scan, gate."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from mambair_cli.networks.selective_scan import SelectiveScan


class SS2D(SelectiveScan):
    """Vision state-space module of the paper (section 3.4, equation 7; section 3.5).

    Args:
        d_model: Channels `c` of the feature map.
        d_state: State size `n`.
        expand: Inner channels `d` over `c`.
    """

    def __init__(self, d_model: int, d_state: int, expand: float) -> None:
        d = int(expand * d_model)
        super().__init__(d, d_state, rank=math.ceil(d_model / 16), directions=4)
        self.in_proj = nn.Linear(d_model, 2 * d, bias=False)
        self.conv2d = nn.Conv2d(d, d, 3, padding=1, groups=d)
        self.out_norm = nn.LayerNorm(d)
        self.out_proj = nn.Linear(d, d_model, bias=False)
        if not self.A_logs.is_meta:
            for linear in (self.in_proj, self.out_proj):
                nn.init.trunc_normal_(linear.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        into_scan, into_gate = self.in_proj.weight.chunk(2)
        # Here a network needs most memory: no intermediate result outlives its last reader.
        y = self._scanned(self.ops.depthwise(functional.linear(x, into_scan), self.conv2d, "silu"))
        z = functional.linear(x, into_gate)
        return cast(Tensor, self.out_proj(self.ops.norm_gate(y, z, self.out_norm)))

    def _scanned(self, u: Tensor) -> Tensor:
        return self.run(u, self.project(u))
