"""How the fixed numbers in the product were found. Not run by `make bench`: a fit is done once, on data of its own."""
