"""What an import may load: counted in a fresh interpreter, never timed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SERVER = {"alembic", "asyncssh", "cryptography", "jinja2", "psycopg", "sqlalchemy", "starlette", "uvicorn", "uvloop"}
ENGINES = {"huggingface_hub", "torch", "vllm", "xllamacpp"}
"""What only processes of their own load."""

_PROBE = """
import json, sys
before = set(sys.modules)
{code}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(code: str) -> set[str]:
    """Modules that a piece of code adds to a bare interpreter."""
    probe = subprocess.run(
        [sys.executable, "-c", _PROBE.format(code=code)], capture_output=True, text=True, check=True, timeout=300
    )
    return set(json.loads(probe.stdout.splitlines()[-1]))


def roots(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_skerry_is_next_to_nothing() -> None:
    assert len(loaded("import skerry")) <= 60
    assert roots(loaded("import skerry")) <= {"skerry"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "code",
    [
        "import skerry",
        "from skerry import Arker, AsyncArker, Money, SkerryError",
        "from skerry import Arker; Arker(api_key='k', base_url='http://127.0.0.1:9').vm('ubuntu')",
        "from skerry import DC1; DC1('k', base_url='http://127.0.0.1:9', environ={}).jobs",
        "from skerry import Dispersed; Dispersed('p', 's', base_url='http://127.0.0.1:9').jobs",
        "from skerry import OctaSpace; OctaSpace('k', base_url='http://127.0.0.1:9').services.session('u')",
        "import skerry.cli.main, skerry.cli.run, skerry.cli.sandbox, skerry.cli.image, skerry.cli.logs",
        "import skerry.cli.call, skerry.cli.key, skerry.cli.credit, skerry.cli.signature, skerry.island.environment",
        "import skerry.cli.up, skerry.cli.status, skerry.cli.completion, skerry.island.admin.client",
        "import skerry.cli.model, skerry.island.workers.llm.models, skerry.island.workers.llm.hub",
    ],
)
def test_clients_and_commands_load_no_server_library(code: str) -> None:
    assert not roots(loaded(code)) & (SERVER | ENGINES)


def test_a_server_that_starts_loads_no_engine_of_models_and_nothing_that_only_some_requests_need() -> None:
    faces = ", ".join(f"skerry.island.faces.{name}.face" for name in ("arker", "dc1", "dispersed", "octaspace"))
    engine = "skerry.island.engine.engine, skerry.island.images.store, skerry.island.store.migrate"
    modules = loaded(
        f"import skerry.island.server, skerry.island.app, skerry.island.workers.llm.hub, {engine}, {faces}"
    )
    assert not roots(modules) & (ENGINES | {"alembic", "asyncssh", "cryptography", "mako"})
    assert "sqlalchemy.dialects.postgresql" not in modules


def test_a_client_loads_its_own_kind_only() -> None:
    modules = loaded("from skerry import DC1; DC1('k', environ={}).jobs")
    assert not {name for name in modules if "dc1._async" in name} & modules - {"skerry.networks.dc1._async"}
    assert not {"asyncio", "httpx2"} & modules


def test_help_loads_neither_a_command_nor_a_client() -> None:
    code = """
import contextlib, io
from skerry.cli.main import cli
with contextlib.redirect_stdout(io.StringIO()):
    cli.main(["--help"], standalone_mode=False)
"""
    modules = loaded(code)
    assert not roots(modules) & (SERVER | {"httpx2", "msgspec", "rich"})
    assert {name for name in modules if name.startswith("skerry.cli.")} == {"skerry.cli.main"}
