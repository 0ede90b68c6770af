"""The snippets of the network's guide, written with our clients; the numbers are those of section 4.5.

They are coroutines over a client whose methods may or may not have to be awaited, so that both kinds run the same text.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

MISTRAL = "mistralai/Mistral-7B-Instruct-v0.2"
TINY = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
SCRIPT = """
import torch
import json

print(f"CUDA available: {torch.cuda.is_available()}")
print(f"GPU: {torch.cuda.get_device_name(0) if torch.cuda.is_available() else 'none'}")

# Your custom training/inference code here
x = torch.randn(1000, 1000).cuda()
y = torch.mm(x, x)
result = {"matmul_shape": list(y.shape), "device": str(y.device)}
print("DC1_RESULT_JSON:" + json.dumps(result))
"""
PROMPTS = (
    "Summarize the Saudi Vision 2030 in one paragraph",
    "What is the difference between Llama 3 and Mistral 7B?",
    "Write Python code to parse JSON from a REST API",
)


async def _got(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class Guide:
    """The reader of the guide: a client, a sleeper, and what was printed and saved.

    Args:
        client: of either kind.
        sleep: waits so many seconds.
    """

    def __init__(self, client: Any, sleep: Callable[[float], Any]) -> None:
        self.client = client
        self._sleep = sleep
        self.printed: list[str] = []
        self.saved: bytes | None = None
        self.endpoint: str | None = None

    def print(self, *words: object) -> None:
        """Note a line."""
        self.printed.append(" ".join(str(word) for word in words) + "\n")

    @property
    def stdout(self) -> str:
        """All that was printed."""
        return "".join(self.printed)

    async def _provider(self, gigabytes: int = 0) -> Any:
        found = await _got(self.client.providers.available())
        for each in found.providers:
            if each.is_live and (not gigabytes or each.vram_gb_reported >= gigabytes):
                return each
        raise RuntimeError("No live providers available")

    async def _submit(self, provider: Any, job_type: str, minutes: int, params: dict[str, Any]) -> Any:
        fields = {"provider_id": provider.id, "job_type": job_type, "duration_minutes": minutes, "params": params}
        return (await _got(self.client.jobs.create(**fields))).job

    async def _until_done(self, job: Any, seconds: float, *, first: bool = False, tell: bool = False) -> str:
        while True:
            if first:
                self._sleep(seconds)
            found = await _got(self.client.jobs.describe(job.id))
            if tell:
                self.print("  status:", found.status)
            if found.is_done:
                return str(found.status)
            if not first:
                self._sleep(seconds)

    async def quickstart(self) -> None:
        """Python: balance, provider, job, output."""
        balance = await _got(self.client.renters.balance())
        self.print(f"Balance: {balance.balance.decimal.normalize():f} SAR")
        provider = await self._provider()
        self.print(f"Using provider: {provider.name} ({provider.gpu_model})")
        params = {
            "model": MISTRAL,
            "prompt": "Write a haiku about desert computing",
            "max_tokens": 64,
            "temperature": 0.8,
        }
        job = await self._submit(provider, "llm_inference", 5, params)
        self.print(f"Job submitted: {job.id} (cost: {job.cost.amount} halala)")
        if await self._until_done(job, 5, tell=True) == "completed":
            output = await _got(self.client.jobs.output(job.id))
            self.print(f"\nResult:\n{output.text}\n\nActual cost: {output.cost.amount} halala")

    async def node_quickstart(self) -> None:
        """The same in the words of the guide's other half."""
        balance = await _got(self.client.renters.balance())
        self.print(f"Balance: {balance.balance.decimal.normalize():f} SAR")
        provider = await self._provider()
        self.print(f"Using: {provider.name} ({provider.gpu_model})")
        params = {
            "model": TINY,
            "prompt": "What is the capital of Saudi Arabia?",
            "max_tokens": 128,
            "temperature": 0.5,
        }
        job = await self._submit(provider, "llm_inference", 5, params)
        self.print(f"Job submitted: {job.id}")
        if await self._until_done(job, 5, first=True, tell=True) == "completed":
            output = await _got(self.client.jobs.output(job.id))
            self.print(f"\nResponse: {output.text}\nActual cost: {output.cost.amount} halala")

    async def image_generation(self) -> None:
        """Python: a picture."""
        await self._picture("A futuristic mosque with neon lights, cyberpunk style", first=False)

    async def node_image_generation(self) -> None:
        """The same in the words of the guide's other half."""
        await self._picture("A camel caravan at sunset over the Empty Quarter, oil painting style", first=True)

    async def _picture(self, prompt: str, *, first: bool) -> None:
        provider = await self._provider(16)
        params = {"prompt": prompt, "model": SDXL, "steps": 30, "width": 1024, "height": 1024}
        job = await self._submit(provider, "image_generation", 10, params)
        status = await self._until_done(job, 8, first=first)
        if first and status != "completed":
            raise RuntimeError(f"Job {status}")
        output = await _got(self.client.jobs.output(job.id))
        if output.image is None:
            raise RuntimeError("the output has no picture")
        self.saved = output.image
        self.print("Saved output.png")

    async def vllm_serve(self) -> None:
        """Python: a served model."""
        provider = await self._provider(16)
        params = {"model": MISTRAL, "max_model_len": 4096, "dtype": "float16"}
        job = await self._submit(provider, "vllm_serve", 60, params)
        for _ in range(60):
            output = await _got(self.client.jobs.output(job.id))
            if output.endpoint_url:
                self.endpoint = output.endpoint_url
                break
            self._sleep(5)

    async def batch(self) -> None:
        """Python: three prompts, one after the other."""
        provider, results = await self._provider(), []
        for prompt in PROMPTS:
            params = {"model": TINY, "prompt": prompt, "max_tokens": 256}
            job = await self._submit(provider, "llm_inference", 3, params)
            if await self._until_done(job, 4) == "completed":
                output = await _got(self.client.jobs.output(job.id))
                results.append((prompt, output.text))
                self.print(f"✓ [{output.result.tokens_generated} tokens] {prompt[:40]}...")
        for prompt, response in results:
            self.print(f"\n--- {prompt[:60]} ---\n{response}\n")

    async def custom_container(self) -> None:
        """Python: a program of one's own."""
        provider = await self._provider()
        params = {"image_override": "dc1/general-worker:latest", "script": SCRIPT}
        job = await self._submit(provider, "custom_container", 10, params)
        self.print(f"Job: {job.id}")
        await self._until_done(job, 5)
        self.print((await _got(self.client.jobs.output(job.id))).data)

    async def renter_sdk(self) -> None:
        """The Node package as it is to be used: submit to the first provider, wait, print."""
        provider = (await _got(self.client.list_providers()))[0]
        params = {"model": MISTRAL, "prompt": "Explain blockchain to a 10-year-old", "maxTokens": 256}
        job = await _got(self.client.submit_job(provider.id, "llm_inference", params, 2))
        done = await _got(self.client.wait_for_job(job.id))
        self.print((done.result or {}).get("output", "undefined"))
        self.print(f"Cost: {done.cost_sar.normalize():f} SAR")

    async def poll_job(self, job_id: str, timeout: float) -> None:
        """The guide's helper, which looks every five seconds whatever the job is."""
        self.print((await _got(self.client.poll_job(job_id, timeout, 5))).status)


SNIPPETS: dict[str, Callable[[Guide], Awaitable[None]]] = {
    "seed.python.quickstart": Guide.quickstart,
    "seed.python.image": Guide.image_generation,
    "seed.python.vllm": Guide.vllm_serve,
    "seed.python.batch": Guide.batch,
    "seed.python.custom_container": Guide.custom_container,
    "seed.node.quickstart": Guide.node_quickstart,
    "seed.node.image": Guide.node_image_generation,
    # How the one with the package is called is not told by any case that came with the tests.
    "seed.": Guide.renter_sdk,
}
"""Each snippet by how the names of its cases begin."""
