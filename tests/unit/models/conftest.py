"""Tiny checkpoints of real architectures with random weights and a tokenizer made here, saved once for the whole test run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palpate.models.hf import HFKind
from palpate.nouns import Block, Case, Form, Perturbation, Polarity, Prompt, Stimulus, Trial
from palpate.parts import Model, ModelSpec
from palpate.prompts import Wording, reference_prompts

WORDS = Wording("image", "pneumonia", "consolidation, air bronchograms, and silhouettes", "Pneumonia", "No pneumonia", "pneumonia")
CLOSED = tuple(p for p in reference_prompts(WORDS) if p.form.closed)
"""The 12 closed prompts of the reference study: yes-no, A-B and B-A, of different lengths."""
DESCRIBE = Prompt("describe", "Describe this image.", Form.DESCRIBE, Polarity.POSITIVE, "describe")

CORPUS = [
    "Is this image abnormal? Is this image normal? Does this image contain evidence of pneumonia? Answer in one word.",
    "Which does this image show? Choose one answer. A) Pneumonia B) No pneumonia Yes No yes no YES NO A B",
    "Consider signs of consolidation, air bronchograms, and silhouettes. Describe this image in great detail.",
    " Yes Yes\nYes Yes No No\nNo No A A\nA B B\nB yes yes no no YES YES NO NO user model assistant USER: ASSISTANT:",
] * 20

CONTENT = (
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}"
)
LLAVA_CHAT = (
    "{% for m in messages %}{{ 'USER: ' if m['role'] == 'user' else '' }}"
    + CONTENT.replace("IMAGE", "<image>\n")
    + " {% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
GEMMA_CHAT = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
    + CONTENT.replace("IMAGE", "<start_of_image>")
    + "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    + CONTENT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS_CHAT = (
    "<|im_start|>{% for m in messages %}{{ m['role'] }}:"
    + CONTENT.replace("IMAGE", "<image>")
    + "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
)
SPECIAL = {
    "llava_onevision": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"],
    "internvl": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
    "llava": ["<unk>", "<s>", "</s>", "<pad>", "<image>"],
    "gemma3": [
        *("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    ],
    "qwen2_vl": [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ],
    "idefics3": [
        *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<fake_token_around_image>", "<global-img>"),
        *("<end_of_utterance>", *(f"<row_{r}_col_{c}>" for r in range(1, 5) for c in range(1, 5))),
    ],
}
TEXT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def byte_tokenizer(special: list[str], *, bos: str | None, eos: str, pad: str, add_bos: bool = False, **extra: Any) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=480, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    if add_bos:
        made.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token=eos, pad_token=pad, padding_side="left", **extra)


def save(folder: Path, model: Any, tokenizer: Any, image_processor: Any, processor_class: str, chat: str, **settings: Any) -> Path:
    """As on the hub. Part by part, because a processor without torchvision has no video processor and cannot save itself."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if image_processor is not None:
        image_processor.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(chat)
    if processor_class:
        (folder / "processor_config.json").write_text(json.dumps({"processor_class": processor_class, **settings}))
    return folder


def sharpen(model: Any) -> Any:
    """Random weights give flat logits; larger ones make greedy choices clear, so that equality of tokens means something."""
    import torch

    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn_like(parameter) * (0.4 if "embed_tokens" in name or "lm_head" in name else 0.12))
    return model


def clip_images(**settings: Any) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, **settings)


