"""Tests of the pure core: no network, no Faust, no clock."""
