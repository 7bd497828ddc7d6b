"""Fixtures of the tests of training systems."""

from tests.support.methods import cases as cases
