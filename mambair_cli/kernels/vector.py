"""A float32 vector type for Numba: values are SIMD registers, operations single instructions.

Numba's own vectoriser works on loops over arrays and goes through memory between them. A scan keeps
a step, an input, an output and a state per channel in flight, so its kernels are written on vectors
of channels instead. LLVM legalises the type for whatever the CPU has (AVX-512, AVX2, NEON).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from mambair_cli.kernels.instruction_set import target

LANES = target().instruction_set.lanes
_MASKED = target().instruction_set.masked

FLOAT = ir.FloatType()
INT = ir.IntType(32)
FLOATS = ir.VectorType(FLOAT, LANES)
INTS = ir.VectorType(INT, LANES)
_SHORTS = ir.VectorType(ir.IntType(16), LANES)
_BYTES = ir.IntType(8).as_pointer()
_HALF_BITS = ir.Constant(INTS, [16] * LANES)


class VectorType(types.Type):
    """`LANES` float32 values in one register."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, type_: VectorType) -> None:
        super().__init__(manager, type_, FLOATS)


def address(builder: Any, pointer: Any, index: Any, to: Any) -> Any:
    """Point to a value of an array, as another type."""
    return builder.bitcast(builder.gep(pointer, [index]), to)


def _splat(builder: Any, scalar: Any, vector_type: ir.VectorType) -> Any:
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(INTS, [0] * LANES))


def copied(builder: Any, scalar: Any) -> Any:
    """Make what copies a float32 into every lane."""
    return _splat(builder, scalar, FLOATS)


def call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call a function of LLVM."""
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, arguments)


def _is_whole(builder: Any, count: Any) -> Any:
    return builder.icmp_signed(">=", count, ir.Constant(count.type, LANES))


def _first_lanes(builder: Any, count: Any) -> Any:
    counts = _splat(builder, builder.trunc(count, INT), INTS)
    return builder.icmp_signed(">", counts, ir.Constant(INTS, list(range(LANES))))


def _stored_as(pointer: types.Type) -> ir.VectorType:
    """Tell what lanes behind a pointer are: float32, or bfloat16 as integers of 16 bits."""
    return _SHORTS if pointer.dtype == types.uint16 else FLOATS


def _place(builder: Any, pointer: types.Type, values: Any) -> Any:
    """Point to the lanes that a pointer and an index, the first two values, stand for."""
    return address(builder, *values[:2], _stored_as(pointer).as_pointer())


def _alignment(stored: ir.VectorType) -> int:
    return 4 if stored == FLOATS else 2


def loaded(builder: Any, place: Any) -> Any:
    """Load a vector that need not be aligned."""
    lanes = builder.load(place)
    lanes.align = _alignment(place.type.pointee)
    return lanes


def _put(builder: Any, lanes: Any, place: Any) -> None:
    builder.store(lanes, place).align = _alignment(lanes.type)


def _widened(builder: Any, lanes: Any) -> Any:
    """Make float32 of what was loaded: bfloat16 is its upper half."""
    if lanes.type == FLOATS:
        return lanes
    return builder.bitcast(builder.shl(builder.zext(lanes, INTS), _HALF_BITS), FLOATS)


def _narrowed(builder: Any, lanes: Any, stored: ir.VectorType) -> Any:
    """Make of float32 lanes what is stored; bfloat16 is rounded to nearest, ties to even."""
    if stored == FLOATS:
        return lanes
    bits = builder.bitcast(lanes, INTS)
    odd = builder.and_(builder.lshr(bits, _HALF_BITS), ir.Constant(INTS, [1] * LANES))
    up = builder.add(odd, ir.Constant(INTS, [0x7FFF] * LANES))
    # What is no number could become infinite, or carry into the sign.
    quiet = builder.or_(bits, ir.Constant(INTS, [1 << 22] * LANES))
    no_number = builder.fcmp_unordered("uno", lanes, lanes)
    rounded = builder.select(no_number, quiet, builder.add(bits, up))
    return builder.trunc(builder.lshr(rounded, _HALF_BITS), _SHORTS)


def _masked(builder: Any, name: str, result: Any, lanes: ir.VectorType, arguments: Any) -> Any:
    kind = "f32" if lanes == FLOATS else "i16"
    return call(builder, f"llvm.masked.{name}.v{LANES}{kind}.p0", result, arguments)


def load_lanes(builder: Any, pointer: types.Type, values: Any) -> Any:
    """Make what loads a whole vector; values are those of `load`."""
    return _widened(builder, loaded(builder, _place(builder, pointer, values)))


def load_first_lanes(builder: Any, pointer: types.Type, values: Any) -> Any:
    """Make what loads a part of a vector; values are those of `load_part`."""
    place = _place(builder, pointer, values)
    stored = place.type.pointee

    def part() -> Any:
        alignment = ir.Constant(INT, _alignment(stored))
        zeros, mask = ir.Constant(stored, [0] * LANES), _first_lanes(builder, values[2])
        return _masked(builder, "load", stored, stored, [place, alignment, mask, zeros])

    if _MASKED:
        return _widened(builder, part())
    with builder.if_else(_is_whole(builder, values[2])) as (whole, otherwise):
        with whole:
            all_lanes, after_all = loaded(builder, place), builder.block
        with otherwise:
            some_lanes, after_some = part(), builder.block
    lanes = builder.phi(stored)
    lanes.add_incoming(all_lanes, after_all)
    lanes.add_incoming(some_lanes, after_some)
    return _widened(builder, lanes)


def multiply_add(builder: Any, values: Any) -> Any:
    """Make the operation `fma`."""
    return call(builder, f"llvm.fma.v{LANES}f32", FLOATS, list(values))


@intrinsic
def load(typing: Any, pointer: Any, index: Any) -> Any:
    """Load `LANES` values; the index is not checked."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return load_lanes(builder, signature.args[0], values)

    return vector(pointer, types.intp), generate


