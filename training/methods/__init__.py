"""Methods of distillation: named, weighted terms of the outputs of a student and its teachers."""
