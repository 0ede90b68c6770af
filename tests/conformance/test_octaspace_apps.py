"""The apps that the island ships templates for, installed from the package indexes and used as a browser uses them."""

from __future__ import annotations

import json
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from websockets.sync.client import ClientConnection, connect

from skerry.island.engine.errors import Unsupported
from skerry.island.images.staging import remove_tree
from skerry.island.island import Island
from skerry.island.settings import OctaSpace
from skerry.island.workers.apps import installed, recipes
from skerry.island.workers.apps.recipe import Recipe
from skerry.networks.octaspace import Session
from tests.answers import Answer
from tests.conformance.conftest import PATIENCE, Raw
from tests.conformance.vscode_remote import Remote

WHEEL = """
import zipfile
with zipfile.ZipFile("mine-1-py3-none-any.whl", "w") as wheel:
    wheel.writestr("mine.py", "answer = 42")
    wheel.writestr("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n")
    wheel.writestr("mine-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("mine-1.dist-info/RECORD", "")
!pip install --no-index mine-1-py3-none-any.whl
"""

Start = Callable[..., "Site"]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for apps, gone at the end; `SKERRY_TEST_APPS` names one that is kept."""
    kept = os.environ.get("SKERRY_TEST_APPS")
    # A space, because paths have them, and compilers fall over them.
    place = Path(kept) if kept else tmp_path_factory.mktemp("apps") / "some apps"
    yield place
    if not kept:
        remove_tree(place)


@pytest.fixture(scope="module")
def island(tmp_path_factory: pytest.TempPathFactory, apps: Path) -> Iterator[Island]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SKERRY_APPS", str(apps))
        with Island(tmp_path_factory.mktemp("apps") / "island", octaspace=OctaSpace(nodes=1)) as island:
            yield island


@pytest.fixture
def start(island: Island, apps: Path) -> Iterator[Start]:
    """Installs an app unless it is there, and starts its template; what it has started ends with the test."""
    with island.octaspace() as client:

        def begin(name: str, template: str, **members: Any) -> Site:
            recipe = recipes.named(name)
            assert template not in {it.name for it in client.apps.list()} or installed.find(apps, recipe)
            have(apps, recipe)
            app = next(it for it in client.apps.list() if it.name == template)
            node = client.services.mr.available()[0].node_id
            session = client.services.mr.start(node, disk_size=1, image="", app=app.uuid, **members)
            info = session.wait_ready(timeout=PATIENCE)
            return Site(session, info.urls[str(recipe.port)])

        yield begin
        for left in client.sessions.list():
            client.services.session(left.uuid).stop()


def have(directory: Path, recipe: Recipe) -> None:
    """Install an app unless it is there; where that cannot be done, or takes a minute that nobody asked for, skip."""
    if installed.find(directory, recipe) is not None:
        return
    if recipe.name == "code-server" and "SKERRY_TEST_APPS" not in os.environ:
        pytest.skip("code-server is 760 MB and a minute of compiling: SKERRY_TEST_APPS=DIRECTORY installs and tests it")
    try:
        installed.install(directory, recipe)
    except Unsupported as error:
        pytest.skip(f"{recipe.title} cannot be installed here: {error.message}")


class Site:
    """What an app shows at its public URL, as a browser sees it: any name below localhost is this machine."""

    def __init__(self, session: Session, url: str) -> None:
        self.session = session
        self.host = urlsplit(url).netloc
        self.port = urlsplit(url).port or 80
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Any = None, *, form: dict[str, str] | None = None) -> Answer:
        """One exchange; cookies are kept. A program that has just been started may need a moment to listen."""
        headers = {"host": self.host, **self._cookie()}
        if "_xsrf" in self.cookies:
            headers["x-xsrftoken"] = self.cookies["_xsrf"]
        data = json.dumps(body).encode() if body is not None else None
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
            data = urlencode(form).encode()

        def exchange() -> Answer | None:
            connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            with closing(connection):
                connection.request(method, path, data, headers)
                response = connection.getresponse()
                content = response.read()
            for line in response.headers.get_all("set-cookie", ()):
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies[name] = value
            fields = {name.lower(): value for name, value in response.getheaders()}
            return None if response.status == 502 else Answer(response.status, fields, content)

        answer = Raw.until(exchange, f"an answer from {self.host}{path}")
        assert answer is not None
        return answer

    def talk(self, path: str) -> ClientConnection:
        """A WebSocket, from a page of this site."""
        return connect(
            f"ws://{self.host}{path}",
            sock=socket.create_connection(("127.0.0.1", self.port)),
            origin=f"http://{self.host}",
            additional_headers=self._cookie(),
            max_size=None,
            open_timeout=PATIENCE,
        )

    def told(self, pattern: str) -> str:
        """What the container's log says of something."""

        def look() -> str | None:
            found = re.search(pattern, self.session.logs().container or "")
            return found[1] if found else None

        return str(Raw.until(look, f"{pattern} in the log"))

    def _cookie(self) -> dict[str, str]:
        text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"cookie": text} if text else {}


