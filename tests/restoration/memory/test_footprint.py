import subprocess
import sys
from dataclasses import replace

import pytest

from mambair_cli.networks.spec import MambaIRConfig, MambaIRUNetConfig, MambaIRv2Config
from mambair_cli.restoration.memory.footprint import bytes_per_pixel, measured_footprint

LIGHT = MambaIRConfig()
CLASSIC = MambaIRConfig(
    embed_dim=180, d_state=16, depths=(6,) * 6, mlp_ratio=2.0, upsampler="pixelshuffle", upscale=4
)


def test_larger_networks_need_more():
    light = MambaIRConfig()
    classic = MambaIRConfig(
        embed_dim=180, d_state=16, depths=(6,) * 6, mlp_ratio=2.0, upsampler="pixelshuffle"
    )
    assert 500 < bytes_per_pixel(light, "fp32") < bytes_per_pixel(classic, "fp32")
    assert bytes_per_pixel(light, "bf16") <= bytes_per_pixel(light, "fp32")
    assert bytes_per_pixel(MambaIRUNetConfig(), "fp32") > bytes_per_pixel(light, "fp32")


def test_the_second_version_needs_no_more_than_the_first():
    base = MambaIRv2Config(
        embed_dim=174, d_state=16, depths=(6,) * 6, num_heads=(6,) * 6, mlp_ratio=2.0,
        upsampler="pixelshuffle", light=False,
    )  # fmt: skip
    # On a GPU the light one's heads of 12 channels are filled up to 16.
    for device, factor in (("cpu", 1), ("cuda", 1.3)):
        for own, first, most in ((MambaIRv2Config(), LIGHT, factor), (base, CLASSIC, 1)):
            needed = bytes_per_pixel(own, "fp32", device_type=device)
            assert 500 < needed < most * bytes_per_pixel(first, "fp32", device_type=device)


def test_window_attention_counts_the_channels_that_heads_are_filled_up_with():
    base = MambaIRv2Config(embed_dim=174, num_heads=(6,) * 4)
    needed = bytes_per_pixel(base, "bf16", "triton", "cuda")
    wider = bytes_per_pixel(replace(base, num_heads=(29,) * 4), "bf16", "triton", "cuda")
    assert wider - needed == 8 * 2 * (29 * 8 - 6 * 32)


def test_other_scans_need_more_on_a_cpu():
    fused = bytes_per_pixel(LIGHT, "fp32", "numba")
    assert bytes_per_pixel(LIGHT, "fp32") == fused
    assert bytes_per_pixel(LIGHT, "fp32", "torch") > 2 * fused


def test_the_reference_scan_needs_more():
    light = MambaIRConfig()
    assert bytes_per_pixel(light, "fp32", "reference") > 2 * bytes_per_pixel(light, "fp32", "numba")


MEASURE = """
from pathlib import Path
import torch
from mambair_cli.networks import MambaIRConfig, MambaIRv2Config, build_network
from mambair_cli.restoration.device.scan_backend import set_scan_backend

def peak():  # of this process alone, which getrusage does not count: it begins with its parent's
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

network = build_network({config})
set_scan_backend(network, "auto")
with torch.inference_mode():
    network(torch.rand(1, 3, 16, 24))
    before = peak()
    network(torch.rand(1, 3, 160, 200))
print(before, peak())
"""


CONFIGS = [
    MambaIRConfig(embed_dim=90, depths=(1,)),
    MambaIRv2Config(embed_dim=90, depths=(2,), num_heads=(6,)),
]


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_the_estimate_covers_what_a_process_really_takes(config):
    script = MEASURE.replace("{config}", repr(config))
    out = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    before, after = map(int, out.split())
    estimate = bytes_per_pixel(config, "fp32")
    assert 0.3 * estimate < (after - before) / (160 * 200) < 1.1 * estimate


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_half_precision_needs_less(device):
    full = bytes_per_pixel(CLASSIC, "fp32", device_type=device)
    assert bytes_per_pixel(CLASSIC, "tf32", device_type=device) == full
    assert full / 2 < bytes_per_pixel(CLASSIC, "bf16", device_type=device) < full
    assert bytes_per_pixel(CLASSIC, "fp16", device_type=device) < full


def test_what_is_alive_on_a_gpu_in_a_block():
    denoising = replace(CLASSIC, upsampler="", upscale=1)
    c, d, n, r = 180, 360, 16, 12
    in_float32 = 4 * 2 * c + 3 * 4 * 3 * (1 + 1)
    in_half = 2 * 2 * c + 2 * 4 * d
    # Beside them the gate and what it makes, or u and what is projected from it.
    in_half += max(2 * 2 * d, 2 * d + 4 * 4 * (r + 2 * n))
    assert bytes_per_pixel(denoising, "bf16", device_type="cuda") == in_float32 + in_half


def test_what_is_alive_on_a_gpu_in_a_large_upsampler():
    config = MambaIRConfig(embed_dim=8, mlp_ratio=2.0, upsampler="pixelshuffle", upscale=8)
    images = 3 * 4 * 3 * (1 + 8**2)
    expected = images + 4 * 8 + 4 * 3 * 64 * 8**2
    assert bytes_per_pixel(config, "tf32", device_type="cuda") == expected


@pytest.mark.parametrize("scan", ["mamba-ssm", "torch", "reference"])
def test_scans_that_stack_the_directions_need_more_on_a_gpu(scan):
    fused = bytes_per_pixel(CLASSIC, "bf16", "triton", "cuda")
    assert bytes_per_pixel(CLASSIC, "bf16", "auto", "cuda") == fused
    assert bytes_per_pixel(CLASSIC, "bf16", scan, "cuda") > 2 * fused


def test_measured_peaks_are_compared_with_the_model():
    peaks = {100: 500 + 7 * 100, 300: 500 + 7 * 300, 900: 500 + 7 * 900}
    measured = measured_footprint(peaks, predicted=8)
    assert measured.per_pixel == pytest.approx(7)
    assert measured.fixed == pytest.approx(500)
    assert measured.safe
    assert not measured_footprint(peaks, predicted=6).safe
