"""The rules of who imports whom, and of who prints, exits and connects, read off the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from mambair_cli import errors

PACKAGE = Path(__file__).parents[1] / "mambair_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))
LEVELS = {
    "errors": 0,
    "disk": 1,
    "plain_json": 1,
    "kernels": 2,
    "networks": 3,
    "checkpoints": 4,
    "imaging": 4,
    "pixels": 5,
    "restoration": 6,
    "batches": 7,
    "evaluation": 8,
    "training": 9,
    "api": 10,
    "spandrel": 10,
    "workflow": 10,
    "distributed": 11,
    "__init__": 12,
    "cli": 13,
    "__main__": 14,
}
FORBIDDEN = {("restoration", "checkpoints")}  # it is handed a module and loads nothing
LIGHT = {"__init__", "__main__", "cli", "disk", "errors", "plain_json"}
HEAVY = {"mamba_ssm", "numba", "torch", "triton"}
EXITS = {"exit", "quit", "sys.exit", "os._exit"}
NETWORKING = {"http", "httpx", "httpx2", "huggingface_hub", "requests", "socket", "urllib"}


def layer_of(path: Path) -> str:
    """Name of the layer that a module of the package belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    """What a module says; not to be changed."""
    return ast.parse(path.read_text())


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of every module that a tree imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class Runs(ast.NodeTransformer):
    """Takes out what only type checkers read."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        checking = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if checking else self.generic_visit(node)


class RunsAtImport(Runs):
    """Takes out the bodies of functions too."""

    def visit_FunctionDef(self, _node: ast.FunctionDef) -> None:
        return None


def called(tree: ast.AST) -> Iterator[str]:
    """Source text of everything that a tree calls."""
    return (ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call))


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_layer_is_known():
    assert {layer_of(path) for path in MODULES} <= LEVELS.keys()


def test_imports_go_one_way():
    wrong = []
    for module in MODULES:
        layer = layer_of(module)
        names = imported(tree_of(module))
        targets = {name.split(".")[1] for name in names if name.startswith("mambair_cli.")}
        wrong += [
            f"{name_of(module)} must not import {target}"
            for target in targets - {layer}
            if LEVELS[target] >= LEVELS[layer] or (layer, target) in FORBIDDEN
        ]
    assert not wrong


def test_no_circle_of_modules_imports_itself():
    """Imports inside functions count: a circle of them is one thought in several files."""
    modules = {
        ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)): path
        for path in MODULES
    }
    modules = {name.removesuffix(".__init__"): path for name, path in modules.items()}
    graph = {}
    for name, path in modules.items():
        targets = imported(Runs().visit(ast.parse(path.read_text())))
        graph[name] = {
            target if target in modules else target.rpartition(".")[0] for target in targets
        } & modules.keys()
    TopologicalSorter(graph).prepare()


def test_command_line_imports_nothing_heavy_at_once():
    wrong = []
    for module in MODULES:
        if layer_of(module) in LIGHT:
            names = imported(RunsAtImport().visit(ast.parse(module.read_text())))
            heavy = HEAVY & {name.split(".")[0] for name in names}
            wrong += [f"{name_of(module)} imports {name}" for name in heavy]
    assert not wrong


def test_only_the_command_line_prints_and_only_its_main_exits():
    wrong = []
    for module in MODULES:
        calls = set(called(tree_of(module)))
        allowed = {"print"} if layer_of(module) == "cli" else set()
        if module == PACKAGE / "cli" / "main.py":
            allowed |= EXITS
        wrong += [
            f"{name_of(module)} calls {name}" for name in calls & (EXITS | {"print"}) - allowed
        ]
    assert not wrong


def test_only_the_hub_connects():
    hub = set((PACKAGE / "checkpoints" / "hub").glob("*.py"))
    wrong = [
        f"{name_of(module)} imports {name}"
        for module in MODULES
        for name in imported(tree_of(module))
        if name.split(".")[0] in NETWORKING and module not in hub
    ]
    assert not wrong


def test_modules_are_named_for_what_they_do():
    vague = {"common", "helper", "helpers", "misc", "util", "utils"}
    assert not [name_of(module) for module in MODULES if module.stem in vague]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["sr", "--help"], ["models", "--help"], ["doctor", "--help"]],
    ids=" ".join,
)
def test_asking_for_help_loads_no_torch(arguments: list[str]):
    program = (
        "import sys\n"
        "from mambair_cli.cli.main import run\n"
        f"status = run({arguments!r})\n"
        f"loaded = {HEAVY!r} & sys.modules.keys()\n"
        "sys.exit(f'{status} {loaded}' if status or loaded else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_failure_that_a_user_can_cause_says_what_helps():
    kinds = {name for name in dir(errors) if name.endswith("Error")}
    # Nobody reads this one: whoever interrupts a run knows it.
    unread = "BackendError(INTERRUPTED)"
    bare = {
        f"{path.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in kinds
        and len(node.args) + len(node.keywords) == 1
        and not isinstance(node.args[0], ast.Starred)
        and ast.unparse(node) != unread
    }
    assert not bare, "without a hint:\n" + "\n".join(sorted(bare))
