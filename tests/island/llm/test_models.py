"""Models on disk: by which names they are found, and what is no model."""

from __future__ import annotations

import os
from pathlib import Path

import gguf as reference
import pytest

from skerry.errors import ConfigurationError
from skerry.island.engine.errors import Conflict, Invalid, NotFound
from skerry.island.workers.llm import LlmSettings, Model, ModelStore, demo, gguf, names
from tests.island.llm.llm_lab import MISTRAL


def put(directory: Path, *files: str) -> None:
    for file in files:
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(demo.content() if path.suffix == ".gguf" else b"{}")


def found(store: ModelStore, name: str) -> str | None:
    model = store.find(name)
    return None if model is None else str(model.path.relative_to(model.place))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("phi-2.gguf", "phi-2"),
        ("phi-2.Q4_K_M.gguf", "phi-2"),
        ("phi-2.Q4_K_M.gguf", "phi-2:q4_k_m"),
        ("phi-2.Q4_K_M.gguf", "phi-2.Q4_K_M"),
        ("phi-2/anything.gguf", "phi-2"),
        (f"{MISTRAL}.gguf", MISTRAL),
        (f"{MISTRAL}.gguf", MISTRAL.lower()),
        (f"{MISTRAL}/mistral-7b.Q5_K_M.gguf", MISTRAL),
        (f"{MISTRAL}/Q5_K_M/mistral-7b.gguf", MISTRAL),
        (f"{MISTRAL}.gguf", "MISTRALAI/mistral-7b-INSTRUCT-v0.2"),
    ],
)
def test_a_model_is_found_by_its_name(tmp_path: Path, file: str, name: str) -> None:
    put(tmp_path, file)
    assert found(ModelStore(tmp_path), name) == file


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("phi-2.gguf",), "phi-3"),
        (("phi-2.Q4_K_M.gguf",), "phi-2:Q8_0"),
        (("mistralai/a.gguf", "mistralai/b.gguf"), "mistralai"),
        (("phi-2-00001-of-00002.gguf",), "phi-2"),
        (("mmproj-phi-2.gguf",), "mmproj-phi-2"),
        ((".phi-2.gguf",), "phi-2"),
        (("a/b/c/d.gguf",), "a/b/c"[:3] + "x"),
        (("phi-2.bin",), "phi-2"),
    ],
)
def test_what_is_not_there_is_not_found(tmp_path: Path, files: tuple[str, ...], name: str) -> None:
    put(tmp_path, *files)
    assert found(ModelStore(tmp_path), name) is None


def test_of_several_quantisations_the_best_compromise_is_taken(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    order = ("F32", "F16", "Q2_K", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M")
    for form in order:
        put(tmp_path, f"org/m/m-{form}.gguf")
        assert found(store, "org/m") == f"org/m/m-{form}.gguf"
    assert found(store, "org/m:f16") == "org/m/m-F16.gguf"
    put(tmp_path, "org/m.gguf")
    assert found(store, "org/m") == "org/m.gguf"
    assert next(iter(store.ls())).quantisation == ""
    assert len(store.ls()) == len(order) + 1


def test_a_split_model_is_whole_or_none(tmp_path: Path) -> None:
    put(tmp_path, "big.Q8_0-00001-of-00003.gguf", "big.Q8_0-00003-of-00003.gguf", "big.Q4_0.gguf")
    store = ModelStore(tmp_path)
    assert store.find("big:Q8_0") is None
    put(tmp_path, "big.Q8_0-00002-of-00003.gguf")
    model = store.find("big:Q8_0")
    assert model is not None
    assert [file.name[-19:-5] for file in model.files] == ["00001-of-00003", "00002-of-00003", "00003-of-00003"]
    assert model.size_bytes == 3 * len(demo.content())


def test_directories_are_looked_at_in_order(tmp_path: Path) -> None:
    home, one, two = tmp_path / "home", tmp_path / "one", tmp_path / "two"
    cache = tmp_path / "cache"
    store = ModelStore.of(
        tmp_path,
        {"SKERRY_MODELS": f"{one}:{two}", "HF_HUB_CACHE": str(cache)},
    )
    assert (store.home, store.extra, store.hub_cache) == (tmp_path / "models", (one, two), cache)
    store = ModelStore(home, extra=store.extra, hub_cache=cache)
    assert store.ls() == []
    snapshot = "models--org--m/snapshots"
    put(cache, f"{snapshot}/aaa/m.Q4_K_M.gguf", "models--org--m/refs/none", f"{snapshot}/bbb/m.Q8_0.gguf")
    os.utime(cache / snapshot / "aaa", (1, 1))
    assert found(store, "org/m") == f"{snapshot}/bbb/m.Q8_0.gguf"
    (cache / "models--org--m/refs/main").write_text("aaa\n")
    assert found(store, "org/m") == f"{snapshot}/aaa/m.Q4_K_M.gguf"
    for directory in (two, one, home):
        put(directory, "org/m.Q4_K_M.gguf")
        model = store.find("org/m")
        assert model is not None
        assert model.place == directory
    assert [model.place for model in store.ls()] == [home]
    assert ModelStore.of(tmp_path, {"HF_HOME": "/x"}).hub_cache == Path("/x/hub")


def test_weights_of_safetensors_are_for_another_engine(tmp_path: Path) -> None:
    put(tmp_path, "org/m/config.json", "org/m/model.safetensors")
    store = ModelStore(tmp_path)
    assert store.find("org/m") is None
    model = store.find("org/m", formats=("weights", "gguf"))
    assert model is not None
    assert (model.format, model.path) == ("weights", tmp_path / "org/m")
    put(tmp_path, "org/m.gguf")
    chosen = [store.find("org/m", formats=formats) for formats in (("weights", "gguf"), ("gguf", "weights"))]
    assert [model and model.format for model in chosen] == ["weights", "gguf"]


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../m", "a/../m", "/m", "a//b", "a/", "a/b/c", "a..b", "a/.b", "~/m", "$HOME"),
        *("a\0", "a b", "a\n", "é", "-m", "a:", "a:../b", "a:b:c", "a" * 201),
    ],
)
def test_names_lead_nowhere_else(tmp_path: Path, name: str) -> None:
    put(tmp_path, "m.gguf")
    store = ModelStore(tmp_path / "models")
    for act in (store.find, store.remove, store.add_demo, lambda name: store.add(name, tmp_path / "m.gguf")):
        with pytest.raises(Invalid, match="no name of a model"):
            act(name)
    assert not (tmp_path / "models").exists()


