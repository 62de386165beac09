"""`restore`: the variables of a model from any checkpoint, checked before anything is read."""

from __future__ import annotations

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jscope
from jscope import checkpoint, errors, initializers
from jscope.checkpoint import Checkpointer, _fit, _restore
from jscope.checkpoint import safetensors as files

KEY = jax.random.key(0)
MESH = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
ROWS = jax.NamedSharding(MESH, jax.P("d"))


def model(scope):
    for name in ("enc", "dec"):
        (scope / name).get_variable("w", (8, 2))
        (scope / name).get_variable("b", (2,), initializer=initializers.normal(1.0))
    scope.get_variable("mean", (2,), jnp.bfloat16, initializers.ones, trainable=False)


SPECS = jscope.specs(model)
INITIAL = SPECS.materialize(KEY)
SAVED = jax.tree.map(lambda x: np.asarray(x + 1), INITIAL)


@pytest.fixture
def path(tmp_path):
    """A checkpoint of the model."""
    files.save(tmp_path / "model.safetensors", SAVED)
    return tmp_path / "model.safetensors"


LIKES = {
    "specs": SPECS,
    "abstract": SPECS.shape_dtype(),
    "arrays": INITIAL,
    "numpy": jax.tree.map(np.asarray, INITIAL),
    "flat": jscope.tree.flatten(INITIAL),
}


@pytest.mark.parametrize("like", LIKES)
def test_a_like_tells_what_is_wanted(path, like):
    """Specs, abstract values, arrays: nested as they are, on the host where they are."""
    found = checkpoint.restore(LIKES[like], path)
    chex.assert_trees_all_equal(jscope.tree.unflatten(found), SAVED)
    nested = SPECS.shape_dtype() if like == "specs" else LIKES[like]
    assert list(found) == list(nested)
    expected = np.ndarray if like == "numpy" else jax.Array
    assert all(isinstance(leaf, expected) for leaf in jax.tree.leaves(found))


def test_everything_that_does_not_fit_is_one_report(path, monkeypatch):
    """With the nearest names, before any array is read."""
    monkeypatch.setattr(_fit, "read_onto", None)

    def other(scope):
        (scope / "enc").get_variable("w", (8, 3))
        (scope / "enc").get_variable("bias", (2,))
        (scope / "dec").get_variable("w", (8, 2), jnp.bfloat16)
        (scope / "dec").get_variable("b", (2,))

    with pytest.raises(errors.StructureMismatchError) as caught:
        checkpoint.restore(jscope.specs(other), path)
    assert str(caught.value).splitlines() == [
        f"`{path}` does not fit the model:",
        "  missing:    `enc/bias` float32[2] (near: `enc/b`)",
        "  unexpected: `enc/b` float32[2] (near: `enc/bias`)",
        "  unexpected: `mean` bfloat16[2]",
        "  shape:      `enc/w` is float32[8, 2], expected float32[8, 3]",
        "  dtype:      `dec/w` is float32[8, 2], expected bfloat16[8, 2]",
        _restore._ADVICE,
    ]


def test_a_selection_is_all_that_is_taken(path):
    """The rest of the checkpoint is not looked at, and the rest of the model is left out."""
    found = checkpoint.restore(SPECS, path, select="^enc/")
    chex.assert_trees_all_equal(found, {"enc": SAVED["enc"]})
    chex.assert_trees_all_equal(
        checkpoint.restore(SPECS, path, select=lambda name: name == "mean"), {"mean": SAVED["mean"]}
    )
    chex.assert_trees_all_equal(
        checkpoint.restore(SPECS.select("^dec/w"), path, select="^dec/w"), {"dec": {"w": SAVED["dec"]["w"]}}
    )


@pytest.mark.parametrize("option", ["rename", "select"])
@pytest.mark.parametrize(("expression", "meant"), [("^encc/", "Did you mean `enc/w`"), ("xyz", "There is `")])
def test_an_expression_that_matches_nothing_is_a_typo(path, option, expression, meant):
    """And would restore nothing without a word. What is selected of the model need not be in the checkpoint."""
    with pytest.raises(errors.MissingVariableError, match=rf"`{option}=` does not match any name\. {meant}"):
        checkpoint.restore(SPECS, path, **{option: {expression: "x"} if option == "rename" else expression})
    files.save(path, {"enc": SAVED["enc"]})
    with pytest.raises(errors.StructureMismatchError, match=r"missing: +`dec/w`"):
        checkpoint.restore(SPECS, path, select="^dec/")


