"""Recorded results of the network's pure functions: prices, settlements, signatures (sections 2.4 and 5)."""

from __future__ import annotations

import json
from typing import Any

from skerry.money import Money
from skerry.networks.dc1 import (
    component_price,
    hold_for,
    settle,
    settlement_hash,
    sign_callback,
    sign_heartbeat,
    sign_provider_event,
    sign_task_spec,
    verify_callback,
    verify_task_spec,
)
from skerry.networks.dc1.pricing import CLASSES, JOB_OTHER, JOB_RATES


def check(method: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare a function's result with the recorded one."""
    _CHECKS[method.partition(".")[0] if method.startswith(("hmac.", "hash.")) else method](method, asked, expected)


def _hold(method: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    names = {name: asked[name] for name in ("mode", "gpu_model", "pricing_class") if name in asked}
    assert hold_for(asked["job_type"], asked["duration_minutes"], **names) == Money(expected["hold_halala"], "SAR")


def _components(method: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    names = ("storage_gb_seconds", "bandwidth_bytes_out", "gpu_model", "pricing_class")
    price = component_price(
        asked["job_type"], asked["duration_seconds"], **{name: asked[name] for name in names if name in asked}
    )
    amounts = {
        "compute_halala": price.compute,
        "storage_halala": price.storage,
        "bandwidth_halala": price.bandwidth,
        "total_halala": price.total,
    }
    assert {name: money.amount for name, money in amounts.items()} == {name: expected[name] for name in amounts}
    assert float(price.total.decimal) == expected["total_sar"]
    snapshot = expected["gpu_rate_snapshot"]
    if snapshot.get("gpu_model") is None:
        assert snapshot["rate_per_min_halala"] == JOB_RATES.get(asked["job_type"], JOB_OTHER)
        assert snapshot["multiplier"] == CLASSES[snapshot["pricing_class"]]


def _settlement(method: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    hold = Money(asked["hold_halala"], "SAR")
    work = (asked["gpu_seconds_used"], asked["rate_per_gpu_second_halala"])
    ours = settle(hold, *work, success=asked["success"])
    assert ours.actual.amount == expected["actual_cost_halala"]
    assert ours.charged.amount == expected["our_charged_halala"]
    assert ours.refund.amount == expected["our_refund_halala"]
    assert ours.provider.amount == expected["our_provider_halala"]
    assert ours.fee.amount == expected["our_fee_halala"]
    # Upstream divides what the work came to, without the cap that the hold is.
    upstream = settle(ours.actual, *work)
    assert upstream.provider.amount == expected["provider_earned_halala"]
    assert upstream.fee.amount == expected["dc1_fee_halala"]


def _hmac(method: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    key, message, digest = asked["key"], asked["message"], expected["hex"]
    if method == "hmac.sign_task_spec":
        assert sign_task_spec(key, message) == digest
        assert verify_task_spec(key, message, digest)
    elif method == "hmac.sign_heartbeat":
        assert sign_heartbeat(key, message) == expected["header_value"]
    elif method == "hmac.sign_provider_event":
        assert sign_provider_event(key, message) == expected["header_value"]
    assert sign_callback(key, message) == digest
    for written in (digest, f"sha256={digest}"):
        assert verify_callback(key, message, written)
    assert not verify_callback(key, message + " ", digest)


def _hash(method: str, asked: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settlement_hash(json.loads(asked["message"])) == expected["hex"]


_CHECKS = {
    "pricing.hold": _hold,
    "pricing.three_component": _components,
    "settlement.job_result": _settlement,
    "hmac": _hmac,
    "hash": _hash,
}
