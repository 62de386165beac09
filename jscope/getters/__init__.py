"""A custom getter stands between `get_variable` and the variable.

```python
def doubled(getter, name, **options):
    return 2.0 * getter(name, **options)
```

`name` is the full path, `getter` the rest of the chain, and `getter.scope` the scope that was asked. A getter may pass
on another name or other options, call `getter` several times or never, and return any value. Those here are values: two
that were made by the same call are equal, so JAX traces nothing anew for the second. `match` is a regular expression,
searched for in the full path; the default, `""`, matches every path.
"""

from jscope.getters._average import ema as ema
from jscope.getters._low_rank import lora as lora
from jscope.getters._low_rank import merge_lora as merge_lora
from jscope.getters._low_rank import unmerge_lora as unmerge_lora
from jscope.getters._normalize import spectral_norm as spectral_norm
from jscope.getters._normalize import weight_norm as weight_norm
from jscope.getters._quantize import quantize as quantize
from jscope.getters._quantize import quantized as quantized
from jscope.getters._reading import cast as cast
from jscope.getters._reading import freeze as freeze
from jscope.getters._substitute import substitute as substitute
