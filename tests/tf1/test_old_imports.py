"""What old files import beside `tf` itself: parts of `tf.contrib`, and the modules in which TensorFlow keeps things."""

from __future__ import annotations

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors, tf1
from jscope.tf1 import python
from jscope.tf1._ops._absent import ADVICE, NotThereError
from jscope.tf1._ops._find import RENAMED, ROWS, WHOLE
from jscope.tf1._ops._rarely_asked import ALIKE, RARE
from tests.tf1.tools import KEY, run

IMPORTED = {
    "ops.array_ops": {"reshape": "reshape", "concat": "concat"},
    "ops.control_flow_ops": {"cond": "cond", "group": "group"},
    "ops.init_ops": {"zeros_initializer": "zeros_initializer"},
    "ops.math_ops": {"matmul": "matmul"},
    "ops.nn_ops": {"softmax": "nn.softmax"},
    "ops.rnn_cell_impl": {"LSTMStateTuple": "nn.rnn_cell.LSTMStateTuple"},
    "ops.variable_scope": {"get_variable": "get_variable", "variable_scope": "variable_scope"},
    "framework.dtypes": {"float32": "float32", "as_dtype": "as_dtype"},
    "framework.ops": {"GraphKeys": "GraphKeys", "convert_to_tensor": "convert_to_tensor"},
    "layers.base": {"Layer": "layers.Layer"},
    "platform.tf_logging": {"info": "logging.info"},
    "util.nest": {"flatten": "nest.flatten"},
}


def there(path):
    """What `tf.<path>` is."""
    found = tf1
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("path", IMPORTED)
def test_the_modules_of_tensorflow_have_what_is_public(path):
    """Imported as modules or from their package, or asked for as attributes: it is what `tf` itself has."""
    module = importlib.import_module(f"jscope.tf1.python.{path}")
    package, _, last = module.__name__.rpartition(".")
    assert getattr(importlib.import_module(package), last) is module is there(f"python.{path}")
    for name, public in IMPORTED[path].items():
        assert getattr(module, name) is there(public)


def test_every_module_of_tensorflow_has_a_home():
    """The namespaces that stand for them are there."""
    for home in set(python.HOMES.values()):
        python.public(home)


def test_what_is_not_public_is_not_there():
    """Old files try one place after the other, so it must be Python's error; what is known says what to use."""
    with pytest.raises(ImportError):
        importlib.import_module("jscope.tf1.python.ops.core_rnn_cell_impl")
    with pytest.raises(NotThereError, match=r"`tf\.python\.ops` has no `core_rnn_cell_impl`.*\n.*not public"):
        _ = tf1.python.ops.core_rnn_cell_impl
    with pytest.raises(NotThereError, match="inspect"):
        tf1.python.util.tf_inspect.getfullargspec(run)
    with pytest.raises(NotThereError, match=r"tf\.cond\("):
        tf1.python.ops.control_flow_ops.switch(1, True)


def test_what_has_no_public_name_is_there():
    """`with_dependencies`, `constant_value`, `as_shape`."""
    ops, tensor_util = tf1.python.ops.control_flow_ops, tf1.python.framework.tensor_util
    assert run(lambda: ops.with_dependencies([tf1.no_op()], tf1.ones([2]), name="x").name) == "x:0"
    assert run(lambda: tensor_util.constant_value(tf1.shape(tf1.ones([2, 3])))).tolist() == [2, 3]
    assert tf1.python.framework.tensor_shape.as_shape([2, None]).as_list() == [2, None]


def test_defun_gives_a_function_another_gradient():
    """Its function gets an operation with the inputs; without one, the function is what it was."""
    defun = tf1.python.framework.function.Defun
    double = defun(tf1.float32, func_name="Double")(lambda x: x * 2.0)
    turned = defun(python_grad_func=lambda op, dy: -dy * op.inputs[0])(lambda x: x * 2.0)
    model = tf1.transform(lambda x: (double(x), turned(x)))
    one, other = (jax.grad(lambda x, i=i: model.apply({}, x)[i])(jnp.float32(3.0)) for i in (0, 1))
    assert (one, other) == (2.0, -3.0)


def averages():
    """The values of three moves, the first two of which forget where the average began."""
    move = tf1.python.training.moving_averages.assign_moving_average
    with tf1.variable_scope("bn"):
        mean = tf1.get_variable("mean", [2], initializer=tf1.ones_initializer(), trainable=False)
        values = [move(mean, tf1.constant([3.0, 4.0]), 0.9), move(mean, tf1.constant([1.0, 5.0]), 0.9)]
        return [*values, move(mean, tf1.constant([2.0, 1.0]), 0.5, zero_debias=False)]