def test_a_notebook(start: Start) -> None:
    site = start("jupyterlab", "Jupyter")
    assert site.ask("GET", "/api/kernels").status == 403
    token = site.told(r"Log in with this token: (\w+)\n")
    page = site.ask("GET", f"/lab?token={token}")
    assert page.status == 200
    assert b"<title>JupyterLab</title>" in page.body
    # From here on the page's cookie is enough.
    kernel = site.ask("POST", "/api/kernels", {"name": "python3"}).json["id"]
    with site.talk(f"/api/kernels/{kernel}/channels") as kernels:
        assert executed(kernels, "print(6*7)") == "42\n"
        assert executed(kernels, "import os; os.getcwd()") == "'/home/user'"
        assert executed(kernels, "open('kept', 'w').write('x')") == "1"
        assert "Successfully installed mine-1" in executed(kernels, WHEEL)
        assert executed(kernels, "import mine; print(mine.answer)") == "42\n"
    assert site.ask("GET", "/api/contents/kept?content=0").json["type"] == "file"
    shell = site.ask("POST", "/api/terminals").json["name"]
    with site.talk(f"/terminals/websocket/{shell}") as terminal:
        terminal.send(json.dumps(["stdin", "echo $((6*7))-$(id -un); ls\r"]))
        shown = ""
        while "42-root" not in shown or "kept" not in shown:
            kind, *rest = json.loads(terminal.recv(timeout=PATIENCE))
            shown += rest[0] if kind == "stdout" else ""


def executed(kernel: ClientConnection, code: str) -> str:
    """What a cell has written, or its value."""
    number = uuid.uuid4().hex
    kernel.send(
        json.dumps(
            {
                "channel": "shell",
                "header": {
                    "msg_id": number,
                    "msg_type": "execute_request",
                    "username": "",
                    "session": number,
                    "version": "5.3",
                },
                "parent_header": {},
                "metadata": {},
                "content": {"code": code, "silent": False, "allow_stdin": False},
            }
        )
    )
    written, over = "", set[str]()
    while over != {"execute_reply", "idle"}:
        told = json.loads(kernel.recv(timeout=PATIENCE))
        if told["parent_header"].get("msg_id") != number:
            continue
        kind, content = told["msg_type"], told["content"]
        assert kind != "error", content
        if kind == "stream":
            written += content["text"]
        elif kind == "execute_result":
            written += content["data"]["text/plain"]
        elif kind == "execute_reply" or content.get("execution_state") == "idle":
            over.add("idle" if kind == "status" else kind)
    return written


def test_an_editor(start: Start) -> None:
    site = start("code-server", "Code server", envs={"PASSWORD": "chosen by the user"})
    assert site.ask("GET", "/").headers["location"].startswith("./login")
    assert b"code-server" in site.ask("GET", "/login").body
    assert site.ask("POST", "/login", form={"password": "guessed"}).status == 200
    assert site.ask("POST", "/login", form={"password": "chosen by the user"}).status == 302
    page = site.ask("GET", "/?folder=/home/user")
    assert page.status == 200
    assert b"vscode-workbench-web-configuration" in page.body
    found = re.search(rb"(?:stable|oss)-([0-9a-f]{40})", page.body)
    assert found
    server, commit = found[0].decode(), found[1].decode()
    assert site.ask("GET", f"/{server}/static/out/vs/code/browser/workbench/workbench.js").status == 200
    query = f"reconnectionToken={uuid.uuid4()}&reconnection=false&skipWebSocketFrames=false"
    with site.talk(f"/{server}?{query}") as socket:
        remote = Remote(socket, commit)
        script = {"$mid": 1, "scheme": "vscode-remote", "authority": site.host, "path": "/home/user/answer.py"}
        new = {"create": True, "overwrite": True, "unlock": False, "atomic": False}
        remote.call("remoteFilesystem", "writeFile", [script, b"print(6*7)", new])
        assert remote.call("remoteFilesystem", "readFile", [script, {"atomic": False}]) == b"print(6*7)"
        assert terminal(remote, "python3 answer.py; id -un\r", "42\r\nroot\r\n")
    log = site.session.logs().container or ""
    assert "chosen by the user" not in log
    assert "bindings file" not in log


def terminal(remote: Remote, typed: str, wanted: str) -> str:
    """What a terminal of the editor shows until that is in it."""
    shown, data = "", remote.listen("remoteterminal", "$onProcessDataEvent")
    made = remote.call(
        "remoteterminal",
        "$createProcess",
        {
            "configuration": {},
            "resolvedVariables": {},
            "envVariableCollections": [],
            "shellLaunchConfig": {"executable": "/bin/sh", "args": []},
            "workspaceId": "x",
            "workspaceName": "x",
            "workspaceFolders": [],
            "activeWorkspaceFolder": None,
            "shouldPersistTerminal": False,
            "options": {
                "shellIntegration": {"enabled": False, "suggestEnabled": False, "nonce": ""},
                "windowsUseConptyDll": False,
                "isScreenReaderOptimized": False,
            },
            "cols": 80,
            "rows": 24,
            "unicodeVersion": "11",
            "resolverEnv": None,
        },
    )
    number = made["persistentTerminalId"]
    remote.call("remoteterminal", "$start", [number])
    remote.call("remoteterminal", "$input", [number, typed])
    while wanted not in shown:
        event = remote.event(data)
        if event["id"] == number:
            told = event["event"]
            shown += told if isinstance(told, str) else told["data"]
    return shown
