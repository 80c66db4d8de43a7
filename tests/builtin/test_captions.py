import pytest
import torch

from trainer_runner.backends.builtin.model import FlowModel, Shape
from trainer_runner.backends.builtin.sampling import draw
from trainer_runner.backends.builtin.text import MAX_TOKENS, Vocabulary

pytestmark = pytest.mark.torch


def test_a_word_that_no_caption_had_is_spelled_and_changes_the_image() -> None:
    vocabulary = Vocabulary.of(["a white square", "A black, square"])
    assert set(vocabulary.words) == {"a", "white", "square", "black", ","}
    assert vocabulary.encode("a zebra") == [*vocabulary.encode("a"), *(2 + byte for byte in b"zebra")]
    torch.manual_seed(0)
    encoder = FlowModel(Shape(), vocabulary).captions
    encoded = encoder(vocabulary.batch(["a zebra", "a zebu", "a", "", "größe 数字 🦓", "\ud800"]))
    assert encoded.isfinite().all()
    assert len({tuple(row.tolist()) for row in encoded}) == 6


def test_padding_does_not_change_what_a_caption_means() -> None:
    vocabulary = Vocabulary.of(["a white square"])
    encoder = FlowModel(Shape(), vocabulary).captions
    long = " ".join(["white"] * 500)
    together, alone = encoder(vocabulary.batch(["a white square", long]))[0], encoder(vocabulary.batch(["a white square"]))[0]
    assert torch.allclose(together, alone, atol=1e-6)
    assert vocabulary.batch([long]).shape == (1, MAX_TOKENS)


def test_guidance_and_the_negative_prompt_change_the_image() -> None:
    torch.manual_seed(0)
    model = FlowModel(Shape(side=8), Vocabulary.of(["white", "black"]))
    for parameter in model.parameters():  # an untrained model does not listen to captions
        torch.nn.init.normal_(parameter, std=0.1)
    images = [
        draw(model, ["white"], [1], steps=3, cfg_scale=scale, negative_prompt=negative)
        for scale, negative in ((1, ""), (4, ""), (4, "black"))
    ]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])
