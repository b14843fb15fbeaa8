"""The three architectures, small: LLaVA, Gemma 3 and Llama, with processors and chat templates in their published formats."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from training.tokenizer import VOCABULARY, learn, token_id

IMAGE, PATCH = 96, 8
PATCHES = (IMAGE // PATCH) ** 2
WIDTH, HEADS, KV_HEADS, FEED_FORWARD, VISION_LAYERS = 128, 4, 2, 320, 4
GEMMA_IMAGE_TOKENS = 36
CONTEXT = 1024

# The template of llava-1.5, which also takes a plain string as content.
LLAVA_CHAT = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] + ' ' }}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
# Gemma's turns. A system message opens the first user turn, as in the published template.
GEMMA_CHAT = (
    "{{ bos_token }}"
    "{% set ns = namespace(prefix='') %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{% set ns.prefix = (message['content'] if message['content'] is string else message['content'][0]['text']) + '\n\n' %}"
    "{% else %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' + ns.prefix }}"
    "{% set ns.prefix = '' %}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for item in message['content'] %}"
    "{% if item['type'] == 'image' %}{{ '<start_of_image>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<end_of_turn>\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

LLAMA_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
GEMMA_SPECIAL = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
)
FAMILIES = ("llava", "gemma")


def tokenizer_for(family: str, seed: int) -> Tokenizer:
    """The family's vocabulary; the reader shares LLaVA's."""
    return learn(GEMMA_SPECIAL, "<bos>", seed) if family == "gemma" else learn(LLAMA_SPECIAL, "<s>", seed)


def build(family: str, tokenizer: Tokenizer) -> Any:
    """An untrained model of the family ("llava", "gemma" or "reader"), in float32."""
    return {"llava": _llava, "gemma": _gemma, "reader": _reader}[family](tokenizer)


def parameter_count(model: Any) -> int:
    """Number of distinct weights: tied ones count once."""
    return sum(p.numel() for p in model.parameters())


def _llama_config(layers: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
        tie_word_embeddings=True,
    )


def _reader(tokenizer: Tokenizer) -> Any:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(_llama_config(layers=3))
    _greedy(model, 1, 2, 3)
    return model


def _llava(tokenizer: Tokenizer) -> Any:
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=VISION_LAYERS,
        num_attention_heads=HEADS,
        image_size=IMAGE,
        patch_size=PATCH,
        projection_dim=WIDTH,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=_llama_config(layers=3),
        image_token_index=token_id(tokenizer, "<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=PATCHES,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    _greedy(model, 1, 2, 3)
    return model


def _gemma(tokenizer: Tokenizer) -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=VISION_LAYERS,
        num_attention_heads=HEADS,
        image_size=IMAGE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    text = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=4,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=WIDTH // HEADS,
        query_pre_attn_scalar=WIDTH // HEADS,
        max_position_embeddings=CONTEXT,
        sliding_window=512,
        layer_types=["sliding_attention", "full_attention"] * 2,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        tie_word_embeddings=True,
    )
    end_of_turn = token_id(tokenizer, "<end_of_turn>")
    config = Gemma3Config(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=GEMMA_IMAGE_TOKENS,
        boi_token_index=token_id(tokenizer, "<start_of_image>"),
        eoi_token_index=token_id(tokenizer, "<end_of_image>"),
        image_token_index=token_id(tokenizer, "<image_soft_token>"),
        tie_word_embeddings=True,
    )
    config.eos_token_id = [1, end_of_turn]
    model = Gemma3ForConditionalGeneration(config)
    _greedy(model, 2, [1, end_of_turn], 0)
    return model


def _greedy(model: Any, begin: int, end: int | list[int], pad: int) -> None:
    settings = model.generation_config
    settings.bos_token_id, settings.eos_token_id, settings.pad_token_id = begin, end, pad
    settings.do_sample = False
    settings.max_new_tokens = 96
