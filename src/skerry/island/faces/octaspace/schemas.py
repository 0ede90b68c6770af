"""Shapes of what goes over the wire (protocol sections 3.1 to 3.14), as JSON Schema: the OpenAPI document's, and the
tests' measure of every answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {"type": "object"}
WEI: Schema = {"type": "integer", "minimum": 0, "description": "Wei; 1 OCTA is 10^18 Wei"}
BYTES: Schema = {"type": "integer", "minimum": 0, "description": "bytes"}
SECONDS: Schema = {"type": "integer", "minimum": 0, "description": "seconds"}
MILLIS: Schema = {"type": "integer", "description": "milliseconds since 1970"}
PARTS: Schema = {"type": "integer", "description": "1/10,000 USD"}
PORTS: Schema = {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}}
ENVS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}


def ref(name: str) -> Schema:
    """Another shape."""
    return {"$ref": f"#/components/schemas/{name}"}


def many(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def table(values: Schema) -> Schema:
    """An object by name."""
    return {"type": "object", "additionalProperties": values}


def shape(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """An object."""
    found: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    return {**found, "required": list(required)} if required else found


_LOCATION = {"city": TEXT, "country": TEXT, "latitude": NUMBER, "longitude": NUMBER}
_DISK = shape({"free": BYTES, "size": BYTES, "used_percent": NUMBER})
_MACHINE = {
    "node_id": WHOLE,
    "country": TEXT,
    "country_iso": TEXT,
    "city": TEXT,
    "cpu_model_name": TEXT,
    "cpu_vendor_id": TEXT,
    "cpu_cores": WHOLE,
    "cpu_speed": NUMBER,
    "total_memory": BYTES,
    "memory_type": TEXT,
    "memory_speed": WHOLE,
    "free_disk": BYTES,
    "arch": TEXT,
    "os_version": TEXT,
    "virt": TEXT,
    "cuda_version": TEXT,
    "is_hive_os": FLAG,
    "is_wsl": FLAG,
    "gpus": many(ref("ShortGpu")),
    "gpu": shape({"nvidia": many(ref("ShortGpu")), "amd": many(ref("ShortGpu")), "intel": many(ref("ShortGpu"))}),
    "is_has_gpu": FLAG,
    "ai_score": NUMBER,
    "blender_score": NUMBER,
    "net_down_mbits": NUMBER,
    "net_up_mbits": NUMBER,
    "total_price_usd": NUMBER,
    "total_price_wei": WEI,
    "total_price_ether": NUMBER,
    "base": WEI,
    "storage": WEI,
    "traffic": WEI,
    "base_ether": NUMBER,
    "storage_ether": NUMBER,
    "traffic_ether": NUMBER,
    "base_usd": PARTS,
    "storage_usd": PARTS,
    "traffic_usd": PARTS,
    "currency_usd": FLAG,
    "market_price": NUMBER,
    "reliability": ref("Reliability"),
    "features": many(TEXT),
    "available_ports": WHOLE,
}

SCHEMAS: dict[str, Schema] = {
    "Error": shape({"message": TEXT, "code": TEXT}),
    "Nothing": {"type": "object"},
    "Account": shape(
        {
            "account_uuid": TEXT,
            "avatar": TEXT,
            "balance": WEI,
            "email": TEXT,
            "ref_code": TEXT,
            "uid": WHOLE,
            "wallet": TEXT,
        },
        {"deposit_address": TEXT},
    ),
    "Balance": shape({"balance": WEI}),
    "Wallet": shape({"address": {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}}),
    "NetworkStats": shape(
        {
            "blockchain": shape(
                {
                    "height": WHOLE,
                    "difficulty": NUMBER,
                    "hashrate": NUMBER,
                    "total_supply": NUMBER,
                    "era": {"type": ["number", "string"]},
                    "blocktime": NUMBER,
                },
                {"circulating_supply": NUMBER},
            ),
            "market_price": NUMBER,
            "mmROI": NUMBER,
            "nodes": shape({"count": WHOLE, "vpn": WHOLE}, {"locations": WHOLE, "vpn_locations": WHOLE}),
            "power": shape({"cpus": WHOLE, "gpus": WHOLE, "disk": BYTES, "mem": BYTES}, {"tflops": NUMBER}),
            "staked": NUMBER,
        },
        {"marketplace": ANY, "platform": ANY, "render": ANY},
    ),
    "App": shape(
        {
            "uuid": TEXT,
            "name": TEXT,
            "category": TEXT,
            "description": TEXT,
            "image": TEXT,
            "envs": table(TEXT),
            "extra": ANY,
            "ports": PORTS,
            "http_ports": PORTS,
            "personal": FLAG,
            "start_command": TEXT,
        }
    ),
    "NodeGpu": shape(
        {"model": TEXT, "mem_total_mb": WHOLE, "mem_free_mb": WHOLE},
        {
            "idx": WHOLE,
            "bus_id": TEXT,
            "driver_version": TEXT,
            "pcie_link_gen": NUMBER,
            "pcie_link_width": NUMBER,
            "gpu_utilization": NUMBER,
            "gpu_temperature": NUMBER,
            "fan_speed": NUMBER,
            "power_limit_watt": NUMBER,
            "power_limit_default_watt": NUMBER,
            "pstate": TEXT,
            "display_mode": TEXT,
            "display_active": TEXT,
        },
    ),
    "ShortGpu": shape({"model": TEXT, "mem_total_mb": WHOLE}),
    "Reliability": shape(
        {
            "uptime": NUMBER,
            "stability": NUMBER,
            "s_avg_d": SECONDS,
            "s_max_d": SECONDS,
            "s_normal": WHOLE,
            "s_failed": WHOLE,
            "rating": shape({"count": WHOLE, "score": NUMBER}),
        }
    ),
    "Node": shape(
        {
            "id": WHOLE,
            "ip": TEXT,
            "state": {"type": "string", "enum": ["idle", "busy", "offline"]},
            "osn": TEXT,
            "uptime": SECONDS,
            "vrf_dt": TEXT,
            "location": shape({"city": TEXT, "country": TEXT}, _LOCATION),
            "prices": shape({"base": WEI, "storage": WEI, "traffic": WEI}),
            "system": shape(
                {
                    "arch": TEXT,
                    "cpu_cores": WHOLE,
                    "cpu_load_percent": NUMBER,
                    "cpu_model_name": TEXT,
                    "os_version": TEXT,
                    "disk": _DISK,
                    "gpus": many(ref("NodeGpu")),
                    "memory": shape({"free": BYTES, "size": BYTES}),
                }
            ),
        }
    ),
    "NodeDetail": shape(
        {
            "id": WHOLE,
            "state": {"type": "string", "enum": ["idle", "busy", "offline"]},
            "ip": TEXT,
            "vrf_dt": TEXT,
            "features": many(TEXT),
            "reliability": ref("Reliability"),
            "location": shape({"city": TEXT, "country": TEXT}, {**_LOCATION, "isocode": TEXT, "hostname": TEXT}),
            "data": shape(
                {
                    "arch": TEXT,
                    "cpu_cores": WHOLE,
                    "cpu_load_percent": NUMBER,
                    "cpu_model_name": TEXT,
                    "cpu_vendor_id": TEXT,
                    "cuda_version": TEXT,
                    "os_version": TEXT,
                    "is_hive_os": FLAG,
                    "is_wsl": FLAG,
                    "virt": TEXT,
                    "gpu_pt": FLAG,
                    "gpu_vendor": TEXT,
                    "gpus": many(ref("NodeGpu")),
                    "disk": _DISK,
                    "memory": shape(
                        dict.fromkeys(
                            (
                                "total_memory",
                                "free_memory",
                                "available_memory",
                                "cached_memory",
                                "buffered_memory",
                                "total_swap",
                                "free_swap",
                            ),
                            BYTES,
                        )
                    ),
                    "version": TEXT,
                    "uptime": SECONDS,
                },
                {"kernel_version": TEXT, "linux_distro": TEXT, "linux_release": TEXT, "gpu_driver_version": TEXT},
            ),
        }
    ),
    "UpdatePrices": shape({}, {"base": WEI, "storage": WEI, "traffic": WEI, "currency_usd": FLAG}),
    "MrMachine": shape(_MACHINE, {"blender_cuda_score": NUMBER}),
    "RenderMachine": shape(_MACHINE),
    "VpnNode": shape(
        {
            "node_id": WHOLE,
            "country": TEXT,
            "country_iso": TEXT,
            "city": TEXT,
            "latitude": NUMBER,
            "longitude": NUMBER,
            "net_down_mbits": NUMBER,
            "net_up_mbits": NUMBER,
            "residential": FLAG,
            "traffic_price_usd": NUMBER,
            "traffic_price_ether": NUMBER,
        }
    ),
    "MrItem": shape(
        {"node_id": WHOLE},
        {
            "id": WHOLE,
            "disk_size": {"type": "integer", "minimum": 1, "description": "GB"},
            "image": TEXT,
            "app": TEXT,
            "envs": ENVS,
            "ports": PORTS,
            "http_ports": PORTS,
            "start_command": TEXT,
            "entrypoint": TEXT,
        },
    ),
    "StartMr": {"oneOf": [{"type": "array", "items": ref("MrItem"), "minItems": 1}, ref("MrItem")]},
    "StartedItem": shape({"id": WHOLE}, {"uuid": TEXT, "reason": TEXT, "status": WHOLE}),
    "StartedMr": {"oneOf": [many(ref("StartedItem")), ref("Started")]},
    "StartRender": shape(
        {"node_id": WHOLE, "disk_size": {"type": "integer", "minimum": 1, "description": "GB"}},
        {"envs": ENVS, "multi-gpu-worker": FLAG},
    ),
    "StartVpn": shape(
        {"node_id": WHOLE},
        {
            "subkind": {"type": "string", "enum": ["wg", "openvpn", "ss", "v2ray"], "default": "wg"},
            "protocol": {"type": "string", "enum": ["trojan", "vmess", "vless"]},
        },
    ),
    "Started": shape({"uuid": TEXT}),
    "SshAccess": shape({"host": TEXT, "port": WHOLE}),
    "ServiceInfo": shape(
        {
            "uuid": TEXT,
            "service": {"type": "string", "enum": ["mr", "render", "vpn"]},
            "kind": TEXT,
            "node_id": WHOLE,
            "is_ready": FLAG,
            "duration": SECONDS,
            "started_at": MILLIS,
            "charge_amount": {"type": ["integer", "string"], "description": "Wei; text where it exceeds 2^53 - 1"},
            "tx": BYTES,
            "rx": BYTES,
            "node_hw": shape(
                {
                    "cpu": TEXT,
                    "cpu_cores": WHOLE,
                    "gpu": many(ref("ShortGpu")),
                    "total_memory": BYTES,
                    "disk": BYTES,
                }
            ),
            "prices": shape({"base_usd": PARTS, "currency_usd": FLAG, "market_price": NUMBER}),
        },
        {
            "progress": TEXT,
            "app_name": TEXT,
            "app_logo": TEXT,
            "public_ip": TEXT,
            "ip": TEXT,
            "country": TEXT,
            "country_iso": TEXT,
            "city": TEXT,
            "ports_matrix": table(WHOLE),
            "urls": table(TEXT),
            "ssh_direct": ref("SshAccess"),
            "ssh_proxy": ref("SshAccess"),
            "ssh_web": TEXT,
            "config": TEXT,
            "termination_reason": WHOLE,
            "finished_at": MILLIS,
            "container_id": many(TEXT),
            "user_envs": table(TEXT),
        },
    ),
    "SessionLogs": shape({"system": many(shape({"msg": TEXT, "ts": MILLIS})), "container": TEXT}),
    "Stop": shape({}, {"score": {"type": "integer", "minimum": 1, "maximum": 5}}),
    "IdleJob": shape({"is_up": FLAG, "uptime": SECONDS}, {"error": TEXT}),
    "IdleJobLogs": shape({"data": {"type": "string", "description": "base64 of gzip of UTF-8 text"}}),
}
