import threading

import pytest
import torch

from mambair_cli.restoration.device import tf32
from mambair_cli.restoration.device.precision import computing_in
from mambair_cli.restoration.device.tf32 import SharedSetting, float32_products

CUDA = torch.device("cuda")
BACKENDS = torch.backends


def switches():
    return BACKENDS.cuda.matmul.fp32_precision, BACKENDS.cudnn.conv.fp32_precision


@pytest.fixture
def fails_if_mixed():
    """torch refuses to tell a flag that was set through both of its interfaces."""
    yield
    assert BACKENDS.cuda.matmul.allow_tf32 in (True, False)
    assert BACKENDS.cudnn.allow_tf32 in (True, False)


new_interface = pytest.mark.skipif(
    not hasattr(BACKENDS.cuda.matmul, "fp32_precision"), reason="torch before 2.9"
)


@new_interface
@pytest.mark.usefixtures("fails_if_mixed")
@pytest.mark.parametrize(("precision", "inside"), [("fp32", "ieee"), ("tf32", "tf32")])
def test_products_and_convolutions_are_switched_and_put_back(precision, inside):
    before = switches()
    with computing_in(precision, CUDA):
        assert switches() == (inside, inside)
    assert switches() == before


@new_interface
@pytest.mark.usefixtures("fails_if_mixed")
def test_what_the_caller_chose_through_the_old_interface_is_put_back():
    BACKENDS.cuda.matmul.allow_tf32 = True
    try:
        with computing_in("fp32", CUDA):
            assert switches() == ("ieee", "ieee")
        assert BACKENDS.cuda.matmul.allow_tf32
    finally:
        BACKENDS.cuda.matmul.allow_tf32 = False


@new_interface
def test_they_are_put_back_after_an_error():
    before = switches()
    with pytest.raises(MemoryError), computing_in("tf32", CUDA):
        raise MemoryError
    assert switches() == before


def test_before_torch_2_9_the_old_flags_are_used(monkeypatch):
    monkeypatch.setattr(tf32, "_has_new_interface", lambda: False)
    before = BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32
    with float32_products(tf32=True):
        assert (BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32) == (True, True)
    with float32_products(tf32=False):
        assert (BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32) == (False, False)
    assert (BACKENDS.cuda.matmul.allow_tf32, BACKENDS.cudnn.allow_tf32) == before


def test_a_cpu_is_left_alone(monkeypatch):
    monkeypatch.setattr(tf32, "_write", None)
    with computing_in("fp32", torch.device("cpu")):
        pass


class Setting:
    def __init__(self):
        self.value, self.history = ("found",), []

    def write(self, value):
        self.history.append(value)
        self.value = value


def test_threads_that_want_the_same_share_it():
    setting, inside, leave = Setting(), threading.Event(), threading.Event()
    shared = SharedSetting(lambda: setting.value, setting.write)

    def other():
        with shared.being(("a",)):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with shared.being(("a",)):
        thread.start()
        assert inside.wait(10)
    assert setting.history == [("a",)]
    leave.set()
    thread.join(10)
    assert setting.history == [("a",), ("found",)]


def test_a_thread_that_wants_another_value_waits():
    setting, seen = Setting(), []
    shared = SharedSetting(lambda: setting.value, setting.write)

    def other():
        with shared.being(("b",)):
            seen.append(setting.value)

    thread = threading.Thread(target=other)
    with shared.being(("a",)):
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        assert setting.value == ("a",)
    thread.join(10)
    assert seen == [("b",)]
    assert setting.history == [("a",), ("found",), ("b",), ("found",)]


def test_two_values_nested_are_a_bug_and_not_a_deadlock():
    setting = Setting()
    shared = SharedSetting(lambda: setting.value, setting.write)
    with (
        shared.being(("a",)),
        shared.being(("a",)),
        pytest.raises(AssertionError, match="would wait for itself"),
        shared.being(("b",)),
    ):
        pass
    assert setting.history == [("a",), ("found",)]
