"""Records what Keras computes for `tests/nn/sequence_cases.py`, into `tests/nn/data/sequences.npz`.

Needs Keras 3 and JAX, not jscope:

    KERAS_BACKEND=jax python -m tests.nn.oracle.regenerate_sequences

For each case there are the outputs, and the gradients of `sum(numbers * output)` with respect to the input and to each
variable, by the names that `jscope.nn` gives them.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np

from tests.nn.sequence_cases import CASES, lengths, mask, numbers

DATA = Path(__file__).parents[1] / "data" / "sequences.npz"


def made(case):
    """The layer of a case, and the keywords of its call."""
    options, call = dict(case.options), {}
    if case.layer.endswith("Attention"):
        call = {"use_causal_mask": options.pop("causal", False)}
        if "value_dim" in options:
            # Otherwise Keras 3.15 takes JAX's attention, which has no values of another size than keys, and fails.
            call["return_attention_scores"] = True
        if case.masked:
            call["attention_mask"] = mask(case)
        return getattr(keras.layers, case.layer)(**options), call
    layer = getattr(keras.layers, case.layer)(**options, return_sequences=True, return_state=True)
    if case.masked:
        layer.zero_output_for_mask = True
        call["mask"] = np.arange(case.shape[1]) < lengths(case)[:, None]
    if case.merge_mode is not None:
        layer = keras.layers.Bidirectional(layer, merge_mode=case.merge_mode)
    return layer, call


def inputs(case):
    shapes = (("x", case.shape), ("context", case.context))
    return tuple(numbers(what, shape) for what, shape in shapes if shape is not None)


def called(case, args):
    """What the layer is called with: attention takes values as well."""
    return (args[0], args[-1]) if case.layer.endswith("Attention") else args


def name(case, variable):
    """What `jscope.nn` calls a variable."""
    _, *above, last = variable.path.split("/")
    if case.layer.endswith("Attention"):
        return f"{above[-1]}/{last}"
    directions = [way for way in ("forward", "backward") if any(part.startswith(way) for part in above)]
    return "/".join([*directions, last])


def flat(out):
    return list(out) if isinstance(out, list | tuple) else [out]


def record(case):
    """The outputs and gradients of one case."""
    layer, call = made(case)
    args = inputs(case)
    layer(*called(case, args), **call)
    names = [name(case, variable) for variable in layer.trainable_variables]
    assert len(set(names)) == len(names), names
    values = [numbers(each, tuple(v.shape)) for each, v in zip(names, layer.trainable_variables, strict=True)]
    fixed = [v.value for v in layer.non_trainable_variables]

    def run(values, args):
        outs = flat(layer.stateless_call(values, fixed, *called(case, args), **call)[0])
        return outs[:1] if "return_attention_scores" in call else outs

    def weighed(values, args):
        return sum(jnp.sum(out * numbers(f"out {i}", out.shape)) for i, out in enumerate(run(values, args)))

    outs = run(values, args)
    in_values, in_args = jax.grad(weighed, (0, 1))(values, args)
    found = {f"out {i}": out for i, out in enumerate(outs)}
    found |= {f"gradient of {each}": value for each, value in zip(names, in_values, strict=True)}
    return found | {f"gradient of input {i}": value for i, value in enumerate(in_args)}


if __name__ == "__main__":
    arrays = {f"{case}: {what}": value for case in CASES for what, value in record(CASES[case]).items()}
    np.savez_compressed(DATA, **{key: np.asarray(value, np.float32) for key, value in arrays.items()})
