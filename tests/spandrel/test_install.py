"""spandrel is told of the networks, or it is said why that cannot be."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mambair_cli.spandrel
from mambair_cli.errors import BackendError

IDS = ["MambaIR", "MambaIRUNet", "MambaIRv2"]


def test_installing_adds_the_networks_once(registry):
    before = len(registry)
    assert mambair_cli.spandrel.install() == IDS
    assert mambair_cli.spandrel.install() == []
    assert len(registry) == before + 3
    assert [registry[name].architecture.name for name in IDS] == IDS


def test_installing_into_a_registry_of_ones_own(spandrel, registry):
    before = len(registry)
    own = spandrel.ArchRegistry()
    assert mambair_cli.spandrel.install(own) == IDS
    assert (len(own), len(registry)) == (3, before)


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Has another spandrel imported than the one that may be installed."""

    def pretend(content: str) -> None:
        (tmp_path / "spandrel.py").write_text(content)
        for name in [name for name in sys.modules if name.partition(".")[0] == "spandrel"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)

    yield pretend
    sys.modules.pop("spandrel", None)


REFUSED = {
    "missing": (
        "raise ModuleNotFoundError('no spandrel', name='spandrel')",
        "the package spandrel is not installed",
        "pip install 'mambair[spandrel]'",
    ),
    "without torchvision": (
        "import torchvision_that_is_not_there",
        "the package torchvision_that_is_not_there is not installed",
        "pip install 'mambair[spandrel]'",
    ),
    "with another torchvision": (
        "raise RuntimeError('operator torchvision::nms\\n does not exist')",
        "spandrel cannot be imported: operator torchvision::nms does not exist",
        "from one index",
    ),
    "too old": (
        "__version__ = '0.3.4'",
        r"spandrel 0\.3\.4 is too old, 0\.4 is needed",
        "pip install --upgrade 'mambair[spandrel]'",
    ),
    "without a version": ("", "spandrel of no version is too old", "pip install --upgrade"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_spandrel_that_cannot_be_used(case, pretended):
    content, message, hint = REFUSED[case]
    pretended(content)
    with pytest.raises(BackendError, match=message) as caught:
        mambair_cli.spandrel.install()
    assert hint in caught.value.hint


def test_importing_loads_nothing_heavy():
    program = (
        "import sys, mambair_cli.spandrel; sys.exit(str({'torch', 'spandrel'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "set()"
