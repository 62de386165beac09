"""Laws that a model should obey, to be called from tests of your own.

    model, inputs --law--> nothing, or a report of what breaks it

Each law is a function that raises `LawError`, with a report of everything it found. `every_law` runs them all. A model
is a function of a scope or what `transform` made of one; inputs are arrays or `jax.ShapeDtypeStruct`s.
"""

from jscope.testing._all import every_law as every_law
from jscope.testing._case import LawError as LawError
from jscope.testing._dtypes import dtypes_are_sound as dtypes_are_sound
from jscope.testing._places import keeps_contract as keeps_contract
from jscope.testing._places import shardings_are_legal as shardings_are_legal
from jscope.testing._randomness import key_decides as key_decides
from jscope.testing._randomness import without_key_nothing_is_random as without_key_nothing_is_random
from jscope.testing._structure import init_agrees as init_agrees
from jscope.testing._structure import state_keeps_structure as state_keeps_structure
from jscope.testing._values import eager_equals_jitted as eager_equals_jitted
from jscope.testing._values import params_matter as params_matter
from jscope.testing._values import rows_do_not_mix as rows_do_not_mix
from jscope.testing._values import scanned_equals_unrolled as scanned_equals_unrolled