def test_files_are_added_as_links_or_copies_and_removed(tmp_path: Path) -> None:
    put(tmp_path, "there/x.Q6_K.gguf", "there/y-00001-of-00002.gguf", "there/y-00002-of-00002.gguf")
    store = ModelStore(tmp_path / "models")
    linked = store.add("org/m", tmp_path / "there/x.Q6_K.gguf")
    assert (linked.full_name, linked.path.is_symlink()) == ("org/m:Q6_K", True)
    copied = store.add("org/m:Q8_0", tmp_path / "there/x.Q6_K.gguf", how="copy")
    assert (copied.full_name, copied.path.is_symlink()) == ("org/m:Q8_0", False)
    split = store.add("y", tmp_path / "there/y-00001-of-00002.gguf")
    assert [file.name for file in split.files] == ["y-00001-of-00002.gguf", "y-00002-of-00002.gguf"]
    with pytest.raises(Conflict, match="there is a model org/m:Q8_0 already"):
        store.add("org/m:Q8_0", tmp_path / "there/x.Q6_K.gguf")
    assert store.add("org/m:Q8_0", tmp_path / "there/x.Q6_K.gguf", replace=True).path.is_symlink()
    assert [one.full_name for one in store.remove("org/m:Q6_K")] == ["org/m:Q6_K"]
    assert [one.full_name for one in store.remove("org/m")] == ["org/m:Q8_0"]
    assert [one.full_name for one in store.remove("y")] == ["y"]
    assert list(store.home.iterdir()) == []
    assert len(list((tmp_path / "there").iterdir())) == 3
    with pytest.raises(NotFound, match="there is no model y"):
        store.remove("y")
    other = ModelStore(tmp_path / "models", extra=[tmp_path / "there"])
    with pytest.raises(NotFound, match=r"x:Q6_K lies in .*there, which is not the island's"):
        other.remove("x")


def test_what_is_no_model_is_not_added(tmp_path: Path) -> None:
    put(tmp_path, "y-00001-of-00002.gguf")
    (tmp_path / "x.gguf").write_bytes(b"hello")
    store = ModelStore(tmp_path / "models")
    for file, words in (
        ("x.gguf", "no GGUF file"),
        ("none.gguf", "No such file"),
        ("y-00001-of-00002.gguf", "2 parts"),
    ):
        with pytest.raises(Invalid, match=words):
            store.add("m", tmp_path / file)
    assert store.ls() == []


