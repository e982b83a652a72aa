"""Thin Faust glue: read, call an operator, write, acknowledge. No decisions."""
