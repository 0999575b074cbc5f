"""Functions from pixels to pixels or figures: corruptions, perturbations, artifacts drawn and detected, segmentation, skin tone."""
