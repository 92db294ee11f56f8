"""The short table at the end of the GPU benchmark: what fits into a terminal."""

from __future__ import annotations

import math
from typing import Any

CHARACTERS = 10_000


def summary(result: dict[str, Any]) -> str:
    """Picks the figures that decide out of a result, as lines."""
    environment = result["steps"].get("environment", {}).get("figures", {})
    gpu = environment.get("gpu", {}).get("name", "no GPU")
    lines = [f"commit {result['commit']}; {gpu}"]
    for name, step in result["steps"].items():
        kind = name.split()[0]
        lines.append(": ".join([name, step["outcome"], *filter(None, [step.get("error")])]))
        lines += [f"  {line}" for line in LINES.get(kind, _other)(step["figures"])]
    text = "\n".join(lines)
    return text if len(text) <= CHARACTERS else text[:CHARACTERS] + "\n(cut: see the file)"


def _other(figures: dict[str, Any]) -> list[str]:
    return [f"{key}: {value!s:.150}" for key, value in figures.items()]


def _time(row: dict[str, Any]) -> str:
    if "median_ms" not in row:
        return row.get("error", row.get("refuses", "-"))[:90]
    memory = row.get("peak_allocated_MiB")
    return f"{row['median_ms']:.2f} ms" + (f", {memory:.0f} MiB" if memory else "")


def _ceilings(figures: dict[str, Any]) -> list[str]:
    flat = {**figures, **figures.get("units", {})}
    return [", ".join(f"{key} {value}" for key, value in flat.items() if key != "units")]


def _scans(figures: dict[str, Any]) -> list[str]:
    lines = []
    for backend, formats in figures.items():
        if "refuses" in formats:
            lines.append(f"{backend}: {formats['refuses'][:100]}")
            continue
        for number_format, shapes in formats.items():
            right = [row for row in shapes.values() if row.get("passes")]
            worst = max((row["relative_errors"]["y"] for row in right), default=float("nan"))
            score = f"{len(right)} of {len(shapes)} right, worst y {worst:.1e}"
            lines.append(f"{backend} {number_format}: {score}")
            lines += [
                f"  {shape}: {row.get('error', row.get('relative_errors'))!s:.160}"
                for shape, row in shapes.items()
                if not row.get("passes")
            ][:3]
    return lines


def _networks(figures: dict[str, Any]) -> list[str]:
    rows = list(figures.values())
    lines = [f"{sum(bool(row.get('passes')) for row in rows)} of {len(rows)} right"]
    worst: dict[str, float] = {}
    for row in rows:
        for name, error in row.get("relative_errors", {}).items():
            worst[name] = max(worst.get(name, 0.0), math.nan if error is None else error)
    lines.append("worst: " + ", ".join(f"{name} {error:.1e}" for name, error in worst.items()))
    return lines + [row["error"][:120] for row in rows if "error" in row][:3]


def _tests(figures: dict[str, Any]) -> list[str]:
    return [
        line
        for name, row in figures.items()
        for line in (f"{name}: {row['last_line'][:100]}", *(f[:120] for f in row["failed"][:4]))
    ]


def _whole(figures: dict[str, Any]) -> list[str]:
    lines = [
        f"{number_format}: " + "; ".join(f"{how} {_time(row)}" for how, row in rows.items())
        for number_format, rows in figures.get("whole", {}).items()
    ]
    backends = figures.get("backends_bf16", {})
    return lines + [f"bf16 {name}: {_time(row)}" for name, row in backends.items()]


def _tiles(figures: dict[str, Any]) -> list[str]:
    return [
        f"{precision}: " + "; ".join(f"{tile} {_time(row)}" for tile, row in rows.items())
        for precision, rows in figures.get("tiles", {}).items()
    ]


def _footprint(figures: dict[str, Any]) -> list[str]:
    return [
        f"{precision}: {row.get('measured_bytes_per_pixel')} bytes a pixel, "
        f"planned {row.get('predicted_bytes_per_pixel')}"
        for precision, row in figures.get("footprint", {}).items()
    ]


def _stages(figures: dict[str, Any]) -> list[str]:
    return [
        f"{number_format}: "
        + "; ".join(
            f"{stage} {row['measured_ms']:.2f} (floor {row.get('floor_ms', '-')})"
            for stage, row in table.items()
        )
        for number_format, table in figures.get("stages", {}).items()
    ]


def _peers(figures: dict[str, Any]) -> list[str]:
    if "skipped" in figures.get("peers", {}):
        return [figures["peers"]["skipped"]]
    agreement = figures.get("agreement", {})
    lines = [f"agreement: {agreement.get('relative_error', agreement.get('error'))}"]
    for name in ("authors", "swinir"):
        rows = figures.get(name, {})
        rows = {"": rows} if "error" in rows else rows
        lines.append(f"{name}: " + "; ".join(f"{f} {_time(row)}" for f, row in rows.items()))
    for number_format, rows in figures.get("ours", {}).items():
        times = "; ".join(f"{how} {_time(row)}" for how, row in rows.items())
        lines.append(f"ours {number_format}: {times}")
    if "ours with mamba-ssm" in figures:
        lines.append(f"ours with mamba-ssm, bf16: {_time(figures['ours with mamba-ssm'])}")
    return [*lines, f"ratios: {figures.get('ratios')}"]


def _quality(figures: dict[str, Any]) -> list[str]:
    return [f"mean change from fp32, dB: {figures.get('mean_change_from_fp32_dB')}"]


def _sweep(figures: dict[str, Any]) -> list[str]:
    now = figures.get("as the package cuts it", {})
    lines = [f"as it is cut now: {_time(now)}; fastest: {figures.get('fastest')}"]
    for how, rows in figures.items():
        if how.startswith("maxnreg"):
            lines.append(f"{how}: " + "; ".join(f"{c} {_time(row)}" for c, row in rows.items()))
    return lines


LINES = {
    "ceilings": _ceilings,
    "scans": _scans,
    "networks": _networks,
    "tests": _tests,
    "whole": _whole,
    "tiles": _tiles,
    "footprint": _footprint,
    "stages": _stages,
    "peers": _peers,
    "quality": _quality,
    "sweep": _sweep,
}