def test_a_checkpoint_without_the_state_is_told_from_another_models(path):
    """Specs list the state, too; where that is all that is missing, the report says how to do without."""
    files.save(path, {"enc": SAVED["enc"], "dec": SAVED["dec"]})
    with pytest.raises(errors.StructureMismatchError, match=r"missing is state: .* `specs\.params`"):
        checkpoint.restore(SPECS, path)
    chex.assert_trees_all_equal(checkpoint.restore(SPECS.params, path), {"enc": SAVED["enc"], "dec": SAVED["dec"]})
    files.save(path, {"enc": SAVED["enc"]})
    for specs in (SPECS, SPECS.state):
        with pytest.raises(errors.StructureMismatchError) as caught:
            checkpoint.restore(specs, path)
        assert "is state" not in str(caught.value)


def test_what_the_checkpoint_lacks_is_initialized(path):
    """And only that: with the values that `init` gives; only selected variables come from the checkpoint."""
    files.save(path, {"enc": SAVED["enc"]})
    found = checkpoint.restore(SPECS, path, missing="init", key=KEY)
    chex.assert_trees_all_equal(found, {**INITIAL, "enc": SAVED["enc"]})
    files.save(path, SAVED | {"dec": {"w": np.ones((1, 1), np.float32)}})
    found = checkpoint.restore(SPECS, path, select="^enc/", missing="init", key=KEY)
    chex.assert_trees_all_equal(found, {**INITIAL, "enc": SAVED["enc"]})
    assert list(found) == list(INITIAL)


def test_only_what_is_lacking_is_computed(path):
    """The initializers of what was found are not called."""
    called = []

    def counting(scope):
        for name in ("found", "lacking"):
            scope.get_variable(
                name, (2,), initializer=lambda key, shape, dtype, n=name: called.append(n) or jnp.ones(shape, dtype)
            )

    specs = jscope.specs(counting)
    called.clear()
    files.save(path, {"found": np.zeros(2, np.float32)})
    found = checkpoint.restore(specs, path, missing="init", key=KEY)
    assert (found["found"].tolist(), found["lacking"].tolist(), called) == ([0, 0], [1, 1], ["lacking"])


def test_initializing_everything_is_refused(path):
    """Where nothing fits, the checkpoint is another model's; and a typo is not a reason to train anew."""
    files.save(path, {"encoder": SAVED["enc"]})
    with pytest.raises(errors.StructureMismatchError, match=r"missing: +`enc/w`.*near: `encoder/w`"):
        checkpoint.restore(SPECS, path, missing="init", key=KEY)
    files.save(path, {"enc": SAVED["enc"], "dce": SAVED["dec"]})
    with pytest.raises(errors.StructureMismatchError, match=r"unexpected: `dce/w`"):
        checkpoint.restore(SPECS, path, missing="init", key=KEY)
    for options in ({}, {"key": KEY, "like": INITIAL}):
        with pytest.raises(errors.InvalidArgumentError, match=r"needs specs, .* and a random key"):
            checkpoint.restore(options.pop("like", SPECS), path, missing="init", **options)
    with pytest.raises(errors.InvalidArgumentError, match="missing='ignore' is neither"):
        checkpoint.restore(SPECS, path, missing="ignore")


def test_a_head_of_another_size_is_initialized_when_asked_for(path):
    """By itself or beside what is missing; the report says which were, and why."""

    def other(scope):
        for name in ("enc", "dec"):
            (scope / name).get_variable("w", (8, 2) if name == "enc" else (8, 5))
            (scope / name).get_variable("b", (2,), initializer=initializers.normal(1.0))

    specs, saved, reports = jscope.specs(other), {"enc": SAVED["enc"], "dec": SAVED["dec"]}, []
    files.save(path, saved)
    with pytest.raises(errors.StructureMismatchError, match=r"shape: +`dec/w` is .*\n.*`misshaped=\"init\"` make"):
        checkpoint.restore(specs, path, missing="init", key=KEY)
    found = checkpoint.restore(specs, path, misshaped="init", key=KEY, report=reports.append)
    initial = specs.materialize(KEY)
    chex.assert_trees_all_equal(found, {"enc": SAVED["enc"], "dec": {"w": initial["dec"]["w"], "b": SAVED["dec"]["b"]}})
    assert reports == [
        f"3 variables taken from `{path}`, 1 initialized:\n  dec/w: has the shape [8, 2] there, not [8, 5]"
    ]
    files.save(path, saved | {"dec": {"w": saved["dec"]["w"]}})
    with pytest.raises(errors.StructureMismatchError, match=r"missing: +`dec/b`"):
        checkpoint.restore(specs, path, misshaped="init", key=KEY)
    found = checkpoint.restore(specs, path, missing="init", misshaped="init", key=KEY, report=reports.append)
    chex.assert_trees_all_equal(found, {"enc": SAVED["enc"], "dec": initial["dec"]})
    assert reports[1].splitlines()[1:] == [
        "  dec/w: has the shape [8, 2] there, not [8, 5]",
        "  dec/b: not there, or not selected",
    ]
    found = checkpoint.restore(specs, path, misshaped="init", key=KEY, select="w$")
    assert jscope.tree.names(found) == ["enc/w", "dec/w"]
    with pytest.raises(errors.InvalidArgumentError, match='misshaped="init" needs specs'):
        checkpoint.restore(INITIAL, path, misshaped="init", key=KEY)


