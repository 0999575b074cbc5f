"""Configuration: recipes as typed data, read from YAML, with overrides. This package does not need torch."""

from lentigo.config.recipe import Recipe, list_recipes, load_recipe, parse_recipe, recipe_names, recipe_schema, to_yaml

__all__ = ["Recipe", "list_recipes", "load_recipe", "parse_recipe", "recipe_names", "recipe_schema", "to_yaml"]