def test_the_demo_is_small_the_same_each_time_and_says_what_it_is(tmp_path: Path) -> None:
    demo.write(tmp_path / "a.gguf")
    demo.content.cache_clear()
    demo.write(tmp_path / "b.gguf")
    content = (tmp_path / "a.gguf").read_bytes()
    assert content == (tmp_path / "b.gguf").read_bytes()
    assert len(content) < 1_000_000
    head = gguf.read(tmp_path / "a.gguf")
    assert "demo" in head.name
    assert "gibberish" in head.description
    assert (head.architecture, head.context_length, head.layers, head.vocabulary) == ("llama", 2048, 2, 259)
    assert (head.cache_width, head.has_template) == (256, True)
    assert sorted(os.listdir(tmp_path)) == ["a.gguf", "b.gguf"]


def test_others_read_the_file_as_we_do(tmp_path: Path) -> None:
    demo.write(tmp_path / "a.gguf")
    reader = reference.GGUFReader(tmp_path / "a.gguf")
    head = gguf.read(tmp_path / "a.gguf")
    assert sum(int(tensor.n_bytes) for tensor in reader.tensors) == head.weights_bytes
    assert reader.fields["general.name"].contents() == head.name
    # Theirs counts Q8_1, which no file holds, as it was once.
    theirs = {int(kind): sizes for kind, sizes in reference.GGML_QUANT_SIZES.items() if kind.name != "Q8_1"}
    assert {kind: gguf.BLOCKS.get(kind) for kind in theirs} == theirs


def test_a_head_that_claims_the_impossible_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    huge = (1 << 62).to_bytes(8, "little")
    for content in (
        b"GGUF\x03\0\0\0" + huge + huge,
        b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + huge,
        b"GGUF\x09\0\0\0" + bytes(16),
        b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + b"\x01" + bytes(7) + b"a\x09\0\0\0\x09\0\0\0" + huge,
        b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + b"\x01" + bytes(7) + b"a\x09\0\0\0\x08\0\0\0" + huge,
        b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + b"\x01" + bytes(7) + b"a\x63\0\0\0" + bytes(8),
    ):
        file.write_bytes(content)
        with pytest.raises(Invalid, match=r"x\.gguf is"):
            gguf.read(file)
    whole = demo.content()
    for length in range(4, len(whole), 37_111):
        file.write_bytes(whole[:length])
        with pytest.raises(Invalid, match="cut short"):
            gguf.read(file)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("phi-2.gguf", ("phi-2", "", 1, 1)),
        ("phi-2.Q4_K_M.gguf", ("phi-2", "Q4_K_M", 1, 1)),
        ("phi-2-q8_0.gguf", ("phi-2", "Q8_0", 1, 1)),
        ("m-IQ4_XS-00002-of-00004.gguf", ("m", "IQ4_XS", 2, 4)),
        ("m-UD-Q4_K_XL.gguf", ("m", "Q4_K_XL", 1, 1)),
        ("qwen2.5-0.5b-instruct-fp16.gguf", ("qwen2.5-0.5b-instruct", "FP16", 1, 1)),
        ("Meta-Llama-3-8B.BF16.gguf", ("Meta-Llama-3-8B", "BF16", 1, 1)),
        ("a-MXFP4_MOE.gguf", ("a", "MXFP4_MOE", 1, 1)),
    ],
)
def test_a_files_name_says_its_quantisation(file: str, said: tuple[str, str, int, int]) -> None:
    assert names.stem(file) == said


def test_settings_are_read_from_the_environment() -> None:
    variables = {"DEFAULT": "org/m", "HUB": "on", "MEMORY_BYTES": "2G", "PROCESSES": "2", "IDLE_SECONDS": "1.5"}
    found = LlmSettings.from_env({f"SKERRY_LLM_{name}": text for name, text in variables.items()}, processes=3)
    assert found == LlmSettings(default_model="org/m", hub=True, memory_bytes=2 << 30, processes=3, idle_seconds=1.5)
    assert LlmSettings.from_env({}) == LlmSettings()
    for name, text in (("DEFAULT", "../m"), ("HUB", "yes"), ("PROCESSES", "0"), ("CONTEXT", "x"), ("PATIENCE", "-1")):
        with pytest.raises(ConfigurationError):
            LlmSettings.from_env({f"SKERRY_LLM_{name}": text})


def test_a_model_says_how_to_ask_for_just_it() -> None:
    one = Model(name="m", quantisation="Q8_0", files=(Path("m.gguf"),), size_bytes=1, place=Path())
    assert (one.full_name, one.path) == ("m:Q8_0", Path("m.gguf"))


def test_a_data_directory_that_a_model_makes_first_is_its_owners_alone(tmp_path: Path) -> None:
    ModelStore.of(tmp_path / "new" / "data").add_demo("tiny")
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
