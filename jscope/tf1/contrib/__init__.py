"""What old code takes from `tf.contrib`: `layers`, `framework` and `slim`, imported on first use."""

from jscope.tf1.contrib._lazy import __dir__ as __dir__
from jscope.tf1.contrib._lazy import __getattr__ as __getattr__
