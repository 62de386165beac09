import re
from importlib.metadata import version as version_of

project = "jscope"
author = "The jscope authors"
copyright = author
release = version_of("jscope")
version = release

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = f"jscope {release}"

# The tests run the code of these pages; building them shows it.
nb_execution_mode = "off"
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

    A fenced block becomes a `code-block`, and "`Scope`s" gets a break before its "s".
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
        elif line.lstrip().startswith((">>>", "...")):
            rewritten.append(line)
        else:
            rewritten.append(CODE.sub(lambda code: code[1] + (code[2] and f"\\ {code[2]}"), line))
    lines[:] = rewritten


def setup(app):
    app.connect("autodoc-process-docstring", to_restructured_text, priority=100)
