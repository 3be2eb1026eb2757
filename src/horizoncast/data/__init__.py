"""Data: from a declared target to a checked `Series`.

`target` and `target_file` say what was declared, `sources` (with `ecb` and `cells`) reads raw rows,
`checks` judges them before any model sees one, `align` puts them on the calendar's sessions and
`load` does all of it. `wizard` proposes a target for a file.
"""
