"""The safetensors format: one file of named arrays, with what jscope adds to it.

A file is a header and the bytes of the arrays (`_header`, `_dtypes`); each array has a checksum in the header
(`_checksum`). `_writer` writes a file, `_reader` maps one, and `_index` reads several as one, as on Hugging Face.
"""
