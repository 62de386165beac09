"""The public face of `jscope.tf1`, and what it costs."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import jscope
from jscope import errors, tf1
from tests.tf1.tools import KEY

SOURCE = ast.parse(Path(tf1.__file__).read_text(encoding="utf8")).body[1:]
PUBLIC = [statement.names[0].name for statement in SOURCE]
DELIVERED = """
    variable_scope variable_op_scope get_variable get_local_variable get_variable_scope VariableScope name_scope
    AUTO_REUSE
    no_regularizer variable_creator_scope make_template GraphKeys global_variables trainable_variables local_variables
    add_to_collection get_collection fixed_size_partitioner min_max_variable_partitioner variable_axis_size_partitioner
    transform transform_with_state current_scope scoped Variable zeros_initializer ones_initializer constant_initializer
    random_uniform_initializer random_normal_initializer truncated_normal_initializer uniform_unit_scaling_initializer
    variance_scaling_initializer orthogonal_initializer glorot_uniform_initializer glorot_normal_initializer
    initializers.identity losses.get_regularization_loss losses.get_regularization_losses train.init_from_checkpoint
    contrib.layers.l1_regularizer contrib.layers.l2_regularizer
    layers.dense layers.conv1d layers.conv2d layers.conv3d layers.conv2d_transpose layers.conv3d_transpose
    layers.separable_conv1d layers.separable_conv2d layers.batch_normalization layers.dropout layers.flatten
    layers.max_pooling1d layers.max_pooling2d layers.max_pooling3d layers.average_pooling1d layers.average_pooling2d
    layers.average_pooling3d layers.Layer layers.Dense layers.Conv1D layers.Conv2D layers.Conv3D layers.Conv2DTranspose
    layers.Conv3DTranspose layers.SeparableConv1D layers.SeparableConv2D layers.BatchNormalization layers.Dropout
    layers.Flatten layers.MaxPooling1D layers.MaxPooling2D layers.MaxPooling3D layers.AveragePooling1D
    layers.AveragePooling2D layers.AveragePooling3D
    contrib.layers.fully_connected contrib.layers.conv2d contrib.layers.conv2d_transpose
    contrib.layers.separable_conv2d contrib.layers.batch_norm contrib.layers.layer_norm contrib.layers.flatten
    contrib.layers.dropout contrib.layers.max_pool2d contrib.layers.avg_pool2d contrib.layers.one_hot_encoding
    contrib.layers.xavier_initializer contrib.layers.variance_scaling_initializer contrib.layers.repeat
    contrib.layers.stack contrib.layers.utils.convert_collection_to_dict contrib.framework.arg_scope
    contrib.framework.add_arg_scope contrib.framework.model_variable contrib.framework.get_or_create_global_step
    contrib.framework.get_variables contrib.framework.get_variables_by_name contrib.framework.get_variables_by_suffix
    contrib.framework.get_variables_to_restore contrib.slim.conv2d contrib.slim.arg_scope contrib.slim.fully_connected
    assign assign_add assign_sub group control_dependencies no_op scatter_update moving_average_variables
    PartitionedVariable train.ExponentialMovingAverage train.get_or_create_global_step train.get_global_step
"""


def test_init_only_re_exports():
    """`from module import x as x`, one name a line."""
    for statement in SOURCE:
        assert isinstance(statement, ast.ImportFrom), ast.unparse(statement)
        (alias,) = statement.names
        assert alias.asname == alias.name


@pytest.mark.parametrize("name", DELIVERED.split())
def test_what_old_code_needs_is_there(name):
    """Under TensorFlow's name."""
    value = tf1
    for part in name.split("."):
        value = getattr(value, part)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name):
    """Functions, classes and their public members; namespaces."""
    value = getattr(tf1, name)
    if not (inspect.ismodule(value) or inspect.isfunction(value) or inspect.isclass(value)):
        return
    assert (value.__doc__ or "").strip()
    if inspect.isclass(value) and value.__module__.startswith("jscope"):
        for member, thing in vars(value).items():
            if not member.startswith("_") and (callable(thing) or isinstance(thing, property)):
                assert thing.__doc__ or member in ("check", "draw"), f"{name}.{member}"


def explicit(scope, x):
    for i in range(24):
        s = scope / f"l{i}"
        w = s.get_variable("w", (x.shape[-1], 8))
        x = jax.nn.relu(x @ w + s.get_variable("b", (1, 8), initializer=jscope.initializers.zeros))
    return x


def ambient(x):
    for i in range(24):
        with tf1.variable_scope(f"l{i}"):
            w = tf1.get_variable("w", [x.shape[-1], 8])
            x = jax.nn.relu(x @ w + tf1.get_variable("b", [1, 8], initializer=tf1.zeros_initializer()))
    return x


def test_a_facade_model_has_the_program_of_the_explicit_one():
    """The same variables, initial values and jaxpr."""
    one, other, x = jscope.transform(explicit), tf1.transform(ambient), jnp.ones((1, 8))
    params = one.init(jax.random.key(0), x)
    same = jax.tree.map(jnp.array_equal, params, other.init(jax.random.key(0), x))
    assert all(jax.tree.leaves(same))
    jaxprs = [str(jax.make_jaxpr(lambda p, x, m=m: m.apply(p, x))(params, x)) for m in (one, other)]
    assert jaxprs[0] == jaxprs[1]


@pytest.mark.slow  # `docs/porting_tf1.md` goes the same way.
def test_the_example_runs():
    """`examples/port_from_tf1.py`, for a few steps."""
    root = Path(__file__).parents[2]
    command = [sys.executable, root / "examples" / "port_from_tf1.py", "--steps", "3"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "policy/head_1/out/w" in done.stdout
    assert "Test accuracy" in done.stdout


def test_advice_on_state_names_the_facade():
    """A model with a variable that is not trainable, given to `tf1.transform`."""
    model = tf1.transform(lambda: tf1.get_variable("n", [], trainable=False))
    with pytest.raises(errors.StateError, match=r"Use `tf1\.transform_with_state\(f\)`"):
        model.init(KEY)
