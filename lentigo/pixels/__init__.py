"""Operations on pixels: corruptions, perturbations, artifacts (drawn, detected), segmentation, skin tone."""
