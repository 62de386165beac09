"""TensorFlow's checkpoint format, from the bytes up.

A checkpoint `PREFIX` is a table of contents, `PREFIX.index`, and the arrays, one after the other, in
`PREFIX.data-00000-of-00001` and so on. The index is a sorted table of blocks (`_table`), whose keys are the names and
whose values are small protocol buffers (`_proto`, `_entries`); every block and every array has a checksum (`_crc32c`).
"""
