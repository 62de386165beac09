"""Kernels of linear algebra."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jscope.tf1._errors import ArgumentError
from jscope.tf1._ops._call import call, takes_tensors
from jscope.tf1._tensors import as_array, operands, tensor


@takes_tensors
def matmul(a: Any, b: Any, transpose_a: bool, transpose_b: bool, adjoint_a: bool, adjoint_b: bool) -> Any:
    """The product of matrices, or of batches of them."""
    x, y = operands_of_matmul(a, b)
    x = _turned(x, transpose_a, adjoint_a)
    return jnp.matmul(x, _turned(y, transpose_b, adjoint_b))


def operands_of_matmul(a: Any, b: Any) -> tuple[Any, Any]:
    """Returns both arrays, in one dtype."""
    x, y = operands(a, b)
    return as_array(x), as_array(y)


def _turned(x: Any, transpose: bool, adjoint: bool) -> Any:
    x = jnp.swapaxes(x, -1, -2) if transpose or adjoint else x
    return jnp.conj(x) if adjoint and jnp.iscomplexobj(x) else x


def matvec(a: Any, b: Any, transpose_a: bool, adjoint_a: bool) -> Any:
    """The product of matrices and vectors."""
    return jnp.matmul(_turned(as_array(a), transpose_a, adjoint_a), as_array(b)[..., None])[..., 0]


def tensordot(a: Any, b: Any, axes: Any) -> Any:
    """The sum of products over axes."""
    sums = np.asarray(axes, object).tolist()
    sums = [np.asarray(each).tolist() for each in sums] if isinstance(sums, list) else int(sums)
    return jnp.tensordot(as_array(a), as_array(b), sums)


def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Any:
    """TensorFlow's `tf.einsum`."""
    # TensorFlow allows spaces anywhere, JAX only between operands.
    kernel = lambda *arrays: jnp.einsum(equation.replace(" ", ""), *map(as_array, arrays))  # noqa: E731
    return call(kernel, inputs, kwargs.get("name") or "einsum")


def meshgrid(*inputs: Any, **kwargs: Any) -> Any:
    """TensorFlow's `tf.meshgrid`."""
    kernel = lambda *arrays: list(jnp.meshgrid(*map(as_array, arrays), indexing=kwargs.get("indexing", "xy")))  # noqa: E731
    return call(kernel, inputs, kwargs.get("name") or "meshgrid")


def band_part(x: Any, lower: Any, upper: Any) -> Any:
    """The matrix with zeros outside a band; a negative number keeps all of that side."""
    x = as_array(x)
    row, column = jnp.arange(x.shape[-2])[:, None], jnp.arange(x.shape[-1])[None]
    inside = ((lower < 0) | (row - column <= lower)) & ((upper < 0) | (column - row <= upper))
    return jnp.where(jnp.broadcast_to(inside, x.shape), x, jnp.zeros_like(x))


def matrix_diag(diagonal: Any, k: Any, rows: Any, columns: Any) -> Any:
    """Matrices with these diagonals, `k` places above the middle."""
    diagonal, k = as_array(diagonal), _one_diagonal(k)
    size = diagonal.shape[-1]
    least = size - min(k, 0), size + max(k, 0)
    # A square, unless one of both sizes is given.
    least = (size + abs(k),) * 2 if rows == columns == -1 else least
    shape = [n if given == -1 else int(given) for n, given in zip(least, (rows, columns), strict=True)]
    places = jnp.arange(size)
    empty = jnp.zeros((*diagonal.shape[:-1], *shape), diagonal.dtype)
    return empty.at[..., places - min(k, 0), places + max(k, 0)].set(diagonal)


def matrix_diag_part(x: Any, k: Any) -> Any:
    """The diagonals of matrices, `k` places above the middle."""
    return jnp.diagonal(as_array(x), _one_diagonal(k), -2, -1)


