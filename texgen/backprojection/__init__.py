"""From painted views back to the texture: projection, trimap, fills."""
