from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from tests.models import KEY, X

W = jnp.stack([jnp.eye(4) * (i + 1) for i in range(3)])


def times_w(scope, x):
    return x @ scope.get_variable("w", (4, 4))


def mapped(function=times_w, *args, **options):
    return jscope.transform(lambda s, *xs: jscope.vmap(function, *args, **options)(s / "m", *xs))


def test_variables_are_stacked():
    """Each element has variables of its own, which start as those below its number."""
    params = mapped().init(KEY(0), X)
    alone = jscope.init(lambda s, x: [times_w(s / f"m/{i}", x) for i in range(3)], KEY(0), X)
    chex.assert_trees_all_equal(jscope.tree.unstack(params, at="m"), alone)


def test_variables_may_be_shared():
    """With `variables="shared"` all elements read the same variables, which have no more axes."""
    run = mapped(variables="shared")
    assert run.specs(X)["m/w"].shape == (4, 4)
    chex.assert_trees_all_close(run.apply({"m": {"w": W[1]}}, X), 2 * X)


def test_a_regex_chooses_what_is_shared():
    """`shared=` shares what it finds and stacks the rest."""
    run = mapped(lambda s, x: times_w(s / "head", times_w(s / "trunk", x)), shared="/trunk/")
    specs = run.specs(X)
    assert (specs["m/trunk/w"].shape, specs["m/head/w"].shape) == ((4, 4), (3, 4, 4))
    out = run.apply({"m": {"trunk": {"w": W[1]}, "head": {"w": W}}}, X)
    chex.assert_trees_all_close(out, X * jnp.array([[2.0], [4.0], [6.0]]))


def test_in_axes_choose_the_axis_of_each_argument():
    """`in_axes` is by argument, None where all elements get the whole, and may be a tree."""
    run = mapped(lambda s, a, b: (times_w(s, a["x"]), b + a["y"]), ({"x": 1, "y": None}, None), axis_size=3)
    out = run.apply({"m": {"w": W}}, {"x": X.T, "y": 1.0}, 2.0)
    chex.assert_trees_all_close(out[0], X * jnp.array([[1.0], [2.0], [3.0]]))
    chex.assert_trees_all_close(out[1], jnp.full(3, 3.0))


def test_in_axes_may_count_from_the_end():
    """Negative axes are those of NumPy."""
    chex.assert_trees_all_close(mapped(in_axes=-1).apply({"m": {"w": W}}, X.T), mapped().apply({"m": {"w": W}}, X))


@pytest.mark.parametrize("out_axes", [1, -1])
def test_out_axes_choose_the_axis_of_the_output(out_axes):
    """`out_axes` says where the batch axis of the output goes."""
    params = {"m": {"w": W}}
    chex.assert_trees_all_close(mapped(out_axes=out_axes).apply(params, X), mapped().apply(params, X).T)


def test_axis_name_is_for_collectives():
    """Inside, `axis_name` names the batch, in both phases."""
    run = mapped(lambda s, x: times_w(s, x) - jax.lax.pmean(x, "batch"), axis_name="batch", variables="shared")
    assert run.init(KEY(0), X)["m"]["w"].shape == (4, 4)
    chex.assert_trees_all_close(run.apply({"m": {"w": W[0]}}, X), X - X.mean(0, keepdims=True), atol=1e-6)


def test_spmd_axis_name_is_passed_on():
    """Sharding constraints in the body get the mesh axis that `spmd_axis_name` names."""
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.P())

    def body(s, x):
        return jax.lax.with_sharding_constraint(times_w(s, x), sharding)

    run = mapped(body, variables="shared", spmd_axis_name="d")
    out = jax.jit(run.apply)({"m": {"w": W[0]}}, X[:2])
    assert out.sharding.is_equivalent_to(jax.sharding.NamedSharding(mesh, jax.P("d")), out.ndim)


@pytest.mark.parametrize(("rng", "different"), [("split", 3), ("shared", 1)])
@pytest.mark.parametrize("variables", ["stacked", "shared"])
def test_keys_are_split_or_shared(rng, different, variables):
    """Each element draws numbers of its own, or all draw the same, whatever the variables do."""
    run = mapped(lambda s, x: jax.random.uniform(s.rng()), rng=rng, variables=variables).with_rng(KEY(0))
    assert len(np.unique(run.apply({}, X))) == different


