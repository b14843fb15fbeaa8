"""Identity by content: the only place where keys are computed.

The key of a trial hashes what could change its answer — the model's identity, the image and how it was decoded, the
perturbation, the question, the repeat, this schema's version — and nothing else: not the label, the study's name, an
alias, a path or a row number. Two studies that ask the same thing therefore share the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from palpate.nouns import Case, Perturbation, Prompt, Response

KEY_VERSION = 1


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
    joined = "\0".join((str(KEY_VERSION), model, image, perturbation, prompt, str(repeat)))
    return hashlib.blake2b(joined.encode("ascii"), digest_size=16).hexdigest()


SEAL_BYTES = 8


def seal(response: Response) -> bytes:
    """Digest of everything recorded of a response, kept beside it: a damaged or edited row no longer fits its seal."""
    a = response.answer
    numbers = (None if x is None else float(x) for x in (a.margin, a.mass, a.seconds))
    said = (response.key, response.attempt, str(a.status), *numbers, a.tokens_in, a.tokens_out, a.error, a.text)
    return hashlib.blake2b(repr(said).encode("utf-8"), digest_size=SEAL_BYTES).digest()
