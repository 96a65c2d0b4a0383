"""Ids of the special pieces, the same in every tokenizer."""

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
