"""NVIDIA's models of GPU: memory and processors as published, the name as their own tools tell it.

Hourly rates of the RTX 4090 and 5090 are those seen on the network, the others are this island's; multipliers are the
published ones where there are any (protocol sections 3.5, 5.3 and 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

VENDOR = "NVIDIA"
UNKNOWN_MULTIPLIER = 500
"""Thousandths, for models without a published multiplier."""

_NAMESPACE = UUID("6f1cdb0e-5c4e-5d43-9a55-2f7d5e0c9b1a")
_MULTIPLIERS = {
    "NVIDIA RTX 5090": 1810,
    "NVIDIA RTX 4090": 1000,
    "NVIDIA RTX 4080": 900,
    "NVIDIA RTX 3090": 850,
    "NVIDIA RTX 3080": 750,
    "NVIDIA RTX 3060": 500,
}


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One model.

    Args:
        name: with the vendor, without GeForce.
        vram_gb: memory of one card.
        cuda_cores: None when nobody knows.
        hourly_rate: micros of a dollar.
    """

    name: str
    vram_gb: int
    cuda_cores: int | None
    hourly_rate: int

    @property
    def uuid(self) -> str:
        """The same on every island and at every start."""
        return uuid_of(self.name)

    @property
    def multiplier_millis(self) -> int:
        """Thousandths of what an RTX 4090 earns."""
        return _MULTIPLIERS.get(self.name, UNKNOWN_MULTIPLIER)


def uuid_of(name: str) -> str:
    """The UUID of a model by its name."""
    return str(uuid5(_NAMESPACE, name))


_RTX = (
    ("5090", 32, 21_760, 690_000),
    ("5080", 16, 10_752, 450_000),
    ("5070 Ti", 16, 8_960, 360_000),
    ("5070", 12, 6_144, 280_000),
    ("4090", 24, 16_384, 350_000),
    ("4090 D", 24, 14_592, 320_000),
    ("4080 SUPER", 16, 10_240, 280_000),
    ("4080", 16, 9_728, 260_000),
    ("4070 Ti SUPER", 16, 8_448, 230_000),
    ("4070 Ti", 12, 7_680, 200_000),
    ("4070 SUPER", 12, 7_168, 190_000),
    ("4070", 12, 5_888, 170_000),
    ("4060 Ti", 16, 4_352, 150_000),
    ("4060", 8, 3_072, 120_000),
    ("3090 Ti", 24, 10_752, 260_000),
    ("3090", 24, 10_496, 220_000),
    ("3080 Ti", 12, 10_240, 190_000),
    ("3080", 10, 8_704, 170_000),
    ("3070 Ti", 8, 6_144, 140_000),
    ("3070", 8, 5_888, 130_000),
    ("3060 Ti", 8, 4_864, 120_000),
    ("3060", 12, 3_584, 100_000),
    ("2080 Ti", 11, 4_352, 130_000),
    ("2080", 8, 2_944, 100_000),
    ("2070", 8, 2_304, 90_000),
    ("A6000", 48, 10_752, 490_000),
    ("A5000", 24, 8_192, 260_000),
    ("A4000", 16, 6_144, 170_000),
    ("6000 Ada Generation", 48, 18_176, 770_000),
    ("5000 Ada Generation", 32, 12_800, 520_000),
    ("4000 Ada Generation", 20, 6_144, 260_000),
    ("PRO 6000 Blackwell Workstation Edition", 96, 24_064, 1_490_000),
    ("PRO 6000 Blackwell Server Edition", 96, 24_064, 1_490_000),
)
_SERVER = (
    ("NVIDIA H200", 141, 16_896, 2_990_000),
    ("NVIDIA H200 NVL", 141, 16_896, 2_790_000),
    ("NVIDIA H100 80GB HBM3", 80, 16_896, 2_290_000),
    ("NVIDIA H100 NVL", 94, 16_896, 2_190_000),
    ("NVIDIA H100 PCIe", 80, 14_592, 1_990_000),
    ("NVIDIA A100-SXM4-80GB", 80, 6_912, 1_290_000),
    ("NVIDIA A100 80GB PCIe", 80, 6_912, 1_190_000),
    ("NVIDIA A100-SXM4-40GB", 40, 6_912, 890_000),
    ("NVIDIA A100-PCIE-40GB", 40, 6_912, 790_000),
    ("NVIDIA L40S", 48, 18_176, 790_000),
    ("NVIDIA L40", 48, 18_176, 690_000),
    ("NVIDIA L4", 24, 7_424, 390_000),
    ("NVIDIA A40", 48, 10_752, 390_000),
    ("NVIDIA A10", 24, 9_216, 290_000),
    ("Tesla V100-SXM2-32GB", 32, 5_120, 290_000),
    ("Tesla V100-SXM2-16GB", 16, 5_120, 190_000),
    ("Tesla P100-PCIE-16GB", 16, 3_584, 120_000),
    ("Tesla T4", 16, 2_560, 150_000),
)

MODELS = tuple(
    [GpuModel(f"NVIDIA RTX {name}", *facts) for name, *facts in _RTX] + [GpuModel(*facts) for facts in _SERVER]
)
"""What an island knows from the beginning."""
