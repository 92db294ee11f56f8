"""The table `network` of a recipe: the shape of one of the networks that can be trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from mambair_cli.errors import RecipeError
from mambair_cli.networks.spec import MambaIRConfig, MambaIRv2Config
from mambair_cli.training.parsing import Number

NetworkTable = MambaIRConfig | MambaIRv2Config


def network_class(model: object) -> type[NetworkTable]:
    """Find what the table describes.

    Args:
        model: The table `model`, not checked yet; what is wrong in it is told later.

    Returns:
        The class of the network that it names, by default version 1.
    """
    named = model.get("network") if isinstance(model, Mapping) else None
    return MambaIRv2Config if named == "MambaIRv2" else MambaIRConfig


def network_limits(network: NetworkTable) -> Iterator[tuple[str, Number, Number, Number]]:
    """List dotted keys with their values and the smallest and largest allowed ones."""
    keys = ["embed_dim", "d_state"]
    lists = {"depths": network.depths}
    if isinstance(network, MambaIRv2Config):
        keys += ["window_size", "inner_rank", "num_tokens", "convffn_kernel_size"]
        lists["num_heads"] = network.num_heads
    for key in keys:
        yield f"network.{key}", getattr(network, key), 1, math.inf
    for key, values in lists.items():
        yield from ((f"network.{key}[{i}]", value, 1, math.inf) for i, value in enumerate(values))


def check_network(network: NetworkTable) -> None:
    """Check what only MambaIRv2 needs: its heads, its filters, its halves.

    Raises:
        RecipeError: They do not fit each other.
    """
    if not isinstance(network, MambaIRv2Config):
        return
    depths, heads, channels = network.depths, network.num_heads, network.embed_dim
    if len(heads) != len(depths):
        raise RecipeError(
            f"network.num_heads = {list(heads)!r} does not fit network.depths = {list(depths)!r}",
            "give as many numbers in both",
        )
    if undivided := [count for count in heads if channels % count]:
        raise RecipeError(
            f"network.embed_dim = {channels} cannot be divided among {undivided[0]} heads",
            "give divisors of network.embed_dim as network.num_heads",
        )
    if network.convffn_kernel_size % 2 == 0:
        raise RecipeError(
            f"network.convffn_kernel_size = {network.convffn_kernel_size} is not odd", "give 3 or 5"
        )
    if network.embed_dim < 3 or network.hidden < 1 or (network.light and network.hidden % 2):
        raise RecipeError(
            f"network.embed_dim = {channels} times network.mlp_ratio = {network.mlp_ratio:g} "
            f"leaves {network.hidden} channels",
            "choose them so that the product is even, and network.embed_dim is at least 3",
        )
