"""Recipes: a published experiment from its data to its table, beside the published numbers.

from forgetkit.recipes import run_recipe
run_recipe(Path("recipes/harmful.yaml"), Path("runs/harmful"))
"""

from forgetkit.recipes.recipe import Recipe, load_recipe
from forgetkit.recipes.run import RecipeResult, run_recipe

__all__ = ["Recipe", "RecipeResult", "load_recipe", "run_recipe"]
