from enum import Enum


class ConceptType(Enum):
    STANDARD = "STANDARD"
    VALIDATION = "VALIDATION"