def test_moving_averages_are_those_of_tensorflow():
    """TensorFlow 2.21 gave the names, and what the variables hold after two steps."""
    model = tf1.transform_with_state(averages)
    params, state = model.init(KEY)
    below = [f"bn/bn/mean/{name}" for name in ("biased", "local_step", "biased_1", "local_step_1")]
    assert jscope.tree.names(state) == ["bn/mean", *below]
    found, state = jax.jit(model.apply)(params, state)
    np.testing.assert_allclose(found, [[3.0, 4.0], [1.0, 5.0], [1.5, 3.0]], 1e-6)
    _, state = model.apply(params, state)
    inner = state["bn"]["bn"]["mean"]
    np.testing.assert_allclose(inner["biased"], [0.57, 0.76], 1e-6)
    np.testing.assert_allclose(inner["biased_1"], [0.19, 0.95], 1e-6)
    assert (inner["local_step"], inner["local_step_1"]) == (2.0, 2.0)
    with pytest.raises(errors.NameConflictError, match="mean"):
        tf1.transform_with_state(
            lambda: tf1.python.training.moving_averages.assign_moving_average(
                tf1.get_variable("mean", [], trainable=False), 1.0, 0.9
            )
        ).init(KEY)


LOGITS = np.cos(np.arange(24.0)).reshape(2, 3, 4).astype("float32")
TARGETS = np.array([[0, 1, 3], [2, 2, 0]], "int32")
WEIGHTS = np.array([[1.0, 1.0, 0.0], [0.5, 0.0, 0.0]], "float32")


def applied(f):
    """What `f()` returns."""
    return tf1.transform(f).apply({})


def cross_entropies():
    """Those of all steps, weighted."""
    logs = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    return -np.take_along_axis(logs, TARGETS[..., None], -1)[..., 0] * WEIGHTS


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, lambda x: x.sum() / 2.5),
        ({"average_across_timesteps": False}, lambda x: x.sum(0) / np.array([1.5, 1.0, np.inf])),
        ({"average_across_batch": False}, lambda x: x.sum(1) / np.array([2.0, 0.5])),
        ({"average_across_timesteps": False, "average_across_batch": False}, lambda x: x),
        ({**dict.fromkeys(["average_across_timesteps", "average_across_batch"], False), "sum_over_batch": True,
          "sum_over_timesteps": True}, lambda x: x.sum() / 3.0),
    ],
)  # fmt: skip
def test_losses_of_sequences(options, wanted):
    """Averaged or not over either axis; a step without weight counts nothing, and where none counts it is zero."""
    loss = applied(lambda: tf1.contrib.seq2seq.sequence_loss(LOGITS, TARGETS, WEIGHTS, **options))
    np.testing.assert_allclose(loss, wanted(cross_entropies()), 1e-6)


def test_losses_of_lists_of_steps():
    """Those of `legacy_seq2seq`, by example, and as one number; with another loss of a step."""
    legacy = tf1.contrib.legacy_seq2seq
    steps = [list(np.moveaxis(each, 1, 0)) for each in (LOGITS, TARGETS, WEIGHTS)]
    by_example = cross_entropies().sum(1) / np.array([2.0, 0.5])
    np.testing.assert_allclose(applied(lambda: legacy.sequence_loss_by_example(*steps)), by_example, 1e-6)
    np.testing.assert_allclose(applied(lambda: legacy.sequence_loss(*steps)), by_example.mean(), 1e-6)
    of_ones = lambda labels, logits: tf1.ones_like(labels, tf1.float32) + 0.0 * logits[:, 0]  # noqa: E731
    found = applied(lambda: legacy.sequence_loss(*steps, average_across_batch=False, softmax_loss_function=of_ones))
    np.testing.assert_allclose(found, 2.0, 1e-6)


def test_sequences_that_do_not_fit_are_errors():
    """Ranks, lengths of lists, an axis that is to be averaged and summed up."""
    loss, legacy = tf1.contrib.seq2seq.sequence_loss, tf1.contrib.legacy_seq2seq
    with pytest.raises(ValueError, match=r"ranks \(2, 2, 2\)"):
        run(lambda: loss(LOGITS[:, 0], TARGETS, WEIGHTS))
    with pytest.raises(ValueError, match="either averaged or summed up"):
        run(lambda: loss(LOGITS, TARGETS, WEIGHTS, sum_over_batch=True))
    with pytest.raises(ValueError, match="must be the same"):
        run(lambda: legacy.sequence_loss([LOGITS], [], []))


