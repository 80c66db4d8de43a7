"""Model type, training method and output format must fit each other. OneTrainer says so when it loads, or when it saves at the very end."""

from collections.abc import Iterator

from daemon.config.findings import Finding
from daemon.config.rules.view import View, shown


def method_of_model(view: View) -> Iterator[Finding]:
    """`ModelType.supported_training_methods`: for others there is no loader, no setup and no saver (`modules/util/create.py`)."""
    model, method = view.model(), view.text("training_method")
    if model is None or method is None or "training_methods" not in model:
        return
    methods = model["training_methods"]
    if method not in methods:
        message = f"{shown(method)} is not possible with the model type {model['name']}; allowed: {', '.join(methods)}"
        yield Finding("error", "/training_method", message, tuple(methods))


def format_of_method(view: View) -> Iterator[Finding]:
    """`ModelType.supported_output_formats`: the savers raise NotImplementedError for others, after all training."""
    model, method, given = view.model(), view.text("training_method"), view.text("output_model_format")
    formats = (model or {}).get("output_formats", {}).get(method or "")
    if model is None or formats is None or given is None or given in formats:
        return
    what = "" if view.is_given("output_model_format") else ", the default,"
    message = (
        f"{shown(given)}{what} cannot be written for {method} of the model type {model['name']}: "
        f"only the save at the end would say so; allowed: {', '.join(formats)}"
    )
    yield Finding("error", "/output_model_format", message, tuple(formats))
