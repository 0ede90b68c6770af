"""Writes models of Stable Diffusion's shape with random weights; the diffusion environment's Python runs it.

python -I demo_script.py '{"folders": ["…"], "marker": "skerry-demo.json"}'
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

NOTE = """# A demo, not a model

This folder was made by `skerry diffusion demo`. It has the shape of Stable Diffusion and random weights: its pictures
are coloured noise that a prompt and a seed change. It shows that the whole way to a picture works.
"""
_LENGTH = 77


def main() -> None:
    """Make one, and copy it to each folder, where it appears whole."""
    task = json.loads(sys.argv[1])
    pipeline = build()
    for name in task["folders"]:
        folder = Path(name)
        fresh = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        pipeline.save_pretrained(fresh, safe_serialization=True)
        for weights in fresh.rglob("*.safetensors"):
            # As readable as the rest: they are written for their owner alone.
            weights.chmod((fresh / "model_index.json").stat().st_mode)
        (fresh / "README.md").write_text(NOTE)
        (fresh / task["marker"]).write_text(json.dumps({"demo": True, "pictures": "noise"}) + "\n")
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(fresh, folder)


def build() -> Any:
    """The same weights every time."""
    import torch  # type: ignore[import-not-found]
    from diffusers import (  # type: ignore[import-not-found]
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer  # type: ignore[import-not-found]

    torch.manual_seed(1)
    words = vocabulary()
    start, end = len(words) - 2, len(words) - 1
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        projection_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=_LENGTH,
        bos_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
    )
    return StableDiffusionPipeline(
        tokenizer=CLIPTokenizer(
            vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=_LENGTH
        ),
        text_encoder=CLIPTextModel(text),
        unet=UNet2DConditionModel(
            sample_size=32,
            # Attention grows by the fourth power of a picture's side, so only the coarsest level has it.
            block_out_channels=(16, 16, 32, 64),
            layers_per_block=1,
            down_block_types=(*("DownBlock2D",) * 3, "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", *("UpBlock2D",) * 3),
            cross_attention_dim=64,
            attention_head_dim=8,
            norm_num_groups=8,
        ),
        vae=AutoencoderKL(
            block_out_channels=(16, 16, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=8,
            mid_block_add_attention=False,
        ),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def vocabulary() -> list[str]:
    """Every byte as byte-level tokenizers write it, inside a word and at its end, and the two marks."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [*map(chr, shown), *(chr(256 + number) for number in range(256 - len(shown)))]
    return [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]


if __name__ == "__main__":
    main()
