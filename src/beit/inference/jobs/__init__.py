"""Tasks over any number of pictures: in bounded memory, in parts that a killed job need not repeat."""
