"""Members: the models of the ensemble, one file each."""
