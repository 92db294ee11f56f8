"""What spandrel recognises, loads, describes and runs is what we do ourselves."""

from __future__ import annotations

import inspect
import sys

import pytest
import torch

import mambair_cli.spandrel
from mambair_cli.checkpoints import catalogue
from mambair_cli.checkpoints.convert import write_checkpoint
from mambair_cli.checkpoints.detect import detect_config
from mambair_cli.checkpoints.load import POSITIONS, holds_network, load_checkpoint
from mambair_cli.errors import CheckpointError
from mambair_cli.kernels.block.attention import relative_positions
from mambair_cli.networks import (
    MambaIRConfig,
    MambaIRUNetConfig,
    MambaIRv2Config,
    build_network,
)
from mambair_cli.restoration.device.scan_backend import set_scan_backend
from mambair_cli.restoration.plan import RestoreOptions
from mambair_cli.restoration.restorer import restore_tensor

SMALL_V2 = {
    "embed_dim": 12,
    "d_state": 2,
    "depths": (2,),
    "num_heads": (2,),
    "window_size": 4,
    "inner_rank": 3,
    "num_tokens": 5,
}
NETWORKS = {
    "MambaIR": [
        MambaIRConfig(upscale=2, embed_dim=12, d_state=4, depths=(1,)),
        MambaIRConfig(upscale=3, in_chans=1, embed_dim=12, depths=(1,), upsampler="pixelshuffle"),
        MambaIRConfig(embed_dim=12, depths=(1, 1), upsampler="nearest+conv"),
        MambaIRConfig(upscale=1, embed_dim=12, depths=(1,), upsampler="", resi_connection="3conv"),
    ],
    "MambaIRUNet": [
        MambaIRUNetConfig(dim=8, d_state=2, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
    ],
    "MambaIRv2": [
        MambaIRv2Config(**SMALL_V2, upscale=2),
        MambaIRv2Config(**SMALL_V2, upscale=1, upsampler="", light=False),
    ],
}
CASES = [(name, config) for name, configs in NETWORKS.items() for config in configs]
FIRST = [(name, configs[0]) for name, configs in NETWORKS.items()]
IDENTIFIERS = {"ids": lambda value: value if isinstance(value, str) else ""}


def state_of(config, device="cpu"):
    torch.manual_seed(0)
    with torch.device(device):
        return build_network(config).state_dict()


@pytest.fixture
def loader(spandrel, registry):
    mambair_cli.spandrel.install()
    return spandrel.ModelLoader(registry=registry)


@pytest.mark.parametrize(("name", "config"), CASES, **IDENTIFIERS)
def test_each_network_is_recognised_among_all_architectures(loader, name, config):
    state = state_of(config)
    claims = [s.architecture.id for s in loader.registry if s.detect(state)]
    assert claims == [name]
    model = loader.load_from_state_dict(state)
    assert model.architecture.id == name
    assert model.model.config == config


@pytest.mark.parametrize("network", {entry.network: entry for entry in catalogue.entries()})
def test_the_networks_of_the_catalogue_are_recognised(registry, network):
    mambair_cli.spandrel.install()
    entry = next(entry for entry in catalogue.entries() if entry.network == network)
    state = state_of(entry.config, "meta")
    (claim,) = [s.architecture.id for s in registry if s.detect(state)]
    assert type(NETWORKS[claim][0]) is type(entry.config)


# What the constructors of spandrel's own networks want, or what makes large ones small.
ONE = {"depths": (2,), "num_heads": (2,)}
ARGUMENTS = {
    "Swin2SR": {"img_size": 56, "embed_dim": 12, **ONE},
    "SwinIR": {"img_size": 56, "embed_dim": 12, **ONE},
    "GRL": {"img_size": 16, "embed_dim": 24, "depths": (1,)},
    "RCAN": {"n_resgroups": 1, "n_resblocks": 1},
    "HAT": {"img_size": 14, "window_size": 7, "embed_dim": 12, **ONE},
    "MMRRDBNet_test": {"num_in_ch": 3, "num_out_ch": 3},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3},
    "SAFMN": {"dim": 12},
    "SAFMN_BCIE": {"dim": 12},
    "NAFNet": {"middle_blk_num": 1, "enc_blk_nums": [1], "dec_blk_nums": [1]},
    "UnetUpsampler": {
        "dim": 8,
        "image_size": 64,
        "input_image_size": 16,
        "style_network": {"dim_in": 8, "dim_out": 8, "depth": 1},
    },
}