def test_a_decoder_that_is_unrolled_reads_its_own_outputs():
    """With a `loop_function`, under the names of TensorFlow 1.15; without one, it reads its inputs."""
    cells, legacy = tf1.contrib.rnn, tf1.contrib.legacy_seq2seq
    names = []

    def f(x, fed):
        cell = cells.LSTMBlockCell(3, forget_bias=0.0)
        start = cell.zero_state(2, tf1.float32)
        outs, state = legacy.rnn_decoder([x, x, x], start, cell, (lambda out, _: out) if fed else None, scope="d")
        names[:] = [v.op.name for v in tf1.global_variables()]
        return outs, state

    model, x = tf1.transform(f), jnp.ones((2, 3))
    params = model.init(KEY, x, fed=False)
    assert names == ["d/lstm_cell/kernel", "d/lstm_cell/bias"]
    plain, fed = model.apply(params, x, fed=False), model.apply(params, x, fed=True)
    np.testing.assert_array_equal(plain[0][0], fed[0][0])
    assert np.any(plain[0][2] != fed[0][2])
    # Step by step by hand: the second input is the first output.
    again = tf1.transform(lambda x, c, h: cells.LSTMBlockCell(3, forget_bias=0.0)(x, cells.LSTMStateTuple(c, h))[0])
    first = again.apply({"lstm_cell": params["d"]["lstm_cell"]}, x, jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    np.testing.assert_allclose(first, fed[0][0], 1e-6)
    with pytest.raises(ValueError, match=r"Use `tf\.nn\.rnn_cell\.LSTMCell"):
        cells.LSTMBlockCell(3, use_peephole=True)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_fused_cell_is_called_with_all_steps(compiled):
    """It gives what its plain cell gives step by step; beyond its end a sequence puts out zeros, its state stays."""
    rnn, names = tf1.contrib.rnn, []
    x, lengths = jax.random.normal(KEY, (4, 2, 3)), np.array([4, 2])
    start = rnn.LSTMStateTuple(jnp.full((2, 5), 0.5), jnp.full((2, 5), -0.5))

    def fused(x, start):
        cell = rnn.LSTMBlockFusedCell(5, forget_bias=0.5)
        outs, state = cell(x, start, tf1.float32, lengths)
        names[:] = [(v.op.name, v.shape.as_list()) for v in tf1.global_variables()]
        listed, again = cell([x[i] for i in range(4)], dtype=tf1.float32)
        return outs, state, (listed, again)

    def stepwise(x, state):
        cell, outs = rnn.LSTMBlockCell(5, forget_bias=0.5, name="lstm_fused_cell"), []
        for i in range(4):
            out, state = cell(x[i], state)
            outs.append((out, state.c))
        return outs

    model = tf1.transform(fused)
    params = model.init(KEY, x, start)
    assert names == [("lstm_fused_cell/kernel", [8, 20]), ("lstm_fused_cell/bias", [20])]
    apply = jax.jit(model.apply) if compiled else model.apply
    outs, state, (listed, again) = apply(params, x, start)
    expected = tf1.transform(stepwise).apply(params, x, start)
    for i, (out, _) in enumerate(expected):
        np.testing.assert_allclose(outs[i], np.asarray(out) * (i < lengths)[:, None], rtol=1e-5, atol=1e-6)
    last = [(expected[3][part][0], expected[1][part][1]) for part in (1, 0)]
    for found, (first, second) in zip(state, last, strict=True):
        np.testing.assert_allclose(found, [first, second], rtol=1e-5, atol=1e-6)
    from_zero = tf1.transform(stepwise).apply(params, x, rnn.LSTMStateTuple(jnp.zeros((2, 5)), jnp.zeros((2, 5))))
    np.testing.assert_allclose(listed, [out for out, _ in from_zero], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(again.h, from_zero[3][0], rtol=1e-5, atol=1e-6)
    grads = jax.grad(lambda params: apply(params, x, start)[0].sum())(params)

    def summed(params):
        made = tf1.transform(stepwise).apply(params, x, start)
        return sum(jnp.where((i < lengths)[:, None], out, 0.0).sum() for i, (out, _) in enumerate(made))

    by_hand = jax.grad(summed)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), grads, by_hand)
    with pytest.raises(ValueError, match="Either initial_state or dtype needs to be specified"):
        run(lambda: rnn.LSTMBlockFusedCell(5)(x))
    with pytest.raises(ValueError, match="`LSTMBlockFusedCell` has no `use_peephole`"):
        rnn.LSTMBlockFusedCell(5, cell_clip=1.0)


