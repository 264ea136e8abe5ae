"""Networks that give persistence images at once: trained on cached images, measured, and used."""
