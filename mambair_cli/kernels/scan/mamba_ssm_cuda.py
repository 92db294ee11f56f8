"""The scan of an image through the official CUDA kernel, `selective_scan_cuda` of mamba-ssm.

The kernel is a compiled extension. Releases of mamba-ssm up to 2.3.2.post1 build it, or fetch a
wheel that fits, whenever they are installed; its main branch does so only where
`MAMBA_KEEP_CUDA_BUILD=TRUE` is set. This installs it either way, where nvcc is (`nvcc --version`)
and torch already is installed:

    MAMBA_KEEP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-cache-dir mamba-ssm

`--no-build-isolation` builds against the installed torch and not against another one,
`--no-cache-dir` keeps pip from taking a wheel that it once built without the kernel.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor

from mambair_cli.kernels.scan.reference import from_sequences, to_sequences

EXTENSION, INTERFACE = "selective_scan_cuda", "mamba_ssm.ops.selective_scan_interface"
INSTALL = "MAMBA_KEEP_CUDA_BUILD=TRUE pip install --no-build-isolation --no-cache-dir mamba-ssm"


def refuses(device: torch.device) -> str | None:
    """Say why the official kernel cannot run on a device; ask first what is cheap to find out.

    Args:
        device: Where the tensors will be; ROCm devices are called `cuda` too.

    Returns:
        The reason, or None when it can run.
    """
    if device.type != "cuda":
        return f"it runs on a CUDA device, not on {device.type}"
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    if find_spec("mamba_ssm") is None:
        return "mamba-ssm is not installed (pip install 'mambair[cuda]')"
    if find_spec(EXTENSION) is None:
        return f"mamba-ssm was installed without its kernel {EXTENSION} (with nvcc: {INSTALL})"
    # The extension first: mamba-ssm itself may hide why it does not load, and takes long to import.
    return _cannot_import(EXTENSION) or _cannot_import(INTERFACE)


def _cannot_import(module: str) -> str | None:
    try:
        import_module(module)
    # A package that meets another version of what it imports may fail in all of these ways.
    except (AttributeError, ImportError, OSError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        return f"{module} cannot be imported: {reason}{_rebuild(reason)}"
    return None


def _rebuild(reason: str) -> str:
    """Say what helps where an extension was built for another torch, CUDA or Python."""
    if not any(sign in reason for sign in ("undefined symbol", ".so")):
        return ""
    return f" (build it for torch {torch.__version__}: {INSTALL} --force-reinstall --no-deps)"


def selective_scan_2d(
    u: Tensor, projected: Tensor, step_weight: Tensor, step_bias: Tensor, A: Tensor, D: Tensor
) -> Tensor:
    """Unfold, scan with the official kernel in float32, fold; see `dispatch.selective_scan_2d`.

    As in the published code the kernel adds the step's bias and applies softplus, and reads B and C
    once for each direction, `(b k n l)`.
    """
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    b, h, w, d = u.shape
    k, _, r = step_weight.shape
    n = A.shape[-1]
    with torch.autocast(u.device.type, enabled=False):
        blocks = projected.float().view(b, h, w, k, -1).unbind(-2)
        inputs = torch.stack(
            [to_sequences(block, k)[:, own] for own, block in enumerate(blocks)], dim=1
        )
        raw, B, C = torch.split(inputs, [r, n, n], dim=2)
        delta = torch.einsum("bkrl,kdr->bkdl", raw, step_weight.float())
        y = selective_scan_fn(
            to_sequences(u.float(), k).flatten(1, 2),
            delta.flatten(1, 2).contiguous(),
            A.float().flatten(0, 1).contiguous(),
            B.contiguous(),
            C.contiguous(),
            D.float().flatten(),
            delta_bias=step_bias.float().flatten(),
            delta_softplus=True,
        )
        return from_sequences(y.view(b, k, d, h * w), h, w)
