"""What holds for every test: those in `tests/`, the docstrings of `jscope/`, and the documents.

JAX runs on eight fake CPU devices and refuses implicit promotion of dtypes and ranks. The Python blocks of `README.md`
and `docs/*.md` run as a reader would run them: top to bottom, in one namespace and an empty directory per
document (but for the folder of its name, if there is one), with the promotion that JAX has by default.
"""

import atexit
import doctest
import gc
import importlib
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

# JAX reads these when it is imported: here, in the workers of xdist, and in the programs that tests start.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most programs run once here, so that compiling them takes longer than running. `.ci/run` tests with 0 as well.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if version("jaxlib").startswith("0.10."):
    # Loops compile in half the time without these emitters, which later versions always use. `.ci/run` tests with them.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
# Whoever compiles a program first has compiled it for all. A folder of your own makes that last for the next run.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jscope-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser
from xdist.scheduler import LoadScopeScheduling

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# With `--doctest-modules` pytest imports every Python file that it meets.
collect_ignore = ["docs/conf.py", "docs/_build"]

SLOW_DOCUMENTS = {"gallery.md", "recipes.md", "seeing.md"}

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE), SkipParser()],
    patterns=["README.md", "docs/*.md"],
    fixtures=["as_a_reader"],
).pytest()


def pytest_collectstart(collector):
    """Imports the package of a module of jscope, whose doctests are collected."""
    # pytest does so only after it has looked whether the module is there: it would run the file again, beside the copy
    # that the package has imported.
    root = Path(__file__).parent
    if root / "jscope" in collector.path.parents and collector.path.suffix == ".py":
        importlib.import_module(".".join(collector.path.parent.relative_to(root).parts))


@pytest.fixture(scope="module")
def as_a_reader(request, tmp_path_factory):
    """An empty working directory, but for the folder of the document's name, if it has one; JAX's default promotion."""
    directory = tmp_path_factory.mktemp("document")
    files = request.path.with_suffix("")
    if files.is_dir():
        shutil.copytree(files, directory / files.name)
    with (
        pytest.MonkeyPatch.context() as patch,
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        patch.chdir(directory)
        yield


@pytest.fixture(autouse=True)
def _docstrings(request, doctest_namespace):
    """The names that an example in a docstring may use without importing them, and JAX's default promotion of ranks."""
    import jscope

    doctest_namespace.update(jax=jax, jnp=jnp, np=np, jscope=jscope)
    with jax.numpy_rank_promotion("allow" if isinstance(request.node, pytest.DoctestItem) else "raise"):
        yield


class DocumentsWhole(LoadScopeScheduling):
    """Spreads tests over the workers one by one, but keeps the blocks of a document together, in order.

    So it does with tests that look at what two processes have left, which would be started by every worker.
    """

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0]
        return file if file.endswith((".md", "/test_distributed.py")) else nodeid


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks as slow the blocks of documents that have many models."""
    for item in items:
        if item.path.name in SLOW_DOCUMENTS:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """Keeps what is imported and collected out of later collections of garbage, some of which a test asks JAX for."""
    gc.collect()
    gc.freeze()


def pytest_xdist_make_scheduler(config, log):
    """Replaces the default of `pytest -n`; any other `--dist` stays as asked for."""
    return DocumentsWhole(config, log) if config.option.dist == "load" else None
