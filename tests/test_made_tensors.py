"""Nothing that other libraries set for the whole process decides what a tensor is."""

from __future__ import annotations

import ast
from pathlib import Path

import mambair_cli

PACKAGE = Path(mambair_cli.__file__).parent
# What PyTorch makes by the defaults of the process where nothing is said.
MAKERS = {
    *("arange", "empty", "empty_strided", "eye", "full", "linspace", "logspace", "ones"),
    *("rand", "randint", "randn", "randperm", "scalar_tensor", "tensor", "zeros"),
}
# Of whole numbers, which are int64 whatever the default is.
WHOLE = {"arange", "randint", "randperm"}


def says_enough(call: ast.Call) -> bool:
    """Whether a call names type and device, or takes them with `**`."""
    said = {keyword.arg for keyword in call.keywords}
    needed = {"device"} if call.func.attr in WHOLE else {"device", "dtype"}
    return None in said or needed <= said


def is_made_by(call: ast.AST) -> bool:
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "torch"
        and call.func.attr in MAKERS
    )


def parameters_of(tree: ast.AST) -> set[ast.AST]:
    """All that stands inside `nn.Parameter(...)` and `register_buffer(...)`.

    Whoever builds a network says where, and loading replaces what is in it.
    """
    names = {"Parameter", "register_buffer"}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    made = (call for call in calls if getattr(call.func, "attr", "") in names)
    return {inner for call in made for inner in ast.walk(call)}


def test_type_and_device_are_named_wherever_a_tensor_is_made():
    silent = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        own = parameters_of(tree)
        silent += [
            f"{path.relative_to(PACKAGE)}:{node.lineno}"
            for node in ast.walk(tree)
            if is_made_by(node) and node not in own and not says_enough(node)
        ]
    assert silent == []