@pytest.mark.slow
def test_stacks_of_two_directions():
    """Each layer reads both directions of the one below, in scopes of its own."""
    rnn, names = tf1.contrib.rnn, []

    def f(x):
        layers = [[rnn.GRUCell(size) for size in (3, 2)] for _ in range(2)]
        out, forwards, backwards = rnn.stack_bidirectional_dynamic_rnn(*layers, x, dtype=tf1.float32)
        names[:] = [(v.op.name, v.shape.as_list()) for v in tf1.global_variables()]
        return out, forwards, backwards

    model, x = tf1.transform(f), jnp.ones((2, 4, 5))
    out, forwards, backwards = model.apply(model.init(KEY, x), x)
    assert out.shape == (2, 4, 4)
    assert [state.shape for state in (*forwards, *backwards)] == [(2, 3), (2, 2)] * 2
    assert names[0] == ("stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/gru_cell/gates/kernel", [8, 6])
    assert names[-1] == ("stack_bidirectional_rnn/cell_1/bidirectional_rnn/bw/gru_cell/candidate/bias", [2])
    with pytest.raises(ValueError, match="as many forward Cells"):
        run(lambda: rnn.stack_bidirectional_dynamic_rnn([], [], jnp.ones((2, 4, 5)), dtype=tf1.float32))


def test_advice_that_stands_for_several_names():
    """Its own is there, and no name has two."""
    assert set(ALIKE.values()) <= set(ADVICE)
    known = {*ROWS, *WHOLE}
    assert not (ALIKE.keys() | RARE.keys()) & (ADVICE.keys() | known)
    assert not ALIKE.keys() & RARE.keys()


@pytest.mark.parametrize("name", sorted(ALIKE.keys() | RARE.keys()))
def test_what_is_rarely_asked_for_says_what_to_use(name):
    """Naming it is no error, since files name it where they are imported; calling it is."""
    with pytest.raises(NotThereError, match=rf"`tf\.{name}` is not in `jscope\.tf1`\.\n"):
        there(name)()


@pytest.mark.parametrize("name", RENAMED)
def test_what_tensorflow_1_took_away_is_not_there(name):
    """Old files tell by that which version they have; whoever asks is told the name since then."""
    home, _, last = name.rpartition(".")
    assert not hasattr(there(home) if home else tf1, last)
    with pytest.raises(NotThereError, match=rf"use `tf\.{RENAMED[name]}`"):
        there(name)
    there(RENAMED[name])


def test_namespaces_tell_what_they_do_not_have():
    """Also those that are modules of their own."""
    for name in ("contrib.layers", "contrib.slim", "contrib.framework", "contrib.training", "layers"):
        with pytest.raises(NotThereError, match=rf"`jscope\.tf1` has no `{name}\.nonsense`"):
            there(f"{name}.nonsense")


def test_files_are_read_and_written_as_tensorflow_does(tmp_path):
    """`tensorflow.python.lib.io.file_io` is `tf.gfile` by other names."""
    file_io = importlib.import_module("jscope.tf1.python.lib.io.file_io")
    folder = tmp_path / "a" / "b"
    file_io.recursive_create_dir(str(folder))
    with file_io.FileIO(str(folder / "c.txt"), mode="w") as file:
        file.write("text")
    assert file_io.file_exists(str(folder / "c.txt"))
    assert file_io.read_file_to_string(str(folder / "c.txt")) == "text"
    assert file_io.read_file_to_string(str(folder / "c.txt"), binary_mode=True) == b"text"
    assert file_io.get_matching_files(str(folder / "*.txt")) == [str(folder / "c.txt")]
    file_io.delete_file(str(folder / "c.txt"))
    assert file_io.list_directory(str(folder)) == []


def test_versions_are_those_of_the_last_tensorflow_1():
    """Old files choose by them between names, of which those of 1.15 are here."""
    assert {tf1.VERSION, tf1.__version__, tf1.version.VERSION} == {"1.15.0"}
    assert tf1.version.GIT_VERSION == "v1.15.0"
