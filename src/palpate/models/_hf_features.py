"""Inner states of a model, pooled on the way: from the vision tower's first layer to the last token of a question.

They come from the very passes that answer: the tower's output is handed on to the language model, never computed twice. States
are pooled in float32 on the model's device, one image at a time, so that no more than one image's states are ever held.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from palpate.models._hf_decode import Row
from palpate.models._hf_encode import Encoder, forget_positions, on_device
from palpate.models._hf_load import Loaded
from palpate.parts import FeatureRequest, Features, FeatureStage

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS = ("pixel_values", "pixel_attention_mask", "image_sizes")
"""Inputs that the vision tower alone consumes; grids are also needed for positions."""


def see(loaded: Loaded, inputs: Mapping[str, Any], *, layers: bool) -> Any:
    """Tower and projector once. ``layers``: with the states of every layer of the tower."""
    get = loaded.model.base_model.get_image_features
    given = {name: inputs[name] for name in inspect.signature(get).parameters if name in inputs}
    # Where a config names the layer to read, the tower keeps its layers only if told to.
    wanted = layers or hasattr(loaded.model.config, "vision_feature_layer")
    return get(**given, return_dict=True, **({"output_hidden_states": True} if wanted else {}))


def seen(loaded: Loaded, inputs: Mapping[str, Any], vision: Any) -> dict[str, Any]:
    """The inputs with what the tower gave instead of pixels, where this transformers takes it; else as they were."""
    if "mm_encoder_outputs" not in inspect.signature(loaded.model.forward).parameters:
        return dict(inputs)
    return {name: value for name, value in inputs.items() if name not in PIXELS} | {"mm_encoder_outputs": {"image": vision}}


def repeated(vision: Any, times: int) -> Any:
    """What the tower gave for one image, as for a batch that shows it ``times`` times."""
    vision.pooler_output = _times(vision.pooler_output, times)
    deep = getattr(vision, "deepstack_features", None)  # Qwen3-VL hands inner layers of the tower on as well
    if deep is not None:
        vision.deepstack_features = [_times(layer, times) for layer in deep]
    return vision


def _times(given: Any, times: int) -> Any:
    """One entry per image, or all images' rows in one tensor."""
    if isinstance(given, list | tuple):
        return list(given) * times
    return given.repeat(times, *([1] * (given.dim() - 1)))


def image_token(loaded: Loaded) -> int | None:
    """The id of the token an image's places hold."""
    config = loaded.model.config
    found = getattr(config, "image_token_id", getattr(config, "image_token_index", None))
    return None if found is None else int(found)


class Watch:
    """Collects what a request asks for while one image is being asked about."""

    def __init__(self, loaded: Loaded, request: FeatureRequest) -> None:
        self.loaded, self.request = loaded, request
        self._found: dict[FeatureStage, Any] = {}

    def vision(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the tower, keeps its states, and gives back inputs that need no tower any more."""
        out = see(self.loaded, inputs, layers=True)
        # A class token is no part of the image for the language model: where it is not read, it is not pooled.
        skip = 1 if getattr(self.loaded.model.config, "vision_feature_select_strategy", None) == "default" else 0
        for depth in self._depths(len(out.hidden_states)):
            self._pool(FeatureStage("vision", depth), out.hidden_states[depth][..., skip:, :])
        self._pool(FeatureStage("read"), self._read(out)[..., skip:, :])
        projected = out.pooler_output
        parts = projected if isinstance(projected, list | tuple) else [projected]
        self._pool(FeatureStage("projector"), _joined(parts))
        return seen(self.loaded, inputs, out)

    def image(self, states: Sequence[Any], ids: Any) -> None:
        """Layers of the language model over the image's tokens: states (1, length, d) each, ids (1, length)."""
        places = ids[0] == image_token(self.loaded)
        for depth in self._depths(len(states)):
            self._pool(FeatureStage("image", depth), states[depth][0, places])

    def questions(self, states: Sequence[Any], rows: Sequence[Row]) -> None:
        """Layers at the last prompt token: states (n, length, d), row i of question i, padded on the left."""
        wanted = {prompt.name for prompt in self.request.prompts}
        for i, row in enumerate(rows):
            name = row.trial.prompt.name
            if name in wanted and FeatureStage("prompt", self._depths(len(states))[0], "last", name) not in self._found:
                for depth in self._depths(len(states)):
                    self._found[FeatureStage("prompt", depth, "last", name)] = states[depth][i, -1].float()

    def features(self) -> Features:
        """Everything found, on the CPU, in the order information flows."""
        order = {"vision": 0, "read": 1, "projector": 2, "image": 3, "prompt": 4}
        prompts = [prompt.name for prompt in self.request.prompts]

        def place(stage: FeatureStage) -> tuple[int, int, int, str]:
            return order[stage.kind], prompts.index(stage.prompt) if stage.prompt else 0, stage.depth, stage.pooling

        return {stage: self._found[stage].cpu().numpy() for stage in sorted(self._found, key=place)}

    def _read(self, out: Any) -> Any:
        """What the projector is given: the layer the config names, or the tower's output."""
        layer = getattr(self.loaded.model.config, "vision_feature_layer", None)
        if layer is None or (layer == -1 and self.loaded.family == "internvl"):
            return out.last_hidden_state
        if isinstance(layer, int):
            return out.hidden_states[layer]
        import torch

        return torch.cat([out.hidden_states[one] for one in layer], dim=-1)

    def _depths(self, count: int) -> list[int]:
        layers = self.request.layers
        return list(range(count)) if layers is None else sorted({layer % count for layer in layers if -count <= layer < count})

    def _pool(self, stage: FeatureStage, tokens: Any) -> None:
        """Over every axis but the last: tiles and patches of one image alike."""
        flat = tokens.reshape(-1, tokens.shape[-1]).float()
        for pooling in self.request.pooling:
            pooled = flat.mean(0) if pooling == "mean" else flat.max(0).values
            self._found[FeatureStage(stage.kind, stage.depth, pooling, stage.prompt)] = pooled


def _joined(parts: Sequence[Any]) -> Any:
    import torch

    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def watch_alone(encoder: Encoder, watch: Watch, rows: Sequence[Row], image: Image) -> None:
    """For models whose questions share nothing: one more pass over each chosen question, by itself, without padding."""
    import torch

    loaded = encoder.loaded
    first = True
    for prompt in watch.request.prompts:
        row = next(row for row in rows if row.trial.prompt.name == prompt.name)
        inputs = on_device(encoder.batch([row.rendered], [image]), loaded)
        forget_positions(loaded.model)
        with torch.inference_mode():
            given = watch.vision(inputs) if first else inputs
            out = loaded.model(**given, output_hidden_states=True, use_cache=False, logits_to_keep=1)
            if first:
                watch.image(out.hidden_states, inputs["input_ids"])
            watch.questions(out.hidden_states, [row])
        first = False