def test_state_is_stacked():
    """Each element writes state of its own."""

    def body(s, x):
        s.assign("n", s.get_variable("n", (), initializer=jscope.initializers.zeros, trainable=False) + x.sum())

    run = jscope.transform_with_state(lambda s, x: jscope.vmap(body)(s / "m", x))
    _, state = run.apply({}, run.init(KEY(0), X)[1], X)
    chex.assert_trees_all_close(state["m"]["n"], X.sum(1))


def mean(scope, x, reduce):
    scope.get_variable("mean", (), initializer=jscope.initializers.zeros, trainable=False)
    scope.assign("mean", reduce(x.sum()))


def with_shared_mean(reduce):
    body = jscope.vmap(lambda s, x: mean(s, x, reduce), variables="shared", axis_name="batch")
    return jscope.transform_with_state(lambda s, x: body(s / "m", x))


def test_shared_state_is_written_by_all_alike():
    """What all elements write, averaged, is the new state."""
    run = with_shared_mean(lambda x: jax.lax.pmean(x, "batch"))
    _, state = run.apply({}, run.init(KEY(0), X)[1], X)
    chex.assert_trees_all_close(state["m"]["mean"], X.sum(1).mean())


def test_shared_state_that_differs_is_refused():
    """The error names the state and the ways out."""
    with pytest.raises(ValueError, match=r"share the state `m/mean`, .*pmean"):
        with_shared_mean(lambda x: x).apply({}, {"m": {"mean": jnp.asarray(0.0)}}, X)


def test_axes_are_named():
    """`axis` names the stacked axis in the spec."""
    run = mapped(lambda s, x: x @ s.get_variable("w", (4, 4), axes=("i", "o")), axis="members")
    assert run.specs(X)["m/w"].axes == ("members", "i", "o")


@pytest.mark.parametrize("options", [{"variables": "split"}, {"rng": "same"}])
def test_unknown_choices_are_refused(options):
    """The message lists what can be chosen."""
    with pytest.raises(
        errors.InvalidArgumentError, match=r"vmap: (variables|rng)='\w+' must be (one of \('stacked'|\"split\")"
    ):
        jscope.vmap(times_w, **options)


def test_unknown_options_are_refused():
    """An option that does not exist is Python's error, when the lift is made."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes_size'"):
        jscope.vmap(times_w, axes_size=3)


def test_shared_must_be_a_regex():
    """A pattern that does not compile is refused where it is given."""
    with pytest.raises(errors.InvalidArgumentError, match=r"shared='\*' is not a regular expression"):
        jscope.vmap(times_w, shared="*")


def test_in_axes_must_fit_the_arguments():
    """One entry for each argument after the scope."""
    with pytest.raises(errors.InvalidArgumentError, match=r"scope `m`: in_axes \(0, 0\) has 2 entries for 1 arg"):
        mapped(times_w, (0, 0)).init(KEY(0), X)


def test_in_axes_must_exist():
    """An axis that an argument does not have is named with its shape."""
    with pytest.raises(errors.InvalidArgumentError, match=r"argument 0 of shape \(3, 4\) has no axis 2"):
        mapped(times_w, 2).init(KEY(0), X)


def test_the_size_must_be_known():
    """With nothing mapped, `axis_size` tells the size."""
    with pytest.raises(errors.ShapeMismatchError, match=r"scope `m` does not know the size.*\n.*`axis_size`"):
        mapped(times_w, None).init(KEY(0), X)


def test_sizes_must_agree():
    """Arguments of different sizes are listed."""
    with pytest.raises(errors.ShapeMismatchError, match=r"axis_size: 4, argument 0: 3"):
        mapped(axis_size=4).init(KEY(0), X)


@pytest.mark.parametrize(
    ("options", "params", "message"),
    [
        ({}, {str(i): {"w": W[0]} for i in range(3)}, r'unrolled model: `jscope\.tree\.stack\(params, at="m"\)`'),
        ({}, {"w": W[0]}, r"name them by `shared=`, or .*`jscope\.tree\.stack`"),
        ({"variables": "shared"}, {"w": W}, r'leave `shared=` out; `jscope\.tree\.unstack\(params, at="m"\)`'),
    ],
)
def test_params_of_another_form_say_how_to_convert(options, params, message):
    """Unrolled, shared or stacked params in a model that wants another form: which of stack and unstack helps."""
    with pytest.raises(errors.ShapeMismatchError, match=message):
        mapped(**options).apply({"m": params}, X)
