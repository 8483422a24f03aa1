"""Random and fixed views of pictures: crops, colours, RandAugment, erasing, mixing."""
