"""Methods of distillation: frozen values that turn outputs into named, weighted terms."""

from training.methods.base import Method, Term, Terms, total
from training.methods.catalogue import METHODS, describe, make_method
from training.methods.picks import picked

__all__ = ["METHODS", "Method", "Term", "Terms", "describe", "make_method", "picked", "total"]
