"""The public API is a promise: names, signatures and fields change only on purpose."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

import mambair_cli
from mambair_cli import errors

NAMES = {
    "BackendError",
    "CatalogueEntry",
    "CheckpointError",
    "ImageError",
    "MambairError",
    "MemoryLimitError",
    "Model",
    "ModelSpec",
    "OutputError",
    "RecipeError",
    "UsageError",
    "fix",
    "list_models",
    "load_model",
    "restore",
}
SIGNATURES = {
    "load_model": (
        "(reference: 'str | os.PathLike[str] | CatalogueEntry', "
        "device: 'str | int | torch.device | None' = 'auto', "
        "precision: 'PrecisionRequest | torch.dtype | None' = 'auto', "
        "scan: 'str | None' = 'auto') -> 'Model'"
    ),
    "restore": (
        "(image: 'Picture', model: 'Model', tile: \"int | Literal['auto'] | None\" = 'auto', "
        "ensemble: 'bool' = False, strength: 'float' = 1.0) -> 'Picture'"
    ),
    "fix": (
        "(image: 'Picture', scale: 'float | None' = None, "
        "device: 'str | int | torch.device | None' = 'auto', "
        "precision: 'PrecisionRequest | torch.dtype | None' = 'auto', "
        "scan: 'str | None' = 'auto', tile: \"int | Literal['auto'] | None\" = 'auto', "
        "ensemble: 'bool' = False, strength: 'float' = 1.0, "
        "on_found: 'Callable[[str], None] | None' = None) -> 'Picture'"
    ),
    "list_models": "() -> 'list[CatalogueEntry]'",
}
FIELDS = {
    "Model": "network spec device precision scan path sha256",
    "ModelSpec": "id task scale channels sigma quality after",
    "CatalogueEntry": (
        "id task variant scale channels network parameters licence trained_on degradation "
        "megabytes sigma quality after bundled sha256 repo files pattern published"
    ),
}
EXIT_STATUSES = {
    "MambairError": 1,
    "BackendError": 1,
    "CheckpointError": 1,
    "ImageError": 1,
    "MemoryLimitError": 1,
    "OutputError": 1,
    "RecipeError": 2,
    "UsageError": 2,
}


def test_names():
    assert set(mambair_cli.__all__) == NAMES
    assert set(dir(mambair_cli)) >= NAMES
    assert all(getattr(mambair_cli, name).__doc__ for name in NAMES)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'mambair_cli' has no attribute 'load_modle'"):
        _ = mambair_cli.load_modle


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    assert str(inspect.signature(getattr(mambair_cli, name))) == SIGNATURES[name]


@pytest.mark.parametrize("name", FIELDS)
def test_records_are_frozen_with_these_fields(name):
    kind = getattr(mambair_cli, name)
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert " ".join(field.name for field in fields(kind)) == FIELDS[name]


@pytest.mark.parametrize("name", EXIT_STATUSES)
def test_errors(name):
    kind = getattr(mambair_cli, name)
    assert issubclass(kind, errors.MambairError)
    assert kind.exit_status == EXIT_STATUSES[name]
    assert (kind("what", "how").message, kind("what", "how").hint) == ("what", "how")


def test_every_error_is_public():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert {kind.__name__ for kind in kinds} == EXIT_STATUSES.keys()


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, mambair_cli; dir(mambair_cli); mambair_cli.UsageError; "
        "sys.exit(str({'torch', 'numba', 'numpy', 'PIL', 'safetensors'} & sys.modules.keys() or 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "0"
