"""What a thread runs that shares a kernel's tasks with others: part after part, until none is left.

It is machine code, made once for a number of arguments, so that threads which know nothing of
Python can run it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from llvmlite import binding

from mambair_cli.kernels.instruction_set import target

SYMBOL = "take_parts"
Shared = ctypes.Array[ctypes.c_int64]

# Numba's functions take, before their arguments, where a result and an exception go.
_TEXT = """
define i64 @{symbol}(ptr %shared) {{
begin:
  %result = alloca ptr
  %exception = alloca ptr
  %parts.at = getelementptr i64, ptr %shared, i64 1
  %parts = load i64, ptr %parts.at
  %tasks.at = getelementptr i64, ptr %shared, i64 2
  %tasks = load i64, ptr %tasks.at
  %kernel.at = getelementptr i64, ptr %shared, i64 3
  %kernel = load ptr, ptr %kernel.at
{loads}
  br label %take
take:
  %taken = phi i64 [0, %begin], [%taken.next, %run]
  %part = atomicrmw add ptr %shared, i64 1 acq_rel
  %is.left = icmp slt i64 %part, %parts
  br i1 %is.left, label %run, label %end
run:
  %part.next = add i64 %part, 1
  %before = mul i64 %tasks, %part
  %first = sdiv i64 %before, %parts
  %through = mul i64 %tasks, %part.next
  %last = sdiv i64 %through, %parts
  call i32 %kernel(ptr %result, ptr %exception, {arguments}i64 %first, i64 %last)
  %taken.next = add i64 %taken, 1
  br label %take
end:
  ret i64 %taken
}}
"""
_LOAD = """
  %at{i} = getelementptr i64, ptr %shared, i64 {slot}
  %a{i} = load i64, ptr %at{i}
"""


def shared(kernel: int, tasks: int, parts: int, numbers: Sequence[int]) -> Shared:
    """Lay out what threads that share the tasks of a kernel are given.

    Args:
        kernel: Its address.
        tasks: How many there are.
        parts: How many of them go together.
        numbers: The kernel's arguments but the first of its tasks and the one after its last.

    Returns:
        How many parts are taken, and what `object_file` expects behind that.
    """
    return (ctypes.c_int64 * (4 + len(numbers)))(0, parts, tasks, kernel, *numbers)


def object_file(numbers: int) -> bytes:
    """Compile the function `SYMBOL` of an address of `shared`; it returns how many parts it ran.

    Args:
        numbers: How many arguments of 64 bits a kernel has before its first and last task.
    """
    text = _TEXT.format(
        symbol=SYMBOL,
        loads="".join(_LOAD.format(i=i, slot=4 + i) for i in range(numbers)),
        arguments="".join(f"i64 %a{i}, " for i in range(numbers)),
    )
    content: bytes = target().machine().emit_object(binding.parse_assembly(text))
    return content