def networks_of(support):
    """Networks of one of spandrel's architectures, of shapes only where they can be."""
    module = sys.modules[type(support.architecture).__module__]
    for kind in (getattr(module, name) for name in module.__all__):
        if inspect.isclass(kind) and issubclass(kind, torch.nn.Module):
            arguments = ARGUMENTS.get(kind.__name__, {})
            try:
                with torch.device("meta"):
                    yield kind(**arguments)
            except (RuntimeError, NotImplementedError):
                yield kind(**arguments)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_network_of_another_architecture_is_taken(registry):
    others = list(registry)
    mambair_cli.spandrel.install()
    ours = [support for support in registry if support not in others]
    assert (len(ours), len(others) > 40) == (3, True)
    for support in others:
        networks = list(networks_of(support))
        assert networks, support.architecture.id
        for network in networks:
            state = network.state_dict()
            assert support.detect(state), support.architecture.id
            taken = [one.architecture.id for one in ours if one.detect(state)]
            assert not taken, f"{type(network).__name__} was taken for {taken}"
            with pytest.raises(CheckpointError):
                detect_config(state)


OTHERS = {
    "a derived network": lambda state: (
        state | {"layers.0.residual_group.extra.weight": state["norm.weight"]}
    ),
    "nothing": lambda _: {},
    "no tensors": lambda state: dict.fromkeys(state, 1),
    "an optimizer's state": lambda _: {"state": {0: {"exp_avg": torch.zeros(2)}}},
    "numbers for keys": lambda _: {0: torch.zeros(2)},
    "the first lightweight block": lambda state: {
        key: value for key, value in state.items() if ".attention." not in key
    },
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_none_of_the_networks_is_not_taken(kind):
    state = OTHERS[kind](state_of(NETWORKS["MambaIR"][0]))
    assert not any(holds_network(state, type(config)) for _, config in FIRST)


@pytest.mark.parametrize("wrapped", [lambda s: {"net_g": s}, lambda s: {"params": s, "iter": 3}])
def test_what_trainers_wrap_around_weights_is_unwrapped(loader, wrapped):
    state = state_of(NETWORKS["MambaIR"][0]) | {"total_ops": torch.zeros(1)}
    model = loader.load_from_state_dict(wrapped({f"module.{key}": v for key, v in state.items()}))
    assert model.model.config == NETWORKS["MambaIR"][0]


def test_the_positions_that_files_of_the_second_version_hold(loader):
    config = NETWORKS["MambaIRv2"][0]
    state = state_of(config) | {POSITIONS: relative_positions(config.window_size)}
    assert loader.load_from_state_dict(state).architecture.id == "MambaIRv2"


def test_weights_that_lack_a_tensor_are_named(loader):
    state = state_of(NETWORKS["MambaIR"][0])
    del state["norm.weight"]
    with pytest.raises(CheckpointError, match=r"missing \(1\): norm.weight"):
        loader.load_from_state_dict(state)


def test_weights_that_are_not_finite_are_refused(loader):
    state = state_of(NETWORKS["MambaIR"][0])
    state["norm.weight"][3] = torch.nan
    with pytest.raises(CheckpointError, match=r"norm\.weight holds NaN or infinity"):
        loader.load_from_state_dict(state)


DESCRIBED = {
    "MambaIR": ("SR", 2, 3, 8, 1, ["12dim", "4state", "1"]),
    "MambaIRUNet": ("Restoration", 1, 3, 8, 8, ["8dim", "2state", "1-1-1-1-1"]),
    "MambaIRv2": ("SR", 2, 3, 8, 1, ["12dim", "2state", "2"]),
}


@pytest.mark.parametrize(("name", "config"), FIRST, **IDENTIFIERS)
def test_descriptions(spandrel, loader, name, config):
    model = loader.load_from_state_dict(state_of(config))
    sizes = model.size_requirements
    assert isinstance(model, spandrel.ImageModelDescriptor)
    assert (
        model.purpose,
        model.scale,
        model.input_channels,
        sizes.minimum,
        sizes.multiple_of,
        model.tags,
    ) == DESCRIBED[name]
    assert model.output_channels == model.input_channels
    assert not sizes.square
    assert model.tiling is spandrel.ModelTiling.SUPPORTED
    assert model.supports_half
    assert model.supports_bfloat16
    assert not model.model.training


def test_a_restoration_network_of_gray_is_described(loader):
    config = MambaIRConfig(upscale=1, in_chans=1, embed_dim=12, depths=(1,), upsampler="")
    model = loader.load_from_state_dict(state_of(config))
    assert (model.purpose, model.scale, model.input_channels) == ("Restoration", 1, 1)


@pytest.fixture
def file_of(tmp_path):
    def write(config):
        torch.manual_seed(0)
        path = tmp_path / "weights.safetensors"
        write_checkpoint(path, build_network(config))
        return path

    return write


@pytest.mark.parametrize(("height", "width"), [(13, 18), (5, 3), (16, 8)])
@pytest.mark.parametrize(("name", "config"), FIRST, **IDENTIFIERS)
def test_results_are_those_of_our_own_engine(loader, file_of, name, config, height, width):
    path = file_of(config)
    image = torch.rand(1, config.channels, height, width, generator=torch.manual_seed(1))
    loaded = load_checkpoint(path)
    set_scan_backend(loaded.network, "auto")
    restored = loader.load_from_file(path)(image)
    expected = restore_tensor(
        loaded.network, image, loaded.spec, RestoreOptions(tile=0, precision="fp32")
    )
    assert torch.equal(restored, expected), name


def test_the_module_alone_runs_on_our_kernels(loader):
    model = loader.load_from_state_dict(state_of(NETWORKS["MambaIR"][0])).model
    before = {module.scan.name for module in model.modules() if hasattr(module, "scan")}
    model(torch.rand(1, 3, 9, 11))
    after = {module.scan.name for module in model.modules() if hasattr(module, "scan")}
    assert (before, after) == ({"reference"}, {"numba"})


def test_kernels_follow_the_network_to_its_device(loader, monkeypatch):
    chosen = []
    monkeypatch.setattr(
        "mambair_cli.spandrel.architectures.set_scan_backend",
        lambda network, scan: chosen.append((next(network.parameters()).device.type, scan)),
    )
    model = loader.load_from_state_dict(state_of(NETWORKS["MambaIR"][0]))
    small = torch.rand(1, 3, 8, 9)
    model(small)
    model(small)
    model.to("meta")
    model.model._forward_pre_hooks.popitem()[1](model.model)
    assert chosen == [("cpu", "auto"), ("meta", "auto")]


def test_programs_may_load_and_move_in_inference_mode(loader):
    with torch.inference_mode():
        state = {key: value * 1 for key, value in state_of(NETWORKS["MambaIR"][0]).items()}
        model = loader.load_from_state_dict(state).to("cpu", torch.half)
        assert all(value.is_inference() for value in state.values())
    tensors = [*model.model.parameters(), *model.model.buffers()]
    assert not any(tensor.is_inference() for tensor in tensors)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_and_back(loader, relative_rms, dtype):
    model = loader.load_from_state_dict(state_of(NETWORKS["MambaIR"][0]))
    image = torch.rand(1, 3, 40, 56, generator=torch.manual_seed(1))
    expected = model(image)
    restored = model.to("cuda", dtype)(image.to("cuda", dtype))
    assert (restored.device.type, restored.dtype) == ("cuda", dtype)
    assert relative_rms(restored.cpu(), expected) < (0.02 if dtype != torch.float32 else 1e-3)
    assert torch.equal(model.cpu().float()(image), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_weights_and_the_state(loader, dtype, relative_rms):
    model = loader.load_from_state_dict(state_of(NETWORKS["MambaIR"][0]))
    image = torch.rand(1, 3, 12, 17, generator=torch.manual_seed(1))
    expected = model(image)
    assert model.to(dtype) is model
    assert model.dtype == dtype
    restored = model(image.to(dtype))
    assert restored.dtype == dtype
    assert relative_rms(restored, expected) < 0.02
    assert {value.dtype for value in model.model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.float()(image), expected)


def test_moving_takes_what_spandrel_takes(spandrel, loader):
    model = loader.load_from_state_dict(state_of(NETWORKS["MambaIR"][0]))
    assert model.to("cpu", torch.half).dtype == torch.half
    assert model.to(device=torch.device("cpu")).dtype == torch.half
    assert model.to(dtype=torch.bfloat16).half().bfloat16().dtype == torch.bfloat16
    assert model.to(None).float().cpu().dtype == torch.float32
    with pytest.raises(
        spandrel.UnsupportedDtypeError, match=r"MambaIR does not support torch\.float64"
    ):
        model.to(torch.float64)
