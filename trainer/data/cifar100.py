"""CIFAR-100's class names (Krizhevsky 2009, "Learning multiple layers of features from tiny images")."""

from collections.abc import Sequence

SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
COARSE_NAMES = sorted(SUPERCLASSES)
COARSE_OF = {fine: COARSE_NAMES.index(coarse) for coarse, fines in SUPERCLASSES.items() for fine in fines}
FINE_NAMES = sorted(COARSE_OF)
FINE_TO_COARSE = [COARSE_OF[fine] for fine in FINE_NAMES]


def known_superclasses(classes: Sequence[str]) -> tuple[list[str], list[int]] | None:
    """Return the superclass names and the fine-to-coarse map if `classes` are CIFAR-100's, else None."""
    names = [name.lower().replace(" ", "_") for name in classes]
    if sorted(names) != FINE_NAMES:
        return None
    return list(COARSE_NAMES), [COARSE_OF[name] for name in names]
