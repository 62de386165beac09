"""`tf.nn.rnn_cell`, and `tf.contrib.rnn`."""

from jscope.tf1._ops._cells import BasicLSTMCell as BasicLSTMCell
from jscope.tf1._ops._cells import BasicRNNCell as BasicRNNCell
from jscope.tf1._ops._cells import DeviceWrapper as DeviceWrapper
from jscope.tf1._ops._cells import DropoutWrapper as DropoutWrapper
from jscope.tf1._ops._cells import GRUCell as GRUCell
from jscope.tf1._ops._cells import LayerNormBasicLSTMCell as LayerNormBasicLSTMCell
from jscope.tf1._ops._cells import LayerRNNCell as LayerRNNCell
from jscope.tf1._ops._cells import LSTMCell as LSTMCell
from jscope.tf1._ops._cells import LSTMStateTuple as LSTMStateTuple
from jscope.tf1._ops._cells import MultiRNNCell as MultiRNNCell
from jscope.tf1._ops._cells import ResidualWrapper as ResidualWrapper
from jscope.tf1._ops._cells import RNNCell as RNNCell
from jscope.tf1._ops._recurrent import static_bidirectional_rnn as static_bidirectional_rnn
from jscope.tf1._ops._recurrent import static_rnn as static_rnn
