"""The form of the illumination map h between PyTorch and the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiffusion.runtime.bundle.folder import Illumination

if TYPE_CHECKING:
    from shadowdiffusion.training.degradation import IlluminationForm


def section(form: IlluminationForm) -> Illumination:
    """The form as the manifest has it."""
    added = None if form.photo_epsilon == form.epsilon else form.photo_epsilon
    return Illumination(form.epsilon, form.floor, form.ceiling, added)


def form_of(section: Illumination) -> IlluminationForm:
    """The form that a manifest states."""
    from shadowdiffusion.training.degradation import IlluminationForm

    return IlluminationForm(section.epsilon, section.added_to_photo, section.floor, section.ceiling)
