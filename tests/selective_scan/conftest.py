"""How scans are compared, and memory that shows what a kernel forgot to write."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every new tensor without content hold NaN."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **how: empty(*size, **how).fill_(torch.nan))
