"""Whole jobs in one call: submit, wait, and take what came of it (section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skerry._kernel.options import RequestOptions
from skerry.networks.dc1 import operations
from skerry.networks.dc1._async.job_waiting import AsyncJobWaiting, failed
from skerry.networks.dc1.answers import filled
from skerry.networks.dc1.inputs import JobType
from skerry.networks.dc1.outputs import EndpointResult, ImageResult, JobOutput, TextResult, named
from skerry.networks.dc1.polling import POLL_TIMEOUT, WAIT_TIMEOUT


class AsyncJobKinds(AsyncJobWaiting):
    """The kinds of work that have one obvious result."""

    async def generate_text(
        self,
        prompt: str,
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        provider_id: int | None = None,
        duration_minutes: float = 5,
        timeout: float | None = POLL_TIMEOUT,
        options: RequestOptions | None = None,
    ) -> TextResult:
        """Have a model write: an `llm_inference` job (section 5.5).

        Args:
            prompt: what is asked.
            model: which one; the network's small one unless given.
            max_tokens: 32 to 4096, 256 unless given.
            temperature: 0.1 to 2, 0.7 unless given.
            provider_id: on whose GPU; None for whichever fits.
            duration_minutes: how long at most; the price of that is held.
            timeout: seconds to wait at most, None for ever.
            options: for each request.

        Raises:
            JobFailedError: the job ended without a text.
            JobTimeoutError: the time is up, and the job goes on.
            DC1Error: anything else went wrong.
        """
        params = {"model": model, "prompt": prompt, "max_tokens": max_tokens, "temperature": temperature}
        output = await self._run("llm_inference", params, provider_id, duration_minutes, timeout, options)
        if output.ok and isinstance(output.result, TextResult):
            return output.result
        raise failed(output.job.id, output, "there is no text")

    async def generate_image(
        self,
        prompt: str,
        *,
        model: str | None = None,
        negative_prompt: str | None = None,
        steps: int | None = None,
        width: int | None = None,
        height: int | None = None,
        seed: int | None = None,
        provider_id: int | None = None,
        duration_minutes: float = 10,
        timeout: float | None = POLL_TIMEOUT,
        options: RequestOptions | None = None,
    ) -> ImageResult:
        """Have a model draw: an `image_generation` job (section 5.5).

        Args:
            prompt: what is asked.
            model: which one; the network's small one unless given.
            negative_prompt: what is not wanted.
            steps: 5 to 100, 30 unless given.
            width: pixels, 256 to 1024, 512 unless given.
            height: pixels, 256 to 1024, 512 unless given.
            seed: to draw the same again.
            provider_id: on whose GPU; None for whichever fits.
            duration_minutes: how long at most; the price of that is held.
            timeout: seconds to wait at most, None for ever.
            options: for each request.

        Raises:
            JobFailedError: the job ended without a whole picture.
            JobTimeoutError: the time is up, and the job goes on.
            DC1Error: anything else went wrong.
        """
        params = {
            "model": model,
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "steps": steps,
            "width": width,
            "height": height,
            "seed": seed,
        }
        output = await self._run("image_generation", params, provider_id, duration_minutes, timeout, options)
        if output.ok and isinstance(output.result, ImageResult) and output.result.complete:
            return output.result
        raise failed(output.job.id, output, "there is no picture")

    async def run_container(
        self,
        script: str,
        *,
        image: str | None = None,
        provider_id: int | None = None,
        duration_minutes: float = 10,
        timeout: float | None = POLL_TIMEOUT,
        options: RequestOptions | None = None,
    ) -> TextResult:
        """Run a Python program on a GPU: a `custom_container` job (section 5.5).

        Args:
            script: the program; what it prints is the text, and what it prints behind `DC1_RESULT_JSON:` the data.
            image: an approved one; the network's general one unless given.
            provider_id: on whose GPU; None for whichever fits.
            duration_minutes: how long at most; the price of that is held.
            timeout: seconds to wait at most, None for ever.
            options: for each request.

        Raises:
            JobFailedError: the job ended without an output.
            JobTimeoutError: the time is up, and the job goes on.
            DC1Error: anything else went wrong.
        """
        params = {"image_override": image, "script": script}
        output = await self._run("custom_container", params, provider_id, duration_minutes, timeout, options)
        if output.ok and isinstance(output.result, TextResult):
            return output.result
        raise failed(output.job.id, output, "there is no output")

    async def serve_vllm(
        self,
        model: str,
        *,
        max_model_len: int | None = None,
        dtype: str | None = None,
        provider_id: int | None = None,
        duration_minutes: float = 60,
        timeout: float | None = WAIT_TIMEOUT,
        options: RequestOptions | None = None,
    ) -> EndpointResult:
        """Have a model served in the manner of OpenAI, and wait until it is: a `vllm_serve` job (section 5.5).

        Args:
            model: which one.
            max_model_len: 512 to 32768, 4096 unless given.
            dtype: `float16` unless given, `bfloat16`, `float32`.
            provider_id: on whose GPU; None for whichever fits.
            duration_minutes: how long at most; the price of that is held.
            timeout: seconds to wait at most until it serves, None for ever.
            options: for each request.

        Returns:
            Where it is, with the job's id: `complete` it when it is no longer needed.

        Raises:
            JobFailedError: the job ended without serving.
            JobTimeoutError: the time is up, and it does not serve yet.
            DC1Error: anything else went wrong.
        """
        params = {"model": model, "max_model_len": max_model_len, "dtype": dtype}
        job_id = await self._start("vllm_serve", params, provider_id, duration_minutes, options)
        endpoint = await self.wait_for_endpoint(job_id, timeout=timeout, options=unkeyed(options))
        return replace(endpoint, job_id=job_id)

    async def _start(
        self,
        job_type: JobType,
        params: Mapping[str, Any],
        provider_id: int | None,
        duration_minutes: float,
        options: RequestOptions | None,
    ) -> str:
        body = {
            "provider_id": provider_id,
            "job_type": job_type,
            "duration_minutes": duration_minutes,
            "params": {name: value for name, value in params.items() if value is not None},
        }
        return named(await self._send(operations.SUBMIT, body=body, options=options))

    async def _run(
        self,
        job_type: JobType,
        params: Mapping[str, Any],
        provider_id: int | None,
        duration_minutes: float,
        timeout: float | None,
        options: RequestOptions | None,
    ) -> JobOutput:
        job_id = await self._start(job_type, params, provider_id, duration_minutes, options)
        output = await self.wait(job_id, timeout=timeout, options=unkeyed(options))
        return output if output.job.id else replace(output, job=filled(output.job, job_id=job_id))


def unkeyed(options: RequestOptions | None) -> RequestOptions | None:
    """Options for further requests of the same call, which its idempotency key is not for."""
    return options and replace(options, idempotency_key=None)
