"""Tables: how other libraries name and lay out the layers of `jscope.nn`.

Which layers a model has follows from the names and shapes of its variables (`_layers`). A library says for each kind
of layer what it calls each variable, and how it lays it out (`_libraries`, in terms of `_rows` and `_functions`). Both
together give a `Conversion` (`_table`), for which `jscope.checkpoint.tables` has a function, library by library.
"""
