"""Programs behind the templates that an island ships: each in a directory of its own, shown to sandboxes as an image.

They are never dependencies and never imported. `skerry machine app install NAME` makes a directory from the package
indexes; what is there is found by `installed.find`.
"""
