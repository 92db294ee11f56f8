"""The vision state-space module: projection, depth-wise convolution, four-direction scan, gate."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambair_cli.kernels.block.ops import PLAIN, Ops
from mambair_cli.kernels.parameters import made_once
from mambair_cli.kernels.scan import dispatch


class SS2D(nn.Module):
    """Vision state-space module of the paper (section 3.4, equation 7; section 3.5).

    Args:
        d_model: Channels `c` of the feature map.
        d_state: State size `n`.
        expand: Inner channels `d` over `c`.
    """

    def __init__(self, d_model: int, d_state: int, expand: float) -> None:
        super().__init__()
        self.d_inner = int(expand * d_model)
        self.d_state = d_state
        self.rank = math.ceil(d_model / 16)
        k, d, n, r = 4, self.d_inner, d_state, self.rank
        self.in_proj = nn.Linear(d_model, 2 * d, bias=False)
        self.conv2d = nn.Conv2d(d, d, 3, padding=1, groups=d)
        self.x_proj_weight = nn.Parameter(torch.empty(k, r + 2 * n, d))
        self.dt_projs_weight = nn.Parameter(torch.empty(k, d, r))
        self.dt_projs_bias = nn.Parameter(torch.empty(k, d))
        self.A_logs = nn.Parameter(torch.empty(k * d, n))
        self.Ds = nn.Parameter(torch.empty(k * d))
        self.out_norm = nn.LayerNorm(d)
        self.out_proj = nn.Linear(d, d_model, bias=False)
        self.scan = dispatch.REFERENCE
        self.ops: Ops = PLAIN
        # On the meta device there is nothing to fill, and trying loads PyTorch's compiler: seconds.
        if not self.A_logs.is_meta:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as Mamba does: steps log-uniform in [0.001, 0.1], `A = -(1..n)`, `D = 1`."""
        for linear in (self.in_proj, self.out_proj):
            nn.init.trunc_normal_(linear.weight, std=0.02)
        bound = self.d_inner**-0.5
        nn.init.uniform_(self.x_proj_weight, -bound, bound)
        nn.init.uniform_(self.dt_projs_weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            step = torch.exp(
                torch.empty_like(self.dt_projs_bias).uniform_(math.log(0.001), math.log(0.1))
            )
            self.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))
            states = torch.arange(1, self.d_state + 1).to(self.A_logs)
            self.A_logs.copy_(torch.log(states).expand_as(self.A_logs))
        nn.init.ones_(self.Ds)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(b h w c)` to `(b h w c)`."""
        into_scan, into_gate = self.in_proj.weight.chunk(2)
        # Here a network needs most memory: no intermediate result outlives its last reader.
        y = self._scanned(self.ops.depthwise(functional.linear(x, into_scan), self.conv2d, "silu"))
        z = functional.linear(x, into_gate)
        return cast(Tensor, self.out_proj(self.ops.norm_gate(y, z, self.out_norm)))

    def _scanned(self, u: Tensor) -> Tensor:
        """Scan `(b h w d)`; see `dispatch.selective_scan_2d` for the result."""
        projected = self.ops.project(u, self.x_proj_weight.flatten(0, 1))
        k, d = self.dt_projs_bias.shape
        return dispatch.selective_scan_2d(
            u,
            projected,
            self.dt_projs_weight,
            self.dt_projs_bias,
            self._state_matrix(),
            self.Ds.view(k, d),
            backend=self.scan,
        )

    def _state_matrix(self) -> Tensor:
        """Return A, `(k d n)`; made once where it is frozen."""
        shape = self.dt_projs_bias.shape
        return made_once(self.A_logs, lambda logs: -torch.exp(logs).view(*shape, -1))