SLOTS = {
    "old/w": np.ones((8, 2), np.float32),
    "old/w/Adam": np.full((8, 2), 2, np.float32),
    "old/w/Adam_1": np.full((8, 2), 3, np.float32),
    "train/beta1_power": np.float32(0.9),
    "global_step": np.int64(7),
}


def test_slots_beside_variables_are_left_out_unless_asked_for(tmp_path):
    """Those that an optimizer of TensorFlow keeps; `rename` and `select` see flat names."""
    checkpoint.tensorbundle.save(tmp_path / "model.ckpt", SLOTS)
    like = {"old": {"w": jnp.zeros((8, 2))}}
    assert checkpoint.restore(like, tmp_path)["old"]["w"].tolist() == [[1, 1]] * 8
    new = {"new": like["old"]}
    for select in (None, "^new/w"):
        found = checkpoint.restore(new, tmp_path, rename={"^old/": "new/"}, select=select)
        assert found["new"]["w"].tolist() == [[1, 1]] * 8
    found = checkpoint.restore({"m": jnp.zeros((8, 2))}, tmp_path, rename={"^old/w/Adam$": "m"}, select="^m$")
    assert found["m"].tolist() == [[2, 2]] * 8
    checkpoint.tensorbundle.save(tmp_path / "model.ckpt", SLOTS | {"old/b": np.ones(2)})
    with pytest.raises(errors.StructureMismatchError) as caught:
        checkpoint.restore(like, tmp_path)
    assert [line for line in str(caught.value).splitlines() if "unexpected" in line] == [
        "  unexpected: `old/b` float64[2]"
    ]


def test_a_count_fits_where_its_value_does(tmp_path):
    """TensorFlow's is an int64; no value is lost."""
    checkpoint.tensorbundle.save(tmp_path / "model.ckpt", SLOTS)
    found = checkpoint.restore({"global_step": jnp.int32(0), "old": {"w": jnp.zeros((8, 2))}}, tmp_path)
    assert (found["global_step"].dtype, int(found["global_step"])) == (jnp.int32, 7)
    checkpoint.tensorbundle.save(tmp_path / "model.ckpt", SLOTS | {"global_step": np.int64(2**40)})
    with pytest.raises(errors.DTypeMismatchError, match="`global_step` has values that int32 cannot hold"):
        checkpoint.restore({"global_step": jnp.int32(0)}, tmp_path, select="global_step")


RENAMES = {
    "a dict": {"^encoder/": "enc/", r"\.": "/"},
    "pairs": [("^encoder/", "enc/"), (r"\.", "/")],
    "a function": lambda name: name.replace("encoder", "enc").replace(".", "/"),
}


@pytest.mark.parametrize("rename", RENAMES)
def test_names_are_the_models_after_rename(path, rename):
    """By regular expressions, in order, or by a function."""
    old = {"encoder/w": SAVED["enc"]["w"], "encoder/b": SAVED["enc"]["b"], "mean": SAVED["mean"]}
    old |= {f"dec.{name}": value for name, value in SAVED["dec"].items()}
    safetensors.numpy.save_file({n: v for n, v in old.items() if n != "mean"}, path)
    found = checkpoint.restore(SPECS.params, path, rename=RENAMES[rename])
    chex.assert_trees_all_equal(found, {"enc": SAVED["enc"], "dec": SAVED["dec"]})


def test_dtypes_are_converted_when_asked(path):
    """Where the wanted dtype holds such values: never from floats to integers, never from complex to real."""
    files.save(path, {"a": np.float32([1, 2.5]), "b": np.arange(3), "c": np.float64(0.1), "d": np.array([True])})
    like = {"a": jnp.zeros(2, jnp.bfloat16), "b": jnp.zeros(3), "c": jnp.zeros(()), "d": jnp.zeros(1, jnp.int8)}
    with pytest.raises(errors.StructureMismatchError, match=r"`cast=True` converts"):
        checkpoint.restore(like, path)
    found = checkpoint.restore(like, path, cast=True)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, like)
    assert jax.tree.map(lambda x: x.tolist(), found) == {
        "a": [1, 2.5],
        "b": [0, 1, 2],
        "c": pytest.approx(0.1),
        "d": [1],
    }
    for stored, wanted in ((1.5, np.int32), (1j, np.float32), (2, np.bool_)):
        files.save(path, {"x": np.array([stored])})
        with pytest.raises(errors.StructureMismatchError, match=r"dtype: +`x` is"):
            checkpoint.restore({"x": np.zeros(1, wanted)}, path, cast=True)