def make_llava(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tokenizer = byte_tokenizer(SPECIAL["llava"], bos="<s>", eos="</s>", pad="<pad>", add_bos=True)
    text = LlamaConfig(**TEXT, vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=3)
    config = LlavaConfig(
        text_config=text,
        vision_config=CLIPVisionConfig(**VISION),
        image_token_index=4,
        image_seq_length=16,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    settings = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    model = sharpen(LlavaForConditionalGeneration(config))
    return save(folder, model, tokenizer, clip_images(), "LlavaProcessor", LLAVA_CHAT, **settings)


def make_llava_next(folder: Path) -> Path:
    from transformers import CLIPVisionConfig, LlavaNextConfig, LlavaNextForConditionalGeneration, MistralConfig
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

    tokenizer = byte_tokenizer(SPECIAL["llava"], bos="<s>", eos="</s>", pad="<pad>", add_bos=True)
    text = MistralConfig(**TEXT, vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=3, sliding_window=None)
    grid = [[32, 64], [64, 32], [64, 64]]
    config = LlavaNextConfig(
        text_config=text,
        vision_config=CLIPVisionConfig(**VISION),
        image_token_index=4,
        image_grid_pinpoints=grid,
        image_seq_length=16,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=grid
    )
    settings = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    model = sharpen(LlavaNextForConditionalGeneration(config))
    return save(folder, model, tokenizer, images, "LlavaNextProcessor", LLAVA_CHAT, **settings)


def make_gemma3(folder: Path, window: int = 512) -> Path:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    extra = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = byte_tokenizer(
        SPECIAL["gemma3"], bos="<bos>", eos="<eos>", pad="<pad>", add_bos=True, unk_token="<unk>", extra_special_tokens=extra
    )
    text = Gemma3TextConfig(
        **TEXT,
        vocab_size=len(tokenizer),
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=window,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=SiglipVisionConfig(**VISION, vision_use_head=False),
        mm_tokens_per_image=4,
        image_token_index=8,
        boi_token_index=6,
        eoi_token_index=7,
        eos_token_id=[1, 5],
        tie_word_embeddings=False,
    )
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32}, image_seq_length=4)
    model = sharpen(Gemma3ForConditionalGeneration(config))
    model.generation_config.eos_token_id = [1, 5]
    return save(folder, model, tokenizer, images, "Gemma3Processor", GEMMA_CHAT, image_seq_length=4)


def make_qwen_vl(folder: Path, version: str = "2") -> Path:
    import transformers as tf
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = byte_tokenizer(SPECIAL["qwen2_vl"], bos=None, eos="<|im_end|>", pad="<|endoftext|>")
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}}
    text["rope_parameters"]["rope_theta"] = 10000.0
    ids = {"image_token_id": 5, "video_token_id": 6, "vision_start_token_id": 3, "vision_end_token_id": 4}
    if version == "2":
        vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "patch_size": 8, "mlp_ratio": 2}
        model = tf.Qwen2VLForConditionalGeneration(tf.Qwen2VLConfig(text_config=text, vision_config=vision, **ids))
    elif version == "3":
        vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "patch_size": 8, "intermediate_size": 64}
        vision |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
        text["head_dim"] = 16
        model = tf.Qwen3VLForConditionalGeneration(tf.Qwen3VLConfig(text_config=text, vision_config=vision, **ids))
    else:
        vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "patch_size": 8, "intermediate_size": 64}
        vision |= {"window_size": 32, "fullatt_block_indexes": [1]}
        model = tf.Qwen2_5_VLForConditionalGeneration(tf.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids))
    model.generation_config.eos_token_id = [2, 0]
    images = Qwen2VLImageProcessorPil(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096})
    return save(
        folder,
        sharpen(model),
        tokenizer,
        images,
        f"Qwen{version.replace('.', '_') + ('_' if '.' in version else '')}VLProcessor",
        QWEN_CHAT,
    )


def make_idefics3(folder: Path) -> Path:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    return _idefics(folder, Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil)


def make_smolvlm(folder: Path) -> Path:
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    pytest.importorskip("num2words")  # its processor asks for it
    return _idefics(folder, SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil)


