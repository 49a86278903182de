"""Graphs in lower precision, what that costs, and the gate that decides whether it is paid."""