def test_no_value_is_lost_by_converting(path):
    """64 bits are converted before JAX could cut them; what does not fit is an error, and no other number."""
    files.save(path, {"n": np.array([1, 2**40])})
    found = checkpoint.restore({"n": jnp.zeros(2)}, path, cast=True)
    assert found["n"].tolist() == [1, 2**40]
    for dtype in ("int32", "uint8", "float16"):
        with pytest.raises(
            errors.DTypeMismatchError, match=f"`n` has values that {dtype} cannot hold, such as 1099511627776"
        ):
            checkpoint.restore({"n": np.zeros(2, dtype)}, path, cast=True)
    with Checkpointer(path.parent / "run") as checkpoints:
        checkpoints.save(0, step=2**40)
        with pytest.raises(errors.DTypeMismatchError, match="`step` has values that int32 cannot hold"):
            checkpoints.restore(step=jnp.int32(0))


def test_a_like_of_something_else_is_refused(path):
    """Text, say: no checkpoint has it."""
    with pytest.raises(errors.InvalidArgumentError, match="`name` is wanted as a `str`, which no checkpoint has"):
        checkpoint.restore({"name": "adam"}, path)


def test_values_go_where_shardings_say(path):
    """One for all, or nested ones, before those of the like; to what is initialized, too."""
    nested = {"enc": {"w": ROWS}}
    found = checkpoint.restore(SPECS, path, shardings=nested)
    assert found["enc"]["w"].sharding == ROWS
    assert [shard.data.shape for shard in found["enc"]["w"].addressable_shards] == [(1, 2)] * 8
    chex.assert_trees_all_equal(jax.device_get(found), SAVED)
    like = {"enc": {"w": jax.ShapeDtypeStruct((8, 2), jnp.float32, sharding=ROWS)}}
    assert checkpoint.restore(like, path, select="^enc/w")["enc"]["w"].sharding == ROWS
    whole = jax.NamedSharding(MESH, jax.P())
    files.save(path, {"enc": SAVED["enc"]})
    found = checkpoint.restore(SPECS, path, missing="init", key=KEY, shardings=whole)
    assert {leaf.sharding for leaf in jax.tree.leaves(found)} == {whole}


def test_shardings_must_divide_what_is_made_anew_too(path):
    """One report for what is taken and what is initialized, of axes that are too short or too few."""
    files.save(path, {"enc": SAVED["enc"]})
    with pytest.raises(errors.StructureMismatchError) as caught:
        checkpoint.restore(SPECS, path, missing="init", key=KEY, shardings=jax.NamedSharding(MESH, jax.P(None, "d")))
    lines = [line for line in str(caught.value).splitlines() if "sharding:" in line]
    assert [line.split("`")[1] for line in lines] == ["enc/w", "enc/b", "dec/w", "dec/b", "mean"]
    assert "array axis 1 is partitioned 8 times, but the dimension size is 2" in lines[0]
    assert lines[1].endswith("it has the shape [2] of fewer axes")


@pytest.mark.parametrize("store", ["safetensors", "orbax"])
def test_the_directory_of_a_training_gives_its_variables(tmp_path, store):
    """Params and state, or either; by the names of the model, from the last step or any."""
    params = {"enc": SAVED["enc"], "dec": SAVED["dec"]}
    with Checkpointer(tmp_path, store=store) as checkpoints:
        checkpoints.save(1, params=jax.tree.map(np.zeros_like, params))
        checkpoints.save(2, params=params, state={"mean": SAVED["mean"]}, optimizer={"mu": params}, epoch=3)
    chex.assert_trees_all_equal(checkpoint.restore(SPECS, tmp_path), SAVED)
    chex.assert_trees_all_equal(checkpoint.restore(SPECS.params, tmp_path), params)
    chex.assert_trees_all_equal(checkpoint.restore(SPECS.state, tmp_path), {"mean": SAVED["mean"]})
    renamed = {"decoder": {"w": jnp.zeros((8, 2))}}
    found = checkpoint.restore(renamed, tmp_path / "2", rename={"^dec/": "decoder/"}, select="^decoder/w")
    chex.assert_trees_all_equal(found, {"decoder": {"w": SAVED["dec"]["w"]}})
    with pytest.raises(errors.StructureMismatchError, match=r"missing: +`enc/W` .*near: `enc/w`"):
        checkpoint.restore({"enc": {"W": jnp.zeros(1)}}, tmp_path)


