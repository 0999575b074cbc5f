"""Synthetic images: rendered phantoms of skin lesions and textures. Needs numpy and Pillow only."""

from lentigo.synthetic.phantom import add_hair, render_phantom, write_phantoms

__all__ = ["add_hair", "render_phantom", "write_phantoms"]
