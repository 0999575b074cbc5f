"""Synthetic images: rendered phantoms of skin lesions, and textures. This package needs only numpy and Pillow."""

from lentigo.synthetic.phantom import add_hair, render_phantom, write_phantoms

__all__ = ["add_hair", "render_phantom", "write_phantoms"]
