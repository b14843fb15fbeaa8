"""Checkpoint folders of real sizes (config, tokenizer, processor, template; no weights) for timing with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from palpate.models._hf_presets import MISTRAL

GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<start_of_image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)


def tokenizer(size: int, special: Mapping[str, int], **extra: Any) -> Any:
    """Bytes, the special tokens at their places, and names for the rest of the vocabulary."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    taken = set(special.values())
    vocabulary: dict[str, int] = dict(special)
    free = (i for i in range(size) if i not in taken)
    for word in ("<unk>", "<s>", "</s>", *pre_tokenizers.ByteLevel.alphabet()):
        vocabulary.setdefault(word, next(free))
    for i in free:
        vocabulary[f"tok{i}"] = i
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    ends = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, additional_special_tokens=list(special), **ends, **extra)


def llava(folder: Path, *, tiny: bool = False) -> None:
    """LLaVA-1.6-Mistral-7B: CLIP ViT-L/14-336 and Mistral 7B."""
    from transformers import CLIPVisionConfig, LlavaNextConfig, MistralConfig
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    side, patch = (28, 14) if tiny else (336, 14)
    grid = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side], [3 * side, side], [side, 3 * side]]
    text = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
    see = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    if tiny:
        text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
        see = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    words, place = (1000, 900) if tiny else (32064, 32000)
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**see, image_size=side, patch_size=patch, projection_dim=768),
        text_config=MistralConfig(
            **text, vocab_size=words, num_key_value_heads=2 if tiny else 8, sliding_window=None, rope_theta=1e6
        ),
        image_token_index=place,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_grid_pinpoints=grid,
    )
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, image_grid_pinpoints=grid
    )
    settings = {"patch_size": patch, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    _save(folder, config, "LlavaNext", tokenizer(words, {"<image>": place}), images, MISTRAL, settings)


def gemma(folder: Path, *, tiny: bool = False) -> None:
    """Gemma-3-4B: SigLIP-400M at 896 pixels and the 4B language model."""
    from transformers import Gemma3Config, Gemma3TextConfig, SiglipVisionConfig
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    side, tokens = (56, 4) if tiny else (896, 256)
    text = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "num_attention_heads": 8, "head_dim": 256}
    see = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    if tiny:
        text = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
        see = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = 1000 if tiny else 262208
    begin, end, place = (900, 901, 902) if tiny else (255999, 256000, 262144)
    config = Gemma3Config(
        text_config=Gemma3TextConfig(**text, vocab_size=words, num_key_value_heads=2 if tiny else 4, sliding_window=1024),
        vision_config=SiglipVisionConfig(**see, image_size=side, patch_size=14, vision_use_head=False),
        mm_tokens_per_image=tokens,
        boi_token_index=begin,
        eoi_token_index=end,
        image_token_index=place,
    )
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    names |= {"turn_token": "<start_of_turn>", "end_token": "<end_of_turn>"}
    ids = {"<image_soft_token>": place, "<start_of_image>": begin, "<end_of_image>": end}
    ids |= {"<start_of_turn>": begin - 2, "<end_of_turn>": begin - 1}
    ids |= {"\n" * n: begin - 10 + n for n in range(1, 5)}  # vLLM looks these up by name
    images = Gemma3ImageProcessorPil(
        size={"height": side, "width": side}, image_seq_length=tokens, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    _save(folder, config, "Gemma3", tokenizer(words, ids, extra_special_tokens=names), images, GEMMA, {"image_seq_length": tokens})


def _save(folder: Path, config: Any, name: str, words: Any, images: Any, chat: str, settings: Mapping[str, Any]) -> None:
    config.architectures = [f"{name}ForConditionalGeneration"]
    config.save_pretrained(folder)
    words.save_pretrained(folder)
    images.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(chat, encoding="utf-8")
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": f"{name}Processor", **settings}), encoding="utf-8")


MAKERS: Mapping[str, Callable[..., None]] = {"llava": llava, "gemma": gemma}
