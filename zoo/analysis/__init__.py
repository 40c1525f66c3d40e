"""What trained models are looked at for: transfer on comparable samples, and users and items that train hardly has."""
