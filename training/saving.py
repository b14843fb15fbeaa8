"""Writes a model folder in the layout of the Hugging Face hub: fp16 safetensors, configs, tokenizer, processor, template.

The JSON files are written here, not by the library, so that they are the same whichever version trained the model, and the
folder loads in every version the package allows. Weights carry the hub's names (``vision_tower.vision_model.…``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer

from training.architectures import CONTEXT, GEMMA_CHAT, GEMMA_IMAGE_TOKENS, IMAGE, LLAVA_CHAT, PATCH

READER = "reader"


def save(model: Any, family: str, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the whole folder. The model is turned to half precision on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    model.float()
    _rename_weights(folder / "model.safetensors")
    _one_dtype(folder / "config.json")
    kept = ("bos_token_id", "do_sample", "eos_token_id", "max_new_tokens", "pad_token_id")
    _write(folder / "generation_config.json", {name: getattr(model.generation_config, name) for name in kept})
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", _tokenizer_config(family))
    (folder / "chat_template.jinja").write_text(GEMMA_CHAT if family == "gemma" else LLAVA_CHAT, encoding="utf-8")
    if family != READER:
        _write(folder / "preprocessor_config.json", _preprocessor_config(family))
        _write(folder / "processor_config.json", _processor_config(family))


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _one_dtype(path: Path) -> None:
    """Parts of a model that was loaded to be trained further remember being float32; the weights beside them are not."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for part in config.values():
        if isinstance(part, dict):
            part.pop("dtype", None)
    _write(path, config)


def _rename_weights(path: Path) -> None:
    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    named = {
        name if "vision_model." in name else name.replace("vision_tower.", "vision_tower.vision_model."): tensor.contiguous()
        for name, tensor in weights.items()
    }
    save_file(named, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library writes it for its owner alone


def _tokenizer_config(family: str) -> dict[str, Any]:
    common: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": CONTEXT,
        "padding_side": "left",
        "unk_token": "<unk>",
    }
    if family == "gemma":
        image = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
        marks = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
        return common | marks | image | {"extra_special_tokens": image, "processor_class": "Gemma3Processor"}
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    if family == READER:
        return common | marks
    image = {"image_token": "<image>"}
    return common | marks | image | {"extra_special_tokens": image, "processor_class": "LlavaProcessor"}


def _preprocessor_config(family: str) -> dict[str, Any]:
    half = [0.5, 0.5, 0.5]
    square = {"height": IMAGE, "width": IMAGE}
    common = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": half,
        "image_std": half,
        "resample": 3 if family == "llava" else 2,
        "rescale_factor": 1 / 255,
    }
    if family == "gemma":
        more = {"do_pan_and_scan": False, "image_seq_length": GEMMA_IMAGE_TOKENS, "size": square}
        return common | more | {"image_processor_type": "Gemma3ImageProcessor", "processor_class": "Gemma3Processor"}
    more = {"do_center_crop": True, "crop_size": square, "size": {"shortest_edge": IMAGE}}
    return common | more | {"image_processor_type": "CLIPImageProcessor", "processor_class": "LlavaProcessor"}


def _processor_config(family: str) -> dict[str, Any]:
    if family == "gemma":
        return {"image_seq_length": GEMMA_IMAGE_TOKENS, "processor_class": "Gemma3Processor"}
    return {
        "image_token": "<image>",
        "num_additional_image_tokens": 1,
        "patch_size": PATCH,
        "processor_class": "LlavaProcessor",
        "vision_feature_select_strategy": "default",
    }
