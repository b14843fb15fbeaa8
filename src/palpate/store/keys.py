"""Identity by content: the only place where keys are computed.

The key of a trial hashes what could change its answer — the model's identity, the image and how it was decoded, the
perturbation, the question, the repeat, this schema's version — and nothing else: not the label, the study's name, an
alias, a path or a row number. Two studies that ask the same thing therefore share the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from palpate.nouns import Case, Perturbation, Prompt, Response

KEY_VERSION = 2
"""2: keys of one model and image stand together. 1: anywhere; migrations.py knows how ledgers of that time named their trials."""
KEY_BYTES, PLACE_BYTES = 16, 2


def digest(value: Any) -> str:
    """128-bit BLAKE2b of a value's canonical JSON, as 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def secret_group(group: str, secret: str) -> str:
    """A patient's or slide's pseudonym under a run's own secret: who can guess the patient number cannot check the guess."""
    return "g-" + hashlib.blake2b(group.encode("utf-8"), key=bytes.fromhex(secret), digest_size=6).hexdigest()


def model_digest(identity: Mapping[str, Any]) -> str:
    """Identity of a model: of ``Fingerprint.identity``, never of its environment or its name in the study."""
    return digest({"model": identity})


def image_digest(case: Case) -> str:
    """Identity of the pixels a model is shown before perturbation: the file's content and every decode setting."""
    return digest({"image": case.digest, "decode": case.decode})


def perturbation_digest(perturbation: Perturbation, version: int, seed: int) -> str:
    """Identity of a change of the image. The seed matters only where something is changed."""
    if perturbation.name == "none":
        return digest({"perturbation": "none"})
    return digest({"perturbation": perturbation.name, "severity": perturbation.severity, "version": version, "seed": seed})


def prompt_digest(prompt: Prompt) -> str:
    """Identity of a question: its text, and form and polarity, since they set the answer's length limit and the margin's sign."""
    return digest({"prompt": prompt.text, "form": prompt.form, "polarity": prompt.polarity})


def trial_key(model: str, image: str, perturbation: str, prompt: str, repeat: int) -> str:
    """The key of a trial, from the four digests above and the repeat: 32 hex digits."""
    return block_keys(model, image, perturbation, (prompt,), repeat + 1)[repeat].hex()


def block_keys(model: str, image: str, perturbation: str, prompts: Iterable[str], repeats: int) -> list[bytes]:
    """The keys of all trials of a Block, 16 bytes each: prompt by prompt (their digests), repeat by repeat.

    The first two bytes tell the model and the image, the others everything: what is asked together stands together in the
    ledger's index, so that adding to ten million answers touches a page an image and not a page an answer.
    """
    place = hashlib.blake2b(f"{model}\0{image}".encode("ascii"), digest_size=PLACE_BYTES).digest()
    begun = f"{KEY_VERSION}\0{model}\0{image}\0{perturbation}\0".encode("ascii")
    state = hashlib.blake2b(begun, digest_size=KEY_BYTES - PLACE_BYTES)
    counts = [f"\0{repeat}".encode("ascii") for repeat in range(repeats)]
    found = []
    for prompt in prompts:
        asked = prompt.encode("ascii")
        for count in counts:
            whole = state.copy()
            whole.update(asked + count)
            found.append(place + whole.digest())
    return found


def scattered_key(model: str, image: str, perturbation: str, prompt: str, repeat: int) -> str:
    """A key of version 1, which says nothing of where it stands: of trials in older ledgers, and of a judge's questions in all."""
    joined = "\0".join(("1", model, image, perturbation, prompt, str(repeat)))
    return hashlib.blake2b(joined.encode("ascii"), digest_size=KEY_BYTES).hexdigest()


SEAL_BYTES = 8


def seal(response: Response) -> bytes:
    """Digest of everything recorded of a response, kept beside it: a damaged or edited row no longer fits its seal."""
    a = response.answer
    numbers = (None if x is None else float(x) for x in (a.margin, a.mass, a.seconds))
    said = (response.key, response.attempt, str(a.status), *numbers, a.tokens_in, a.tokens_out, a.error, a.text)
    return hashlib.blake2b(repr(said).encode("utf-8"), digest_size=SEAL_BYTES).digest()
