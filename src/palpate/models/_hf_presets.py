"""The reference study's four models by name, what is known of them, and the study's own way of asking them.

Revisions are not given here: a hub id without one is fetched at its newest, and the run then warns and records the commit.
Sources: the models' cards on the hub; arXiv 2604.09841 and its code, read for `docs/methods.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from palpate.nouns import Lineage

MISTRAL = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<<SYS>>\\n' }}{% elif message['role'] == 'user' %}"
    "{{ '[INST] ' }}{% endif %}{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}"
    "{% endfor %}{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{% if message['role'] == 'system' %}{{ '\\n<</SYS>>\\n\\n' }}{% elif message['role'] == 'user' %}{{ ' [/INST]' }}{% endif %}"
    "{% endfor %}"
)
"""``[INST] <image>\\nQUESTION [/INST]``, as the card of LLaVA-1.6-Mistral asks for it: for a checkpoint that brings no template."""
VICUNA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}{% for part in message['content'] | "
    "selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}{% for part in message['content'] | "
    "selectattr('type', 'equalto', 'text') %}{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
"""``USER: <image>\\nQUESTION ASSISTANT:``: what the reference gave LLaVA-1.6-Mistral, which was not trained on it."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a published checkpoint beyond its files. ``exposure``: data set → what training is known to have seen of it.

    ``template``: used only where the checkpoint brings none. ``as_asked``: the options of the reference study's protocol.
    """

    path: str
    about: str
    descends_from: str
    exposure: Mapping[str, str]
    citation: str
    template: str | None = None
    as_asked: Mapping[str, object] = field(default_factory=dict)
    not_its_own: str = ""

    def facts(self) -> dict[str, object]:
        """What a run records of it."""
        return {name: value for name, value in asdict(self).items() if name in ("descends_from", "exposure", "citation")}


UNKNOWN = "unknown"
CARDS: Mapping[str, Card] = {
    "llava-v1.6-mistral-7b": Card(
        path="llava-hf/llava-v1.6-mistral-7b-hf",
        about="LLaVA-NeXT on Mistral-7B-Instruct-v0.2, 7 billion parameters: general images",
        descends_from="mistralai/Mistral-7B-Instruct-v0.2 and CLIP ViT-L/14-336",
        exposure={"medical images": "none intended; web-scale image-text data may hold some"},
        citation="Liu et al. 2024, LLaVA-NeXT: improved reasoning, OCR, and world knowledge",
        as_asked={"min_new_tokens": 32, "chat_template": VICUNA},
        not_its_own="the Vicuna template (USER: … ASSISTANT:), which its card does not ask for",
    ),
    "llava-med-v1.5-mistral-7b": Card(
        path="wnkh/llava-med-v1.5-mistral-7b-hf",
        about="LLaVA-Med 1.5 on Mistral-7B-Instruct-v0.2, 7 billion parameters: biomedical figures",
        descends_from="mistralai/Mistral-7B-Instruct-v0.2 and CLIP ViT-L/14-336",
        exposure={"PMC figures": "seen in training", "clinical data sets": UNKNOWN},
        citation="Li et al. 2023, LLaVA-Med, NeurIPS (version 1.5 of 2024, converted by wnkh)",
        template=MISTRAL,
        as_asked={"min_new_tokens": 32},
    ),
    "gemma-3-4b-it": Card(
        path="google/gemma-3-4b-it",
        about="Gemma 3, 4 billion parameters, instruction-tuned: general images",
        descends_from="google/gemma-3-4b-pt and SigLIP-400M",
        exposure={"medical images": UNKNOWN},
        citation="Gemma Team 2025, Gemma 3 technical report, arXiv 2503.19786",
    ),
    "medgemma-4b-it": Card(
        path="google/medgemma-4b-it",
        about="MedGemma, 4 billion parameters, instruction-tuned: medical images and text",
        descends_from="google/gemma-3-4b-pt, with the vision encoder replaced by MedSigLIP",
        exposure={"chest X-ray, dermatology, ophthalmology, histopathology": "kinds of images seen in training"},
        citation="Sellergren et al. 2025, MedGemma technical report, arXiv 2507.05201",
    ),
}
BY_PATH: Mapping[str, Card] = {card.path: card for card in CARDS.values()}

LINEAGES = (
    # Both LLaVA models start from Mistral-7B-Instruct-v0.2: neither is trained further from the other.
    Lineage("llava-v1.6-mistral-7b", "llava-med-v1.5-mistral-7b", "sibling"),
    # MedGemma starts from the pre-trained Gemma 3, not from the instruction-tuned one, and has another vision encoder.
    Lineage("gemma-3-4b-it", "medgemma-4b-it", "sibling"),
)

PROTOCOLS: Mapping[str, str] = {
    "own": "each model by its own template and this study's settings (default)",
    "fragility-2026": "arXiv 2604.09841 as its code has it: 2048 new tokens, 32 or more for LLaVA, Vicuna's template for LLaVA-1.6",
}


def protocol_options(protocol: str, path: str) -> dict[str, object]:
    """What a protocol sets for a checkpoint; the study's own options go before these."""
    if protocol != "fragility-2026":
        return {}
    card = BY_PATH.get(path)
    # For a LLaVA of one's own the reference had no other rule than its name.
    own = (
        dict(card.as_asked) if card else ({"min_new_tokens": 32} if "llava" in path.rstrip("/").rpartition("/")[2].lower() else {})
    )
    return {"max_new_tokens": 2048, "max_new_tokens_open": 2048, **own}


def protocol_warnings(protocol: str, path: str, *, own_template: bool) -> list[str]:
    """What a reader should know of a model asked as a protocol has it."""
    card = BY_PATH.get(path)
    if protocol != "fragility-2026":
        return []
    set_ = protocol_options(protocol, path)
    return [
        *([f"asked as in arXiv 2604.09841, with {card.not_its_own}"] if card and card.not_its_own and not own_template else []),
        *(
            ["asked as in arXiv 2604.09841: no answer may end before 32 tokens, one word or not"]
            if "min_new_tokens" in set_
            else []
        ),
    ]
