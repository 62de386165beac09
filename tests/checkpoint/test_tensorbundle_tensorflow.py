"""TensorFlow as the judge, where it is installed: `pip install -e ".[tf-oracle,test]"`."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jscope.checkpoint import tensorbundle
from tests.checkpoint.data.contents import numbers, strings
from tests.checkpoint.test_tensorbundle import same
from tests.checkpoint.test_tensorbundle_bytes import BIG, big_endian, compressed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")

ARRAYS = hnp.arrays(
    st.one_of(hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc" and dtype.itemsize <= 16)).filter(
        lambda dtype: dtype.isnative and dtype.name not in ("float128", "longdouble")
    ),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=30)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return tmp_path_factory.mktemp("m") / "model"


def written_by_tensorflow(prefix, values):
    tensors = [tf.constant(value.tolist(), tf.string) if value.dtype == object else value for value in values.values()]
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=list(values), shape_and_slices=[""] * len(values), tensors=tensors
    )


def read_by_tensorflow(prefix, values):
    reader = tf.train.load_checkpoint(str(prefix))
    return {
        name: np.asarray(reader.get_tensor(name), object if v.dtype == object else None) for name, v in values.items()
    }


def differing(found, wanted):
    return [name for name, value in wanted.items() if not same(found[name], value)]


@settings(max_examples=50)
@given(st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=8))
def test_either_reads_what_the_other_wrote(prefix, values):
    """Of random contents, bit by bit; so do names and shapes agree."""
    written_by_tensorflow(prefix, values)
    reader = tensorbundle.open(prefix)
    assert not differing({name: reader.get_tensor(name) for name in values}, values)
    tensorbundle.save(prefix, values)
    assert not differing(read_by_tensorflow(prefix, values), values)
    shapes = tf.train.load_checkpoint(str(prefix)).get_variable_to_shape_map()
    assert shapes == tensorbundle.open(prefix).get_variable_to_shape_map()


def test_every_dtype(tmp_path):
    """Those of JAX, too, and strings; found through the state file."""
    values = numbers() | strings()
    tensorbundle.save(tmp_path / "model", values)
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model")
    assert not differing(read_by_tensorflow(tmp_path, values), values)


def test_tensorflow_restores_slices(tmp_path):
    """A partitioned variable, from one that is whole here."""
    w = np.arange(14, dtype=np.float32).reshape(7, 2)
    tensorbundle.save(tmp_path / "model", {"net": {"w": w}})
    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as session:
        variable = tf1.get_variable("net/w", [7, 2], partitioner=tf1.fixed_size_partitioner(3))
        tf1.train.Saver().restore(session, str(tmp_path / "model"))
        assert same(session.run(tf.convert_to_tensor(variable)), w)


def test_the_fixtures_of_other_tests_are_real(tmp_path):
    """TensorFlow reads the big-endian and the compressed checkpoints that the tests make by hand."""
    big_endian(tmp_path / "big")
    found = read_by_tensorflow(tmp_path / "big", BIG)
    assert {name: value.tolist() for name, value in found.items()} == {name: v.tolist() for name, v in BIG.items()}
    assert tf.train.load_checkpoint(str(tmp_path / "big")).get_tensor("string") == b"abc"
    values = numbers()
    tensorbundle.save(tmp_path / "m", values)
    index = tmp_path / "m.index"
    index.write_bytes(compressed(index.read_bytes()))
    assert not differing(read_by_tensorflow(tmp_path / "m", values), values)
