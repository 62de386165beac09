from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jscope
from jscope import errors
from tests.models import KEY

PARAMS = {"a": {"w": jnp.asarray(2.0), "v": jnp.asarray(5.0)}}


def product(scope, x=3.0, y=1.0):
    """Its derivatives by `w`, `v`, `x` and `y` are 15, 6, 10 and 30 at the defaults."""
    return scope.get_variable("w", ()) * scope.get_variable("v", ()) * x * y


def with_aux(scope, x, y):
    return product(scope, x, y), "aux"


def on_a(lifted, *args, params=PARAMS):
    return jscope.apply(lambda s, *args: lifted(s / "a", *args), params, *args)


@pytest.mark.parametrize(
    ("wrt", "argnums", "expected"),
    [
        ("", (), {"w": 15.0, "v": 6.0}),
        ("/w$", (), {"w": 15.0}),
        ("^a/", (), {"w": 15.0, "v": 6.0}),
        ("", (1,), ({"w": 15.0, "v": 6.0}, (10.0,))),
        ("", 1, ({"w": 15.0, "v": 6.0}, 10.0)),
        ("v$", (2, 1), ({"v": 6.0}, (30.0, 10.0))),
        (None, (1, 2), (10.0, 30.0)),
        (None, 2, 30.0),
    ],
)
def test_grad_is_by_variables_and_arguments(wrt, argnums, expected):
    """`wrt` selects params by path, `argnums` arguments; one number gives one gradient. So while collecting, too."""
    lifted = jscope.grad(product, wrt, argnums=argnums)
    grads = on_a(lifted, 3.0, 1.0)
    chex.assert_trees_all_equal(grads, jax.tree.map(jnp.float32, expected))
    made = []
    jscope.init(lambda s: made.append(jax.tree.structure(lifted(s / "a", 3.0, 1.0))), KEY(0))
    assert made == [jax.tree.structure(grads)]


def test_has_aux_gives_what_else_was_returned():
    """With `has_aux` the function returns a pair, and so does its gradient."""
    value, grads = on_a(jscope.value_and_grad(with_aux, has_aux=True), 3.0, 1.0)
    assert value == (30.0, "aux")
    chex.assert_trees_all_equal(grads, on_a(jscope.grad(product), 3.0, 1.0))
    assert on_a(jscope.grad(with_aux, has_aux=True), 3.0, 1.0) == (grads, "aux")


def test_gradients_are_nested_by_name_below_the_scope():
    """Gradients mirror the params below the scope, as optimizers want them."""
    grads = jscope.apply(jscope.grad(lambda s: product(s / "a")), PARAMS)
    chex.assert_trees_all_equal_structs(grads, PARAMS)


def test_grad_threads_state():
    """What the function writes while it is differentiated is written."""

    def loss(s):
        s.assign("n", s.get_variable("n", initializer=0, trainable=False) + 1)
        return s.get_variable("w", ()) ** 2

    run = jscope.transform_with_state(lambda s: jscope.grad(loss)(s))
    grads, state = run.apply({"w": jnp.asarray(3.0)}, run.init(KEY(0))[1])
    assert (float(grads["w"]), int(state["n"])) == (6.0, 1)


def test_gradients_drive_an_inner_loop():
    """An inner step of gradient descent through `substitute` can itself be differentiated."""

    def adapted(s, x):
        grads = jscope.grad(lambda s, x: (s.get_variable("w", ()) * x) ** 2)(s, x)
        fast = {"w": s.with_defaults(reuse=True).get_variable("w", ()) - 0.1 * grads["w"]}
        return s.with_defaults(reuse=True, custom_getter=jscope.getters.substitute(fast)).get_variable("w", ()) * x

    # With w' = w - 0.2 w x^2, the output is w x - 0.2 w x^3.
    slope = jax.grad(lambda w: jscope.apply(adapted, {"w": w}, 2.0))(1.0)
    chex.assert_trees_all_close(slope, 2.0 - 0.2 * 8.0)


def test_vjp_pulls_back_to_variables_and_arguments():
    """The pullback gives params, then each argument."""

    def model(s, x):
        out, pullback = jscope.vjp(product, s / "a", x, wrt="w$")
        return out, pullback(2.0 * jnp.ones_like(out))

    out, (grads, dx) = jscope.apply(model, PARAMS, 3.0)
    chex.assert_trees_all_equal((out, grads, dx), jax.tree.map(jnp.float32, (30.0, {"w": 30.0}, 20.0)))
    assert jscope.tree.names(jscope.init(model, KEY(0), 3.0)) == ["a/w", "a/v"]


def test_jvp_pushes_variables_and_arguments_forward():
    """Tangents of variables are by name; those left out are zero."""

    def model(s, x):
        return jscope.jvp(product, s / "a", (x,), (1.0,), {"w": jnp.asarray(1.0)})

    chex.assert_trees_all_close(jscope.apply(model, PARAMS, 3.0), (30.0, 15.0 + 10.0))
    assert jscope.tree.names(jscope.init(model, KEY(0), 3.0)) == ["a/w", "a/v"]


