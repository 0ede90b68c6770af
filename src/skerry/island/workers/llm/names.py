"""Names of models: `mistralai/Mistral-7B-Instruct-v0.2`, `phi-2`, `phi-2:Q8_0`. They come from strangers."""

from __future__ import annotations

import re

from skerry.island.engine.errors import Invalid

_LONGEST = 200
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_FORM = re.compile(r"[A-Za-z0-9_]+")
_QUANTISATION = r"(?:I?Q\d+(?:_[A-Z0-9]+)*|T?Q\d_\d|BF16|F16|F32|FP16|FP32|MXFP4(?:_[A-Z]+)?)"
_FORM_OF_FILE = re.compile(rf"[._-](?:UD-)?({_QUANTISATION})$", re.IGNORECASE)
_SPLIT = re.compile(r"-(\d{5})-of-(\d{5})$")

NOT_MODELS = ("mmproj", "imatrix")
"""What the names of GGUF files begin with that go with a model and are none."""

PREFERRED = ("Q4_K_M", "Q5_K_M", "Q4_K_S", "Q5_K_S", "Q4_K_L", "Q4_K_XL", "Q6_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q8_0")
"""Quantisations in the order in which they are taken when none is asked for: what loses little comes first, of that
the smallest, since speed goes with size."""
_LAST = ("BF16", "F16", "FP16", "F32", "FP32")


def check(name: str) -> str:
    """A name, if it can be one.

    Raises:
        Invalid: it cannot.
    """
    base, colon, form = name.partition(":")
    parts = base.split("/")
    if (
        len(name) > _LONGEST
        or len(parts) > 2
        or not all(_PART.fullmatch(part) and ".." not in part for part in parts)
        or (colon and not _FORM.fullmatch(form))
    ):
        raise Invalid(
            f"{name[:80]!r} is no name of a model; write one such as mistralai/Mistral-7B-Instruct-v0.2, phi-2 or "
            f"phi-2:Q8_0"
        )
    return name


def split(name: str) -> tuple[str, str]:
    """A name without its quantisation, and that, empty when it says none."""
    base, _, form = name.partition(":")
    return base, form


def stem(file_name: str) -> tuple[str, str, int, int]:
    """What the name of a file says: the model, its quantisation (upper case, or empty), and part and number of parts.

    Example:
        >>> stem("phi-2.Q4_K_M-00001-of-00003.gguf")
        ('phi-2', 'Q4_K_M', 1, 3)
    """
    rest = file_name.removesuffix(".gguf")
    part, parts = 1, 1
    if found := _SPLIT.search(rest):
        part, parts = int(found[1]), int(found[2])
        rest = rest[: found.start()]
    form = ""
    if found := _FORM_OF_FILE.search(rest):
        form = found[1].upper()
        rest = rest[: found.start()]
    return rest, form, part, parts


def rank(form: str) -> tuple[int, str]:
    """How early a quantisation is taken; one that is not told comes first, as it was put there by name."""
    if not form:
        return 0, form
    if form in PREFERRED:
        return 1 + PREFERRED.index(form), form
    return (200 + _LAST.index(form) if form in _LAST else 100), form
