"""The node "Restore with MambaIR": what it asks for, and what it hands to the package mambair."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from comfy_api.latest import ComfyAPISync, ComfyExtension, io

from mambair_cli.errors import MambairError

if TYPE_CHECKING:
    from torch import Tensor

LOG = logging.getLogger("mambair")
TASKS = {
    "fix": "look what each image has, and do what helps, at its size",
    "sr": "enlarge a clean image",
    "realsr": "enlarge a photograph four times",
    "denoise": "remove noise",
    "denoise-real": "remove the noise of a camera",
    "dejpeg": "remove the blocks of JPEG",
}
BEST = "best"
SCALES = ["2", "3", "4"]
# Of the GPU's memory, that other models are to leave: tiles are planned from what is free.
MEMORY = 3 * 2**30


class RestoreWithMambaIR(io.ComfyNode):
    """Restores images: super-resolution, denoising, removal of JPEG artefacts."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Say what the node takes and gives."""
        from mambair_cli.workflow import model_names

        return io.Schema(
            node_id="MambaIRRestore",
            display_name="Restore with MambaIR",
            category="image/upscaling",
            description="Enlarges images, removes noise and the artefacts of JPEG.",
            inputs=[
                io.Image.Input("image"),
                io.Combo.Input(
                    "task",
                    options=list(TASKS),
                    default="sr",
                    tooltip="; ".join(f"{name}: {what}" for name, what in TASKS.items()),
                ),
                io.Combo.Input(
                    "model",
                    options=[BEST, *model_names()],
                    default=BEST,
                    tooltip="best: the one for this task and machine. tiny models are installed, "
                    "others are fetched when they are first used.",
                ),
                io.Combo.Input(
                    "scale",
                    options=SCALES,
                    default="4",
                    tooltip="How many times sr enlarges; other tasks do not look at it.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much of the change is kept.",
                ),
                io.Int.Input(
                    "tile",
                    default=0,
                    min=0,
                    max=8192,
                    step=8,
                    tooltip="Largest side of a tile in pixels; 0 plans tiles from free memory.",
                ),
                io.Boolean.Input(
                    "ensemble",
                    default=False,
                    tooltip="Average eight flips and turns: better, and eight times the work.",
                ),
                io.Float.Input(
                    "sigma",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.5,
                    tooltip="Strength of the noise, of 255; 0 measures it in each image.",
                ),
                io.Int.Input(
                    "quality",
                    default=0,
                    min=0,
                    max=100,
                    step=1,
                    tooltip="JPEG quality of the image; 0 finds it by the blocks.",
                ),
                io.String.Input(
                    "weights",
                    default="",
                    tooltip="Weights of your own in place of a model: a file, a folder, or "
                    "hf://owner/repo[/path].",
                ),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Comes out at the size of the result."
                ),
            ],
            outputs=[io.Image.Output(display_name="image"), io.Mask.Output(display_name="mask")],
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        task: str,
        model: str,
        scale: str,
        strength: float,
        tile: int,
        ensemble: bool,
        sigma: float,
        quality: int,
        weights: str,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Restore a batch of images.

        Raises:
            RuntimeError: It cannot be done; the message says why, and what helps.
        """
        from comfy import model_management

        from mambair_cli.checkpoints.request import Request
        from mambair_cli.restoration.device.compute import Compute
        from mambair_cli.restoration.plan import RestoreOptions
        from mambair_cli.workflow import resize_masks, restore_batch

        device = model_management.get_torch_device()
        report = ComfyAPISync().execution.set_progress

        def progress(done: float, total: int) -> None:
            model_management.throw_exception_if_processing_interrupted()
            report(value=done, max_value=total)

        try:
            request = Request(
                task,
                scale=int(scale) if task == "sr" else None,
                sigma=sigma or None,
                quality=quality or None,
                variant=None if model == BEST else model,
                weights=weights.strip() or None,
            )
            compute = Compute.resolve(str(device))
            options = RestoreOptions(
                tile=tile or "auto",
                ensemble=ensemble,
                precision=compute.precision,
                strength=strength,
            )
            model_management.free_memory(MEMORY, device)
            restored = restore_batch(image, request, options, compute, progress, LOG.info)
            if mask is None:
                mask = restored.new_zeros(1, 1, 1)
            return io.NodeOutput(restored, resize_masks(mask, image, restored))
        except MambairError as error:
            hint = f" ({error.hint})" if error.hint else ""
            raise RuntimeError(f"{error.message}{hint}") from error
        finally:
            model_management.soft_empty_cache()


class MambaIRExtension(ComfyExtension):
    """What this folder adds to ComfyUI."""

    async def on_load(self) -> None:
        """Have "Load Upscale Model" open files of MambaIR too."""
        from mambair_cli.spandrel import install

        try:
            install()
        except MambairError as error:
            LOG.warning("Load Upscale Model does not open MambaIR: %s", error)

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """List the nodes."""
        return [RestoreWithMambaIR]


async def comfy_entrypoint() -> MambaIRExtension:
    """Hand the extension to ComfyUI."""
    return MambaIRExtension()
