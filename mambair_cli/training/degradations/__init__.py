"""What happens to photographs, as steps that a recipe lists: each a dataclass that is called."""
