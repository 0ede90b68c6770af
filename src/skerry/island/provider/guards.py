"""Whether a job fits on this machine at this moment (protocol section 5.7). Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from skerry.island.provider.records import SERVING_TYPE, TEXT_TYPES, HostStatus
from skerry.units import GIB, MIB, format_size

FREE_MIB: Mapping[str, int] = {
    "image_generation": 3_500,
    "llm_inference": 5_000,
    "llm-inference": 5_000,
    "vllm": 5_000,
    "training": 6_000,
    "benchmark": 1_000,
    "rendering": 2_000,
    "vllm_serve": 14_336,
}
"""MiB of GPU memory that must be free before a job of a type begins, as the network's daemon has it."""

OTHER_MIB = 2_000
MODEL_MIB_WITHOUT_GPU = 2_000
"""The same for language models on processors: those are quantised, and their workers weigh each before it is loaded."""

FREE_DISK = 5 * GIB


def no_room(
    job_type: str,
    status: HostStatus,
    *,
    needs: Mapping[str, int] = FREE_MIB,
    free_disk: int = FREE_DISK,
) -> str | None:
    """Why a job cannot begin; None where it can.

    Args:
        job_type: one of section 5.5.
        status: the machine as it is now.
        needs: MiB by job type; empty to look at none.
        free_disk: bytes of disk that must be free.
    """
    if status.free_disk_bytes < free_disk:
        return (
            f"The provider's disk is too full: {format_size(status.free_disk_bytes)} are free, "
            f"{format_size(free_disk)} must be"
        )
    mib = needs.get(job_type, OTHER_MIB if needs else 0)
    if not status.cards and (job_type in TEXT_TYPES or job_type == SERVING_TYPE):
        mib = min(mib, MODEL_MIB_WITHOUT_GPU)
    wanted = mib * MIB
    free = max((card.free_mib for card in status.cards), default=status.free_mib) * MIB
    if free < wanted:
        what = "GPU memory" if status.cards else "memory"
        return (
            f"The provider has too little {what} for a {job_type} job now: {format_size(free)} are free, "
            f"{format_size(wanted)} must be"
        )
    return None
