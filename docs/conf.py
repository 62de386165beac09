import importlib
import os
import re
from importlib.metadata import version as version_of

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.ext.autosummary import Autosummary

project = "jscope"
author = "The jscope authors"
copyright = author
release = version_of("jscope")
version = release

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
extensions += ["sphinx.ext.viewcode", "sphinx_design"]
autosummary_generate = False
suppress_warnings = ["autosummary.import_cycle"]  # The tables name modules in full.
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = f"jscope {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# The default underlines all that is imported, as if it were a link.
pygments_dark_style = "github-dark"

# Notebooks are run when they are built, and shown with what came out. The code of other pages is run by the tests.
nb_execution_mode = "force"
# This one downloads 80 MB, so it is run only where that was asked for, as `.ci/run` does.
nb_execution_excludepatterns = [] if "JSCOPE_DOWNLOADS" in os.environ else ["notebooks/minilm.ipynb"]
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_execution_timeout = 300
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Docstrings are Markdown: `this` is code.
default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_numpy_docstring = False

FENCE = re.compile(r"^(\s*)```+\s*(\w*)\s*$")
CODE = re.compile(r"(``.+?``|`[^`]+`)(\w?)")


def to_restructured_text(app, what, name, obj, options, lines):
    """Rewrites, in place, what Markdown allows in a docstring and reStructuredText does not.

    A fenced block becomes a `code-block`, and so does what is indented in the docstring of a module; "`Scope`s" gets a
    break before its "s".
    """
    rewritten, fence = [], None
    for line in lines:
        match = FENCE.match(line)
        if match and fence is None:
            fence = match[1]
            rewritten += ["", f"{fence}.. code-block:: {match[2] or 'text'}", ""]
        elif match:
            fence = None
            rewritten.append("")
        elif fence is not None:
            rewritten.append("    " + line)
        elif what == "module" and line.startswith("    "):
            rewritten += [line] if rewritten[-1].startswith("    ") else [".. code-block:: text", "", line]
        elif line.lstrip().startswith((">>>", "...")):
            rewritten.append(line)
        else:
            rewritten.append(CODE.sub(lambda code: code[1] + (code[2] and f"\\ {code[2]}"), line))
    lines[:] = rewritten

    # Napoleon takes what stands before a colon in the first line for a type.
    if what in ("property", "attribute", "data"):
        lines.insert(0, "")


def without_bases(app, name, obj, options, bases):
    """Leaves out, in place, what classes are made of; which errors an error is, people catch."""
    bases[:] = [base for base in bases if isinstance(base, type) and issubclass(base, BaseException)]


def without_empty_bases(app, doctree):
    """Leaves out the line for a class of which there is none to tell."""
    for paragraph in [*doctree.findall(nodes.paragraph)]:
        if paragraph.astext().strip() == "Bases:":
            paragraph.parent.remove(paragraph)


def without_constructor(app, what, name, obj, options, signature, returned):
    """Hides how a class is called that users do not call."""
    if what == "class" and name.rpartition(".")[2] in MADE_BY_JSCOPE:
        return "", None
    return None


MADE_BY_JSCOPE = ("Scope", "Specs", "VariableSpec", "Transformed", "TransformedWithState", "Effects")


class Names(Autosummary):
    """`.. names:: module` lists a module's public names, or those that stand below it, with their first sentences."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = False

    def run(self):
        module = importlib.import_module(self.arguments[0])
        names = [name for line in self.content for name in line.split()]
        names = names or [name for name in vars(module) if documented(module, name)]
        self.content = StringList([f"~{module.__name__}.{name}" for name in names])
        self.options["nosignatures"] = True
        return super().run()

    def get_items(self, names):
        # A second name of something has no docstring of its own.
        return [
            (shown, signature, summary or f"The same as `{vars(module_of(real))[shown].__name__}`.", real)
            for shown, signature, summary, real in super().get_items(names)
        ]


def module_of(name):
    """The module of a name in full."""
    return importlib.import_module(name.rpartition(".")[0])


def documented(module, name):
    """Whether a name of a module is public, and no module itself."""
    value = getattr(module, name)
    return (
        not name.startswith("_")
        and getattr(value, "__doc__", None)
        and not hasattr(value, "__path__")
        and callable(value)
        and getattr(value, "__module__", "").startswith(module.__name__)
    )


def setup(app):
    app.add_directive("names", Names)
    app.connect("autodoc-process-docstring", to_restructured_text, priority=100)
    app.connect("autodoc-process-bases", without_bases)
    app.connect("doctree-read", without_empty_bases)
    app.connect("autodoc-process-signature", without_constructor)
