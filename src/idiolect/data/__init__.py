"""From files to training batches: formats, validation, loss masks, packing, order."""