@intrinsic
def store(typing: Any, pointer: Any, index: Any, value: Any) -> Any:
    """Store `LANES` values; the index is not checked."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(builder, signature.args[0], values)
        _put(builder, _narrowed(builder, values[2], place.type.pointee), place)
        return context.get_dummy_value()

    return types.void(pointer, types.intp, vector), generate


@intrinsic
def load_part(typing: Any, pointer: Any, index: Any, count: Any) -> Any:
    """Load the first `count` lanes, and zeros into the others."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return load_first_lanes(builder, signature.args[0], values)

    return vector(pointer, types.intp, types.intp), generate


@intrinsic
def store_part(typing: Any, pointer: Any, index: Any, value: Any, count: Any) -> Any:
    """Store the first `count` lanes."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(builder, signature.args[0], values)
        lanes = _narrowed(builder, values[2], place.type.pointee)

        def part() -> None:
            alignment = ir.Constant(INT, _alignment(lanes.type))
            mask = _first_lanes(builder, values[3])
            what = [lanes, place, alignment, mask]
            _masked(builder, "store", ir.VoidType(), lanes.type, what)

        if _MASKED:
            part()
            return context.get_dummy_value()
        with builder.if_else(_is_whole(builder, values[3])) as (whole, otherwise):
            with whole:
                _put(builder, lanes, place)
            with otherwise:
                part()
        return context.get_dummy_value()

    return types.void(pointer, types.intp, vector, types.intp), generate


@intrinsic
def is_short(typing: Any, pointer: Any) -> Any:
    """Tell whether a pointer is to bfloat16; known when a kernel is compiled."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(ir.IntType(1), int(_stored_as(signature.args[0]) == _SHORTS))

    return types.boolean(pointer), generate


@intrinsic
def offset(typing: Any, pointer: Any, count: Any) -> Any:
    """Point `count` values further."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.intp), generate


@intrinsic
def exists(typing: Any, pointer: Any) -> Any:
    """Tell whether a pointer points to anything: to an empty tensor it does not."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.icmp_unsigned("!=", values[0], ir.Constant(values[0].type, None))

    return types.boolean(pointer), generate


@intrinsic
def prefetch(typing: Any, pointer: Any, index: Any) -> Any:
    """Ask for a cache line ahead of its use."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = address(builder, *values, _BYTES)
        read_kept_in_data_cache = [ir.Constant(INT, flag) for flag in (0, 3, 1)]
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [place, *read_kept_in_data_cache])
        return context.get_dummy_value()

    return types.void(pointer, types.intp), generate


@intrinsic
def splat(typing: Any, scalar: Any) -> Any:
    """Copy a float32 into every lane."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _splat(builder, values[0], FLOATS)

    return vector(types.float32), generate


@intrinsic
def splat_part(typing: Any, scalar: Any, count: Any) -> Any:
    """Copy a float32 into the first `count` lanes and zeros into the others."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        copies = _splat(builder, values[0], FLOATS)
        zeros = ir.Constant(FLOATS, [0.0] * LANES)
        return builder.select(_first_lanes(builder, values[1]), copies, zeros)

    return vector(types.float32, types.intp), generate


@intrinsic
def splat_at(typing: Any, pointer: Any, index: Any) -> Any:
    """Copy one value from memory into every lane; the index is not checked."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = address(builder, *values, FLOAT.as_pointer())
        return _splat(builder, builder.load(place), FLOATS)

    return vector(pointer, types.intp), generate


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Compute `a * b + c`, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return multiply_add(builder, values)

    return vector(vector, vector, vector), generate


@intrinsic
def root(typing: Any, x: Any) -> Any:
    """Take the square root of a float32; the C library's is a call."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call(builder, "llvm.sqrt.f32", FLOAT, list(values))

    return types.float32(types.float32), generate


def _binary(instruction: str) -> Any:
    @intrinsic
    def operation(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, instruction)(*values)

        return vector(vector, vector), generate

    return operation


add, sub, mul, div = (_binary(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _choice(comparison: str, to_zero: bool = False) -> Any:
    """Make an operation that selects by comparing its first value to its second, or to zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        other = ir.Constant(FLOATS, [0.0] * LANES) if to_zero else values[1]
        return builder.select(builder.fcmp_ordered(comparison, values[0], other), *values[-2:])

    return generate


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """Take the larger of two values in each lane; the second where the first is not a number."""
    return vector(vector, vector), _choice(">")


@intrinsic
def minimum(typing: Any, a: Any, b: Any) -> Any:
    """Take the smaller of two values in each lane; the second where the first is not a number."""
    return vector(vector, vector), _choice("<")


@intrinsic
def where_negative(typing: Any, x: Any, a: Any, b: Any) -> Any:
    """Take `a` in the lanes where `x` is below zero, `b` in the others."""
    return vector(vector, vector, vector), _choice("<", to_zero=True)
