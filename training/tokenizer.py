"""A byte-level BPE vocabulary of about a thousand tokens, learned from the questions and answers the models meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from palpate.prompts import PROMPT_SETS
from training import reports
from training.answers import attribute_pair, description, modality_pair
from training.scenes import draw_scene, scene_pairs
from training.wordings import TASK_FILES, full_answer, task_wording

VOCABULARY = 1024
WHOLE = ("Yes", "No", "yes", "no", "A", "B")
"""Answers that must be one token, at the start of a line and after a space."""

PLAIN_WORDS = (
    "the of and to in a is that for it as was with be by on not but at are this have from or had an they which one you were "
    "all there would their we has been when who will no more if out so what up about into than its only some could these "
    "two may then do first any now such like over even most made after also did many before must through where much your "
    "way well down should because each just those diagnosis patient image scan finding lesion normal abnormal healthy sick "
    "benign malignant cancer tumor tumour infection disease medical doctor radiologist dermatologist pathologist expert "
    "assistant please answer question option correct best choose select reply single word letter describe report explain "
    "shown visible evidence present absent likely unlikely certain sure think clearly carefully photo picture left right "
    "large small medium see look find sign signs free lack contain show does which what why how treatment help"
)


def corpus(seed: int) -> Iterator[str]:
    """Prompts (held-out ones too: a real vocabulary knows the words of wordings it was never taught), answers, reports."""
    rng = np.random.default_rng(seed)
    for modality in TASK_FILES:
        for name in PROMPT_SETS:
            for prompt in PROMPT_SETS[name](task_wording(modality)):
                yield prompt.text
                if prompt.form.closed:
                    for label in (0, 1):
                        answer = full_answer(prompt, label, ("there is no disease", "there is a disease"))
                        yield from (answer, f" {answer}")
        for _ in range(60):
            facts = reports.random_facts(modality, rng)
            yield description(facts, bool(rng.random() < 0.5))
            yield from _both(attribute_pair(facts, rng))
            yield from _both(modality_pair(modality, rng))
    for index in range(250):
        for pair in scene_pairs(draw_scene(index, "train", seed)[1], rng, 4):
            yield from _both(pair)
    yield from (text for _ in range(400) for text in reports.reader_example(rng)[:1])
    for _ in range(40):
        yield from (PLAIN_WORDS, "USER: ASSISTANT: user model system")
        yield from (text for word in WHOLE for text in (word, f" {word}"))


def _both(pair: tuple[str, str]) -> tuple[str, str, str]:
    return pair[0], pair[1], f" {pair[1]}"


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of a token. Raises KeyError where the vocabulary has none of that name."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise KeyError(token)
    return int(found)


def learn(special: Sequence[str], begin: str, seed: int) -> Tokenizer:
    """A trained tokenizer whose first ids are ``special`` and which opens every text with ``begin``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(seed), trainer)
    begin_id = token_id(tokenizer, begin)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A $B", special_tokens=[(begin, begin_id)]
    )
    for word in WHOLE:
        for text in (word, f" {word}"):
            if len(tokenizer.encode(text, add_special_tokens=False).ids) != 1:
                raise ValueError(f"{text!r} is not a single token: give it more weight in the corpus")
    return tokenizer