def _idefics(folder: Path, config_class: Any, model_class: Any, images_class: Any) -> Path:
    extra = {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>"}
    extra |= {"end_of_utterance_token": "<end_of_utterance>"}
    tokenizer = byte_tokenizer(
        SPECIAL["idefics3"], bos="<|im_start|>", eos="<|im_end|>", pad="<|endoftext|>", extra_special_tokens=extra
    )
    text = {**TEXT, "model_type": "llama", "vocab_size": len(tokenizer), "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    model = model_class(config_class(text_config=text, vision_config=VISION, image_token_id=3, scale_factor=2, pad_token_id=0))
    model.generation_config.eos_token_id = [2, 6]
    images = images_class(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=True)
    processor = model_class.__name__.replace("ForConditionalGeneration", "Processor")
    return save(folder, sharpen(model), tokenizer, images, processor, IDEFICS_CHAT, image_seq_len=4)


def make_llava_onevision(folder: Path) -> Path:
    import transformers as tf
    from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

    extra = {"image_token": "<image>", "video_token": "<video>"}
    tokenizer = byte_tokenizer(
        SPECIAL["llava_onevision"], bos=None, eos="<|im_end|>", pad="<|endoftext|>", extra_special_tokens=extra
    )
    grid = [[32, 32], [32, 64], [64, 32], [64, 64]]
    shared = {"vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9"}
    config = tf.LlavaOnevisionConfig(
        text_config=tf.Qwen2Config(**TEXT, vocab_size=len(tokenizer)),
        vision_config=tf.SiglipVisionConfig(**VISION, vision_use_head=False),
        image_token_index=3,
        video_token_index=4,
        image_grid_pinpoints=grid,
        vision_feature_layer=-1,
        **shared,
    )
    model = tf.LlavaOnevisionForConditionalGeneration(config)
    model.generation_config.eos_token_id = [2, 0]
    images = LlavaOnevisionImageProcessorPil(size={"height": 32, "width": 32}, image_grid_pinpoints=grid)
    chat = QWEN_CHAT.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>")
    return save(folder, sharpen(model), tokenizer, images, "LlavaOnevisionProcessor", chat, num_image_tokens=16, **shared)


def make_internvl(folder: Path) -> Path:
    import transformers as tf
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    extra = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    extra |= {"video_token": "<video>"}
    tokenizer = byte_tokenizer(SPECIAL["internvl"], bos=None, eos="<|im_end|>", pad="<|endoftext|>", extra_special_tokens=extra)
    square = {"image_size": [32, 32], "patch_size": [8, 8]}
    config = tf.InternVLConfig(
        text_config=tf.Qwen2Config(**TEXT, vocab_size=len(tokenizer)),
        vision_config=tf.InternVLVisionConfig(**{**VISION, **square}),
        image_token_id=5,
        downsample_ratio=0.5,
    )
    model = tf.InternVLForConditionalGeneration(config)
    model.generation_config.eos_token_id = [2, 0]
    images = GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, crop_to_patches=True, min_patches=1, max_patches=4)
    chat = QWEN_CHAT.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>\n")
    return save(folder, sharpen(model), tokenizer, images, "InternVLProcessor", chat, image_seq_length=4)


def make_paligemma(folder: Path) -> Path:
    """Its image tokens attend to the question: only the tower's output can be shared."""
    import transformers as tf
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<image>"]
    tokenizer = byte_tokenizer(
        special, bos="<bos>", eos="<eos>", pad="<pad>", unk_token="<unk>", extra_special_tokens={"image_token": "<image>"}
    )
    tokenizer.add_tokens([*(f"<loc{i:0>4}>" for i in range(1024)), *(f"<seg{i:0>3}>" for i in range(128))])
    ids = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    text = tf.GemmaConfig(**TEXT, vocab_size=len(tokenizer), head_dim=16, **ids)
    config = tf.PaliGemmaConfig(
        text_config=text,
        vision_config=tf.SiglipVisionConfig(**VISION, vision_use_head=False),
        image_token_index=4,
        projection_dim=64,
        hidden_size=64,
        tie_word_embeddings=False,
    )
    images = SiglipImageProcessorPil(size={"height": 32, "width": 32}, image_seq_length=16)
    model = sharpen(tf.PaliGemmaForConditionalGeneration(config))
    chat = "{% for m in messages %}" + CONTENT.replace("IMAGE", "<image>") + "{% endfor %}"
    return save(folder, model, tokenizer, images, "PaliGemmaProcessor", chat)


def make_reader(folder: Path) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(SPECIAL["llava"], bos="<s>", eos="</s>", pad="<pad>", add_bos=True)
    config = LlamaConfig(**TEXT, vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=3)
    return save(folder, sharpen(LlamaForCausalLM(config)), tokenizer, None, "", LLAVA_CHAT)


def make_text(folder: Path, kind: str, **settings: Any) -> Path:
    """A causal language model of another family: ``kind`` is the beginning of its classes' names."""
    import transformers as tf

    tokenizer = byte_tokenizer(SPECIAL["llava"], bos="<s>", eos="</s>", pad="<pad>", add_bos=True)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    heads = {"head_dim": 16} if kind in ("Gemma2", "Gemma3", "Qwen3") else {}
    config_class = getattr(tf, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")
    config = config_class(**TEXT, vocab_size=len(tokenizer), **ids, **heads, **settings)
    return save(folder, sharpen(getattr(tf, f"{kind}ForCausalLM")(config)), tokenizer, None, "", LLAVA_CHAT)


ALTERNATING = {
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "query_pre_attn_scalar": 16,
    "tie_word_embeddings": False,
}
MAKERS: dict[str, Callable[[Path], Path]] = {
    "llava": make_llava,
    "llava_next": make_llava_next,
    "gemma3": make_gemma3,
    "gemma3_window": lambda folder: make_gemma3(folder, window=24),
    "qwen2_vl": make_qwen_vl,
    "qwen2_5_vl": lambda folder: make_qwen_vl(folder, "2.5"),
    "qwen3_vl": lambda folder: make_qwen_vl(folder, "3"),
    "idefics3": make_idefics3,
    "smolvlm": make_smolvlm,
    "llava_onevision": make_llava_onevision,
    "internvl": make_internvl,
    "paligemma": make_paligemma,
    "reader": make_reader,
    "mistral": lambda folder: make_text(folder, "Mistral", sliding_window=None),
    "mistral_window": lambda folder: make_text(folder, "Mistral", sliding_window=24),
    "gemma2": lambda folder: make_text(folder, "Gemma2", sliding_window=512, **ALTERNATING),
    "gemma3_text": lambda folder: make_text(folder, "Gemma3", sliding_window=24, **ALTERNATING),
    "qwen2": lambda folder: make_text(folder, "Qwen2"),
    "qwen3": lambda folder: make_text(folder, "Qwen3"),
    "phi3": lambda folder: make_text(folder, "Phi3"),
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name → folder of a tiny checkpoint, made at the first use."""
    pytest.importorskip("torch")
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            import torch
            from transformers.utils import logging

            torch.manual_seed(0)
            logging.set_verbosity_error()
            logging.disable_progress_bar()
            made[name] = MAKERS[name](tmp_path_factory.mktemp(name))
        return made[name]

    return get


class NoImage:
    def open(self) -> Image.Image:
        raise AssertionError("a model is given opened images")


def noise(seed: int, width: int = 40, height: int = 50) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


def stimulus(seed: int, prompts: tuple[Prompt, ...] = CLOSED, image: Image.Image | None = None, repeats: int = 1) -> Stimulus:
    case = Case(f"c{seed}", seed % 2, f"g{seed}", f"digest{seed}", NoImage())
    none = Perturbation()
    trials = tuple(Trial(f"{seed}|{p.name}|{r}", "m", "task", case.id, none, p, r) for p in prompts for r in range(repeats))
    return Stimulus(Block("m", "task", case, none, trials), image)


@pytest.fixture
def images() -> Callable[..., list[Stimulus]]:
    """n stimuli with noise images of different sizes."""

    def get(n: int, prompts: tuple[Prompt, ...] = CLOSED, repeats: int = 1) -> list[Stimulus]:
        return [stimulus(i, prompts, noise(i, width=40 + 20 * i), repeats) for i in range(n)]

    return get


@pytest.fixture
def without_image() -> Callable[..., Stimulus]:
    return stimulus


@pytest.fixture
def prompts() -> tuple[Prompt, ...]:
    return CLOSED


@pytest.fixture
def describe() -> Prompt:
    return DESCRIBE


@pytest.fixture
def build(checkpoint: Callable[[str], Path]) -> Callable[..., Model]:
    """A model of kind hf on a tiny checkpoint (or on a folder), with short answers unless told otherwise."""

    def get(name: str | Path, /, seed: int = 0, **options: Any) -> Model:
        folder = checkpoint(name) if isinstance(name, str) else name
        return HFKind().build(ModelSpec("tiny", "hf", {"path": str(folder), "max_new_tokens": 6, "threads": 1, **options}, seed))

    return get