def test_the_parts_of_a_large_model_are_one_checkpoint(tmp_path):
    """Several files and an index, as on Hugging Face."""
    flat = jscope.tree.flatten(SAVED)
    parts = {"model-1.safetensors": ["enc/w", "mean"], "model-2.safetensors": ["enc/b", "dec/w", "dec/b"]}
    for file, names in parts.items():
        files.save(tmp_path / file, {name: flat[name] for name in names})
    index = {"metadata": {}, "weight_map": {name: file for file, names in parts.items() for name in names}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    for path in (tmp_path, tmp_path / "model.safetensors.index.json"):
        chex.assert_trees_all_equal(checkpoint.restore(SPECS, path), SAVED)
    with pytest.raises(errors.MissingVariableError, match="Did you mean `enc/w`"):
        checkpoint.load_variable(tmp_path, "enc/W")
    assert checkpoint.load_checkpoint(tmp_path).has_tensor("mean")


BROKEN = {
    "no index": ("{}", "is not an index of safetensors files"),
    "a file elsewhere": ('{"weight_map": {"w": "../x.safetensors"}}', "it names files elsewhere"),
    "an absolute file": ('{"weight_map": {"w": "/etc/passwd"}}', "it names files elsewhere"),
    "no names": ('{"weight_map": {"w": 3}}', "it names files elsewhere"),
    "another file": ('{"weight_map": {"w": "a.safetensors", "v": "a.safetensors"}}', "`v` is not in `a.safetensors`"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_wrong_index_is_refused(tmp_path, case):
    """It may name only files beside it, and must be right."""
    text, match = BROKEN[case]
    files.save(tmp_path / "a.safetensors", {"w": 1})
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(checkpoint.CorruptCheckpointError, match=match):
        checkpoint.load_checkpoint(tmp_path)
    if case == "another file":
        (tmp_path / "a.safetensors").unlink()
        with pytest.raises(checkpoint.MissingCheckpointError, match="no file"):
            checkpoint.load_checkpoint(tmp_path)


def test_the_order_of_bytes_is_nobodys_business(path):
    """Of what is wanted, and of what was saved."""
    files.save(path, {"x": np.arange(3, dtype=">f4")})
    found = checkpoint.restore({"x": np.zeros(3, ">f4")}, path)["x"]
    assert (found.tolist(), found.dtype) == ([0, 1, 2], np.float32)


def test_a_reader_will_do(path):
    """One that is open, or of another kind."""
    chex.assert_trees_all_equal(checkpoint.restore(SPECS, checkpoint.load_checkpoint(path)), SAVED)


def layer(s, x):
    return x + s.get_variable("w", (2,), initializer=jscope.initializers.normal(1.0))


def test_layers_that_only_one_side_stacks_are_one_line(tmp_path):
    """And what the message says restores them, in both directions."""
    stacked = jscope.specs(lambda s: jscope.layers(layer, 3)(s / "layers", jnp.ones(2)))
    unrolled = jscope.specs(lambda s: [layer(s / "layers" / str(i), jnp.ones(2)) for i in range(3)])
    values = {name: specs.materialize(jax.random.key(0)) for name, specs in (("s", stacked), ("u", unrolled))}
    for name, value in values.items():
        files.save(tmp_path / f"{name}.safetensors", value)
    path = tmp_path / "u.safetensors"
    with pytest.raises(
        errors.StructureMismatchError,
        match=r"not here: `jscope.tree.stack(?s:.*)`jscope.tree.stack\(restore\(jscope.tree.un",
    ):
        checkpoint.restore(stacked, path)
    found = jscope.tree.stack(checkpoint.restore(jscope.tree.unstack(stacked, at="layers"), path), at="layers")
    chex.assert_trees_all_equal(found, values["s"])
    path = tmp_path / "s.safetensors"
    with pytest.raises(
        errors.StructureMismatchError,
        match=r"not in the model: `jscope.tree.unstack(?s:.*)unstack\(restore\(jscope.tree.stack\(spe",
    ):
        checkpoint.restore(unrolled, path)
    found = jscope.tree.unstack(
        checkpoint.restore(jscope.tree.stack(unrolled.shape_dtype(), at="layers"), path), at="layers"
    )
    chex.assert_trees_all_equal(found, values["u"])
