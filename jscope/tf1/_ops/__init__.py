"""The operations of model code: `tf.matmul`, `tf.nn.conv2d`, `tf.reduce_mean`, ...

`_table.py` says which there are, by name and arguments; the other files say how they are computed. Nothing here is
imported before the first operation is used.
"""
