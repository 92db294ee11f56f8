"""The parameters of the selective scan, and the scan of what they project."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mambair_cli.kernels.block.ops import PLAIN, Ops
from mambair_cli.kernels.parameters import made_once
from mambair_cli.kernels.scan import dispatch


class SelectiveScan(nn.Module):
    """Selective scan of an image or a sequence, with steps, B and C projected from its input.

    Args:
        d_inner: Channels `d` that are scanned.
        d_state: State size `n`.
        rank: Rank `r` of the step projection.
        directions: Scan directions `k`: 4, or 1 for a sequence.
    """

    def __init__(self, d_inner: int, d_state: int, rank: int, directions: int) -> None:
        super().__init__()
        self.d_inner, self.d_state, self.rank = d_inner, d_state, rank
        k, d, n, r = directions, d_inner, d_state, rank
        self.x_proj_weight = nn.Parameter(torch.empty(k, r + 2 * n, d))
        self.dt_projs_weight = nn.Parameter(torch.empty(k, d, r))
        self.dt_projs_bias = nn.Parameter(torch.empty(k, d))
        self.A_logs = nn.Parameter(torch.empty(k * d, n))
        self.Ds = nn.Parameter(torch.empty(k * d))
        self.scan = dispatch.REFERENCE
        self.ops: Ops = PLAIN
        # On the meta device there is nothing to fill, and trying loads PyTorch's compiler: seconds.
        if not self.A_logs.is_meta:
            self._reset()

    def _reset(self) -> None:
        """Initialise as Mamba does: steps log-uniform in [0.001, 0.1], `A = -(1..n)`, `D = 1`."""
        bound = self.d_inner**-0.5
        nn.init.uniform_(self.x_proj_weight, -bound, bound)
        nn.init.uniform_(self.dt_projs_weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            step = torch.exp(
                torch.empty_like(self.dt_projs_bias).uniform_(math.log(0.001), math.log(0.1))
            )
            self.dt_projs_bias.copy_(step + torch.log(-torch.expm1(-step)))
            states = torch.arange(1, self.d_state + 1, device=self.A_logs.device).to(self.A_logs)
            self.A_logs.copy_(torch.log(states).expand_as(self.A_logs))
        nn.init.ones_(self.Ds)

    def project(self, u: Tensor) -> Tensor:
        """Map `(b h w d)` to the step inputs, B and C of each pixel, `(b h w k*(r+2n))`."""
        return self.ops.project(u, self.x_proj_weight.flatten(0, 1))

    def run(self, u: Tensor, projected: Tensor) -> Tensor:
        """Scan `(b h w d)`; see `dispatch.selective_scan_2d` for the result."""
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
