"""From a prompt to an image: Euler steps along the learned flow, with classifier-free guidance."""

from collections.abc import Callable, Sequence

import torch
from PIL import Image
from torch import Tensor

from trainer_runner.backends.builtin.model import FlowModel
from trainer_runner.backends.builtin.seeds import generator


class InterruptedSamplingError(Exception):
    """The training is to end: the sample was given up between two steps."""


@torch.no_grad()
def draw(
    model: FlowModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    negative_prompt: str = "",
    steps: int = 20,
    cfg_scale: float = 2.0,
    on_step: "Callable[[int], None]" = lambda _: None,
    should_stop: "Callable[[], bool]" = lambda: False,
) -> Tensor:
    """(count, channels, side, side) in -1 to 1, on the CPU. *on_step* hears 1 to *steps*.

    Noise comes from generators of its own, one per image: an image depends on its prompt and seed alone, and training not at all on it.

    Raises:
        InterruptedSamplingError: *should_stop* said so.
    """
    shape, device = model.shape, next(model.parameters()).device
    noise = [torch.randn((shape.channels, shape.side, shape.side), generator=generator(seed, "sample")) for seed in seeds]
    images = torch.stack(noise).to(device, memory_format=torch.channels_last)
    count, is_guided = len(images), cfg_scale != 1.0
    wanted = model.captions(model.vocabulary.batch(prompts).to(device))
    unwanted = model.captions(model.vocabulary.batch([negative_prompt]).to(device)).expand(count, -1)
    captions = torch.cat((wanted, unwanted)) if is_guided else wanted
    for step in range(steps):
        if should_stop():
            raise InterruptedSamplingError(f"given up at step {step} of {steps}: the training is to end")
        inputs = torch.cat((images, images)) if is_guided else images
        velocity = model.velocity(inputs, torch.full((len(inputs),), step / steps, device=device), captions)
        if is_guided:
            towards, away = velocity.chunk(2)
            velocity = away + cfg_scale * (towards - away)
        images = images + velocity / steps
        on_step(step + 1)
    if not bool(images.isfinite().all()):
        raise ValueError("the sampler left the range of numbers: is the model trained yet, or cfg_scale too high?")
    return images.clamp(-1, 1).cpu()


def to_picture(image: Tensor) -> Image.Image:
    """(channels, side, side) in -1 to 1 to an RGB picture."""
    pixels = ((image + 1) * 127.5).round().to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).contiguous()
    return Image.fromarray(pixels.numpy())