@pytest.mark.parametrize("derivative", ["vjp", "jvp"])
def test_zeros_of_collecting_have_the_dtypes_of_derivatives(derivative):
    """An int has a tangent of `float0` when collecting, too, as an argument or as an output."""

    def model(s, x, n):
        mixed = lambda s, x, n: (x * s.get_variable("w", ()) * n, n)  # noqa: E731
        if derivative == "jvp":
            return jscope.jvp(lambda s, x: mixed(s, x, n), s, (x,), (x,))
        out, pullback = jscope.vjp(mixed, s, x, n)
        return pullback((out[0], np.zeros((), jax.dtypes.float0)))

    seen = []
    told = lambda s, *args: seen.append(jax.tree.map(jnp.result_type, model(s, *args)))  # noqa: E731
    params = jscope.init(told, KEY(0), jnp.ones(()), 2)
    jscope.apply(told, params, jnp.ones(()), 2)
    assert seen[0] == seen[1]
    assert jax.dtypes.float0 in jax.tree.leaves(seen[0])


def with_rules(backward):
    f = jscope.custom_vjp(product)
    f.defvjp(lambda s, x: (product(s, x), x), backward)
    return f


def test_custom_vjp_may_give_some_gradients():
    """Params that the backward pass leaves out have the gradient zero."""
    f = with_rules(lambda x, ct: ({"w": 100.0 * ct}, -ct))
    grads, dx = jax.grad(lambda p, x: jscope.apply(lambda s, x: f(s / "a", x), p, x), (0, 1))(PARAMS, 3.0)
    chex.assert_trees_all_equal(grads["a"], {"w": jnp.asarray(100.0), "v": jnp.asarray(0.0)})
    assert dx == -1.0


def test_custom_vjp_is_its_function_otherwise():
    """Forward, and in its variables, it is the function it was made of."""
    f = with_rules(lambda x, ct: ({}, ct))
    assert on_a(f, 3.0) == on_a(product, 3.0)
    assert f.__name__ == "product"
    assert jscope.tree.names(jscope.init(f, KEY(0), 3.0)) == ["w", "v"]


def test_custom_vjp_wants_its_rules():
    """Calling it before `defvjp` is an error."""
    with pytest.raises(errors.InvalidArgumentError, match=r"needs its rules .*defvjp"):
        on_a(jscope.custom_vjp(product))


def test_custom_vjp_refuses_gradients_of_what_is_no_param():
    """A misspelt name is listed beside the names there are."""
    f = with_rules(lambda x, ct: ({"u": ct}, ct))
    with pytest.raises(errors.MissingVariableError, match=r"`a` gives gradients of \['u'\].*\['v', 'w'\]"):
        jax.grad(lambda p: jscope.apply(lambda s: f(s / "a", 3.0), p))(PARAMS)


@pytest.mark.parametrize("collect", [True, False])
def test_integers_have_no_gradients(collect):
    """Both `init` and `apply` name the integer variable that `wrt` selects."""
    f = lambda s: jscope.grad(lambda s: s.get_variable("n", (), jnp.int32).astype(float))(s / "a")  # noqa: E731
    with pytest.raises(errors.DTypeMismatchError, match=r"`a/n` has dtype int32; derivatives need floating point"):
        jscope.init(f, KEY(0)) if collect else jscope.apply(f, {"a": {"n": jnp.asarray(1)}})


def test_integers_may_be_left_out():
    """A narrower `wrt` differentiates the rest."""
    f = lambda s: s.get_variable("w", ()) * s.get_variable("n", (), jnp.int32).astype(float)  # noqa: E731
    grads = on_a(jscope.grad(f, "w$"), params={"a": {"w": jnp.asarray(1.0), "n": jnp.asarray(4)}})
    chex.assert_trees_all_equal(grads, {"w": jnp.asarray(4.0)})


@pytest.mark.parametrize("collect", [True, False])
def test_wrt_must_select_something(collect):
    """A regex that finds nothing lists what there is, in `init` and in `apply`."""
    f = lambda s: jscope.grad(product, "weights")(s / "a")  # noqa: E731
    with pytest.raises(errors.MissingVariableError, match=r"'weights' selects no param .*`a/w`, `a/v`"):
        jscope.init(f, KEY(0)) if collect else jscope.apply(f, PARAMS)


def test_wrt_must_be_a_regex():
    """A pattern that does not compile is refused."""
    with pytest.raises(errors.InvalidArgumentError, match=r"wrt='\(' is not a regular expression"):
        on_a(jscope.grad(product, "("))


@pytest.mark.parametrize("argnums", [0, -1, (1, 3)])
def test_argnums_must_exist(argnums):
    """Arguments count from 1, after the scope; variables are what `wrt` is for."""
    with pytest.raises(errors.InvalidArgumentError, match=r"scope `a`: the arguments after the scope are 1 to 2"):
        on_a(jscope.grad(product, argnums=argnums), 3.0, 1.0)


def test_only_scalars_have_gradients():
    """JAX says so; jscope adds where."""
    where = r"`jscope\.value_and_grad` of `product` \(.*\) over the scope `a`"
    with pytest.raises(TypeError, match=rf"scalar-output(.|\n)*{where}"):
        on_a(jscope.grad(product), jnp.ones(2), 1.0)


def test_jvp_refuses_tangents_of_what_is_no_param():
    """A tangent needs a param of its name."""
    with pytest.raises(errors.MissingVariableError, match=r"given for \['u'\], which are not params"):
        jscope.apply(lambda s: jscope.jvp(product, s / "a", (1.0,), (1.0,), {"u": 1.0}), PARAMS)
