"""A stand-in for what nodes import of ComfyUI, which no package index has.

It takes what is documented and nothing else. The names and defaults of arguments are those of
docs.comfy.org/custom-nodes/v3_migration and of `comfy_api/latest/_io.py` and `__init__.py`, as they
were in 2026; `tests/integrations/test_comfyui.py` compares them with the real ones where ComfyUI is
on the path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

OF_INPUTS = "id display_name optional tooltip lazy extra_dict raw_link"
OF_WIDGETS = f"{OF_INPUTS} default socketless"
# What each constructor takes, as far as any node here could ask for it.
ARGUMENTS = {
    "Image.Input": OF_INPUTS,
    "Mask.Input": OF_INPUTS,
    "Int.Input": f"{OF_WIDGETS} force_input min max step control_after_generate display_mode",
    "Float.Input": f"{OF_WIDGETS} force_input min max step round display_mode",
    "Boolean.Input": f"{OF_WIDGETS} force_input label_on label_off",
    "String.Input": f"{OF_WIDGETS} force_input multiline placeholder dynamic_prompts",
    "Combo.Input": f"{OF_WIDGETS} options control_after_generate upload image_folder remote",
    "Image.Output": "id display_name tooltip is_output_list",
    "Mask.Output": "id display_name tooltip is_output_list",
    "Schema": (
        "node_id display_name category inputs outputs hidden description is_input_list "
        "is_output_node is_deprecated is_experimental is_api_node not_idempotent enable_expand"
    ),
}
PROGRESS = "value max_value node_id preview_image ignore_size_limit"


class Declared:
    """An input, an output or a schema, with the arguments that it was made with."""

    def __init__(self, kind: str, *positional: object, **named: object) -> None:
        known = ARGUMENTS[kind].split()
        given = dict(zip(known, positional, strict=False)) | named
        unknown = given.keys() - set(known)
        if unknown:
            raise TypeError(f"io.{kind} takes no {', '.join(sorted(unknown))}")
        self.kind = kind
        self.given = given

    def __getattr__(self, name: str) -> Any:
        return self.given.get(name)


def _declaring(kind: str) -> Any:
    return lambda *positional, **named: Declared(kind, *positional, **named)


class NodeOutput:
    """What a node gives: values in the order of the outputs."""

    def __init__(self, *args: Any, ui: Any = None, expand: Any = None) -> None:
        self.args, self.ui, self.expand = args, ui, expand

    @property
    def result(self) -> tuple[Any, ...]:
        return self.args


class ComfyNode:
    """The base class of nodes; only class methods are called."""

    @classmethod
    def define_schema(cls) -> Declared:
        raise NotImplementedError

    @classmethod
    def execute(cls, **_: Any) -> NodeOutput:
        raise NotImplementedError


class ComfyExtension:
    """The base class of what a folder of nodes adds."""

    async def on_load(self) -> None:
        """Does nothing."""

    async def get_node_list(self) -> list[type[ComfyNode]]:
        raise NotImplementedError


class InterruptProcessingException(Exception):  # noqa: N818 - its name there
    """The user pressed Cancel."""


@dataclass
class Host:
    """What a node did to ComfyUI.

    Attributes:
        progress: Value and maximum, each time it was reported.
        cancel_after: Reports after which the user cancels; None for never.
        freed: Bytes that were asked for, and whether the caches were emptied.
    """

    progress: list[tuple[float, float]] = field(default_factory=list)
    cancel_after: int | None = None
    freed: list[object] = field(default_factory=list)

    def modules(self) -> dict[str, ModuleType]:
        """The modules that nodes import, by name."""
        inputs = ("Image", "Mask", "Int", "Float", "Boolean", "String", "Combo")
        types = {
            name: SimpleNamespace(
                **{
                    part: _declaring(f"{name}.{part}")
                    for part in ("Input", "Output")
                    if f"{name}.{part}" in ARGUMENTS
                }
            )
            for name in inputs
        }
        io = SimpleNamespace(
            **types, Schema=_declaring("Schema"), NodeOutput=NodeOutput, ComfyNode=ComfyNode
        )
        host = self

        class ComfyAPISync:
            execution = SimpleNamespace(set_progress=host._set_progress)

        management = {
            "get_torch_device": lambda: torch.device("cpu"),
            "free_memory": lambda memory, device: host.freed.append((memory, device.type)),
            "soft_empty_cache": lambda: host.freed.append("cache"),
            "throw_exception_if_processing_interrupted": self._throw_if_cancelled,
            "InterruptProcessingException": InterruptProcessingException,
        }
        latest = {"io": io, "ComfyExtension": ComfyExtension, "ComfyAPISync": ComfyAPISync}
        return {
            "comfy_api": _module("comfy_api"),
            "comfy_api.latest": _module("comfy_api.latest", **latest),
            "comfy": _module("comfy", model_management=_module("comfy.mm", **management)),
        }

    def _set_progress(
        self,
        value: float,
        max_value: float,
        node_id: str | None = None,
        preview_image: object = None,
        ignore_size_limit: bool = False,
    ) -> None:
        assert (node_id, preview_image, ignore_size_limit) == (None, None, False)
        self.progress.append((value, max_value))

    def _throw_if_cancelled(self) -> None:
        if self.cancel_after is not None and len(self.progress) >= self.cancel_after:
            raise InterruptProcessingException


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    return module
