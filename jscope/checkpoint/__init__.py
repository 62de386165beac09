"""Checkpoints: params, state and whatever else is a pytree, by name, in open formats.

`Checkpointer` saves the steps of a training and restores them; `restore` takes what a model wants from any checkpoint,
whoever wrote it. No format that is read or written here can hold code: there is no pickle.
"""

from jscope.checkpoint import keras as keras
from jscope.checkpoint import safetensors as safetensors
from jscope.checkpoint import tables as tables
from jscope.checkpoint import tensorbundle as tensorbundle
from jscope.checkpoint._assign import init_from_checkpoint as init_from_checkpoint
from jscope.checkpoint._checkpointer import Checkpointer as Checkpointer
from jscope.checkpoint._conversions._beside import Constant as Constant
from jscope.checkpoint._conversions._conversion import Conversion as Conversion
from jscope.checkpoint._conversions._rule import Function as Function
from jscope.checkpoint._conversions._rule import Rule as Rule
from jscope.checkpoint._errors import CheckpointError as CheckpointError
from jscope.checkpoint._errors import CheckpointExistsError as CheckpointExistsError
from jscope.checkpoint._errors import CheckpointLockedError as CheckpointLockedError
from jscope.checkpoint._errors import CheckpointWriteError as CheckpointWriteError
from jscope.checkpoint._errors import ConversionError as ConversionError
from jscope.checkpoint._errors import CorruptCheckpointError as CorruptCheckpointError
from jscope.checkpoint._errors import MissingCheckpointError as MissingCheckpointError
from jscope.checkpoint._errors import UnsupportedCheckpointError as UnsupportedCheckpointError
from jscope.checkpoint._open import list_variables as list_variables
from jscope.checkpoint._open import load_checkpoint as load_checkpoint
from jscope.checkpoint._open import load_variable as load_variable
from jscope.checkpoint._planning._planner import plan as plan
from jscope.checkpoint._planning._proposal import Proposal as Proposal
from jscope.checkpoint._planning._proposal import ProposedRow as ProposedRow
from jscope.checkpoint._reader import Reader as Reader
from jscope.checkpoint._restore import restore as restore