def matrix_set_diag(x: Any, diagonal: Any, k: Any) -> Any:
    """Matrices with other diagonals, `k` places above the middle."""
    x, diagonal, k = as_array(x), as_array(diagonal), _one_diagonal(k)
    places = jnp.arange(diagonal.shape[-1])
    return x.at[..., places - min(k, 0), places + max(k, 0)].set(diagonal)


def _one_diagonal(k: Any) -> int:
    if np.ndim(k):
        raise ArgumentError(f"k={k}: `jscope.tf1` knows one diagonal, not a band of them. Set one after the other.")
    return int(k)


def diag(diagonal: Any) -> Any:
    """An array of twice as many axes with these numbers on its diagonal."""
    diagonal = as_array(diagonal)
    return jnp.diag(diagonal.reshape(-1)).reshape(diagonal.shape * 2)


def diag_part(x: Any) -> Any:
    """What stands on the diagonal, as `diag` puts it there."""
    x = as_array(x)
    shape = x.shape[: x.ndim // 2]
    return jnp.diagonal(x.reshape(int(np.prod(shape)), -1)).reshape(shape)


def trace(x: Any) -> Any:
    """The sums of diagonals."""
    return jnp.trace(as_array(x), axis1=-2, axis2=-1)


def matrix_inverse(x: Any, adjoint: bool) -> Any:
    """The inverses of matrices."""
    return jnp.linalg.inv(_turned(as_array(x), False, adjoint))


def matrix_solve(matrix: Any, rhs: Any, adjoint: bool) -> Any:
    """The solution of a linear system."""
    return jnp.linalg.solve(_turned(as_array(matrix), False, adjoint), as_array(rhs))


def triangular_solve(matrix: Any, rhs: Any, lower: bool, adjoint: bool) -> Any:
    """The solution of a linear system with a triangular matrix."""
    matrix, rhs = as_array(matrix), as_array(rhs)
    return jax.scipy.linalg.solve_triangular(matrix, rhs, lower=lower, trans="C" if adjoint else "N")


def svd(x: Any, full_matrices: bool, compute_uv: bool) -> Any:
    """Singular values, and singular vectors as columns."""
    if not compute_uv:
        return jnp.linalg.svd(as_array(x), compute_uv=False)
    u, s, v = jnp.linalg.svd(as_array(x), full_matrices)
    # The values come first, and `v` is not the adjoint that JAX and NumPy return.
    return s, u, jnp.conj(jnp.swapaxes(v, -1, -2))


def eigh(x: Any) -> tuple[Any, Any]:
    """Eigenvalues of a symmetric matrix, and eigenvectors as columns."""
    values, vectors = jnp.linalg.eigh(as_array(x))
    return values, vectors


def qr(x: Any, full_matrices: bool) -> tuple[Any, Any]:
    """An orthogonal and a triangular matrix whose product is the matrix."""
    q, r = jnp.linalg.qr(as_array(x), "complete" if full_matrices else "reduced")
    return q, r


def cross(a: Any, b: Any) -> Any:
    """The vectors that stand on both."""
    return jnp.cross(as_array(a), as_array(b))


def polyval(coeffs: Any, x: Any) -> Any:
    """The value of a polynomial, whose highest coefficient comes first."""
    value = jnp.zeros_like(as_array(x))
    for each in coeffs:
        value = value * x + each
    return value


class LinearOperatorLowerTriangular:
    """TensorFlow's `tf.linalg.LinearOperatorLowerTriangular`: the lower triangle of matrices, diagonal included.

    Transformers make their masks of it. It has no more than `to_dense` and `matmul`.
    """

    def __init__(self, tril: Any, *_: Any, **__: Any) -> None:
        self._tril = tril

    def to_dense(self, name: str | None = None) -> Any:
        """Returns the matrices, with zeros above the diagonal."""
        return call(jnp.tril, (self._tril,), name or "LinearOperatorLowerTriangular")

    def matmul(self, x: Any, name: str | None = None) -> Any:
        """Returns the product with other matrices."""
        return tensor(self.to_dense(), name) @ x
