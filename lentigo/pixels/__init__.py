"""Pixels: corruptions, perturbations, artifacts drawn and detected, segmentation, skin tone."""
