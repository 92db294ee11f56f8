"""Weights files that were damaged or made to harm: an error that says so, and nothing else."""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import asdict

import pytest
import torch
from damage import damaged
from read_many import read_apart
from safetensors.torch import save_file

from mambair_cli.checkpoints import header
from mambair_cli.checkpoints.load import load_checkpoint
from mambair_cli.errors import CheckpointError

KEY = "norm.bias"
FIRST = "layers.0.residual_group.blocks.0.ln_1.weight"
GIBIBYTE = 2**30


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = caught.value.message
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 1000
    return message.replace(str(path), "FILE")


def safetensors(path, header, body=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)
    return path


def zipped(path, pickled, compression=zipfile.ZIP_STORED, **records):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("w/data.pkl", pickled)
        archive.writestr("w/byteorder", "little")
        archive.writestr("w/version", "3\n")
        for name, content in records.items():
            archive.writestr(f"w/data/{name}", content)
    return path


NOT_PLAIN = {
    "sparse": lambda: torch.zeros(12).to_sparse(),
    "without data": lambda: torch.zeros(12, device="meta"),
    "larger than its memory": lambda: torch.zeros(1).expand(12),
    "rows of any length": lambda: torch.nested.nested_tensor([torch.zeros(3)]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_tensors_of_an_unusual_layout_are_refused(saved, state, kind):
    path = saved({**state, KEY: NOT_PLAIN[kind]()})
    assert refusal(path) == "FILE was refused: 'norm.bias' is no plain tensor"


@pytest.mark.filterwarnings("ignore")
def test_a_few_bytes_cannot_claim_a_network_of_any_size(saved, state):
    huge = {key: value.flatten()[:1].expand(10**6, *value.shape) for key, value in state.items()}
    assert "is no plain tensor" in refusal(saved(huge))


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.complex64, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_other_number_formats_are_refused(saved, state, dtype):
    name = str(dtype).removeprefix("torch.")
    assert refusal(saved({**state, KEY: torch.zeros(12).to(dtype)})) == (
        f"FILE: norm.bias holds {name} values, expected float32, float16, bfloat16 or float64"
    )


@pytest.mark.parametrize("number", ["10000000", "999999999"])
def test_the_number_of_blocks_is_counted_and_not_believed(saved, state, number):
    path = saved({**state, FIRST.replace("layers.0", f"layers.{number}"): torch.zeros(1)})
    assert refusal(path).startswith("FILE: keys do not fit MambaIR: ")


@pytest.mark.parametrize(
    "key", ["a\nb", "\x1b[31mred", "\ud800", "a" * 10**6, FIRST.replace("0", "1" * 5000)]
)
def test_names_that_would_spoil_a_terminal(saved, state, key):
    message = refusal(saved({**state, key: torch.zeros(1)}))
    assert message.startswith("FILE is damaged: it has a tensor named '")


def test_keys_that_are_no_names_are_left_out(tmp_path, saved, state):
    load_checkpoint(saved({**state, 3: torch.zeros(1), (1, 2): torch.zeros(1)}))
    assert refusal(saved({3: 4, (1, 2): 5, "a\n": 6})) == (
        "FILE holds no state dict, but the keys int, tuple, a\\n"
    )
    shallow = b"\x80\x02}K\x01" + b"\x85" * 90 + b"K\x01s."
    path = zipped(tmp_path / "nested.pth", shallow)
    assert refusal(path) == "FILE holds no state dict, but the keys tuple"


def test_a_dictionary_that_holds_itself(saved):
    content = {}
    content["params"] = content
    assert refusal(saved(content)) == "FILE holds no state dict, but the keys params"


def test_a_file_that_unpacks_to_a_thousand_times_its_size(tmp_path):
    path = zipped(tmp_path / "a.pth", b"\x80\x02}.", zipfile.ZIP_DEFLATED, zero=bytes(10**8))
    assert refusal(path).startswith(f"FILE was refused: its {path.stat().st_size} bytes unpack to ")


PICKLES = {
    "bytes of a huge length": b"\x80\x04\x8e" + struct.pack("<Q", 2**62),
    "text of a huge length": b"\x80\x04\x8d" + struct.pack("<Q", 10**11),
    "nothing but a stop": b"\x80\x02.",
    "a deep list": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a deep tuple": b"\x80\x02K\x01" + b"\x85" * 100_000 + b".",
}


@pytest.mark.parametrize("kind", PICKLES)
def test_pickles_that_lie(tmp_path, kind):
    path = tmp_path / "a.pth"
    path.write_bytes(PICKLES[kind])
    refusal(path)
    refusal(zipped(path, PICKLES[kind]))


HARMFUL = {
    "memory": (
        b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        "it asks for memory of any size, which weights do not need",
    ),
    "a key of a million tuples": (
        b"\x80\x02}K\x01" + b"\x85" * 1_000_000 + b"K\x01s.",
        "it nests tuples more than 100 deep, which weights do not need",
    ),
    "tuples out of the memo": (
        b"\x80\x02}K\x01" + b"\x85q\x010h\x01" * 100_000 + b"K\x01s.",
        "it nests tuples more than 100 deep, which weights do not need",
    ),
    "tuples after marks": (
        b"\x80\x02}K\x01" + b"q\x010(h\x01K\x02t" * 100_000 + b"K\x01s.",
        "it nests tuples more than 100 deep, which weights do not need",
    ),
}


@pytest.mark.parametrize("kind", HARMFUL)
def test_pickles_that_harm_without_running_code(tmp_path, kind):
    pickled, reason = HARMFUL[kind]
    path = tmp_path / "a.pth"
    path.write_bytes(pickled)
    assert refusal(path) == f"FILE was refused: {reason}"
    assert refusal(zipped(path, pickled)) == f"FILE was refused: {reason}"


@pytest.mark.parametrize("kind", HARMFUL)
@pytest.mark.parametrize("flaw", ["checksum", "name", "upper case"])
def test_what_pytorch_would_read_is_what_is_checked(tmp_path, kind, flaw):
    pickled, reason = HARMFUL[kind]
    path = tmp_path / "a.pth"
    zipped(path, pickled)
    content = bytearray(path.read_bytes())
    name = content.index(b"data.pkl")
    if flaw == "checksum":
        for signature, field in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
            start = content.index(signature) + field
            content[start : start + 4] = b"\1\2\3\4"
    elif flaw == "name":
        content[name : name + 1] = b"X"
    else:
        content = content.replace(b"data.pkl", b"data.PKL")
    path.write_bytes(content)
    assert refusal(path) == f"FILE was refused: {reason}"


@pytest.mark.parametrize(
    "name", ["../../../x", "\x1b[31mred", "x" * 201, "{index}", "<b>", "[red]x", "", ".", "a\nb", 5]
)
def test_ids_have_a_grammar(name):
    stated = {"id": name, "task": "sr", "scale": 2, "channels": 3}
    with pytest.raises(CheckpointError, match="is not a model's id"):
        header.stated_spec({header.SPEC: json.dumps(stated)})


@pytest.mark.parametrize(
    "stem", ["mambair-tiny-sr-x2", "mein Modell (ü) v1.5", "..", "[b]" * 99, "x"]
)
def test_the_name_of_a_file_becomes_an_id(stem):
    name = header.id_from(stem)
    stated = {"id": name, "task": "sr", "scale": 2, "channels": 3}
    assert header.stated_spec({header.SPEC: json.dumps(stated)}).id == name


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HEADERS = {
    "shape overflows": ({"a": ONE | {"shape": [2**62, 2**62, 0]}}, None),
    "negative shape": ({"a": ONE | {"shape": [-1]}}, None),
    "overlapping": ({"a": ONE, "b": ONE}, None),
    "gap": ({"a": ONE | {"data_offsets": [1, 5]}}, None),
    "longer than the file": ({"a": ONE}, 99_000_000),
    "longer than allowed": ({"a": ONE}, 2**32 - 1),
    "deep": (b'{"a":' + b"[" * 100_000, None),
    "many axes": ({"a": ONE | {"shape": [1] * 20_000}}, None),
    "type with control characters": ({"a": ONE | {"dtype": "F\n\x1b[31m"}}, None),
    "type of four bits": ({"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, None),
    "a name twice": (json.dumps({"a": ONE})[:-1].encode() + b',"a":' + b"{}}", None),
    "a number in the metadata": ({"__metadata__": {"a": 3}, "a": ONE}, None),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_safetensors_headers_that_lie(tmp_path, kind):
    header, length = HEADERS[kind]
    refusal(safetensors(tmp_path / "a.safetensors", header, bytes(4), length))


METADATA = {
    "deep": {"mambair.config": "[" * 200_000},
    "a number of 10000 digits": {"mambair.config": "1" * 10_000},
    "a ratio beyond all": {"mlp_ratio": 1e308},
    "a white level beyond all": {"img_range": 1e300},
    "an id that is none": {"mambair.spec": '{"id": {}, "task": "sr", "scale": 2, "channels": 3}'},
    "half a scale": {"mambair.spec": '{"id": "a", "task": "sr", "scale": 2.0, "channels": 3}'},
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_that_lies(tmp_path, state, config, kind):
    entries = METADATA[kind]
    if not any(key.startswith("mambair.") for key in entries):
        entries = {
            "mambair.config": json.dumps({"network": "MambaIR", **asdict(config), **entries})
        }
    path = tmp_path / "a.safetensors"
    save_file(state, path, entries)
    refusal(path)


def damaged_weights(folder, state, config, count, seed):
    """Writes damaged copies of the same weights in the three formats."""
    entries = {"mambair.config": json.dumps({"network": "MambaIR", **asdict(config)})}
    save_file(state, folder / "whole.safetensors", entries)
    torch.save(state, folder / "whole.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    whole = sorted(folder.iterdir())
    for number, (index, kind, content) in enumerate(
        damaged([path.read_bytes() for path in whole], count, seed)
    ):
        path = folder / f"{number:05} {kind}{whole[index].suffix}"
        path.write_bytes(content)
        yield path


@pytest.mark.parametrize(
    ("count", "seed"), [(50, 0), pytest.param(6000, 1, marks=pytest.mark.slow)]
)
def test_damage_gives_an_error_or_weights(tmp_path, state, config, count, seed):
    small = {key: value for key, value in state.items() if value.numel() < 5000}
    paths = list(damaged_weights(tmp_path, small | state, config, count, seed))
    outcomes = read_apart("weights", paths, seconds=60 + count / 10)
    for outcome in outcomes:
        assert outcome.kind in ("read", "refused"), outcome
        assert outcome.seconds < 5, outcome
        assert outcome.peak < 2 * GIBIBYTE, outcome
        if outcome.kind == "refused":
            assert str(outcome.path) in outcome.message
            assert outcome.message.isprintable(), outcome
            assert len(outcome.message) < 2000
    assert len({outcome.kind for outcome in outcomes}) == 2
